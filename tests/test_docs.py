"""Documentation that is executed: every command and every line of Python in the README."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line.partition("  #")[0].strip() for block in blocks("sh") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with what the README speaks of: pictures/, pile/, photo.jpg, squeezenet1_1.pth."""
    import numpy as np
    import torch
    from PIL import Image

    from shoebox.models.architectures import plain_model

    root = tmp_path_factory.mktemp("desk")
    draw = np.random.default_rng(0)
    for name, tint in (("cat", (200, 80, 80)), ("dog", (80, 80, 200))):
        (root / "pictures" / name).mkdir(parents=True)
        for number in range(20):
            pixels = draw.normal(tint, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "pictures" / name / f"{number}.png")
    Image.fromarray(pixels).save(root / "pictures" / "dog" / "copy.png")
    Image.fromarray(pixels).save(root / "photo.jpg")
    (root / "pile").mkdir()
    torch.manual_seed(0)
    torch.save(plain_model("torchvision", "squeezenet1_1", 1000).state_dict(), root / "squeezenet1_1.pth")
    Image.fromarray(pixels).save(root / "pile" / "1.jpg")
    return root


def test_every_shoebox_command_of_the_readme_runs(desk, run_command):
    ran = 0
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] == "make":
            continue
        assert words[0] == "shoebox", command
        # Only the time is cut: ten minutes of training are for people.
        words = ["0.1" if before == "--minutes" else word for before, word in zip(["", *words], words, strict=False)]
        if words[1] == "serve":
            serve_shortly(words, desk)
            continue
        done = run_command(words, desk)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        ran += 1
    assert ran >= 10


def serve_shortly(words, desk):
    """Start a server on a port that is free, and stop it once it is ready."""
    command = [sys.executable, "-m", *words, "--port", "0"]
    with subprocess.Popen(command, cwd=desk, stderr=subprocess.PIPE, text=True) as server:
        ready = any('"event": "ready"' in line for line in server.stderr)
        server.terminate()
    assert ready, words


def test_every_make_command_of_the_readme_is_a_target():
    targets = {word for line in COMMANDS if line.startswith("make ") for word in shlex.split(line)[1:]}
    assert targets
    for target in targets | {"install", "check", "test-slow", "bench", "docs"}:
        done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_python_of_the_readme_runs(desk):
    for number, block in enumerate(blocks("python")):
        done = subprocess.run([sys.executable, "-c", block], cwd=desk, capture_output=True, text=True)
        assert done.returncode == 0, f"block {number}\n{done.stderr}"


def test_the_example_network_trains(desk, run_command):
    options = ["--import", str(ROOT / "examples" / "my_nets.py"), "--model", "my_net(width=8)", "--epochs", "1"]
    done = run_command(["shoebox", "train", "pictures/", "--run", "runs/mine", *options], desk)
    assert done.returncode == 0, done.stderr


def test_the_networks_that_the_readme_names_are_made_as_it_says():
    from shoebox.models import build_model

    specs = [spec for spec in re.findall(r"--model '([^']+)'", README) if not spec.startswith("my_net")]
    assert any("members" in spec for spec in specs)
    for spec in specs:
        build_model(spec, classes=2, size=32)


def test_links_and_pictures_of_the_readme_are_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_readme_names_every_shipped_recipe():
    for recipe in (ROOT / "src" / "shoebox" / "recipes").glob("*.yaml"):
        assert recipe.stem == "demo" or f"`{recipe.stem}`" in README, recipe.stem


def test_the_page_of_commands_is_what_help_says():
    import runpy

    page = runpy.run_path(str(ROOT / "docs" / "write_help.py"))["page"]()
    assert page == (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), "run make docs"
