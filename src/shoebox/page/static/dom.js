// Elements, numbers in words, and requests to this server. Names come from anywhere, so text is only ever set as text.

export const $ = (id) => document.getElementById(id);

/** An element with properties and children; `data` and names with a hyphen become attributes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for" || name === "scope") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** What a name cannot do: break the line, turn the writing round, or hide in it. */
export const visible = (name) => String(name).replace(/[\p{Cc}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, "\ufffd").replace(/\p{Cf}/gu, "");

export const percent = (share, digits = 1) => {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  const whole = share >= 0.9995 || share < 0.0005;
  return `${(100 * share).toFixed(whole ? 0 : digits)} %`;
};
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
export const listed = (names, most = 12) => names.slice(0, most).map(visible).join(", ") + (names.length > most ? ", …" : "");
export const duration = (seconds) => {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60), rest = Math.round(seconds % 60);
  return minutes < 60 ? `${minutes} min ${String(rest).padStart(2, "0")} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};
export const fill = (share) => {
  const bar = make("b");
  bar.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return make("i", { "aria-hidden": "true" }, bar);
};
export const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** A request that this server refused; `status` 0 where it did not answer at all. */
export class Refused extends Error {
  constructor(status, message, after = 0) {
    super(message);
    this.status = status;
    this.after = after;
  }
}
