// Which of several accounts are connected: what the platform has told is shown, and what is ticked is sent. The handle in the
// address is of use in this browser alone, and once.

import { call, get } from './api.js';
import { $, el, goTo, notice, person, problemBox } from './dom.js';
import { t } from './language.js';
import { begin } from './page.js';

const given = new URLSearchParams(location.hash.slice(1));
const path = `/api/platforms/${encodeURIComponent(given.get('provider') ?? '')}/connect/choices/${encodeURIComponent(given.get('choice') ?? '')}`;
await begin();

try {
  show(await get(path));
} catch (problem) {
  over(problem);
}

/** The form, which sends what is ticked. */
function show({ platform, accounts, most }) {
  const title = t('Which accounts of {platform}?', { platform });
  $('title').textContent = title;
  document.title = `${title} – Patchbay`;
  const wrong = el('p', { class: 'error', id: 'wrong', role: 'alert' });
  const boxes = accounts.map(({ id }) => el('input', { type: 'checkbox', name: 'account', value: id, 'aria-describedby': 'wrong' }));
  const button = el('button', { class: 'button', type: 'submit' }, t('Connect the chosen accounts'));
  const form = el(
    'form',
    { class: 'card', novalidate: true },
    el(
      'fieldset',
      { class: 'field radios' },
      el('legend', {}, t('Accounts')),
      accounts.map(({ display_name, username }, at) => el('label', { class: 'choice' }, boxes[at], person(display_name, username))),
    ),
    wrong,
    el('div', { class: 'row' }, button),
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const ids = boxes.filter((box) => box.checked).map((box) => box.value);
    wrong.textContent = '';
    if (ids.length === 0 || ids.length > most) {
      wrong.textContent = ids.length === 0 ? t('Choose at least one account.') : t('Choose at most {most} accounts.', { most });
      boxes[0].focus();
      return;
    }
    button.disabled = true;
    try {
      const { location: onward } = await call('POST', path, { json: { ids } });
      // This page is of no more use: "back" passes over it.
      location.replace(onward);
    } catch (problem) {
      if (problem.code === 'connect_flow_invalid') over(problem);
      else $('problem').replaceChildren(problemBox(problem, t('The accounts were not connected')));
      button.disabled = false;
    }
  });
  $('choices').replaceChildren(form);
}

/** There is nothing to choose here, or no longer. */
function over(problem) {
  $('choices').replaceChildren();
  const box =
    problem.code === 'connect_flow_invalid'
      ? notice('warn', el('strong', {}, t('This took too long, or was finished in another browser.')), el('p', {}, t('Go back to where you came from, and connect again.')))
      : problemBox(problem, t('The accounts cannot be shown'));
  $('problem').replaceChildren(box);
  goTo(box);
}
