"""What the browser gets: nothing that a strict policy would not run, nothing from elsewhere."""

import re
import subprocess
import sys

import pytest

from shoebox.page.mount import STATIC, base_style

FILES = sorted(STATIC.iterdir())


def test_the_page_is_served_under_a_policy_without_exceptions(client_of):
    client = client_of()
    page = client.get("/")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    asked = re.findall(r'(?:src|href)="(static/[^"]+)"', page.text)
    assert "static/main.js" in asked and "static/base.css" in asked
    for path in asked:
        assert client.get(f"/{path}").status_code == 200, path


def test_what_the_page_holds_needs_no_exception():
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_names_another_server(path):
    found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[\w./-]*", path.read_text(encoding="utf-8")))
    assert found <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".js"], ids=lambda path: path.name)
def test_no_script_makes_markup_of_text(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    for module in re.findall(r'from "\./([^"]+)"', text):
        assert (STATIC / module).is_file()


def test_the_style_is_the_reports_own():
    style = base_style()
    assert "--page: #f3f5f7" in style and "{{" not in style and "{%" not in style


def test_the_page_needs_no_torch():
    """An exported classifier is served by a process that never loads it."""
    look = "import sys, shoebox.page.mount; print({'torch', 'sklearn', 'matplotlib', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stdout.strip() == "set()"
