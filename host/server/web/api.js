// Requests to the API of this host. On the machine's own pages no key is needed; where the API asks for one, it is
// asked for here, kept for this tab alone, and sent as `Authorization: Bearer`. Embedded parts bring their own right.

import { $, el } from './dom.js';
import { t } from './language.js';

const KEY = 'patchbay.key';
const PASS = 'patchbay.pass';

const WHO = {
  account_owner: 'The owner of the account can settle this.',
  operator: 'The operator of this host can settle this.',
};

/** An error that the API answered with (RFC 9457), or that kept a request from it. */
export class Problem extends Error {
  constructor(body, status = 0) {
    super(body.detail || t('The answer was not understood.'));
    this.title = body.title || t('That did not work');
    this.status = status;
    this.code = body.code ?? '';
    this.retry = body.retry ?? false;
    this.acts = WHO[body.who_acts] ? t(WHO[body.who_acts]) : '';
    this.requestId = body.request_id ?? '';
    this.errors = body.errors ?? [];
  }
}

const unreachable = () =>
  new Problem({ title: t('No connection'), detail: t('Patchbay cannot be reached. Is it still running?'), code: '', retry: true });

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

const authorization = () => (hasKey() ? { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` } : {});

/**
 * Calls of the API. `base` gives what stands before each path, `path` may change the path, `authorization` gives the headers
 * that say who asks, and `refused` is what a 401 leads to: another try if it returns.
 */
export function apiOf({ base, path: written = (path) => path, authorization: ofCaller, refused }) {
  const address = (path) => base() + written(path);

  /** One request with the bytes of `body`; `onProgress` gets how many have left. Status, headers and JSON, whatever it is. */
  const raw = async (method, path, { headers = {}, body, onProgress, signal } = {}) => {
    for (;;) {
      const sent = { ...ofCaller(), ...headers };
      const answer = await send(method, address(path), sent, body, onProgress, signal);
      if (answer.status !== 401) return answer;
      await refused(new Problem(answer.body, 401), sent);
    }
  };

  const call = async (method, path, { json, headers = {}, timeout = 60_000 } = {}) => {
    for (;;) {
      const sent = { ...ofCaller(), ...headers };
      if (json !== undefined) sent['Content-Type'] = 'application/json';
      let response;
      try {
        response = await fetch(address(path), {
          method,
          headers: sent,
          body: json === undefined ? undefined : JSON.stringify(json),
          credentials: 'same-origin',
          signal: AbortSignal.timeout(timeout),
        });
      } catch {
        throw unreachable();
      }
      const body = read(await response.text().catch(() => ''));
      if (response.ok) return body;
      const problem = new Problem(body, response.status);
      if (response.status !== 401) throw problem;
      await refused(problem, sent);
    }
  };

  /** What an operation tells by server-sent events, as it comes. Ends when the host ends it, or with `signal`. */
  const events = async function* (path, signal) {
    let response;
    try {
      response = await fetch(address(path), {
        headers: { ...ofCaller(), Accept: 'text/event-stream' },
        credentials: 'same-origin',
        signal,
      });
    } catch {
      throw unreachable();
    }
    if (!response.ok) throw new Problem(read(await response.text().catch(() => '')), response.status);
    if (!response.body) return;
    const lines = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    try {
      for (;;) {
        const { done, value } = await lines.read();
        if (done) return;
        const parts = (text + value).split('\n\n');
        text = parts.pop();
        for (const part of parts) {
          const data = part.split('\n').filter((line) => line.startsWith('data:'));
          if (data.length > 0) yield read(data.map((line) => line.slice(5)).join('\n'));
        }
      }
    } catch {
      throw unreachable();
    } finally {
      lines.cancel().catch(() => {});
    }
  };

  /** The bytes of something, or null where there are none. Nobody is asked for a key. */
  const bytes = async (path) => {
    const answer = await fetch(address(path), { headers: ofCaller(), credentials: 'same-origin' });
    return answer.ok ? answer.blob() : null;
  };

  return { call, get: (path) => call('GET', path), bytes, raw, events };
}

/** Calls with a pass, which is two signed parts: its place stands before each path, its secret goes into the header. */
export function apiOfPass({ origin, pass, refused }) {
  const parts = () => pass().split('.');
  return apiOf({
    base: () => `${origin}/api/embed/${parts().slice(0, 2).join('.')}`,
    path: (path) => path.replace(/^\/api/, ''),
    authorization: () => ({ Authorization: `Bearer ${parts().slice(2).join('.')}` }),
    refused,
  });
}

/** Whether this tab was opened with a pass for one user (`#session=…`), instead of by somebody who has a key. */
export const hasPass = () => sessionStorage.getItem(PASS) !== null;

export function keepPass(pass) {
  sessionStorage.setItem(PASS, pass);
}

const ofKey = apiOf({ base: () => '', authorization, refused: (_, sent) => askForKey(sent.Authorization) });
const ofPass = apiOfPass({
  origin: '',
  pass: () => sessionStorage.getItem(PASS),
  refused: (problem) => {
    throw problem;
  },
});
const which = () => (hasPass() ? ofPass : ofKey);

/** How pages of this host ask: with the pass or key of this tab, if there is one. */
export const api = {
  call: (...of) => which().call(...of),
  get: (...of) => which().get(...of),
  bytes: (...of) => which().bytes(...of),
  raw: (...of) => which().raw(...of),
  events: (...of) => which().events(...of),
};

/** One request. Waits for a key where one is needed. */
export const { call, get } = api;

// `fetch` does not tell how much of a body has left.
function send(method, address, headers, body, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (onProgress) request.upload.addEventListener('progress', (event) => onProgress(event.loaded));
    request.addEventListener('load', () =>
      resolve({ status: request.status, header: (name) => request.getResponseHeader(name), body: read(request.responseText) }),
    );
    request.addEventListener('error', () => reject(unreachable()));
    request.addEventListener('abort', () => reject(new Problem({ title: 'Stopped', detail: t('The upload was stopped.'), code: 'stopped' })));
    signal?.addEventListener('abort', () => request.abort(), { once: true });
    request.send(body);
  });
}

/** A file's name within the limits of a label: at most 255 bytes, no control characters. */
export function label(text) {
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
