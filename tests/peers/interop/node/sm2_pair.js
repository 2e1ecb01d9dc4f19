// Works with an SM2 key pair by sm-crypto: node sm2_pair.js PRIVATE PUBLIC JOB...
//
// The keys are hexadecimal: d, and x || y. A job is sign:MESSAGE,
// verify:MESSAGE:SIGNATURE, encrypt:PLAINTEXT or decrypt:CIPHERTEXT, all of it
// hexadecimal; messages are hashed with the usual identifier. Prints its name,
// then a line for each job: DER, true or false, 04 || C1 || C3 || C2, the
// plaintext.
'use strict'

const { sm2 } = require('sm-crypto')
const { version } = require('sm-crypto/package.json')

const [privateKey, point, ...jobs] = process.argv.slice(2)
const publicKey = '04' + point
const bytes = hex => Buffer.from(hex, 'hex')

const work = {
  sign: message => sm2.doSignature(bytes(message), privateKey, { der: true, publicKey }),
  verify: (message, signature) =>
    String(sm2.doVerifySignature(bytes(message), signature, publicKey, { der: true })),
  encrypt: plaintext => '04' + sm2.doEncrypt(bytes(plaintext), publicKey, 1),
  decrypt: ciphertext =>
    Buffer.from(
      sm2.doDecrypt(ciphertext.slice(2), privateKey, 1, { output: 'array' })
    ).toString('hex')
}

console.log(`sm-crypto ${version}`)
for (const job of jobs) {
  const [what, ...on] = job.split(':')
  console.log(work[what](...on))
}
