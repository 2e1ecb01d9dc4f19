// The round trip as a Node program makes it: node client.js HOST:PORT
//
// A data key is made unseen, exported to an RSA key and to an SM2 key,
// unwrapped here by Node's own crypto and by sm-crypto, and must be the same
// each time. Prints one line for each check.
'use strict'

const crypto = require('node:crypto')
const path = require('node:path')
const util = require('node:util')

const grpc = require('@grpc/grpc-js')
const protoLoader = require('@grpc/proto-loader')
const protobuf = require('protobufjs')
const { sm2 } = require('sm-crypto')

const CONTEXT = { tenant: 'acme', purpose: 'backups', 区域: '杭州' }
const TIMEOUT_MS = 20_000
// SubjectPublicKeyInfo up to the point: id-ecPublicKey, sm2p256v1.
const SM2_SPKI_HEAD = '3059301306072a8648ce3d020106082a811ccf5501822d034200'

let checks = 0

function check(name, holds) {
  if (!holds) throw new Error(`check ${name} FAILED`)
  checks += 1
  console.log(`check ${name} ok`)
}

function connect(address) {
  const definition = protoLoader.loadSync(
    ['keyferry/v1/kms.proto', 'keyferry/v1/key_management.proto'],
    { includeDirs: [path.join(__dirname, '../../../../proto')], keepCase: true, enums: String }
  )
  const { Kms, KeyManagement } = grpc.loadPackageDefinition(definition).keyferry.v1
  const credentials = grpc.credentials.createInsecure()
  return [new Kms(address, credentials), new KeyManagement(address, credentials)]
}

// Unary calls as promises.
function asker(client) {
  return (method, request, metadata = new grpc.Metadata()) => {
    const deadline = Date.now() + TIMEOUT_MS
    return util.promisify(client[method]).call(client, request, metadata, { deadline })
  }
}

const googleRpc = protobuf.loadSync(path.join(__dirname, 'google_rpc.proto'))

// The status and the details, by type, of a call that must fail.
async function refusal(call) {
  const error = await call.then(
    () => { throw new Error('not refused') },
    (refused) => refused
  )
  const [packed] = error.metadata.get('grpc-status-details-bin')
  const details = {}
  for (const any of googleRpc.lookupType('google.rpc.Status').decode(packed).details) {
    const type = any.type_url.split('/').pop()
    details[type.split('.').pop()] = googleRpc.lookupType(type).decode(any.value)
  }
  return [error.code, details]
}

async function refused(name, call, code, reason, detail = 'ErrorInfo') {
  const [found, details] = await refusal(call)
  const { ErrorInfo: info, RequestInfo: request } = details
  check(
    name,
    found === code && info.reason === reason && info.domain === 'keyferry' &&
      details[detail] && request.requestId
  )
  return details
}

// One element of DER: its content, and what follows it.
function derElement(bytes) {
  let length = bytes[1]
  let start = 2
  if (length > 0x80) {
    start += length - 0x80
    length = bytes.readUIntBE(2, start - 2)
  }
  return [bytes.subarray(start, start + length), bytes.subarray(start + length)]
}

// GM/T 0009: SEQUENCE { x, y, C3, C2 }, as sm-crypto wants it.
function sm2DerToHex(exported) {
  let [rest] = derElement(exported)
  const parts = []
  while (rest.length > 0) {
    const [part, next] = derElement(rest)
    parts.push(part.toString('hex'))
    rest = next
  }
  const [x, y, c3, c2] = parts
  const coordinate = (hex) => hex.padStart(64, '0').slice(-64)
  return coordinate(x) + coordinate(y) + c3 + c2
}

function openSm2(hex, privateKey) {
  return Buffer.from(sm2.doDecrypt(hex, privateKey, 1, { output: 'array' }))
}

async function main(address) {
  const { version } = require('@grpc/grpc-js/package.json')
  console.log(`peer grpc-js ${version} (Node ${process.versions.node})`)
  const [keys, managed] = connect(address).map(asker)

  // A key and a name for it.
  const metadata = new grpc.Metadata()
  const requestId = `node-${crypto.randomUUID()}`
  metadata.set('x-request-id', requestId)
  const made = await managed('CreateKey', { description: 'from Node' }, metadata)
  const { key_id: keyId, key_state: keyState } = made.key_metadata
  check('create_key', keyId.length === 36 && keyState === 'Enabled')
  check('request_id', made.request_id === requestId)
  const alias = `alias/node-${crypto.randomUUID()}`
  await managed('CreateAlias', { alias_name: alias, key_id: keyId })
  const described = await managed('DescribeKey', { key_id: alias })
  check('alias', described.key_metadata.key_id === keyId)

  // A data key that nobody has seen.
  const unseen = await keys('GenerateDataKeyWithoutPlaintext', {
    key_id: alias,
    encryption_context: CONTEXT,
  })
  const blob = unseen.ciphertext_blob
  check('generate_without_plaintext', unseen.key_id === keyId && blob.length === 32 + 110)
  const sealed = { ciphertext_blob: blob, encryption_context: CONTEXT }

  // To an RSA key.
  const recipient = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 })
  const toRsa = {
    public_key_blob: recipient.publicKey.export({ type: 'spki', format: 'der' }),
    wrapping_key_spec: 'WRAPPING_KEY_SPEC_RSA_2048',
    wrapping_algorithm: 'WRAPPING_ALGORITHM_RSAES_OAEP_SHA_256',
  }
  const openRsa = (exported, oaepHash) =>
    crypto.privateDecrypt({ key: recipient.privateKey, oaepHash }, exported)
  const exportTo = async (fields) =>
    (await keys('ExportDataKey', { ...sealed, ...fields })).exported_data_key
  const dataKey = openRsa(await exportTo(toRsa), 'sha256')
  check('export_rsa_sha_256', dataKey.length === 32)
  const withSha1 = { ...toRsa, wrapping_algorithm: 'WRAPPING_ALGORITHM_RSAES_OAEP_SHA_1' }
  check('export_rsa_sha_1', openRsa(await exportTo(withSha1), 'sha1').equals(dataKey))

  // To an SM2 key.
  const sm2Key = sm2.generateKeyPairHex()
  const toSm2 = {
    public_key_blob: Buffer.from(SM2_SPKI_HEAD + sm2Key.publicKey, 'hex'),
    wrapping_key_spec: 'WRAPPING_KEY_SPEC_EC_SM2',
    wrapping_algorithm: 'WRAPPING_ALGORITHM_SM2PKE',
  }
  const der = sm2DerToHex(await exportTo(toSm2))
  check('export_sm2_der', openSm2(der, sm2Key.privateKey).equals(dataKey))
  const raw = await exportTo({
    ...toSm2,
    sm2_ciphertext_encoding: 'SM2_CIPHERTEXT_ENCODING_RAW_C1C3C2',
  })
  const withoutFirst = raw.subarray(1).toString('hex')
  check(
    'export_sm2_raw',
    raw.length === 32 + 97 && raw[0] === 4 &&
      openSm2(withoutFirst, sm2Key.privateKey).equals(dataKey)
  )

  // Used on both sides of the boundary.
  const opened = await keys('Decrypt', sealed)
  check('decrypt_is_the_same', opened.plaintext.equals(dataKey))
  const nonce = crypto.randomBytes(12)
  const cipher = crypto.createCipheriv('aes-256-gcm', opened.plaintext, nonce)
  const file = Buffer.concat([cipher.update('a file'), cipher.final()])
  const decipher = crypto.createDecipheriv('aes-256-gcm', dataKey, nonce)
  decipher.setAuthTag(cipher.getAuthTag())
  check('data_key_works', decipher.update(file, null, 'utf8') + decipher.final('utf8') === 'a file')

  // The other ways to a data key.
  const both = await keys('GenerateAndExportDataKey', {
    key_id: keyId,
    key_spec: 'DATA_KEY_SPEC_AES_128',
    ...toRsa,
  })
  const unwrapped = openRsa(both.exported_data_key, 'sha256')
  const bothOpened = await keys('Decrypt', { ciphertext_blob: both.ciphertext_blob })
  check('generate_and_export', unwrapped.length === 16 && bothOpened.plaintext.equals(unwrapped))
  const shown = await keys('GenerateDataKey', {
    key_id: keyId,
    number_of_bytes: 48,
    encryption_context: CONTEXT,
  })
  const shownOpened = await keys('Decrypt', {
    ciphertext_blob: shown.ciphertext_blob,
    encryption_context: CONTEXT,
  })
  check(
    'generate_data_key',
    shown.plaintext.length === 48 && shownOpened.plaintext.equals(shown.plaintext)
  )

  // The caller's own bytes, and a blob made anew.
  const words = Buffer.from('密钥 and bytes')
  const encrypted = await keys('Encrypt', {
    key_id: alias,
    plaintext: words,
    encryption_context: CONTEXT,
  })
  const decrypted = await keys('Decrypt', {
    ciphertext_blob: encrypted.ciphertext_blob,
    encryption_context: Object.fromEntries(Object.entries(CONTEXT).reverse()),
  })
  check('encrypt_decrypt', decrypted.plaintext.equals(words))
  const other = (await managed('CreateKey', {})).key_metadata.key_id
  const moved = await keys('ReEncrypt', {
    ciphertext_blob: encrypted.ciphertext_blob,
    source_encryption_context: CONTEXT,
    destination_key_id: other,
    destination_encryption_context: { moved: 'yes' },
  })
  const movedOpened = await keys('Decrypt', {
    ciphertext_blob: moved.ciphertext_blob,
    encryption_context: { moved: 'yes' },
  })
  check(
    're_encrypt',
    moved.key_id === keyId && movedOpened.key_id === other && movedOpened.plaintext.equals(words)
  )

  // Refusals and their details.
  await refused(
    'wrong_context',
    keys('Decrypt', { ciphertext_blob: blob, encryption_context: { tenant: 'other' } }),
    grpc.status.INVALID_ARGUMENT,
    'InvalidParameter'
  )
  const missing = await refused(
    'missing_parameter',
    keys('GenerateDataKey', {}),
    grpc.status.INVALID_ARGUMENT,
    'MissingParameter',
    'BadRequest'
  )
  check('bad_request_field', missing.BadRequest.fieldViolations[0].field === 'key_id')
  await refused(
    'unknown_key',
    managed('DescribeKey', { key_id: crypto.randomUUID() }),
    grpc.status.NOT_FOUND,
    'Forbidden.KeyNotFound'
  )
  await refused(
    'dry_run',
    keys('Decrypt', { ...sealed, dry_run: true }),
    grpc.status.FAILED_PRECONDITION,
    'DryRunOperationError'
  )
  await managed('DisableKey', { key_id: keyId })
  const disabled = await refused(
    'disabled_key',
    keys('ExportDataKey', { ...sealed, ...toRsa }),
    grpc.status.FAILED_PRECONDITION,
    'Rejected.Disabled',
    'PreconditionFailure'
  )
  check('precondition', disabled.PreconditionFailure.violations[0].type === 'Rejected.Disabled')
  await managed('EnableKey', { key_id: keyId })
  const again = await keys('Decrypt', sealed)
  check('enabled_again', again.plaintext.equals(dataKey))

  console.log(`${checks} checks`)
}

main(process.argv[2]).then(
  () => process.exit(0),
  (error) => {
    console.error(error)
    process.exit(1)
  }
)
