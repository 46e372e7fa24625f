// The control page's shared part. Platform scripts use simulator.call, simulator.row and simulator.onRefresh.
"use strict";

const simulator = (() => {
  const listeners = [];
  const byId = (id) => document.getElementById(id);

  async function call(method, path, body) {
    const init = { method };
    if (body !== undefined) {
      init.headers = { "content-type": "application/json" };
      init.body = JSON.stringify(body);
    }
    const answer = await fetch(path, init);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    byId("problem").textContent = "";
    return text ? JSON.parse(text) : null;
  }

  function row(cells) {
    const tr = document.createElement("tr");
    for (const cell of cells) {
      const td = document.createElement("td");
      if (cell instanceof Node) td.append(cell);
      else td.textContent = cell ?? "";
      tr.append(td);
    }
    return tr;
  }

  function button(label, action) {
    const element = document.createElement("button");
    element.type = "button";
    element.textContent = label;
    element.addEventListener("click", () => act(action));
    return element;
  }

  async function act(action) {
    try {
      await action();
      await refresh();
    } catch (error) {
      byId("problem").textContent = error.message;
    }
  }

  async function refresh() {
    const [clock, faults, hooks, journal, oracle] = await Promise.all([
      call("GET", "/_admin/clock"), call("GET", "/_admin/faults"), call("GET", "/_admin/webhooks"),
      call("GET", "/_admin/journal?limit=40"), call("GET", "/_admin/oracle"),
    ]);
    byId("now").textContent = clock.now;
    byId("frozen").textContent = clock.frozen ? "frozen" : "running";
    byId("ops").textContent = faults.ops.join(", ");
    byId("faults").replaceChildren(...faults.faults.map((f) => row([
      f.name, f.op, JSON.stringify(f.action), f.times ?? "until cleared", f.hits,
      button("Clear", () => call("DELETE", `/_admin/faults/${encodeURIComponent(f.name)}`)),
    ])));
    if (document.activeElement !== byId("target")) byId("target").value = hooks.settings.target ?? "";
    byId("deliveries").replaceChildren(...hooks.deliveries.slice(-30).reverse().map((d) => row([
      d.id, d.event, d.state.is, d.attempts.map((a) => a.status ?? a.error).join(", "), d.body,
      button("Again", () => call("POST", `/_admin/webhooks/${d.id}/redeliver`, {})),
    ])));
    byId("journal").replaceChildren(...journal.calls.reverse().map((c) => row([
      c.seq, c.at, c.host, `${c.method} ${c.path}`, c.op, c.token, c.cut ? "cut" : `${c.status ?? "…"} ${c.code ?? ""}`, c.faults.join(", "),
    ])));
    byId("oracle").textContent = JSON.stringify(oracle, null, 2);
    for (const listener of listeners) await listener(oracle);
  }

  const settings = (patch) => call("PATCH", "/_admin/webhooks/settings", patch);
  for (const element of document.querySelectorAll("[data-advance]")) {
    element.addEventListener("click", () => act(() => call("POST", "/_admin/clock", { advance_seconds: Number(element.dataset.advance) })));
  }
  byId("freeze").addEventListener("click", () => act(() => call("POST", "/_admin/clock", { freeze: true })));
  byId("run").addEventListener("click", () => act(() => call("POST", "/_admin/clock", { freeze: false })));
  byId("set-target").addEventListener("click", () => act(() => settings({ target: byId("target").value || null })));
  byId("hold").addEventListener("click", () => act(() => settings({ held: true })));
  byId("release").addEventListener("click", () => act(() => call("POST", "/_admin/webhooks/release", {})));
  byId("release-reversed").addEventListener("click", () => act(() => call("POST", "/_admin/webhooks/release", { order: "reversed" })));
  byId("fault-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    act(() => call("PUT", `/_admin/faults/${encodeURIComponent(form.get("name"))}`, JSON.parse(form.get("rule"))));
  });

  setInterval(() => act(async () => {}), 2000);
  setTimeout(() => act(async () => {}), 0);
  return { call, row, button, act, onRefresh: (listener) => listeners.push(listener) };
})();
