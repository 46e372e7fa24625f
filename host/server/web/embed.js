// Custom elements for pages of other sites: <patchbay-widget>, <patchbay-connect> and <patchbay-upload>. One script tag brings
// them; a pass that the site's own backend asks for lets them act for one user, from the site's origins alone.
//
//   <script type="module" src="(address of this host)/web/embed.js"></script>
//   <patchbay-widget platform="…" token="…"></patchbay-widget>
//
// Attributes: `platform`, `token`, `lang`, `theme` (`light` or `dark`; else as the reader has it). Events, all of which bubble:
// `patchbay-ready`, `patchbay-expired` (set a new `token`), `patchbay-connected`, `patchbay-disconnected`, `patchbay-post` (a
// post was taken, or its state has changed), `patchbay-upload` and `patchbay-connect` (what the widget's buttons ask for; cancel
// one to answer it yourself). Looks: custom properties of `embed.css` and parts.

import { confirmDisconnect, connections } from './accounts.js';
import { apiOfPass } from './api.js';
import { portrayed } from './avatar.js';
import { Publishing } from './compose.js';
import { badge, el, name, notice, person, problemBox } from './dom.js';
import { speak, t } from './language.js';
import { accountName, accountState, ago, isOpen, postState } from './words.js';

const HOST = new URL(import.meta.url).origin;
/** How often the widget looks: while something is under way, and else. */
const BUSY_MS = 2_000;
const IDLE_MS = 20_000;
/** How often a popup is looked after in which someone connects. */
const POPUP_MS = 500;
const RECENT = 5;
/** How long a page may take to bring a new pass. */
const RENEWAL_MS = 15_000;

let sheets = null;

/** The pages' own sheets, within each element alone. */
function looks() {
  sheets ??= Promise.all(
    ['style.css', 'embed.css'].map(async (file) => {
      const sheet = new CSSStyleSheet();
      return sheet.replace(await (await fetch(`${HOST}/web/${file}`, { credentials: 'omit' })).text());
    }),
  );
  return sheets;
}

/** What the elements share: shadow, looks, language, the right to ask, events. */
class Part extends HTMLElement {
  static observedAttributes = ['platform', 'token', 'lang', 'theme'];

  constructor() {
    super();
    this.root = this.attachShadow({ mode: 'open' });
    this.place = el('div', { class: 'embed', part: 'base' });
    this.life = 0;
  }

  connectedCallback() {
    this.restart();
  }

  disconnectedCallback() {
    this.life += 1;
  }

  attributeChangedCallback(attribute, before, now) {
    if (before === now || !this.isConnected) return;
    if (attribute === 'token' && before && now) {
      // A new right for the same work: what is under way goes on with it.
      this.renewed?.();
      this.renewed = null;
      return;
    }
    if (attribute !== 'theme') this.restart();
  }

  async restart() {
    this.life += 1;
    const { life } = this;
    await Promise.all([looks().then((found) => (this.root.adoptedStyleSheets = found)), speak(this.lang || document.documentElement.lang || null)]).catch(() => {});
    if (life !== this.life) return;
    this.place.lang = this.lang || document.documentElement.lang || 'en';
    this.root.replaceChildren(this.place);
    if (!this.token || !this.getAttribute('platform')) {
      this.place.replaceChildren(notice('warn', t('This part has no session yet.')));
      return;
    }
    try {
      this.platform = await this.api.get(`/api/platforms/${this.getAttribute('platform')}`);
      if (life !== this.life) return;
      await this.show(life);
      this.tell('patchbay-ready');
    } catch (problem) {
      if (life === this.life) this.failed(problem);
    }
  }

  get token() {
    return this.getAttribute('token') ?? '';
  }

  set token(text) {
    this.setAttribute('token', text);
  }

  /** Calls with the pass that stands in the element at the time. */
  get api() {
    return apiOfPass({ origin: HOST, pass: () => this.token, refused: (problem) => this.expired(problem) });
  }

  /** A pass lives for minutes. The page is asked for another one, and what was asked for waits for it. */
  async expired(problem) {
    this.renewal ??= new Promise((resolve) => {
      this.renewed = resolve;
    });
    const { renewal } = this;
    // The page may answer before this returns.
    this.tell('patchbay-expired');
    const late = Symbol('late');
    const came = await Promise.race([renewal, wait(RENEWAL_MS).then(() => late)]);
    if (this.renewal === renewal) this.renewal = null;
    if (came === late) throw problem;
  }

  tell(event, detail = {}) {
    return this.dispatchEvent(new CustomEvent(event, { detail, bubbles: true, composed: true, cancelable: true }));
  }

  failed(problem) {
    const again = el('button', { class: 'button second', type: 'button', click: () => this.restart() }, t('Try again'));
    this.place.replaceChildren(problemBox(problem, t('This part cannot be shown'), el('div', { class: 'row' }, again)));
  }

  /** Opens the host's connect page in a window of its own, never in a frame, and looks what came of it. */
  async connect() {
    if (!this.tell('patchbay-connect')) return;
    // The tab that begins a connect is the one that takes what comes of it. The fragment is sent to no server.
    const address = `${HOST}/platforms/connect/${this.platform.id}#session=${this.token}`;
    const popup = window.open(address, '_blank', 'popup,width=560,height=800');
    try {
      await this.connected(popup, await this.accounts());
    } catch (problem) {
      this.failed(problem);
    }
  }

  async connected(popup, before) {
    const { life } = this;
    const known = new Map(before.map((account) => [account.id, account.connected_at]));
    // The platform's page cuts the tie to this one, so the accounts are asked, not the window.
    for (let look = 0; life === this.life && look < (15 * 60_000) / (POPUP_MS * 4); look += 1) {
      await wait(POPUP_MS * 4);
      const found = (await this.accounts().catch(() => before)).find((account) => known.get(account.id) !== account.connected_at && account.status === 'active');
      if (!found) continue;
      popup?.close();
      this.tell('patchbay-connected', { account: found.id });
      this.restart();
      return;
    }
  }

  async accounts() {
    const { data } = await this.api.get(`/api/platforms/${this.platform.id}/accounts?limit=100`);
    return data.filter((account) => account.status !== 'revoked');
  }

  connector(text, style) {
    return el('button', { class: style, type: 'button', part: 'button', click: () => this.connect() }, text);
  }

  disconnected(account) {
    this.tell('patchbay-disconnected', { account: account.id });
    return this.restart();
  }
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Status, recent posts and totals of one account, with what can be done at once. */
class Widget extends Part {
  async show(life) {
    const accounts = await this.accounts();
    const account = accounts.find((one) => one.status === 'active') ?? accounts.find((one) => one.status === 'reauth_required') ?? accounts[0];
    const posts = account ? (await this.api.get(`/api/platforms/${this.platform.id}/posts?account_id=${account.id}&limit=100`)).data : [];
    if (life !== this.life) return;
    this.draw(account, posts);
    if (this.following !== life) this.follow(life);
  }

  async follow(life) {
    this.following = life;
    while (life === this.life) {
      await wait(this.busy ? BUSY_MS : IDLE_MS);
      if (life !== this.life || document.hidden || this.root.querySelector('dialog')) continue;
      await this.show(life).catch(() => {});
    }
  }

  draw(account, posts) {
    this.busy = posts.some(isOpen);
    const totals = {
      [t('Pending')]: posts.filter((post) => isOpen(post) || post.status === 'inbox_delivered' || post.status === 'unconfirmed').length,
      [t('Published')]: posts.filter((post) => post.status === 'published').length,
      [t('Failed')]: posts.filter((post) => post.status === 'failed').length,
    };
    const look = JSON.stringify([account, posts.map((post) => [post.id, post.status]), Math.floor(Date.now() / 60_000)]);
    // Drawn only when something has changed, so that focus stays where it is.
    if (look === this.look && this.place.childElementCount > 0) return;
    const focused = this.root.activeElement?.getAttribute('part');
    this.look = look;
    this.place.replaceChildren(
      el(
        'section',
        { class: 'card widget', part: 'card', 'aria-label': this.platform.display_name },
        ...(account ? this.connectedAccount(account, posts, totals) : this.nobody()),
      ),
    );
    if (focused) this.root.querySelector(`[part="${focused}"]`)?.focus();
  }

  nobody() {
    return [
      el('h2', { part: 'title' }, this.platform.display_name),
      el('p', { class: 'muted' }, t('No {platform} account is connected yet.', { platform: this.platform.display_name })),
      this.connector(t('Connect {platform}', { platform: this.platform.display_name }), 'button'),
    ];
  }

  connectedAccount(account, posts, totals) {
    const [label, tone] = accountState(account);
    const upload = el('button', { class: 'button', type: 'button', part: 'button upload', click: () => this.upload(account) }, t('Upload'));
    const leave = el(
      'button',
      { class: 'button danger', type: 'button', part: 'button disconnect', click: (event) => confirmDisconnect({ api: this.api, platform: this.platform, account, disconnected: (gone) => this.disconnected(gone), near: event.target }) },
      t('Disconnect'),
    );
    return [
      el('div', { class: 'between', part: 'account' }, portrayed(this.api, account, person(account.display_name, account.username)), badge(tone, label)),
      account.status === 'reauth_required'
        ? el(
            'div',
            { class: 'notice warn', part: 'banner', role: 'alert' },
            el('strong', {}, t('The account must be connected again.')),
            el('div', { class: 'row' }, this.connector(t('Connect again'), 'button')),
          )
        : null,
      el('dl', { class: 'totals', part: 'totals' }, Object.entries(totals).map(([term, count]) => el('div', {}, el('dt', {}, term), el('dd', {}, String(count))))),
      el('h3', {}, t('Recent uploads')),
      posts.length > 0 ? el('ul', { class: 'recent', part: 'list' }, posts.slice(0, RECENT).map((post) => this.line(post))) : el('p', { class: 'empty' }, t('Nothing was uploaded yet.')),
      el('div', { class: 'row' }, account.status === 'active' ? upload : null, leave),
    ];
  }

  line(post) {
    const [label, tone] = postState(post, this.platform.display_name);
    return el(
      'li',
      { part: 'item' },
      el('span', { class: `state ${tone}`, 'aria-hidden': 'true' }, ICONS[tone] ?? '•'),
      el('span', { class: 'what' }, name(post.title || post.text || t('Without words'))),
      el('span', { class: 'small muted' }, `${label}, ${ago(post.created_at)}`),
    );
  }

  /** The form in the widget's own place, unless the page has another for it. */
  upload(account) {
    if (!this.tell('patchbay-upload', { account: account.id })) return;
    this.life += 1;
    const back = el('button', { class: 'button second', type: 'button', click: () => this.restart() }, t('Back'));
    const place = el('div', { part: 'form' });
    this.place.replaceChildren(el('div', { class: 'row back' }, back), place);
    showForm(this, place, account.id);
    back.focus();
  }

  async restart() {
    this.look = null;
    await super.restart();
  }
}

/** State icons: shapes, so that colour is not all that tells them apart. */
const ICONS = { ok: '✓', bad: '✕', warn: '!', info: '…', muted: '–' };

/** What will be shared, connect, the accounts that are connected. */
class Connect extends Part {
  async show(life) {
    const accounts = await this.accounts();
    if (life !== this.life) return;
    this.place.replaceChildren(
      connections({
        api: this.api,
        platform: this.platform,
        accounts,
        connector: (text, style) => this.connector(text, style),
        publish: null,
        disconnected: (account) => this.disconnected(account),
      }),
    );
  }
}

/** The form of a post, and its way to the end. */
class Upload extends Part {
  async show() {
    const place = el('div', { part: 'form' });
    this.place.replaceChildren(place);
    await showForm(this, place, this.getAttribute('account'));
  }
}

function showForm(part, place, account) {
  const publishing = new Publishing({
    place,
    api: part.api,
    platform: part.platform,
    connect: () => part.connect(),
    onPost: (post) => part.tell('patchbay-post', { post: post.id, status: post.status, url: post.url }),
  });
  return publishing.form(account).catch((problem) => part.failed(problem));
}

for (const [tag, element] of [['patchbay-widget', Widget], ['patchbay-connect', Connect], ['patchbay-upload', Upload]]) {
  if (!customElements.get(tag)) customElements.define(tag, element);
}
