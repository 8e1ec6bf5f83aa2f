"use strict";
// Rows and answers are hostile: they only ever become text nodes.
(() => {
  const PER_PAGE = 100;
  const PREVIEW = 300;
  const words = JSON.parse(document.getElementById("words").textContent);
  // Each text in English as an argument of `text`: the page is written with a translation of those that are found so.
  const text = (english, values = {}) => words[english].replace(/\{(\w+)\}/g, (_place, name) => values[name]);
  const PARTS = [["n", text("input")], ["e", text("error")], ["o", text("output")], ["m", text("metadata")]];
  const OUTCOMES = { ok: text("ok"), truncated: text("truncated"), failed: text("failed") };
  const rows = JSON.parse(document.getElementById("data").textContent);
  const texts = rows.map((row) => [row.i, row.n, row.o, row.e, row.k, row.m, row.a].join("\n").toLowerCase());
  const found = (id) => document.getElementById(id);
  const [search, status, kind, place] = ["search", "status", "kind", "place"].map(found);
  const body = document.querySelector("#rows tbody");
  let shown = [];
  let start = 0;

  const element = (name, className, content) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (content !== undefined) node.textContent = content;
    return node;
  };
  const preview = (whole) => (whole.length > PREVIEW ? whole.slice(0, PREVIEW) + "…" : whole);
  const latency = (row) => (row.t === undefined ? "" : row.t.toFixed(2) + " s");
  const cost = (row) => (row.c === undefined ? "" : "$" + row.c.toFixed(6));
  const tokens = (row) => (row.u ? row.u[0].toLocaleString("en") + " + " + row.u[1].toLocaleString("en") : "");

  const details = (row) => {
    const line = element("tr");
    const cell = element("td");
    cell.colSpan = 7;
    if (row.a) cell.append(element("p", "note", text("model {name}", { name: row.a })));
    for (const [key, name] of PARTS) {
      if (row[key] === undefined) continue;
      const label = key === "o" && row.s === "failed" ? text("answer that could not stand") : name;
      const length = row[key + "l"];
      const cut = length === undefined ? "" : text(": the beginning of {count} characters; the output file has all of it", { count: length.toLocaleString("en") });
      cell.append(element("p", "note", label + cut), element("pre", "", row[key]));
    }
    line.append(cell);
    return line;
  };

  const drawn = (row) => {
    const line = element("tr");
    const number = element("td", "number");
    const button = element("button", "", String(row.i));
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    let open = null;
    button.addEventListener("click", () => {
      if (open) open.remove();
      open = open ? null : details(row);
      if (open) line.after(open);
      button.setAttribute("aria-expanded", String(open !== null));
    });
    number.append(button);
    const answer = row.s === "failed" ? row.e : row.o;
    line.append(
      number, element("td", row.s, OUTCOMES[row.s]),
      element("td", "text", preview(row.n || "")), element("td", "text", preview(answer || "")),
      element("td", "number", latency(row)), element("td", "number", tokens(row)), element("td", "number", cost(row)),
    );
    return line;
  };

  const draw = () => {
    body.replaceChildren(...shown.slice(start, start + PER_PAGE).map((at) => drawn(rows[at])));
    const end = Math.min(start + PER_PAGE, shown.length);
    const format = (count) => count.toLocaleString("en");
    const numbers = { start: format(start + 1), end: format(end), count: format(shown.length) };
    place.textContent = shown.length ? text("{start} to {end} of {count}", numbers) : text("no rows");
    found("previous").disabled = start === 0;
    found("next").disabled = end >= shown.length;
  };

  const filter = () => {
    const wanted = search.value.toLowerCase();
    shown = [];
    for (let at = 0; at < rows.length; at++) {
      const row = rows[at];
      if (status.value && row.s !== status.value) continue;
      if (kind.value && row.k !== kind.value) continue;
      if (wanted && !texts[at].includes(wanted)) continue;
      shown.push(at);
    }
    start = 0;
    draw();
  };

  for (const name of [...new Set(rows.map((row) => row.k).filter(Boolean))].sort()) {
    const option = element("option", "", name);
    option.value = name;
    kind.append(option);
  }
  // #q=text&status=failed opens the page with that search, #row=7 with that row alone.
  const asked = new URLSearchParams(location.hash.slice(1));
  search.value = asked.get("q") || "";
  if (["ok", "truncated", "failed"].includes(asked.get("status"))) status.value = asked.get("status");
  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 150);
  });
  status.addEventListener("change", filter);
  kind.addEventListener("change", filter);
  found("previous").addEventListener("click", () => { start = Math.max(0, start - PER_PAGE); draw(); });
  found("next").addEventListener("click", () => { start += PER_PAGE; draw(); });
  filter();
  if (asked.has("row")) {
    shown = rows.flatMap((row, at) => (String(row.i) === asked.get("row") ? [at] : []));
    draw();
    body.querySelectorAll("button").forEach((button) => button.click());
  }
  document.documentElement.dataset.rows = String(rows.length);
})();
