// Builds elements. Whatever comes from a platform goes in as text, so that it can never become markup.

import { t } from './language.js';

/** An element with attributes and children. `true` sets an empty attribute; `false` and `null` set none. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(key, value);
    else if (value === true) node.setAttribute(key, '');
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const $ = (id) => document.getElementById(id);

/** A name that someone chose at a platform: its writing direction stays inside. */
export const name = (text) => el('bdi', {}, text);

/** A link to another site, if the address is a web address at all; else its text. */
export function away(address, text) {
  const url = URL.parse?.(address) ?? null;
  if (url?.protocol !== 'https:') return el('span', {}, text);
  return el('a', { href: url.href, rel: 'noopener noreferrer' }, text);
}

export const badge = (tone, text) => el('span', { class: `badge ${tone}` }, text);

export function notice(tone, ...children) {
  return el('div', { class: `notice ${tone}` }, ...children);
}

/** Stands for a picture: pictures are on foreign hosts, and these pages load nothing from there. */
export function initials(text) {
  const words = (text ?? '').trim().split(/\s+/u).filter(Boolean);
  const letters = [words[0], words.length > 1 ? words.at(-1) : null].filter(Boolean).map((word) => Array.from(word)[0]);
  return el('span', { class: 'initials', 'aria-hidden': 'true' }, letters.join('').toUpperCase() || '?');
}

/** Account or author: initials, name, handle. */
export function person(displayName, username, ...more) {
  return el(
    'div',
    { class: 'person' },
    initials(displayName ?? username),
    el(
      'div',
      {},
      el('strong', {}, name(displayName ?? username ?? t('Account without a name'))),
      username ? el('span', { class: 'muted' }, name(`@${username}`)) : null,
      ...more,
    ),
  );
}

/** What went wrong with a request, for people. */
export function problemBox(problem, title, ...more) {
  const small = [problem.code, problem.requestId && t('request {id}', { id: problem.requestId })].filter(Boolean).join(', ');
  return el(
    'div',
    { class: 'notice bad', role: 'alert' },
    el('strong', {}, title ?? problem.title),
    el('p', {}, problem.message),
    problem.acts ? el('p', {}, problem.acts) : null,
    ...more,
    small ? el('p', { class: 'small' }, small) : null,
  );
}

/** Moves the reader to a new part of the page. */
export function goTo(node) {
  node.setAttribute('tabindex', '-1');
  node.focus({ preventScroll: true });
  node.scrollIntoView({ block: 'start' });
}
