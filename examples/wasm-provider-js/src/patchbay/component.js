// The exports of the world `provider`, of the parts that a provider has.

import log from "patchbay:provider/log@0.1.0";

import { ProviderError } from "./error.js";

/** @import * as wit from "../wit.d.ts" */

/**
 * @typedef {object} OAuth The trait `OAuthProvider`; see core/src/oauth.rs for what each call means.
 * @property {(redirectUri: string) => string[]} [redirectIssues]
 * @property {(ctx: wit.Context) => wit.AppCheck} [checkApp]
 * @property {(ctx: wit.Context, request: wit.AuthorizeRequest) => wit.Authorize} authorize
 * @property {(ctx: wit.Context, callback: wit.Callback) => wit.Grant} exchange
 * @property {(ctx: wit.Context) => wit.Credentials} refresh
 * @property {(ctx: wit.Context) => wit.Identity} identity
 * @property {(ctx: wit.Context) => void} [revoke]
 */

/**
 * @typedef {object} Publisher The trait `Publisher`: core/src/publish.rs.
 * @property {(ctx: wit.Context) => wit.PublishOptions} [options]
 * @property {(post: wit.Post) => wit.FieldIssue[]} [validate]
 * @property {(ctx: wit.Context, post: wit.Post, at: wit.Checkpoint | null) => wit.Progress} advance
 * @property {(ctx: wit.Context, post: wit.Post, at: wit.Checkpoint | null, knownAs: string | null) => wit.Reconciled
 *   } [reconcile]
 * @property {(ctx: wit.Context, post: wit.Post, at: wit.Checkpoint | null) => wit.Cancelled} [cancel]
 * @property {(ctx: wit.Context, remoteIds: string[]) => wit.PostMetrics[]} [metrics]
 */

/**
 * @typedef {object} Webhooks The trait `WebhookSource`: core/src/webhook.rs.
 * @property {() => wit.WebhookAuth} auth
 * @property {(raw: wit.WebhookRequest) => wit.IncomingEvent[]} parse
 */

/** @type {wit.PublishOptions} */
const UNRESTRICTED = { canPost: { tag: "yes" }, creator: null, fields: [], maxVideoSeconds: null };

/**
 * Makes the exports. A call of a part that is not there never comes.
 * @param {object} provider
 * @param {wit.Manifest} provider.manifest
 * @param {(settings: Record<string, unknown>) => void} provider.open takes the settings of the operator, or throws an
 *   Error that says what is wrong with them; the first call of every instance
 * @param {OAuth} [provider.oauth]
 * @param {Publisher} [provider.publisher]
 * @param {Webhooks} [provider.webhooks]
 */
export function component({ manifest, open, oauth, publisher, webhooks }) {
  return {
    meta: traced({
      /** @param {string} settings */
      open(settings) {
        try {
          open(JSON.parse(settings));
        } catch (error) {
          throw error instanceof Error ? error.message : String(error);
        }
      },
      describe: () => [manifest, { oauth: !!oauth, publisher: !!publisher, webhooks: !!webhooks }],
    }),
    oauth: traced({ redirectIssues: () => [], checkApp: () => "not-offered", revoke() {}, ...oauth }),
    publisher: traced({
      options: () => UNRESTRICTED,
      validate: () => [],
      reconcile: () => ({ tag: "unknown" }),
      cancel: () => "too-late",
      metrics: () => [],
      ...publisher,
    }),
    webhooks: traced({ ...webhooks }),
  };
}

/**
 * The same functions. A bug in one of them is told in the operator's log, where it happened, before it ends the call.
 * @param {Record<string, any>} functions
 */
function traced(functions) {
  /** @param {(...values: any[]) => unknown} call */
  const trace = (call) => (/** @type {any[]} */ ...values) => {
    try {
      return call(...values);
    } catch (error) {
      if (error instanceof ProviderError) throw error.record();
      if (error instanceof Error) log.write("error", `${error}\n${error.stack}`);
      throw error;
    }
  };
  return Object.fromEntries(Object.entries(functions).map(([name, call]) => [name, trace(call)]));
}
