// What holds for every page: no findings of axe-core, the strict policy, nothing from elsewhere, no markup from platforms,
// no jumps, small files, and how it looks at three widths.

import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';

import { ARTIFACTS, CHOICE, CHOICES, CHOOSE, CONNECT, PLATFORM, UPLOAD, findings, open, option, publish, until } from './world.js';

let world;
before(async () => {
  world = await open();
});
after(() => world?.stop());

/** The states of the pages that are looked at. */
const STATES = {
  connect: async (page) => {
    await page.goto(world.url + CONNECT);
    await page.locator('.account').first().waitFor();
  },
  choose: async (page) => {
    await page.route(CHOICE, (route) => route.fulfill({ json: CHOICES }));
    await page.goto(world.url + CHOOSE);
    await page.getByRole('checkbox').first().check();
  },
  upload: async (page) => {
    await page.goto(world.url + UPLOAD);
    await world.composing(page);
  },
  'upload-filled': async (page) => {
    await STATES.upload(page);
    const clip = path.join(world.folder, 'clip.mp4');
    copyFileSync(world.video, clip);
    await page.locator('#file').setInputFiles(clip);
    await page.locator('video').waitFor();
    await page.locator('#post-title').fill('A kite over the bay #kites');
    await page.locator('input[role=switch][id^=switch]').check();
    await option(page, 'brand_content_toggle').check();
    await page.locator('input[name=when][value=later]').check();
  },
  'upload-errors': async (page) => {
    await STATES.upload(page);
    await publish(page).click();
    await page.getByRole('alert').first().waitFor();
  },
  'upload-empty': async (page) => {
    await page.route('**/accounts?limit=100', (route) => route.fulfill({ json: { data: [], next_cursor: null } }));
    await page.goto(world.url + UPLOAD);
    await page.locator('.notice.warn .button').waitFor();
  },
  post: async (page) => {
    const { data } = await world.api('GET', `/api/platforms/${PLATFORM}/posts`);
    await page.goto(`${world.url}${UPLOAD}#${data[0].id}`);
    await page.locator('[role=status] .badge').waitFor();
  },
};

for (const state of Object.keys(STATES)) {
  test(`${state}: axe-core finds nothing serious, light and dark, and it looks so at 320, 768 and 1280 px`, async () => {
    for (const [width, scheme, locale] of [[1280, 'light', 'en-GB'], [768, 'dark', 'fr-FR'], [320, 'light', 'en-GB'], [320, 'dark', 'fr-FR']]) {
      const page = await world.page({ width, scheme, locale });
      await STATES[state](page);
      assert.deepEqual(await findings(page), [], `${width} ${scheme}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(wide, 0, `${width}: it scrolls sideways`);
      assert.equal(await page.locator('html').getAttribute('lang'), locale.slice(0, 2));
      await page.screenshot({ path: path.join(ARTIFACTS, `${state}-${width}-${scheme}-${locale.slice(0, 2)}.png`), fullPage: true });
      await world.close(page);
    }
  });
}

test('the form can be filled in and sent with the keyboard alone', async () => {
  const page = await world.page();
  await STATES.upload(page);
  await page.getByLabel('A web address').focus();
  await page.keyboard.press('Space');
  await page.locator('#url').focus();
  await page.keyboard.type('https://media.patchbay.example/sample.mp4');
  const reach = async (selector) => {
    for (let step = 0; step < 60; step += 1) {
      if (await page.locator(selector).evaluate((node) => node === document.activeElement)) return;
      await page.keyboard.press('Tab');
    }
    assert.fail(`${selector} is not reached by Tab`);
  };
  await reach('#option-privacy_level');
  await page.keyboard.press('ArrowDown');
  await reach('#option-disable_duet');
  await page.keyboard.press('Space');
  assert.equal(await option(page, 'disable_duet').isChecked(), true);
  await reach('form.compose button[type=submit]');
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineWidth);
  assert.notEqual(outline, '0px', 'focus can be seen');
  await page.keyboard.press('Enter');
  await page.locator('h2', { hasText: 'Your post' }).waitFor();
  await world.close(page);
});

test('pages carry the strict policy, and a policy that is broken is told', async () => {
  for (const where of [CONNECT, '/platforms/connect', '/platforms/choose', UPLOAD]) {
    const answer = await fetch(world.url + where);
    const policy = answer.headers.get('content-security-policy');
    for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]) {
      assert.ok(policy.includes(part), `${where}: ${policy}`);
    }
    assert.ok(!policy.includes('unsafe'));
    const text = await answer.text();
    assert.equal(/<script(?![^>]* src="\/web\/)/.test(text), false, 'no inline script');
    assert.equal(/\son[a-z]+=|style=/.test(text), false);
  }
  // That breaking the policy would be heard.
  const page = await world.page();
  await page.goto(world.url + UPLOAD);
  await page.evaluate(() => fetch('https://elsewhere.example/').catch(() => {}));
  // What the console says comes by a way of its own.
  await until('it is told', () => page.heard.some((heard) => heard.includes('Content Security Policy')));
  await page.context().close();
});

test('pages are not framed by other origins', async () => {
  const server = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(`<iframe src="${world.url}${UPLOAD}"></iframe>`));
  await new Promise((resolve) => server.listen(0, 'localhost', resolve));
  const origin = `http://localhost:${server.address().port}`;
  const page = await world.page({ allow: [origin] });
  await page.goto(`${origin}/`);
  await page.waitForFunction(() => document.readyState === 'complete');
  const frame = page.frames()[1];
  assert.match(frame.url(), /^chrome-error:/, 'the browser shows its own page instead');
  assert.equal(await frame.locator('h1#title').count(), 0);
  server.close();
  await page.context().close();
});

const CORPUS = [
  '"><img src=x onerror=window.pwned=1>',
  '<script>window.pwned=1</script>',
  '</title><script>window.pwned=1</script>',
  "javascript:window.pwned=1//'",
  '{{constructor.constructor("window.pwned=1")()}}',
  '<svg/onload=window.pwned=1>',
  '\u202Eevil\u2066',
];

test('markup in what a platform supplies is shown as text and does nothing', async () => {
  const account = (await world.api('GET', `/api/platforms/${PLATFORM}/accounts?limit=100`)).data[0];
  const { data } = await world.api('GET', `/api/platforms/${PLATFORM}/posts`);
  // The platform is asked once what may be posted: its limit for that question is less than these pages ask.
  const options = await world.publishOptions(account.id);
  for (const evil of CORPUS) {
    // Every text that comes from the platform, in every answer that the pages read.
    const poison = (value, key) => {
      if (typeof value === 'string') return ['display_name', 'username', 'nickname', 'avatar_url', 'profile_url', 'title', 'text', 'advice', 'code', 'url', 'detail', 'remote_ref', 'phase', 'purpose', 'description'].includes(key) ? evil : value;
      if (Array.isArray(value)) return key === 'remote_ids' ? [evil] : value.map((one) => poison(one));
      return value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, poison(one, name)])) : value;
    };
    for (const [where, ready] of [
      [CONNECT, '.account'],
      [UPLOAD, 'form.compose'],
      [`${UPLOAD}#${data[0].id}`, '[role=status] .badge'],
      [`${CONNECT}?success=${encodeURIComponent(evil)}&provider=${PLATFORM}&account=${account.id}`, '.account'],
      [`${CONNECT}?error=${encodeURIComponent(evil)}&code=${encodeURIComponent(evil)}&provider=${PLATFORM}`, '#result .notice'],
    ]) {
      const page = await world.page();
      await page.route('**/api/**', async (route) => {
        if (route.request().url().includes('/publish-options')) return route.fulfill({ json: poison(options) });
        const response = await route.fetch();
        const json = await response.json().catch(() => null);
        return json === null ? route.fulfill({ response }) : route.fulfill({ response, json: poison(json) });
      });
      await page.goto(world.url + where);
      await page.locator(ready).first().waitFor();
      assert.equal(await page.evaluate(() => window.pwned), undefined, `${evil} in ${where}`);
      assert.equal(await page.locator('img[src=x], svg[onload], a[href^="javascript:"]').count(), 0);
      await world.close(page);
    }
  }
});

test('nothing jumps while the upload page comes up', async () => {
  const page = await world.page();
  await page.addInitScript(() => {
    window.shift = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
  });
  await STATES.upload(page);
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  const shift = await page.evaluate(() => window.shift);
  console.log(`layout shift of the upload page: ${shift.toFixed(4)}`);
  assert.ok(shift < 0.02, `${shift}`);
  await world.close(page);
});

test('all files of the pages together are small', () => {
  const folder = path.join(import.meta.dirname, '../../host/server/web');
  const bytes = readdirSync(folder).reduce((sum, name) => sum + brotliCompressSync(readFileSync(path.join(folder, name))).length, 0);
  console.log(`files of the pages, compressed: ${bytes} bytes`);
  assert.ok(bytes <= 150_000, `${bytes}`);
});
