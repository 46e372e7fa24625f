// Publishing: make the post, then look until it is there. One step a call, at most one commit a step.

import * as api from "./api.js";
import { read, readCommit } from "./error.js";
import { HOUR, MINUTE, ProviderError, SECOND, between, isInteger, isText, object, send } from "./patchbay/index.js";

/** @import { Checkpoint, Context, FieldIssue, FollowUp, Post, Progress, Reconciled } from "./wit.d.ts" */

/** The first look. */
const FIRST_LOOK = 5 * SECOND;
/** The longest pause between two looks. */
const LAST_LOOK = 30 * MINUTE;
/** Processing for longer than this never ends. */
const PATIENCE = 24 * HOUR;

/** What is kept between steps: the platform's id of the post, and the instant at which it was made. */
const isWaiting = object({ post: isText, since: isInteger });

/** @param {Post} post @returns {FieldIssue[]} */
export function validate(post) {
  if (post.text?.trim()) return [];
  return [{ pointer: "/text", code: "required", message: "Give the text of the post." }];
}

/** @param {Context} ctx @param {Post} post @param {Checkpoint | null} at @returns {Progress} */
export function advance(ctx, post, at) {
  if (at === null) {
    const created = readCommit("post.create", send(api.create(post)), api.isCreated);
    return { tag: "continue", val: waitFor(created.id, ctx.now, FIRST_LOOK) };
  }
  const { post: id, since } = waiting(at);
  const shown = read("post.get", send(api.get(id)), api.isShown);
  switch (shown.state) {
    case "published":
      return {
        tag: "published",
        val: { publication: { remoteIds: [shown.id], url: shown.url ?? null }, followUp: null },
      };
    case "rejected":
      throw failed("rejected", "the platform has rejected the post");
    default: {
      const waited = between(since, ctx.now);
      if (waited > PATIENCE) throw failed("timeout", "the platform has worked on the post for a day");
      const pause = Math.min(Math.max(Math.trunc(waited / 4), FIRST_LOOK), LAST_LOOK);
      return { tag: "continue", val: waitFor(id, since, pause) };
    }
  }
}

/** Whether a post whose answer was lost is there. @param {Context} ctx @param {Post} post @returns {Reconciled} */
export function reconcile(ctx, post) {
  const [found] = read("post.find", send(api.find(post)), api.isFound).posts;
  if (found === undefined) return { tag: "did-not-happen", val: null };
  return { tag: "happened", val: { tag: "continue", val: waitFor(found.id, ctx.now, FIRST_LOOK) } };
}

/** @param {string} post @param {number} since @param {number} wakeAfter @returns {FollowUp} */
function waitFor(post, since, wakeAfter) {
  const state = JSON.stringify({ post, since });
  return { checkpoint: { phase: "processing", state, remoteRef: post, progress: null }, wakeAfter };
}

/** @param {Checkpoint} at */
function waiting({ phase, state }) {
  const kept = JSON.parse(state);
  if (isWaiting(kept)) return kept;
  throw new ProviderError("permanent", "checkpoint", `phase ${phase} is not readable`);
}

/** @param {string} code @param {string} what */
const failed = (code, what) => new ProviderError("permanent", code, `post.get: ${what}`);
