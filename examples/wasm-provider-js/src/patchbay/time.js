// Durations are milliseconds. Instants are microseconds since 1970.

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** The time between two instants, as a duration. @param {number} from @param {number} to */
export const between = (from, to) => Math.max(0, Math.trunc((to - from) / 1000));
