"""Large blocks of memory go back to the system, so that a server does not grow by passes of ever other sizes."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

HOLES = """
import resource, sys
from pathlib import Path
import torch
from aet.serving.server import give_back_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

assert sys.argv[1] == "no" or give_back_memory()
torch.ones(5 << 20)  # freed: from now on glibc keeps blocks of up to 20 MB
before, large, small = resident(), [], []
for _ in range(12):
    large.append(torch.ones(1 << 19))
    small.append(bytearray(4000))
del large
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_large_blocks_leave_no_holes():
    held = {}
    for does in ("yes", "no"):
        done = subprocess.run([sys.executable, "-c", HOLES, does], capture_output=True, text=True, check=True)
        held[does] = float(done.stdout)
    assert held["yes"] < 8 < held["no"]
