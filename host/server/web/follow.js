// Follows one post to its end, and says in words where it is.

import { away, badge, el, name, notice, problemBox } from './dom.js';
import { t } from './language.js';
import { clock, human, isOpen, kindName, postState, size, when } from './words.js';

const OPEN_MS = 1_000;
const LATER_MS = 10_000;
/** A post that starts later than this is looked at less often. */
const SOON_MS = 60_000;
/** A longer wait than this is told of. */
const PAUSE_MS = 10_000;
/** How long to look for news that may come after the outcome, such as the id of the visible post. */
const LATER_LIFE_MS = 600_000;
/** What tells at once tells the present state within this. Else something on the way collects answers. */
const FIRST_MS = 5_000;

/**
 * Draws the post into `place` and keeps it up to date. `onNew` starts another post of an account; `waiting` is the name of the
 * file that comes next; `onPost` hears of each new state; `connect` is what a button to connect again does.
 */
export async function followPost({ place, api, platform, say, id, first, onNew, onPost, waiting, connect }) {
  const path = `/api/platforms/${platform.id}/posts/${id}`;
  const view = drawn({ api, platform, say, path, onNew, waiting, connect });
  place.replaceChildren(view.node);
  let post = first;
  let told = first?.status;
  let over = null;
  /** Shows a state. Whether it is the last that matters. */
  const see = (now) => {
    post = now;
    view.show(post);
    if (post.status !== told) onPost(post);
    told = post.status;
    if (!isOpen(post)) over ??= Date.now();
    return isEnd(post) || (over !== null && Date.now() - over > LATER_LIFE_MS);
  };
  const isSoon = () => post && isOpen(post) && !(new Date(post.scheduled_at ?? 0) - Date.now() > SOON_MS);
  let tells = true;
  if (post && see(post)) return;
  while (place.contains(view.node)) {
    try {
      if (tells && (!post || isSoon()) && !document.hidden) {
        tells = await toldOf(api, `${path}/updates`, see, view.node);
        if (tells === END) return;
      } else if (see(await api.get(path))) return;
    } catch (problem) {
      view.lost(problem);
      if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) return;
    }
    await pause(isSoon() ? OPEN_MS : LATER_MS);
  }
}

const END = 'end';

/**
 * Hears of the post from the host, while the page is seen. Answers `END` after the last state, whether to listen again
 * otherwise: where nothing comes at once, looking is better.
 */
async function toldOf(api, path, see, node) {
  const stop = new AbortController();
  const hide = () => document.hidden && stop.abort();
  const silent = setTimeout(() => stop.abort(), FIRST_MS);
  let heard = false;
  document.addEventListener('visibilitychange', hide);
  try {
    for await (const post of api.events(path, stop.signal)) {
      clearTimeout(silent);
      heard = true;
      if (!node.isConnected) return true;
      if (see(post)) return END;
    }
    return heard;
  } catch {
    return document.hidden;
  } finally {
    clearTimeout(silent);
    document.removeEventListener('visibilitychange', hide);
    stop.abort();
  }
}

/** Until the time is over, or the browser is back online. A page that nobody sees waits until it is seen. */
function pause(milliseconds) {
  return new Promise((resolve) => {
    const end = () => {
      if (document.hidden) return;
      clearTimeout(timer);
      removeEventListener('online', end);
      document.removeEventListener('visibilitychange', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    addEventListener('online', end);
    document.addEventListener('visibilitychange', end);
  });
}

const isEnd = (post) =>
  post.status === 'failed' || post.status === 'cancelled' || (post.status === 'published' && (post.remote_ids.length > 0 || post.url));

function drawn({ api, platform, say, path, onNew, waiting, connect }) {
  const label = el('span');
  const words = el('p');
  const live = el('div', { role: 'status' }, label, words);
  const bar = el('progress', { 'aria-label': t('Bytes sent to {platform}', { platform: platform.display_name }) });
  const bytes = el('p', { class: 'small' });
  const failure = el('div');
  const facts = el('dl', { class: 'facts' });
  let account = null;
  const stop = el('button', { class: 'button danger', type: 'button' }, t('Stop'));
  const again = el(
    'button',
    { class: waiting ? 'button' : 'button second', type: 'button', click: () => onNew(account) },
    waiting ? t('Go on with {name}', { name: waiting }) : t('Publish something else'),
  );
  const node = el(
    'section',
    { class: 'card', 'aria-labelledby': 'status-title' },
    el('h2', { id: 'status-title' }, t('Your post')),
    live,
    bar,
    bytes,
    failure,
    facts,
    el('div', { class: 'row' }, stop, again),
  );
  stop.addEventListener('click', async () => {
    stop.disabled = true;
    try {
      show(await api.call('DELETE', path));
    } catch (problem) {
      failure.replaceChildren(problemBox(problem, t('It cannot be stopped')));
    }
  });
  const show = (post) => {
    account = post.account_id;
    const [title, tone, sentence] = postState(post, platform.display_name);
    // Written only when it changes: it is read aloud.
    if (live.said !== post.status) {
      live.said = post.status;
      label.replaceChildren(badge(tone, title));
      words.textContent = sentence;
    }
    const open = isOpen(post);
    bar.hidden = bytes.hidden = !open || (post.status === 'queued' && post.scheduled_at !== null);
    if (post.progress) {
      bar.max = Math.max(1, post.progress.total_bytes);
      bar.value = post.progress.done_bytes;
      bytes.textContent = `${phase(post)}: ${t('{sent} of {total}', { sent: size(post.progress.done_bytes), total: size(post.progress.total_bytes) })}`;
    } else {
      bar.removeAttribute('value');
      bytes.textContent = post.phase ? `${phase(post)}…` : '';
    }
    const pause = new Date(post.next_attempt_at ?? 0) - Date.now() > PAUSE_MS && !post.scheduled_at;
    if (open && pause) bytes.textContent = t('It goes on {time}.', { time: clock(post.next_attempt_at) });
    failure.replaceChildren(...(post.failure ? [failed(post, say, connect)] : []));
    facts.replaceChildren(...lines(post, platform));
    stop.hidden = !open;
    stop.disabled = post.cancel_requested;
    stop.textContent = post.cancel_requested ? t('Stopping…') : t('Stop');
    again.hidden = open && !waiting;
  };
  return { node, show, lost: (problem) => failure.replaceChildren(problemBox(problem, t('The state cannot be seen just now'))) };
}

const PHASES = ['uploading', 'processing', 'checking', 'starting', 'publishing', 'pulling'];
/** The phases that are common have words; a provider's own are shown as they are. */
const phase = (post) => {
  const words = human(post.phase ?? '');
  return PHASES.includes(post.phase) ? t(words) : words;
};

function failed(post, say, connect) {
  const { advice, code, retry, who_acts } = post.failure;
  const who = {
    account_owner: t('This is for the owner of the account.'),
    caller: t('Change the post and publish it again.'),
    operator: t('This is for the operator of this host.'),
  };
  const more = isOpen(post) || retry ? t('Patchbay tries again by itself.') : who[who_acts];
  return notice(
    isOpen(post) ? 'warn' : 'bad',
    el('strong', {}, say(advice)),
    more && !advice.includes(more) ? el('p', {}, more) : null,
    // Nobody else can settle it, and that is how.
    who_acts === 'account_owner'
      ? el('div', { class: 'row' }, el('button', { class: 'button', type: 'button', click: () => connect() }, t('Connect again')))
      : null,
    el('p', { class: 'small' }, t('Code: {code}', { code })),
  );
}

function lines(post, platform) {
  const line = (term, ...value) => [el('dt', {}, term), el('dd', {}, ...value)];
  const id = (text) => el('code', {}, text);
  const page = post.simulated
    ? [el('code', {}, post.url ?? ''), el('span', { class: 'small' }, ` ${t('(simulated: this page does not exist)')}`)]
    : [away(post.url, t('See it at {platform}', { platform: platform.display_name }))];
  return [
    post.url ? line(t('Page'), ...page) : [],
    post.title || post.text ? line(t('Text'), name(post.title || post.text)) : [],
    line(t('Kind'), kindName(post.kind), post.mode === 'draft' ? `, ${t('as a draft')}` : ''),
    post.scheduled_at ? line(t('Scheduled'), when(post.scheduled_at)) : [],
    line(t('Asked for'), when(post.created_at)),
    post.finished_at ? line(t('Settled'), when(post.finished_at)) : [],
    post.consent ? line(t('Agreed to'), post.consent.text) : [],
    post.remote_ids.length > 0 ? line(t('Id at {platform}', { platform: platform.display_name }), post.remote_ids.map(id)) : [],
    line(t('Post'), id(post.id)),
    post.simulated ? line(t('Simulated'), t('Nothing reached the real platform.')) : [],
  ].flat();
}
