// Texts, bytes and URLs. QuickJS has no TextDecoder, no URL and no Buffer.

import { ProviderError } from "./error.js";

/** Bytes as text of which every character is one. @param {Uint8Array} bytes */
function binary(bytes) {
  let out = "";
  for (let at = 0; at < bytes.length; at += 1024) out += String.fromCharCode(...bytes.subarray(at, at + 1024));
  return out;
}

/** UTF-8 as text. @param {Uint8Array} bytes @throws {URIError} it is none */
export const decode = (bytes) => decodeURIComponent(escape(binary(bytes)));

/** RFC 4648, section 5, without padding. @param {Uint8Array} bytes */
export const base64url = (bytes) =>
  btoa(binary(bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/**
 * An https URL. Parameters are encoded.
 * @param {string} host
 * @param {string} path
 * @param {Record<string, string>} [query]
 */
export function url(host, path, query = {}) {
  const pairs = Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return `https://${host}${path}${pairs.length ? "?" : ""}${pairs.join("&")}`;
}

/** A text of the platform as one segment of a path: nothing in it may become another path. @param {string} text */
export function segment(text) {
  if (/^\.*$/.test(text)) throw new ProviderError("permanent", "unexpected_answer", "an id that is none");
  return encodeURIComponent(text);
}
