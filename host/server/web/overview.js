// What there is: platforms, accounts, recent posts. Kept up to date while the page is looked at.

import { get } from './api.js';
import { $, badge, el, name, notice, person, problemBox } from './dom.js';
import { accountState, ago, human, isOpen, kindName, postState, size, when, accountName } from './words.js';

const SHOWN_POSTS = 10;
const BUSY_MS = 2_000;
const IDLE_MS = 10_000;

let platforms = [];
const seen = new Map();

start();

async function start() {
  try {
    platforms = (await get('/api/platforms')).data;
    showPlatforms();
  } catch (problem) {
    $('platforms').replaceChildren();
    $('problem').replaceChildren(problemBox(problem, 'The platforms cannot be shown'));
  }
  for (;;) {
    const busy = await refresh();
    await pause(busy ? BUSY_MS : IDLE_MS);
  }
}

/** Waits, and then on until the page is looked at. */
async function pause(milliseconds) {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }));
  }
}

async function refresh() {
  try {
    const pages = await Promise.all(
      platforms.map(async ({ id }) => ({
        accounts: (await get(`/api/platforms/${id}/accounts?limit=100`)).data,
        posts: (await get(`/api/platforms/${id}/posts?limit=${SHOWN_POSTS}`)).data,
      })),
    );
    const accounts = pages.flatMap((page) => page.accounts).filter((account) => account.status !== 'revoked');
    const posts = pages.flatMap((page) => page.posts).sort((a, b) => b.created_at.localeCompare(a.created_at));
    const people = new Map(pages.flatMap((page) => page.accounts).map((account) => [account.id, account]));
    $('problem').replaceChildren();
    showSteps(accounts, posts);
    update('accounts', accounts, showAccounts);
    update('posts', posts.slice(0, SHOWN_POSTS).map((post) => ({ ...post, account: people.get(post.account_id) })), showPosts);
    announce(posts);
    return posts.some(isOpen);
  } catch (problem) {
    const box = problemBox(problem, 'The lists are not up to date');
    // Said once, not at every try.
    if ($('problem').textContent !== box.textContent) $('problem').replaceChildren(box);
    return false;
  }
}

/** Draws a list anew when it has changed, and leaves the reader where they were. */
function update(id, data, draw) {
  const place = $(id);
  // Relative times grow old by themselves.
  const text = JSON.stringify([data, data.map((item) => ago(item.created_at))]);
  if (place.drawn === text) return;
  place.drawn = text;
  const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
  place.replaceChildren(draw(data));
  if (focused) [...place.querySelectorAll('a')].find((link) => link.getAttribute('href') === focused)?.focus();
}

/** Tells those who listen which posts have come to an end. */
function announce(posts) {
  for (const post of posts) {
    const before = seen.get(post.id);
    seen.set(post.id, post.status);
    if (before && before !== post.status && !isOpen(post)) {
      $('announce').textContent = `${postTitle(post)}: ${postState(post, platformName(post.provider))[0]}`;
    }
  }
}

const platformName = (id) => platforms.find((platform) => platform.id === id)?.display_name ?? human(id);

function showPlatforms() {
  if (platforms.length === 0) {
    $('platforms').replaceChildren(notice('warn', 'No platform is switched on. See [providers] in the configuration.'));
    return;
  }
  $('platforms').replaceChildren(...platforms.map(platformCard));
}

function platformCard({ id, display_name, simulated, capabilities }) {
  const can = [
    capabilities.connect && 'connect accounts',
    capabilities.publish && 'publish',
    capabilities.webhooks && 'receive webhooks',
  ].filter(Boolean);
  return el(
    'article',
    { class: 'card' },
    el('h3', {}, display_name, simulated ? badge('warn', 'Simulated') : badge('ok', 'Live')),
    el('p', {}, `You can ${new Intl.ListFormat('en').format(can)}.`),
    simulated ? el('p', { class: 'small' }, `A simulator stands in for ${display_name}: nothing here reaches the real platform.`) : null,
    el(
      'div',
      { class: 'row' },
      capabilities.connect ? el('a', { class: 'button', href: `/platforms/connect/${id}` }, 'Connect', hidden(` ${display_name}`)) : null,
      capabilities.publish ? el('a', { class: 'button second', href: `/platforms/${id}/upload` }, 'Publish', hidden(` to ${display_name}`)) : null,
    ),
  );
}

const hidden = (text) => el('span', { class: 'quiet' }, text);

function showSteps(accounts, posts) {
  const done = [
    accounts.some((account) => account.status === 'active'),
    posts.length > 0,
    posts.some((post) => post.status === 'published' || post.status === 'inbox_delivered'),
  ];
  [...$('steps').children].forEach((step, index) => {
    step.classList.toggle('done', done[index]);
    step.querySelector('.quiet')?.remove();
    if (done[index]) step.append(hidden('Done.'));
  });
}

function showAccounts(accounts) {
  if (accounts.length === 0) {
    return el('p', { class: 'empty' }, 'No account is connected yet. ', el('a', { href: '/platforms/connect' }, 'Connect the first one'), '.');
  }
  return el('ul', { class: 'list' }, accounts.map(accountRow));
}

function accountRow(account) {
  const [label, tone] = accountState(account);
  const again = account.status === 'reauth_required';
  return el(
    'li',
    {},
    person(
      account.display_name,
      account.username,
      el('span', { class: 'muted' }, platformName(account.provider), account.simulated ? ', simulated' : ''),
    ),
    el(
      'div',
      { class: 'end' },
      badge(tone, label),
      again
        ? el('a', { href: `/platforms/connect/${account.provider}` }, 'Connect again')
        : el('a', { href: `/platforms/${account.provider}/upload?account=${account.id}` }, 'Publish', hidden(` as ${accountName(account)}`)),
    ),
  );
}

const postTitle = (post) => post.title || post.text || `${kindName(post.kind)} without a title`;

function showPosts(posts) {
  if (posts.length === 0) return el('p', { class: 'empty' }, 'Nothing has been posted yet.');
  return el('ul', { class: 'list' }, posts.map(postRow));
}

function postRow(post) {
  const [label, tone] = postState(post, platformName(post.provider));
  const facts = [
    platformName(post.provider) + (post.simulated ? ', simulated' : ''),
    post.mode === 'draft' ? 'draft' : null,
    post.status === 'publishing' && post.phase ? human(post.phase).toLowerCase() : null,
    post.progress && isOpen(post) ? `${size(post.progress.done_bytes)} of ${size(post.progress.total_bytes)}` : null,
  ].filter(Boolean);
  return el(
    'li',
    {},
    el(
      'div',
      { class: 'post' },
      el('a', { href: `/platforms/${post.provider}/upload#${post.id}` }, name(postTitle(post))),
      el(
        'span',
        { class: 'muted' },
        post.account ? [name(accountName(post.account)), ', '] : null,
        facts.join(', '),
        ', ',
        el('time', { datetime: post.created_at, title: when(post.created_at) }, ago(post.created_at)),
      ),
      post.failure ? el('span', { class: 'small' }, post.failure.advice) : null,
    ),
    el('div', { class: 'end' }, badge(tone, label)),
  );
}
