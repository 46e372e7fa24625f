// The form of a post: account, media, texts, options, time, what is agreed to. What can be chosen comes from the API: the
// platform's description of itself, and its live answer about the account. On the upload page and inside other pages.

import { Problem } from './api.js';
import { portrayed } from './avatar.js';
import { el, goTo, notice, person, problemBox } from './dom.js';
import { field, radios, textField } from './field.js';
import { followPost } from './follow.js';
import { t, translator } from './language.js';
import { mediaPicker } from './media.js';
import { drawOptions } from './options.js';
import { schedulePicker } from './schedule.js';
import { Transfer, forget } from './transfer.js';
import { accountName, clock, kindName, seconds, size, span } from './words.js';

/** How often the places that are left are asked for while the form is open. */
const QUOTA_MS = 60_000;
const RECONNECT = ['account_reauth_required', 'account_not_active', 'missing_scopes', 'account_revoked'];

/**
 * Draws everything about publishing to `platform` into `place`. `connect()` is what a button to connect again does;
 * `onPost(post)` hears of a post that was taken and of its later states; `onShow({ post, account })` of what is shown, by ids.
 */
export class Publishing {
  constructor({ place, api, platform, connect, onPost = () => {}, onShow = () => {} }) {
    Object.assign(this, { place, api, platform, connect, onPost, onShow });
    this.base = `/api/platforms/${platform.id}`;
    this.say = translator(platform.manifest.form);
    this.account = el('div', { class: 'part' });
    this.body = el('div', { class: 'part' });
    this.turn = 0;
    place.replaceChildren(this.account, this.body);
  }

  /** The form, for this account if it is usable. `files` are to be posted first. */
  async form(preferred, files = []) {
    this.body.replaceChildren(loading());
    const { data } = await this.api.get(`${this.base}/accounts?limit=100`);
    this.accounts = data;
    this.choose(preferred, files);
  }

  /** A post that is there already. */
  follow(id, first) {
    this.turn += 1;
    this.quotaTimer?.();
    this.account.replaceChildren();
    this.onShow({ post: id });
    const waiting = this.waiting ?? [];
    const onNew = (account) => {
      this.waiting = [];
      this.form(account, waiting)
        .then(() => goTo(this.place))
        .catch((problem) => this.body.replaceChildren(problemBox(problem)));
    };
    const onPost = (post) => {
      // Words of a post that came to nothing are in the next form.
      if (post.status === 'failed') new Draft(post.account_id).save({ kind: post.kind, mode: post.mode, title: post.title, text: post.text });
      this.onPost(post);
    };
    const { api, platform, say } = this;
    return followPost({ place: this.body, api, platform, say, id, first, onNew, onPost, waiting: waiting[0]?.name, connect: this.connect });
  }

  choose(preferred, files) {
    const usable = this.accounts.filter((account) => account.status === 'active');
    const dead = this.accounts.filter((account) => account.status === 'reauth_required');
    if (usable.length === 0) {
      this.account.replaceChildren();
      const title = dead.length > 0 ? t('The account must be connected again.') : t('No {platform} account is connected yet.', { platform: this.platform.display_name });
      this.body.replaceChildren(notice('warn', el('strong', {}, title), el('div', { class: 'row' }, this.connectButton(dead.length > 0))));
      return;
    }
    const first = usable.find((account) => account.id === preferred) ?? usable[0];
    if (usable.length > 1) {
      const select = el(
        'select',
        { change: () => this.compose(usable.find((account) => account.id === select.value), []) },
        usable.map((account) => el('option', { value: account.id, selected: account === first }, accountName(account) + (account.username ? ` (@${account.username})` : ''))),
      );
      this.account.replaceChildren(field({ id: 'account-choice', label: t('Account'), control: select }).node);
    } else this.account.replaceChildren();
    this.compose(first, files);
  }

  connectButton(again) {
    return el('button', { class: 'button', type: 'button', click: () => this.connect() }, again ? t('Connect again') : t('Connect an account'));
  }

  /** Asks the platform what this account may post now, each time anew, and draws the form. */
  async compose(account, files) {
    this.onShow({ account: account.id });
    this.turn += 1;
    this.quotaTimer?.();
    const { turn } = this;
    this.body.replaceChildren(loading(t('Asking {platform} what this account may post…', { platform: this.platform.display_name })));
    let offer;
    try {
      offer = await this.offer(account);
    } catch (problem) {
      if (turn === this.turn) this.body.replaceChildren(problemBox(problem, t('This account cannot publish just now'), this.askAgain(account, files, problem)));
      return;
    }
    if (turn !== this.turn) return;
    if (offer.live.can_post.state !== 'yes') {
      const { advice, code } = offer.live.can_post;
      this.body.replaceChildren(
        author(this.api, account, offer.live),
        notice(
          'bad',
          el('strong', {}, t('{platform} does not let this account post now.', { platform: this.platform.display_name })),
          el('p', {}, this.say(advice)),
          el('p', { class: 'small' }, t('Code: {code}', { code })),
          this.askAgain(account, files),
        ),
      );
      return;
    }
    const form = new Form(this, account, offer, files);
    this.body.replaceChildren(form.node);
    const timer = setInterval(async () => {
      if (document.hidden) return;
      if (!form.node.isConnected) return void this.quotaTimer();
      const fresh = await this.offer(account).catch(() => null);
      if (fresh) form.showQuotas(fresh.quotas);
    }, QUOTA_MS);
    this.quotaTimer = () => clearInterval(timer);
  }

  offer(account) {
    return this.api.get(`${this.base}/accounts/${account.id}/publish-options`);
  }

  askAgain(account, files, problem) {
    return el(
      'div',
      { class: 'row' },
      RECONNECT.includes(problem?.code) ? this.connectButton(true) : null,
      el('button', { class: 'button second', type: 'button', click: () => this.compose(account, files) }, t('Ask again')),
    );
  }
}

const loading = (text = t('Loading…')) =>
  el('div', { class: 'card skeleton', role: 'status' }, el('p', { class: 'muted' }, text), el('span', { class: 'bone' }), el('span', { class: 'bone' }), el('span', { class: 'bone wide' }));

const author = (api, account, live) =>
  el(
    'div',
    { class: 'author' },
    el('span', { class: 'small' }, t('Posting as')),
    portrayed(api, account, person(live.creator?.nickname ?? account.display_name, live.creator?.username ?? account.username)),
  );

/** What was typed, for a reload of this tab. */
class Draft {
  constructor(account) {
    this.key = `patchbay.draft.${account}`;
    try {
      this.values = JSON.parse(sessionStorage.getItem(this.key)) ?? {};
    } catch {
      this.values = {};
    }
  }

  save(values) {
    this.values = values;
    sessionStorage.setItem(this.key, JSON.stringify(values));
  }

  clear() {
    sessionStorage.removeItem(this.key);
  }
}

class Form {
  constructor(publishing, account, offer, files) {
    Object.assign(this, { publishing, account, offer });
    this.api = publishing.api;
    this.platform = publishing.platform;
    this.say = publishing.say;
    this.kinds = offer.kinds;
    this.draft = new Draft(account.id);
    const kept = this.draft.values;
    this.kind = this.kinds.some((rule) => rule.kind === kept.kind) ? kept.kind : this.kinds[0].kind;
    this.mode = kept.mode ?? this.rule.modes[0];
    // One key for this form: pressed twice, or sent again after a lost answer, it is still one post.
    this.key = kept.key ?? crypto.randomUUID();
    this.files = files;
    this.uploaded = new WeakMap();
    this.body = el('div');
    this.summary = el('div');
    this.sending = el('div', { class: 'sending' });
    this.quotas = el('div', { class: 'quotas' });
    this.agreed = el('p', { class: 'agree' });
    this.node = el(
      'form',
      { class: 'card compose', novalidate: true, submit: (event) => this.submit(event), input: () => this.keep() },
      author(this.api, account, offer.live),
      this.summary,
      this.body,
    );
    this.draw(kept);
  }

  get rule() {
    return this.kinds.find((rule) => rule.kind === this.kind);
  }

  /** Draws the parts that depend on kind and mode. `kept` is what they held before. */
  draw(kept) {
    const { rule } = this;
    if (!rule.modes.includes(this.mode)) this.mode = rule.modes[0];
    const one = this.offer.form.one_text.includes(this.kind);
    this.title = rule.title && textField({ id: 'post-title', label: one ? t('Caption') : t('Title'), rule: rule.title, rows: rule.title.max > 200 ? 4 : 1 });
    this.text = rule.text && !(one && rule.title) ? textField({ id: 'post-text', label: t('Text'), rule: rule.text, rows: 4 }) : null;
    for (const part of ['title', 'text']) {
      if (!kept[part] || !this[part]) continue;
      this[part].control.value = kept[part];
      this[part].control.dispatchEvent(new Event('input'));
    }
    if (this.mediaKind !== this.kind) {
      this.media?.dispose();
      this.media = rule.media && mediaPicker(rule.media, this.offer.live.max_video_seconds, { first: this.files, kept: kept.media, onChange: () => this.keep() });
      this.files = [];
      this.mediaKind = this.kind;
    }
    const { options, form, live } = this.offer;
    this.options = drawOptions({ options, form, live: live.fields, kind: this.kind, mode: this.mode, say: this.say, onChange: () => this.changed() });
    // Choices about a post are made for that post: they come back only where it was on its way already.
    if (kept.sent && kept.options) this.options.restore(kept.options);
    this.schedule = schedulePicker({ kept: kept.scheduled, onChange: () => this.changed() });
    this.button = el('button', { class: 'button big', type: 'submit' }, '');
    this.showQuotas(this.offer.quotas);
    const modes = { direct: [t('Publish it'), t('It goes straight to the profile.')], draft: [t('Send a draft'), t('It goes to the inbox of the app, to be finished there.')] };
    this.body.replaceChildren(
      ...[
        this.kinds.length > 1 ? this.choice('kind', t('What do you post?'), this.kinds.map(({ kind }) => [kind, kindName(kind)])) : null,
        this.media?.node,
        this.title?.node,
        this.text?.node,
        rule.modes.length > 1 ? this.choice('mode', t('How far should it go?'), rule.modes.map((mode) => [mode, ...(modes[mode] ?? [mode])])) : null,
        this.options.nodes.length > 0 ? el('fieldset', { class: 'options' }, el('legend', {}, t('Options of {platform}', { platform: this.platform.display_name })), this.options.nodes) : null,
        this.schedule.node,
        this.quotas,
        this.sending,
        this.afterwards(),
        this.agreed,
        this.button,
      ].filter(Boolean),
    );
    this.changed();
  }

  choice(what, legend, choices) {
    return radios({
      id: what,
      legend,
      choices,
      value: this[what],
      onChange: (value) => {
        this[what] = value;
        this.draw(this.values());
        this.node.querySelector(`input[name="${what}"]:checked`)?.focus();
      },
    });
  }

  showQuotas(quotas) {
    const now = quotas.filter((quota) => quota.counts === 'posts' && quota.mode === this.mode);
    this.offer.quotas = quotas;
    const full = now.filter((quota) => quota.remaining === 0);
    const next = full.map((quota) => quota.next_free_at).filter(Boolean).sort().at(-1);
    this.quotas.replaceChildren(
      ...now.map((quota) => quotaLine(quota, this.say)),
      ...(full.length > 0
        ? [
            notice(
              'warn',
              el('strong', {}, t('All places are taken.')),
              el('p', {}, next ? t('The next one is free {time}. What you publish now waits for it.', { time: clock(next) }) : t('What you publish now waits for the next one.')),
            ),
          ]
        : []),
    );
  }

  afterwards() {
    const text = this.offer.form.afterwards;
    return text ? el('p', { class: 'small' }, this.say(text)) : null;
  }

  /** What is agreed to by this post: the first declaration that fits, or that it is sent at all. */
  declaration() {
    const now = this.options.values();
    return this.offer.form.declarations.find(
      ({ modes, when }) => modes.includes(this.mode) && when.every(({ option, value }) => (now[option] ?? false) === value),
    );
  }

  changed() {
    // While the form is drawn, not all of it is there.
    if (!this.options || !this.button) return;
    const found = this.declaration();
    const who = this.offer.live.creator?.nickname ?? accountName(this.account);
    this.agreed.replaceChildren(
      ...(found
        ? linked(this.say(found.text), found.links)
        : [t('Nothing is sent before you press the button. It then goes to {platform} as {name}.', { platform: this.platform.display_name, name: who })]),
    );
    this.consent = this.agreed.textContent;
    const later = this.schedule?.value() !== undefined;
    this.button.textContent = this.mode === 'draft' ? t('Send the draft') : later ? t('Schedule') : t('Publish');
    const why = this.options.hindrance();
    // Not `disabled`: it says why when it is pointed at, focused or pressed.
    if (why) this.button.setAttribute('aria-disabled', 'true');
    else this.button.removeAttribute('aria-disabled');
    this.button.title = why ?? '';
    this.keep();
  }

  values() {
    return {
      kind: this.kind,
      mode: this.mode,
      key: this.key,
      title: this.title?.value(),
      text: this.text?.value() ?? this.draft.values.text,
      media: this.media?.kept(),
      options: this.options.values(),
      scheduled: this.schedule?.value(),
      sent: this.sent ?? false,
    };
  }

  keep() {
    if (this.button && !this.done) this.draft.save(this.values());
  }

  /** Everything that can be wrong, by the API's own pointers. */
  fields() {
    const own = [
      ['/media', this.media?.field],
      ['/title', this.title],
      ['/text', this.text ?? this.title],
      ...this.schedule.fields,
    ];
    return new Map([...own.filter(([, one]) => one), ...this.options.fields]);
  }

  async submit(event) {
    event.preventDefault();
    if (this.busy) return;
    const why = this.options.hindrance();
    if (why) {
      const box = el('div', { class: 'notice bad', role: 'alert' }, el('strong', {}, why));
      this.summary.replaceChildren(box);
      goTo(box);
      return;
    }
    const fields = this.fields();
    // Two pointers may lead to one field.
    const each = new Map([...fields].map(([pointer, one]) => [one.control, { pointer, message: one.check?.() }]));
    const wrong = [...each.values()].filter(({ message }) => message);
    this.showErrors(wrong, fields);
    if (wrong.length > 0) return;
    this.sent = true;
    this.keep();
    this.setBusy(true);
    try {
      const media = await this.sendMedia();
      this.working(t('Handing the post over…'));
      const post = await this.create(media);
      this.done = true;
      this.draft.clear();
      this.publishing.waiting = this.media?.waiting() ?? [];
      this.media?.dispose();
      // Not waited for: the form has done its part.
      this.publishing.follow(post.id, post);
      this.publishing.onPost(post);
      goTo(this.publishing.body.querySelector('h2'));
    } catch (problem) {
      this.sent = false;
      this.refused(problem, fields);
    } finally {
      this.setBusy(false);
    }
  }

  async create(media, again = false) {
    const json = { account_id: this.account.id, kind: this.kind, mode: this.mode, media, options: this.options.values(), consent: { text: this.consent } };
    if (this.title?.value()) json.title = this.title.value();
    if (this.text?.value()) json.text = this.text.value();
    const scheduled = this.schedule.value();
    if (scheduled) json.scheduled_local = scheduled;
    if (again) json.allow_duplicate = true;
    try {
      return await this.api.call('POST', `${this.publishing.base}/posts`, { json, headers: { 'Idempotency-Key': this.key } });
    } catch (problem) {
      if (problem.code !== 'duplicate_content' || !(await this.confirmed())) throw problem;
      return this.create(media, true);
    }
  }

  /** Whether the same is really meant to be posted twice. */
  confirmed() {
    return new Promise((resolve) => {
      const no = el('button', { class: 'button second', type: 'button', click: () => dialog.close() }, t('Do not post it'));
      const yes = el('button', { class: 'button', type: 'button', click: () => dialog.close('again') }, t('Post it again'));
      const dialog = el(
        'dialog',
        { 'aria-labelledby': 'again-title', close: () => (dialog.remove(), resolve(dialog.returnValue === 'again')) },
        el('h2', { id: 'again-title' }, t('You have posted the same within a day')),
        el('p', {}, t('The same file with the same words went to this account already.')),
        el('div', { class: 'row' }, no, yes),
      );
      this.node.append(dialog);
      dialog.showModal();
      no.focus();
    });
  }

  /** Uploads what is not on this host yet. */
  async sendMedia() {
    if (!this.media) return [];
    const { files, urls } = this.media.value();
    if (urls) return urls.map((url) => ({ url }));
    const ids = [];
    for (const [index, file] of files.entries()) {
      if (!this.uploaded.has(file)) this.uploaded.set(file, await this.transfer(file, index, files.length));
      const sent = this.uploaded.get(file);
      const longest = this.offer.live.max_video_seconds;
      if (longest && sent.duration_ms > longest * 1000) {
        const message = t('{name} plays {time}; this account may post at most {most}.', { name: file.name, time: seconds(sent.duration_ms / 1000), most: seconds(longest) });
        throw new Problem({ title: t('Too long'), detail: message, errors: [{ pointer: '/media', message }] });
      }
      ids.push({ id: sent.id });
    }
    return ids;
  }

  /** One file on its way, with what there is to see and to do meanwhile. */
  async transfer(file, index, count) {
    const bar = el('progress', { max: Math.max(1, file.size), value: 0, 'aria-label': t('Upload') });
    const state = el('p', { role: 'status' });
    const numbers = el('p', { class: 'small numbers', 'aria-hidden': 'true' });
    const pause = el('button', { class: 'button second', type: 'button' }, t('Pause'));
    const cancel = el('button', { class: 'button danger', type: 'button', click: () => transfer.cancel() }, t('Cancel the upload'));
    const states = {
      sending: count > 1 ? t('Uploading file {index} of {count}…', { index: index + 1, count }) : t('Uploading…'),
      paused: t('Paused. What has arrived stays.'),
      waiting: t('The connection is lost. The upload goes on by itself when it is back; nothing is lost.'),
      checking: t('Checking the file…'),
    };
    const transfer = new Transfer(this.api, file, (now) => {
      if (state.textContent !== states[now.state]) state.textContent = states[now.state];
      bar.value = Math.min(now.total, now.sent);
      pause.hidden = !now.resumable || now.state === 'checking';
      pause.textContent = transfer.paused ? t('Go on') : t('Pause');
      const speed = now.bytesPerSecond !== null && now.state === 'sending';
      numbers.textContent = [
        t('{sent} of {total}', { sent: size(now.sent), total: size(now.total) }),
        speed ? t('{size} per second', { size: size(now.bytesPerSecond) }) : null,
        speed && now.secondsLeft !== null ? t('{time} left', { time: seconds(Math.ceil(now.secondsLeft)) }) : null,
      ].filter(Boolean).join(' · ');
    });
    pause.addEventListener('click', () => (transfer.paused ? transfer.resume() : transfer.pause()));
    this.sending.replaceChildren(el('div', { class: 'transfer' }, state, bar, numbers, el('div', { class: 'row' }, pause, cancel)));
    return transfer.run();
  }

  working(text) {
    this.sending.replaceChildren(el('p', { role: 'status' }, text));
  }

  setBusy(busy) {
    this.busy = busy;
    this.button.disabled = busy;
    this.node.setAttribute('aria-busy', String(busy));
    // What is being sent must not change under way.
    for (const part of this.body.querySelectorAll('fieldset, .field input, .field textarea, .field select, .link')) {
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
      forget();
      this.summary.replaceChildren(notice('warn', t('The upload was cancelled. Nothing was published, and what you typed is still here.')));
      goTo(this.summary);
      return;
    }
    if (problem.errors.length > 0) {
      this.showErrors(problem.errors, fields);
      return;
    }
    const more = [];
    if (problem.code === 'idempotency_key_reused') {
      // An earlier try has arrived, and something was changed since: this is another post.
      this.key = crypto.randomUUID();
      more.push(el('p', {}, t('An earlier try of this form has arrived already. Look at the profile before you post it again.')));
    }
    if (RECONNECT.includes(problem.code)) more.push(el('div', { class: 'row' }, this.publishing.connectButton(true)));
    const box = problemBox(problem, t('It was not published'), el('p', {}, t('What you typed is still here.')), ...more);
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
    const title = errors.length === 1 ? t('One thing is missing or wrong') : t('{count} things are missing or wrong', { count: errors.length });
    const box = el('div', { class: 'notice bad', role: 'alert' }, el('strong', {}, title), el('ul', {}, lines));
    this.summary.replaceChildren(box);
    goTo(box);
  }
}

const warn = (event) => event.preventDefault();

/** A text whose words in brackets are links, in the order of their addresses. */
function linked(text, links) {
  let next = 0;
  return text.split(/(\[[^\]]*\])/).map((part) => {
    if (!part.startsWith('[')) return part;
    const href = links[next];
    next += 1;
    return el('a', { href, target: '_blank', rel: 'noopener noreferrer' }, part.slice(1, -1));
  });
}

function quotaLine({ name: what, used, limit, window_seconds: window }, say) {
  const words = say(what.replace(/_/g, ' '));
  return el(
    'p',
    { class: 'quota' },
    el('meter', { min: 0, max: limit, high: Math.max(1, limit - 1), value: Math.min(used, limit), 'aria-label': words }),
    el('span', { class: 'small' }, t('{used} of {limit} {what} in {span}', { used, limit, what: words, span: span(window) })),
  );
}
