// Follows one post to its end, and says in words where it is.

import { call, get } from './api.js';
import { away, badge, el, name, notice, problemBox } from './dom.js';
import { human, isOpen, kindName, postState, size, when } from './words.js';

const OPEN_MS = 1_000;
const LATER_MS = 10_000;
/** How often to look for news that may come after the outcome, such as the id of the visible post. */
const LATER_LOOKS = 60;

/** Draws the post into `place` and keeps it up to date. `onNew` starts another post of an account. */
export async function followPost({ place, platform, id, first, onNew }) {
  const path = `/api/platforms/${platform.id}/posts/${id}`;
  const view = drawn(platform, path, onNew);
  place.replaceChildren(view.node);
  let post = first;
  let looks = 0;
  for (;;) {
    try {
      post ??= await get(path);
      view.show(post);
    } catch (problem) {
      view.lost(problem);
      if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) return;
    }
    if (post && isEnd(post)) return;
    if (post && !isOpen(post) && (looks += 1) > LATER_LOOKS) return;
    await new Promise((resolve) => setTimeout(resolve, post && isOpen(post) ? OPEN_MS : LATER_MS));
    if (!place.contains(view.node)) return;
    post = null;
  }
}

const isEnd = (post) =>
  post.status === 'failed' || post.status === 'cancelled' || (post.status === 'published' && (post.remote_ids.length > 0 || post.url));

function drawn(platform, path, onNew) {
  const label = el('span');
  const words = el('p');
  const live = el('div', { role: 'status' }, label, words);
  const bar = el('progress', { 'aria-label': `Bytes sent to ${platform.display_name}` });
  const bytes = el('p', { class: 'small' });
  const failure = el('div');
  const facts = el('dl', { class: 'facts' });
  let account = null;
  const stop = el('button', { class: 'button danger', type: 'button' }, 'Stop');
  const again = el('button', { class: 'button second', type: 'button', click: () => onNew(account) }, 'Publish something else');
  const overview = el('a', { href: '/' }, 'All posts');
  const node = el(
    'section',
    { class: 'card', 'aria-labelledby': 'status-title' },
    el('h2', { id: 'status-title' }, 'Your post'),
    live,
    bar,
    bytes,
    failure,
    facts,
    el('div', { class: 'row' }, stop, again, overview),
  );
  stop.addEventListener('click', async () => {
    stop.disabled = true;
    try {
      show(await call('DELETE', path));
    } catch (problem) {
      failure.replaceChildren(problemBox(problem, 'It cannot be stopped'));
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
    bar.hidden = bytes.hidden = !open;
    if (post.progress) {
      bar.max = Math.max(1, post.progress.total_bytes);
      bar.value = post.progress.done_bytes;
      bytes.textContent = `${human(post.phase ?? '')}: ${size(post.progress.done_bytes)} of ${size(post.progress.total_bytes)}`;
    } else {
      bar.removeAttribute('value');
      bytes.textContent = post.phase ? `${human(post.phase)}…` : '';
    }
    failure.replaceChildren(...(post.failure ? [failed(post)] : []));
    facts.replaceChildren(...lines(post, platform));
    stop.hidden = !open;
    stop.disabled = post.cancel_requested;
    stop.textContent = post.cancel_requested ? 'Stopping…' : 'Stop';
    again.hidden = open;
  };
  return { node, show, lost: (problem) => failure.replaceChildren(problemBox(problem, 'The state cannot be seen just now')) };
}

const WHO = {
  account_owner: 'This is for the owner of the account.',
  caller: 'Change the post and publish it again.',
  operator: 'This is for the operator of this host.',
};

function failed(post) {
  const { advice, code, retry, who_acts } = post.failure;
  const more = isOpen(post) || retry ? 'Patchbay tries again by itself.' : WHO[who_acts];
  return notice(
    isOpen(post) ? 'warn' : 'bad',
    el('strong', {}, advice),
    more && !advice.includes(more) ? el('p', {}, more) : null,
    el('p', { class: 'small' }, `Code: ${code}`),
  );
}

function lines(post, platform) {
  const line = (term, ...value) => [el('dt', {}, term), el('dd', {}, ...value)];
  const id = (text) => el('code', {}, text);
  const page = post.simulated
    ? [el('code', {}, post.url ?? ''), el('span', { class: 'small' }, ' (simulated: this page does not exist)')]
    : [away(post.url, post.url)];
  return [
    post.title || post.text ? line('Text', name(post.title || post.text)) : [],
    line('Kind', kindName(post.kind), post.mode === 'draft' ? ', as a draft' : ''),
    post.remote_ids.length > 0 ? line(`Id at ${platform.display_name}`, post.remote_ids.map(id)) : [],
    post.url ? line('Page', ...page) : [],
    post.remote_ref ? line(`Attempt at ${platform.display_name}`, id(post.remote_ref)) : [],
    line('Post', id(post.id)),
    line('Asked for', when(post.created_at)),
    post.finished_at ? line('Settled', when(post.finished_at)) : [],
    post.simulated ? line('Simulated', 'Nothing reached the real platform.') : [],
  ].flat();
}
