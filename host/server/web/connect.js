// Connect, reconnect, disconnect; and what came of a connect, when the platform has sent the browser back.

import { call, get, hasKey } from './api.js';
import { $, badge, el, goTo, name, notice, person, problemBox } from './dom.js';
import { accountName, accountState, when } from './words.js';

/** The owner of accounts that are connected here, as for pages that need no key. */
const OWNER = 'default';

// Codes of the API's problems that a connect can end with. The host's log has the rest.
const FAILURES = {
  account_taken: 'This account is connected elsewhere on this host already. Disconnect it there first.',
  provider_unavailable: 'The platform had a passing fault. Connect again in a few minutes.',
  provider_rate_limited: 'A limit of the platform is reached. Connect again later.',
  rejected_by_provider: 'The platform refused. If it happens again, the operator of this host should check how its app is registered there.',
  provider_error: 'The platform refused. If it happens again, the operator of this host should check how its app is registered there.',
  unavailable: 'Patchbay could not finish just now. Connect again in a few minutes.',
  internal: 'Patchbay had a fault. Connect again; if it happens again, tell the operator of this host.',
};

const wanted = location.pathname.split('/')[3];
const result = takeResult();
start();

/** Reads the result of a connect, and clears the address: a reload or a bookmark does not show it again. */
function takeResult() {
  const query = new URLSearchParams(location.search);
  if (location.search) history.replaceState(null, '', location.pathname);
  const success = /^([a-z][a-z0-9-]*)_connected$/.exec(query.get('success') ?? '');
  return {
    provider: success?.[1] ?? query.get('provider'),
    success: success !== null,
    account: query.get('account'),
    missing: (query.get('missing_scopes') ?? '').split(',').filter(Boolean),
    error: query.get('error'),
    code: query.get('code'),
  };
}

async function start() {
  try {
    await show();
  } catch (problem) {
    $('platforms').replaceChildren();
    $('problem').replaceChildren(problemBox(problem, 'The platforms cannot be shown'));
  }
}

async function show() {
  const { data } = await get('/api/platforms');
  const shown = data.filter((platform) => platform.capabilities.connect && (!wanted || platform.id === wanted));
  const details = await Promise.all(
    shown.map(async ({ id }) => {
      const [platform, accounts] = await Promise.all([get(`/api/platforms/${id}`), get(`/api/platforms/${id}/accounts?limit=100`)]);
      return { platform, accounts: accounts.data.filter((account) => account.status !== 'revoked') };
    }),
  );
  if (details.length === 1) {
    $('title').textContent = `Connect ${details[0].platform.display_name}`;
    document.title = `Connect ${details[0].platform.display_name} – Patchbay`;
  }
  if (details.length === 0) $('platforms').replaceChildren(notice('warn', 'There is no platform here whose accounts can be connected.'));
  else $('platforms').replaceChildren(...details.map(section));
  showResult(details);
}

function section({ platform, accounts }) {
  const { display_name, simulated, manifest } = platform;
  const asked = manifest.scopes.filter((scope) => scope.default);
  const heading = `platform-${platform.id}`;
  return el(
    'section',
    { class: 'card platform', 'aria-labelledby': heading },
    el('h2', { id: heading }, display_name, simulated ? badge('warn', 'Simulated') : null),
    simulated
      ? notice('warn', `A simulator stands in for ${display_name}. You will see its page instead of the real one, and can allow, refuse or take back single permissions there.`)
      : null,
    accounts.map((account) => accountCard(platform, account)),
    el('h3', {}, `What ${display_name} will ask you to allow`),
    el('ul', { class: 'scopes' }, asked.map((scope) => scopeLine(scope))),
    el('p', { class: 'small' }, `Patchbay uses each permission for that purpose alone. ${display_name} shows the list again before you decide.`),
    connectButton(platform, accounts.length > 0 ? 'Connect another account' : `Connect ${display_name}`, accounts.length > 0),
  );
}

const scopeLine = ({ name: scope, purpose }) => el('li', {}, el('span', {}, purpose), el('code', {}, scope));

/** A link where no key is needed. A link cannot carry a key: with one, the API is asked for an address to go to. */
function connectButton(platform, text, second) {
  const style = second ? 'button second' : 'button';
  if (!hasKey()) return el('a', { class: style, href: `/api/platforms/${platform.id}/authorize` }, text);
  const go = async (event) => {
    event.target.disabled = true;
    try {
      const session = await call('POST', `/api/platforms/${platform.id}/connect-sessions`, { json: { owner: OWNER } });
      location.assign(session.connect_url);
    } catch (problem) {
      $('problem').replaceChildren(problemBox(problem, 'The connect cannot start'));
      event.target.disabled = false;
    }
  };
  return el('button', { class: style, type: 'button', click: go }, text);
}

function accountCard(platform, account) {
  const [label, tone] = accountState(account);
  const { scopes } = platform.manifest;
  const granted = scopes.filter((scope) => account.scopes.includes(scope.name));
  const lacking = scopes.filter((scope) => scope.default && !account.scopes.includes(scope.name));
  return el(
    'article',
    { class: 'account', 'aria-label': accountName(account) },
    el('div', { class: 'between' }, person(account.display_name, account.username), badge(tone, label)),
    account.status === 'reauth_required'
      ? notice('warn', `${platform.display_name} no longer accepts this connection. Connect the account again to go on publishing.`)
      : null,
    account.status === 'pending' ? notice('warn', 'The product that asked for this connection has not accepted it yet.') : null,
    lacking.length > 0
      ? notice('warn', 'Not allowed: ', el('ul', {}, lacking.map((scope) => el('li', {}, scope.purpose))), 'Connect again to allow it.')
      : null,
    el(
      'details',
      {},
      el('summary', {}, `Allowed: ${granted.length} of ${scopes.length} permissions`),
      el('ul', { class: 'scopes' }, granted.map(scopeLine)),
    ),
    el('p', { class: 'small' }, `Connected ${when(account.connected_at)}.`, account.simulated ? ' Simulated account.' : ''),
    el(
      'div',
      { class: 'row' },
      platform.capabilities.publish && account.status === 'active'
        ? el('a', { class: 'button', href: `/platforms/${platform.id}/upload?account=${account.id}` }, 'Publish')
        : null,
      connectButton(platform, 'Reconnect', account.status === 'active'),
      el('button', { class: 'button danger', type: 'button', click: () => confirmDisconnect(platform, account) }, 'Disconnect'),
    ),
  );
}

function confirmDisconnect(platform, account) {
  const failed = el('div');
  const no = el('button', { class: 'button second', type: 'button', click: () => dialog.close() }, 'Keep it connected');
  const yes = el('button', { class: 'button danger', type: 'button' }, 'Disconnect');
  const dialog = el(
    'dialog',
    { 'aria-labelledby': 'disconnect-title', close: () => dialog.remove() },
    el('h2', { id: 'disconnect-title' }, 'Disconnect ', name(accountName(account)), '?'),
    el('p', {}, `Patchbay makes no further call for this account, tells ${platform.display_name}, and erases its access. Posts that are published stay where they are.`),
    failed,
    el('div', { class: 'row' }, no, yes),
  );
  yes.addEventListener('click', async () => {
    yes.disabled = true;
    try {
      await call('POST', `/api/platforms/${platform.id}/disconnect`, { json: { account_id: account.id } });
      dialog.close();
      await show();
      const done = notice('ok', el('strong', {}, 'Disconnected'), el('p', {}, name(accountName(account)), ` is no longer connected to ${platform.display_name}.`));
      $('result').replaceChildren(done);
      goTo(done);
    } catch (problem) {
      failed.replaceChildren(problemBox(problem, 'It is still connected'));
      yes.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  no.focus();
}

/** Says what came of a connect. Only texts of this page and of the host are shown, nothing from the address. */
function showResult(details) {
  const found = details.find(({ platform }) => platform.id === result.provider);
  if (!found || (!result.success && !result.error)) return;
  const { platform, accounts } = found;
  const box = result.success ? connected(platform, accounts) : refused(platform);
  $('result').replaceChildren(box);
  result.success = false;
  result.error = null;
  goTo(box);
}

function connected(platform, accounts) {
  const account = accounts.find((one) => one.id === result.account);
  const lacking = platform.manifest.scopes.filter((scope) => result.missing.includes(scope.name));
  const who = account ? [name(accountName(account)), ' is connected.'] : ['The account is connected.'];
  if (lacking.length > 0) {
    return notice(
      'warn',
      el('strong', {}, ...who, ' Some permissions are missing.'),
      el('ul', {}, lacking.map((scope) => el('li', {}, scope.purpose))),
      el('p', {}, 'Without them, the parts that need them stay off. Reconnect below and leave them switched on to allow them.'),
    );
  }
  const next = `/platforms/${platform.id}/upload${account ? `?account=${account.id}` : ''}`;
  return notice(
    'ok',
    el('strong', {}, ...who),
    platform.capabilities.publish ? el('p', {}, 'Next: ', el('a', { href: next }, 'publish something'), '.') : null,
  );
}

function refused(platform) {
  const again = el('p', {}, 'Nothing was connected. To try again, use the button below.');
  switch (result.error) {
    case 'cancelled':
      return notice('warn', el('strong', {}, `You did not allow it at ${platform.display_name}.`), again);
    case 'expired':
      return notice('warn', el('strong', {}, 'This took too long, or was finished in another browser.'), again);
    default: {
      const why = FAILURES[result.code] ?? 'Something went wrong on the way. Connect again; if it happens again, tell the operator of this host.';
      return notice('bad', el('strong', {}, `${platform.display_name} was not connected.`), el('p', {}, why));
    }
  }
}
