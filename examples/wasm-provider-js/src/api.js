// Quill's calls: per call one function that builds the request, and the shape of its answer. Nothing is sent here.

import { API, SITE } from "./manifest.js";
import {
  AS_ACCOUNT,
  base64url,
  form,
  isCount,
  isText,
  json,
  listOf,
  object,
  optional,
  request,
  secret,
  segment,
  text,
  url,
} from "./patchbay/index.js";

/** @import { AppCredentials, AuthorizeRequest, Callback, Post } from "./wit.d.ts" */

/** Where the browser goes. @param {AppCredentials} app @param {AuthorizeRequest} asked */
export const authorizeUrl = (app, asked) =>
  url(SITE, "/oauth/authorize", {
    response_type: "code",
    client_id: app.clientId,
    redirect_uri: asked.redirectUri,
    scope: asked.scopes.join(" "),
    state: asked.state,
    code_challenge: base64url(asked.pkce.digest),
    code_challenge_method: "S256",
  });

/** Who asks. @param {AppCredentials} app */
const client = (app) => ({ client_id: text(app.clientId), client_secret: secret(app.clientSecret) });

/** Tokens for a code. @param {AppCredentials} app @param {Callback} callback */
export const exchange = (app, callback) =>
  request("token.exchange", url(API, "/oauth/token"), {
    body: form({
      grant_type: text("authorization_code"),
      ...client(app),
      code: secret(callback.code),
      code_verifier: secret(callback.pkceVerifier),
      redirect_uri: text(callback.redirectUri),
    }),
  });

/** New tokens for a refresh token. @param {AppCredentials} app @param {string} token */
export const refresh = (app, token) =>
  request("token.refresh", url(API, "/oauth/token"), {
    body: form({ grant_type: text("refresh_token"), ...client(app), refresh_token: secret(token) }),
  });

/** The answer to both. The host has put handles in the place of the tokens. */
export const isTokens = object({
  access_token: isText,
  /** Absent where the old one goes on (RFC 6749, section 6). */
  refresh_token: optional(isText),
  /** Seconds. */
  expires_in: isCount,
  /** With spaces between them. */
  scope: isText,
});

/** Ends a grant. @param {AppCredentials} app @param {string} token */
export const revoke = (app, token) =>
  request("token.revoke", url(API, "/oauth/revoke"), { body: form({ ...client(app), token: secret(token) }) });

/** Whose token it is. @param {import("./wit.d.ts").Auth} auth */
export const me = (auth) => request("me", url(API, "/v1/me"), { auth });

export const isMe = object({ id: isText, name: isText, handle: isText });

/** Makes a post. `client_ref` is ours: by it a post is found whose answer was lost. @param {Post} post */
export const create = (post) =>
  request("post.create", url(API, "/v1/posts"), {
    auth: AS_ACCOUNT,
    body: json({ text: post.text, client_ref: post.id }),
  });

export const isCreated = object({ id: isText });

/** Posts with our name for this one. @param {Post} post */
export const find = (post) =>
  request("post.find", url(API, "/v1/posts"), { auth: AS_ACCOUNT, query: { client_ref: text(post.id) } });

/** How a post is doing. @param {string} id */
export const get = (id) => request("post.get", url(API, `/v1/posts/${segment(id)}`), { auth: AS_ACCOUNT });

/** `state` is `processing`, `published` or `rejected`, and what Quill adds to its list one day. */
export const isShown = object({ id: isText, state: isText, url: optional(isText) });

export const isFound = object({ posts: listOf(isShown) });
