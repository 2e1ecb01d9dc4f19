'use strict';

// Prints the requests that Alibaba Cloud's SDKs for Node really send.
//
// Each line of standard input is a case, and so is each line of standard output
// a request, as it arrived at a server of this program's own: the signing, the
// encoding and the sending are the SDKs'. The first line tells the versions.

const fs = require('fs');
const http = require('http');
const path = require('path');
const readline = require('readline');

const PopCore = require('@alicloud/pop-core').RPCClient;
const tea = require('@alicloud/openapi-client');
const { RuntimeOptions } = require('@alicloud/tea-util');

const VERSION = '2016-01-20';
let arrived = [];

function pairs(raw) {
  const named = [];
  for (let at = 0; at < raw.length; at += 2) named.push([raw[at], raw[at + 1]]);
  return named;
}

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    arrived.push({
      method: request.method,
      target: request.url,
      headers: pairs(request.rawHeaders),
      body: Buffer.concat(chunks).toString('base64'),
    });
    response.setHeader('content-type', 'application/json');
    response.end('{"RequestId":"r-1"}');
  });
});

function popCore(given, port, method) {
  const client = new PopCore({
    accessKeyId: given.access_key_id,
    accessKeySecret: given.secret,
    endpoint: `http://127.0.0.1:${port}`,
    apiVersion: VERSION,
  });
  return client.request(given.action, { ...given.query, ...given.form }, { method });
}

function openApi(given, port, signatureAlgorithm) {
  const client = new tea.default(new tea.Config({
    accessKeyId: given.access_key_id,
    accessKeySecret: given.secret,
    endpoint: `127.0.0.1:${port}`,
    protocol: 'http',
    signatureAlgorithm,
  }));
  const params = new tea.Params({
    action: given.action,
    version: VERSION,
    protocol: 'HTTPS',
    pathname: '/',
    method: 'POST',
    authType: 'AK',
    style: 'RPC',
    reqBodyType: 'formData',
    bodyType: 'json',
  });
  const body = Object.keys(given.form).length > 0 ? given.form : undefined;
  const request = new tea.OpenApiRequest({ query: given.query, body });
  return client.callApi(params, request, new RuntimeOptions({}));
}

const SDKS = {
  'openapi-client V3': (given, port) => openApi(given, port, undefined),
  'openapi-client v2': (given, port) => openApi(given, port, 'v2'),
  'pop-core V1 POST': (given, port) => popCore(given, port, 'POST'),
  'pop-core V1 GET': (given, port) => popCore(given, port, 'GET'),
};

function version(name) {
  const folder = process.env.NODE_PATH.split(path.delimiter)[0];
  const described = fs.readFileSync(path.join(folder, name, 'package.json'));
  return `${name} ${JSON.parse(described).version}`;
}

async function main() {
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  console.log(['@alicloud/openapi-client', '@alicloud/pop-core'].map(version).join(', '));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const given = JSON.parse(line);
    arrived = [];
    await SDKS[given.sdk](given, server.address().port);
    if (arrived.length !== 1) throw new Error(`${arrived.length} requests arrived`);
    console.log(JSON.stringify(arrived[0]));
  }
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
