// From nothing to a published post, with a client that is typed by the OpenAPI document. See README.md beside this file.

import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import createClient from 'openapi-fetch';
import type { components, paths } from './api.d.ts';

type Account = components['schemas']['AccountBody'];
type Problem = components['schemas']['Problem'];

const { PATCHBAY_URL = 'http://127.0.0.1:8080', PATCHBAY_KEY, PATCHBAY_PLATFORM: provider = 'tiktok' } = process.env;
const file = process.argv[2] ?? '../quickstart/sample.mp4';
const owner = 'typescript';
const patience = 600_000;

const api = createClient<paths>({
  baseUrl: PATCHBAY_URL,
  headers: PATCHBAY_KEY ? { Authorization: `Bearer ${PATCHBAY_KEY}` } : {},
});

class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.status} ${problem.code}: ${problem.detail} (request ${problem.request_id}, ${problem.who_acts} must act)`);
  }
}

/** The answer's body, or its problem thrown. */
function body<T>({ data, error }: { data?: T; error?: Problem }): T {
  if (error) throw new Refused(error);
  return data as T;
}

/** Looks again and again until there is something. */
async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await pause(500);
  }
}

async function connected(): Promise<Account | undefined> {
  const path = { provider };
  const accounts = body(await api.GET('/api/platforms/{provider}/accounts', { params: { path, query: { owner } } }));
  return accounts.data.find((account) => account.status === 'active');
}

async function connect(): Promise<Account> {
  const params = { path: { provider } };
  const session = body(await api.POST('/api/platforms/{provider}/connect-sessions', { params, body: { owner, scopes: [], activate: true } }));
  console.log(`Open this in a browser and agree: ${session.connect_url}`);
  return until('nobody connected an account', connected);
}

const account = (await connected()) ?? (await connect());
console.log(`Account ${account.id} is ${account.username ?? account.remote_id}`);

const bytes = await readFile(file);
const media = body(
  await api.POST('/api/media', {
    params: { query: { name: 'typescript' } },
    // Bytes have no type of their own in the document; they are sent as they are.
    body: bytes as unknown as string,
    bodySerializer: (bytes) => bytes,
    headers: { 'Content-Type': 'application/octet-stream' },
  }),
);
console.log(`File ${media.id} is ${media.mime}`);

const wanted = { account_id: account.id, kind: 'video', title: 'Hello from TypeScript', media: [{ id: media.id }] };

// What is wrong is told by field, before anything is posted.
const params = { path: { provider } };
const refused = await api.POST('/api/platforms/{provider}/posts', { params, body: { ...wanted, options: {} } });
if (!refused.error) throw new Error('a post without a privacy level was taken');
console.log(`Refused with ${refused.error.code}: ${refused.error.errors?.map(({ pointer }) => pointer).join(', ')}`);

const post = body(
  await api.POST('/api/platforms/{provider}/posts', {
    // The key makes the request safe to send again: there will still be one post.
    params: { ...params, header: { 'Idempotency-Key': `typescript-${media.id}` } },
    body: { ...wanted, options: { privacy_level: 'SELF_ONLY' } },
  }),
);
const done = await until('the post is not out yet', async () => {
  const now = body(await api.GET('/api/platforms/{provider}/posts/{id}', { params: { path: { provider, id: post.id } } }));
  return now.finished_at ? now : undefined;
});
if (done.status !== 'published') throw new Error(`${done.status}: ${done.failure?.advice ?? ''}`);

const events = body(await api.GET('/api/events', { params: { query: { post_id: post.id } } }));
console.log(`Events: ${events.data.map(({ name }) => name).join(', ')}`);
console.log(`Post ${post.id} is ${done.status}`);
