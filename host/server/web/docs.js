// The API's own document, for people: operations by tag, then the schemas that they name.

import { get } from './api.js';
import { $, badge, el, problemBox } from './dom.js';

const METHODS = { get: 'ok', head: 'ok', options: 'ok', post: '', put: 'warn', patch: 'warn', delete: 'bad' };

start();

async function start() {
  try {
    show(await get('/api/openapi.json'));
  } catch (problem) {
    $('operations').replaceChildren();
    $('problem').replaceChildren(problemBox(problem, 'The API cannot be shown'));
  }
}

function show(document_) {
  const { info, tags, components, webhooks = {} } = document_;
  $('version').textContent = info.version;
  $('version').hidden = false;
  $('lead').replaceChildren(...prose(info.description));
  const operations = operationsOf(document_.paths);
  const groups = tags.map((tag) => group(tag, operations.filter((operation) => operation.tags[0] === tag.name), document_));
  const schemas = Object.entries(components.schemas).sort(([a], [b]) => a.localeCompare(b));
  const pushed = { name: 'pushed', description: 'What webhook endpoints are sent, one message an event' };
  $('operations').replaceChildren(
    ...groups,
    group(pushed, operationsOf(webhooks), document_),
    el('section', { class: 'group', 'aria-labelledby': 'schemas' }, el('h2', { id: 'schemas' }, 'Schemas'), schemas.map(schemaCard)),
  );
  $('find').hidden = false;
  $('find').addEventListener('submit', (event) => event.preventDefault());
  $('filter').addEventListener('input', filter);
  filter();
  goToPlace();
  window.addEventListener('hashchange', goToPlace);
}

const operationsOf = (paths) =>
  Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, ...operation })),
  );

/** Opens what the address names, and goes there. */
function goToPlace() {
  const place = $(decodeURIComponent(location.hash.slice(1)));
  if (!place) return;
  if (place.hidden) {
    $('filter').value = '';
    filter();
  }
  if ('open' in place) place.open = true;
  place.scrollIntoView({ block: 'start' });
}

/** Shows what has every word, and hides groups that have nothing to show. */
function filter() {
  const words = $('filter').value.toLowerCase().split(/\s+/u).filter(Boolean);
  let operations = 0;
  for (const section of document.querySelectorAll('.group')) {
    let shown = 0;
    for (const entry of section.querySelectorAll(':scope > details')) {
      entry.words ??= entry.textContent.toLowerCase();
      entry.hidden = !words.every((word) => entry.words.includes(word));
      shown += entry.hidden ? 0 : 1;
      operations += !entry.hidden && entry.classList.contains('operation') ? 1 : 0;
    }
    section.hidden = shown === 0;
  }
  $('found').textContent = operations === 1 ? '1 operation' : `${operations} operations`;
}

const group = ({ name, description }, operations, document_) =>
  el(
    'section',
    { class: 'group', 'aria-labelledby': `tag-${name}` },
    el('h2', { id: `tag-${name}` }, heading(name)),
    prose(description),
    operations.map((operation) => operationCard(operation, document_)),
  );

const heading = (name) => (name.charAt(0).toUpperCase() + name.slice(1)).replaceAll('_', ' ');

function operationCard(operation, document_) {
  const { path, method, operationId, summary, description, parameters = [], requestBody, responses } = operation;
  return el(
    'details',
    { class: 'entry operation', id: operationId },
    el(
      'summary',
      {},
      badge(`method ${METHODS[method]}`, method.toUpperCase()),
      el('code', { class: 'path' }, breakable(path)),
      el('span', { class: 'muted' }, inline(summary)),
    ),
    description ? prose(description) : null,
    el('p', { class: 'small' }, proof(operation, document_), el('a', { href: `#${operationId}` }, `#${operationId}`)),
    parameters.length > 0 ? [el('h4', {}, 'Parameters'), table(parameters.map(parameterRow))] : null,
    requestBody ? [el('h4', {}, 'Body'), bodyOf(requestBody, document_)] : null,
    el('h4', {}, 'Answers'),
    table(Object.entries(responses).map(([status, answer]) => answerRow(status, resolved(answer, document_)))),
  );
}

/** Long paths break after a slash, if they must. */
const breakable = (path) => path.split('/').flatMap((part, index) => (index === 0 ? [part] : ['/', el('wbr'), part]));

function proof({ security }, document_) {
  const schemes = { api_key: 'an API key', worker_secret: 'the worker secret' };
  const names = (security ?? document_.security).map((any) => Object.keys(any).map((name) => schemes[name] ?? name).join(' and '));
  const needed = names.filter(Boolean);
  if (needed.length === 0) return 'Needs no key. ';
  return `${names.includes('') ? 'May carry' : 'Needs'} ${needed.join(' or ')}. `;
}

const parameterRow = ({ name, in: where, required, description, schema }) =>
  row(name, [type(schema), facts(schema), ` in ${where}`], required, description);

function bodyOf({ content, description, required }, document_) {
  return Object.entries(content).map(([mediaType, { schema, example }]) => {
    const named = resolved(alternatives(schema)[0] ?? {}, document_);
    const shown = example ?? named.example;
    return [
      el('p', {}, el('code', {}, mediaType), ' ', type(schema), required ? null : ', may be left out', description ? `. ${description}.` : null),
      named.properties ? fieldsOf(named) : null,
      shown === undefined ? null : el('pre', { tabindex: '0' }, JSON.stringify(shown, null, 2)),
    ];
  });
}

function answerRow(status, { description, content = {}, headers = {} }) {
  const tone = status.startsWith('2') ? 'ok' : status.startsWith('3') ? '' : 'warn';
  const bodies = Object.entries(content).map(([mediaType, { schema }]) => [el('code', {}, mediaType), ' ', type(schema)]);
  const names = Object.keys(headers);
  return el(
    'tr',
    {},
    el('th', { scope: 'row' }, badge(tone, status)),
    el(
      'td',
      {},
      inline(description),
      bodies.map((body) => el('div', { class: 'small' }, body)),
      names.length > 0 ? el('div', { class: 'small muted' }, 'Headers: ', names.join(', ')) : null,
    ),
  );
}

const schemaCard = ([name, schema]) =>
  el(
    'details',
    { class: 'entry schema', id: `schema-${name}` },
    el('summary', {}, el('code', { class: 'path' }, name), el('span', { class: 'muted' }, inline(schema.description ?? ''))),
    fieldsOf(schema),
    schema.example === undefined ? null : el('pre', { tabindex: '0' }, JSON.stringify(schema.example, null, 2)),
  );

/** Fields of a schema. One that is made of others shows what it adds, and names them. */
function fieldsOf(schema) {
  if (schema.allOf) {
    return schema.allOf.map((part) => (part.$ref ? el('p', {}, 'All fields of ', type(part), ', and:') : fieldsOf(part)));
  }
  if (!schema.properties) return el('p', {}, type(schema), facts(schema));
  const required = new Set(schema.required);
  return table(
    Object.entries(schema.properties).map(([name, field]) => {
      const description = field.description ?? alternatives(field)[0]?.description;
      return row(name, [type(field), facts(field)], required.has(name), description);
    }),
  );
}

const table = (rows) => el('div', { class: 'wide' }, el('table', {}, el('tbody', {}, rows)));

const row = (name, of, required, description) =>
  el(
    'tr',
    {},
    el('th', { scope: 'row' }, el('code', {}, name), required ? el('div', { class: 'small muted' }, 'required') : null),
    el('td', {}, el('div', { class: 'small' }, of), description ? inline(description) : null),
  );

/** What remains of a schema when `null` is left out. */
const alternatives = (schema) => (schema.oneOf ?? schema.anyOf ?? [schema]).filter((one) => one.type !== 'null');

/** A type in words, with links to the schemas that it names. */
function type(schema = {}) {
  if (schema.$ref) {
    const name = schema.$ref.split('/').at(-1);
    return el('a', { href: `#schema-${name}` }, name);
  }
  const some = alternatives(schema);
  if (schema.oneOf || schema.anyOf) {
    const orNull = some.length < (schema.oneOf ?? schema.anyOf).length ? ' or null' : null;
    return el('span', {}, some.map((one, index) => [index > 0 ? ' or ' : null, type(one)]), orNull);
  }
  if (schema.type === 'array') return el('span', {}, 'list of ', type(schema.items));
  const names = [schema.type ?? 'any'].flat().join(' or ');
  return el('span', {}, names, schema.format ? ` (${schema.format})` : null);
}

/** Bounds, choices and defaults. */
function facts(schema = {}) {
  const said = [
    schema.enum && `one of ${schema.enum.join(', ')}`,
    schema.default !== undefined && `default ${JSON.stringify(schema.default)}`,
    schema.minimum !== undefined && schema.minimum !== 0 && `at least ${schema.minimum}`,
    schema.maximum !== undefined && `at most ${schema.maximum}`,
    schema.maxLength !== undefined && `at most ${schema.maxLength} characters`,
    schema.example !== undefined && typeof schema.example !== 'object' && `such as ${schema.example}`,
  ].filter(Boolean);
  return said.map((text) => `, ${text}`);
}

function resolved(value, document_) {
  return value.$ref ? value.$ref.slice(2).split('/').reduce((place, name) => place[name], document_) : value;
}

/** Paragraphs, with code between backticks. */
const prose = (text = '') => text.split('\n\n').filter(Boolean).map((part) => el('p', {}, inline(part)));

const inline = (text) => text.split('`').map((part, index) => (index % 2 === 1 ? el('code', {}, part) : part));
