// Bluesky's own server software (a PDS) and the directory of its network, on loopback, each on a free port, with nothing
// kept. Prints where they are as one line of JSON, and ends when its input does.
//
// The server calls itself pds.test: documents of its accounts say so, and whoever tests maps that name to its port.
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { createRequire } from 'node:module'

// Both call listen(port), which is every interface. Nothing here is for anyone else.
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (...args) {
  if (typeof args[0] === 'number' && typeof args[1] !== 'string') args.splice(1, 0, '127.0.0.1')
  return listen.apply(this, args)
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'patchbay-pds-'))
const end = () => {
  fs.rmSync(folder, { recursive: true, force: true })
  process.exit(0)
}
process.stdin.on('end', end).on('error', end).resume()
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, end)

const require = createRequire(path.join(process.cwd(), 'x.js'))
const plc = require('@did-plc/server')
const directory = await plc.PlcServer.create({ db: plc.Database.mock(), port: 0 }).start()
const plcPort = directory.address().port

const { PDS } = await import('@atproto/pds')
const pds = await PDS.fromEnv({
  devMode: true,
  hostname: 'pds.test',
  port: 0,
  dataDirectory: folder,
  blobstoreDiskLocation: path.join(folder, 'blobs'),
  didPlcUrl: `http://127.0.0.1:${plcPort}`,
  serviceHandleDomains: ['.test'],
  inviteRequired: false,
  adminPassword: 'admin-password-of-a-test',
  jwtSecret: 'jwt-secret-of-a-test',
  dpopSecret: 'a'.repeat(64),
  plcRotationKeyK256PrivateKeyHex: '1'.repeat(64),
  disableSsrfProtection: true,
  bskyAppViewUrl: 'http://127.0.0.1:1',
  bskyAppViewDid: 'did:example:invalid',
  modServiceUrl: 'http://127.0.0.1:1',
  modServiceDid: 'did:example:invalid',
  rateLimitsEnabled: false,
})
const server = await pds.start()
console.log(JSON.stringify({ pds: `127.0.0.1:${server.address().port}`, plc: `127.0.0.1:${plcPort}` }))
