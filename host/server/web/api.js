// Requests to the API of this host. On the machine's own pages no key is needed; where the API asks for one, it is
// asked for here, kept for this tab alone, and sent as `Authorization: Bearer`.

import { $, el } from './dom.js';

const KEY = 'patchbay.key';

const WHO = {
  account_owner: 'The owner of the account can settle this.',
  operator: 'The operator of this host can settle this.',
};

/** An error that the API answered with (RFC 9457), or that kept a request from it. */
export class Problem extends Error {
  constructor(body, status = 0) {
    super(body.detail || 'The answer was not understood.');
    this.title = body.title || 'That did not work';
    this.status = status;
    this.code = body.code ?? '';
    this.retry = body.retry ?? false;
    this.acts = WHO[body.who_acts] ?? '';
    this.requestId = body.request_id ?? '';
    this.errors = body.errors ?? [];
  }
}

const unreachable = () =>
  new Problem({ title: 'No connection', detail: 'Patchbay cannot be reached. Is it still running?', code: '', retry: true });

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

const authorization = () => (hasKey() ? { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` } : {});

/** One request. Waits for a key where one is needed. */
export async function call(method, path, { json, headers = {}, timeout = 60_000 } = {}) {
  for (;;) {
    const sent = { ...authorization(), ...headers };
    if (json !== undefined) sent['Content-Type'] = 'application/json';
    let response;
    try {
      response = await fetch(path, {
        method,
        headers: sent,
        body: json === undefined ? undefined : JSON.stringify(json),
        credentials: 'same-origin',
        signal: AbortSignal.timeout(timeout),
      });
    } catch {
      throw unreachable();
    }
    const text = await response.text().catch(() => '');
    const body = read(text);
    if (response.ok) return body;
    if (response.status !== 401) throw new Problem(body, response.status);
    await askForKey(sent.Authorization);
  }
}

export const get = (path) => call('GET', path);

/** Sends a file as it is. `onProgress` gets the bytes sent so far. */
export async function upload(file, onProgress, signal) {
  for (;;) {
    const headers = { ...authorization(), 'Content-Type': file.type || 'application/octet-stream' };
    const { status, body } = await send(`/api/media?name=${encodeURIComponent(label(file.name))}`, headers, file, onProgress, signal);
    if (status === 201) return body;
    if (status !== 401) throw new Problem(body, status);
    await askForKey(headers.Authorization);
  }
}

// `fetch` does not tell how much of a body has left.
function send(path, headers, file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener('progress', (event) => onProgress(event.loaded));
    request.addEventListener('load', () => resolve({ status: request.status, body: read(request.responseText) }));
    request.addEventListener('error', () => reject(unreachable()));
    request.addEventListener('abort', () => reject(new Problem({ title: 'Stopped', detail: 'The upload was stopped.', code: 'stopped' })));
    signal.addEventListener('abort', () => request.abort());
    request.send(file);
  });
}

/** A file's name within the limits of a label: at most 255 bytes, no control characters. */
function label(text) {
  const clean = text.replace(/\p{Cc}/gu, '');
  const bytes = new TextEncoder().encode(clean);
  return bytes.length <= 255 ? clean : Array.from(clean).slice(0, 60).join('');
}

function read(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

let asking = null;

/** Shows the key form, once for all requests that wait for it. `refused` is what was sent. */
async function askForKey(refused) {
  const wasWrong = refused !== undefined;
  // An answer to an earlier key says nothing of one that was given since.
  if (wasWrong && hasKey() && authorization().Authorization !== refused) return;
  if (wasWrong) sessionStorage.removeItem(KEY);
  asking ??= new Promise((resolve) => {
    const input = el('input', { id: 'api-key', type: 'password', autocomplete: 'off', spellcheck: 'false', required: true });
    const form = el(
      'form',
      { class: 'card key', 'aria-labelledby': 'api-key-title' },
      el('h2', { id: 'api-key-title' }, 'An API key is needed'),
      wasWrong ? el('p', { class: 'error', role: 'alert' }, 'That key is not accepted. Check it, and try again.') : null,
      el('p', {}, 'Make one with ', el('code', {}, 'patchbay keys create'), '. It stays in this tab and is forgotten when you close it.'),
      el('label', { for: 'api-key' }, 'API key'),
      el('div', { class: 'row' }, input, el('button', { class: 'button', type: 'submit' }, 'Use this key')),
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const key = input.value.trim();
      if (!/^[\x21-\x7e]+$/.test(key)) return;
      sessionStorage.setItem(KEY, key);
      form.remove();
      asking = null;
      resolve();
    });
    $('main').querySelector('h1').after(form);
    input.focus();
  });
  await asking;
}
