// What happened in a tenant.

import { el, name } from './dom.js';
import { listing } from './listing.js';
import { code, time } from './operated.js';

export const needsTenant = true;

export function show({ node, query, path, platform, address }) {
  const wanted = new URLSearchParams();
  if (query.get('provider')) wanted.set('provider', query.get('provider'));
  if (query.get('account')) wanted.set('account_id', query.get('account'));
  const found = listing({ path: `${path}/events?${wanted}`, label: 'Events', empty: 'Nothing has happened.', row: (event) => row(event, platform, address) });
  node.replaceChildren(
    query.get('account') ? el('p', { class: 'small' }, 'Of the account ', code(query.get('account')), '. ', el('a', { href: address('events') }, 'Of all accounts')) : '',
    found.node,
  );
  return found;
}

function row(event, platform, address) {
  return el(
    'li',
    {},
    el(
      'div',
      { class: 'post' },
      el('strong', {}, name(event.name)),
      el('span', { class: 'muted' }, platform(event.provider), ', ', time(event.recorded_at)),
    ),
    el(
      'div',
      { class: 'end' },
      event.post_id ? el('a', { href: address('posts', event.post_id) }, 'Post', el('span', { class: 'quiet' }, ` ${event.post_id}`)) : null,
      event.account_id ? el('a', { href: address('accounts', event.account_id) }, 'Account', el('span', { class: 'quiet' }, ` ${event.account_id}`)) : null,
    ),
  );
}
