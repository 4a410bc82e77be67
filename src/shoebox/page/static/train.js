// A training started from the page: what to train on, live curves, stop and go on.
import { resumeJob, startJob, stopJob, workshop } from "./api.js";
import { chart } from "./curves.js";
import { $, count, duration, make, percent, visible } from "./dom.js";
import { STATES, follow, isOver } from "./poll.js";

const SUITS = "A pretrained network where its weights are on this disk or can be fetched, else a new one, as fast as this machine allows.";

/** Fill the view. Returns what ends it. */
export function train(box) {
  let unfollow = () => {}, gone = false;
  const head = make("header", { className: "top" }, make("h1", { textContent: "Train" }), make("p", { className: "muted", textContent: "A new classifier from a folder of pictures, on this server." }));
  const body = make("div");
  box.replaceChildren(head, body);

  const field = (label, input) => make("label", { className: "field" }, label, input);

  function form(told) {
    const folder = make("select", {}, told.folders.map(({ number, name }) => make("option", { value: number, textContent: visible(name) })));
    const recipe = make("select", {}, make("option", { value: "", textContent: "what suits" }), told.recipes.map(({ name }) => make("option", { value: name, textContent: name })));
    const unit = make("select", { "aria-label": "Minutes or epochs" }, make("option", { value: "minutes", textContent: "minutes, all in all" }), make("option", { value: "epochs", textContent: "epochs" }));
    const amount = make("input", { type: "number", min: "0.1", step: "any", value: "10", required: true, inputMode: "decimal" });
    const name = make("input", { type: "text", maxLength: 80, placeholder: "chosen for you", autocomplete: "off", spellcheck: false });
    const about = make("p", { className: "small muted" });
    const tell = () => { about.textContent = told.recipes.find((one) => one.name === recipe.value)?.about ?? SUITS; };
    recipe.addEventListener("change", tell);
    tell();
    const say = make("p", { role: "alert", className: "wrong" });
    const made = make("form", {},
      make("div", { className: "form" }, field("Pictures", folder), field("Recipe", recipe), field("For", amount), field("Counted in", unit), field("Name of the run", name)),
      about, make("div", { className: "line" }, make("button", { type: "submit", className: "primary", textContent: "Start training" })), say);
    made.addEventListener("submit", async (event) => {
      event.preventDefault();
      say.textContent = "";
      try {
        open(await startJob({ kind: "train", folder: Number(folder.value), recipe: recipe.value || null, [unit.value]: Number(amount.value), name: name.value.trim() || null }));
      } catch (error) {
        say.textContent = error.message;
      }
    });
    return make("section", {}, make("h2", { textContent: "A new training" }), made);
  }

  function open(job) {
    unfollow();
    const say = make("p", { role: "status", className: "hidden" }), title = make("h2", { tabIndex: -1 }), state = make("p", { className: "verdict" });
    const stop = make("button", { type: "button", className: "danger", textContent: "Stop and save" }), again = make("button", { type: "button", textContent: "Go on with it" }), back = make("button", { type: "button", textContent: "Another training" });
    const bar = make("progress", { max: 1, value: 0, "aria-label": "How far it is" }), tiles = make("dl", { className: "tiles" }), charts = make("div", { className: "charts" }), log = make("pre", { className: "log", tabIndex: 0, "aria-label": "Log" }), end = make("div");
    const telling = make("div");
    body.replaceChildren(make("section", { id: "job" }, make("div", { className: "heading" }, title, make("div", { className: "line" }, stop, again, back)), state, bar, say, end, tiles, charts, make("details", {}, make("summary", { textContent: "What it says" }), log)), telling);
    let epochs = -1;
    stop.onclick = async () => { stop.disabled = true; try { await stopJob(job.number); } catch (error) { say.textContent = error.message; } };
    again.onclick = async () => { try { open(await resumeJob(job.number)); } catch (error) { end.replaceChildren(make("p", { className: "wrong", role: "alert", textContent: error.message })); } };
    back.onclick = () => start(true);
    const tile = (name, value) => make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }));
    const shown = (now, error) => {
      if (error) { end.replaceChildren(make("p", { className: "wrong", role: "alert", textContent: error.message })); return; }
      const { history, about } = now, over = isOver(now), last = history.at(-1);
      title.textContent = visible(now.title);
      state.textContent = `${STATES[now.state]} · ${duration(now.seconds)}`;
      state.className = `verdict ${{ done: "sure", failed: "unsure" }[now.state] ?? "unknown"}`;
      stop.hidden = over; stop.disabled = now.state === "stopping";
      again.hidden = now.state !== "stopped"; back.hidden = !over;
      bar.hidden = over;
      bar.value = about.epochs ? history.length / about.epochs : about.minutes ? Math.min(0.99, now.seconds / (60 * about.minutes)) : 0;
      log.textContent = now.log || "…";
      const best = history.reduce((most, row) => Math.max(most, row.val_accuracy ?? -1), -1);
      tiles.replaceChildren(...[
        ["Epochs", about.epochs ? `${history.length} of ${about.epochs}` : String(history.length)],
        ...(best >= 0 ? [["Best validation accuracy", percent(best)]] : []),
        ...(last?.pictures_per_second ? [["Pictures a second", Math.round(last.pictures_per_second).toLocaleString("en")]] : []),
        ...(now.answer?.test ? [["Test accuracy", percent(now.answer.test.accuracy)]] : []),
      ].map(([name, value]) => tile(name, value)));
      if (history.length !== epochs) {
        epochs = history.length;
        const many = { epochs: about.epochs ?? 0 };
        charts.replaceChildren(chart("Accuracy", history, "accuracy", { share: true, ...many }), chart("Loss", history, "loss", many));
        if (last) say.textContent = `Epoch ${last.epoch}: ${last.val_accuracy === undefined ? `training accuracy ${percent(last.train_accuracy)}` : `validation accuracy ${percent(last.val_accuracy)}`}.`;
      }
      if (over) {
        say.textContent = `The training ${STATES[now.state]}.`;
        if (now.state === "failed") end.replaceChildren(make("div", { className: "note bad" }, make("p", { textContent: now.error || "It failed without a word." })));
        if (now.state === "done") end.replaceChildren(make("div", { className: "note" }, make("p", {}, "It is saved in ", make("code", { textContent: visible(about.run) }), ". Put it to work with ", make("code", { textContent: `shoebox serve ${visible(about.run)}` }), ".")));
      }
    };
    shown(job, null);
    unfollow = follow(job.number, shown);
    title.focus();
    workshop().then((told) => { if (!gone) telling.replaceChildren(earlier(told, job.number)); }, () => {});
  }

  /** The newest job of every other run: one that went on stands for the one that was stopped. */
  function earlier(told, current) {
    const runs = new Set();
    const others = told.jobs.filter(({ kind, about }) => kind === "train" && !runs.has(about.run) && runs.add(about.run)).filter(({ number }) => number !== current);
    if (!others.length) return "";
    return make("section", {}, make("h2", { textContent: "Trainings since the server began" }), others.map((one) => make("div", { className: "choice" }, make("p", {}, make("b", { textContent: visible(one.title) }), make("span", { className: "muted small", textContent: ` ${STATES[one.state]}, ${count(one.history.length, "epoch")}` })), make("button", { type: "button", textContent: "Show", onclick: () => open(one) }))));
  }

  async function start(anew = false) {
    unfollow();
    let told;
    try {
      told = await workshop();
    } catch (error) {
      body.replaceChildren(make("section", { role: "alert" }, make("p", { className: "wrong", textContent: error.message })));
      return;
    }
    if (gone) return;
    const running = told.jobs.find((one) => one.kind === "train" && !isOver(one));
    if (running && !anew) { open(running); return; }
    body.replaceChildren(told.folders.length ? form(told) : noFolder(), earlier(told));
  }
  start();
  return () => { gone = true; unfollow(); };
}

/** What to do where the server was given no folder to work on. */
export const noFolder = () => make("section", {}, make("h2", { textContent: "No folder to work on" }), make("p", {}, "This server was started without one. Start it with ", make("code", { textContent: "--data FOLDER" }), " to check and train on pictures in that folder from here, and only there."));
