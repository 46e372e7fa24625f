// Publishing: account, media, texts, options, then the post's way to its end. What can be chosen comes from the API:
// the platform's description of itself, and its live answer about the account.

import { Problem, call, get, upload } from './api.js';
import { $, badge, el, goTo, name, notice, person, problemBox } from './dom.js';
import { field, radios, textField } from './field.js';
import { followPost } from './follow.js';
import { mediaPicker } from './media.js';
import { drawOptions } from './options.js';
import { accountName, kindName, seconds, size, span } from './words.js';

const MODES = {
  direct: ['Publish it', 'It goes straight to the profile.'],
  draft: ['Send a draft', 'It goes to the inbox of the app, to be finished there.'],
};

const provider = location.pathname.split('/')[2];
const base = `/api/platforms/${provider}`;
let platform;
let accounts;

start();

async function start() {
  const query = new URLSearchParams(location.search);
  if (location.search) history.replaceState(null, '', location.pathname + location.hash);
  addEventListener('hashchange', show);
  try {
    platform = await get(base);
    document.title = `Publish to ${platform.display_name} – Patchbay`;
    $('title').replaceChildren(`Publish to ${platform.display_name}`, platform.simulated ? badge('warn', 'Simulated') : '');
    if (platform.simulated) {
      $('simulated').replaceChildren(notice('warn', `A simulator stands in for ${platform.display_name}: nothing reaches the real platform.`));
    }
    await show(query.get('account'));
  } catch (problem) {
    $('account').replaceChildren();
    $('problem').replaceChildren(problemBox(problem, 'This page cannot be shown'));
  }
}

/** A post in the fragment is followed; without one, there is a form. */
async function show(preferred) {
  const post = /^#(post_[0-9a-f]{32})$/.exec(location.hash)?.[1];
  $('problem').replaceChildren();
  if (post) {
    $('account').replaceChildren();
    $('compose').replaceChildren();
    await followPost({ place: $('status'), platform, id: post, onNew: restart });
    return;
  }
  $('status').replaceChildren();
  accounts = (await get(`${base}/accounts?limit=100`)).data;
  chooseAccount(typeof preferred === 'string' ? preferred : null);
}

function restart(account) {
  history.replaceState(null, '', location.pathname);
  show(account)
    .then(() => goTo($('title')))
    .catch((problem) => $('problem').replaceChildren(problemBox(problem)));
}

function chooseAccount(preferred) {
  const usable = accounts.filter((account) => account.status === 'active');
  const dead = accounts.filter((account) => account.status === 'reauth_required');
  if (usable.length === 0) {
    $('account').replaceChildren(
      notice(
        'warn',
        el('strong', {}, dead.length > 0 ? 'The account must be connected again.' : `No ${platform.display_name} account is connected yet.`),
        el('p', {}, el('a', { class: 'button', href: `/platforms/connect/${provider}` }, dead.length > 0 ? 'Connect again' : 'Connect an account')),
      ),
    );
    return;
  }
  const first = usable.find((account) => account.id === preferred) ?? usable[0];
  if (usable.length > 1) {
    const select = el(
      'select',
      { change: () => compose(usable.find((account) => account.id === select.value)) },
      usable.map((account) => el('option', { value: account.id, selected: account === first }, accountName(account) + (account.username ? ` (@${account.username})` : ''))),
    );
    $('account').replaceChildren(field({ id: 'account-choice', label: 'Account', control: select }).node);
  } else {
    $('account').replaceChildren();
  }
  compose(first);
}

let composing = 0;

/** Asks the platform what this account may post now, and draws the form. */
async function compose(account) {
  composing += 1;
  const turn = composing;
  $('compose').replaceChildren(el('p', { class: 'muted', role: 'status' }, `Asking ${platform.display_name} what this account may post…`));
  let offer;
  try {
    offer = await get(`${base}/accounts/${account.id}/publish-options`);
  } catch (problem) {
    if (turn === composing) $('compose').replaceChildren(problemBox(problem, 'This account cannot publish just now', askAgain(account, problem)));
    return;
  }
  if (turn !== composing) return;
  if (offer.live.can_post.state !== 'yes') {
    $('compose').replaceChildren(
      author(account, offer.live),
      notice(
        'bad',
        el('strong', {}, `${platform.display_name} does not let this account post now.`),
        el('p', {}, offer.live.can_post.advice),
        el('p', { class: 'small' }, `Code: ${offer.live.can_post.code}`),
        askAgain(account),
      ),
    );
    return;
  }
  $('compose').replaceChildren(new Form(account, offer).node);
}

function askAgain(account, problem) {
  const reconnect = ['account_reauth_required', 'account_not_active', 'missing_scopes'].includes(problem?.code);
  return el(
    'div',
    { class: 'row' },
    reconnect ? el('a', { class: 'button', href: `/platforms/connect/${provider}` }, 'Connect again') : null,
    el('button', { class: 'button second', type: 'button', click: () => compose(account) }, 'Ask again'),
  );
}

const author = (account, live) =>
  el(
    'div',
    { class: 'author' },
    el('span', { class: 'small' }, 'Posting as'),
    person(live.creator?.nickname ?? account.display_name, live.creator?.username ?? account.username),
  );

class Form {
  constructor(account, offer) {
    this.account = account;
    this.offer = offer;
    this.kinds = offer.kinds;
    this.kind = this.kinds[0].kind;
    this.mode = this.kinds[0].modes[0];
    // One key for this form: pressed twice, or sent again after a lost answer, it is still one post.
    this.key = crypto.randomUUID();
    this.uploaded = new WeakMap();
    this.body = el('div');
    this.summary = el('div');
    this.sending = el('div', { class: 'sending', role: 'status' });
    this.node = el(
      'form',
      { class: 'card compose', novalidate: true, submit: (event) => this.submit(event) },
      author(account, offer.live),
      this.summary,
      this.body,
    );
    this.draw();
  }

  get rule() {
    return this.kinds.find((rule) => rule.kind === this.kind);
  }

  /** Draws the parts that depend on kind and mode, and keeps the texts. */
  draw() {
    const { rule } = this;
    if (!rule.modes.includes(this.mode)) this.mode = rule.modes[0];
    const kept = { title: this.title?.value(), text: this.text?.value() };
    this.title = rule.title && textField({ id: 'post-title', label: 'Title', rule: rule.title, rows: rule.title.max > 200 ? 3 : 1 });
    this.text = rule.text && textField({ id: 'post-text', label: 'Text', rule: rule.text, rows: 4 });
    for (const [key, value] of Object.entries(kept)) {
      if (value && this[key]) {
        this[key].control.value = value;
        this[key].control.dispatchEvent(new Event('input'));
      }
    }
    if (this.mediaKind !== this.kind) {
      this.media?.dispose();
      this.media = rule.media && mediaPicker(rule.media, this.offer.live.max_video_seconds);
      this.mediaKind = this.kind;
    }
    this.options = drawOptions(this.offer.options, this.offer.live.fields, this.kind, this.mode);
    const quotas = this.offer.quotas.filter((quota) => quota.mode === this.mode);
    this.full = quotas.some((quota) => quota.used >= quota.limit);
    this.button = el('button', { class: 'button big', type: 'submit', disabled: this.full }, this.mode === 'draft' ? 'Send the draft' : 'Publish');
    this.body.replaceChildren(
      ...[
        this.kinds.length > 1 ? this.choice('kind', 'What do you post?', this.kinds.map(({ kind }) => [kind, kindName(kind)])) : null,
        this.media?.node,
        this.title?.node,
        this.text?.node,
        rule.modes.length > 1 ? this.choice('mode', 'How far should it go?', rule.modes.map((mode) => [mode, ...(MODES[mode] ?? [mode])])) : null,
        this.options.nodes.length > 0 ? el('fieldset', { class: 'options' }, el('legend', {}, `Options of ${platform.display_name}`), this.options.nodes) : null,
        quotas.map(quotaLine),
        this.full ? notice('warn', el('strong', {}, 'The limit is reached.'), el('p', {}, 'Publishing is possible again when a place is free.')) : null,
        this.consent(),
        this.sending,
        this.button,
      ]
        .flat()
        .filter(Boolean),
    );
  }

  choice(what, legend, choices) {
    return radios({
      id: what,
      legend,
      choices,
      value: this[what],
      onChange: (value) => {
        this[what] = value;
        this.draw();
        this.node.querySelector(`input[name="${what}"]:checked`)?.focus();
      },
    });
  }

  consent() {
    const who = this.offer.live.creator?.nickname ?? accountName(this.account);
    return el(
      'p',
      { class: 'small' },
      'Nothing is sent before you press the button. It then goes to ',
      `${platform.display_name} as `,
      name(who),
      `, under the terms of ${platform.display_name}. It may take a few minutes to appear.`,
    );
  }

  /** Everything that can be wrong, by the API's own pointers. */
  fields() {
    const own = [
      ['/media', this.media?.field],
      ['/title', this.title],
      ['/text', this.text],
    ];
    return new Map([...own.filter(([, one]) => one), ...this.options.fields]);
  }

  async submit(event) {
    event.preventDefault();
    if (this.busy) return;
    const fields = this.fields();
    const wrong = [...fields].map(([pointer, one]) => ({ pointer, message: one.check?.() })).filter(({ message }) => message);
    this.showErrors(wrong, fields);
    if (wrong.length > 0) return;
    this.setBusy(true);
    try {
      const media = await this.sendMedia();
      this.say('Handing the post over…');
      const post = await this.create(media);
      history.replaceState(null, '', `#${post.id}`);
      this.media?.dispose();
      $('account').replaceChildren();
      $('compose').replaceChildren();
      // Not waited for: the form has done its part.
      followPost({ place: $('status'), platform, id: post.id, first: post, onNew: restart });
      goTo($('status').querySelector('h2'));
    } catch (problem) {
      this.refused(problem, fields);
    } finally {
      this.setBusy(false);
    }
  }

  async create(media, again = false) {
    const json = { account_id: this.account.id, kind: this.kind, mode: this.mode, media, options: this.options.values() };
    if (this.title?.value()) json.title = this.title.value();
    if (this.text?.value()) json.text = this.text.value();
    if (again) json.allow_duplicate = true;
    try {
      return await call('POST', `${base}/posts`, { json, headers: { 'Idempotency-Key': this.key } });
    } catch (problem) {
      const meant = problem.code === 'duplicate_content'
        && window.confirm('You have posted the same to this account within a day. Post it again?');
      if (!meant) throw problem;
      return this.create(media, true);
    }
  }

  /** Uploads what is not on this host yet. */
  async sendMedia() {
    if (!this.media) return [];
    const { files, urls } = this.media.value();
    if (urls) return urls.map((url) => ({ url }));
    const total = files.reduce((sum, file) => sum + file.size, 0);
    const bar = el('progress', { max: Math.max(1, total), value: 0, 'aria-label': 'Upload' });
    const text = el('p', { class: 'small', 'aria-hidden': 'true' });
    this.abort = new AbortController();
    const stop = el('button', { class: 'button second', type: 'button', click: () => this.abort.abort() }, 'Stop the upload');
    this.sending.replaceChildren(el('p', {}, 'Uploading…'), bar, text, stop);
    let before = 0;
    const ids = [];
    for (const file of files) {
      if (!this.uploaded.has(file)) {
        const sent = await upload(
          file,
          (done) => {
            // Headers count too: never past the end.
            bar.value = Math.min(total, before + done);
            text.textContent = `${size(bar.value)} of ${size(total)}`;
          },
          this.abort.signal,
        );
        this.uploaded.set(file, sent);
      }
      const sent = this.uploaded.get(file);
      const longest = this.offer.live.max_video_seconds;
      if (longest && sent.duration_ms > longest * 1000) {
        const message = `${file.name} plays ${seconds(sent.duration_ms / 1000)}; this account may post at most ${seconds(longest)}.`;
        throw new Problem({ title: 'Too long', detail: message, errors: [{ pointer: '/media', message }] });
      }
      before += file.size;
      ids.push({ id: sent.id });
    }
    return ids;
  }

  say(text) {
    this.sending.replaceChildren(el('p', {}, text));
  }

  setBusy(busy) {
    this.busy = busy;
    this.button.disabled = busy || this.full;
    this.node.setAttribute('aria-busy', String(busy));
    // What is being sent must not change under way.
    for (const part of this.body.querySelectorAll('fieldset, .field input, .field textarea, .field select')) {
      part.inert = busy;
    }
    if (busy) addEventListener('beforeunload', warn);
    else {
      removeEventListener('beforeunload', warn);
      this.sending.replaceChildren();
    }
  }

  refused(problem, fields) {
    if (problem.code === 'stopped') {
      this.summary.replaceChildren(notice('warn', 'The upload was stopped. Nothing was published.'));
      goTo(this.summary);
      return;
    }
    if (problem.errors.length > 0) {
      this.showErrors(problem.errors, fields);
      return;
    }
    const known = problem.code === 'idempotency_key_reused';
    const more = known
      ? el('p', {}, 'An earlier try of this form has arrived already. Look at ', el('a', { href: '/' }, 'all posts'), ' before you post it again; then load this page anew.')
      : null;
    const box = problemBox(problem, 'It was not published', more);
    this.summary.replaceChildren(box);
    goTo(box);
  }

  /** Shows each error at its field, and all of them on top with links. */
  showErrors(errors, fields) {
    for (const one of fields.values()) one.setError(null);
    if (errors.length === 0) {
      this.summary.replaceChildren();
      return;
    }
    const lines = errors.map(({ pointer, message }) => {
      const found = [...fields].find(([key]) => pointer === key || pointer.startsWith(`${key}/`))?.[1];
      if (!found) return el('li', {}, message);
      found.setError(message);
      const go = (event) => {
        event.preventDefault();
        found.control.focus();
      };
      return el('li', {}, el('a', { href: `#${found.control.id}`, click: go }, found.label), `: ${message}`);
    });
    const title = errors.length === 1 ? 'One thing is missing or wrong' : `${errors.length} things are missing or wrong`;
    const box = el('div', { class: 'notice bad', role: 'alert' }, el('strong', {}, title), el('ul', {}, lines));
    this.summary.replaceChildren(box);
    goTo(box);
  }
}

const warn = (event) => event.preventDefault();

function quotaLine({ name: what, used, limit, window_seconds: window }) {
  const words = what.replace(/_/g, ' ');
  return el(
    'p',
    { class: 'quota' },
    el('meter', { min: 0, max: limit, high: Math.max(1, limit - 1), value: Math.min(used, limit), 'aria-label': words }),
    el('span', { class: 'small' }, `${used} of ${limit} ${words} used in ${span(window)}`),
  );
}
