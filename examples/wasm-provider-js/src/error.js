// What Quill's codes mean: what the host does next, and a fixed sentence for people.
//
// Calls are refused with `{"error":{"code":"…"}}`, token calls with `{"error":"…"}` (RFC 6749, section 5.2).

import {
  ProviderError,
  classify,
  isSuccess,
  isText,
  object,
  parse,
  read as readAs,
  retryAfter,
} from "./patchbay/index.js";

/** @import { Is } from "./patchbay/index.js" */
/** @import { ErrorKind, HttpResponse } from "./wit.d.ts" */

const AGAIN = "Quill has ended this access. Connect the account again.";

/** What is not in the table is judged by its HTTP status. @type {Map<string, [ErrorKind, string]>} */
const TABLE = new Map([
  ["invalid_grant", ["reauth-required", AGAIN]],
  ["token_invalid", ["reauth-required", AGAIN]],
  ["text_too_long", ["invalid-request", "Quill takes no text as long as this one. Shorten it."]],
  ["duplicate", ["invalid-request", "Quill has this post already. Change its text."]],
  ["suspended", ["permanent", "Quill has suspended this account. Its owner can appeal there."]],
  ["too_many_posts", ["rate-limited", "Quill wants fewer posts. Patchbay waits as long as it says."]],
]);

/**
 * What a call says that changes nothing for others.
 * @template T @param {string} op @param {HttpResponse} response @param {Is<T>} is @returns {T}
 */
export function read(op, response, is) {
  return judged(op, response, is, (error) => error.kind);
}

/**
 * What a token call says. Only the code that ends a grant may end one: a proxy's 401 must not.
 * @template T @param {string} op @param {HttpResponse} response @param {Is<T>} is @returns {T}
 */
export function readToken(op, response, is) {
  return judged(op, response, is, ({ kind, code }) =>
    kind === "reauth-required" && code !== "invalid_grant" ? "retryable" : kind,
  );
}

/**
 * What an irreversible call says. Whatever is no plain refusal leaves open whether it was done.
 * @template T @param {string} op @param {HttpResponse} response @param {Is<T>} is @returns {T}
 */
export function readCommit(op, response, is) {
  return judged(op, response, is, ({ kind }) =>
    isSuccess(response) || kind === "retryable" ? "outcome-unknown" : kind,
  );
}

/**
 * @template T @param {string} op @param {HttpResponse} response @param {Is<T>} is
 * @param {(error: ProviderError) => ErrorKind} judge
 * @returns {T}
 */
function judged(op, response, is, judge) {
  try {
    if (!isSuccess(response)) throw refused(response);
    return readAs(response, is);
  } catch (error) {
    throw error instanceof ProviderError ? error.as(judge(error)).of(op) : error;
  }
}

/** The error of a refused call: by the platform's code, or else by the status. @param {HttpResponse} response */
function refused(response) {
  const byStatus = classify(response);
  const code = codeOf(response);
  if (code === null) return byStatus;
  const message = `HTTP status ${response.status}, ${code}`;
  const row = TABLE.get(code);
  if (row === undefined) return new ProviderError(byStatus.kind, code, message, byStatus);
  const [kind, advice] = row;
  const error = new ProviderError(kind, code, message, { advice });
  if (error.retryHelps) error.retryAfter = retryAfter(response);
  return error;
}

const isRefusal = object({ error: isText });
const isNested = object({ error: object({ code: isText }) });

/**
 * The platform's code, if it is a word. An answer's other texts are never repeated: they may hold anything.
 * @param {HttpResponse} response
 */
function codeOf(response) {
  const body = parse(response.body);
  const code = isNested(body) ? body.error.code : isRefusal(body) ? body.error : "";
  return /^[a-z_]{1,64}$/.test(code) ? code : null;
}
