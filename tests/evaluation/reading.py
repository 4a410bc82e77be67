"""A report read in a browser, as a person would: wide and narrow, light and dark, by mouse and by keyboard alone.

    python tests/evaluation/reading.py report.html [other.html …] [--shots FOLDER]

prints what was found for each page and leaves with 1 if anything was wrong. Needs playwright and a Chromium.
"""

import argparse
import sys
from pathlib import Path

from shoebox.deploy.printing import find_browser

VIEWS = [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]

SCRIPT = (Path(__file__).parent / "reading.js").read_text(encoding="utf-8")


def asked_of(page, what):
    return page.evaluate(f"{SCRIPT}.{what}()")


def read(path, shots=None):
    """Faults of a page, as sentences; with `shots`, a folder, pictures of it are left there."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
        faults = []
        for width, scheme in VIEWS:
            shot = shots and shots / f"{path.stem}-{width}-{scheme}"
            found = read_once(browser, path.resolve().as_uri(), width, scheme, shot)
            faults += [f"{path.name} at {width} px, {scheme}: {fault}" for fault in found]
        browser.close()
    return faults


def read_once(browser, address, width, scheme, shot):
    narrow = width < 600
    phone = {"is_mobile": True, "has_touch": True, "device_scale_factor": 2} if narrow else {}
    window = {"width": width, "height": 844 if narrow else 900}
    context = browser.new_context(viewport=window, color_scheme=scheme, reduced_motion="reduce", **phone)
    page, faults = context.new_page(), []
    page.set_default_timeout(180_000)

    def requested(asked):
        if not asked.url.startswith(("data:", address)):
            faults.append(f"asked for {asked.url}")

    page.on("console", lambda said: faults.append(f"console {said.type}: {said.text}"))
    page.on("pageerror", lambda error: faults.append(f"error {error}"))
    page.on("request", requested)
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait_for_timeout(300)
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        faults.append("it scrolls sideways")
    for what in ("wide", "contrast", "nameless"):
        faults += asked_of(page, what)
    if shot:
        page.screenshot(path=f"{shot}.png", full_page=True)
    faults += used(page, shot)
    context.close()
    return faults


def used(page, shot=None):
    """Use what is on the page, by keyboard where a keyboard can."""

    def shown():
        return page.locator("#gallery > li").count()

    def data():
        return page.evaluate("JSON.parse(document.getElementById('data').textContent)")

    if not page.locator("#gallery").count():
        return
    pictures = data()["pictures"]
    wrong = [one for one in pictures if one["label"] >= 0 and one["label"] != one["predicted"]]
    page.locator("#filters button[type=reset]").focus()
    page.keyboard.press("Enter")
    if not page.locator("#count").inner_text().startswith(f"{len(pictures):,} of"):
        yield "All pictures does not show all"
    page.locator("#f-right").select_option("wrong")
    if wrong and not page.locator("#count").inner_text().startswith(f"{len(wrong):,} of"):
        yield "the filter of wrong answers does not show the wrong ones"
    page.locator("#f-low").fill("101")
    if shown():
        yield "pictures surer than 101 %"
    page.locator("#f-low").fill("0")
    page.locator("#f-right").select_option("")
    page.locator("#gallery button").first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#dialog")
    if not dialog.is_visible():
        yield "Enter on a picture opens nothing"
        return
    page.wait_for_timeout(200)
    if shot:
        page.screenshot(path=f"{shot}-dialog.png")
    for fault in asked_of(page, "contrast"):
        yield f"in the dialog: {fault}"
    title = page.locator("#d-path").inner_text()
    if len(pictures) > 1:
        page.keyboard.press("ArrowRight")
        if page.locator("#d-path").inner_text() == title:
            yield "the right arrow shows no other picture"
        page.keyboard.press("ArrowLeft")
        if page.locator("#d-path").inner_text() != title:
            yield "the left arrow does not lead back"
    page.keyboard.press("Tab")
    # After the last control the focus may go to the browser's own, which the page sees as its body.
    if not page.evaluate("document.activeElement === document.body || dialog.contains(document.activeElement)"):
        yield "Tab leads from the open dialog to what lies behind it"
    page.keyboard.press("Escape")
    if dialog.is_visible():
        yield "Escape does not close the picture"
    if not page.evaluate("document.activeElement.closest('#gallery')"):
        yield "after closing, the focus is not on the picture it came from"
    page.locator("#theme").focus()
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("Enter")
    if page.evaluate("getComputedStyle(document.body).backgroundColor") == before:
        yield "the switch of colours changes nothing"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--shots", type=Path)
    asked = parser.parse_args()
    found = [fault for page in asked.pages for fault in read(page, asked.shots)]
    sys.stdout.write("\n".join(found or [f"{len(asked.pages)} pages read: nothing is wrong"]) + "\n")
    sys.exit(bool(found))
