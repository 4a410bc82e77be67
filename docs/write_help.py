"""Write docs/commands.md: what `--help` says of every verb. A test holds the file to it; `make docs` renews it."""

import os
import subprocess
import sys
from pathlib import Path

TARGET = Path(__file__).parent / "commands.md"


def help_of(*words: str) -> str:
    """What the command prints, 100 columns wide."""
    environment = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "shoebox", *words, "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    return "\n".join(line.rstrip() for line in printed.strip().splitlines()).replace("python -m shoebox", "shoebox")


def page() -> str:
    """The whole page, in Markdown."""
    top = help_of()
    listed = top.partition("Commands:")[2].splitlines()
    verbs = [line.split()[0] for line in listed if line.startswith("  ") and not line.startswith("   ")]
    parts = ["# Commands\n", f"```text\n{top}\n```\n"]
    parts += [f"## shoebox {verb}\n\n```text\n{help_of(verb)}\n```\n" for verb in verbs]
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
