// Tenants and their API keys.

import { $, badge, el, name, problemBox } from './dom.js';
import { confirmed } from './confirm.js';
import { during, listing, said } from './listing.js';
import { ask, read } from './operator.js';
import { code, facts, moment, time } from './operated.js';
import { human, when } from './words.js';

const SCOPES = [
  ['read', 'Read: see accounts, posts and events'],
  ['connect', 'Connect: make connect links, disconnect accounts'],
  ['publish', 'Publish: upload, post, replay'],
];
const TONES = { live: 'ok', expired: 'muted', revoked: 'muted' };

export function show(here) {
  return here.item === null ? tenants(here) : keys(here);
}

function tenants({ node, address, relearn }) {
  const found = listing({
    path: '/api/tenants',
    label: 'Tenants',
    empty: 'There is no tenant.',
    row: (tenant) =>
      el(
        'li',
        {},
        el('div', { class: 'post' }, el('a', { href: address('tenants', tenant.id) }, name(tenant.name)), el('span', { class: 'muted' }, code(tenant.id), ', made ', time(tenant.created_at))),
        el('div', { class: 'end' }, el('a', { href: address('overview', null, { tenant: tenant.id }) }, 'Numbers', el('span', { class: 'quiet' }, ` of ${tenant.name}`))),
      ),
  });
  const input = el('input', { id: 'tenant-name', type: 'text', autocomplete: 'off', required: true, maxlength: 100 });
  const button = el('button', { class: 'button', type: 'submit' }, 'Make a tenant');
  const form = el('form', { class: 'card window', 'aria-labelledby': 'tenant-title' }, el('h2', { id: 'tenant-title' }, 'A new tenant'), el('div', { class: 'field' }, el('label', { for: 'tenant-name' }, 'Name'), input), button);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    await during(
      button,
      async () => {
        const made = await ask('POST', '/api/tenants', { name: input.value });
        input.value = '';
        said('ok', `The tenant ${made.name} is there. Make a key for it next.`);
        await Promise.all([found.refresh(true), relearn()]);
      },
      'The tenant was not made',
    );
  });
  node.replaceChildren(found.node, form);
  return found;
}

function keys({ node, item, address }) {
  const at = `/api/tenants/${encodeURIComponent(item)}`;
  const head = el('div');
  const fresh = el('div', { 'aria-live': 'polite' });
  const found = listing({ path: `${at}/keys`, label: 'API keys', empty: 'This tenant has no key yet.', row: (key) => keyRow(key, at, () => found.refresh(true)) });
  node.replaceChildren(el('p', {}, el('a', { href: address('tenants') }, 'All tenants')), head, el('h2', {}, 'API keys'), fresh, found.node, newKey(at, fresh, () => found.refresh(true)));
  read(at).then(
    (tenant) => head.replaceChildren(el('section', { class: 'card' }, el('h2', {}, name(tenant.name)), facts([['Tenant', code(tenant.id)], ['Made', when(tenant.created_at)]]))),
    (problem) => head.replaceChildren(problemBox(problem, 'The tenant cannot be shown')),
  );
  return found;
}

function keyRow(key, at, after) {
  const button = el('button', { class: 'button danger', type: 'button', 'data-spot': key.id }, 'Revoke', el('span', { class: 'quiet' }, ` ${key.name}`));
  button.addEventListener('click', async () => {
    if (!(await confirmed('Revoke this key?', `Whoever uses "${key.name}" (${key.begins_with}…) is refused within five seconds. It cannot be taken back.`, 'Revoke it', 'danger'))) return;
    await during(
      button,
      async () => {
        await ask('DELETE', `${at}/keys/${encodeURIComponent(key.id)}`);
        said('ok', 'The key is dead.');
        await after();
      },
      'The key still lives',
    );
  });
  return el(
    'li',
    {},
    el(
      'div',
      { class: 'post' },
      el('strong', {}, name(key.name)),
      el('span', { class: 'muted' }, code(`${key.begins_with}…`), ` ${key.scopes.join(', ')}`),
      el('span', { class: 'small' }, key.last_used_at ? ['last used ', time(key.last_used_at)] : 'never used', key.expires_at ? `, expires ${when(key.expires_at)}` : ''),
    ),
    el('div', { class: 'end' }, badge(TONES[key.state] ?? 'info', human(key.state)), key.state === 'revoked' ? null : button),
  );
}

function newKey(at, fresh, after) {
  const input = el('input', { id: 'key-name', type: 'text', autocomplete: 'off', required: true, maxlength: 100 });
  const expires = el('input', { id: 'key-expires', type: 'datetime-local' });
  const scopes = SCOPES.map(([scope]) => el('input', { type: 'checkbox', id: `scope-${scope}`, value: scope, checked: true }));
  const button = el('button', { class: 'button', type: 'submit' }, 'Make a key');
  const form = el(
    'form',
    { class: 'card window', 'aria-labelledby': 'key-title' },
    el('h2', { id: 'key-title' }, 'A new key'),
    el('div', { class: 'field' }, el('label', { for: 'key-name' }, 'Name'), input),
    el('fieldset', { class: 'field' }, el('legend', {}, 'What it may do'), SCOPES.map(([scope, text], index) => el('div', { class: 'check' }, scopes[index], el('label', { for: `scope-${scope}` }, text)))),
    el('div', { class: 'field' }, el('label', { for: 'key-expires' }, 'Expires'), el('p', { class: 'help' }, 'Empty: never.'), expires),
    button,
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    await during(
      button,
      async () => {
        const wanted = { name: input.value, scopes: scopes.filter((box) => box.checked).map((box) => box.value), expires_at: moment(expires) };
        const made = await ask('POST', `${at}/keys`, wanted);
        fresh.replaceChildren(shownOnce(made));
        $('problem').replaceChildren();
        form.reset();
        await after();
      },
      'The key was not made',
    );
  });
  return form;
}

/** The text of a new key. It is not kept anywhere. */
function shownOnce(made) {
  const text = el('input', { id: 'key-text', type: 'text', readonly: true, value: made.text });
  const copy = el('button', { class: 'button second', type: 'button' }, 'Copy');
  copy.addEventListener('click', async () => {
    text.select();
    try {
      await navigator.clipboard.writeText(made.text);
      said('ok', 'The key is copied.');
    } catch {
      // The text is selected, to be copied by hand.
    }
  });
  return el(
    'div',
    { class: 'notice ok key' },
    el('label', { for: 'key-text' }, 'The key ', name(made.name), ': it is shown once, here'),
    el('div', { class: 'row' }, text, copy),
  );
}
