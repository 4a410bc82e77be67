"""The floors of the house: a module imports only lower floors, and its own room never in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "shoebox"
FLOORS = [
    {"base"},
    {"data", "models"},
    {"evaluation"},
    {"pipeline", "card"},
    {"classifier"},
    {"training", "deploy"},
    {"estimator", "demo", "serve"},
    {"scale", "page"},
    {"cli", ""},
    {"__main__"},
]
LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor}
MODULES = sorted(SOURCE.rglob("*.py"))


def name_of(path):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


def room_of(module):
    return module.partition(".")[0]


def imports_of(path):
    """Every module of the package that a file imports, at its top or within a function; typing-only imports too."""
    names = {name_of(p) for p in MODULES}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "shoebox":
            base = node.module.removeprefix("shoebox").lstrip(".")
            for alias in node.names:
                below = f"{base}.{alias.name}".lstrip(".")
                yield below if below in names else base
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("shoebox."):
                    yield alias.name.removeprefix("shoebox.")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_lower_floors(path):
    module = name_of(path)
    room = room_of(module)
    assert room in LEVEL, f"{module} stands on no floor"
    for imported in imports_of(path):
        other = room_of(imported)
        assert other == room or LEVEL[other] < LEVEL[room], f"{module} imports {imported}, which is not below it"


def test_no_module_of_a_room_imports_in_a_circle():
    graph = {name_of(p): {i for i in imports_of(p) if room_of(i) == room_of(name_of(p))} for p in MODULES}
    done, path = set(), []

    def visit(module):
        assert module not in path, f"circle: {' → '.join([*path[path.index(module) :], module])}"
        if module in done:
            return
        path.append(module)
        for below in graph.get(module, ()):
            if below != module:
                visit(below)
        done.add(path.pop())

    # The root only names where its lazy names live.
    for module in graph:
        if module:
            visit(module)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_opens_with_what_it_does_and_stays_readable(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 310


LIGHT = """
import sys
{statement}
heavy = {{"torch", "timm", "pandas", "sklearn", "matplotlib", "numpy", "PIL", "scipy"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import shoebox",
        "import shoebox.cli",
        "import sys; sys.argv=['shoebox','--help']; import shoebox.cli\n"
        "try: shoebox.cli.main()\nexcept SystemExit: pass",
    ],
    ids=["package", "cli", "help"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement):
    done = subprocess.run([sys.executable, "-c", LIGHT.format(statement=statement)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_costs_no_more_than_its_names():
    asked = "import importlib, sys; before = set(sys.modules); import shoebox; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"shoebox", "shoebox.base", "shoebox.base.version"}
