// Opens an SM2 export in the encoding raw-c1c3c2, by sm-crypto:
//   node sm_crypto.js PRIVATE.hex EXPORTED >DATA_KEY
'use strict'

const { readFileSync } = require('node:fs')
const { sm2 } = require('sm-crypto')

const [privateKey, exported] = process.argv.slice(2).map(name => readFileSync(name))
const withoutThe04 = exported.subarray(1).toString('hex')
const C1C3C2 = 1
const dataKey = sm2.doDecrypt(withoutThe04, String(privateKey).trim(), C1C3C2, { output: 'array' })
// sm-crypto throws nothing where it opens nothing.
if (dataKey.length === 0) throw new Error('the exported data key does not open')
process.stdout.write(Uint8Array.from(dataKey))
