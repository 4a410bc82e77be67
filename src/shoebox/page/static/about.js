// What the classifier is and how far to trust it: its card.
import { startJob, workshop } from "./api.js";
import { count, duration, fill, listed, make, percent, visible } from "./dom.js";
import { STATES, follow, isOver } from "./poll.js";

const PARTS = { train: "training", val: "validation", test: "test" };
const FITS = { squash: "the whole picture, its aspect ratio ignored", crop: "its centre", pad: "the whole picture between grey bars" };

const section = (title, ...children) => make("section", {}, make("h2", { textContent: title }), children);
const tile = (name, value, range = "") => make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }), range ? make("dd", { className: "small", textContent: range }) : "");
const facts = (pairs) => make("dl", { className: "facts" }, pairs.filter(([, value]) => value !== undefined && value !== null && value !== "").flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: visible(value) })]));
const share = (value) => {
  const bar = make("i");
  bar.style.width = `${100 * value}%`;
  return make("span", { className: "share", "aria-hidden": "true" }, bar);
};

function tiles(card) {
  const part = card.test ? "test" : "val", plain = card[part], known = card.figures?.[part];
  if (!plain && !known) return [make("p", { textContent: "It was never measured." })];
  const value = (name) => known?.[name]?.[0] ?? plain?.[name];
  const range = (name, shown) => (known?.[name]?.length === 3 && Number.isFinite(known[name][1]) ? `${shown(known[name][1])} to ${shown(known[name][2])}` : "");
  const three = (number) => number.toFixed(3);
  const wanted = [["accuracy", "Accuracy", percent], ["balanced_accuracy", "Balanced accuracy", percent], ["macro_f1", "Macro F1", three], ["roc_auc", "ROC-AUC", three], ["log_loss", "Log loss", three], ["ece", "Calibration error", percent]];
  return [
    make("p", { className: "muted small", textContent: `On the ${PARTS[part]} pictures${part === "val" ? ", which also chose the best epoch" : ", which it has never seen"}. Below each, the range it lies in with 95 % certainty, were the pictures drawn anew.` }),
    make("dl", { className: "tiles" }, wanted.filter(([name]) => Number.isFinite(value(name))).map(([name, title, shown]) => tile(title, shown(value(name)), range(name, shown)))),
  ];
}

function errors({ weakest, confusions, part, worse }) {
  const rows = weakest.map((row) => make("tr", {}, make("th", { scope: "row", textContent: visible(row.class) }), make("td", {}, percent(row.recall), share(row.recall)), make("td", {}, percent(row.precision), share(row.precision)), make("td", { textContent: row.support.toLocaleString("en") })));
  const head = ["Class", "Found", "Right when named", "Pictures"].map((name) => make("th", { scope: "col", textContent: name }));
  return section("Where it errs",
    make("p", { className: "muted small", textContent: `The classes it finds least often, of the ${PARTS[part]} pictures.` }),
    make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Weakest classes" }, make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows))),
    confusions.length ? make("p", { className: "space", textContent: `Most confused: ${confusions.map((c) => `${visible(c.true)} taken for ${visible(c.predicted)} (${c.pictures})`).join("; ")}.` }) : "",
    worse.length ? make("p", { textContent: `Worse than elsewhere by more than chance: ${worse.map((one) => `${visible(one.kind)} ${visible(one.name)} (${percent(one.accuracy)} against ${percent(one.rest)})`).join("; ")}.` }) : "");
}

function classes(model) {
  const parts = model.card.split?.parts;
  if (!parts?.train) return section("What it tells apart", make("p", { textContent: `${listed(model.classes, 200)}.` }));
  const learnt = parts.train.classes, most = Math.max(...Object.values(learnt), 1);
  const list = make("div", { className: "chances" }, model.classes.slice(0, 60).flatMap((name) => [make("span", { textContent: visible(name) }), fill((learnt[name] ?? 0) / most), make("span", { textContent: (learnt[name] ?? 0).toLocaleString("en") })]));
  return section("What it tells apart", make("p", { className: "muted small", textContent: "Each class with the pictures it learnt from." }), list, model.classes.length > 60 ? make("p", { className: "muted small", textContent: `… and ${count(model.classes.length - 60, "more class", "more classes")}.` }) : "");
}

function sureness(model) {
  const { promise, error, card } = model, said = [];
  if (promise?.answered) said.push(`An answer counts as sure from ${percent(promise.threshold)} on: at most ${percent(error, 0)} of those are wrong, with 95 % certainty. On the validation part ${percent(promise.answered / promise.pictures)} were that sure, and ${promise.mistakes} of ${promise.answered.toLocaleString("en")} wrong.`);
  else if (promise) said.push(`No confidence promises at most ${percent(error, 0)} mistakes: its ${count(promise.pictures, "validation picture")} cannot show it. Every answer is called not sure.`);
  else said.push("Nothing is known of a validation part, so it is not said which answers are sure.");
  if (card.calibration?.pictures) said.push(`Its confidence was calibrated on ${count(card.calibration.pictures, "validation picture")}.`);
  said.push("It knows no other classes than its own; what is unlike all of them is told apart as well as that can be done.");
  return section("How sure is sure", said.map((text) => make("p", { textContent: text })));
}

/** A way to the report: the page itself, or what makes it. */
async function offer(line, model) {
  const told = await workshop();
  if (told.report) line.append(make("a", { href: "report", target: "_blank", rel: "noopener", textContent: "The whole report, with every mistake" }));
  if (!model.run) return;
  const button = make("button", { type: "button", textContent: told.report ? "Make it anew" : "Make the whole report, with every mistake" }), say = make("span", { className: "small muted", role: "status" });
  const watch = (job) => {
    button.disabled = true;
    follow(job.number, (now, error) => {
      say.textContent = error?.message ?? `${STATES[now.state]} · ${duration(now.seconds)}`;
      if (!now || !isOver(now)) return;
      if (now.state === "done") { line.replaceChildren(); offer(line, model); return; }
      say.textContent = now.error;
      button.disabled = false;
    });
  };
  button.onclick = async () => { try { watch(await startJob({ kind: "report" })); } catch (error) { say.textContent = error.message; } };
  line.append(button, say);
  const running = told.jobs.find((one) => one.kind === "report" && !isOver(one));
  if (running) watch(running);
}

/** Fill the view. */
export function about(box, model) {
  const { card, preprocess } = model, recipe = card.recipe ?? {};
  const report = make("div", { className: "line space" });
  offer(report, model);
  box.replaceChildren(
    make("header", { className: "top" }, make("h1", { textContent: visible(model.name) }), make("p", { className: "muted", textContent: `${model.architecture} · ${count(model.classes.length, "class", "classes")} · version ${model.version}` })),
    section("How good it is", tiles(card), report),
    make("div", { className: "columns" }, sureness(model), classes(model)),
    card.errors ? errors(card.errors) : "",
    section("How it was made", facts([
      ["Network", model.architecture],
      ["It sees", `${preprocess.size} × ${preprocess.size} px: ${FITS[preprocess.fit] ?? preprocess.fit}`],
      ["Pictures", card.split ? `${card.split.source}: ${Object.entries(card.split.parts).map(([part, { pictures }]) => `${pictures.toLocaleString("en")} ${PARTS[part] ?? part}`).join(", ")}` : undefined],
      ["Training", card.epochs ? `${count(card.epochs, "epoch")}, of which epoch ${card.best_epoch} was kept${card.seconds ? `; ${duration(card.seconds)}` : ""}` : undefined],
      ["Optimiser", recipe.optimizer ? `${recipe.optimizer}, rate ${recipe.lr}, ${recipe.batch_size} pictures a step` : undefined],
      ["Augmentation", recipe.augment?.join(", ")],
      ["Made on", card.runtime],
      ["Answers by", model.backend],
    ])),
  );
}
