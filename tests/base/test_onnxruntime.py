"""ONNX Runtime runs a network and leaves nothing behind on the machine."""

import os
import subprocess
import sys

PROGRAM = """
import sys
from pathlib import Path
from shoebox.deploy.backends import open_exported
import numpy as np
open_exported(Path(sys.argv[1])).scores(np.zeros((1, 24, 24, 3), np.uint8))
"""


def test_nothing_is_collected(exported, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PROGRAM, str(exported)]
    subprocess.run(command, env=environment | places, check=True, cwd=tmp_path)
    assert not list(tmp_path.iterdir())
