// What TikTok's reviewers look for ("Required UX Implementation in Your App", points 1 to 5), each as an assertion on the
// page that people use.

import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { PICTURE, PLATFORM, TURN, UPLOAD, open, option, portrait, publish } from './world.js';

let world;
let clip;
before(async () => {
  world = await open();
  clip = path.join(world.folder, 'clip.mp4');
  copyFileSync(world.video, clip);
  for (const user of ['quinn_quiet', 'bea_banned', 'pia_private']) await world.close(await world.connect(user));
});
after(() => world?.stop());

const calls = async () => {
  const journal = await world.control('GET', 'journal');
  const entries = Array.isArray(journal) ? journal : (journal.calls ?? journal.entries ?? journal.data);
  return entries.filter((call) => JSON.stringify(call).includes('creator_info')).length;
};

test('1a: the creator is named and shown, and asked about anew each time the form is shown', async () => {
  const earlier = await calls();
  const page = await world.form('ada_public');
  await page.locator('.author', { hasText: 'Ada Public' }).waitFor();
  await page.locator('.author', { hasText: '@ada_public' }).waitFor();
  assert.deepEqual(await portrait(page, '.author canvas'), PICTURE);
  await page.reload();
  await world.composing(page);
  assert.ok((await calls()) >= earlier + 2, 'two forms, two questions');
  await world.close(page);
});

test('1b: where the creator cannot post now, the form is not there, and people are asked to come back', async () => {
  const account = await world.account('bea_banned');
  const page = await world.page();
  await page.goto(`${world.url}${UPLOAD}?account=${account.id}`);
  await page.getByText('does not let this account post now').waitFor();
  await page.getByRole('button', { name: 'Ask again' }).waitFor();
  assert.equal(await page.locator('form.compose').count(), 0);
  await world.close(page);
});

test('1c: a video that is longer than the creator may post is refused before anything is sent', async () => {
  await world.control('PATCH', 'accounts/ada_public', { max_video_post_duration_sec: 3 });
  const page = await world.form('ada_public');
  const sent = [];
  page.on('request', (request) => request.url().includes('/api/media') && sent.push(request.url()));
  await page.locator('#file').setInputFiles(clip);
  await option(page, 'privacy_level').selectOption('SELF_ONLY');
  await page.getByText(/clip\.mp4 plays 5 s; this account may post at most 3 s/).first().waitFor();
  await publish(page).click();
  await page.getByRole('alert').filter({ hasText: 'One thing is missing or wrong' }).waitFor();
  assert.deepEqual(sent, []);
  await world.control('PATCH', 'accounts/ada_public', { max_video_post_duration_sec: 600 });
  await world.close(page);
});

test('2a: the caption can be edited and counts UTF-16 units', async () => {
  const page = await world.form('ada_public');
  await page.locator('#post-title').fill('😀ab');
  await page.getByText('4 of 2200').waitFor();
  assert.equal(await page.locator('#post-text').count(), 0, 'a video has one caption');
  await world.close(page);
});

test('2b: privacy has no value at first, offers what the creator may choose alone, and must be chosen', async () => {
  const offered = async (user) => {
    const page = await world.form(user);
    const select = option(page, 'privacy_level');
    assert.equal(await select.inputValue(), '');
    const values = await select.locator('option').evaluateAll((all) => all.map(({ value }) => value).filter(Boolean));
    await page.locator('#file').setInputFiles(clip);
    await publish(page).click();
    await page.locator('#option-privacy_level-error', { hasText: 'Choose one.' }).waitFor();
    await world.close(page);
    return values;
  };
  assert.deepEqual(await offered('ada_public'), ['PUBLIC_TO_EVERYONE', 'MUTUAL_FOLLOW_FRIENDS', 'SELF_ONLY']);
  assert.deepEqual(await offered('pia_private'), ['FOLLOWER_OF_CREATOR', 'MUTUAL_FOLLOW_FRIENDS', 'SELF_ONLY']);
});

test('2c: every interaction is off at first, and cannot be switched on where the creator has it off', async () => {
  const look = async (user, disabled) => {
    const page = await world.form(user);
    for (const name of ['Comment', 'Duet', 'Stitch']) {
      const toggle = page.getByRole('switch', { name, exact: true });
      assert.equal(await toggle.isChecked(), false, name);
      assert.equal(await toggle.isDisabled(), disabled, name);
    }
    await page.getByRole('radio', { name: 'Pictures' }).check();
    assert.equal(await page.getByRole('switch', { name: 'Comment', exact: true }).count(), 1);
    for (const name of ['Duet', 'Stitch']) assert.equal(await page.getByRole('switch', { name, exact: true }).count(), 0, name);
    await world.close(page);
  };
  await look('ada_public', false);
  await look('quinn_quiet', true);
});

test('2d and 4: what is agreed to stands directly before the button, with its links, by what is disclosed', async () => {
  const music = 'https://www.tiktok.com/legal/page/global/music-usage-confirmation/en';
  const branded = 'https://www.tiktok.com/legal/page/global/bc-policy/en';
  const page = await world.form('ada_public');
  const agreed = page.locator('form.compose button[type=submit]').locator('xpath=preceding-sibling::*[1]');
  const check = async (text, links) => {
    assert.equal(await agreed.textContent(), text);
    assert.deepEqual(await agreed.locator('a').evaluateAll((all) => all.map(({ href }) => href)), links);
  };
  const plain = "By posting, you agree to TikTok's Music Usage Confirmation.";
  const both = "By posting, you agree to TikTok's Branded Content Policy and Music Usage Confirmation.";
  await check(plain, [music]);
  await page.getByRole('switch', { name: 'Disclose post content' }).check();
  await page.getByRole('checkbox', { name: 'Your brand' }).check();
  await check(plain, [music]);
  await page.getByRole('checkbox', { name: 'Branded content' }).check();
  await check(both, [branded, music]);
  await page.getByRole('checkbox', { name: 'Your brand' }).uncheck();
  await check(both, [branded, music]);
  await page.getByRole('switch', { name: 'Disclose post content' }).uncheck();
  await check(plain, [music]);
  await world.close(page);
});

test('3a: disclosure is off at first; on, one of two must be chosen, none is at first, and the button says why', async () => {
  const page = await world.form('ada_public');
  const toggle = page.getByRole('switch', { name: 'Disclose post content' });
  const [own, branded] = ['Your brand', 'Branded content'].map((name) => page.getByRole('checkbox', { name }));
  assert.equal(await toggle.isChecked(), false);
  assert.equal(await own.isVisible(), false);
  assert.equal(await publish(page).getAttribute('aria-disabled'), null);
  await toggle.check();
  assert.deepEqual([await own.isChecked(), await branded.isChecked()], [false, false]);
  assert.equal(await page.getByText('will be labeled as').filter({ visible: true }).count(), 0, 'no label before a choice');
  const why = 'You need to indicate if your content promotes yourself, a third party, or both.';
  assert.equal(await publish(page).getAttribute('aria-disabled'), 'true');
  assert.equal(await publish(page).getAttribute('title'), why);
  await publish(page).click({ force: true });
  await page.getByRole('alert').filter({ hasText: why }).waitFor();
  await own.check();
  assert.equal(await publish(page).getAttribute('aria-disabled'), null);
  await page.getByText("Your photo/video will be labeled as 'Promotional content'.").waitFor();
  await branded.check();
  await page.getByText("Your photo/video will be labeled as 'Paid partnership'.").waitFor();
  await own.uncheck();
  await page.getByText("Your photo/video will be labeled as 'Paid partnership'.").waitFor();
  await world.close(page);
});

test('3b: branded content and private exclude each other, whichever is chosen first', async () => {
  const why = 'Branded content visibility cannot be set to private.';
  const page = await world.form('ada_public');
  await page.getByRole('switch', { name: 'Disclose post content' }).check();
  const branded = page.getByRole('checkbox', { name: 'Branded content' });
  const only = option(page, 'privacy_level').locator('option[value=SELF_ONLY]');
  await branded.check();
  assert.equal(await only.isDisabled(), true);
  assert.equal(await only.getAttribute('title'), why);
  await branded.uncheck();
  assert.equal(await only.isDisabled(), false);
  await option(page, 'privacy_level').selectOption('SELF_ONLY');
  assert.equal(await branded.isDisabled(), true);
  await page.locator('#option-brand_content_toggle-note', { hasText: why }).waitFor();
  await option(page, 'privacy_level').selectOption('PUBLIC_TO_EVERYONE');
  assert.equal(await branded.isDisabled(), false);
  await world.close(page);
});

test('5: preview, nothing sent before the button, notice of the wait, the outcome, and a record of what was agreed to', async () => {
  const page = await world.form('ada_public');
  const sent = [];
  page.on('request', (request) => request.method() !== 'GET' && sent.push(`${request.method()} ${new URL(request.url()).pathname}`));
  await page.locator('#file').setInputFiles(clip);
  await page.locator('video[aria-label="Preview of clip.mp4"]').waitFor();
  await page.locator('#post-title').fill('Kites #bay');
  await option(page, 'privacy_level').selectOption('PUBLIC_TO_EVERYONE');
  await page.getByRole('switch', { name: 'Duet', exact: true }).check();
  await page.getByText('it may take a few minutes for the content to process and be visible on your profile').waitFor();
  assert.deepEqual(sent, [], 'before the button');
  await publish(page).click();
  await page.locator('h2', { hasText: 'Your post' }).waitFor();
  await page.locator('[role=status] .badge', { hasText: 'Published' }).waitFor({ timeout: TURN });
  await page.getByText('It may take a few minutes until it shows on the profile').waitFor();
  const id = new URL(page.url()).hash.slice(1);
  const post = await world.api('GET', `/api/platforms/${PLATFORM}/posts/${id}`);
  assert.deepEqual([post.title, post.options.privacy_level], ['Kites #bay', 'PUBLIC_TO_EVERYONE']);
  const bans = ['disable_comment', 'disable_duet', 'disable_stitch'].map((name) => post.options[name]);
  assert.deepEqual(bans, [true, false, true], 'what was allowed, and nothing else');
  assert.deepEqual([post.options.brand_content_toggle, post.options.brand_organic_toggle], [false, false]);
  assert.equal(post.consent.text, "By posting, you agree to TikTok's Music Usage Confirmation.");
  assert.equal(post.consent.by, 'default');
  await world.close(page);
});
