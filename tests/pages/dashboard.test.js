// The operator's dashboard: signing in and out, each view, what it changes, and what holds for every page.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { ARTIFACTS, PLATFORM, findings, open, until } from './world.js';

let world;
let guarded;
before(async () => {
  world = await open();
  guarded = await guardedHost();
  await world.control('POST', 'webhooks/send', { event: 'no.event', body: 'no json', signing: { mode: 'valid' } });
  await world.control('POST', 'webhooks/send', { event: 'no.event', body: 'none either', signing: { mode: 'valid' } });
});
after(async () => {
  await guarded?.stop();
  await world?.stop();
});

/** A port that nobody listens on. Below those that systems hand out by themselves, so that it is still free later. */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const free = await new Promise((resolve) => server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true)));
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** A host whose pages want a key. */
async function guardedHost() {
  const folder = mkdtempSync(path.join(tmpdir(), 'patchbay-guarded-'));
  const port = await freePort();
  const env = {
    PATH: process.env.PATH,
    PATCHBAY__SERVER__LISTEN: `127.0.0.1:${port}`,
    PATCHBAY__STORAGE__DIR: folder,
    PATCHBAY__DATABASE__URL: `sqlite:${path.join(folder, 'patchbay.db')}`,
  };
  const program = process.env.PATCHBAY_TEST_BINARY;
  const host = spawn(program, ['serve'], { env, cwd: folder, stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  const healthy = async () => {
    assert.equal(host.exitCode, null, 'the host has ended');
    return (await fetch(`${url}/healthz`).catch(() => null))?.ok;
  };
  await until('the host comes up', healthy, 50);
  const run = async (...args) => (await promisify(execFile)(program, args, { env, cwd: folder })).stdout.trim();
  return {
    url,
    key: (scope) => run('keys', 'create', '--name', 'ops', '--scope', scope),
    revoke: async (key) => {
      const listed = await fetch(`${url}/api/tenants?limit=1`, { headers: { authorization: `Bearer ${key}` } }).then((answer) => answer.json());
      const keys = `${url}/api/tenants/${listed.data[0].id}/keys`;
      const { data } = await fetch(keys, { headers: { authorization: `Bearer ${key}` } }).then((answer) => answer.json());
      const { id } = data.find(({ begins_with }) => key.startsWith(begins_with));
      await run('keys', 'revoke', id);
    },
    async stop() {
      host.kill('SIGTERM');
      await new Promise((resolve) => host.on('exit', resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const board = async (where = '', options = {}) => {
  const page = await world.page(options);
  await page.goto(`${world.url}/${where}`);
  await page.locator('#view').waitFor();
  return page;
};

const signIn = async (page, key) => {
  await page.getByLabel("Operator's key").fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
};

const guardedPage = async () => {
  const page = await world.page({ allow: [guarded.url] });
  await page.goto(guarded.url);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  return page;
};

test('a wrong key and a tenant\'s key are refused in words, an operator\'s lets in, and signing out forgets everything', async () => {
  const page = await guardedPage();
  assert.equal(await page.locator('#board').isVisible(), false);
  await signIn(page, 'pb_live_wrong');
  await page.getByRole('alert').filter({ hasText: 'no live API key' }).waitFor();
  await signIn(page, await guarded.key('read'));
  await page.getByRole('alert').filter({ hasText: "This key is a tenant's" }).waitFor();
  await signIn(page, await guarded.key('operator'));
  await page.locator('.numbers').waitFor();
  await page.getByText('Signed in with ops').waitFor();
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite], ['patchbay_operator', true, 'Strict']);
  assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length]), [0, 0]);

  // The session lasts over a reload, and its cookie opens no other door.
  await page.reload();
  await page.locator('.numbers').waitFor();
  const status = (where, init) => page.evaluate(([where, init]) => fetch(where, init).then((answer) => answer.status), [where, init]);
  assert.equal(await status('/api/operator/overview'), 401);
  assert.equal(await status('/api/tenants', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"name":"x"}' }), 401);
  assert.equal(await status(`/api/platforms/${PLATFORM}/accounts`), 401);

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.equal(await page.locator('.numbers').count(), 0);
  assert.deepEqual(await page.context().cookies(), []);
  await world.close(page);
});

test('a session ends with its key, and signing in again goes on where one was', async () => {
  const page = await guardedPage();
  const key = await guarded.key('operator');
  await signIn(page, key);
  await page.locator('.numbers').waitFor();
  await page.getByRole('link', { name: 'Dead letters', exact: true }).first().click();
  await page.getByText('Nothing was given up.').waitFor();
  await guarded.revoke(key);
  // Noticed at the next look, once the host has forgotten the key.
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await signIn(page, await guarded.key('operator'));
  await page.getByText('Nothing was given up.').waitFor();
  await world.close(page);
});

test('another site cannot act in the name of a browser that is signed in', async () => {
  const page = await guardedPage();
  const key = await guarded.key('operator');
  await signIn(page, key);
  await page.locator('.numbers').waitFor();
  const answers = [];
  page.on('response', (answer) => answer.url() === `${guarded.url}/api/tenants` && answers.push(answer.status()));
  await page.route('http://localhost:9/evil', (route) =>
    route.fulfill({ contentType: 'text/html', body: `<form method="post" action="${guarded.url}/api/tenants" enctype="text/plain"><input name='{"name":"mallory"}' value=""></form>` }),
  );
  await page.goto('http://localhost:9/evil');
  await page.evaluate(() => document.forms[0].submit());
  await page.waitForURL(`${guarded.url}/api/tenants`);
  assert.deepEqual(answers, [401], 'the cookie did not even go along');
  const names = await fetch(`${guarded.url}/api/tenants`, { headers: { authorization: `Bearer ${key}` } }).then((answer) => answer.json());
  assert.deepEqual(names.data.map(({ name }) => name), ['default']);
  await page.context().close();
});

test('the overview shows numbers, plots and work, says what is simulated, and leads to its controls', async () => {
  const page = await board();
  await page.getByText('Open to this machine').waitFor();
  const bar = page.locator('.simulated');
  await bar.getByText('nothing here reaches the real platform').waitFor();
  assert.equal(await bar.getByRole('link').getAttribute('href'), `${world.controls}/`);
  await page.getByText('2 pieces of work were given up.').waitFor();
  await page.locator('.number', { hasText: 'Success, 24 h' }).getByText('100%').waitFor();
  for (const title of ['Publish success', 'Webhook latency', 'Refresh failures']) {
    const figure = page.locator('figure', { hasText: title });
    const image = figure.getByRole('img', { name: new RegExp(title) });
    await image.waitFor();
    await figure.getByText('As a table').click();
    assert.equal(await figure.locator('tbody tr').count(), 24);
  }
  const bars = await page.locator('figure', { hasText: 'Publish success' }).locator('rect title').allTextContents();
  // In the same hour, unless the story has gone over its end.
  const counted = bars.map((text) => Number(/Published or in the inbox (\d+)$/.exec(text)?.[1] ?? 0));
  assert.equal(counted.reduce((sum, count) => sum + count), 2, bars.join());
  await page.getByRole('button', { name: '7 days' }).click();
  await page.locator('figure', { hasText: 'Publish success' }).getByText('As a table').click();
  assert.equal(await page.locator('figure', { hasText: 'Publish success' }).locator('tbody tr').count(), 28);
  await page.getByRole('row', { name: /Webhooks received/ }).waitFor();
  await page.getByLabel('Platform').selectOption(PLATFORM);
  await page.waitForURL(/provider=tiktok/);
  await page.locator('.numbers').waitFor();
  await world.close(page);
});

test('accounts show their health and the use of limits; posts their timeline; events lead to both', async () => {
  const page = await board('#/accounts');
  await page.getByText('Ada Public').first().waitFor();
  await page.getByRole('link', { name: /^Details/ }).click();
  await page.getByText("Use of the platform's limits").waitFor();
  assert.ok((await page.locator('meter').count()) > 1);
  await page.getByRole('link', { name: 'Its posts' }).click();
  await page.locator('.list li').nth(1).waitFor();
  assert.equal(await page.locator('.list li').count(), 2);
  await page.locator('.list li a').first().click();
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  const entries = await page.locator('.timeline li').allTextContents();
  assert.match(entries[0], /Asked for/);
  for (const part of ['About to call', 'Answer to', 'post.published']) assert.ok(entries.some((entry) => entry.includes(part)), `${part}: ${entries}`);
  const id = decodeURIComponent(new URL(page.url()).hash.split('/')[2].split('?')[0]);
  const title = (await world.api('GET', `/api/platforms/${PLATFORM}/posts/${id}`)).title;
  assert.ok(title && !(await page.locator('main').textContent()).includes(title), 'what is posted is not the operator\'s');
  await page.goto(`${world.url}/#/posts`);
  await page.getByLabel('Find by id').fill('post_0199f0a2b3c47d8e9f00112233445566');
  await page.getByRole('button', { name: 'Find' }).click();
  await page.getByRole('alert').filter({ hasText: 'could not be fetched' }).waitFor();
  await page.goto(`${world.url}/#/posts?status=failed`);
  await page.getByText('No post is in this state.').waitFor();
  await page.goto(`${world.url}/#/events`);
  await page.locator('.list li', { hasText: 'post.published' }).first().getByRole('link', { name: /^Post/ }).click();
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  await world.close(page);
});

/** Waits until both dead letters have come back, at the host and in a list that was fetched since. */
async function bothDead(page, rows) {
  await until('they have failed once more', async () => (await world.api('GET', '/api/dead-letters')).data.length === 2);
  await page.waitForRequest(/\/dead-letters\?/);
  await rows.nth(1).waitFor();
}

test('a dead letter is replayed after a question, one and all of a time', async () => {
  const page = await board('#/dead-letters');
  const rows = page.locator('.list li', { hasText: 'malformed_webhook' });
  await rows.nth(1).waitFor();
  const asked = [];
  page.on('request', (request) => request.method() === 'POST' && asked.push(new URL(request.url()).pathname.split('/').slice(-3).join('/')));
  const button = rows.first().getByRole('button', { name: /^Replay/ });
  await button.click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  assert.deepEqual(asked, []);
  assert.equal(await button.evaluate((node) => node === document.activeElement), true, 'back where one was');
  await button.click();
  await page.getByRole('dialog').getByRole('button', { name: 'Replay' }).click();
  await page.getByText('It is due again.').first().waitFor();
  assert.match(asked[0], /^dead-letters\/job_[0-9a-f]+\/replay$/);
  // The same bytes are no better now: it comes back.
  await bothDead(page, rows);
  await page.getByLabel('From').fill('2000-01-01T00:00:00');
  await page.getByRole('button', { name: 'Replay all of this time' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Replay them' }).click();
  await page.getByText('2 are due again.').first().waitFor();
  await bothDead(page, rows);
  await world.close(page);
});

test('deliveries that are held are told, and sent again when their endpoint takes them', async () => {
  const made = await world.api('POST', '/api/webhook-endpoints', { url: 'https://hooks.example.com/secret-path' });
  const where = `/api/webhook-endpoints/${made.id}`;
  await world.api('PATCH', where, { enabled: false });
  await world.close(await world.connect('quinn_quiet'));
  const page = await board('#/deliveries');
  await page.getByText('The tenant has disabled it.').waitFor();
  await page.getByRole('link', { name: 'https://hooks.example.com' }).click();
  const rows = page.locator('.list li', { hasText: 'account.connected' });
  await rows.first().getByText('Held').waitFor();
  assert.ok(!(await page.locator('main').textContent()).includes('secret-path'));
  await rows.first().getByRole('button', { name: /^Redeliver/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Redeliver' }).click();
  await page.getByRole('alert').filter({ hasText: 'It was not sent again' }).waitFor();
  await world.api('PATCH', where, { enabled: true });
  await page.getByRole('button', { name: /^Redeliver all/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Redeliver them' }).click();
  await page.getByText(/are sent again/).first().waitFor();
  await rows.first().getByText('Pending').waitFor();
  await world.close(page);
});

test('a tenant is made, a key for it is shown once, works, and is revoked', async () => {
  const page = await board('#/tenants');
  await page.getByLabel('Name').fill('acme');
  await page.getByRole('button', { name: 'Make a tenant' }).click();
  await page.getByRole('link', { name: 'acme', exact: true }).click();
  await page.getByText('This tenant has no key yet.').waitFor();
  await page.getByLabel('Name').fill('backend');
  await page.getByLabel(/^Publish/).uncheck();
  await page.getByRole('button', { name: 'Make a key' }).click();
  const key = await page.getByLabel(/it is shown once/).inputValue();
  const status = () => fetch(`${world.url}/api/platforms/${PLATFORM}/accounts`, { headers: { authorization: `Bearer ${key}` } }).then((answer) => answer.status);
  assert.equal(await status(), 200);
  await page.getByText('read, connect').waitFor();
  await page.getByRole('button', { name: /^Revoke/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke it' }).click();
  await page.locator('.list li', { hasText: 'Revoked' }).waitFor();
  assert.equal(await status(), 401);
  // Several tenants: rows are of one, and it is asked for which.
  await page.goto(`${world.url}/#/posts`);
  await page.reload();
  await page.getByRole('heading', { name: 'Of which tenant?' }).waitFor();
  await page.locator('.chips').getByRole('link', { name: 'acme' }).click();
  await page.getByText('Nothing has been posted.').waitFor();
  await world.close(page);
});

/** The tenant that the demo's story belongs to. */
const DEFAULT = 'ten_00000000000070008000000000000001';

const VIEWS = {
  overview: [`#/overview`, '.plots svg'],
  accounts: [`#/accounts?tenant=${DEFAULT}`, '.list li'],
  account: [async () => `#/accounts/${(await world.account('ada_public')).id}?tenant=${DEFAULT}`, '.quotas'],
  posts: [`#/posts?tenant=${DEFAULT}`, '.list li'],
  post: [async () => `#/posts/${(await world.api('GET', '/api/posts')).data[0].id}?tenant=${DEFAULT}`, '.timeline'],
  events: [`#/events?tenant=${DEFAULT}`, '.list li'],
  'dead-letters': [`#/dead-letters?tenant=${DEFAULT}`, '.list li'],
  deliveries: [`#/deliveries?tenant=${DEFAULT}`, '.list li'],
  endpoint: [async () => `#/deliveries/${(await world.api('GET', '/api/webhook-endpoints')).data[0].id}?tenant=${DEFAULT}`, '.list li'],
  tenants: ['#/tenants', '.list li'],
  keys: [`#/tenants/${DEFAULT}`, '.window'],
};

const at = async (name, page) => {
  const [where, ready] = VIEWS[name];
  await page.goto(`${world.url}/${typeof where === 'string' ? where : await where()}`);
  await page.locator(ready).first().waitFor();
};

for (const name of Object.keys(VIEWS)) {
  test(`${name}: axe-core finds nothing serious, light and dark; nothing is cut off at 320 px`, async () => {
    for (const [width, scheme] of [[1280, 'light'], [1280, 'dark'], [320, 'light'], [320, 'dark']]) {
      const page = await world.page({ width, scheme });
      await at(name, page);
      assert.deepEqual(await findings(page), [], `${width} ${scheme}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${wide} px are wanted at ${width}`);
      await page.screenshot({ path: path.join(ARTIFACTS, `dashboard-${name}-${width}-${scheme}.png`), fullPage: true });
      await world.close(page);
    }
  });
}

test('signing in and a question: axe-core finds nothing serious, light and dark', async () => {
  for (const scheme of ['light', 'dark']) {
    const page = await world.page({ allow: [guarded.url], scheme });
    await page.goto(guarded.url);
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await signIn(page, 'x');
    await page.getByRole('alert').waitFor();
    assert.deepEqual(await findings(page), []);
    await page.screenshot({ path: path.join(ARTIFACTS, `dashboard-sign-in-${scheme}.png`) });
    await world.close(page);
    const other = await world.page({ scheme });
    await at('dead-letters', other);
    await other.getByRole('button', { name: /^Replay job/ }).first().click();
    await other.getByRole('dialog').waitFor();
    assert.deepEqual(await findings(other), []);
    await world.close(other);
  }
});

const CORPUS = ['"><img src=x onerror=window.pwned=1>', '<script>window.pwned=1</script>', '</title><script>window.pwned=1</script>', "javascript:window.pwned=1//'", '<svg/onload=window.pwned=1>', '\u202Eevil\u2066'];
/** Fields that a platform, a tenant or a receiver has filled. */
const FOREIGN = ['display_name', 'username', 'owner', 'remote_id', 'status_code', 'code', 'advice', 'name', 'event', 'remote_ref', 'phase', 'op', 'request_id', 'origin', 'detail', 'key_name', 'disabled_code', 'simulator_page', 'provider'];

test('markup in what others supply is shown as text and does nothing', async () => {
  for (const evil of CORPUS) {
    const poison = (value, key) => {
      if (typeof value === 'string') return FOREIGN.includes(key) ? evil : value;
      if (Array.isArray(value)) return ['remote_ids', 'scopes'].includes(key) ? [evil] : value.map((one) => poison(one));
      return value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, poison(one, name)])) : value;
    };
    const page = await world.page();
    await page.route('**/api/**', async (route) => {
      const response = await route.fetch();
      const json = await response.json().catch(() => null);
      return json === null ? route.fulfill({ response }) : route.fulfill({ response, json: poison(json) });
    });
    for (const name of Object.keys(VIEWS)) {
      await at(name, page);
      assert.equal(await page.evaluate(() => window.pwned), undefined, `${evil} in ${name}`);
      assert.equal(await page.locator('img[src=x], svg[onload], a[href^="javascript:"]').count(), 0, `${evil} in ${name}`);
    }
    await page.goto(`${world.url}/#/posts/${encodeURIComponent(evil)}?tenant=${encodeURIComponent(evil)}&status=${encodeURIComponent(evil)}`);
    await page.locator('#view').waitFor();
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    await world.close(page);
  }
});

test('the keyboard reaches the views, a row, and the end of a dialog; the list keeps focus while it is fetched again', async () => {
  const page = await board(`#/dead-letters?tenant=${DEFAULT}`);
  const button = page.getByRole('button', { name: /^Replay job/ }).first();
  await button.waitFor();
  for (let step = 0; step < 40; step += 1) {
    if (await button.evaluate((node) => node === document.activeElement)) break;
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal(await button.evaluate((node) => node === document.activeElement), true);
  await page.waitForResponse(/dead-letters/);
  await page.waitForResponse(/dead-letters/);
  assert.equal(await button.evaluate((node) => node === document.activeElement), true);
  await world.close(page);
});

test('a host that is gone is told, and the board goes on when it is back', async () => {
  const page = await board(`#/posts?tenant=${DEFAULT}`);
  await page.locator('.list li').first().waitFor();
  await page.route('**/api/**', (route) => route.abort());
  await page.getByRole('alert').filter({ hasText: 'Patchbay cannot be reached' }).waitFor();
  await page.locator('.list li').first().waitFor();
  await page.unroute('**/api/**');
  await page.getByRole('alert').waitFor({ state: 'detached' });
  await world.close(page);
});
