// Calls to the platform: the only way out, and what comes back.

import http from "patchbay:provider/http@0.1.0";

import { ProviderError } from "./error.js";
import { decode } from "./text.js";
import { DAY, SECOND } from "./time.js";

/** @import { Is } from "./shape.js" */
/** @import { Auth, Body, HttpRequest, HttpResponse, TransportError, Value } from "../wit.d.ts" */

/** A value for a form, a query or a header. @param {string} val @returns {Value} */
export const text = (val) => ({ tag: "text", val });

/** A secret for one, by its handle. @param {string} val @returns {Value} */
export const secret = (val) => ({ tag: "secret", val });

/** With the account's token. @type {Auth} */
export const AS_ACCOUNT = { tag: "account-bearer" };

/**
 * A request.
 * @param {string} op a row of the manifest, which has the method
 * @param {string} url
 * @param {{ auth?: Auth, query?: Record<string, Value>, body?: Body }} [more]
 * @returns {HttpRequest}
 */
export function request(op, url, { auth = { tag: "none" }, query = {}, body = { tag: "empty" } } = {}) {
  return {
    op,
    target: { tag: "url", val: url },
    query: Object.entries(query),
    headers: [],
    auth,
    body,
    mediaUrls: [],
    bodySecrets: [],
  };
}

/** A body of fields. @param {Record<string, Value>} fields @returns {Body} */
export const form = (fields) => ({ tag: "form", val: Object.entries(fields) });

/** A body of JSON. @param {unknown} value @returns {Body} */
export const json = (value) => ({ tag: "json", val: JSON.stringify(value) });

/** Sends a request. An answer of any status is returned. @param {HttpRequest} request */
export function send(request) {
  try {
    return http.send(request);
  } catch (error) {
    throw unanswered(/** @type {TransportError} */ (error)).of(request.op);
  }
}

/** @param {TransportError} error */
function unanswered(error) {
  switch (error.tag) {
    case "not-sent":
      return new ProviderError("retryable", "not_sent", `not sent: ${error.val}`);
    case "lost": {
      // What others can see is done twice by whoever sends again.
      const kind = error.val.effect === "commit" ? "outcome-unknown" : "retryable";
      return new ProviderError(kind, "answer_lost", `sent, but the answer was lost: ${error.val.reason}`);
    }
    case "earlier-unknown":
      return new ProviderError("outcome-unknown", "answer_lost", "an earlier send has no known outcome");
    case "blocked":
      return new ProviderError("permanent", "blocked", `blocked: ${error.val}`);
    case "missing-scope":
      return new ProviderError("reauth-required", "missing_scope", `the account was not granted ${error.val}`, {
        advice: "The account did not grant a permission that this needs. Connect it again and agree to it.",
      });
    case "no-slot":
      return new ProviderError("rate-limited", "rate_slot", `no free slot in bucket ${error.val.bucket}`, {
        retryAfter: error.val.wait,
      });
    default:
      return error;
  }
}

/** 200 to 299. @param {HttpResponse} response */
export const isSuccess = ({ status }) => status >= 200 && status < 300;

/**
 * Reads an answer's body as JSON of a shape.
 * @template T
 * @param {HttpResponse} response
 * @param {Is<T>} is
 * @returns {T}
 */
export function read(response, is) {
  const value = parse(response.body);
  if (is(value)) return value;
  if (!isSuccess(response)) throw classify(response);
  const what = value === undefined ? "is not JSON" : "lacks a field or has one of another type";
  throw new ProviderError("permanent", "unexpected_answer", `the answer ${what}`);
}

/** JSON of bytes, or `undefined`. @param {Uint8Array} bytes @returns {unknown} */
export function parse(bytes) {
  try {
    return JSON.parse(decode(bytes), (_, value) => {
      // "\ud800" alone is no character, and crosses to nobody.
      if (typeof value === "string" && !value.isWellFormed()) throw new SyntaxError("half a character");
      return value;
    });
  } catch {
    return undefined;
  }
}

/**
 * The default class of a refusal, by status alone, for when the platform's own code says nothing.
 * @param {HttpResponse} response
 */
export function classify(response) {
  const [kind, code] = byStatus(response.status);
  const error = new ProviderError(kind, code, `HTTP status ${response.status}`);
  if (error.retryHelps) error.retryAfter = retryAfter(response);
  return error;
}

/** @param {number} status @returns {[import("../wit.d.ts").ErrorKind, string]} */
function byStatus(status) {
  if (status === 401) return ["reauth-required", "unauthorized"];
  if (status === 403) return ["permanent", "forbidden"];
  if (status === 404) return ["permanent", "not_found"];
  if (status === 408 || status === 425) return ["retryable", "timeout"];
  if (status === 429) return ["rate-limited", "rate_limited"];
  if (status >= 400 && status < 500) return ["invalid-request", "refused"];
  if (status >= 500 && status < 600) return ["retryable", "server_error"];
  return ["permanent", "unexpected_status"];
}

/**
 * `Retry-After` (RFC 9110, section 10.2.3), seconds or a date, in milliseconds from now: at most a day.
 * @param {HttpResponse} response
 */
export function retryAfter({ headers, receivedAt }) {
  const value = headers.find(([name]) => name.toLowerCase() === "retry-after")?.[1].trim() ?? "";
  const wait = /^\d+$/.test(value) ? Number(value) * SECOND : Date.parse(value) - receivedAt / 1000;
  return Number.isNaN(wait) ? null : Math.trunc(Math.min(Math.max(wait, 0), DAY));
}
