"""A report as PDF: the page as a browser prints it, or its figures where there is no browser.

In: the report's HTML file, or matplotlib figures. Out: a PDF file that appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from shoebox.base.errors import ShoeboxError
from shoebox.base.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
SECONDS = 120


def find_browser() -> str | None:
    """The path of a browser that can print without a window, or None."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def print_page(browser: str, page: Path, out: Path) -> None:
    """Print an HTML file, offline and with a profile of its own.

    Raises:
        ShoeboxError: the browser failed; the message says how.
    """
    with tempfile.TemporaryDirectory(prefix="shoebox-print-") as folder:
        made = Path(folder) / "report.pdf"
        command = [browser, "--headless", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        command += ["--disable-component-update", "--no-first-run", "--proxy-server=127.0.0.1:9"]  # reaches nothing
        command += [f"--user-data-dir={folder}/profile", "--no-pdf-header-footer", "--virtual-time-budget=10000"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--no-sandbox")  # its sandbox does not work for root; the page is our own
        command += [f"--print-to-pdf={made}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise ShoeboxError(f"{browser} did not print {page} within {SECONDS} s") from None
        if not made.is_file():
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ShoeboxError(f"{browser} could not print {page}: {last}")
        with atomic_write(out) as file:
            file.write(made.read_bytes())


def print_figures(figures: Iterable[Figure], out: Path) -> None:
    """Write figures to a PDF, a page each."""
    from matplotlib.backends.backend_pdf import PdfPages

    with atomic_write(out) as file, PdfPages(file) as pages:
        for figure in figures:
            pages.savefig(figure)
