// The operator's dashboard: which view of what, kept up to date while it is looked at. Where it is stands in the address,
// so that it can be kept and sent: #/posts?tenant=ten_…&status=failed

import { $, el, problemBox } from './dom.js';
import { redraw } from './listing.js';
import { read, session } from './operator.js';
import { human } from './words.js';
import * as overview from './view-overview.js';
import * as accounts from './view-accounts.js';
import * as posts from './view-posts.js';
import * as events from './view-events.js';
import * as work from './view-work.js';
import * as deliveries from './view-deliveries.js';
import * as tenants from './view-tenants.js';

const EVERY_MS = 5_000;

const VIEWS = [
  ['overview', 'Overview', overview],
  ['accounts', 'Accounts', accounts],
  ['posts', 'Posts', posts],
  ['events', 'Events', events],
  ['dead-letters', 'Dead letters', work],
  ['deliveries', 'Deliveries', deliveries],
  ['tenants', 'Tenants and keys', tenants],
];

let known = { tenants: [], providers: [], more: false };
let shown = null;

start();

async function start() {
  try {
    await session();
    await learn();
  } catch (problem) {
    $('problem').replaceChildren(problemBox(problem, 'The dashboard cannot be shown'));
    $('board').hidden = false;
    return;
  }
  addEventListener('hashchange', () => go());
  $('tenant').addEventListener('change', () => turn({ tenant: $('tenant').value }));
  $('provider').addEventListener('change', () => turn({ provider: $('provider').value }));
  $('filters').addEventListener('submit', (event) => event.preventDefault());
  go(true);
  for (;;) {
    await pause();
    await refresh();
  }
}

async function pause() {
  await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }));
  }
}

/** Which tenants and platforms there are. */
async function learn() {
  const [found, all] = await Promise.all([read('/api/tenants?limit=100'), read('/api/operator/overview')]);
  known = { tenants: found.data, more: found.next_cursor !== null, providers: all.providers };
  const simulated = all.providers.filter((provider) => provider.simulated);
  $('stand-ins').hidden = simulated.length === 0;
  $('stand-ins').replaceChildren(...simulated.map(simulatedBar));
}

function simulatedBar({ display_name, simulator_page }) {
  const page = simulator_page === null ? null : URL.parse?.(simulator_page) ?? null;
  const opens = page?.protocol === 'http:';
  return el(
    'p',
    { class: 'simulated' },
    el('strong', {}, 'Simulated'),
    el('span', {}, `A simulator stands in for ${display_name}: nothing here reaches the real platform.`),
    opens ? el('a', { href: page.href, rel: 'noopener noreferrer' }, `Control the simulator of ${display_name}: faults, clock`) : null,
  );
}

/** Where the address says that we are. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [view, item] = path.split('/').map(decodeURIComponent);
  const named = VIEWS.find(([name]) => name === view) ?? VIEWS[0];
  return { view: named, item: item || null, query: new URLSearchParams(query ?? '') };
}

/** The address of a view with what is shown now, and more. */
function address(view, item, changes = {}) {
  const query = new URLSearchParams();
  const now = place().query;
  for (const name of ['tenant', 'provider']) if (now.get(name)) query.set(name, now.get(name));
  for (const [name, value] of Object.entries(changes)) value ? query.set(name, value) : query.delete(name);
  const text = query.toString();
  return `#/${view}${item ? `/${encodeURIComponent(item)}` : ''}${text ? `?${text}` : ''}`;
}

/** Changes what is shown, in the same view. */
function turn(changes) {
  const { view, item, query } = place();
  const kept = Object.fromEntries(query);
  // A thing is of one tenant.
  location.hash = address(view[0], 'tenant' in changes ? null : item, { ...kept, ...changes });
}

/** Draws the view that the address names. The reader stays where they were, or goes on from the heading. */
function go(first = false) {
  const here = place();
  const before = document.activeElement?.id;
  const [id, label, view] = here.view;
  $('views').replaceChildren(
    ...VIEWS.map(([name, text]) => el('a', { href: address(name), 'aria-current': name === id ? 'page' : null }, text)),
  );
  const tenant = tenantOf(here.query);
  options('tenant', [['', 'All tenants'], ...named(here.query).map(({ id, name }) => [id, name])], here.query.get('tenant') ?? '');
  options('provider', [['', 'All platforms'], ...known.providers.map(({ id, display_name }) => [id, display_name])], here.query.get('provider') ?? '');
  document.title = `${label} – Patchbay`;
  $('title').textContent = label;
  $('problem').replaceChildren();
  const node = el('div', {}, el('p', { class: 'muted' }, 'Loading…'));
  $('view').replaceChildren(node);
  if (view.needsTenant && tenant === null) {
    node.replaceChildren(chooser(id));
    shown = null;
    if (!first) goOn(before);
    return;
  }
  const path = tenant === null ? null : `/api/operator/tenants/${tenant}`;
  shown = view.show({ node, item: here.item, query: here.query, tenant, path, known, platform, address, turn, redraw, relearn });
  if (!first) goOn(before);
  refresh();
}

const goOn = (before) => ((before && $(before)) || $('title')).focus({ preventScroll: true });

const platform = (id) => known.providers.find((provider) => provider.id === id)?.display_name ?? human(id);

async function relearn() {
  await learn();
  options('tenant', [['', 'All tenants'], ...known.tenants.map(({ id, name }) => [id, name])], place().query.get('tenant') ?? '');
}

/** The one that is chosen, or the only one. */
function tenantOf(query) {
  const chosen = query.get('tenant');
  if (chosen) return /^ten_[0-9a-f]{32}$/.test(chosen) ? chosen : null;
  return known.tenants.length === 1 && !known.more ? known.tenants[0].id : null;
}

/** All tenants of the first page, and the chosen one. */
function named(query) {
  const chosen = query.get('tenant');
  const there = known.tenants.some(({ id }) => id === chosen);
  return chosen && !there ? [...known.tenants, { id: chosen, name: chosen }] : known.tenants;
}

function options(id, all, chosen) {
  $(id).replaceChildren(...all.map(([value, text]) => el('option', { value, selected: value === chosen }, text)));
}

function chooser(view) {
  return el(
    'section',
    { class: 'card' },
    el('h2', {}, 'Of which tenant?'),
    el('p', {}, 'Rows are shown for one tenant at a time. Numbers of all of them are in the overview.'),
    el('ul', { class: 'chips' }, known.tenants.map(({ id, name }) => el('li', {}, el('a', { class: 'button second', href: address(view, null, { tenant: id }) }, el('bdi', {}, name))))),
    known.more ? el('p', { class: 'small' }, 'There are more: find the others under ', el('a', { href: address('tenants') }, 'Tenants and keys'), '.') : null,
  );
}

let lost = false;

async function refresh() {
  const now = shown;
  if (now === null) return;
  try {
    await now.refresh();
    if (now !== shown) return;
    if (lost) $('problem').replaceChildren();
    lost = false;
    $('fresh').textContent = `Updated ${new Date().toLocaleTimeString()}`;
  } catch (problem) {
    if (now !== shown) return;
    const box = problemBox(problem, 'This could not be fetched');
    lost = true;
    // Said once, not at every try.
    if ($('problem').textContent !== box.textContent) $('problem').replaceChildren(box);
    $('view').querySelector('.muted')?.remove();
  }
}
