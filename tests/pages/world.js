// What the tests of the pages share: a host with a simulated platform, as `patchbay demo` starts it, and a browser that
// reaches nothing else. What a page loads from elsewhere, says on its console or throws fails the test that saw it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, readFileSync, readSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';

const require = createRequire(path.join(process.env.PATCHBAY_TEST_PAGES_MODULES ?? import.meta.dirname, 'package.json'));
const { chromium } = require('playwright-core');
export const { source: axe } = require('axe-core');

/** Screenshots, looked at by people. Ignored by git. */
export const ARTIFACTS = path.join(import.meta.dirname, '../artifacts/pages');
const FILE_BYTES = 18_000_001;
/** Longest wait for anything on a page, in milliseconds: browser and host may share a slow machine with others. */
const PATIENCE = 60_000;
/** And for what takes its turn at a limit of the platform, which may be a minute long, and then its time. */
export const TURN = 240_000;
export const PLATFORM = 'tiktok';
export const UPLOAD = `/platforms/${PLATFORM}/upload`;
export const CONNECT = `/platforms/connect/${PLATFORM}`;
/** The page of a choice. The simulated platform tells one account alone, so tests answer for the API here. */
export const CHOOSE = `/platforms/choose#provider=${PLATFORM}&choice=handle`;
export const CHOICE = `**/api/platforms/${PLATFORM}/connect/choices/handle`;
/** An answer of that API. */
export const CHOICES = {
  platform: 'TikTok',
  accounts: [
    { id: '1', display_name: 'The bakery', username: 'bakery' },
    { id: '2', display_name: '<b>The mill</b> with a name that is longer than most of the names which people give', username: null },
    { id: '3', display_name: null, username: 'shop' },
  ],
  scopes: ['user.info.basic'],
  most: 2,
  expires_at: '2030-01-01T00:00:00Z',
};

/** A host with its platform, and a browser. */
export async function open() {
  mkdirSync(ARTIFACTS, { recursive: true });
  const folder = mkdtempSync(path.join(tmpdir(), 'patchbay-pages-'));
  const program = process.env.PATCHBAY_TEST_BINARY;
  assert.ok(program, 'PATCHBAY_TEST_BINARY names the program');
  const demo = spawn(program, ['demo', '--json', '--port', '0', '--dir', folder, '--file-bytes', String(FILE_BYTES)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const started = await story(demo);
  const browser = await chromium.launch({
    executablePath: process.env.PATCHBAY_TEST_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost'],
  });
  return new World(started, folder, demo, browser);
}

/** The first lines of the demo: where things are; then its story, to the end. */
function story(demo) {
  return new Promise((resolve, reject) => {
    let serving = null;
    let published = 0;
    let rest = '';
    demo.on('exit', (code) => reject(new Error(`the demo ended with ${code}`)));
    demo.stdout.on('data', (data) => {
      const lines = (rest + data).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        const said = JSON.parse(line);
        if (said.step === 'serve') serving = said;
        if (said.step === 'failed' || said.error) reject(new Error(line));
        if (said.step === 'post' && said.state === 'published' && said.remote_ids) published += 1;
      }
      if (serving && published === 2) resolve(serving);
    });
  });
}

class World {
  constructor({ url, controls }, folder, demo, browser) {
    this.url = url.replace(/\/$/, '');
    this.controls = controls[PLATFORM].replace(/\/$/, '');
    Object.assign(this, { folder, demo, browser });
    this.video = findVideo(folder);
  }

  /** A page as a visitor has it. `heard` collects what must not be. */
  async page({ width = 1280, scheme = 'light', locale = 'en-GB', allow = [] } = {}) {
    const context = await this.browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, locale, timezoneId: 'Europe/Berlin', reducedMotion: 'reduce' });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    page.heard = [];
    const ours = [this.url, ...allow];
    context.on('request', (request) => {
      const url = request.url();
      if (!/^(blob|data):/.test(url) && !ours.some((origin) => url.startsWith(`${origin}/`))) page.heard.push(`request to ${url}`);
    });
    page.on('pageerror', (error) => page.heard.push(`error ${error.message}`));
    page.on('console', (message) => {
      // Answers that are refusals are listed by the browser, and are what some tests are about.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) page.heard.push(`console ${message.text()}`);
    });
    page.setDefaultTimeout(PATIENCE);
    await fresh(context, this.url);
    return page;
  }

  /** What must not be was not. */
  async close(page) {
    assert.deepEqual(page.heard, []);
    // What is still on its way is nobody's any more.
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.context().unrouteAll({ behavior: 'ignoreErrors' });
    await page.context().close();
  }

  async api(method, where, json) {
    const answer = await fetch(this.url + where, { method, headers: json ? { 'content-type': 'application/json' } : {}, body: json && JSON.stringify(json) });
    const text = await answer.text();
    const body = text ? JSON.parse(text) : null;
    assert.ok(answer.ok, `${method} ${where}: ${answer.status} ${text}`);
    return body;
  }

  /** The platform's own controls. */
  async control(method, where, json) {
    const answer = await fetch(`${this.controls}/${where}`, { method, headers: { 'content-type': 'application/json' }, body: json ? JSON.stringify(json) : method === 'POST' ? '{}' : undefined });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${where}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  /** Connects a user of the platform through its consent page, in a browser, and gives the account. */
  async connect(username, { lacking = [], decision = 'Allow' } = {}) {
    const page = await this.page({ allow: [new URL(this.controls).origin] });
    await page.goto(this.url + CONNECT);
    await page.getByRole('link', { name: /^Connect (TikTok|another account)/ }).click();
    await page.locator(`input[name=account][value=${username}]`).check();
    for (const scope of lacking) await page.locator(`input[name=granted][value="${scope}"]`).uncheck();
    await page.getByRole('button', { name: decision }).click();
    await page.waitForURL(({ origin, pathname }) => origin === this.url && pathname.startsWith('/platforms/connect'));
    await page.locator('#result .notice').waitFor();
    page.heard = [];
    return page;
  }

  /** What may be posted now, by the host's word. The platform takes so few questions in a minute; then one asks again later. */
  async publishOptions(account) {
    const where = `${this.url}/api/platforms/${PLATFORM}/accounts/${account}/publish-options`;
    return until('the platform answers what may be posted', async () => {
      const answer = await fetch(where);
      if (answer.status === 429 || answer.status === 503) return null;
      assert.ok(answer.ok, `${answer.status}`);
      return answer.json();
    }, 5_000);
  }

  async account(username) {
    const { data } = await this.api('GET', `/api/platforms/${PLATFORM}/accounts?limit=100`);
    return data.find((one) => one.username === username && one.status === 'active');
  }

  /** The form of an account, ready to be filled in. */
  async form(username, options) {
    const account = await this.account(username);
    const page = await this.page(options);
    await page.goto(`${this.url}${UPLOAD}?account=${account.id}`);
    await this.composing(page);
    return page;
  }

  /** Waits for the form of a post. Where the platform has been asked too often in this minute, its reader asks again. */
  async composing(page) {
    const again = page.locator('#publish .notice.bad button.second');
    await until('the form is shown', async () => {
      await page.locator('form.compose').or(again).waitFor();
      if ((await page.locator('form.compose').count()) > 0) return true;
      await pause(5_000);
      await again.click();
      return false;
    });
  }

  async stop() {
    await this.browser.close();
    this.demo.removeAllListeners('exit');
    this.demo.kill('SIGTERM');
    await new Promise((resolve) => this.demo.on('exit', resolve));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Looks until there is something, and gives it. */
export async function until(what, look, every = 200, patience = TURN) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await pause(every);
  }
}

const TYPES = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };

/** While someone works on the pages: `PATCHBAY_TEST_WEB` is the folder of their files, taken as they are now, without a build. */
async function fresh(context, url) {
  const folder = process.env.PATCHBAY_TEST_WEB;
  if (!folder) return;
  await context.route(`${url}/web/*`, (route) => {
    const name = new URL(route.request().url()).pathname.slice('/web/'.length);
    const headers = { 'content-type': TYPES[name.split('.').pop()], 'access-control-allow-origin': '*' };
    return route.fulfill({ body: readFileSync(path.join(folder, name)), headers });
  });
  const pages = [[/\/platforms\/[a-z]+\/upload(\?.*)?$/, 'upload.html'], [/\/platforms\/connect(\/[a-z]+)?(\?.*)?$/, 'connect.html'], [/\/platforms\/choose$/, 'choose.html']];
  for (const [address, name] of pages) {
    await context.route(address, async (route) => route.fulfill({ response: await route.fetch(), body: readFileSync(path.join(folder, name)) }));
  }
}

/** The sample video that the story has uploaded, in the host's folder. */
function findVideo(folder) {
  for (const entry of readdirSync(folder, { recursive: true })) {
    const file = path.join(folder, entry);
    if (!statSync(file).isFile() || statSync(file).size !== FILE_BYTES) continue;
    const head = Buffer.alloc(12);
    readSync(openSync(file, 'r'), head, 0, 12, 0);
    if (head.toString('latin1', 4, 8) === 'ftyp') return file;
  }
  throw new Error('the story has left no video');
}

/** The colour of the pictures of the simulated platform, and of the middle of a picture that is drawn on a page. */
export const PICTURE = [0xfe, 0x2c, 0x55, 0xff];
export async function portrait(page, where) {
  const canvas = page.locator(where).first();
  await canvas.waitFor();
  return canvas.evaluate((node) => [...node.getContext('2d').getImageData(node.width / 2, node.height / 2, 1, 1).data]);
}

/** As people write it. */
export const option = (page, name) => page.locator(`#option-${name}`);
export const publish = (page) => page.locator('form.compose button[type=submit]');

/** Serious and critical findings of axe-core on a page. */
export async function findings(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ['violations'] })).violations);
  return found.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
}
