// Pictures in: dropped, pasted, picked or photographed; answers out, one large or many in a table.
import { example, examples, predict } from "./api.js";
import { show, spoken } from "./answer.js";
import { Batch, forgetThumbs } from "./batch.js";
import { $, count, listed, make, percent, visible } from "./dom.js";

const AT_ONCE = 4;
const PICTURE = /\.(jpe?g|png|gif|webp|bmp|tiff?|ppm|pgm|pbm|avif|heic|heif|jfif)$/i;

let model = null, batch = null, running = 0;

/** Files of a drop, folders opened; the order is that of their names. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files].map((file) => ({ file, name: file.name }));
  const found = [];
  const walk = async (entry, path) => {
    if (entry.isFile) {
      const file = await new Promise((done, fail) => entry.file(done, fail));
      if (PICTURE.test(file.name) && !file.name.startsWith(".")) found.push({ file, name: path + file.name });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return;
      for (const one of some) await walk(one, `${path}${entry.name}/`);
    }
  };
  for (const entry of entries) await walk(entry, "");
  return found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}

/** How often it was right, on the test part or else on validation. */
export function measured({ card }) {
  if (card.test) return { accuracy: card.test.accuracy, part: "test" };
  return card.val?.accuracy ? { accuracy: card.val.accuracy, part: "validation" } : null;
}

const say = (text) => { $("say").textContent = text; };

async function ask(item) {
  try {
    Object.assign(item, await predict(item.file, Math.min(3, model.classes.length)), { state: "ok" });
  } catch (error) {
    Object.assign(item, { state: "failed", reason: error.message });
  }
}

/** Classify pictures: one is shown large, several in a table. What ran before is forgotten. */
export async function classify(found) {
  const turn = ++running;
  if (!found.length) { say("There is no picture in that."); return; }
  location.hash = "#classify";
  forgetThumbs(batch.items);
  const items = found.map(({ file, name }) => ({ file, name, state: "waiting" }));
  batch.items = items.length > 1 ? items : [];
  $("batch").hidden = items.length < 2;
  $("single").hidden = items.length > 1;
  if (items.length === 1) {
    $("single").setAttribute("aria-busy", "true");
    say(`Looking at ${visible(items[0].name)} …`);
    await ask(items[0]);
    if (turn !== running) return;
    $("single").removeAttribute("aria-busy");
    show($("single"), items[0], model, { id: "single-title" });
    $("single").scrollIntoView({ block: "nearest" });
    say(spoken(items[0], model));
    return;
  }
  for (const id of ["batch-filter", "batch-class"]) $(id).value = "";
  batch.draw();
  $("batch-title").focus();
  say(`Looking at ${count(items.length, "picture")} …`);
  let next = 0, drawn = performance.now();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (next < items.length && turn === running) {
      await ask(items[next++]);
      if (turn === running && performance.now() - drawn > 250) { batch.draw(); drawn = performance.now(); }
    }
  }));
  if (turn !== running) return;
  batch.draw();
  const failed = items.filter((item) => item.state === "failed").length;
  say(`${count(items.length - failed, "picture")} answered${failed ? `, ${failed} not read` : ""}.`);
}

/** The answers of a batch one by one, in a dialog. */
function open(list, place) {
  const dialog = $("dialog");
  const step = (to) => {
    if (!list[to]) return;
    place = to;
    $("d-title").textContent = `${place + 1} of ${list.length}`;
    $("d-back").disabled = place === 0;
    $("d-next").disabled = place === list.length - 1;
    show($("d-inner"), list[place], model, { level: "h3" });
  };
  $("d-back").onclick = () => step(place - 1);
  $("d-next").onclick = () => step(place + 1);
  dialog.onkeydown = (event) => { if (event.key === "ArrowLeft") step(place - 1); if (event.key === "ArrowRight") step(place + 1); };
  step(place);
  dialog.showModal();
  $("d-close").focus();
}

async function shelf() {
  const { pictures, note } = await examples();
  if (!pictures.length) return;
  $("examples-note").textContent = note;
  $("examples-list").replaceChildren(...pictures.map((one, i) => {
    const image = make("img", { alt: `example ${i + 1}, of ${visible(one.label)}`, src: `v1/pictures/${one.row}` });
    return make("li", {}, make("button", { type: "button", onclick: async () => classify([{ file: await example(one.row), name: one.name }]) }, image));
  }));
  $("examples").hidden = false;
}

/** Wire everything up for a classifier. */
export function setUp(told) {
  model = told;
  batch = new Batch(model, open);
  $("name").textContent = visible(model.name);
  const classes = `Tells ${count(model.classes.length, "class", "classes")} apart: ${listed(model.classes)}.`;
  $("subtitle").textContent = measured(model) ? `${classes} Right for ${percent(measured(model).accuracy)} of ${measured(model).part} pictures.` : classes;
  document.title = `${visible(model.name)} · Shoebox`;

  for (const [button, input] of [["pick", "file"], ["pick-folder", "folder"], ["photograph", "camera"]]) {
    $(button).addEventListener("click", () => $(input).click());
    $(input).addEventListener("change", () => {
      const files = [...$(input).files];
      $(input).value = "";
      const wanted = input === "folder" ? files.filter((file) => PICTURE.test(file.name) && !file.name.startsWith(".")) : files;
      classify(wanted.map((file) => ({ file, name: file.webkitRelativePath || file.name })));
    });
  }
  $("photograph").hidden = !matchMedia("(pointer: coarse)").matches;
  $("pick-folder").hidden = matchMedia("(pointer: coarse)").matches || !("webkitdirectory" in $("folder"));

  let inside = 0;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => { if (carries(event)) { inside += 1; $("veil").hidden = false; } });
  addEventListener("dragleave", (event) => { if (carries(event) && --inside <= 0) { inside = 0; $("veil").hidden = true; } });
  addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
  addEventListener("drop", async (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    inside = 0;
    $("veil").hidden = true;
    classify(await dropped(event.dataTransfer));
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    classify(files.map((file) => ({ file, name: file.name || "pasted picture" })));
  });
  $("batch-clear").addEventListener("click", () => {
    running += 1;
    forgetThumbs(batch.items);
    batch.items = [];
    $("batch").hidden = true;
    $("pick").focus();
  });
  const dialog = $("dialog");
  $("d-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  shelf().catch(() => {}); // without examples, then
}
