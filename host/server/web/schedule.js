// When a post is to go out: now, or at a time as the clocks of a zone show it. The host reckons with the zone's rules.

import { el } from './dom.js';
import { field, radios } from './field.js';
import { t } from './language.js';

const here = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

/** `value()` is the API's `scheduled_local`, or nothing. */
export function schedulePicker({ kept, onChange }) {
  let later = kept !== undefined && kept !== null;
  const time = el('input', { type: 'datetime-local', step: 60, value: kept?.date_time.slice(0, 16) ?? null });
  const names = Intl.supportedValuesOf?.('timeZone') ?? [];
  const zones = [...new Set([here, ...names, 'UTC'])];
  const zone = el(
    'select',
    {},
    zones.map((name) => el('option', { value: name, selected: name === (kept?.time_zone ?? here) }, name.replace(/_/g, ' '))),
  );
  time.addEventListener('input', onChange);
  const timeField = field({ id: 'schedule-time', label: t('Date and time'), control: time });
  const zoneField = field({ id: 'schedule-zone', label: t('Time zone'), control: zone });
  const inner = el('div', { class: 'pair', hidden: !later }, timeField.node, zoneField.node);
  const node = el(
    'div',
    {},
    radios({
      id: 'when',
      legend: t('When?'),
      choices: [
        ['now', t('Now')],
        ['later', t('Later')],
      ],
      value: later ? 'later' : 'now',
      onChange: (value) => {
        later = value === 'later';
        inner.hidden = !later;
        onChange();
      },
    }),
    inner,
  );
  const check = () => {
    if (!later) return null;
    if (!time.value) return t('Choose date and time.');
    // For another zone, the host knows better.
    return zone.value === here && new Date(time.value) <= new Date() ? t('This time has passed. Choose a later one.') : null;
  };
  const value = () => (later && time.value ? { date_time: `${time.value}:00`, time_zone: zone.value } : undefined);
  return { node, value, fields: [['/scheduled_local/time_zone', zoneField], ['/scheduled_local', { ...timeField, check }]] };
}
