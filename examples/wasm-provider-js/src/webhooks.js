// Webhooks: how Quill signs them, and what they mean. The host verifies; the secret is the app's.

import {
  MINUTE,
  ProviderError,
  isAnything,
  isInteger,
  isText,
  object,
  optional,
  parse as parseJson,
} from "./patchbay/index.js";

/** @import { EventKind, IncomingEvent, WebhookAuth, WebhookRequest } from "./wit.d.ts" */

/** @returns {WebhookAuth} */
export function auth() {
  return {
    schemes: [
      {
        name: "quill",
        header: "quill-signature",
        format: { tag: "timestamp-and-mac", val: { timestamp: "t", mac: "s" } },
        signed: [{ tag: "timestamp" }, { tag: "literal", val: "." }, { tag: "body" }],
        encoding: "hex",
        tolerance: 5 * MINUTE,
      },
    ],
  };
}

/** `at` is Unix time in seconds. */
const isHook = object({
  id: isText,
  type: isText,
  at: isInteger,
  account: optional(isText),
  post: optional(isText),
  data: optional(isAnything),
});

/** @param {WebhookRequest} raw @returns {IncomingEvent[]} */
export function parse(raw) {
  const hook = parseJson(raw.body);
  if (!isHook(hook) || hook.id === "" || hook.type === "") {
    throw new ProviderError("permanent", "malformed_webhook", "the body is not what is documented");
  }
  const occurredAt = hook.at * 1_000_000;
  return [
    {
      name: hook.type,
      kind: kindOf(hook.type, hook.post ?? null),
      remoteAccount: hook.account ?? null,
      remoteRef: hook.post ?? null,
      // The same for two deliveries of one event, another for another event.
      dedupeKey: hook.id,
      occurredAt: Number.isSafeInteger(occurredAt) ? occurredAt : null,
      payload: JSON.stringify(hook.data ?? null),
    },
  ];
}

/**
 * The events that mean something here. All others are kept for consumers.
 * @param {string} type @param {string | null} post @returns {EventKind}
 */
function kindOf(type, post) {
  if (type === "access.revoked") return { tag: "authorization-removed", val: "user_disconnected" };
  if (post !== null && (type === "post.live" || type === "post.rejected")) return { tag: "post-progress" };
  if (post !== null && type === "post.removed") return { tag: "post-hidden", val: [post] };
  return { tag: "other" };
}
