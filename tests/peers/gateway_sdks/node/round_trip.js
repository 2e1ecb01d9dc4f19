// The steps of every client in the terms of the API: actions, parameters and
// members of answers. How a client spells them is its own affair.
'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')

const CONTEXT = { tenant: 'acme & söhne', purpose: "a+b=c/d?e~f*g%20 'h'", 区域: '杭州' }
const DESCRIPTION = 'ключ 1/2 + "3" & 4=5; ~*\'() %7E\n第二行'
const UUID = /^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/

let checks = 0

function check(name, holds) {
  if (!holds) throw new Error(`check ${name} FAILED`)
  checks += 1
  console.log(`check ${name} ok`)
}

// The text of a client's own error.
class Refused extends Error {
  constructor(code, message, requestId, status) {
    super(`${code} (${status}): ${message} [${requestId}]`)
    Object.assign(this, { code, told: message, requestId, status })
  }
}

// A call that must fail, and how.
async function refused(name, code, status, call, action, parameters, message = '') {
  let answer
  try {
    answer = await call(action, parameters)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    const told = error.code === code && error.status === status && error.told
    const holds = told && error.told.includes(message) && UUID.test(error.requestId)
    if (!holds) console.log(`refused otherwise: ${error.message}`)
    return check(name, holds)
  }
  console.log('not refused:', answer)
  check(name, false)
}

const b64 = (data) => Buffer.from(data).toString('base64')
const bytes = (text) => Buffer.from(text, 'base64')
const context = (pairs) => JSON.stringify(pairs)

// `client(accessKeyId, secret)` gives a call: `call(action, parameters)` gives
// the members of the answer, or throws `Refused`. `lacks` are actions that the
// client is older than.
class RoundTrip {
  constructor(client, folder, lacks = []) {
    const { env } = process
    this.client = client
    this.folder = folder
    this.lacks = lacks
    this.accessKey = [env.ALIBABA_CLOUD_ACCESS_KEY_ID, env.ALIBABA_CLOUD_ACCESS_KEY_SECRET]
    this.disabled = [env.DISABLED_ACCESS_KEY_ID, env.DISABLED_ACCESS_KEY_SECRET]
    this.call = client(...this.accessKey)
  }

  async travel() {
    await this.keys()
    await this.dataKeys()
    await this.exports()
    await this.data()
    await this.pairs()
    await this.lists()
    await this.tagsAndAliases()
    await this.states()
    await this.refusals()
    await this.credentials()
    console.log(`${checks} checks`)
  }

  recipient(name) {
    return b64(fs.readFileSync(path.join(this.folder, `${name}.der`)))
  }

  keep(name, text) {
    fs.writeFileSync(path.join(this.folder, name), bytes(text))
  }

  async create(parameters = {}) {
    return (await this.call('CreateKey', parameters)).KeyMetadata.KeyId
  }

  async described(KeyId) {
    return (await this.call('DescribeKey', { KeyId })).KeyMetadata
  }

  async keys() {
    const made = await this.call('CreateKey', { Description: DESCRIPTION })
    this.key = made.KeyMetadata.KeyId
    check('create_key', made.KeyMetadata.KeyState === 'Enabled')
    check('request_id', UUID.test(made.RequestId))
    let metadata = await this.described(this.key)
    check('describe_key', metadata.Description === DESCRIPTION)
    check('unset_is_empty', metadata.DeleteDate === '' && metadata.MaterialExpireTime === '')
    await this.call('UpdateRotationPolicy', {
      KeyId: this.key,
      EnableAutomaticRotation: true,
      RotationInterval: '30d',
    })
    metadata = await this.described(this.key)
    const rotates = metadata.AutomaticRotation === 'Enabled'
    check('rotation_policy', rotates && metadata.RotationInterval === '2592000s')
  }

  async dataKeys() {
    const made = await this.call('GenerateDataKeyWithoutPlaintext', {
      KeyId: this.key,
      NumberOfBytes: 32,
      EncryptionContext: context(CONTEXT),
    })
    this.blob = made.CiphertextBlob
    check('generate_without_plaintext', made.KeyId === this.key && !made.Plaintext)
    const CiphertextBlob = this.blob
    const opened = await this.call('Decrypt', { CiphertextBlob, EncryptionContext: context(CONTEXT) })
    this.keep('data_key', opened.Plaintext)
    check('decrypt', bytes(opened.Plaintext).length === 32)
    const EncryptionContext = context({ ...CONTEXT, tenant: 'acme' })
    const wrong = { CiphertextBlob, EncryptionContext }
    await refused('wrong_context', 'InvalidParameter', 400, this.call, 'Decrypt', wrong)
    const seen = await this.call('GenerateDataKey', { KeyId: this.key, KeySpec: 'AES_256' })
    const again = await this.call('Decrypt', { CiphertextBlob: seen.CiphertextBlob })
    check('generate_data_key', again.Plaintext === seen.Plaintext)
  }

  async exports() {
    if (this.lacks.includes('ExportDataKey')) return
    for (const [name, WrappingKeySpec, WrappingAlgorithm] of [
      ['rsa', 'RSA_2048', 'RSAES_OAEP_SHA_256'],
      ['sm2', 'EC_SM2', 'SM2PKE'],
    ]) {
      const exported = await this.call('ExportDataKey', {
        CiphertextBlob: this.blob,
        PublicKeyBlob: this.recipient(name),
        WrappingKeySpec,
        WrappingAlgorithm,
        EncryptionContext: context(CONTEXT),
      })
      this.keep(`${name}.exported`, exported.ExportedDataKey)
      check(`export_${name}`, exported.KeyId === this.key)
    }
    const both = await this.call('GenerateAndExportDataKey', {
      KeyId: this.key,
      KeySpec: 'AES_128',
      PublicKeyBlob: this.recipient('rsa'),
      WrappingKeySpec: 'RSA_2048',
      WrappingAlgorithm: 'RSAES_OAEP_SHA_1',
    })
    this.keep('both.exported', both.ExportedDataKey)
    const opened = await this.call('Decrypt', { CiphertextBlob: both.CiphertextBlob })
    this.keep('both_data_key', opened.Plaintext)
    check('generate_and_export', bytes(opened.Plaintext).length === 16)
  }

  async data() {
    const Plaintext = b64(Buffer.alloc(1024, 'abc\0\xff'))
    const EncryptionContext = context(CONTEXT)
    const made = await this.call('Encrypt', { KeyId: this.key, Plaintext, EncryptionContext })
    const { CiphertextBlob } = made
    let opened = await this.call('Decrypt', { CiphertextBlob, EncryptionContext })
    check('encrypt_decrypt', opened.Plaintext === Plaintext)
    if (this.lacks.includes('ReEncrypt')) return
    const moved = await this.call('ReEncrypt', {
      CiphertextBlob,
      SourceEncryptionContext: EncryptionContext,
      DestinationKeyId: await this.create(),
    })
    opened = await this.call('Decrypt', { CiphertextBlob: moved.CiphertextBlob })
    check('re_encrypt', opened.Plaintext === Plaintext)
  }

  async version(KeyId) {
    const versions = await this.call('ListKeyVersions', { KeyId })
    return versions.KeyVersions.KeyVersion[0].KeyVersionId
  }

  async pairs() {
    const Plaintext = b64(crypto.randomBytes(32))
    this.pair = await this.create({ KeySpec: 'EC_SM2', KeyUsage: 'ENCRYPT/DECRYPT' })
    const used = { KeyId: this.pair, KeyVersionId: await this.version(this.pair) }
    const { PublicKey } = await this.call('GetPublicKey', used)
    check('get_public_key', PublicKey.startsWith('-----BEGIN PUBLIC KEY-----\n'))
    const Algorithm = 'SM2PKE'
    const made = await this.call('AsymmetricEncrypt', { Algorithm, Plaintext, ...used })
    const { CiphertextBlob } = made
    let opened = await this.call('AsymmetricDecrypt', { Algorithm, CiphertextBlob, ...used })
    check('asymmetric_decrypt', opened.Plaintext === Plaintext)
    await this.signatures()
    if (this.lacks.includes('ReEncrypt')) return
    const moved = await this.call('ReEncrypt', {
      CiphertextBlob,
      SourceKeyId: used.KeyId,
      SourceKeyVersionId: used.KeyVersionId,
      SourceEncryptionAlgorithm: Algorithm,
      DestinationKeyId: this.key,
      DestinationEncryptionContext: context(CONTEXT),
    })
    opened = await this.call('Decrypt', {
      CiphertextBlob: moved.CiphertextBlob,
      EncryptionContext: context(CONTEXT),
    })
    check('re_encrypt_from_a_pair', opened.Plaintext === Plaintext)
  }

  async signatures() {
    const KeyId = await this.create({ KeySpec: 'EC_P256' })
    const digest = (text) => crypto.createHash('sha256').update(text).digest('base64')
    const signed = {
      KeyId,
      KeyVersionId: await this.version(KeyId),
      Algorithm: 'ECDSA_SHA_256',
      Digest: digest('signed'),
    }
    const { Value } = await this.call('AsymmetricSign', signed)
    const verify = async (more) => (await this.call('AsymmetricVerify', { ...signed, Value, ...more })).Value
    check('verify', (await verify({})) === true)
    check('verify_not', (await verify({ Digest: digest('another') })) === false)
  }

  async lists() {
    const found = []
    let page = 0
    let total = 1
    while (found.length < total) {
      page += 1
      const listed = await this.call('ListKeys', { PageNumber: page, PageSize: 2 })
      total = listed.TotalCount
      const keys = listed.Keys.Key
      if (keys.length === 0 || listed.PageNumber !== page || listed.PageSize !== 2) break
      found.push(...keys.map((key) => key.KeyId))
    }
    const all = new Set(found).size === total && total > 2
    check('list_pages', all && found.includes(this.key))
    const past = await this.call('ListKeys', { PageNumber: page + 1, PageSize: 2 })
    check('list_past_the_end', past.Keys.Key.length === 0)
    if (this.lacks.includes('Filters')) return
    const Filters = JSON.stringify([{ Key: 'KeySpec', Values: ['EC_SM2', 'RSA_3072'] }])
    const listed = await this.call('ListKeys', { Filters })
    check('list_filters', listed.Keys.Key.map((key) => key.KeyId).join() === this.pair)
  }

  async tagsAndAliases() {
    const KeyId = this.key
    const tags = async () => (await this.call('ListResourceTags', { KeyId })).Tags.Tag
    const Tags = JSON.stringify([
      { TagKey: 'équipe', TagValue: 'a=b&c d' },
      { TagKey: 'env', TagValue: '' },
    ])
    await this.call('TagResource', { KeyId, Tags })
    const pairs = (await tags()).map((tag) => `${tag.TagKey}: ${tag.TagValue}`).sort()
    check('tags', pairs.join() === 'env: ,équipe: a=b&c d')
    await this.call('UntagResource', { KeyId, TagKeys: JSON.stringify(['env']) })
    check('untag', (await tags()).map((tag) => tag.TagKey).join() === 'équipe')
    const AliasName = 'alias/a-b_c/d'
    await this.call('CreateAlias', { AliasName, KeyId })
    const listed = await this.call('ListAliasesByKeyId', { KeyId })
    check('aliases', listed.Aliases.Alias.map((alias) => alias.AliasName).join() === AliasName)
    check('by_alias', (await this.described(AliasName)).KeyId === KeyId)
    await this.call('UpdateAlias', { AliasName, KeyId: await this.create() })
    check('update_alias', (await this.described(AliasName)).KeyId !== KeyId)
    await this.call('DeleteAlias', { AliasName })
    const code = 'Forbidden.AliasNotFound'
    const use = { KeyId: AliasName, Plaintext: 'AA==' }
    await refused('unknown_alias', code, 404, this.call, 'Encrypt', use)
  }

  async states() {
    const KeyId = this.key
    const use = { KeyId, Plaintext: b64('in vain') }
    await this.call('DisableKey', { KeyId })
    check('disable', (await this.described(KeyId)).KeyState === 'Disabled')
    await refused('disabled_key', 'Rejected.Disabled', 409, this.call, 'Encrypt', use)
    await this.call('EnableKey', { KeyId })
    check('enable', (await this.call('Encrypt', use)).KeyId === KeyId)
    await this.call('ScheduleKeyDeletion', { KeyId, PendingWindowInDays: 7 })
    const metadata = await this.described(KeyId)
    check('schedule', metadata.KeyState === 'PendingDeletion' && metadata.DeleteDate)
    await refused('pending_deletion', 'Rejected.PendingDeletion', 409, this.call, 'Encrypt', use)
    await this.call('CancelKeyDeletion', { KeyId })
    check('cancel', (await this.described(KeyId)).KeyState === 'Enabled')
  }

  async refusals() {
    const KeyId = this.key
    const nowhere = { KeyId: '00000000-0000-4000-8000-000000000000' }
    await refused('unknown_key', 'Forbidden.KeyNotFound', 404, this.call, 'DescribeKey', nowhere)
    const bare = { KeyId }
    const missing = 'MissingParameter'
    await refused('missing_parameter', missing, 400, this.call, 'Encrypt', bare, 'Plaintext')
    const many = { KeyId, NumberOfBytes: 1025 }
    const generate = 'GenerateDataKeyWithoutPlaintext'
    const invalid = 'InvalidParameter'
    await refused('invalid_parameter', invalid, 400, this.call, generate, many, 'NumberOfBytes')
    const code = 'Rejected.StateModifiedFailed'
    await refused('state_not_modified', code, 409, this.call, 'CancelKeyDeletion', { KeyId })
    if (this.lacks.includes('DryRun')) return
    const dry = { KeyId, Plaintext: 'AA==', DryRun: 'true' }
    await refused('dry_run', 'DryRunOperationError', 400, this.call, 'Encrypt', dry)
  }

  async credentials() {
    const { client, accessKey } = this
    const asked = ['DescribeKey', { KeyId: this.key }]
    const wrong = client(accessKey[0], 'A'.repeat(30))
    const message = 'Specified signature is not matched with our calculation'
    await refused('wrong_secret', 'SignatureDoesNotMatch', 400, wrong, ...asked, message)
    const nobody = client('KFnobody', accessKey[1])
    await refused('unknown_access_key', 'InvalidAccessKeyId.NotFound', 404, nobody, ...asked)
    const disabled = client(...this.disabled)
    await refused('disabled_access_key', 'InvalidAccessKeyId.Inactive', 400, disabled, ...asked)
  }
}

module.exports = { Refused, RoundTrip }
