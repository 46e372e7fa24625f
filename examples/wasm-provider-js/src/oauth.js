// Connecting accounts.

import * as api from "./api.js";
import { read, readToken } from "./error.js";
import { AS_ACCOUNT, ProviderError, SECOND, isAnything, send } from "./patchbay/index.js";

/** @import { AccountView, Authorize, AuthorizeRequest, Callback, Context } from "./wit.d.ts" */
/** @import { Credentials, Grant, Identity, Secret } from "./wit.d.ts" */

const ACCESS = "access_token";
const REFRESH = "refresh_token";

/** @param {Context} ctx @param {AuthorizeRequest} request @returns {Authorize} */
export function authorize(ctx, request) {
  return { tag: "redirect", val: { url: api.authorizeUrl(ctx.app, request), pending: "null" } };
}

/** @param {Context} ctx @param {Callback} callback @returns {Grant} */
export function exchange(ctx, callback) {
  const tokens = readToken("token.exchange", send(api.exchange(ctx.app, callback)), api.isTokens);
  const me = read("me", send(api.me({ tag: "bearer", val: tokens.access_token })), api.isMe);
  return {
    credentials: credentials(tokens, null),
    identities: [identityOf(me)],
    scopes: tokens.scope.split(/\s+/).filter((scope) => scope !== ""),
  };
}

/** @param {Context} ctx @returns {Credentials} */
export function refresh(ctx) {
  const current = refreshToken(account(ctx));
  const tokens = readToken("token.refresh", send(api.refresh(ctx.app, current)), api.isTokens);
  return credentials(tokens, current);
}

/** @param {Context} ctx @returns {Identity} */
export function identity(ctx) {
  const found = identityOf(read("me", send(api.me(AS_ACCOUNT)), api.isMe));
  // A token of somebody else must never end up in an account.
  if (found.remoteId === account(ctx).remoteId) return found;
  throw new ProviderError("permanent", "another_account", "me: the answer is about another account");
}

/** A grant that is gone already is a success (RFC 7009). @param {Context} ctx */
export function revoke(ctx) {
  readToken("token.revoke", send(api.revoke(ctx.app, refreshToken(account(ctx)))), isAnything);
}

/** Of a call that is about one. @param {Context} ctx @returns {AccountView} */
function account(ctx) {
  if (ctx.account === null) throw new ProviderError("permanent", "no_account", "this call has no account");
  return ctx.account;
}

/** @param {AccountView} account */
function refreshToken({ credentials }) {
  const found = credentials.secrets.find(([name]) => name === REFRESH);
  if (found === undefined) throw new ProviderError("reauth-required", "missing_credential", `no credential ${REFRESH}`);
  return found[1];
}

/**
 * What is stored. Where no new refresh token came, the current one goes on.
 * @param {{ access_token: string, refresh_token?: string | null, expires_in: number }} tokens
 * @param {string | null} current
 * @returns {Credentials}
 */
function credentials(tokens, current) {
  const refresh = tokens.refresh_token ?? current;
  /** @type {[string, Secret][]} */
  const secrets = [[ACCESS, tokens.access_token]];
  if (refresh !== null) secrets.push([REFRESH, refresh]);
  return {
    secrets,
    server: null,
    lifetimes: { access: tokens.expires_in * SECOND, refresh: null, refreshNotBefore: null },
  };
}

/** @param {{ id: string, name: string, handle: string }} me @returns {Identity} */
function identityOf(me) {
  return { remoteId: me.id, displayName: me.name, username: me.handle, avatarUrl: null, profileUrl: null };
}
