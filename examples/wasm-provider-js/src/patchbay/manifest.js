// Rows of the manifest.

import { SECOND } from "./time.js";

/** @import { Effect, Op } from "../wit.d.ts" */

/**
 * A call that the provider makes, with the usual limits: 30 s, 64 KiB.
 * @param {string} name
 * @param {string} method
 * @param {string} host
 * @param {Effect} effect
 * @param {Partial<Op>} [more]
 * @returns {Op}
 */
export const op = (name, method, host, effect, more) => ({
  name,
  method,
  hosts: [host],
  accountServer: false,
  effect,
  buckets: [],
  scopes: [],
  secrets: [],
  timeout: 30 * SECOND,
  maxAnswerBytes: 64 * 1024,
  ...more,
});
