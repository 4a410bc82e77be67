// One picture's answer: what it is taken for, how sure, why, and what it is like.
import { explain } from "./api.js";
import { count, fill, listed, make, percent, visible } from "./dom.js";
import { heatLayer, paint } from "./heat.js";

/** How sure, in words: [class for the colour, short, long]. */
export function inWords(item, model) {
  if (item.state === "waiting") return ["waiting", "waiting", "It has not been looked at yet."];
  if (item.state === "failed") return ["failed", "not read", item.reason];
  if (item.unknown) return ["unknown", "none of its classes", "It is unlike the pictures of every class it knows; the answer is the nearest it has."];
  if (item.unsure) return ["unsure", "not sure", "Not sure enough to rely on: let a person look."];
  if (item.unsure === null) return ["waiting", "how sure is not known", "There was no validation part to tell how far its confidence can be relied on."];
  return ["sure", "sure", `Sure enough: of the answers that it calls sure, at most ${percent(model.error, 0)} are wrong.`];
}

/** What of an answer is said aloud. */
export const spoken = (item, model) => (item.state === "failed" ? `${visible(item.name)}: not read. ${item.reason}` : `${visible(item.name)}: ${visible(item.top[0].label)}, ${percent(item.top[0].confidence)}, ${inWords(item, model)[1]}.`);

/** The browser's own view of a picture, upright; null for a format that it does not know. */
async function bitmap(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    return null;
  }
}

/** Fill a box with one answer. Fetches why and what it is like, once; the item keeps them. */
export function show(box, item, model, { level = "h2", id } = {}) {
  const [tone, , long] = inWords(item, model);
  const canvas = make("canvas", { role: "img", "aria-label": `The picture ${visible(item.name)}` });
  const choices = make("div", { className: "choices", role: "group", "aria-label": "Where the evidence lies" });
  const note = make("p", { className: "small muted" });
  const look = make("div", { className: "look" }, canvas, choices, note);
  const near = make("div");
  const words = make("div", {});
  if (item.state === "ok") {
    const title = make(level, { textContent: visible(item.top[0].label), tabIndex: -1 });
    if (id) title.id = id;
    words.append(
      make("p", { className: "small muted", textContent: visible(item.name) }),
      title,
      make("p", { className: `verdict ${tone}` }, `${percent(item.top[0].confidence)} · ${inWords(item, model)[1]}`),
      make("p", { textContent: long }),
      make("div", { className: "chances" }, item.top.flatMap(({ label, confidence }) => [make("span", { textContent: visible(label) }), fill(confidence), make("span", { textContent: percent(confidence) })])),
    );
    if (item.set && item.set.length > 1) words.append(make("p", { className: "small muted", textContent: `It may be any of ${count(item.set.length, "class", "classes")}: ${listed(item.set)}. The right one is among those named for ${percent(1 - model.error, 0)} of pictures.` }));
  } else {
    const title = make(level, { textContent: "This one could not be read", tabIndex: -1 });
    if (id) title.id = id;
    words.append(make("p", { className: "small muted", textContent: visible(item.name) }), title, make("p", { className: `verdict ${tone}`, textContent: "not read" }), make("p", { textContent: item.reason }));
  }
  words.append(near);
  box.replaceChildren(make("div", { className: "answer" }, look, words));

  let image = null, place = 0;
  const still = () => canvas.isConnected;
  const repaint = () => {
    if (!image) return;
    const heat = place && item.why?.heats[place - 1];
    paint(canvas, image, heat ? heatLayer(heat.heat) : null, model.preprocess.fit);
  };
  const choose = (next) => {
    place = next;
    [...choices.children].forEach((button, i) => button.setAttribute("aria-pressed", i === place));
    repaint();
  };
  const addWhy = () => {
    const { heats, near: alike } = item.why;
    if (heats.length) {
      choices.replaceChildren(...["Picture", ...heats.map(({ label }) => `Why ${visible(label)}?`)].map((text, i) => make("button", { type: "button", textContent: text, onclick: () => choose(i), "aria-pressed": i === place })));
      note.textContent = "The warmer, the more that place speaks for the class (Grad-CAM).";
      choose(image ? 1 : 0);
    } else {
      note.textContent = item.why.note;
    }
    if (alike.length) {
      near.replaceChildren(make("h3", { textContent: "Most alike among what it learnt from" }), make("ul", { className: "near" }, alike.map(({ label, likeness, row }) => {
        const thumb = make("img", { alt: `a training picture of ${visible(label)}`, src: `v1/pictures/${row}` });
        return make("li", {}, thumb, make("span", { textContent: `${visible(label)} · ${likeness.toFixed(2)}` }));
      })), item.why.near_note ? make("p", { className: "small muted", textContent: item.why.near_note }) : "");
    } else if (item.why.near_note) {
      near.replaceChildren(make("p", { className: "small muted", textContent: item.why.near_note }));
    }
  };
  (async () => {
    image = await bitmap(item.file);
    if (!still()) return;
    if (image) repaint(); else { canvas.hidden = true; note.textContent = "This browser cannot show a file of this kind; the classifier read it."; }
    if (item.state !== "ok") return;
    if (!item.why) {
      note.textContent = "Looking for the reasons …";
      try {
        item.why = await explain(item.file);
      } catch (error) {
        note.textContent = `No reasons to show: ${error.message}`;
        return;
      }
    }
    if (still()) addWhy();
  })();
}
