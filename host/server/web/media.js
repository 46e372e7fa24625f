// Choosing media: files by picker or drag and drop, or addresses that the platform fetches. Files are previewed from
// this computer; nothing is sent before someone presses Publish.

import { el } from './dom.js';
import { field, radios } from './field.js';
import { t } from './language.js';
import { unfinished } from './transfer.js';
import { seconds, size } from './words.js';

/**
 * `rule` is the media rule of a kind of post; `maxSeconds` the account's own limit, if it has one. Where a post has one file,
 * more than one make a queue: `waiting()` are those that come after this post. `kept` is what was chosen before a reload.
 */
export function mediaPicker(rule, maxSeconds, { first = [], kept = {}, onChange = () => {} } = {}) {
  const longest = Math.min(maxSeconds ?? Infinity, rule.max_duration?.secs ?? Infinity);
  const ours = rule.transfers.some((transfer) => transfer === 'upload' || transfer === 'pull_hosted');
  const ways = [ours && 'file', rule.transfers.includes('pull_url') && 'url'].filter(Boolean);
  const files = filePicker(rule, longest, onChange);
  const urls = urlPicker(rule, kept.urls ?? []);
  let way = ways.includes(kept.way) ? kept.way : ways[0];
  if (first.length > 0) files.take(first);
  const show = () => {
    files.node.hidden = way !== 'file';
    urls.node.hidden = way !== 'url';
  };
  const choice =
    ways.length > 1
      ? radios({
          id: 'way',
          legend: rule.kind === 'video' ? t('Video') : t('Pictures'),
          choices: [
            ['file', t('A file from this device')],
            ['url', t('A web address'), t('The platform fetches it itself.')],
          ],
          value: way,
          onChange: (value) => {
            way = value;
            show();
            onChange();
          },
        })
      : null;
  show();
  const current = () => (way === 'file' ? files : urls);
  return {
    node: el('div', {}, choice, files.node, urls.node),
    field: {
      label: rule.kind === 'video' ? t('Video') : t('Pictures'),
      get control() {
        return current().control;
      },
      setError: (text) => current().setError(text),
      check: () => current().check(),
    },
    value: () => (way === 'file' ? { files: files.value() } : { urls: urls.value() }),
    kept: () => ({ way, urls: urls.value() }),
    waiting: () => (way === 'file' ? files.waiting() : []),
    dispose: files.dispose,
  };
}

const format = (mime) => (mime === 'video/quicktime' ? 'MOV' : mime.split('/')[1].toUpperCase());

function filePicker(rule, longest, onChange) {
  let items = [];
  const many = rule.max_count > 1;
  // One post takes one file; what else is chosen waits its turn.
  const input = el('input', { type: 'file', accept: rule.mimes.join(','), multiple: true });
  const limits = [
    rule.mimes.map(format).join(', '),
    t('at most {size}', { size: size(rule.max_bytes) }),
    many ? t('{least} to {most} files', { least: rule.min_count, most: rule.max_count }) : null,
    Number.isFinite(longest) ? t('at most {time}', { time: seconds(longest) }) : null,
  ].filter(Boolean);
  const more = many ? '' : ` ${t('Several files become several posts, one after the other.')}`;
  const made = field({ id: 'file', label: t('Drop a file here, or choose one'), help: `${limits.join(', ')}.${more}`, control: input });
  const cut = unfinished();
  const resume = cut
    ? el('p', { class: 'notice warn' }, t('The upload of {name} was interrupted at {percent} %. Choose the same file again: it goes on from there.', { name: cut.name, percent: Math.floor((cut.sent / cut.size) * 100) }))
    : null;
  const list = el('ul', { class: 'files', 'aria-label': t('Chosen files') });
  const preview = el('div', { class: 'previews' });
  const zone = el('div', { class: 'drop' }, resume, made.node, preview, list);
  const current = () => (many ? items : items.slice(0, 1));

  const draw = () => {
    // The picker shows what the list holds, also after a drop or a removal.
    const held = new DataTransfer();
    items.forEach((item) => held.items.add(item.file));
    input.files = held.files;
    list.replaceChildren(...items.map(row));
    preview.replaceChildren(...current().map((item) => item.preview));
    zone.classList.toggle('filled', items.length > 0);
  };
  const row = (item, index) =>
    el(
      'li',
      {},
      el('bdi', {}, item.file.name),
      el('span', { class: 'muted' }, [size(item.file.size), item.duration ? seconds(item.duration) : null].filter(Boolean).join(', ')),
      !many && index > 0 ? el('span', { class: 'badge muted' }, t('Next in line')) : null,
      el('button', { class: 'link', type: 'button', click: () => remove(item) }, t('Remove'), el('span', { class: 'quiet' }, ` ${item.file.name}`)),
    );
  const remove = (item) => {
    items = items.filter((other) => other !== item);
    item.forget();
    draw();
    made.setError(null);
    input.focus();
    onChange();
  };
  const take = (taken) => {
    const fresh = Array.from(taken).map((file) => previewed(file, many, () => (draw(), tell())));
    if (fresh.length === 0) return;
    items = [...items, ...fresh];
    draw();
    tell();
    onChange();
  };
  const tell = () => made.setError(items.length > 0 ? check() : null);
  const check = () => {
    for (const { file, duration } of current()) {
      if (file.type && !rule.mimes.includes(file.type)) return t('{name} is {type}, which is not accepted. Use {known}.', { name: file.name, type: file.type, known: rule.mimes.map(format).join(', ') });
      if (file.size === 0) return t('{name} is empty.', { name: file.name });
      if (file.size > rule.max_bytes) return t('{name} has {size}; at most {most} are accepted.', { name: file.name, size: size(file.size), most: size(rule.max_bytes) });
      if (duration > longest) return t('{name} plays {time}; this account may post at most {most}.', { name: file.name, time: seconds(duration), most: seconds(longest) });
    }
    const count = current().length;
    if (count < rule.min_count) return rule.min_count === 1 ? t('Choose a file.') : t('Choose at least {least} files.', { least: rule.min_count });
    return count > rule.max_count ? t('Choose at most {most} files.', { most: rule.max_count }) : null;
  };

  input.addEventListener('change', () => {
    // The picker holds the list already; what is new was chosen now.
    const known = new Set(items.map((item) => item.file));
    const chosen = Array.from(input.files).filter((file) => !known.has(file));
    if (!many) {
      items.forEach((item) => item.forget());
      items = [];
    }
    take(chosen);
  });
  for (const type of ['dragenter', 'dragover']) {
    zone.addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      zone.classList.add('over');
    });
  }
  zone.addEventListener('dragleave', (event) => zone.contains(event.relatedTarget) || zone.classList.remove('over'));
  zone.addEventListener('drop', (event) => {
    event.preventDefault();
    zone.classList.remove('over');
    take(event.dataTransfer.files);
  });
  return {
    ...made,
    node: zone,
    check,
    take,
    value: () => current().map((item) => item.file),
    waiting: () => items.slice(current().length).map((item) => item.file),
    dispose: () => items.forEach((item) => item.forget()),
  };
}

/** A file with its preview. `onKnown` is called when its play time is known. */
function previewed(file, many, onKnown) {
  const caption = many ? el('figcaption', { class: 'small' }, el('bdi', {}, file.name)) : null;
  if (file.type.startsWith('video/')) {
    const address = URL.createObjectURL(file);
    const video = el('video', { controls: true, playsinline: true, preload: 'metadata', 'aria-label': t('Preview of {name}', { name: file.name }) });
    const item = { file, duration: null, preview: el('figure', {}, video, caption), forget: () => URL.revokeObjectURL(address) };
    video.addEventListener('loadedmetadata', () => {
      if (Number.isFinite(video.duration)) item.duration = video.duration;
      onKnown();
    });
    video.addEventListener('error', () => video.replaceWith(noPreview()), { once: true });
    video.src = address;
    return item;
  }
  const canvas = el('canvas', { role: 'img', 'aria-label': t('Preview of {name}', { name: file.name }) });
  const item = { file, duration: null, preview: el('figure', {}, canvas, caption), forget: () => {} };
  draw(file, canvas).catch(() => canvas.replaceWith(noPreview()));
  return item;
}

const noPreview = () => el('p', { class: 'empty' }, t('This browser cannot show the file. It can still be published.'));

// Pages may load pictures from this host alone, so a local one is painted instead of loaded.
async function draw(file, canvas) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, 720 / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
}

function urlPicker(rule, kept) {
  const many = rule.max_count > 1;
  const control = many
    ? el('textarea', { rows: 4, spellcheck: 'false', autocapitalize: 'off' })
    : el('input', { type: 'url', autocomplete: 'off', spellcheck: 'false', placeholder: 'https://' });
  const help = [
    many ? t('One address a line, {least} to {most}.', { least: rule.min_count, most: rule.max_count }) : null,
    t('Public, https, without a redirect; some platforms want its domain registered with them.'),
    t('It is not loaded here, so there is no preview.'),
  ];
  const made = field({ id: 'url', label: many ? t('Addresses') : rule.kind === 'video' ? t('Address of the video') : t('Address of the picture'), help: help.filter(Boolean).join(' '), control });
  control.value = kept.join('\n');
  const value = () => control.value.split(/\s+/).filter(Boolean);
  const check = () => {
    const urls = value();
    const bad = urls.find((text) => !/^https:\/\/[^/]/i.test(text));
    if (bad) return t('{address} is not an https address.', { address: bad.slice(0, 80) });
    if (urls.length < rule.min_count) return rule.min_count === 1 ? t('Give an address.') : t('Give at least {least} addresses.', { least: rule.min_count });
    return urls.length > rule.max_count ? t('Give at most {most} addresses.', { most: rule.max_count }) : null;
  };
  return { ...made, value, check };
}
