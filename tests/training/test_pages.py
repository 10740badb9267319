"""The allocator keeps what a step lets go of: seen in the pages that the system hands out."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT = """
import platform, resource, sys
import torch
from arriero.training.pages import keep_pages

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(16 << 20).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

without = faults()
kept = keep_pages()
for _ in range(6):  # until a buffer with room for its alignment has been let go of
    faults()
print(kept, without, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is glibc's")
def test_a_buffer_is_not_handed_out_anew() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    kept, without, with_it = done.stdout.split()
    if kept == "False":
        pytest.fail("glibc's mallopt is not there")
    assert int(with_it) < int(without) / 10
