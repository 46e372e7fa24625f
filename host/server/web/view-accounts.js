// A tenant's accounts: whether each can be used, and what to do where it cannot.

import { badge, el, name, person } from './dom.js';
import { listing } from './listing.js';
import { read } from './operator.js';
import { choice, code, facts, per, time } from './operated.js';
import { accountName, accountState, when } from './words.js';

export const needsTenant = true;

const STATES = [
  ['', 'Any state'],
  ['active', 'Connected'],
  ['reauth_required', 'To be connected again'],
  ['pending', 'Not accepted yet'],
  ['revoked', 'Disconnected'],
];

export function show(here) {
  return here.item === null ? list(here) : single(here);
}

function list({ node, query, path, platform, address, turn }) {
  const wanted = new URLSearchParams();
  for (const name of ['provider', 'status']) if (query.get(name)) wanted.set(name, query.get(name));
  const found = listing({
    path: `${path}/accounts?${wanted}`,
    label: 'Accounts',
    empty: query.get('status') ? 'No account is in this state.' : 'No account is connected.',
    row: (account) => row(account, platform, address),
  });
  node.replaceChildren(
    choice({ id: 'status', label: 'State', all: STATES, chosen: query.get('status') ?? '', onChange: (status) => turn({ status }) }),
    found.node,
  );
  return found;
}

function row(account, platform, address) {
  const [label, tone] = accountState(account);
  const advice = whatToDo(account);
  return el(
    'li',
    {},
    person(
      account.display_name,
      account.username,
      el('span', { class: 'muted' }, platform(account.provider), account.simulated ? ', simulated' : '', ', owner ', name(account.owner)),
      advice ? el('span', { class: 'small' }, advice) : null,
    ),
    el(
      'div',
      { class: 'end' },
      badge(tone, label),
      el('a', { href: address('accounts', account.id) }, 'Details', el('span', { class: 'quiet' }, ` of ${accountName(account)}`)),
    ),
  );
}

/** In a sentence; nothing where all is well. */
function whatToDo(account) {
  const ends = account.refresh_expires_at;
  switch (account.status) {
    case 'reauth_required':
      return `The platform has ended the access${account.status_code ? ` (${account.status_code})` : ''}. Its owner has to connect again: the tenant sends them a connect link.`;
    case 'pending':
      return 'The tenant has not accepted it yet.';
    case 'active':
      if (ends !== null && new Date(ends) - Date.now() < 7 * 86_400_000) {
        return `The access ends ${when(ends)} for good. Its owner has to connect again before that.`;
      }
      return null;
    default:
      return null;
  }
}

function single({ node, item, path, platform, address, redraw }) {
  const place = el('div');
  node.replaceChildren(el('p', {}, el('a', { href: address('accounts') }, 'All accounts')), place);
  return {
    async refresh() {
      const account = await read(`${path}/accounts/${encodeURIComponent(item)}`);
      redraw(place, account, () => detail(account, platform, address));
    },
  };
}

function detail(account, platform, address) {
  const [label, tone] = accountState(account);
  return el(
    'section',
    { class: 'card' },
    el('div', { class: 'between' }, person(account.display_name, account.username), badge(tone, label)),
    whatToDo(account) ? el('p', { class: 'notice warn' }, whatToDo(account)) : null,
    facts([
      ['Account', code(account.id)],
      ['Platform', `${platform(account.provider)}${account.simulated ? ', simulated' : ''}`],
      ['Id at the platform', name(account.remote_id)],
      ['Owner', name(account.owner)],
      ['Platform said', account.status_code ? name(account.status_code) : null],
      ['Scopes', account.scopes.join(', ')],
      ['Access ends', account.access_expires_at && when(account.access_expires_at)],
      ['Renewable until', account.refresh_expires_at && when(account.refresh_expires_at)],
      ['Connected', time(account.connected_at)],
      ['Last change', time(account.updated_at)],
    ]),
    el('h3', {}, "Use of the platform's limits"),
    account.quotas.length === 0 ? el('p', { class: 'muted' }, 'None is known.') : el('ul', { class: 'quotas' }, account.quotas.map(quota)),
    el('p', { class: 'row' }, el('a', { href: address('posts', null, { account: account.id }) }, 'Its posts'), el('a', { href: address('events', null, { account: account.id }) }, 'Its events')),
  );
}

function quota(one) {
  const id = `quota-${one.name}`;
  const unit = one.counts === 'posts' ? `${one.mode === 'draft' ? 'drafts' : 'posts'}` : 'calls';
  return el(
    'li',
    {},
    el('label', { for: id }, one.name),
    el('meter', { id, min: 0, max: one.limit, value: one.used, high: Math.max(1, one.limit - 1), optimum: 0 }),
    el('span', { class: 'small' }, `${one.used} of ${one.limit} ${unit} ${per(one.window_seconds)}`, one.remaining === 0 ? ', none is left' : '', one.next_free_at ? [', one more ', when(one.next_free_at)] : null),
  );
}
