// A tenant's posts: where each one is, and the way it came there.

import { badge, el, name, notice } from './dom.js';
import { listing } from './listing.js';
import { read } from './operator.js';
import { choice, code, facts, time } from './operated.js';
import { human, isOpen, kindName, postState, size, when } from './words.js';

export const needsTenant = true;

const STATES = [
  ['', 'Any state'],
  ['draft', 'Draft'],
  ['queued', 'Waiting'],
  ['publishing', 'Publishing'],
  ['published', 'Published'],
  ['inbox_delivered', 'In the inbox'],
  ['failed', 'Not published'],
  ['unconfirmed', 'Not confirmed'],
  ['cancelled', 'Stopped'],
];

const WHO = { account_owner: "the account's owner", operator: 'you', caller: 'the tenant', nobody: 'nobody' };

export function show(here) {
  return here.item === null ? list(here) : single(here);
}

function list({ node, query, path, platform, address, turn }) {
  const wanted = new URLSearchParams();
  for (const name of ['provider', 'status']) if (query.get(name)) wanted.set(name, query.get(name));
  if (query.get('account')) wanted.set('account_id', query.get('account'));
  const found = listing({
    path: `${path}/posts?${wanted}`,
    label: 'Posts',
    empty: query.get('status') ? 'No post is in this state.' : 'Nothing has been posted.',
    row: (post) => row(post, platform, address),
  });
  const input = el('input', { id: 'post-id', type: 'text', autocomplete: 'off', spellcheck: 'false', placeholder: 'post_…' });
  const find = el(
    'form',
    { class: 'find' },
    el('div', {}, el('label', { for: 'post-id' }, 'Find by id'), input),
    el('button', { class: 'button second', type: 'submit' }, 'Find'),
  );
  find.addEventListener('submit', (event) => {
    event.preventDefault();
    if (input.value.trim()) location.hash = address('posts', input.value.trim());
  });
  node.replaceChildren(
    el(
      'div',
      { class: 'tools' },
      choice({ id: 'status', label: 'State', all: STATES, chosen: query.get('status') ?? '', onChange: (status) => turn({ status }) }),
      find,
    ),
    query.get('account') ? el('p', { class: 'small' }, 'Of the account ', code(query.get('account')), '. ', el('a', { href: address('posts') }, 'Of all accounts')) : null,
    found.node,
  );
  return found;
}

function row(post, platform, address) {
  const [label, tone] = postState(post, platform(post.provider));
  const bits = [
    platform(post.provider) + (post.simulated ? ', simulated' : ''),
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
      el('a', { href: address('posts', post.id) }, `${kindName(post.kind)} `, code(post.id)),
      el('span', { class: 'muted' }, bits.join(', '), ', ', time(post.created_at)),
      post.failure ? el('span', { class: 'small' }, name(post.failure.code), ': ', post.failure.advice) : null,
    ),
    el('div', { class: 'end' }, badge(tone, label)),
  );
}

function single({ node, item, path, platform, address, redraw }) {
  const place = el('div');
  node.replaceChildren(el('p', {}, el('a', { href: address('posts') }, 'All posts')), place);
  return {
    async refresh() {
      const found = await read(`${path}/posts/${encodeURIComponent(item)}`);
      redraw(place, found, () => [detail(found.post, platform, address), timeline(found)]);
    },
  };
}

function detail(post, platform, address) {
  const [label, tone, sentence] = postState(post, platform(post.provider));
  const { failure } = post;
  return el(
    'section',
    { class: 'card' },
    el('h2', {}, kindName(post.kind), badge(tone, label)),
    sentence ? el('p', {}, sentence) : null,
    failure ? notice(post.status === 'failed' ? 'bad' : 'warn', el('strong', {}, name(failure.code)), el('p', {}, failure.advice), el('p', { class: 'small' }, failure.retry ? 'Patchbay tries again by itself.' : `Who acts: ${WHO[failure.who_acts] ?? failure.who_acts}.`)) : null,
    post.progress ? el('progress', { max: post.progress.total_bytes, value: post.progress.done_bytes, 'aria-label': 'Bytes sent to the platform' }) : null,
    facts([
      ['Post', code(post.id)],
      ['Account', el('a', { href: address('accounts', post.account_id) }, code(post.account_id))],
      ['Platform', `${platform(post.provider)}${post.simulated ? ', simulated' : ''}`],
      ['How', post.mode === 'draft' ? 'as a draft' : 'published'],
      ['Phase', post.phase && human(post.phase)],
      ['Next step', post.next_attempt_at && when(post.next_attempt_at)],
      ['Not before', post.scheduled_at && when(post.scheduled_at)],
      ['Stop', post.cancel_requested && 'was asked for'],
      ['Attempt at the platform', post.remote_ref && name(post.remote_ref)],
      ['Visible as', post.remote_ids.length > 0 && post.remote_ids.map((id) => code(id))],
      ['Retries', post.retry_of && el('a', { href: address('posts', post.retry_of) }, code(post.retry_of))],
      ['Request in the log', code(post.request_id)],
      ['Asked for', when(post.created_at)],
      ['Ended', post.finished_at && when(post.finished_at)],
    ]),
  );
}

const SOURCES = { platform: 'the platform was asked', webhook: 'a webhook told', pull_url: 'fetches from this host', host: 'nobody could be asked' };

/** Events, irreversible calls and observations in one order. */
function timeline({ post, events, calls, observations }) {
  const entries = [
    { at: post.created_at, what: 'Asked for', tone: 'info' },
    ...events.map((event) => ({ at: event.recorded_at, what: name(event.name), more: event.name.startsWith('post.') || event.name.startsWith('account.') ? null : 'told by the platform' })),
    ...calls.flatMap((call) => [
      { at: call.about_to_at, what: ['About to call ', code(call.op)], more: `step ${call.step}, irreversible` },
      call.answered_at ? { at: call.answered_at, what: ['Answer to ', code(call.op)], more: `status ${call.answer_status}` } : null,
    ]),
    ...observations.map((seen) => ({ at: seen.observed_at, what: `Observed: the call of step ${seen.step} ${human(seen.outcome).toLowerCase()}`, more: [SOURCES[seen.source] ?? seen.source, seen.code ? ` (${seen.code})` : ''] })),
  ].filter(Boolean);
  entries.sort((a, b) => a.at.localeCompare(b.at));
  return el(
    'section',
    { class: 'card' },
    el('h2', {}, 'Timeline'),
    el(
      'ol',
      { class: 'timeline' },
      entries.map(({ at, what, more }) =>
        el('li', {}, el('time', { datetime: at }, new Date(at).toLocaleString(undefined, { dateStyle: 'short', timeStyle: 'medium' })), el('div', {}, el('strong', {}, what), more ? el('span', { class: 'small' }, more) : null)),
      ),
    ),
  );
}
