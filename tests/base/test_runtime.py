"""The machine as a run uses it."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from shoebox.base.runtime import keep_memory
if {keep}: keep_memory()
bytearray(64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    bytearray(b"1") * (64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU libc's allocator can be told")
def test_freed_memory_serves_the_next_array() -> None:
    """Eight arrays of 64 MiB, one after the other: without it each is asked of the kernel, page by page."""

    def faults(keep: bool) -> int:
        command = [sys.executable, "-c", PROGRAM.format(keep=keep)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults(True) < faults(False) / 4
