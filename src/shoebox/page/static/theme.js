"use strict";
// Before anything is drawn: the colours that the reader chose, if they did.
try {
  const kept = localStorage.getItem("shoebox-theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch { /* storage may be switched off */ }
