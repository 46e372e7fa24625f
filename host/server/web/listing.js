// A list that is fetched page by page and kept up to date while only its first page is shown.

import { $, el, notice, problemBox } from './dom.js';
import { read } from './operator.js';

const PAGE = 20;

/** Draws into `place` anew when `data` has changed, and leaves the reader where they were. */
export function redraw(place, data, draw) {
  // Relative times grow old by themselves, by the minute.
  const text = JSON.stringify([data, Math.floor(Date.now() / 60_000)]);
  if (place.drawn === text) return;
  // Nothing is taken from under the eyes of somebody who reads an open table.
  if (place.querySelector('details[open]') && place.drawn !== undefined && place.contains(document.activeElement)) return;
  place.drawn = text;
  const open = [...place.querySelectorAll('details[open] > summary')].map((summary) => summary.closest('figure')?.querySelector('h3')?.textContent);
  const focused = place.contains(document.activeElement) ? spot(document.activeElement) : null;
  place.replaceChildren(...[draw(data)].flat(Infinity));
  for (const figure of place.querySelectorAll('figure')) {
    if (open.includes(figure.querySelector('h3')?.textContent)) figure.querySelector('details').open = true;
  }
  if (focused) [...place.querySelectorAll('a, button, summary')].find((node) => spot(node) === focused)?.focus();
}

/** What tells a control from the others of its list. */
const spot = (node) => node.dataset.spot ?? node.getAttribute('href') ?? node.textContent;

/** A list at `path`. `row` draws an item, `empty` says that there is none. Gives what `refresh` needs. */
export function listing({ path, row, empty, label }) {
  const place = el('div');
  const more = el('div', { class: 'row more' });
  const node = el('div', {}, place, more);
  let items = null;
  let pages = 1;
  let next = null;
  const page = (cursor) => read(`${path}${path.includes('?') ? '&' : '?'}limit=${PAGE}${cursor ? `&cursor=${cursor}` : ''}`);

  function show() {
    redraw(place, items, () => (items.length === 0 ? el('p', { class: 'empty' }, empty) : el('ul', { class: 'list', 'aria-label': label }, items.map(row))));
    more.replaceChildren();
    if (next) more.append(el('button', { class: 'button second', type: 'button', click: onMore }, 'Show more'));
    if (pages > 1) more.append(el('span', { class: 'small' }, 'Older rows are shown, so the list stands still.'));
  }

  async function onMore() {
    try {
      const found = await page(next);
      const first = items.length;
      items = [...items, ...found.data];
      next = found.next_cursor;
      pages += 1;
      show();
      place.querySelector('ul')?.children[first]?.querySelector('a, button')?.focus();
    } catch (problem) {
      $('problem').replaceChildren(problemBox(problem, 'There is more, but it could not be fetched'));
    }
  }

  return {
    node,
    /** Fetches the first page again. `whole`: also where more are shown, as after a change. */
    async refresh(whole = false) {
      if (pages > 1 && !whole) return;
      const found = await page(null);
      [items, next, pages] = [found.data, found.next_cursor, 1];
      show();
    },
  };
}

/** Says what became of something that was asked for, where those who listen hear it too. */
export function said(tone, text) {
  $('announce').textContent = text;
  $('problem').replaceChildren(notice(tone, el('p', {}, text)));
}

/** Does something, with its button locked meanwhile. */
export async function during(button, work, title) {
  button.disabled = true;
  try {
    return await work();
  } catch (problem) {
    $('problem').replaceChildren(problemBox(problem, title));
    return undefined;
  } finally {
    button.disabled = false;
  }
}
