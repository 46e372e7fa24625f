// Form fields: a label, a control, its help and its error, tied together for those who cannot see them.

import { el } from './dom.js';
import { t } from './language.js';

/** `control` gets an id, its help, a note and its error. Check boxes stand before their label. */
export function field({ id, label, help, control, required, inline }) {
  control.id = id;
  const error = el('p', { class: 'error', id: `${id}-error`, hidden: true });
  const hint = help ? el('p', { class: 'help', id: `${id}-help` }, help) : null;
  const note = el('p', { class: 'note', id: `${id}-note`, hidden: true });
  const described = [hint && `${id}-help`, `${id}-note`, `${id}-error`].filter(Boolean).join(' ');
  control.setAttribute('aria-describedby', described);
  if (required) control.setAttribute('aria-required', 'true');
  const title = el('label', { for: id }, label, required ? el('span', { class: 'must' }, ` ${t('(needed)')}`) : null);
  const node = inline
    ? el('div', { class: 'field check' }, control, el('div', {}, title, hint, note, error))
    : el('div', { class: 'field' }, title, hint, control, note, error);
  const setError = (text) => {
    error.textContent = text ?? '';
    error.hidden = !text;
    if (text) control.setAttribute('aria-invalid', 'true');
    else control.removeAttribute('aria-invalid');
  };
  const setNote = (text) => {
    note.textContent = text ?? '';
    note.hidden = !text;
  };
  control.addEventListener('input', () => setError(null));
  return { node, control, setError, setNote, label };
}

/** A group of radio buttons. `choices` are `[value, label, help]`. */
export function radios({ id, legend, choices, value, onChange }) {
  const node = el(
    'fieldset',
    { class: 'field radios' },
    el('legend', {}, legend),
    choices.map(([key, label, help]) =>
      el(
        'label',
        { class: 'choice' },
        el('input', { type: 'radio', name: id, value: key, checked: key === value, change: () => onChange(key) }),
        el('span', {}, label, help ? el('span', { class: 'help' }, help) : null),
      ),
    ),
  );
  return node;
}

const lengths = {
  utf16: (text) => text.length,
  code_point: (text) => Array.from(text).length,
  grapheme: (text) => Array.from(new Intl.Segmenter().segment(text)).length,
};

/** A text with a counter in the platform's own unit. */
export function textField({ id, label, rule, rows }) {
  const control = rows > 1 ? el('textarea', { rows }) : el('input', { type: 'text', autocomplete: 'off' });
  const made = field({ id, label, control });
  const counter = el('p', { class: 'counter' });
  const length = () => (lengths[rule.count] ?? lengths.code_point)(control.value);
  const count = () => {
    counter.textContent = t('{used} of {max}', { used: length(), max: rule.max });
    counter.classList.toggle('over', length() > rule.max);
  };
  control.addEventListener('input', count);
  count();
  made.node.append(counter);
  return {
    ...made,
    value: () => control.value,
    check: () => (length() > rule.max ? t('This is {over} too long; at most {max} are allowed.', { over: length() - rule.max, max: rule.max }) : null),
  };
}
