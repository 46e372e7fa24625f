// Asks before something is done that cannot be taken back.

import { el } from './dom.js';

let count = 0;

/** Shows a dialog. Whether it was said yes to. */
export function confirmed(title, text, yes, tone = '') {
  count += 1;
  const id = `confirm-${count}`;
  const before = document.activeElement;
  // A list may have been drawn anew meanwhile, with the same control in it.
  const same = () => [...document.querySelectorAll('[data-spot]')].find((node) => node.dataset.spot === before?.dataset.spot);
  return new Promise((resolve) => {
    const dialog = el(
      'dialog',
      { 'aria-labelledby': `${id}-title`, 'aria-describedby': `${id}-text` },
      el('h2', { id: `${id}-title` }, title),
      el('p', { id: `${id}-text` }, text),
      el(
        'div',
        { class: 'row' },
        el('button', { class: `button ${tone}`, type: 'button', click: () => dialog.close('yes') }, yes),
        el('button', { class: 'button second', type: 'button', autofocus: true, click: () => dialog.close('no') }, 'Cancel'),
      ),
    );
    dialog.addEventListener('close', () => {
      dialog.remove();
      (before?.isConnected ? before : same())?.focus();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
