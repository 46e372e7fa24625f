// One platform's accounts: what is shared and why, who is connected, connect, reconnect, disconnect. On the connect page and
// inside other pages.

import { portrayed } from './avatar.js';
import { badge, el, name, notice, person, problemBox } from './dom.js';
import { t, translator } from './language.js';
import { accountName, accountState, when } from './words.js';

/**
 * A section for one platform with its accounts. `connector(text, style)` makes a button that begins a connect;
 * `publish(account)` one that leads to the form, or nothing; `disconnected(account)` is called after a disconnect.
 */
export function connections({ api, platform, accounts, connector, publish, disconnected }) {
  const { display_name, simulated, manifest } = platform;
  const say = translator(manifest.form);
  const asked = manifest.scopes.filter((scope) => scope.default);
  const heading = `platform-${platform.id}`;
  return el(
    'section',
    { class: 'card platform', 'aria-labelledby': heading },
    el('h2', { id: heading }, display_name, simulated ? badge('warn', t('Simulated')) : null),
    simulated
      ? notice('warn', t('A simulator stands in for {platform}. You will see its page instead of the real one, and can allow, refuse or take back single permissions there.', { platform: display_name }))
      : null,
    accounts.map((account) => accountCard({ api, platform, account, say, connector, publish, disconnected })),
    el('h3', {}, t('What {platform} will ask you to allow', { platform: display_name })),
    el('ul', { class: 'scopes' }, asked.map((scope) => scopeLine(scope, say))),
    el('p', { class: 'small' }, t('Each permission is used for that purpose alone. {platform} shows the list again before you decide.', { platform: display_name })),
    connector(accounts.length > 0 ? t('Connect another account') : t('Connect {platform}', { platform: display_name }), accounts.length > 0 ? 'button second' : 'button'),
  );
}

const scopeLine = ({ name: scope, purpose }, say) => el('li', {}, el('span', {}, say(purpose)), ' ', el('code', {}, scope));

function accountCard({ api, platform, account, say, connector, publish, disconnected }) {
  const [label, tone] = accountState(account);
  const { scopes } = platform.manifest;
  const granted = scopes.filter((scope) => account.scopes.includes(scope.name));
  const lacking = scopes.filter((scope) => scope.default && !account.scopes.includes(scope.name));
  return el(
    'article',
    { class: 'account', 'aria-label': accountName(account) },
    el('div', { class: 'between' }, portrayed(api, account, person(account.display_name, account.username)), badge(tone, label)),
    account.status === 'reauth_required'
      ? notice('warn', t('{platform} no longer accepts this connection. Connect the account again to go on publishing.', { platform: platform.display_name }))
      : null,
    account.status === 'pending' ? notice('warn', t('The product that asked for this connection has not accepted it yet.')) : null,
    lacking.length > 0
      ? notice('warn', t('Not allowed:'), el('ul', {}, lacking.map((scope) => el('li', {}, say(scope.purpose)))), t('Connect again to allow it.'))
      : null,
    el(
      'details',
      {},
      el('summary', {}, t('Allowed: {granted} of {all} permissions', { granted: granted.length, all: scopes.length })),
      el('ul', { class: 'scopes' }, granted.map((scope) => scopeLine(scope, say))),
    ),
    el('p', { class: 'small' }, t('Connected {time}.', { time: when(account.connected_at) }), account.simulated ? ` ${t('Simulated account.')}` : ''),
    el(
      'div',
      { class: 'row' },
      platform.capabilities.publish && account.status === 'active' ? publish?.(account) : null,
      connector(t('Reconnect'), account.status === 'active' ? 'button second' : 'button'),
      el('button', { class: 'button danger', type: 'button', click: (event) => confirmDisconnect({ api, platform, account, disconnected, near: event.target }) }, t('Disconnect')),
    ),
  );
}

/** Asks, and disconnects. `near` is an element beside which the dialog may stand. */
export function confirmDisconnect({ api, platform, account, disconnected, near }) {
  const failed = el('div');
  const no = el('button', { class: 'button second', type: 'button', click: () => dialog.close() }, t('Keep it connected'));
  const yes = el('button', { class: 'button danger', type: 'button' }, t('Disconnect'));
  const dialog = el(
    'dialog',
    { 'aria-labelledby': 'disconnect-title', close: () => dialog.remove() },
    el('h2', { id: 'disconnect-title' }, t('Disconnect this account?')),
    el('p', {}, name(accountName(account))),
    el('p', {}, t('No further call is made for this account, {platform} is told, and its access is erased. Posts that are published stay where they are.', { platform: platform.display_name })),
    failed,
    el('div', { class: 'row' }, no, yes),
  );
  yes.addEventListener('click', async () => {
    yes.disabled = true;
    try {
      await api.call('POST', `/api/platforms/${platform.id}/disconnect`, { json: { account_id: account.id } });
      dialog.close();
      await disconnected(account);
    } catch (problem) {
      failed.replaceChildren(problemBox(problem, t('It is still connected')));
      yes.disabled = false;
    }
  });
  near.after(dialog);
  dialog.showModal();
  no.focus();
}
