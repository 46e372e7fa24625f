// TikTok's controls on the simulator page: accounts, posts with what a user can do to them, switches.
"use strict";

(() => {
  const { call, row, button, act, onRefresh } = simulator;
  const host = document.getElementById("platform");

  function section(title, head) {
    const element = document.createElement("section");
    const heading = document.createElement("h2");
    heading.textContent = title;
    element.append(heading);
    host.append(element);
    if (!head) return element;
    const table = document.createElement("table");
    const thead = document.createElement("thead");
    const tr = document.createElement("tr");
    for (const name of head) {
      const th = document.createElement("th");
      th.textContent = name;
      tr.append(th);
    }
    thead.append(tr);
    const tbody = document.createElement("tbody");
    table.append(thead, tbody);
    element.append(table);
    return tbody;
  }

  const posts = section("Posts", ["Account", "Flow", "Title", "Privacy", "State", "Post ids", "The user …"]);
  const accounts = section("Accounts", ["User", "Open id", "Settings", "Inits", "Posted", "Drafts", ""]);
  const switchesSection = section("Switches");
  const text = document.createElement("textarea");
  text.rows = 12;
  text.setAttribute("aria-label", "Switches as JSON");
  switchesSection.append(text, button("Change", () => call("PATCH", "/_admin/switches", JSON.parse(text.value))));

  function actions(post) {
    const span = document.createElement("span");
    const path = `/_admin/posts/${encodeURIComponent(post.publish_id)}`;
    const add = (label, step, body) => span.append(button(label, () => call("POST", `${path}/${step}`, body)));
    if (post.flow === "inbox" && ["SEND_TO_USER_INBOX", "PUBLISH_COMPLETE"].includes(post.status) && !post.discarded) add("posts the draft", "publish", {});
    if (post.flow === "inbox" && post.status === "SEND_TO_USER_INBOX" && !post.discarded) add("discards it", "discard", {});
    if (post.published.some((p) => !p.deleted)) add("deletes it", "delete", {});
    if (post.status.startsWith("PROCESSING")) add("(platform fails it)", "fail", { reason: "internal" });
    return span;
  }

  onRefresh(async (oracle) => {
    posts.replaceChildren(...oracle.posts.slice(-50).reverse().map((p) => row([
      `@${p.account}`, p.flow, p.wishes.title, p.wishes.privacy, [p.status, p.fail_reason, p.discarded ? "discarded" : ""].filter(Boolean).join(" "),
      p.published.map((x) => x.post_id + (x.deleted ? " (deleted)" : x.announced ? "" : " (not public)")).join(", "), actions(p),
    ])));
    const settings = await call("GET", "/_admin/accounts");
    const effects = new Map(oracle.accounts.map((a) => [a.username, a.effects]));
    accounts.replaceChildren(...settings.map((a) => {
      const e = effects.get(a.username) ?? {};
      const toggle = (name) => button(`${a[name] ? "unset" : "set"} ${name}`, () => call("PATCH", `/_admin/accounts/${encodeURIComponent(a.username)}`, { [name]: !a[name] }));
      const span = document.createElement("span");
      span.append(toggle("private"), toggle("comment_disabled"), toggle("banned"),
        button("disconnects the app", () => call("POST", `/_admin/accounts/${encodeURIComponent(a.username)}/disconnect`, {})));
      const notes = ["private", "comment_disabled", "duet_disabled", "stitch_disabled", "banned", "old_app"].filter((n) => a[n]);
      return row([`@${a.username}`, a.open_id, notes.join(", "), e.inits, e.posted, e.drafts, span]);
    }));
    if (document.activeElement !== text) text.value = JSON.stringify(await call("GET", "/_admin/switches"), null, 2);
  });
})();
