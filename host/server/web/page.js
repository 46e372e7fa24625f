// What stands in the file of a page is English. This says it in the language that is spoken.

import { keepPass } from './api.js';
import { language, speak, t } from './language.js';

const KEY = 'patchbay.language';

/** Begins a page: its query, with its language chosen. `?lang=` and `#session=` hold for the rest of the tab. */
export async function begin() {
  const query = new URLSearchParams(location.search);
  const pass = /^#session=([\w.-]+)$/.exec(location.hash)?.[1];
  if (pass) {
    keepPass(pass);
    history.replaceState(null, '', location.pathname + location.search);
  }
  if (query.has('lang')) sessionStorage.setItem(KEY, query.get('lang'));
  await speak(sessionStorage.getItem(KEY));
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.textContent);
  return query;
}
