// Encrypts by sm-crypto: node sm2_encrypt.js PUBLIC_KEY_HEX PLAINTEXT_HEX...
//
// The public key is x || y. Prints its name, then 04 || C1 || C3 || C2 for
// each plaintext.
'use strict'

const { sm2 } = require('sm-crypto')
const { version } = require('sm-crypto/package.json')

const [publicKey, ...plaintexts] = process.argv.slice(2)
console.log(`sm-crypto ${version}`)
for (const plaintext of plaintexts) {
  console.log('04' + sm2.doEncrypt(Buffer.from(plaintext, 'hex'), '04' + publicKey, 1))
}
