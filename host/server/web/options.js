// A platform's own options of a post, drawn from the description that the API gives, with what the account allows and
// what the platform prescribes for forms. Nothing here knows a platform.

import { el } from './dom.js';
import { field } from './field.js';
import { t } from './language.js';
import { human } from './words.js';

/**
 * Draws the options that exist for this kind and mode. Choices have no value until someone chooses, and every switch is off
 * at first. `say` translates the platform's texts; `onChange` is called when a value has changed. What comes back:
 * `nodes`; `fields` by the API's pointers; `values()`; `hindrance()`, a sentence while something keeps the post back;
 * `restore(values)`.
 */
export function drawOptions({ options, form, live, kind, mode, say, onChange }) {
  const states = new Map(live.map((state) => [state.name, state]));
  const drawn = new Map(
    options
      .filter((option) => option.posts.includes(kind) && option.modes.includes(mode))
      .map((option) => [option.name, drawOption(option, states.get(option.name) ?? {}, say)]),
  );
  const groups = form.groups
    .map((group) => ({ ...group, options: group.options.filter((name) => drawn.has(name)) }))
    .filter((group) => group.options.length > 0)
    .map((group) => drawGroup(group, drawn, say));
  const grouped = new Map(groups.flatMap((group) => group.options.map((name) => [name, group])));
  // A group stands where its first option would.
  const nodes = [...new Set([...drawn.keys()].map((name) => grouped.get(name) ?? drawn.get(name)))].map((one) => one.node);

  const values = () => Object.fromEntries([...drawn].map(([name, one]) => [name, one.value()]).filter(([, value]) => value !== undefined));
  const holds = ({ option, value }, now) => (now[option] ?? false) === value;

  const update = () => {
    const now = values();
    const blocked = new Map();
    for (const { one, other, message } of form.exclusions) {
      for (const [chosen, shut] of [[one, other], [other, one]]) {
        if (holds(chosen, now) && drawn.has(shut.option)) blocked.set(`${shut.option}=${shut.value}`, { ...shut, message });
      }
    }
    for (const [name, one] of drawn) one.shut([...blocked.values()].filter(({ option }) => option === name).map((shut) => ({ ...shut, message: say(shut.message) })));
    for (const group of groups) group.update((is) => holds(is, now));
    onChange();
  };
  for (const one of drawn.values()) one.control.addEventListener('change', update);
  for (const group of groups) group.control?.addEventListener('change', update);
  queueMicrotask(update);

  return {
    nodes,
    fields: new Map([...drawn].map(([name, one]) => [`/options/${name}`, one])),
    values,
    hindrance: () => groups.map((group) => group.hindrance()).find(Boolean) ?? null,
    restore(kept) {
      for (const group of groups) group.restore(kept);
      for (const [name, one] of drawn) if (name in kept) one.restore(kept[name]);
      update();
    },
  };
}

function drawOption(option, state, say) {
  const forced = state.forced !== undefined;
  const make = option.opposite ? makers.opposite : (makers[option.kind.type] ?? makers.text);
  const { control, value, check = () => null, restore, shut = () => {} } = make(option, state, say);
  const inline = option.kind.type === 'bool';
  // Asked the other way round, the description would say the opposite.
  const about = option.opposite ? null : say(option.description);
  const help = [about, forced ? t('The settings of the account do not allow this.') : null].filter(Boolean).join(' ');
  const label = say(option.opposite ?? option.title);
  const made = field({ id: `option-${option.name}`, label, help, control, required: option.required && !inline, inline });
  if (forced) control.disabled = true;
  return {
    ...made,
    name: option.name,
    value: forced ? () => state.forced : value,
    check: forced ? () => null : check,
    restore: forced ? () => {} : restore,
    shut: (list) => shut(list, made, forced),
  };
}

/** A check box that cannot be set while something else is chosen says why. */
const shutBox = (control) => (list, made, forced) => {
  const why = list.find(({ value }) => value === true)?.message;
  control.disabled = forced || why !== undefined;
  made.node.title = why ?? '';
  made.setNote(why ?? null);
};

const makers = {
  bool(_, state) {
    const control = el('input', { type: 'checkbox', checked: state.forced === true });
    const restore = (value) => {
      control.checked = value;
    };
    return { control, value: () => control.checked, restore, shut: shutBox(control) };
  },
  /** A flag that forbids, asked as a switch that allows. */
  opposite(_, state) {
    const control = el('input', { type: 'checkbox', role: 'switch', checked: state.forced === false });
    const restore = (value) => {
      control.checked = !value;
    };
    return { control, value: () => !control.checked, restore };
  },
  choice(option, state, say) {
    // In the platform's order.
    const values = state.allowed ?? option.kind.values;
    const word = (value) => (option.labels[value] ? say(option.labels[value]) : human(value));
    const control = el(
      'select',
      {},
      el('option', { value: '' }, option.required ? t('Choose…') : t('Not set')),
      values.map((value) => el('option', { value, selected: state.forced === value }, word(value))),
    );
    const shut = (list, made) => {
      for (const item of control.options) {
        const why = list.find(({ value }) => value === item.value)?.message;
        item.disabled = why !== undefined;
        item.title = why ?? '';
      }
      const why = list.find(({ value }) => values.includes(value))?.message;
      control.title = why ?? '';
      made.setNote(why ?? null);
    };
    return {
      control,
      value: () => control.value || undefined,
      check: () => (option.required && !control.value ? t('Choose one.') : null),
      restore: (value) => {
        control.value = values.includes(value) ? value : '';
      },
      shut,
    };
  },
  integer(option, state) {
    const { min, max } = option.kind;
    const control = el('input', { type: 'number', inputmode: 'numeric', min, max, step: 1, value: state.forced ?? null });
    const wrong = () => t('Give a whole number from {min} to {max}.', { min, max });
    const check = () => {
      if (control.validity.badInput) return wrong();
      if (control.value === '') return option.required ? wrong() : null;
      return control.checkValidity() ? null : wrong();
    };
    const restore = (value) => {
      control.value = value;
    };
    return { control, value: () => (control.value === '' ? undefined : Number(control.value)), check, restore };
  },
  text(option, state) {
    const control = el('input', { type: 'text', autocomplete: 'off', value: state.forced ?? null });
    const check = () => {
      const length = Array.from(control.value).length;
      if (length === 0) return option.required ? t('Fill this in.') : null;
      return length > (option.kind.max ?? Infinity) ? t('At most {max} characters.', { max: option.kind.max }) : null;
    };
    const restore = (value) => {
      control.value = value;
    };
    return { control, value: () => control.value || undefined, check, restore };
  },
};

function drawGroup(group, drawn, say) {
  const parts = group.options.map((name) => drawn.get(name));
  const help = group.description ? el('p', { class: 'help' }, say(group.description)) : null;
  if (!group.switch) {
    const node = el('fieldset', { class: 'group' }, el('legend', {}, say(group.title)), help, el('div', { class: 'checks' }, parts.map((part) => part.node)));
    return { ...group, node, update: () => {}, hindrance: () => null, restore: () => {} };
  }
  const control = el('input', { type: 'checkbox', role: 'switch' });
  const id = `switch-${group.options[0]}`;
  const made = field({ id, label: say(group.title), help: group.description ? say(group.description) : null, control, inline: true });
  const told = el('p', { class: 'notice info', role: 'status', hidden: true });
  const inner = el('div', { class: 'behind', role: 'group', 'aria-label': say(group.title), hidden: true }, parts.map((part) => part.node), told);
  // Behind a switch that is off, nothing is set.
  for (const part of parts) {
    const { value } = part;
    part.value = () => (control.checked ? value() : false);
  }
  control.setAttribute('aria-controls', `${id}-group`);
  inner.id = `${id}-group`;
  return {
    ...group,
    control,
    node: el('div', { class: 'group' }, made.node, inner),
    update(holds) {
      inner.hidden = !control.checked;
      control.setAttribute('aria-expanded', String(control.checked));
      const notice = control.checked ? group.notices.find(({ when }) => when.every(holds)) : null;
      told.textContent = notice ? say(notice.text) : '';
      told.hidden = !notice;
    },
    hindrance: () => (control.checked && !parts.some((part) => part.value() === true) ? say(group.switch) : null),
    restore(kept) {
      control.checked = group.options.some((name) => kept[name] === true);
    },
  };
}
