// A tenant's dead letters, and how to run them again: one, or those of a time.

import { badge, el, name } from './dom.js';
import { confirmed } from './confirm.js';
import { during, listing, said } from './listing.js';
import { ask } from './operator.js';
import { choice, code, kindOfWork, moment, time } from './operated.js';

export const needsTenant = true;

const KINDS = [['', 'Any work'], ...['publish', 'refresh', 'ingest', 'revoke'].map((kind) => [kind, kindOfWork(kind)])];

/** What to look at before a replay, by what was given up. */
const CAUSES = {
  publish: 'A replay goes on with the post where it stopped. Nothing is posted twice.',
  refresh: 'A replay renews the tokens once more.',
  ingest: 'A replay reads the same bytes once more. It helps after an update that can read them.',
  revoke: 'A replay tells the platform once more that the account is disconnected.',
};

export function show({ node, query, path, turn }) {
  const kind = query.get('kind') ?? '';
  const found = listing({
    path: `${path}/dead-letters${kind ? `?kind=${encodeURIComponent(kind)}` : ''}`,
    label: 'Dead letters',
    empty: 'Nothing was given up.',
    row: (letter) => row(letter, path, () => found.refresh(true)),
  });
  node.replaceChildren(
    choice({ id: 'kind', label: 'Work', all: KINDS, chosen: kind, onChange: (kind) => turn({ kind }) }),
    found.node,
    many(path, kind, () => found.refresh(true)),
  );
  return found;
}

function row(letter, path, after) {
  const button = el('button', { class: 'button second', type: 'button', 'data-spot': letter.id }, 'Replay', el('span', { class: 'quiet' }, ` ${letter.id}`));
  button.addEventListener('click', async () => {
    const yes = await confirmed('Replay this?', `It becomes due at once, as if it were new. ${CAUSES[letter.kind] ?? ''}`, 'Replay');
    if (!yes) return;
    await during(
      button,
      async () => {
        await ask('POST', `${path}/dead-letters/${encodeURIComponent(letter.id)}/replay`);
        said('ok', 'It is due again. If it fails once more, it comes back to this list.');
        await after();
      },
      'It was not replayed',
    );
  });
  return el(
    'li',
    {},
    el(
      'div',
      { class: 'post' },
      el('strong', {}, kindOfWork(letter.kind)),
      el('span', { class: 'muted' }, `after ${letter.attempts} ${letter.attempts === 1 ? 'attempt' : 'attempts'}, `, letter.died_at ? time(letter.died_at) : ''),
      el('span', { class: 'small' }, 'Request in the log: ', code(letter.request_id)),
    ),
    el('div', { class: 'end' }, badge('bad', letter.code ? name(letter.code) : 'unknown'), button),
  );
}

function many(path, kind, after) {
  const from = el('input', { id: 'replay-from', type: 'datetime-local', step: 1 });
  const to = el('input', { id: 'replay-to', type: 'datetime-local', step: 1 });
  const button = el('button', { class: 'button', type: 'submit' }, 'Replay all of this time');
  const form = el(
    'form',
    { class: 'card window', 'aria-labelledby': 'window-title' },
    el('h2', { id: 'window-title' }, 'Replay many'),
    el('p', { class: 'help' }, `Dead letters that were given up in this time${kind ? `, of the kind "${kindOfWork(kind).toLowerCase()}"` : ''}: the oldest first, at most 1,000 at once. Empty: from the beginning, until now.`),
    el(
      'div',
      { class: 'tools' },
      el('div', { class: 'field' }, el('label', { for: 'replay-from' }, 'From'), from),
      el('div', { class: 'field' }, el('label', { for: 'replay-to' }, 'Before'), to),
    ),
    button,
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const body = { from: moment(from), to: moment(to), kind: kind || undefined };
    const what = body.from || body.to ? 'All dead letters of this time' : 'All dead letters of this tenant';
    if (!(await confirmed('Replay many?', `${what} become due at once. Make sure that their cause is gone.`, 'Replay them'))) return;
    await during(
      button,
      async () => {
        const { replayed, more } = await ask('POST', `${path}/dead-letters/replay`, body);
        said('ok', `${replayed.toLocaleString()} are due again.${more ? ' There are more: replay once more.' : ''}`);
        await after();
      },
      'They were not replayed',
    );
  });
  return form;
}
