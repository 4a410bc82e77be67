import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from shoebox.base.errors import ShoeboxError
from shoebox.base.files import atomic_write, cache_folder, lock


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half of the new")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_text_is_utf8_and_newlines_are_kept(tmp_path):
    with atomic_write(tmp_path / "text", "w") as file:
        file.write("é\r\n\n")
    assert (tmp_path / "text").read_bytes() == "é\r\n\n".encode()


HOLDER = """
    import sys, time
    from pathlib import Path
    from shoebox.base.files import lock
    with lock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_frees_the_lock(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ShoeboxError, match=f"process {holder.pid}"), lock(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with lock(tmp_path):
        pass


def test_the_cache_follows_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "shoebox"
    assert cache_folder(tmp_path / "mine") == tmp_path / "mine"
