// What an answer must look like. A predicate says it, and tells the type checker too.

/** @template T @typedef {(value: unknown) => value is T} Is */

/** @type {Is<string>} */
export const isText = (value) => typeof value === "string";

/** A whole number of which no digit is lost. @type {Is<number>} */
export const isInteger = (value) => Number.isSafeInteger(value);

/** One that is not below zero. @type {Is<number>} */
export const isCount = (value) => isInteger(value) && value >= 0;

/** @type {Is<unknown>} */
export const isAnything = (value) => value !== undefined;

/** May be absent. @template T @param {Is<T>} is @returns {Is<T | null | undefined>} */
export const optional =
  (is) =>
  /** @returns {value is T | null | undefined} */ (value) =>
    value === undefined || value === null || is(value);

/** @template T @param {Is<T>} is @returns {Is<T[]>} */
export const listOf =
  (is) =>
  /** @returns {value is T[]} */ (value) =>
    Array.isArray(value) && value.every((item) => is(item));

/**
 * An object with at least these fields.
 * @template {Record<string, any>} T
 * @param {{ [K in keyof T]: Is<T[K]> }} fields
 * @returns {Is<T>}
 */
export const object =
  (fields) =>
  /** @returns {value is T} */ (value) => {
    if (typeof value !== "object" || value === null) return false;
    const found = /** @type {Record<string, unknown>} */ (value);
    return Object.entries(fields).every(([name, is]) => is(found[name]));
  };
