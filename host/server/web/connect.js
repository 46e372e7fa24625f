// Connect, reconnect, disconnect; and what came of a connect, when the platform has sent the browser back.

import { connections } from './accounts.js';
import { api, call, get, hasKey, hasPass } from './api.js';
import { $, el, goTo, name, notice, problemBox } from './dom.js';
import { t, translator } from './language.js';
import { begin } from './page.js';
import { accountName } from './words.js';

/** The owner of accounts that are connected here, as for pages that need no key. */
const OWNER = 'default';
/** The connect session that this tab has begun. Only its account is taken here. */
const SESSION = 'patchbay.session';

// Codes of the API's problems that a connect can end with. The host's log has the rest.
const FAILURES = {
  account_taken: 'This account is connected elsewhere on this host already. Disconnect it there first.',
  provider_unavailable: 'The platform had a passing fault. Connect again in a few minutes.',
  provider_rate_limited: 'A limit of the platform is reached. Connect again later.',
  rejected_by_provider: 'The platform refused. If it happens again, the operator of this host should check how its app is registered there.',
  provider_error: 'The platform refused. If it happens again, the operator of this host should check how its app is registered there.',
  unavailable: 'Patchbay could not finish just now. Connect again in a few minutes.',
  internal: 'Patchbay had a fault. Connect again; if it happens again, tell the operator of this host.',
  other: 'Something went wrong on the way. Connect again; if it happens again, tell the operator of this host.',
};

const wanted = location.pathname.split('/')[3];
const query = await begin();
const result = takeResult();
start();

/** Reads the result of a connect, and clears the address: a reload or a bookmark does not show it again. */
function takeResult() {
  if (location.search) history.replaceState(null, '', location.pathname);
  const success = /^([a-z][a-z0-9-]*)_connected$/.exec(query.get('success') ?? '');
  return {
    provider: success?.[1] ?? query.get('provider'),
    success: success !== null,
    accounts: query.getAll('account'),
    missing: (query.get('missing_scopes') ?? '').split(',').filter(Boolean),
    session: query.get('session_id'),
    completion: query.get('completion_code'),
    error: query.get('error'),
    code: query.get('code'),
  };
}

async function start() {
  try {
    if ((result.success || result.error) && !hasKey() && !hasPass() && !(await isOpen())) {
      ended();
      return;
    }
    await complete();
    await show();
  } catch (problem) {
    $('platforms').replaceChildren();
    $('problem').replaceChildren(problemBox(problem, t('The platforms cannot be shown')));
  }
}

/** Whether this machine's own pages need no key. */
async function isOpen() {
  return (await fetch('/api/platforms')).status !== 401;
}

/** For people who came here from a product, and are no users of this page: what came of it, and nothing else. */
function ended() {
  $('platforms').replaceChildren();
  const box = result.success
    ? notice(result.missing.length > 0 ? 'warn' : 'ok', el('strong', {}, t('The account is connected.')), result.missing.length > 0 ? el('p', {}, t('Some permissions are missing. Without them, the parts that need them stay off.')) : null)
    : notice('warn', el('strong', {}, result.error === 'cancelled' ? t('You did not allow it.') : t('The account was not connected.')), el('p', {}, t(FAILURES[result.code] ?? FAILURES.other)));
  if (result.error === 'cancelled') box.lastChild.remove();
  box.append(el('p', {}, t('You can close this window and go on where you came from.')));
  $('result').replaceChildren(box);
  goTo(box);
}

/** Takes an account that waits, if this tab has begun its connect: another's link connects nothing here. */
async function complete() {
  const begun = sessionStorage.getItem(SESSION);
  sessionStorage.removeItem(SESSION);
  if (!result.completion || !result.provider || result.session !== begun) return;
  await call('POST', `/api/platforms/${result.provider}/connect-sessions/${begun}/complete`, { json: { code: result.completion } });
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
    const title = t('Connect {platform}', { platform: details[0].platform.display_name });
    $('title').textContent = title;
    document.title = `${title} – Patchbay`;
  }
  if (details.length === 0) $('platforms').replaceChildren(notice('warn', t('There is no platform here whose accounts can be connected.')));
  else $('platforms').replaceChildren(...details.map(section));
  showResult(details);
}

const section = ({ platform, accounts }) =>
  connections({
    api,
    platform,
    accounts,
    connector: (text, style) => connectButton(platform, text, style),
    publish: (account) => el('a', { class: 'button', href: `/platforms/${platform.id}/upload?account=${account.id}` }, t('Publish')),
    disconnected: async (account) => {
      await show();
      const done = notice('ok', el('strong', {}, t('Disconnected')), el('p', {}, name(accountName(account))));
      $('result').replaceChildren(done);
      goTo(done);
    },
  });

/** A link where no key is needed. A link cannot carry a key: with one, the API is asked for an address to go to. */
function connectButton(platform, text, style) {
  if (!hasKey() && !hasPass()) return el('a', { class: style, href: `/api/platforms/${platform.id}/authorize` }, text);
  const go = async (event) => {
    event.target.disabled = true;
    try {
      const session = await call('POST', `/api/platforms/${platform.id}/connect-sessions`, { json: hasPass() ? {} : { owner: OWNER, allowed_origins: [] } });
      sessionStorage.setItem(SESSION, session.id);
      location.assign(session.connect_url);
    } catch (problem) {
      $('problem').replaceChildren(problemBox(problem, t('The connect cannot start')));
      event.target.disabled = false;
    }
  };
  return el('button', { class: style, type: 'button', click: go }, text);
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
  const those = accounts.filter((one) => result.accounts.includes(one.id));
  const [account] = those;
  const say = translator(platform.manifest.form);
  const lacking = platform.manifest.scopes.filter((scope) => result.missing.includes(scope.name));
  const who = those.flatMap((one, at) => [at > 0 ? ', ' : '', name(accountName(one))]).concat(account ? [' '] : []);
  if (lacking.length > 0) {
    return notice(
      'warn',
      el('strong', {}, ...who, those.length > 1 ? t('are connected, but some permissions are missing.') : t('is connected, but some permissions are missing.')),
      el('ul', {}, lacking.map((scope) => el('li', {}, say(scope.purpose)))),
      el('p', {}, t('Without them, the parts that need them stay off. Reconnect below and leave them switched on to allow them.')),
    );
  }
  const next = `/platforms/${platform.id}/upload${account ? `?account=${account.id}` : ''}`;
  return notice(
    'ok',
    el('strong', {}, ...who, those.length > 1 ? t('are connected.') : t('is connected.')),
    platform.capabilities.publish ? el('div', { class: 'row' }, el('a', { class: 'button', href: next }, t('Publish something'))) : null,
  );
}

function refused(platform) {
  const values = { platform: platform.display_name };
  const again = el('p', {}, t('Nothing was connected. To try again, use the button below.'));
  switch (result.error) {
    case 'cancelled':
      return notice('warn', el('strong', {}, t('You did not allow it at {platform}.', values)), again);
    case 'expired':
      return notice('warn', el('strong', {}, t('This took too long, or was finished in another browser.')), again);
    default: {
      const why = t(FAILURES[result.code] ?? FAILURES.other);
      return notice('bad', el('strong', {}, t('{platform} was not connected.', values)), el('p', {}, why));
    }
  }
}
