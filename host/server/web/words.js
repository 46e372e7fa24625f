// States, sizes and times in plain words.

import { language, t } from './language.js';

/** State of a post: label, tone, and one sentence about it. */
export function postState(post, platform) {
  switch (post.status) {
    case 'draft':
      return [t('Draft'), 'muted', t('It waits until somebody publishes it.')];
    case 'queued':
      return [
        post.scheduled_at ? t('Scheduled') : t('Waiting'),
        'info',
        post.scheduled_at ? t('It starts {time}.', { time: when(post.scheduled_at) }) : t('It starts in a moment.'),
      ];
    case 'publishing':
      return [t('Publishing'), 'info', t('It is on its way to {platform}. This may take a few minutes.', { platform })];
    case 'inbox_delivered':
      return [t('In the inbox'), 'ok', t('The draft waits in the inbox of the {platform} app. Open the notification there to finish the post.', { platform })];
    case 'published':
      return [t('Published'), 'ok', t('{platform} has published it. It may take a few minutes until it shows on the profile.', { platform })];
    case 'failed':
      return [t('Not published'), 'bad', t('Nothing was published.')];
    case 'unconfirmed':
      return [
        t('Not confirmed'),
        'warn',
        t(
          '{platform} did not say whether the post arrived. Look in the {platform} app before you post it again: it may be there already. Patchbay does not send it a second time by itself.',
          { platform },
        ),
      ];
    case 'cancelled':
      return [t('Stopped'), 'muted', t('It was stopped before anything was published.')];
    default:
      return [human(post.status), 'info', ''];
  }
}

export const isOpen = (post) => post.status === 'queued' || post.status === 'publishing';

/** State of an account: label and tone. */
export function accountState(account) {
  const known = {
    active: [t('Connected'), 'ok'],
    reauth_required: [t('Connect again'), 'warn'],
    pending: [t('Not accepted yet'), 'warn'],
    revoked: [t('Disconnected'), 'muted'],
  };
  return known[account.status] ?? [human(account.status), 'info'];
}

export const accountName = (account) => account.display_name ?? (account.username ? `@${account.username}` : t('Account without a name'));

/** `PUBLIC_TO_EVERYONE` and `in_inbox` as people write them. */
export function human(text) {
  const words = String(text).replace(/[_-]+/g, ' ').trim().toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export const kindName = (kind) => ({ video: t('Video'), images: t('Pictures'), text: t('Text') })[kind] ?? human(kind);

export function size(bytes) {
  const units = [t('bytes'), 'kB', 'MB', 'GB'];
  let power = 0;
  while (bytes >= 1000 && power < units.length - 1) {
    bytes /= 1000;
    power += 1;
  }
  return `${power === 0 ? Math.round(bytes) : bytes.toLocaleString(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 })} ${units[power]}`;
}

export function seconds(total) {
  const [minutes, rest] = [Math.floor(total / 60), Math.round(total % 60)];
  if (minutes === 0) return `${rest} s`;
  return rest === 0 ? `${minutes} min` : `${minutes} min ${rest} s`;
}

/** The window of a quota: "24 hours". */
export function span(total) {
  if (total < 3600) return t('{count} minutes', { count: Math.round(total / 60) });
  if (total % 86400 === 0 && total > 86400) return t('{count} days', { count: total / 86400 });
  return total === 3600 ? t('one hour') : t('{count} hours', { count: Math.round(total / 3600) });
}

export const when = (time) => new Date(time).toLocaleString(language, { dateStyle: 'medium', timeStyle: 'short' });

/** A time of today by the clock alone, else with its date: "at 14:05", "on 3 May 2027, 14:05". */
export function clock(time) {
  const date = new Date(time);
  if (date.toDateString() !== new Date().toDateString()) return t('on {time}', { time: when(time) });
  return t('at {time}', { time: date.toLocaleTimeString(language, { timeStyle: 'short' }) });
}


export function ago(time) {
  const relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  const past = Math.round((new Date(time) - Date.now()) / 1000);
  if (past > -60) return t('just now');
  if (past > -3600) return relative.format(Math.round(past / 60), 'minute');
  if (past > -86400) return relative.format(Math.round(past / 3600), 'hour');
  return relative.format(Math.round(past / 86400), 'day');
}
