// Quill as data: what the host checks and counts before any code here runs.

import { MINUTE, op } from "./patchbay/index.js";

/** Where people agree. */
export const SITE = "quill.example";
/** Where its API is. */
export const API = "api.quill.example";

// All calls that it makes, each with what it does: what others can see afterwards is a `commit`.
const TOKENS = [
  { pointer: "/access_token", name: "access_token" },
  { pointer: "/refresh_token", name: "refresh_token" },
];
const OPS = [
  op("token.exchange", "POST", API, "prepare", { secrets: TOKENS }),
  op("token.refresh", "POST", API, "prepare", { secrets: TOKENS }),
  op("token.revoke", "POST", API, "prepare"),
  op("me", "GET", API, "observe"),
  op("post.create", "POST", API, "commit", { buckets: ["posts"], scopes: ["write"] }),
  op("post.find", "GET", API, "observe"),
  op("post.get", "GET", API, "observe"),
];

/** @type {import("./wit.d.ts").Manifest} */
export const MANIFEST = {
  id: "quill",
  displayName: "Quill",
  version: "0.1.0",
  docsUrl: "https://quill.example/developers",
  scopes: [
    { name: "read", purpose: "See the name of the account.", default: true },
    { name: "write", purpose: "Publish posts.", default: true },
  ],
  needs: [{ capability: "publish-direct", scopes: ["write"] }],
  ops: OPS,
  buckets: [{ name: "posts", limit: 30, window: MINUTE, scope: "account" }],
  quotas: [],
  kinds: [
    {
      kind: "text",
      modes: ["direct"],
      title: null,
      text: { max: 500, count: "code-point" },
      media: null,
      metrics: [],
    },
  ],
  options: [],
  form: { oneText: [], groups: [], exclusions: [], declarations: [], afterwards: null, translations: [] },
  browserHosts: [SITE],
};
