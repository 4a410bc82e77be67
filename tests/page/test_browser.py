"""The page in a real browser: what a person does with it, without an error in the console or a word to anyone else."""

import csv
import shutil
import threading
import time
from urllib.parse import urlsplit

import pytest
import uvicorn

from shoebox.data.patch import read_patch
from shoebox.page.mount import mount
from shoebox.page.pictures import run_pictures
from shoebox.serve.app import create_app
from shoebox.serve.service import Service
from shoebox.serve.settings import Settings

HOSTILE = "<img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
ALONE = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ALONE += ["--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions"]

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ALONE)
        yield browser
        browser.close()


@pytest.fixture
def address(run, work, tmp_path, monkeypatch):
    """Where a server of the run listens, with a folder to work on."""
    monkeypatch.chdir(tmp_path)
    settings = Settings(data=work, device="cpu", watch_seconds=0)
    app = create_app(Service(run, settings), settings, (mount,))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 60
    while not (server.started and server.servers):
        assert thread.is_alive() and time.monotonic() < end
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def page(chromium, address):
    """The page as opened; at the end, nothing has gone wrong in it and nobody else was asked."""
    context = chromium.new_context(accept_downloads=True, viewport={"width": 390, "height": 844})
    page = context.new_page()
    wrong, elsewhere = [], []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"a name was run: {dialog.message}"))

    def look(request):
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data") and f"{parts.scheme}://{parts.netloc}" != address:
            elsewhere.append(request.url)

    page.on("request", look)
    page.set_default_timeout(30_000)
    page.goto(address)
    page.wait_for_selector("#examples-list img")
    yield page
    context.close()
    assert wrong == [] and elsewhere == []


def test_a_picture_is_answered_and_explained(page, run):
    picture = next(one.file for one in run_pictures(run) if one.part == "val")
    page.set_input_files("#file", str(picture))
    page.wait_for_selector("#single .near img")
    assert len(page.query_selector_all("#single .chances > i")) == 3
    told = page.query_selector_all("#single .chances span:nth-child(3n)")
    shares = [float(one.inner_text().split()[0]) for one in told]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(100, abs=0.3)
    assert page.inner_text("#single h2") == page.inner_text("#single .chances span >> nth=0")
    assert page.get_attribute("#single .choices button >> nth=1", "aria-pressed") == "true"
    with_heat = page.locator("#single canvas").screenshot()
    page.click("#single .choices button >> nth=0")
    assert page.locator("#single canvas").screenshot() != with_heat


def test_an_example_is_answered_by_keyboard(page):
    page.focus("#examples-list button >> nth=1")
    page.keyboard.press("Enter")
    page.wait_for_selector("#single .verdict")
    assert page.inner_text("#say").endswith(".")


def test_a_batch_fills_a_table_and_a_file(page, run):
    files = [str(one.file) for one in run_pictures(run)[:22]]
    page.set_input_files("#file", files)
    page.wait_for_selector("#batch-progress", state="hidden")
    assert page.locator("#batch-table tbody tr").count() == len(files) == 22
    with page.expect_download() as download:
        page.click("#batch-csv")
    with download.value.path().open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 22 and {row["status"] for row in rows} == {"ok"}
    assert {row["label"] for row in rows} <= {HOSTILE, "'=cat", "dog"}, "a name that a spreadsheet would run is not"
    page.click("#batch-table tbody button >> nth=2")
    page.wait_for_selector("#dialog .verdict")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#d-title") == "4 of 22"
    page.keyboard.press("Escape")
    assert not page.is_visible("#dialog")


def test_labels_are_decided_by_keyboard(page, address, work):
    page.goto(f"{address}/#labels")
    page.click("button:text-is('Decide')")
    page.wait_for_selector(".judge .question")
    assert HOSTILE in page.inner_text(".question")
    for key, far in (("a", "2 of 3"), ("k", "3 of 3")):
        page.keyboard.press(key)
        page.wait_for_selector(f"text={far}")
    decided = {path: said.label for path, said in read_patch(work / "labels.csv").items()}
    assert decided == {"dog/0.jpg": HOSTILE, f"{HOSTILE}/1.jpg": HOSTILE}
    page.keyboard.press("u")
    page.wait_for_selector("text=2 of 3")
    assert list(read_patch(work / "labels.csv")) == ["dog/0.jpg"]


def test_the_card_is_told(page, address):
    page.goto(f"{address}/#about")
    page.wait_for_selector("text=How sure is sure")
    assert HOSTILE in page.inner_text("#view-about")


@pytest.mark.slow
def test_a_short_training_is_watched(page, address, tmp_path):
    page.goto(f"{address}/#train")
    page.select_option("form .field:nth-child(4) select", "epochs")
    page.fill("form input[type=number]", "2")
    page.click("text=Start training")
    page.wait_for_selector(".chart circle", timeout=120_000)
    page.wait_for_selector(".note:has-text('It is saved in')", timeout=120_000)
    assert (tmp_path / "runs" / "work" / "model.safetensors").is_file()
