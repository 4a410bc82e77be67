// A picture with the heat map of its evidence over it.
import { make } from "./dom.js";

// Inferno of matplotlib (van der Walt and Smith, CC0), as in the report.
const SCALE = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
const glow = (t) => {
  const x = Math.min(t, 0.9999) * (SCALE.length - 1), i = Math.floor(x), f = x - i;
  return SCALE[i].map((c, k) => c + f * (SCALE[i + 1][k] - c));
};

/** A canvas of a square heat map, which comes as bytes in base 64; the less evidence, the clearer. */
export function heatLayer(code, strength = 0.75) {
  const values = Uint8Array.from(atob(code), (c) => c.charCodeAt(0)), side = Math.round(Math.sqrt(values.length));
  const layer = make("canvas", { width: side, height: side });
  const context = layer.getContext("2d"), image = context.createImageData(side, side);
  values.forEach((v, i) => { const t = v / 255; image.data.set([...glow(t), 255 * Math.min(strength, 1.3 * t * strength / 0.75)], 4 * i); });
  context.putImageData(image, 0, 0);
  return layer;
}

/** Where the square that the network sees lies on a picture of that width and height. */
export function seen(fit, width, height) {
  const small = Math.min(width, height), large = Math.max(width, height);
  const side = fit === "crop" ? small : large;
  return fit === "squash" ? [0, 0, width, height] : [(width - side) / 2, (height - side) / 2, side, side];
}

/** Draw a picture, as large as it is up to 900 px (small ones blown up), and a heat layer over it if there is one. */
export function paint(canvas, image, layer, fit) {
  const [w, h] = [image.width, image.height], scale = Math.max(1, Math.min(Math.ceil(420 / Math.max(w, h)), 64)) * Math.min(1, 900 / Math.max(w, h));
  canvas.width = Math.round(w * scale);
  canvas.height = Math.round(h * scale);
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  if (!layer) return;
  const [x, y, width, height] = seen(fit, canvas.width, canvas.height);
  pen.drawImage(layer, x, y, width, height);
}
