// What `reading.py` asks of a page: three functions, each giving a list of what is wrong.
({
  // Text whose contrast with what lies behind it is below 4.5, or 3 where it is large (WCAG 2.1, 1.4.3).
  contrast() {
    const rgb = (c) => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
    const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3]));
    const linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const beside = "[disabled],[aria-pressed=false],option,.none,script,style,noscript,.hidden,.skip";
    const low = new Set();
    for (const e of document.querySelectorAll("body *")) {
      const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
      const style = getComputedStyle(e), colour = e instanceof SVGElement ? style.fill : style.color;
      if (!own || !e.getClientRects().length || !/^rgb/.test(colour) || e.closest(beside)) continue;
      const layers = [];
      for (let p = e; p; p = p.parentElement) layers.push(rgb(getComputedStyle(p).backgroundColor));
      let back = [255, 255, 255];
      for (const layer of layers.reverse()) back = over(layer, back);
      const [x, y] = [light(over(rgb(colour), back)), light(back)];
      const ratio = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05), size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.5 && style.fontWeight >= 700);
      if (ratio < (large ? 3 : 4.5)) low.add(`low contrast, ${ratio.toFixed(2)}: ${e.tagName} "${e.textContent.trim().slice(0, 30)}"`);
    }
    return [...low].slice(0, 12);
  },
  // What reaches past the window's edge without a scroller of its own.
  wide() {
    const clipped = (e) => {
      for (let p = e.parentElement; p; p = p.parentElement) if (getComputedStyle(p).overflowX !== "visible") return true;
      return getComputedStyle(e).position === "absolute";
    };
    const past = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !clipped(e));
    return past.map((e) => `too wide: ${e.tagName}.${e.getAttribute("class")}`).slice(0, 8);
  },
  // Controls and figures that say nothing of themselves.
  nameless() {
    const all = [...document.querySelectorAll("button,select,input,canvas,svg[role=img],a")].filter((e) => e.getClientRects().length);
    const mute = all.filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length));
    return mute.map((e) => `has no name: ${e.outerHTML.slice(0, 80)}`);
  },
})
