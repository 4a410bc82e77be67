"use strict";
(() => {
  const thumbs = JSON.parse(document.getElementById("data").textContent);
  for (const image of document.querySelectorAll("img[data-thumb]")) {
    image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 64));
    image.src = thumbs[Number(image.dataset.thumb)];
  }

  // Light and dark: as the system has it, until the reader chooses.
  const root = document.documentElement, theme = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try { kept = localStorage.getItem("shoebox-theme"); } catch { /* a page from a file may have no storage */ }
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const showTheme = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("shoebox-theme", root.dataset.theme); } catch { /* not kept, then */ }
    showTheme();
  });
  system.addEventListener("change", showTheme);
  showTheme();

  // Tables sort by their headers.
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    table.tHead.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => {
      const head = button.closest("th"), column = head.cellIndex;
      const up = head.getAttribute("aria-sort") !== "ascending";
      table.tHead.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => { const cell = row.cells[column]; return "value" in cell.dataset ? parseFloat(cell.dataset.value) : cell.textContent; };
      const compare = (x, y) => (typeof x === "number" ? x - y : x.localeCompare(y, undefined, { numeric: true }));
      body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * compare(value(a), value(b))));
    }));
  }
})();
