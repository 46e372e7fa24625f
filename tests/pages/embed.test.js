// The custom elements in pages of another origin: with a pass for that origin, without one, in two languages, and with
// nothing of either page leaking into the other.

import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { ARTIFACTS, CONNECT, PICTURE, PLATFORM, TURN, UPLOAD, findings, open, portrait } from './world.js';

/** Sites of others, each with an origin of its own, that serve one page. */
const sites = [];
let html = '';
let SITE;
let STRANGER;
let world;
let pass;
before(async () => {
  for (let count = 0; count < 2; count += 1) {
    const server = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(html));
    await new Promise((resolve) => server.listen(0, 'localhost', resolve));
    sites.push(server);
  }
  [SITE, STRANGER] = sites.map((server) => `http://localhost:${server.address().port}`);
  world = await open();
  pass = await session('default', [SITE]);
});
after(async () => {
  sites.forEach((server) => server.close());
  await world?.stop();
});

const session = async (owner, origins) => (await world.api('POST', `/api/platforms/${PLATFORM}/embed-sessions`, { owner, origins })).token;

/** A page of another site with one of the elements. */
async function site(tag, { token = pass, attributes = '', origin = SITE, ...options } = {}) {
  const page = await world.page({ ...options, allow: [origin] });
  html = `<!doctype html><html lang="${(options.locale ?? 'en').slice(0, 2)}"><title>Shop</title>
    <style>h2 { color: rgb(1, 2, 3) } button { background: rgb(1, 2, 3) !important; color: #fff; font-size: 40px } ${options.style ?? ''}</style>
    <main><h1>Shop</h1><h2 id="own">Ours</h2><button id="ours">Buy</button><${tag} platform="${PLATFORM}" token="${token}" ${attributes}></${tag}></main>
    <script>window.told = []; for (const name of ['ready','expired','connected','disconnected','post','upload','connect'])
      document.addEventListener('patchbay-' + name, (event) => window.told.push([name, event.detail]));</script>
    <script type="module" src="${world.url}/web/embed.js"></script></html>`;
  await page.goto(`${origin}/`);
  return page;
}

const told = (page, name) => page.waitForFunction((wanted) => window.told.find(([one]) => one === wanted)?.[1] ?? false, name).then((handle) => handle.jsonValue());

for (const [width, scheme, locale, words] of [
  [320, 'dark', 'en-GB', 'Recent uploads'],
  [768, 'light', 'fr-FR', 'Envois récents'],
  [1280, 'light', 'en-GB', 'Recent uploads'],
]) {
  test(`the widget shows account, totals and uploads at ${width} px, ${scheme}, ${locale}`, async () => {
    const page = await site('patchbay-widget', { width, scheme, locale });
    await page.getByText(words).waitFor();
    await page.getByText('Ada Public').waitFor();
    assert.deepEqual(await portrait(page, 'patchbay-widget canvas'), PICTURE);
    const numbers = await page.locator('patchbay-widget .totals dd').allInnerTexts();
    assert.deepEqual(numbers, ['0', '2', '0'], 'pending, published, failed');
    assert.equal(await page.locator('patchbay-widget .recent li').count(), 2);
    assert.deepEqual(await findings(page), []);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0);
    await told(page, 'ready');
    await page.screenshot({ path: path.join(ARTIFACTS, `widget-${width}-${scheme}-${locale.slice(0, 2)}.png`), fullPage: true });
    await world.close(page);
  });
}

test('styles leak neither way, and the page themes by properties and parts', async () => {
  const style = 'patchbay-widget { --patchbay-accent: rgb(120, 0, 120); --patchbay-radius: 3px } patchbay-widget::part(upload) { letter-spacing: 3px }';
  const page = await site('patchbay-widget', { style });
  const upload = page.getByRole('button', { name: 'Upload', exact: true });
  await upload.waitFor();
  const looks = await upload.evaluate((node) => {
    const { backgroundColor, letterSpacing, fontSize } = getComputedStyle(node);
    return { backgroundColor, letterSpacing, fontSize };
  });
  assert.deepEqual(looks, { backgroundColor: 'rgb(120, 0, 120)', letterSpacing: '3px', fontSize: '16px' });
  const own = await page.evaluate(() => [getComputedStyle(document.getElementById('own')).color, getComputedStyle(document.getElementById('ours')).fontSize]);
  assert.deepEqual(own, ['rgb(1, 2, 3)', '40px']);
  assert.equal(await page.evaluate(() => document.adoptedStyleSheets.length), 0);
  await world.close(page);
});

test('an origin that the pass does not name gets nothing', async () => {
  const page = await site('patchbay-widget', { origin: STRANGER });
  await page.getByText('This part cannot be shown').waitFor();
  assert.equal(await page.getByText('Ada Public').count(), 0);
  assert.ok(page.heard.every((heard) => heard.includes('CORS')), page.heard.join('\n'));
  await page.context().close();
});

test('a video is uploaded from another site, to the end', async () => {
  const clip = path.join(world.folder, 'clip.mp4');
  copyFileSync(world.video, clip);
  const page = await site('patchbay-upload');
  await page.locator('patchbay-upload #file').setInputFiles(clip);
  await page.locator('#post-title').fill('From the shop');
  await page.locator('#option-privacy_level').selectOption('SELF_ONLY');
  assert.deepEqual(await findings(page), []);
  await page.locator('form.compose button[type=submit]').click();
  await page.locator('[role=status] .badge', { hasText: 'Published' }).waitFor({ timeout: TURN });
  const { post } = await told(page, 'post');
  const found = await world.api('GET', `/api/platforms/${PLATFORM}/posts/${post}`);
  assert.equal(found.consent.by, 'default', 'who the pass is for');
  await world.close(page);
});

test('the widget opens the form, and comes back from it', async () => {
  const page = await site('patchbay-widget');
  await page.getByRole('button', { name: 'Upload', exact: true }).click();
  await page.locator('form.compose').waitFor();
  await told(page, 'upload');
  await page.getByRole('button', { name: 'Back' }).click();
  await page.getByText('Recent uploads').waitFor();
  await world.close(page);
});

test('an account is connected from another site, in a window of its own', async () => {
  const page = await site('patchbay-connect', { token: await session('buyer', [SITE]) });
  page.context().on('page', (popup) => popup.on('request', () => {}));
  const opened = page.context().waitForEvent('page');
  await page.getByRole('button', { name: 'Connect TikTok' }).click();
  const popup = await opened;
  await popup.getByRole('button', { name: 'Connect TikTok' }).click();
  await popup.locator('input[name=account][value=quinn_quiet]').check();
  await popup.getByRole('button', { name: 'Allow' }).click();
  await popup.locator('#result .notice').waitFor();
  await page.getByRole('article', { name: 'Quinn Quiet' }).waitFor();
  await told(page, 'connected');
  await page.getByRole('article', { name: 'Quinn Quiet' }).getByRole('button', { name: 'Disconnect' }).click();
  await page.locator('dialog').getByRole('button', { name: 'Disconnect', exact: true }).click();
  await page.getByRole('button', { name: 'Connect TikTok' }).waitFor();
  await told(page, 'disconnected');
  await page.context().close();
});

test('a user sees no account, post or file of another', async () => {
  const ask = async (token, method, where, json) => {
    const [body, tag, ...secret] = token.split('.');
    const headers = { Origin: SITE, Authorization: `Bearer ${secret.join('.')}`, ...(json ? { 'Content-Type': 'application/json' } : {}) };
    const answer = await fetch(`${world.url}/api/embed/${body}.${tag}${where}`, { method, headers, body: json && JSON.stringify(json) });
    return { status: answer.status, headers: answer.headers, body: await answer.json().catch(() => null) };
  };
  const other = await session('somebody-else', [SITE]);
  const account = (await world.account('ada_public')).id;
  const post = (await world.api('GET', `/api/platforms/${PLATFORM}/posts`)).data[0].id;
  const base = `/platforms/${PLATFORM}`;
  assert.deepEqual((await ask(other, 'GET', `${base}/accounts`)).body.data, []);
  for (const [method, where, json] of [
    ['GET', `${base}/accounts/${account}/publish-options`],
    ['GET', `${base}/posts?account_id=${account}`],
    ['GET', `${base}/posts/${post}`],
    ['DELETE', `${base}/posts/${post}`],
    ['POST', `${base}/disconnect`, { account_id: account }],
    ['POST', `${base}/posts`, { account_id: account, kind: 'text' }],
    ['GET', '/platforms/nosuch/accounts'],
  ]) {
    assert.equal((await ask(other, method, where, json)).status, 404, `${method} ${where}`);
    assert.notEqual((await ask(pass, 'GET', `${base}/posts/${post}`)).status, 404);
  }
  // Halves of two passes make no third.
  const mixed = [...other.split('.').slice(0, 2), ...pass.split('.').slice(2)].join('.');
  assert.equal((await ask(mixed, 'GET', `${base}/accounts`)).status, 401);
  // It is no key.
  for (const token of [pass, pass.split('.').slice(2).join('.')]) {
    const answer = await fetch(`${world.url}/api${base}/accounts`, { headers: { Authorization: `Bearer ${token}` } });
    assert.equal(answer.status, 401);
  }
});

test('browsers are let in from the named origins alone', async () => {
  const [body, tag] = pass.split('.');
  const where = `${world.url}/api/embed/${body}.${tag}/platforms/${PLATFORM}/accounts`;
  const question = async (origin) => {
    const headers = { 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'authorization', ...(origin ? { Origin: origin } : {}) };
    const answer = await fetch(where, { method: 'OPTIONS', headers });
    return [answer.status, answer.headers.get('access-control-allow-origin'), answer.headers.get('access-control-allow-credentials')];
  };
  assert.deepEqual(await question(SITE), [204, SITE, null]);
  for (const origin of [STRANGER, `${SITE}0`, 'http://localhost', 'null', `${SITE}.evil.example`, SITE.replace('http:', 'https:'), SITE.toUpperCase(), undefined]) {
    assert.deepEqual(await question(origin), [403, null, null], origin);
  }
  // The management API answers no other origin at all.
  const management = await fetch(`${world.url}/api/platforms`, { headers: { Origin: SITE } });
  assert.deepEqual([management.status, management.headers.get('access-control-allow-origin')], [401, null]);
  const forged = await fetch(where.replace(body, `${body.slice(0, -2)}AA`), { method: 'OPTIONS', headers: { Origin: SITE } });
  assert.deepEqual([forged.status, forged.headers.get('access-control-allow-origin')], [403, null]);
});

test('a pass that has ended is asked for anew, and the work goes on', async () => {
  const page = await site('patchbay-widget');
  await page.getByText('Recent uploads').waitFor();
  const fresh = await session('default', [SITE]);
  await page.evaluate((token) => {
    document.addEventListener('patchbay-expired', () => (document.querySelector('patchbay-widget').token = token), { once: true });
  }, fresh);
  let refused = 0;
  await page.route((url) => url.pathname.includes(pass.split('.')[1]) && url.pathname.endsWith('/publish-options'), (route) => {
    refused += 1;
    return route.fulfill({ status: 401, json: { title: 'Over', detail: 'Over' }, headers: { 'access-control-allow-origin': SITE } });
  });
  await page.getByRole('button', { name: 'Upload', exact: true }).click();
  await page.locator('form.compose').waitFor();
  assert.equal(refused, 1);
  await world.close(page);
});

test('the host\'s own pages work for a user who has a pass and no key', async () => {
  const page = await world.page({ locale: 'en-GB' });
  await page.goto(`${world.url}${UPLOAD}#session=${pass}`);
  await page.locator('form.compose').waitFor();
  assert.equal(new URL(page.url()).hash, '', 'the pass does not stay in the address');
  await page.goto(world.url + CONNECT);
  await page.getByRole('article', { name: 'Ada Public' }).waitFor();
  await page.getByRole('button', { name: 'Reconnect' }).waitFor();
  await world.close(page);
});

test('markup in what the host answers does nothing in an element', async () => {
  const evil = '"><img src=x onerror=window.pwned=1><script>window.pwned=1</script>';
  const shop = await site('patchbay-widget', { token: pass });
  await shop.route('**/api/embed/**', async (route) => {
    const response = await route.fetch();
    const text = JSON.stringify(await response.json().catch(() => null)).replaceAll('Ada Public', JSON.stringify(evil).slice(1, -1)).replaceAll('Hello from Patchbay', JSON.stringify(evil).slice(1, -1));
    await route.fulfill({ response, body: text });
  });
  await shop.reload();
  await shop.getByText('<img src=x').first().waitFor();
  assert.equal(await shop.evaluate(() => window.pwned), undefined);
  await world.close(shop);
});
