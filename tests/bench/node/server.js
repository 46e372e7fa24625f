// The same job as Patchbay's webhook endpoint, as many would write it: Fastify, pg and one process for each core.
// Verifies the signature over the raw bytes and its age, stores webhook and job in one statement, and answers after
// the commit.
'use strict'

const cluster = require('node:cluster')
const crypto = require('node:crypto')
const fastify = require('fastify')
const { Pool } = require('pg')

const { PORT, DATABASE_URL, CLIENT_KEY, CLIENT_SECRET, WEBHOOK_PATH } = process.env
const PROCESSES = 2
// Together as many as pgbench has clients.
const CONNECTIONS = 32
const TENANT = '00000000-0000-7000-8000-000000000001'
const WINDOW_SECONDS = 300

// Named, so that the server plans it once for each connection.
const STORE = {
  name: 'store_webhook',
  text: `
    WITH stored AS (
      INSERT INTO inbox
        (id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id)
      VALUES ($1, $2, 'tiktok', $3, 'tiktok', $4, $5, now(), $6)
      ON CONFLICT (tenant_id, provider, digest) DO NOTHING
      RETURNING id)
    INSERT INTO jobs
      (id, tenant_id, kind, target, status, run_at, due_at, attempts, fence, correlation_id, created_at)
    SELECT $7, $2, 'ingest', id, 'ready', now(), now(), 0, 0, $6, now()
    FROM stored`
}

if (cluster.isPrimary) {
  for (let process = 0; process < PROCESSES; process++) cluster.fork()
  cluster.on('exit', () => process.exit(1))
} else {
  serve()
}

function serve () {
  const pool = new Pool({ connectionString: DATABASE_URL, max: CONNECTIONS })
  const app = fastify({ logger: false, bodyLimit: 256 * 1024 })
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => done(null, body))
  const schema = {
    response: { 200: { type: 'object', properties: { success: { type: 'boolean' } } } }
  }
  app.post(WEBHOOK_PATH, { schema }, async (request, reply) => {
    const body = request.body
    if (!isGenuine(request.headers['tiktok-signature'], body)) {
      return reply.code(401).send()
    }
    const digest = crypto.createHash('sha256').update(CLIENT_KEY).update('\0').update(body).digest()
    await pool.query({
      ...STORE,
      values: [crypto.randomUUID(), TENANT, CLIENT_KEY, digest, body, request.id, crypto.randomUUID()]
    })
    return { success: true }
  })
  app.listen({ port: Number(PORT), host: '127.0.0.1' }).catch((error) => {
    console.error(error)
    process.exit(1)
  })
}

function isGenuine (header, body) {
  const match = /^t=(\d{1,20}),s=([0-9a-f]{64})$/.exec(header ?? '')
  if (!match || !Buffer.isBuffer(body)) return false
  const [, time, given] = match
  const mac = crypto.createHmac('sha256', CLIENT_SECRET).update(`${time}.`).update(body).digest()
  return crypto.timingSafeEqual(mac, Buffer.from(given, 'hex')) &&
    Math.abs(Date.now() / 1000 - Number(time)) <= WINDOW_SECONDS
}
