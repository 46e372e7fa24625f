// What the views of the dashboard share: words for an operator, and parts of rows.

import { el } from './dom.js';
import { ago, span, when } from './words.js';

const WORK = {
  publish: 'Steps of posts',
  refresh: 'Renewals of tokens',
  ingest: 'Webhooks received',
  revoke: 'Disconnects',
  deliver: 'Deliveries',
};
export const kindOfWork = (kind) => WORK[kind] ?? kind;

/** A length of time: 0.012 is "12 ms". */
export function duration(seconds) {
  if (seconds === 0) return '0 s';
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 60) return `${Number(seconds.toFixed(seconds < 10 ? 1 : 0))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export const time = (at) => el('time', { datetime: at, title: when(at) }, ago(at));

/** The window of a limit: "a minute", "in 24 hours". */
export const per = (seconds) => ({ 60: 'a minute', 3600: 'an hour' })[seconds] ?? `in ${span(seconds)}`;

/** An id as one copies it. */
export const code = (text) => el('code', {}, text);

/** Facts as a list of terms; those without a value are left out. */
export function facts(pairs) {
  return el(
    'dl',
    { class: 'facts' },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== '' && value !== false)
      .map(([term, value]) => [el('dt', {}, term), el('dd', {}, value)]),
  );
}

/** A choice that stands in the address. */
export function choice({ id, label, all, chosen, onChange }) {
  const select = el('select', { id }, all.map(([value, text]) => el('option', { value, selected: value === chosen }, text)));
  select.addEventListener('change', () => onChange(select.value));
  return el('div', { class: 'field' }, el('label', { for: id }, label), select);
}

/** The time of an input for date and time, as the API takes it; `undefined`: none. */
export const moment = (input) => (input.value === '' ? undefined : new Date(input.value).toISOString());
