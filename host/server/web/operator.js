// Requests of the operator's pages, and the session that they are made in. The cookie goes along by itself; the token that
// goes beside it is known to this page alone, and to it no longer than it is open.

import { Problem } from './api.js';
import { $, el } from './dom.js';

const SESSION = '/api/operator/session';

let token = null;
let signingIn = null;

/** One request. Where the session has ended, it waits until somebody has signed in again. */
export async function ask(method, path, json) {
  for (;;) {
    const response = await send(method, path, json);
    if (response.ok) return response.body;
    if (response.status !== 401) throw new Problem(response.body, response.status);
    await session();
  }
}

export const read = (path) => ask('GET', path);

async function send(method, path, json) {
  const headers = token === null ? {} : { 'X-CSRF-Token': token };
  if (json !== undefined) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: json === undefined ? undefined : JSON.stringify(json),
      credentials: 'same-origin',
      signal: AbortSignal.timeout(30_000),
    });
  } catch {
    throw new Problem({ title: 'No connection', detail: 'Patchbay cannot be reached. Is it still running?', retry: true });
  }
  const text = await response.text().catch(() => '');
  return { ok: response.ok, status: response.status, body: parsed(text) };
}

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** Who looks: asks for the key where nobody has shown one. */
export async function session() {
  const found = await send('GET', SESSION);
  if (found.ok) return known(found.body);
  if (found.status !== 401) throw new Problem(found.body, found.status);
  signingIn ??= signIn().finally(() => {
    signingIn = null;
  });
  return signingIn;
}

function known(body) {
  token = body.csrf_token ?? null;
  const who = $('who');
  who.replaceChildren();
  if (body.key_name !== null && body.key_name !== undefined) {
    who.append(
      el('span', { class: 'small' }, 'Signed in with ', el('bdi', {}, body.key_name)),
      el('button', { class: 'button second', type: 'button', click: signOut }, 'Sign out'),
    );
  } else {
    who.append(el('span', { class: 'small' }, 'Open to this machine: no key is needed'));
  }
  $('board').hidden = false;
  return body;
}

async function signOut() {
  await send('DELETE', SESSION);
  // What was shown is forgotten with the page.
  location.reload();
}

/** Shows the form until a key is taken. */
function signIn() {
  const error = el('p', { class: 'error', id: 'key-error', role: 'alert', hidden: true });
  const input = el('input', {
    id: 'operator-key',
    type: 'password',
    autocomplete: 'off',
    spellcheck: 'false',
    required: true,
    'aria-describedby': 'key-help key-error',
  });
  const button = el('button', { class: 'button', type: 'submit' }, 'Sign in');
  const form = el(
    'form',
    { class: 'card key signin', 'aria-labelledby': 'signin-title' },
    el('h2', { id: 'signin-title' }, 'Sign in'),
    el('label', { for: 'operator-key' }, "Operator's key"),
    el('p', { class: 'help', id: 'key-help' }, 'Make one with ', el('code', {}, 'patchbay keys create --scope operator'), '.'),
    el('div', { class: 'row' }, input, button),
    error,
    el('p', { class: 'small' }, 'The session ends half an hour after its last use, twelve hours after its start, or when you sign out.'),
  );
  $('board').hidden = true;
  $('who').replaceChildren();
  $('signin').replaceChildren(form);
  input.focus();
  return new Promise((resolve) => {
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      button.disabled = true;
      error.hidden = true;
      try {
        const answer = await send('POST', SESSION, { key: input.value.trim() });
        if (!answer.ok) throw new Problem(answer.body, answer.status);
        $('signin').replaceChildren();
        resolve(known(answer.body));
      } catch (problem) {
        error.textContent = problem.message;
        error.hidden = false;
        input.setAttribute('aria-invalid', 'true');
        input.select();
      }
      button.disabled = false;
    });
  });
}
