// Everything in numbers: what needs somebody, how much there is, and how it went.

import { badge, el, notice } from './dom.js';
import { read } from './operator.js';
import { plot } from './plot.js';
import { duration, kindOfWork } from './operated.js';

const PERIODS = [
  ['day', '24 hours'],
  ['week', '7 days'],
  ['month', '30 days'],
];
/** Work may wait so long before somebody has to look: as long as readiness takes it. */
const LATE_SECONDS = 300;

export function show({ node, query, known, address, turn, redraw }) {
  const period = PERIODS.some(([name]) => name === query.get('period')) ? query.get('period') : 'day';
  const wanted = new URLSearchParams();
  for (const name of ['tenant', 'provider']) if (query.get(name)) wanted.set(name, query.get(name));
  const [urgent, numbers, plots, work, platforms] = [1, 2, 3, 4, 5].map(() => el('div'));
  const chosen = el(
    'div',
    { class: 'row periods', role: 'group', 'aria-label': 'How far back' },
    PERIODS.map(([name, text]) =>
      el('button', { class: 'button second', type: 'button', id: `period-${name}`, 'aria-pressed': String(name === period), click: () => turn({ period: name }) }, text),
    ),
  );
  node.replaceChildren(
    el('h2', { class: 'quiet' }, 'Now'),
    urgent,
    numbers,
    el('div', { class: 'between' }, el('h2', {}, 'Over time'), chosen),
    plots,
    el('h2', {}, 'Work of all tenants'),
    work,
    el('h2', {}, 'Platforms'),
    platforms,
  );
  let at = 0;
  return {
    async refresh() {
      const now = await read(`/api/operator/overview?${wanted}`);
      redraw(urgent, [now.accounts, now.posts, now.work, now.deliveries], () => whatToDo(now, address));
      redraw(numbers, now, () => cards(now, address));
      redraw(work, now.work, () => workTable(now));
      redraw(platforms, known.providers, () => el('div', { class: 'cards' }, known.providers.map(platformCard)));
      // A plot moves slowly, and costs more than the numbers.
      if (Date.now() - at < 30_000) return;
      const series = await read(`/api/operator/series?period=${period}&${wanted}`);
      at = Date.now();
      redraw(plots, series, () => drawn(series));
    },
  };
}

const total = (numbers) => Object.values(numbers).filter((value) => typeof value === 'number').reduce((sum, value) => sum + value, 0);
const dead = (now) => now.work.reduce((sum, one) => sum + one.dead, 0);
const upTo = (now) => (value) => (value >= now.counted_up_to ? `${now.counted_up_to.toLocaleString()}+` : value.toLocaleString());

/** What somebody has to look at, with the place where they can. */
function whatToDo(now, address) {
  const many = upTo(now);
  const found = [];
  const add = (tone, count, text, link, label) => {
    if (count > 0) found.push(notice(tone, el('strong', {}, text), el('p', {}, el('a', { href: link }, label))));
  };
  const late = now.work.filter((one) => one.kind !== 'deliver' && (one.lag_seconds ?? 0) > LATE_SECONDS);
  for (const one of late) {
    found.push(notice('bad', el('strong', {}, `${kindOfWork(one.kind)}: the oldest has waited ${duration(one.lag_seconds)}.`), el('p', {}, 'Are workers running? See the log of this host, and patchbay doctor.')));
  }
  add('bad', dead(now), `${many(dead(now))} pieces of work were given up.`, address('dead-letters'), 'Look at the dead letters, and replay them when their cause is gone');
  add('bad', now.posts.last_day.unconfirmed, `${now.posts.last_day.unconfirmed} posts of the last day have no known outcome.`, address('posts', null, { status: 'unconfirmed' }), 'Look at them: they are never sent again by themselves');
  add('warn', now.accounts.reauth_required, `${many(now.accounts.reauth_required)} accounts must be connected again.`, address('accounts', null, { status: 'reauth_required' }), 'See which: their owners have to do it');
  add('warn', now.deliveries.failed_last_day + now.deliveries.held_last_day, `${many(now.deliveries.failed_last_day + now.deliveries.held_last_day)} deliveries of the last day have failed or are held.`, address('deliveries'), 'See which endpoints do not take them');
  add('warn', now.work.reduce((sum, one) => sum + one.stalled, 0), 'Workers were not heard of in time.', address('overview'), 'Their work is taken over by others');
  return found.length > 0 ? found : notice('ok', el('strong', {}, 'Nothing needs you.'));
}

function card(title, big, lines, link, label) {
  return el(
    'article',
    { class: 'card number' },
    el('h3', {}, title),
    el('p', { class: 'big' }, big),
    el('ul', {}, lines.filter(Boolean).map((line) => el('li', {}, line))),
    link ? el('a', { href: link }, label) : null,
  );
}

function cards(now, address) {
  const many = upTo(now);
  const { accounts, posts, deliveries } = now;
  const day = posts.last_day;
  const ended = day.published + day.inbox_delivered + day.failed + day.unconfirmed;
  const own = now.work.filter((one) => one.kind !== 'deliver');
  const lag = Math.max(0, ...own.map((one) => one.lag_seconds ?? 0));
  return el(
    'div',
    { class: 'cards numbers' },
    card('Accounts', many(accounts.active), ['connected', accounts.reauth_required > 0 && `${many(accounts.reauth_required)} to be connected again`, accounts.pending > 0 && `${many(accounts.pending)} not accepted yet`, accounts.revoked > 0 && `${many(accounts.revoked)} disconnected`], address('accounts'), 'All accounts'),
    card('Success, 24 h', ended === 0 ? '–' : percent((day.published + day.inbox_delivered) / ended), [ended === 0 ? 'none has ended' : `of ${ended.toLocaleString()} got there${day.sampled ? ' (of a part)' : ''}`, `${day.failed} failed`, day.unconfirmed > 0 && `${day.unconfirmed} unconfirmed`], address('posts'), 'All posts'),
    card('Under way', many(posts.open), ['posts without an outcome', `${many(posts.waiting_for_quota)} wait for the platform's limits`], address('posts', null, { status: 'publishing' }), 'Posts under way'),
    card('Worker lag', duration(lag), ['the oldest that is due', `${many(own.reduce((sum, one) => sum + one.due, 0))} due, ${many(own.reduce((sum, one) => sum + one.running, 0))} being done`]),
    card('Dead letters', many(dead(now)), now.work.filter((one) => one.dead > 0).map((one) => `${one.dead} × ${kindOfWork(one.kind).toLowerCase()}`), address('dead-letters'), 'All dead letters'),
    card('Deliveries', many(deliveries.pending), ['on their way', `${many(deliveries.delivered_last_day)} taken in 24 hours`, `${many(deliveries.failed_last_day)} failed, ${many(deliveries.held_last_day)} held`], address('deliveries'), 'All deliveries'),
  );
}

const percent = (part) => new Intl.NumberFormat(undefined, { style: 'percent', maximumFractionDigits: 1 }).format(part);
const whole = (value) => value.toLocaleString(undefined, { maximumFractionDigits: 1 });

function drawn(series) {
  const days = series.bucket_seconds >= 86_400;
  const form = days ? { month: 'short', day: 'numeric', timeZone: 'UTC' } : { weekday: 'short', hour: '2-digit', minute: '2-digit' };
  const names = new Intl.DateTimeFormat(undefined, form);
  const buckets = series.data.map((bucket) => names.format(new Date(bucket.from)));
  const values = (pick) => series.data.map(pick);
  const sum = (pick) => values(pick).reduce((total, value) => total + value, 0);
  const well = sum(({ posts }) => posts.published + posts.inbox_delivered);
  const ended = well + sum(({ posts }) => posts.failed + posts.unconfirmed);
  const looked = sum(({ webhooks }) => webhooks.count);
  const worst = Math.max(0, ...values(({ webhooks }) => webhooks.p95_seconds ?? 0));
  const lost = sum(({ refresh }) => refresh.reauth_required + refresh.given_up);
  return el(
    'div',
    { class: 'plots' },
    plot({
      title: 'Publish success',
      summary: ended === 0 ? 'No post has ended in this time.' : `${percent(well / ended)} of ${ended.toLocaleString()} posts got there.`,
      kind: 'bars',
      format: whole,
      buckets,
      series: [
        { name: 'Published or in the inbox', tone: 'ok', values: values(({ posts }) => posts.published + posts.inbox_delivered) },
        { name: 'Not confirmed', tone: 'warn', values: values(({ posts }) => posts.unconfirmed) },
        { name: 'Failed', tone: 'bad', values: values(({ posts }) => posts.failed) },
      ],
    }),
    plot({
      title: 'Webhook latency',
      summary: looked === 0 ? 'No webhook was applied in this time.' : `From receipt to effect, of ${looked.toLocaleString()} webhooks; the slowest 95th percentile is ${duration(worst)}.`,
      kind: 'lines',
      format: duration,
      buckets,
      series: [
        { name: 'Median', tone: 'accent', values: values(({ webhooks }) => webhooks.p50_seconds) },
        { name: '95th percentile', tone: 'warn', values: values(({ webhooks }) => webhooks.p95_seconds) },
      ],
    }),
    plot({
      title: 'Refresh failures',
      summary: lost === 0 ? 'No account has lost its access in this time.' : `${lost} times an account has lost its access.`,
      kind: 'bars',
      format: whole,
      buckets,
      series: [
        { name: 'Ended by the platform', tone: 'warn', values: values(({ refresh }) => refresh.reauth_required) },
        { name: 'Renewal given up', tone: 'bad', values: values(({ refresh }) => refresh.given_up) },
      ],
    }),
  );
}

function workTable(now) {
  const many = upTo(now);
  const heads = ['Work', 'Due', 'Later', 'Running', 'Stalled', 'Dead', 'Oldest due'];
  return el(
    'div',
    { class: 'scroll card', tabindex: '0', role: 'region', 'aria-label': 'Work by kind' },
    el(
      'table',
      {},
      el('thead', {}, el('tr', {}, heads.map((text) => el('th', { scope: 'col' }, text)))),
      el(
        'tbody',
        {},
        now.work.map((one) =>
          el(
            'tr',
            {},
            el('th', { scope: 'row' }, kindOfWork(one.kind)),
            [one.due, one.later, one.running, one.stalled, one.dead].map((value) => el('td', {}, many(value))),
            el('td', {}, one.lag_seconds === null ? '–' : duration(one.lag_seconds)),
          ),
        ),
      ),
    ),
  );
}

function platformCard({ id, display_name, simulated }) {
  return el(
    'article',
    { class: 'card' },
    el('h3', {}, display_name, simulated ? badge('warn', 'Simulated') : badge('ok', 'Live')),
    el(
      'div',
      { class: 'row' },
      el('a', { class: 'button second', href: `/platforms/connect/${id}` }, 'Connect', el('span', { class: 'quiet' }, ` ${display_name}`)),
      el('a', { class: 'button second', href: `/platforms/${id}/upload` }, 'Publish', el('span', { class: 'quiet' }, ` to ${display_name}`)),
    ),
  );
}
