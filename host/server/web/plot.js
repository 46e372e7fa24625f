// Plots of a few numbers over time: shapes as SVG, words as HTML beside them, so that they are read at any width; and the
// same numbers as a table.

import { el } from './dom.js';

const WIDTH = 600;
const HEIGHT = 160;

const svg = (name, attributes, ...children) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
};

let count = 0;

/**
 * A figure. `buckets`: names of the places on the axis of time. `series`: `{ name, tone, values }` with a number or `null`
 * for each place. `kind`: `bars`, one on another, or `lines`. `format`: a number in words. `summary`: what it shows, in
 * a sentence.
 */
export function plot({ title, summary, buckets, series, kind, format }) {
  count += 1;
  const id = `plot-${count}`;
  const highest = kind === 'bars' ? buckets.map((_, at) => sum(series, at)) : series.flatMap((one) => one.values.filter((value) => value !== null));
  // Things are counted whole, so that the middle of the scale is one too.
  const top = ceiling(Math.max(kind === 'bars' ? 2 : 0, ...highest));
  const draw = kind === 'bars' ? bars : lines;
  const shapes = svg(
    'svg',
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-labelledby': `${id}-title ${id}-summary`, class: 'shapes' },
    ...[0, 0.5, 1].map((part) => svg('line', { x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part, class: 'grid' })),
    ...draw(buckets, series, top, format),
  );
  return el(
    'figure',
    { class: 'plot card' },
    el('figcaption', {}, el('h3', { id: `${id}-title` }, title), el('p', { class: 'small', id: `${id}-summary` }, summary)),
    el('ul', { class: 'legend' }, series.map((one) => el('li', { class: `tone ${one.tone}` }, one.name))),
    el(
      'div',
      { class: 'frame' },
      el('div', { class: 'scale', 'aria-hidden': 'true' }, el('span', {}, format(top)), el('span', {}, format(top / 2)), el('span', {}, format(0))),
      shapes,
    ),
    el('div', { class: 'axis', 'aria-hidden': 'true' }, el('span', {}, buckets[0]), el('span', {}, buckets[Math.floor(buckets.length / 2)]), el('span', {}, 'now')),
    el('details', {}, el('summary', {}, 'As a table'), table(title, buckets, series, format)),
  );
}

const sum = (series, at) => series.reduce((total, one) => total + (one.values[at] ?? 0), 0);

/** The least round number that is not below. */
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 10].map((step) => step * power).find((round) => round >= value);
}

function bars(buckets, series, top, format) {
  const wide = WIDTH / buckets.length;
  return buckets.flatMap((bucket, at) => {
    let floor = HEIGHT;
    return series.flatMap((one) => {
      const value = one.values[at] ?? 0;
      if (value === 0) return [];
      const high = (value / top) * HEIGHT;
      floor -= high;
      const said = svg('title', {});
      said.textContent = `${bucket}: ${one.name} ${format(value)}`;
      return [svg('rect', { x: at * wide + wide * 0.12, y: floor, width: wide * 0.76, height: high, class: `bar ${one.tone}` }, said)];
    });
  });
}

function lines(buckets, series, top, format) {
  const wide = WIDTH / buckets.length;
  return series.flatMap((one) => {
    const points = one.values.map((value, at) => (value === null ? null : [at * wide + wide / 2, HEIGHT - (value / top) * HEIGHT]));
    // A time without a value breaks the line; one alone is a short one.
    const path = points
      .map((point, at) => {
        if (point === null) return '';
        const [x, y] = point;
        if (points[at - 1]) return `L${x} ${y}`;
        return points[at + 1] ? `M${x} ${y}` : `M${x - wide / 2} ${y}H${x + wide / 2}`;
      })
      .join('');
    const said = svg('title', {});
    const last = one.values.findLast((value) => value !== null);
    said.textContent = last === undefined ? one.name : `${one.name}: ${format(last)} last`;
    return path === '' ? [] : [svg('path', { d: path, class: `line ${one.tone}` }, said)];
  });
}

function table(title, buckets, series, format) {
  return el(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${title}, as a table` },
    el(
      'table',
      {},
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'From'), series.map((one) => el('th', { scope: 'col' }, one.name)))),
      el(
        'tbody',
        {},
        buckets.map((bucket, at) =>
          el('tr', {}, el('th', { scope: 'row' }, bucket), series.map((one) => el('td', {}, one.values[at] === null ? '–' : format(one.values[at])))),
        ),
      ),
    ),
  );
}
