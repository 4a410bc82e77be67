// The page: which view is shown, light and dark.
import { about } from "./about.js";
import { describe } from "./api.js";
import { setUp } from "./classify.js";
import { $, make } from "./dom.js";
import { labels } from "./labels.js";
import { train } from "./train.js";

const VIEWS = { classify: null, about, labels, train };
let model = null, leave = null;

function go() {
  const [name, rest] = location.hash.slice(1).split("/");
  const view = name in VIEWS ? name : "classify";
  leave?.();
  leave = null;
  for (const one of Object.keys(VIEWS)) $(`view-${one}`).hidden = one !== view;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (VIEWS[view]) {
    const box = $(`view-${view}`);
    leave = VIEWS[view](box, model, rest) ?? null;
    scrollTo(0, 0);
  }
}

function themes() {
  const root = document.documentElement, button = $("theme"), system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const showTheme = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("shoebox-theme", root.dataset.theme); } catch { /* not kept, then */ }
    showTheme();
  });
  system.addEventListener("change", showTheme);
  showTheme();
}

async function start() {
  try {
    model = await describe();
  } catch (error) {
    $("view-classify").hidden = true;
    $("main").append(make("section", { role: "alert" }, make("h1", { textContent: "The classifier does not answer" }), make("p", { textContent: error.message })));
    return;
  }
  $("version").textContent = `Shoebox ${model.shoebox}`;
  setUp(model);
  addEventListener("hashchange", go);
  go();
}

themes();
start();
