// A tenant's webhook endpoints, and what is sent there.

import { badge, el, name, notice } from './dom.js';
import { confirmed } from './confirm.js';
import { during, listing, said } from './listing.js';
import { ask } from './operator.js';
import { choice, code, time } from './operated.js';
import { human } from './words.js';

export const needsTenant = true;

const STATES = [
  ['', 'Any state'],
  ['pending', 'On their way'],
  ['delivered', 'Taken'],
  ['failed', 'Failed'],
  ['held', 'Held'],
];
const TONES = { pending: 'info', delivered: 'ok', failed: 'bad', held: 'warn' };
const DISABLED = {
  by_tenant: 'The tenant has disabled it. Its events are held.',
  gone: 'It has answered 410, so it was disabled. The tenant enables it again.',
  failing: 'It only failed for days, so it was disabled. The tenant mends and enables it again.',
};
const CODES = {
  refused: 'its answer is no success',
  no_answer: 'no whole answer came in time',
  unreachable: 'there was no connection',
  blocked: 'its address is not a public one',
  secret_unreadable: 'its secret does not open: is it the right key?',
  quarantined: 'it ended its workers',
};

export function show(here) {
  return here.item === null ? endpoints(here) : deliveries(here);
}

function endpoints({ node, path, address }) {
  const found = listing({
    path: `${path}/webhook-endpoints`,
    label: 'Webhook endpoints',
    empty: 'This tenant has no webhook endpoint, so nothing is pushed to it.',
    row: (endpoint) => row(endpoint, address),
  });
  node.replaceChildren(found.node);
  return found;
}

function row(endpoint, address) {
  const failing = endpoint.failing_since !== null;
  const [tone, label] = endpoint.status === 'disabled' ? ['warn', 'Disabled'] : failing ? ['bad', 'Failing'] : ['ok', 'Enabled'];
  return el(
    'li',
    {},
    el(
      'div',
      { class: 'post' },
      el('a', { href: address('deliveries', endpoint.id) }, name(endpoint.origin)),
      el('span', { class: 'muted' }, code(endpoint.id)),
      endpoint.status === 'disabled' ? el('span', { class: 'small' }, DISABLED[endpoint.disabled_code] ?? 'It is disabled.') : null,
      failing ? el('span', { class: 'small' }, 'Nothing but failures since ', time(endpoint.failing_since), '. The tenant has to look at its receiver.') : null,
    ),
    el('div', { class: 'end' }, badge(tone, label)),
  );
}

function deliveries({ node, item, query, path, address, turn }) {
  const at = `${path}/webhook-endpoints/${encodeURIComponent(item)}`;
  const status = query.get('status') ?? '';
  const found = listing({
    path: `${at}/deliveries${status ? `?status=${encodeURIComponent(status)}` : ''}`,
    label: 'Deliveries',
    empty: status ? 'No delivery is in this state.' : 'Nothing was sent there.',
    row: (delivery) => delivered(delivery, at, () => found.refresh(true)),
  });
  const button = el('button', { class: 'button second', type: 'button' }, 'Redeliver all that failed or are held');
  button.addEventListener('click', async () => {
    if (!(await confirmed('Redeliver all?', 'Every delivery of this endpoint that has failed or is held is sent again, the oldest first, at most 1,000 at once. Receivers drop what they have already by its id.', 'Redeliver them'))) return;
    await during(
      button,
      async () => {
        const { redelivered, more } = await ask('POST', `${at}/redeliver`, {});
        said('ok', `${redelivered.toLocaleString()} are sent again.${more ? ' There are more: redeliver once more.' : ''}`);
        await found.refresh(true);
      },
      'They were not sent again',
    );
  });
  node.replaceChildren(
    el('p', {}, el('a', { href: address('deliveries') }, 'All endpoints')),
    notice('', el('p', {}, 'Deliveries to ', code(item), '. What the receiver answered is shown to its tenant alone.')),
    el(
      'div',
      { class: 'tools' },
      choice({ id: 'status', label: 'State', all: STATES, chosen: status, onChange: (status) => turn({ status }) }),
      el('div', { class: 'field end' }, button),
    ),
    found.node,
  );
  return found;
}

function delivered(delivery, at, after) {
  const last = delivery.last_attempt;
  const button = el('button', { class: 'button second', type: 'button', 'data-spot': delivery.id }, 'Redeliver', el('span', { class: 'quiet' }, ` ${delivery.id}`));
  button.addEventListener('click', async () => {
    if (!(await confirmed('Send this again?', 'It is sent with all its tries, under the same id, whatever became of it before.', 'Redeliver'))) return;
    await during(
      button,
      async () => {
        await ask('POST', `${at}/deliveries/${encodeURIComponent(delivery.id)}/redeliver`);
        said('ok', 'It is sent again.');
        await after();
      },
      'It was not sent again',
    );
  });
  return el(
    'li',
    {},
    el(
      'div',
      { class: 'post' },
      el('strong', {}, name(delivery.event)),
      el('span', { class: 'muted' }, `${delivery.attempts} ${delivery.attempts === 1 ? 'attempt' : 'attempts'}, made `, time(delivery.created_at)),
      last && last.code ? el('span', { class: 'small' }, CODES[last.code] ?? last.code, last.answer_status ? ` (status ${last.answer_status})` : '', ', ', time(last.at)) : null,
    ),
    el('div', { class: 'end' }, badge(TONES[delivery.status] ?? 'info', human(delivery.status)), button),
  );
}
