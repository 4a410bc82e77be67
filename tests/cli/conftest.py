import subprocess
import sys

import pytest


@pytest.fixture
def shoebox(tmp_path):
    """shoebox("train", …, code=0): run the command in an empty folder; gives stdout and stderr, holds the exit code."""

    def run(*arguments, code=0):
        command = [sys.executable, "-m", "shoebox", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, errors="surrogateescape")
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run
