// The core that Node programs call any API by: node pop.js HOST:PORT FOLDER METHOD
'use strict'

const { RPCClient } = require('@alicloud/pop-core')
const { version } = require('@alicloud/pop-core/package.json')

const { Refused, RoundTrip } = require('./round_trip')

const [endpoint, folder, method] = process.argv.slice(2)

function client(accessKeyId, accessKeySecret) {
  const apiVersion = '2016-01-20'
  const kms = new RPCClient({ accessKeyId, accessKeySecret, endpoint: `http://${endpoint}`, apiVersion })
  return async (action, parameters) => {
    try {
      return await kms.request(action, parameters, { method })
    } catch (error) {
      if (error.name !== `${error.code}Error`) throw error
      const { Message, RequestId } = error.data
      throw new Refused(error.code, Message, RequestId, error.entry.response.statusCode)
    }
  }
}

console.log(`peer @alicloud/pop-core ${version} (${method}, Node)`)
new RoundTrip(client, folder).travel().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
