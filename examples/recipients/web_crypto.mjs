// Decrypts a file by WebCrypto: node web_crypto.mjs PRIVATE.pem EXPORTED SEALED >PLAIN
//
// EXPORTED is a data key by RSAES_OAEP_SHA_256. It becomes an AES key that no script can read.
// SEALED is a nonce of 12 bytes, then AES-GCM under it. A browser has `crypto.subtle` without an
// import, and gets the files in another way.
import { webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'

const { subtle } = webcrypto
const [pem, exported, sealed] = process.argv.slice(2).map(name => readFileSync(name))
const pkcs8 = Uint8Array.from(atob(String(pem).replace(/-----.*-----/g, '')), char => char.charCodeAt(0))
const oaep = { name: 'RSA-OAEP', hash: 'SHA-256' }
const recipient = await subtle.importKey('pkcs8', pkcs8, oaep, false, ['unwrapKey'])
const dataKey = await subtle.unwrapKey('raw', exported, recipient, oaep, 'AES-GCM', false, ['decrypt'])
const gcm = { name: 'AES-GCM', iv: sealed.subarray(0, 12) }
process.stdout.write(new Uint8Array(await subtle.decrypt(gcm, dataKey, sealed.subarray(12))))
