// States, sizes and times in plain words.

/** State of a post: label, tone, and one sentence about it. */
export function postState(post, platform) {
  switch (post.status) {
    case 'queued':
      return ['Waiting', 'info', post.scheduled_at ? `It starts ${when(post.scheduled_at)}.` : 'It starts in a moment.'];
    case 'publishing':
      return ['Publishing', 'info', `It is on its way to ${platform}. This may take a few minutes.`];
    case 'inbox_delivered':
      return ['In the inbox', 'ok', `The draft waits in the inbox of the ${platform} app. Open the notification there to finish the post.`];
    case 'published':
      return ['Published', 'ok', `${platform} has published it. It may take a few minutes until it shows on the profile.`];
    case 'failed':
      return ['Not published', 'bad', 'Nothing was published.'];
    case 'unconfirmed':
      return [
        'Not confirmed',
        'warn',
        `${platform} did not say whether the post arrived. Look in the ${platform} app before you post it again: it may be there already. Patchbay does not send it a second time by itself.`,
      ];
    case 'cancelled':
      return ['Stopped', 'muted', 'It was stopped before anything was published.'];
    default:
      return [human(post.status), 'info', ''];
  }
}

export const isOpen = (post) => post.status === 'queued' || post.status === 'publishing';

/** State of an account: label and tone. */
export function accountState(account) {
  const known = {
    active: ['Connected', 'ok'],
    reauth_required: ['Connect again', 'warn'],
    pending: ['Not accepted yet', 'warn'],
    revoked: ['Disconnected', 'muted'],
  };
  return known[account.status] ?? [human(account.status), 'info'];
}

export const accountName = (account) => account.display_name ?? (account.username ? `@${account.username}` : 'Account without a name');

/** `PUBLIC_TO_EVERYONE` and `in_inbox` as people write them. */
export function human(text) {
  const words = String(text).replace(/[_-]+/g, ' ').trim().toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const KINDS = { video: 'Video', images: 'Pictures', text: 'Text' };
export const kindName = (kind) => KINDS[kind] ?? human(kind);

export function size(bytes) {
  const units = ['bytes', 'kB', 'MB', 'GB'];
  let power = 0;
  while (bytes >= 1000 && power < units.length - 1) {
    bytes /= 1000;
    power += 1;
  }
  return `${power === 0 ? bytes : bytes.toFixed(1)} ${units[power]}`;
}

export function seconds(total) {
  const [minutes, rest] = [Math.floor(total / 60), Math.round(total % 60)];
  if (minutes === 0) return `${rest} s`;
  return rest === 0 ? `${minutes} min` : `${minutes} min ${rest} s`;
}

/** The window of a quota: "24 hours". */
export function span(total) {
  const [count, unit] = total % 86400 === 0 && total > 86400 ? [total / 86400, 'day'] : [Math.round(total / 3600), 'hour'];
  if (total < 3600) return `${Math.round(total / 60)} minutes`;
  return count === 1 ? unit : `${count} ${unit}s`;
}

export const when = (time) => new Date(time).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });

export function ago(time) {
  const past = Math.round((new Date(time) - Date.now()) / 1000);
  if (past > -60) return 'just now';
  if (past > -3600) return relative.format(Math.round(past / 60), 'minute');
  if (past > -86400) return relative.format(Math.round(past / 3600), 'hour');
  return relative.format(Math.round(past / 86400), 'day');
}
