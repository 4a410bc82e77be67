// Live curves of a training: validation against training, an epoch a point. Drawn as SVG, told as a table too.
import { count, draw, make, percent } from "./dom.js";

const WIDTH = 460, HEIGHT = 240, LEFT = 46, RIGHT = 12, TOP = 12, BOTTOM = 30;

/** Round steps that cover a range with about `many` lines. */
function ticks(low, high, many = 5) {
  const raw = (high - low) / many || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= raw);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

/** One chart of `history` (rows with `epoch`), of the columns train_NAME and val_NAME. */
export function chart(title, history, name, { share = false, epochs = 0 } = {}) {
  const series = ["train", "val"].map((part) => [part, history.filter((row) => Number.isFinite(row[`${part}_${name}`])).map((row) => [row.epoch, row[`${part}_${name}`]])]);
  const values = series.flatMap(([, points]) => points.map(([, y]) => y));
  const last = Math.max(epochs, 2, ...history.map((row) => row.epoch));
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) [low, high] = [0, 1];
  if (share) { high = Math.min(1, high + 0.05); low = Math.max(0, low - 0.05); } else { low = Math.max(0, low - 0.05 * (high - low)); high += 0.05 * (high - low) || 0.1; }
  const x = (epoch) => LEFT + ((epoch - 1) / (last - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
  const shown = share ? (v) => `${Math.round(1000 * v) / 10} %` : (v) => String(v);
  const told = series.filter(([, points]) => points.length).map(([part, points]) => `${part === "val" ? "validation" : "training"} ${share ? percent(points.at(-1)[1]) : points.at(-1)[1].toFixed(3)}`).join(", ");
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title} after ${count(history.length, "epoch")}: ${told || "nothing yet"}` });
  for (const at of ticks(low, high)) {
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(at), y2: y(at) }), draw("text", { class: "tick", x: LEFT - 7, y: y(at) + 4, "text-anchor": "end" }, shown(at)));
  }
  for (const at of ticks(1, last, 8).filter(Number.isInteger)) svg.append(draw("text", { class: "tick", x: x(at), y: HEIGHT - 10, "text-anchor": "middle" }, String(at)));
  for (const [part, points] of series) {
    if (!points.length) continue;
    svg.append(draw("path", { class: part, d: points.map(([e, v], i) => `${i ? "L" : "M"}${x(e).toFixed(1)} ${y(v).toFixed(1)}`).join("") }));
    const [e, v] = points.at(-1);
    svg.append(draw("circle", { class: part, cx: x(e), cy: y(v), r: 4 }));
  }
  return make("figure", { className: "chart" }, make("h3", { textContent: title }), svg, make("p", { className: "key", "aria-hidden": "true" }, make("span", { textContent: "training" }), make("span", { className: "val", textContent: "validation" })));
}
