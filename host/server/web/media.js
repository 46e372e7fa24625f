// Choosing media: files by picker or drag and drop, or addresses that the platform fetches. Files are previewed from
// this computer; nothing is sent before someone presses Publish.

import { el } from './dom.js';
import { field, radios } from './field.js';
import { human, seconds, size } from './words.js';

/** `rule` is the media rule of a kind of post; `maxSeconds` the account's own limit, if it has one. */
export function mediaPicker(rule, maxSeconds) {
  const longest = Math.min(maxSeconds ?? Infinity, rule.max_duration?.secs ?? Infinity);
  const ways = [rule.transfers.includes('upload') && 'file', rule.transfers.includes('pull_url') && 'url'].filter(Boolean);
  const files = filePicker(rule, longest);
  const urls = urlPicker(rule);
  let way = ways[0];
  const show = () => {
    files.node.hidden = way !== 'file';
    urls.node.hidden = way !== 'url';
  };
  const choice =
    ways.length > 1
      ? radios({
          id: 'way',
          legend: rule.kind === 'video' ? 'Video' : 'Pictures',
          choices: [
            ['file', 'A file from this device'],
            ['url', 'A web address', 'The platform fetches it itself.'],
          ],
          value: way,
          onChange: (value) => {
            way = value;
            show();
          },
        })
      : null;
  show();
  const current = () => (way === 'file' ? files : urls);
  return {
    node: el('div', {}, choice, files.node, urls.node),
    field: {
      label: rule.kind === 'video' ? 'Video' : 'Pictures',
      get control() {
        return current().control;
      },
      setError: (text) => current().setError(text),
      check: () => current().check(),
    },
    value: () => (way === 'file' ? { files: files.value() } : { urls: urls.value() }),
    dispose: files.dispose,
  };
}

const format = (mime) => (mime === 'video/quicktime' ? 'MOV' : mime.split('/')[1].toUpperCase());

function filePicker(rule, longest) {
  let items = [];
  const many = rule.max_count > 1;
  const input = el('input', { type: 'file', accept: rule.mimes.join(','), multiple: many });
  const limits = [
    rule.mimes.map(format).join(', '),
    `at most ${size(rule.max_bytes)}`,
    many ? `${rule.min_count} to ${rule.max_count} files` : null,
    Number.isFinite(longest) ? `at most ${seconds(longest)}` : null,
  ].filter(Boolean);
  const made = field({ id: 'file', label: many ? 'Choose files, or drop them here' : 'Choose a file, or drop it here', help: `${limits.join(', ')}.`, control: input });
  const list = el('ul', { class: 'files', 'aria-label': 'Chosen files' });
  const preview = el('div', { class: 'previews' });
  const zone = el('div', { class: 'drop' }, made.node, list, preview);

  const draw = () => {
    // The picker shows what the list holds, also after a drop or a removal.
    const held = new DataTransfer();
    items.forEach((item) => held.items.add(item.file));
    input.files = held.files;
    list.replaceChildren(...items.map(row));
    preview.replaceChildren(...items.map((item) => item.preview));
  };
  const row = (item) =>
    el(
      'li',
      {},
      el('bdi', {}, item.file.name),
      el('span', { class: 'muted' }, [size(item.file.size), item.duration ? seconds(item.duration) : null].filter(Boolean).join(', ')),
      el('button', { class: 'link', type: 'button', click: () => remove(item) }, 'Remove', el('span', { class: 'quiet' }, ` ${item.file.name}`)),
    );
  const remove = (item) => {
    items = items.filter((other) => other !== item);
    item.forget();
    draw();
    made.setError(null);
    input.focus();
  };
  const take = (taken) => {
    const fresh = Array.from(taken).map((file) => previewed(file, many, () => (draw(), tell())));
    if (fresh.length === 0) return;
    if (!many) items.forEach((item) => item.forget());
    items = many ? [...items, ...fresh] : fresh.slice(0, 1);
    draw();
    tell();
  };
  const tell = () => made.setError(items.length > 0 ? check() : null);
  const check = () => {
    for (const { file, duration } of items) {
      if (file.type && !rule.mimes.includes(file.type)) return `${file.name} is ${file.type}, which is not accepted. Use ${rule.mimes.join(', ')}.`;
      if (file.size === 0) return `${file.name} is empty.`;
      if (file.size > rule.max_bytes) return `${file.name} has ${size(file.size)}; at most ${size(rule.max_bytes)} are accepted.`;
      if (duration > longest) return `${file.name} plays ${seconds(duration)}; this account may post at most ${seconds(longest)}.`;
    }
    if (items.length < rule.min_count) return rule.min_count === 1 ? 'Choose a file.' : `Choose at least ${rule.min_count} files.`;
    return items.length > rule.max_count ? `Choose at most ${rule.max_count} files.` : null;
  };

  input.addEventListener('change', () => take(input.files));
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
    value: () => items.map((item) => item.file),
    dispose: () => items.forEach((item) => item.forget()),
  };
}

/** A file with its preview. `onKnown` is called when its play time is known. */
function previewed(file, many, onKnown) {
  const caption = many ? el('figcaption', { class: 'small' }, el('bdi', {}, file.name)) : null;
  if (file.type.startsWith('video/')) {
    const address = URL.createObjectURL(file);
    const video = el('video', { controls: true, playsinline: true, preload: 'metadata', 'aria-label': `Preview of ${file.name}` });
    const item = { file, duration: null, preview: el('figure', {}, video, caption), forget: () => URL.revokeObjectURL(address) };
    video.addEventListener('loadedmetadata', () => {
      if (Number.isFinite(video.duration)) item.duration = video.duration;
      onKnown();
    });
    video.addEventListener('error', () => video.replaceWith(noPreview()), { once: true });
    video.src = address;
    return item;
  }
  const canvas = el('canvas', { role: 'img', 'aria-label': `Preview of ${file.name}` });
  const item = { file, duration: null, preview: el('figure', {}, canvas, caption), forget: () => {} };
  draw(file, canvas).catch(() => canvas.replaceWith(noPreview()));
  return item;
}

const noPreview = () => el('p', { class: 'empty' }, 'This browser cannot show the file. It can still be published.');

// Pages may load pictures from this host alone, so a local one is painted instead of loaded.
async function draw(file, canvas) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, 720 / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
}

function urlPicker(rule) {
  const many = rule.max_count > 1;
  const control = many
    ? el('textarea', { rows: 4, spellcheck: 'false', autocapitalize: 'off' })
    : el('input', { type: 'url', autocomplete: 'off', spellcheck: 'false', placeholder: 'https://' });
  const help = [
    many ? `One address a line, ${rule.min_count} to ${rule.max_count}.` : null,
    'Public, https, without a redirect; some platforms want its domain registered with them.',
    'It is not loaded here, so there is no preview.',
  ];
  const made = field({ id: 'url', label: many ? 'Addresses' : `Address of the ${human(rule.kind).toLowerCase()}`, help: help.filter(Boolean).join(' '), control });
  const value = () => control.value.split(/\s+/).filter(Boolean);
  const check = () => {
    const urls = value();
    const bad = urls.find((text) => !/^https:\/\/[^/]/i.test(text));
    if (bad) return `${bad.slice(0, 80)} is not an https address.`;
    if (urls.length < rule.min_count) return rule.min_count === 1 ? 'Give an address.' : `Give at least ${rule.min_count} addresses.`;
    return urls.length > rule.max_count ? `Give at most ${rule.max_count === 1 ? 'one address' : `${rule.max_count} addresses`}.` : null;
  };
  return { ...made, value, check };
}
