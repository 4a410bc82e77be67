"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const percent = (share) => (share < 0.0005 ? "< 0.1" : share > 0.9995 && share < 1 ? "> 99.9" : (100 * share).toFixed(share < 1 ? 1 : 0)) + "\u00a0%";
  const source = (code) => `data:image/webp;base64,${code}`;
  const { pictures, training, classes } = data;
  const isWrong = (p) => p.label >= 0 && p.label !== p.predicted;

  // Light and dark: as the system has it, until the reader chooses.
  const root = document.documentElement, theme = $("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try { kept = localStorage.getItem("shoebox-theme"); } catch { /* a page from a file may have no storage */ }
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const listeners = [];
  const showTheme = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
    listeners.forEach((f) => f());
  };
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("shoebox-theme", root.dataset.theme); } catch { /* not kept, then */ }
    showTheme();
  });
  system.addEventListener("change", showTheme);

  // Tables sort by their headers.
  for (const table of document.querySelectorAll("#classes-table")) {
    const body = table.tBodies[0];
    table.tHead.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => {
      const head = button.closest("th"), column = head.cellIndex;
      const up = head.getAttribute("aria-sort") === "descending" || (column === 0 && !head.hasAttribute("aria-sort"));
      table.tHead.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => { const cell = row.cells[column]; return "value" in cell.dataset ? parseFloat(cell.dataset.value) : cell.textContent; };
      const known = (v) => (typeof v === "number" && Number.isNaN(v) ? -Infinity : v);
      const sign = up ? 1 : -1;
      body.append(...[...body.rows].sort((a, b) => {
        const [x, y] = [known(value(a)), known(value(b))];
        return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
      }));
    }));
  }

  if (!pictures.length) { showTheme(); return; }

  // The gallery.
  const PAGE = 60;
  let chosen = [], drawn = 0;
  const fields = { right: $("f-right"), true: $("f-true"), predicted: $("f-predicted"), low: $("f-low"), high: $("f-high"), order: $("f-order") };
  const used = { true: new Set(pictures.map((p) => p.label)), predicted: new Set(pictures.map((p) => p.predicted)) };
  for (const key of ["true", "predicted"]) {
    classes.forEach((name, k) => { if (used[key].has(k)) fields[key].append(make("option", { value: k, textContent: name })); });
    if (key === "true" && used.true.has(-1)) fields.true.append(make("option", { value: -1, textContent: "unknown" }));
  }
  const words = (p) => (p.label < 0 ? `called ${classes[p.predicted]}` : isWrong(p) ? `${classes[p.label]}, called ${classes[p.predicted]}` : classes[p.label]);
  const card = (p, place) => {
    const state = p.label < 0 ? "" : isWrong(p) ? "wrong" : "right";
    const mark = make("b", { className: state, textContent: { wrong: "✗\u00a0", right: "✓\u00a0", "": "" }[state] });
    const sure = make("span", { className: "muted", textContent: percent(p.confidence) + (state === "wrong" ? `, is ${classes[p.label]}` : "") });
    const image = make("img", { src: source(p.thumb), alt: "", decoding: "async", width: 120, height: 120 });
    const button = make("button", { type: "button" }, image, make("span", {}, mark, classes[p.predicted]), sure);
    button.setAttribute("aria-label", `${state || "unlabelled"}: ${words(p)}, ${percent(p.confidence)} sure`);
    button.addEventListener("click", () => open(chosen, place));
    return make("li", {}, button);
  };
  const more = () => {
    $("gallery").append(...chosen.slice(drawn, drawn + PAGE).map((p, i) => card(p, drawn + i)));
    drawn = Math.min(drawn + PAGE, chosen.length);
    $("more").hidden = drawn >= chosen.length;
    $("more").textContent = `Show more (${(chosen.length - drawn).toLocaleString("en")} left)`;
  };
  const choose = () => {
    const low = Number(fields.low.value) / 100, high = Number(fields.high.value) / 100;
    chosen = pictures.filter((p) =>
      (!fields.right.value || (p.label >= 0 && (fields.right.value === "wrong") === isWrong(p))) &&
      (fields.true.value === "" || p.label === Number(fields.true.value)) &&
      (fields.predicted.value === "" || p.predicted === Number(fields.predicted.value)) &&
      p.confidence >= low - 1e-9 && p.confidence <= high + 1e-9);
    const by = { down: (a, b) => b.confidence - a.confidence, up: (a, b) => a.confidence - b.confidence, path: (a, b) => (a.path < b.path ? -1 : 1) };
    chosen.sort(by[fields.order.value]);
    $("gallery").replaceChildren();
    drawn = 0;
    $("count").textContent = chosen.length ? `${chosen.length.toLocaleString("en")} of ${pictures.length.toLocaleString("en")} pictures` : "No picture is like that.";
    more();
  };
  $("filters").addEventListener("input", choose);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    Object.assign(fields.right, { value: "" }); Object.assign(fields.true, { value: "" }); Object.assign(fields.predicted, { value: "" });
    fields.low.value = 0; fields.high.value = 100; fields.order.value = "down";
    choose();
  });
  $("more").addEventListener("click", () => { const first = drawn; more(); $("gallery").children[first]?.firstChild.focus(); });
  document.querySelectorAll("button[data-true]").forEach((button) => button.addEventListener("click", () => {
    fields.right.value = ""; fields.low.value = 0; fields.high.value = 100;
    fields.true.value = button.dataset.true; fields.predicted.value = button.dataset.predicted;
    choose();
    $("pictures").scrollIntoView();
    $("gallery").querySelector("button")?.focus({ preventScroll: true });
  }));
  document.querySelectorAll("[data-strip]").forEach((strip) => {
    const some = strip.dataset.strip.split(",").filter(Boolean).map((i) => pictures[Number(i)]);
    strip.append(...some.map((p, i) => {
      const button = make("button", { type: "button" }, make("img", { src: source(p.thumb), alt: "" }));
      button.setAttribute("aria-label", `${words(p)}, ${percent(p.confidence)} sure`);
      button.addEventListener("click", () => open(some, i));
      return button;
    }));
  });

  // One picture, opened.
  const dialog = $("dialog"), canvas = $("d-picture"), pen = canvas.getContext("2d");
  let list = [], at = 0, heat = 0;
  const bytes = (code) => Uint8Array.from(atob(code), (c) => c.charCodeAt(0));
  // Dark to bright through red and yellow, as matplotlib's "inferno" goes.
  const SCALE = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
  const glow = (t) => {
    const x = Math.min(t, 0.9999) * (SCALE.length - 1), i = Math.floor(x), f = x - i;
    return SCALE[i].map((c, k) => c + f * (SCALE[i + 1][k] - c));
  };
  const heatLayer = (code) => {
    const values = bytes(code), side = Math.round(Math.sqrt(values.length));
    const small = make("canvas", { width: side, height: side }), context = small.getContext("2d"), image = context.createImageData(side, side);
    values.forEach((v, i) => { const t = v / 255; image.data.set([...glow(t), 255 * Math.min(0.75, 1.3 * t)], 4 * i); });
    context.putImageData(image, 0, 0);
    return small;
  };
  const paint = () => {
    const p = list[at], image = new Image();
    image.onload = () => {
      if (p !== list[at]) return;
      pen.imageSmoothingEnabled = true; pen.imageSmoothingQuality = "high";
      pen.clearRect(0, 0, 480, 480);
      pen.drawImage(image, 0, 0, 480, 480);
      if (heat && p.heat[heat - 1]) pen.drawImage(heatLayer(p.heat[heat - 1]), 0, 0, 480, 480);
    };
    image.src = source(p.thumb);
  };
  const show = () => {
    const p = list[at];
    $("d-title").textContent = words(p);
    canvas.setAttribute("aria-label", `The picture: ${words(p)}`);
    const state = p.label < 0 ? "It has no label." : isWrong(p) ? `Wrong: it is ${classes[p.label]}.` : "Right.";
    $("d-say").replaceChildren(make("b", { className: isWrong(p) ? "wrong" : "right", textContent: state }), ` The answer is ${classes[p.predicted]}, ${percent(p.confidence)} sure.`);
    $("d-chances").replaceChildren(...p.top.flatMap(([k, share]) => {
      const fill = make("b"); fill.style.width = `${100 * share}%`;
      return [make("span", { textContent: classes[k], className: k === p.label ? "right" : "" }), make("i", {}, fill), make("span", { textContent: percent(share) })];
    }));
    const names = ["Picture", `Why ${classes[p.predicted]}?`, p.heat[1] ? `Where is ${classes[p.label]}?` : ""];
    heat = p.heat[0] ? Math.min(heat, p.heat[1] ? 2 : 1) : 0;
    $("d-heat").replaceChildren(...names.map((name, i) => {
      const button = make("button", { type: "button", textContent: name, hidden: !p.heat[Math.max(i - 1, 0)] });
      button.setAttribute("aria-pressed", heat === i);
      button.addEventListener("click", () => { heat = i; show(); $("d-heat").children[i].focus(); });
      return button;
    }));
    $("d-note").textContent = p.heat[0] ? "The warmer, the more that place speaks for the class (Grad-CAM)." : data.noHeat;
    $("d-neighbours").hidden = !p.near.length;
    $("d-near").replaceChildren(...p.near.map(([i, alike]) => {
      const t = training[i], text = make("span", { textContent: `${classes[t.label]} · ${alike.toFixed(2)}` });
      return make("li", { title: t.path }, make("img", { src: source(t.thumb), alt: `training picture of ${classes[t.label]}` }), text);
    }));
    $("d-path").textContent = p.path;
    $("d-back").disabled = at === 0; $("d-next").disabled = at === list.length - 1;
    paint();
  };
  const open = (from, place) => { list = from; at = place; heat = 1; show(); dialog.showModal(); $("d-close").focus(); };
  const step = (by) => { if (list[at + by]) { at += by; show(); } };
  $("d-close").addEventListener("click", () => dialog.close());
  $("d-back").addEventListener("click", () => step(-1));
  $("d-next").addEventListener("click", () => step(1));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => { if (event.key === "ArrowLeft") step(-1); if (event.key === "ArrowRight") step(1); });

  // The map.
  const plane = $("plane");
  if (plane) {
    const tip = $("tip"), context = plane.getContext("2d"), off = new Set();
    const group = (p) => (p.label >= 0 ? p.label : p.predicted);
    const present = [...new Set(pictures.map(group))].sort((a, b) => a - b);
    const colour = (k) => {
      const [r, g, b] = data.colours[k % data.colours.length];
      const light = 0.3 * r + 0.59 * g + 0.11 * b;
      return isDark() && light < 110 ? `rgb(${[r, g, b].map((c) => Math.round(c + (255 - c) * (0.55 - light / 255)))})` : `rgb(${[r, g, b]})`;
    };
    let scale = 1, places = [], hover = -1;
    const draw = () => {
      const width = plane.clientWidth, height = Math.min(640, Math.max(340, width * (width < 500 ? 1.1 : 0.68))), ratio = devicePixelRatio || 1;
      plane.width = width * ratio; plane.height = height * ratio; plane.style.height = `${height}px`;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      const [high, wide] = [data.extent[1] || 1, data.extent[0] || 1], margin = 16;
      scale = Math.min((width - 2 * margin) / wide, (height - 2 * margin) / high);
      const left = (width - scale * wide) / 2, top = (height - scale * high) / 2, size = Math.min(3.6, Math.max(1.5, 0.17 * Math.sqrt(width * height / pictures.length)));
      places = pictures.map((p) => [left + p.x * scale, height - top - p.y * scale]);
      for (const ring of [false, true]) {
        pictures.forEach((p, i) => {
          if (off.has(group(p)) || (ring && !isWrong(p))) return;
          context.beginPath();
          context.arc(...places[i], ring ? 1.6 * size : size, 0, 7);
          if (ring) { context.strokeStyle = colour(p.predicted); context.lineWidth = Math.max(0.9, 0.5 * size); context.stroke(); }
          else { context.fillStyle = colour(p.label >= 0 ? p.label : p.predicted); context.globalAlpha = isWrong(p) ? 1 : 0.72; context.fill(); context.globalAlpha = 1; }
        });
      }
      if (hover >= 0) {
        context.beginPath(); context.arc(...places[hover], size + 5, 0, 7);
        context.strokeStyle = getComputedStyle(root).getPropertyValue("--ink"); context.lineWidth = 2; context.stroke();
      }
    };
    const nearest = (event) => {
      const box = plane.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
      let best = -1, least = 18 ** 2;
      places.forEach(([px, py], i) => {
        const d = (px - x) ** 2 + (py - y) ** 2;
        if (d < least && !off.has(group(pictures[i]))) { best = i; least = d; }
      });
      return best;
    };
    plane.addEventListener("pointermove", (event) => {
      const found = nearest(event);
      if (found !== hover) { hover = found; draw(); }
      tip.hidden = found < 0;
      plane.style.cursor = found < 0 ? "crosshair" : "pointer";
      if (found < 0) return;
      const p = pictures[found], [x, y] = places[found];
      const state = make("b", { className: isWrong(p) ? "wrong" : "right", textContent: isWrong(p) ? "✗ " : p.label >= 0 ? "✓ " : "" });
      tip.replaceChildren(make("img", { src: source(p.thumb), alt: "" }), make("div", {}, state, `${words(p)}, ${percent(p.confidence)}`));
      tip.style.left = `${Math.min(Math.max(x + 14, 4), plane.clientWidth - 150)}px`;
      tip.style.top = y > plane.clientHeight - 210 ? `${Math.max(y - 205, 4)}px` : `${y + 14}px`;
    });
    plane.addEventListener("pointerleave", () => { hover = -1; tip.hidden = true; draw(); });
    plane.addEventListener("click", (event) => { const found = nearest(event); if (found >= 0) open(pictures, found); });
    const legend = () => $("legend").replaceChildren(...present.map((k) => {
      const dot = make("i"); dot.style.background = colour(k);
      const button = make("button", { type: "button" }, dot, classes[k]);
      button.setAttribute("aria-pressed", !off.has(k));
      button.addEventListener("click", () => {
        if (off.has(k)) off.delete(k); else off.add(k);
        button.setAttribute("aria-pressed", !off.has(k));
        draw();
      });
      return button;
    }));
    listeners.push(() => { legend(); draw(); });
    addEventListener("resize", draw);
    addEventListener("beforeprint", draw);
  }
  choose();
  showTheme();
})();
