// The ways of end users: connect and its ends, uploads that are cut, addresses, limits, and what goes wrong, each said in
// words where it happened.

import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { CHOICE, CHOICES, CHOOSE, CONNECT, PICTURE, PLATFORM, TURN, UPLOAD, open, option, portrait, publish, until } from './world.js';

let world;
let clip;
before(async () => {
  world = await open();
  clip = path.join(world.folder, 'clip.mp4');
  copyFileSync(world.video, clip);
});
after(() => world?.stop());

const published = (page) => page.locator('[role=status] .badge', { hasText: 'Published' }).waitFor({ timeout: TURN });

test('an account is connected, shown with its name, and disconnected after a question', async () => {
  const page = await world.connect('quinn_quiet');
  await page.locator('#result .notice.ok', { hasText: 'Quinn Quiet is connected.' }).waitFor();
  assert.equal(new URL(page.url()).search, '', 'the address holds nothing of the result');
  const card = page.getByRole('article', { name: 'Quinn Quiet' });
  assert.deepEqual(await portrait(page, 'article[aria-label="Quinn Quiet"] canvas'), PICTURE);
  await card.getByRole('button', { name: 'Disconnect' }).click();
  await page.getByRole('button', { name: 'Keep it connected' }).click();
  await card.waitFor();
  await card.getByRole('button', { name: 'Disconnect' }).click();
  await page.locator('dialog').getByRole('button', { name: 'Disconnect', exact: true }).click();
  await page.locator('#result .notice', { hasText: 'Disconnected' }).waitFor();
  assert.equal(await card.count(), 0);
  await world.close(page);
});

test('someone who refuses at the platform is told, and can try again', async () => {
  const page = await world.connect('pia_private', { decision: 'Cancel' });
  await page.locator('#result .notice', { hasText: 'You did not allow it at TikTok.' }).waitFor();
  await page.getByRole('link', { name: /^Connect/ }).first().waitFor();
  await world.close(page);
});

test('of several accounts those are connected that are chosen, by keyboard alone', async () => {
  const page = await world.page();
  const sent = [];
  const account = await world.account('ada_public');
  await page.route(CHOICE, (route) => {
    if (route.request().method() === 'GET') return route.fulfill({ json: CHOICES });
    sent.push(route.request().postDataJSON());
    return route.fulfill({ json: { location: `${CONNECT}?success=${PLATFORM}_connected&account=${account.id}` } });
  });
  await page.goto(world.url + CHOOSE);
  await page.getByRole('heading', { name: 'Which accounts of TikTok?' }).waitFor();
  await page.getByText('<b>The mill</b>').waitFor();
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await page.getByRole('button').focus();
  await press('Enter');
  await page.getByRole('alert').getByText('Choose at least one account.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.value), '1', 'the reader is led to the choices');
  await press('Space', 'Tab', 'Space', 'Tab', 'Space', 'Tab', 'Enter');
  await page.getByRole('alert').getByText('Choose at most 2 accounts.').waitFor();
  await press('Space', 'Tab', 'Tab', 'Tab', 'Enter');
  await page.locator('#result .notice.ok', { hasText: 'is connected.' }).waitFor();
  assert.deepEqual(sent, [{ ids: ['2', '3'] }]);
  await page.goBack().catch(() => {});
  assert.ok(!page.url().includes('choose'), 'the page of the choice is passed over');
  await world.close(page);
});

test('a choice that is over says so, in words', async () => {
  const page = await world.page({ locale: 'fr-FR' });
  await page.goto(world.url + CHOOSE);
  await page.locator('#problem .notice', { hasText: 'Cela a pris trop de temps' }).waitFor();
  assert.equal(await page.getByRole('checkbox').count(), 0);
  await world.close(page);
});

test('permissions that were left out are named in words', async () => {
  const page = await world.connect('pia_private', { lacking: ['video.upload'] });
  await page.locator('#result .notice.warn', { hasText: 'some permissions are missing' }).getByText('Send drafts to your TikTok inbox').waitFor();
  await world.close(page);
});

test('a file goes up in pieces; after a reload it goes on where it was', async () => {
  const page = await world.form('ada_public');
  await page.locator('#file').setInputFiles(clip);
  await page.locator('#post-title').fill('Cut in the middle');
  await option(page, 'privacy_level').selectOption('SELF_ONLY');
  // The second piece never ends.
  const held = page.waitForRequest((request) => request.method() === 'PATCH' && request.headers()['upload-offset'] !== '0');
  await page.context().route('**/api/media/uploads/*', async (route) => {
    const request = route.request();
    if (request.method() === 'PATCH' && request.headers()['upload-offset'] !== '0') return;
    await route.continue();
  });
  await publish(page).click();
  await page.locator('.transfer').getByText('Uploading…').waitFor();
  await held;
  await page.locator('.numbers', { hasText: /of 18[.,]0 MB/ }).waitFor();
  page.on('dialog', (dialog) => dialog.accept());
  await page.reload();
  await page.context().unroute('**/api/media/uploads/*');
  await page.getByText(/The upload of clip\.mp4 was interrupted at 23 %/).waitFor();
  assert.equal(await page.locator('#post-title').inputValue(), 'Cut in the middle');
  assert.equal(await option(page, 'privacy_level').inputValue(), 'SELF_ONLY', 'this very post was agreed to before the cut');
  const offsets = [];
  page.on('request', (request) => request.method() === 'PATCH' && offsets.push(Number(request.headers()['upload-offset'])));
  await page.locator('#file').setInputFiles(clip);
  await publish(page).click();
  await published(page);
  assert.equal(offsets[0], 4 * 1024 * 1024, `the first piece is not sent again: ${offsets}`);
  assert.ok(offsets.length >= 3);
  await world.close(page);
});

test('an upload pauses, goes on, survives a lost connection, and can be cancelled', async () => {
  const page = await world.form('ada_public');
  await page.locator('#file').setInputFiles(clip);
  await page.locator('#post-title').fill('Stop and go');
  await option(page, 'privacy_level').selectOption('SELF_ONLY');
  let hold = true;
  await page.context().route('**/api/media/uploads/*', async (route) => {
    if (route.request().method() === 'PATCH' && hold) return;
    await route.continue().catch(() => {});
  });
  await publish(page).click();
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByText('Paused. What has arrived stays.').waitFor();
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByText('Uploading…').waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  hold = false;
  await page.context().setOffline(true);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByText('The connection is lost.').waitFor();
  hold = true;
  await page.context().setOffline(false);
  await page.getByText('Uploading…').waitFor();
  await page.getByRole('button', { name: 'Cancel the upload' }).click();
  await page.getByText('Nothing was published, and what you typed is still here.').waitFor();
  assert.equal(await page.locator('#post-title').inputValue(), 'Stop and go');
  hold = false;
  await publish(page).click();
  await published(page);
  await world.close(page);
});

for (const tells of [true, false]) {
  test(`a post is followed to its end ${tells ? 'as the host tells of it' : 'by looking, where nothing can be told'}`, async () => {
    const page = await world.form('ada_public');
    const asked = { told: 0, looked: 0 };
    page.on('request', (request) => {
      const { pathname } = new URL(request.url());
      if (/\/posts\/[^/]+\/updates$/.test(pathname)) asked.told += 1;
      if (request.method() === 'GET' && /\/posts\/[^/]+$/.test(pathname)) asked.looked += 1;
    });
    if (!tells) await page.route('**/updates', (route) => route.abort());
    await page.locator('#file').setInputFiles(clip);
    await page.locator('#post-title').fill(tells ? 'Told' : 'Looked for');
    await option(page, 'privacy_level').selectOption('SELF_ONLY');
    await publish(page).click();
    await published(page);
    assert.equal(asked.told, 1);
    assert.equal(asked.looked > 0, !tells, `${asked.looked} looks`);
    await world.close(page);
  });
}

test('several files become several posts, one after the other', async () => {
  const second = path.join(world.folder, 'second.mp4');
  copyFileSync(clip, second);
  const page = await world.form('ada_public');
  await page.locator('#file').setInputFiles([clip, second]);
  await page.getByText('Next in line').waitFor();
  await page.locator('#post-title').fill('First of two');
  await option(page, 'privacy_level').selectOption('SELF_ONLY');
  await publish(page).click();
  await page.getByRole('button', { name: 'Go on with second.mp4' }).click({ timeout: TURN });
  await page.locator('.files', { hasText: 'second.mp4' }).waitFor();
  assert.equal(await page.locator('#post-title').inputValue(), '');
  assert.equal(await option(page, 'privacy_level').inputValue(), '', 'each post is decided upon by itself');
  await world.close(page);
});

test('a video is posted by its address, and addresses that cannot be are refused where they stand', async () => {
  const page = await world.form('ada_public');
  await page.getByLabel('A web address').check();
  await option(page, 'privacy_level').selectOption('SELF_ONLY');
  await page.locator('#post-title').fill('By address');
  const says = async (address, text) => {
    await page.locator('#url').fill(address);
    await publish(page).click();
    await page.locator('#url-error', { hasText: text }).waitFor();
    assert.equal(await page.locator('#url').inputValue(), address);
  };
  await says('http://media.patchbay.example/sample.mp4', 'is not an https address');
  await says('https://127.0.0.1/sample.mp4', 'public https URL');
  await page.locator('#url').fill('https://media.patchbay.example/sample.mp4');
  await publish(page).click();
  await published(page);
  await world.close(page);
});

test('an address that the platform does not fetch from ends as a failure in words', async () => {
  const page = await world.form('ada_public');
  await page.getByLabel('A web address').check();
  await page.locator('#url').fill('https://elsewhere.example/none.mp4');
  await option(page, 'privacy_level').selectOption('SELF_ONLY');
  await publish(page).click();
  await page.locator('[role=status] .badge', { hasText: 'Not published' }).waitFor({ timeout: TURN });
  assert.match(await page.locator('#publish .notice.bad strong').innerText(), /domain|address/i);
  await page.getByRole('button', { name: 'Publish something else' }).click();
  await page.locator('form.compose').waitFor();
  await world.close(page);
});

test('files of a wrong type, empty or too large are refused in words, and nothing typed is lost', async () => {
  const page = await world.form('ada_public');
  await page.locator('#post-title').fill('Still here');
  const says = async (name, bytes, text) => {
    const file = path.join(world.folder, name);
    writeFileSync(file, Buffer.alloc(bytes));
    await page.locator('#file').setInputFiles(file);
    await page.locator('#file-error', { hasText: text }).waitFor();
  };
  await says('notes.txt', 3, 'notes.txt is text/plain, which is not accepted. Use MP4, MOV, WEBM.');
  await says('empty.mp4', 0, 'empty.mp4 is empty.');
  await page.getByRole('radio', { name: 'Pictures' }).check();
  await says('large.jpg', 21 * 1024 * 1024, 'large.jpg has 22.0 MB; at most 21.0 MB are accepted.');
  assert.equal(await page.locator('#post-title').inputValue(), 'Still here');
  // What calls itself a video and is none: the host looks inside.
  await page.getByRole('radio', { name: 'Video' }).check();
  const lie = path.join(world.folder, 'lie.mp4');
  writeFileSync(lie, 'no video at all');
  await page.locator('#file').setInputFiles(lie);
  await option(page, 'privacy_level').selectOption('SELF_ONLY');
  await publish(page).click();
  await page.getByRole('alert').waitFor();
  assert.equal(await page.locator('#post-title').inputValue(), 'Still here');
  await world.close(page);
});

test('a post is scheduled for a time of another zone', async () => {
  const page = await world.form('ada_public');
  await page.getByLabel('A web address').check();
  await page.locator('#url').fill('https://media.patchbay.example/sample.mp4');
  await option(page, 'privacy_level').selectOption('SELF_ONLY');
  await page.getByLabel('Later').check();
  await publish(page).click();
  await page.locator('#schedule-time-error', { hasText: 'Choose date and time.' }).waitFor();
  await page.locator('#schedule-time').fill('2001-01-01T09:30');
  await publish(page).click();
  await page.locator('#schedule-time-error', { hasText: 'This time has passed.' }).waitFor();
  const year = new Date().getFullYear() + 1;
  await page.locator('#schedule-time').fill(`${year}-07-15T09:30`);
  await page.locator('#schedule-zone').selectOption('America/New_York');
  assert.equal(await publish(page).innerText(), 'Schedule');
  await publish(page).click();
  await page.locator('[role=status] .badge', { hasText: 'Scheduled' }).waitFor();
  const post = await world.api('GET', `/api/platforms/${PLATFORM}/posts/${new URL(page.url()).hash.slice(1)}`);
  assert.equal(post.scheduled_at, `${year}-07-15T13:30:00Z`);
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.locator('[role=status] .badge', { hasText: 'Stopped' }).waitFor();
  await world.close(page);
});

test('a quota that is used up is shown with the time of its next place', async () => {
  // Somebody who has not posted yet: what others have begun in this minute would hold the drafts up.
  await world.close(await world.connect('quinn_quiet'));
  const account = await world.account('quinn_quiet');
  for (let count = 0; count < 5; count += 1) {
    const media = [{ url: 'https://media.patchbay.example/sample.mp4' }];
    await world.api('POST', `/api/platforms/${PLATFORM}/posts`, { account_id: account.id, kind: 'video', mode: 'draft', media, allow_duplicate: true });
  }
  await until('every draft has taken its place', async () => {
    const { quotas } = await world.publishOptions(account.id);
    return quotas.find(({ name }) => name === 'pending_drafts').remaining === 0;
  }, 5_000);
  const page = await world.page();
  await page.goto(`${world.url}${UPLOAD}?account=${account.id}`);
  await page.getByLabel('Send a draft').check();
  await page.getByText('5 of 5 pending drafts in 24 hours').waitFor();
  await page.getByText('All places are taken.').waitFor();
  await page.getByText(/The next one is free (at|on) /).waitFor();
  await page.getByLabel('Publish it').check();
  assert.equal(await page.getByText('All places are taken.').count(), 0);
  await world.close(page);
});

test('access that the person takes back at the platform while the form is open leads to a reconnect, with the words kept', async () => {
  const page = await world.form('ada_public');
  await page.getByLabel('A web address').check();
  await page.locator('#url').fill('https://media.patchbay.example/sample.mp4');
  await page.locator('#post-title').fill('Worth keeping');
  await option(page, 'privacy_level').selectOption('SELF_ONLY');
  await world.control('POST', 'accounts/ada_public/disconnect');
  await publish(page).click();
  await page.getByRole('button', { name: 'Connect again' }).waitFor({ timeout: TURN });
  // The post is refused, or it was taken before the news came and fails then.
  const taken = (await page.locator('form.compose').count()) === 0;
  if (!taken) assert.equal(await page.locator('#post-title').inputValue(), 'Worth keeping');
  await page.getByRole('button', { name: 'Connect again' }).click();
  await page.waitForURL(`**${CONNECT}`);
  await page.getByRole('link', { name: /^(Connect TikTok|Reconnect)/ }).first().click();
  await page.locator('input[name=account][value=ada_public]').check();
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByRole('link', { name: 'Publish something' }).click();
  await page.locator('form.compose').waitFor();
  assert.equal(await page.locator('#post-title').inputValue(), 'Worth keeping');
  page.heard = page.heard.filter((heard) => !heard.includes('/v2/auth/authorize/'));
  await world.close(page);
});
