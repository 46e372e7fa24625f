// Errors of a provider, by what the host does next.

/** @import * as wit from "../wit.d.ts" */
/** @import { ErrorKind, WhoActs } from "../wit.d.ts" */

/** A failed call to the platform, or a provider's own refusal. Whatever else is thrown is a bug, and ends the call. */
export class ProviderError extends Error {
  /**
   * @param {ErrorKind} kind what the host does next
   * @param {string} code the platform's own, or one of ours: a name, never free text
   * @param {string} message for operators
   * @param {{ advice?: string | null, who?: WhoActs | null, retryAfter?: number | null, quota?: string | null }} [more]
   *   `advice`: a fixed sentence for people. `retryAfter`: milliseconds from now. `quota`: of the manifest, used up
   */
  constructor(kind, code, message, { advice = null, who = null, retryAfter = null, quota = null } = {}) {
    super(message);
    this.kind = kind;
    this.code = code;
    this.advice = advice;
    this.who = who;
    this.retryAfter = retryAfter;
    this.quota = quota;
  }

  /** The same with another kind. @param {ErrorKind} kind */
  as(kind) {
    return new ProviderError(kind, this.code, this.message, this);
  }

  /** The same with the name of a call before its message. @param {string} op */
  of(op) {
    return new ProviderError(this.kind, this.code, `${op}: ${this.message}`, this);
  }

  /** As it crosses to the host: a thrown `Error` would be a trap. @returns {wit.ProviderError} */
  record() {
    return { ...this, message: this.message };
  }

  /** Whether running the same step again, later and unchanged, can help. */
  get retryHelps() {
    return this.kind === "retryable" || this.kind === "rate-limited";
  }
}
