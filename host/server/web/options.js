// A platform's own options of a post, drawn from the description that the API gives, with what the account allows.
// Nothing here knows a platform.

import { el } from './dom.js';
import { field } from './field.js';
import { human } from './words.js';

/** Draws the options that exist for this kind and mode. Choices have no value until someone chooses. */
export function drawOptions(described, live, kind, mode) {
  const states = new Map(live.map((state) => [state.name, state]));
  const drawn = described
    .filter((option) => option.posts.includes(kind) && option.modes.includes(mode))
    .map((option) => drawOption(option, states.get(option.name) ?? {}));
  return {
    nodes: drawn.map((one) => one.node),
    fields: new Map(drawn.map((one) => [`/options/${one.name}`, one])),
    values: () => Object.fromEntries(drawn.map((one) => [one.name, one.value()]).filter(([, value]) => value !== undefined)),
  };
}

function drawOption(option, state) {
  const forced = state.forced !== undefined;
  const [control, value, check] = makers[option.kind.type]?.(option, state) ?? makers.text(option, state);
  const help = [option.description, forced ? 'The settings of the account decide this.' : null].filter(Boolean).join(' ');
  const inline = option.kind.type === 'bool';
  const made = field({ id: `option-${option.name}`, label: option.title, help, control, required: option.required && !inline, inline });
  if (forced) control.disabled = true;
  return { ...made, name: option.name, value: forced ? () => state.forced : value, check: forced ? () => null : check };
}

const none = () => null;

const makers = {
  bool(_, state) {
    const control = el('input', { type: 'checkbox', checked: state.forced === true });
    return [control, () => control.checked, none];
  },
  choice(option, state) {
    const values = option.kind.values.filter((value) => state.allowed?.includes(value) ?? true);
    const control = el(
      'select',
      {},
      el('option', { value: '' }, option.required ? 'Choose…' : 'Not set'),
      values.map((value) => el('option', { value, selected: state.forced === value }, human(value))),
    );
    return [control, () => control.value || undefined, () => (option.required && !control.value ? 'Choose one.' : null)];
  },
  integer(option, state) {
    const { min, max } = option.kind;
    const control = el('input', { type: 'number', inputmode: 'numeric', min, max, step: 1, value: state.forced ?? null });
    const check = () => {
      if (control.validity.badInput) return `Give a whole number from ${min} to ${max}.`;
      if (control.value === '') return option.required ? `Give a whole number from ${min} to ${max}.` : null;
      return control.checkValidity() ? null : `Give a whole number from ${min} to ${max}.`;
    };
    return [control, () => (control.value === '' ? undefined : Number(control.value)), check];
  },
  text(option, state) {
    const control = el('input', { type: 'text', autocomplete: 'off', value: state.forced ?? null });
    const check = () => {
      const length = Array.from(control.value).length;
      if (length === 0) return option.required ? 'Fill this in.' : null;
      return length > (option.kind.max ?? Infinity) ? `At most ${option.kind.max} characters.` : null;
    };
    return [control, () => control.value || undefined, check];
  },
};
