// Many answers: a table that fills up, what to show of it, and the table as a file.
import { inWords } from "./answer.js";
import { $, count, make, percent, visible } from "./dom.js";

const PAGE = 100;
const FORMULA = /^[=+\-@\t\r]/;

/** A cell of a CSV file; one that a spreadsheet would run is made harmless, as everywhere in Shoebox. */
const cell = (value) => {
  let text = value === null || value === undefined ? "" : String(value);
  if (typeof value === "string" && FORMULA.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** The answers as `shoebox predict --out` writes them, with the verdict. */
export function csv(items, model) {
  const ranks = Array.from({ length: Math.min(3, model.classes.length) }, (_, i) => (i ? `_${i + 1}` : ""));
  const lines = [["path", ...ranks.flatMap((r) => [`label${r}`, `confidence${r}`]), "verdict", "status"]];
  for (const item of items) {
    const top = item.top ?? [];
    const verdict = item.state !== "ok" ? "" : item.unknown ? "unknown" : item.unsure ? "unsure" : "sorted";
    lines.push([item.name, ...ranks.flatMap((_, i) => [top[i]?.label, top[i]?.confidence]), verdict, item.state === "ok" ? "ok" : item.reason ?? "not looked at"]);
  }
  return lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}

const URLS = new WeakMap();
const thumbUrl = (item) => {
  if (!URLS.has(item)) URLS.set(item, URL.createObjectURL(item.file));
  return URLS.get(item);
};
export const forgetThumbs = (items) => items.forEach((item) => { if (URLS.has(item)) URL.revokeObjectURL(URLS.get(item)); });

export class Batch {
  /** @param open called with (list, place) when a picture is chosen. */
  constructor(model, open) {
    this.model = model;
    this.items = [];
    this.open = open;
    this.limit = PAGE;
    for (const id of ["batch-filter", "batch-class", "batch-order"]) $(id).addEventListener("change", () => { this.limit = PAGE; this.draw(); });
    $("batch-more").addEventListener("click", () => { this.limit += PAGE; this.draw(); });
    $("batch-csv").addEventListener("click", () => this.download());
  }

  state(item) {
    return inWords(item, this.model)[0];
  }

  chosen() {
    const [filter, label, order] = ["batch-filter", "batch-class", "batch-order"].map((id) => $(id).value);
    const list = this.items.filter((item) => (!filter || this.state(item) === filter) && (!label || item.top?.[0].label === label));
    const sureness = (item) => item.top?.[0].confidence ?? (order === "sure" ? -1 : 2);
    const by = {
      unsure: (a, b) => sureness(a) - sureness(b),
      sure: (a, b) => sureness(b) - sureness(a),
      label: (a, b) => (a.top?.[0].label ?? "\uffff").localeCompare(b.top?.[0].label ?? "\uffff") || sureness(b) - sureness(a),
      name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
    }[order];
    return by ? list.sort(by) : list;
  }

  row(item, list) {
    const [tone, short] = inWords(item, this.model);
    const thumb = make("img", { alt: "", loading: "lazy", src: thumbUrl(item) });
    thumb.onerror = () => thumb.replaceWith(make("span", { className: "blank" }));
    const name = make("button", { type: "button", onclick: () => this.open(list, list.indexOf(item)) }, thumb, make("span", { textContent: visible(item.name) }));
    const top = item.top ?? [];
    const bar = make("i");
    bar.style.width = `${100 * (top[0]?.confidence ?? 0)}%`;
    const state = make("td", { className: "text" }, make("span", { className: `state ${tone}`, textContent: short }));
    if (item.state === "failed") state.append(make("span", { className: "small muted", textContent: item.reason }));
    return make("tr", {},
      make("th", { scope: "row" }, name),
      make("td", { className: "text" }, top.length ? make("b", { textContent: visible(top[0].label) }) : "–"),
      make("td", {}, top.length ? percent(top[0].confidence) : "", top.length ? make("span", { className: "share", "aria-hidden": "true" }, bar) : ""),
      make("td", { className: "text muted" }, top.slice(1).map(({ label, confidence }) => `${visible(label)} ${percent(confidence)}`).join(", ")),
      state);
  }

  draw() {
    const done = this.items.filter((item) => item.state !== "waiting").length;
    $("batch-title").textContent = done < this.items.length ? `${done.toLocaleString("en")} of ${count(this.items.length, "picture")}` : count(this.items.length, "picture");
    Object.assign($("batch-progress"), { max: this.items.length || 1, value: done, hidden: done === this.items.length });
    const tally = { sure: 0, unsure: 0, unknown: 0, failed: 0, waiting: 0 };
    this.items.forEach((item) => { tally[this.state(item)] += 1; });
    const names = { sure: "sure", unsure: "not sure", unknown: "none of its classes", failed: "not read", waiting: "waiting" };
    $("batch-counts").replaceChildren(...Object.keys(tally).filter((key) => tally[key]).map((key) => make("li", { className: key, textContent: `${tally[key].toLocaleString("en")} ${names[key]}` })));
    const labels = new Map();
    this.items.forEach((item) => { if (item.top?.length) labels.set(item.top[0].label, (labels.get(item.top[0].label) ?? 0) + 1); });
    const picker = $("batch-class"), before = picker.value;
    const options = [...labels].sort(([a], [b]) => a.localeCompare(b)).map(([label, n]) => make("option", { value: label, textContent: `${visible(label)} (${n})` }));
    picker.replaceChildren(make("option", { value: "", textContent: "any" }), ...options);
    picker.value = labels.has(before) ? before : "";
    const list = this.chosen();
    $("batch-table").tBodies[0].replaceChildren(...list.slice(0, this.limit).map((item) => this.row(item, list)));
    $("batch-more").hidden = list.length <= this.limit;
    $("batch-more").textContent = `Show more (${(list.length - this.limit).toLocaleString("en")} left)`;
    $("batch-csv").disabled = done === 0;
  }

  download() {
    const url = URL.createObjectURL(new Blob(["\ufeff", csv(this.items, this.model)], { type: "text/csv;charset=utf-8" }));
    make("a", { href: url, download: "predictions.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}
