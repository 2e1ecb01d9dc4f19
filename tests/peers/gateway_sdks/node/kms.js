// The SDK of types: node kms.js HOST:PORT FOLDER
//
// It is older than some of the API.
'use strict'

const sdk = require('@alicloud/kms20160120')
const { Config } = require('@alicloud/rpc-client')
const { version } = require('@alicloud/kms20160120/package.json')

const { Refused, RoundTrip } = require('./round_trip')

const [endpoint, folder] = process.argv.slice(2)
const LACKS = ['ExportDataKey', 'ReEncrypt', 'Filters', 'DryRun']

// Its models name members in camelCase, and so are built and shown.
const camel = (name) => name[0].toLowerCase() + name.slice(1)
const pascal = (name) => name[0].toUpperCase() + name.slice(1)

function shown(value) {
  if (Array.isArray(value)) return value.map(shown)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, of]) => [pascal(name), shown(of)]))
}

function client(accessKeyId, accessKeySecret) {
  const config = { accessKeyId, accessKeySecret, endpoint, protocol: 'http', regionId: 'local' }
  const kms = new sdk.default(new Config(config))
  return async (action, parameters) => {
    const given = Object.entries(parameters).map(([name, value]) => [camel(name), value])
    const request = new sdk[`${action}Request`](Object.fromEntries(given))
    try {
      return shown(await kms[camel(action)](request))
    } catch (error) {
      if (!error.data?.Code) throw error
      const [, status] = /code: (\d+), /.exec(error.message)
      const { Code, Message, RequestId } = error.data
      if (error.code !== `${Code}Error`) throw error
      throw new Refused(Code, Message, RequestId, Number(status))
    }
  }
}

console.log(`peer @alicloud/kms20160120 ${version} (Node)`)
new RoundTrip(client, folder, LACKS).travel().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
