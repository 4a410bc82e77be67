// The label loop: what is wrong with a folder of pictures, and its doubtful labels decided one by one, at once saved.
import { decide, forget, startJob, stopJob, suspects, workshop } from "./api.js";
import { count, duration, make, visible } from "./dom.js";
import { STATES, follow, isOver } from "./poll.js";
import { noFolder } from "./train.js";

const LEFT_OUT = -1;

/** Fill the view. Returns what ends it. */
export function labels(box) {
  let unfollow = () => {}, onkey = null, gone = false;
  const head = make("header", { className: "top" }, make("h1", { textContent: "Labels" }), make("p", { className: "muted", textContent: "What is wrong with the pictures, and the doubtful labels, one by one." }));
  const body = make("div");
  box.replaceChildren(head, body);
  const keys = (event) => { if (!event.ctrlKey && !event.metaKey && !event.altKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) onkey?.(event); };
  addEventListener("keydown", keys);
  const alarm = (error) => make("section", { role: "alert" }, make("p", { className: "wrong", textContent: error.message }));

  async function start() {
    unfollow();
    onkey = null;
    let told;
    try {
      told = await workshop();
    } catch (error) {
      body.replaceChildren(alarm(error));
      return;
    }
    if (gone) return;
    if (!told.folders.length) { body.replaceChildren(noFolder()); return; }
    const running = told.jobs.find((one) => one.kind === "check" && !isOver(one));
    const say = make("p", { role: "alert", className: "wrong" });
    const list = told.folders.map((folder) => {
      const left = folder.suspects === null ? "" : folder.suspects ? `${count(folder.suspects - folder.decided, "doubtful label")} to decide, ${folder.decided.toLocaleString("en")} decided` : "no doubtful labels were found";
      const check = make("button", { type: "button", textContent: folder.suspects === null ? "Check it" : "Check again", onclick: async () => {
        say.textContent = "";
        try { watch(await startJob({ kind: "check", folder: folder.number })); } catch (error) { say.textContent = error.message; }
      } });
      const page = folder.page ? make("a", { href: `checks/${folder.number}`, target: "_blank", rel: "noopener", textContent: "All that was found" }) : "";
      const go = folder.suspects ? make("button", { type: "button", className: "primary", textContent: folder.decided === folder.suspects ? "Look again" : "Decide", onclick: () => judge(folder) }) : "";
      return make("div", { className: "choice" }, make("div", {}, make("p", {}, make("b", { textContent: visible(folder.name) })), make("p", { className: "muted small", textContent: left || "not checked yet: a check takes minutes" })), make("div", { className: "line" }, page, check, go));
    });
    body.replaceChildren(make("section", {}, make("h2", { textContent: "Folders of this server" }), list, say), make("div"));
    if (running) watch(running);
  }

  function watch(job) {
    unfollow();
    const state = make("p", { role: "status" }), log = make("pre", { className: "log", tabIndex: 0, "aria-label": "Log" }), stop = make("button", { type: "button", className: "danger", textContent: "Stop" });
    stop.onclick = () => { stop.disabled = true; stopJob(job.number).catch((error) => { state.textContent = error.message; }); };
    const part = make("section", {}, make("div", { className: "heading" }, make("h2", { textContent: visible(job.title) }), stop), state, make("progress", { "aria-label": "Checking" }), log);
    body.lastChild.replaceChildren(part);
    unfollow = follow(job.number, (now, error) => {
      if (error) { state.textContent = error.message; return; }
      state.textContent = `${STATES[now.state]} · ${duration(now.seconds)}`;
      log.textContent = now.log || "…";
      if (!isOver(now)) return;
      if (now.state === "done") { start(); return; }
      part.querySelector("progress").remove();
      stop.remove();
      if (now.state === "failed") state.textContent = now.error || "It failed without a word.";
    });
  }

  async function judge(folder) {
    unfollow();
    let told;
    try {
      told = await suspects(folder.number);
    } catch (error) {
      body.replaceChildren(alarm(error));
      return;
    }
    if (gone) return;
    const list = told.suspects, past = [], called = (label) => visible(told.classes[label]);
    let at = Math.max(0, list.findIndex((one) => one.decided === null)), busy = false;
    const title = make("h2", { tabIndex: -1, textContent: visible(folder.name) }), bar = make("progress", { max: list.length, "aria-label": "Decided" }), far = make("p", { className: "muted small" });
    const picture = make("img", { alt: "" }), frame = make("div", { className: "frame" }, picture), name = make("p", { className: "small muted" });
    const question = make("p", { className: "question" }), detail = make("p", { className: "muted" }), decided = make("p", { className: "decided" }), say = make("p", { role: "status", className: "hidden" }), wrong = make("p", { role: "alert", className: "wrong" });
    const action = (text, key, act, className = "") => make("button", { type: "button", className, onclick: act }, make("span", { textContent: text }), make("kbd", { textContent: key, "aria-hidden": "true" }));
    const accept = action("", "A", () => put(list[at].suggested), "primary"), keep = action("", "K", () => put(list[at].given)), out = action("Leave this picture out", "X", () => put(LEFT_OUT));
    const other = make("select", { "aria-label": "Another class" }, make("option", { value: "", textContent: "Another class …" }), told.classes.map((name, i) => make("option", { value: i, textContent: visible(name) })));
    other.onchange = () => { const chosen = other.value; other.value = ""; if (chosen !== "") put(Number(chosen)); };
    const undo = action("Take back the last one", "U", back), before = action("Before", "←", () => step(-1)), next = action("Next", "→", () => step(1)), leave = make("button", { type: "button", textContent: "All folders", onclick: start });
    accept.setAttribute("aria-keyshortcuts", "a"); keep.setAttribute("aria-keyshortcuts", "k"); out.setAttribute("aria-keyshortcuts", "x"); undo.setAttribute("aria-keyshortcuts", "u");
    const words = (label) => (label === LEFT_OUT ? "is left out" : label === list[at].given ? `stays ${called(label)}` : `becomes ${called(label)}`);

    function show() {
      const one = list[at], done = list.filter(({ decided: label }) => label !== null).length;
      bar.value = done;
      far.textContent = `${(at + 1).toLocaleString("en")} of ${list.length.toLocaleString("en")}, the likeliest mistakes first · ${done.toLocaleString("en")} decided · saved in ${visible(told.file)}`;
      picture.src = `v1/labels/${folder.number}/${told.mark}/${one.number}/picture`;
      picture.alt = `The picture, labelled ${called(one.given)}`;
      name.textContent = visible(one.path);
      question.replaceChildren("Labelled ", make("b", { textContent: called(one.given) }), ". Is it ", make("b", { textContent: called(one.suggested) }), "?");
      detail.textContent = one.detail;
      accept.firstChild.textContent = `It is ${called(one.suggested)}`;
      keep.firstChild.textContent = `It is ${called(one.given)}, as labelled`;
      decided.textContent = one.decided === null ? "" : `Decided: it ${words(one.decided)}.`;
      before.disabled = at === 0; next.disabled = at === list.length - 1; undo.disabled = !past.length;
    }
    function step(by) { if (list[at + by]) { at += by; wrong.textContent = ""; show(); } }
    async function change(place, label) {
      if (busy) return false;
      busy = true;
      wrong.textContent = "";
      try {
        if (label === null) await forget(folder.number, told.mark, list[place].number);
        else await decide(folder.number, told.mark, list[place].number, label);
        list[place].decided = label;
        return true;
      } catch (error) {
        wrong.textContent = error.message;
        return false;
      } finally {
        busy = false;
      }
    }
    async function put(label) {
      const place = at, was = list[place].decided;
      if (!(await change(place, label))) return;
      past.push([place, was]);
      say.textContent = `${visible(list[place].path)} ${words(label)}.`;
      const open = list.findIndex((one, i) => i > place && one.decided === null);
      const first = list.findIndex((one) => one.decided === null);
      if (open >= 0 || first >= 0) at = open >= 0 ? open : first;
      show();
      if (first < 0) say.textContent = decided.textContent = `All ${count(list.length, "doubtful label")} are decided. The next training reads ${visible(told.file)} by itself.`;
    }
    async function back() {
      if (!past.length || busy) return;
      const [place, was] = past.at(-1);
      if (!(await change(place, was))) return;
      past.pop();
      at = place;
      show();
      say.textContent = "Taken back.";
    }
    onkey = (event) => {
      const act = { a: () => accept.click(), k: () => keep.click(), x: () => out.click(), u: () => undo.click(), ArrowLeft: () => step(-1), ArrowRight: () => step(1) }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (act) { event.preventDefault(); act(); }
    };
    body.replaceChildren(make("section", {}, make("div", { className: "heading" }, title, leave), bar, far,
      make("div", { className: "judge" }, make("div", {}, frame, name), make("div", {}, question, detail, decided, make("div", { className: "actions" }, accept, keep, other, out), make("div", { className: "line" }, before, next, undo), wrong)), say));
    show();
    title.focus();
  }

  start();
  return () => { gone = true; unfollow(); removeEventListener("keydown", keys); };
}
