// Brings one file to this host, in pieces, by tus 1.0: what has arrived stays there,
// so an upload can pause, lose the connection, and go on after a reload of the page when the same file is chosen again.

import { Problem, label } from './api.js';
import { t } from './language.js';

const PLACE = '/api/media/uploads';
const PIECE_BYTES = 4 * 1024 * 1024;
const TUS = { 'Tus-Resumable': '1.0.0' };
/** Waits between tries of a connection that is lost, in milliseconds. A browser that says it is back ends a wait. */
const WAITS = [1_000, 2_000, 5_000, 10_000];
/** How far back the speed looks, in milliseconds. */
const SPEED_MS = 4_000;
const KEY = 'patchbay.upload';

/** The same file is known by these. */
const fingerprint = (file) => `${file.name}/${file.size}/${file.lastModified}`;

/** An upload of this tab that has not ended: `{ name, size, sent }`, or `null`. */
export function unfinished() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

export const forget = () => sessionStorage.removeItem(KEY);

/** One file on its way. `onState` gets `{ state, sent, total, bytesPerSecond, secondsLeft, resumable }`. */
export class Transfer {
  constructor(api, file, onState) {
    this.api = api;
    this.file = file;
    this.onState = onState;
    this.sent = 0;
    this.paused = false;
    this.resumable = true;
    this.marks = [];
    this.wake = () => {};
  }

  /** Sends the file and returns what the host knows of it. */
  async run() {
    this.cancelled = false;
    let place = await this.known();
    place ??= await this.create();
    if (!place) return this.atOnce();
    let tries = 0;
    while (this.sent < this.file.size) {
      if (this.cancelled) throw stopped();
      if (this.paused) {
        this.tell('paused');
        await this.sleep();
        continue;
      }
      try {
        await this.piece(place);
        tries = 0;
      } catch (problem) {
        if (this.cancelled) {
          this.api.raw('DELETE', place.path, { headers: TUS }).catch(() => {});
          forget();
          throw stopped();
        }
        if (this.paused) continue;
        if (problem.status === 404 || problem.status === 410) {
          // Given up by the host, or another key's: from the beginning.
          forget();
          place = await this.create();
          continue;
        }
        const passing = problem.status === 0 || problem.status === 409 || problem.status === 423 || problem.status >= 500;
        if (!passing) throw problem;
        this.tell('waiting');
        await this.sleep(WAITS[Math.min(tries, WAITS.length - 1)]);
        tries += 1;
        await this.look(place).catch(() => {});
      }
    }
    this.tell('checking');
    const media = await this.api.get(`/api/media/${place.id}`);
    forget();
    return media;
  }

  pause() {
    this.paused = true;
    this.abort?.abort();
  }

  resume() {
    this.paused = false;
    this.marks = [];
    this.wake();
  }

  cancel() {
    this.cancelled = true;
    this.abort?.abort();
    this.wake();
  }

  /** The upload that an earlier life of this page began with the same file. */
  async known() {
    const kept = unfinished();
    if (kept?.file !== fingerprint(this.file)) return null;
    const place = { path: kept.path, id: kept.id };
    const found = await this.look(place).catch(() => null);
    return found ? place : null;
  }

  async look(place) {
    const answer = await this.api.raw('HEAD', place.path, { headers: TUS });
    if (answer.status !== 200) throw new Problem({}, answer.status);
    this.sent = Number(answer.header('Upload-Offset'));
    return true;
  }

  async create() {
    this.sent = 0;
    const name = btoa(String.fromCharCode(...new TextEncoder().encode(label(this.file.name))));
    const headers = { ...TUS, 'Upload-Length': String(this.file.size), 'Upload-Metadata': `filename ${name}` };
    const answer = await this.api.raw('POST', PLACE, { headers });
    if (answer.status === 404 || answer.status === 405) return null;
    if (answer.status !== 201) throw new Problem(answer.body, answer.status);
    const place = { path: new URL(answer.header('Location'), location.origin).pathname, id: answer.header('Patchbay-Media-Id') };
    this.keep(place);
    return place;
  }

  keep(place) {
    const { name, size } = this.file;
    sessionStorage.setItem(KEY, JSON.stringify({ ...place, file: fingerprint(this.file), name, size, sent: this.sent }));
  }

  async piece(place) {
    const from = this.sent;
    this.abort = new AbortController();
    this.tell('sending');
    const answer = await this.api.raw('PATCH', place.path, {
      headers: { ...TUS, 'Upload-Offset': String(from), 'Content-Type': 'application/offset+octet-stream' },
      body: this.file.slice(from, from + PIECE_BYTES),
      signal: this.abort.signal,
      onProgress: (done) => this.tell('sending', from + done),
    });
    if (answer.status !== 204) throw new Problem(answer.body, answer.status);
    this.sent = Number(answer.header('Upload-Offset'));
    this.keep(place);
  }

  /** For a host without resumable uploads: the whole file in one request. */
  async atOnce() {
    this.resumable = false;
    this.abort = new AbortController();
    const answer = await this.api.raw('POST', `/api/media?name=${encodeURIComponent(label(this.file.name))}`, {
      headers: { 'Content-Type': this.file.type || 'application/octet-stream' },
      body: this.file,
      signal: this.abort.signal,
      onProgress: (done) => this.tell('sending', Math.min(done, this.file.size)),
    });
    if (answer.status !== 201) throw new Problem(answer.body, answer.status);
    return answer.body;
  }

  tell(state, sent = this.sent) {
    const now = performance.now();
    this.marks = [...this.marks.filter((mark) => mark.at > now - SPEED_MS), { at: now, sent }];
    const [first] = this.marks;
    const bytesPerSecond = now - first.at > 500 ? ((sent - first.sent) * 1000) / (now - first.at) : null;
    const total = this.file.size;
    const secondsLeft = bytesPerSecond > 0 ? (total - sent) / bytesPerSecond : null;
    this.onState({ state, sent, total, bytesPerSecond, secondsLeft, resumable: this.resumable });
  }

  /** Until `resume` or `cancel`, or the browser is back online, or the time is over. */
  sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = milliseconds ? setTimeout(resolve, milliseconds) : null;
      const end = () => {
        clearTimeout(timer);
        removeEventListener('online', end);
        resolve();
      };
      this.wake = end;
      if (milliseconds) addEventListener('online', end);
    });
  }
}

const stopped = () => new Problem({ title: t('Stopped'), detail: t('The upload was stopped.'), code: 'stopped' });
