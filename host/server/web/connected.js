// The end of a connect in a popup: tells the window that opened it what came of it, if that is of an origin that the
// session allows. What it tells is of no use without the API key of the tenant.

import { $ } from './dom.js';

const given = new URLSearchParams(location.hash.slice(1));
history.replaceState(null, '', location.pathname);

const message = { source: 'patchbay' };
for (const name of ['session_id', 'completion_code', 'error', 'code', 'missing_scopes']) {
  if (given.has(name)) message[name] = given.get(name);
}

/** Scheme, host and port and nothing else, so that no browser takes it for a pattern. */
function isOrigin(text) {
  try {
    return new URL(text).origin === text;
  } catch {
    return false;
  }
}

const origins = given.getAll('origin').filter(isOrigin);
if (window.opener && message.session_id) {
  for (const origin of origins) window.opener.postMessage(message, origin);
}
$('title').textContent = message.error ? 'Not connected' : 'Connected';
