"""Ranks wait for one another: patiently where they have to, and not for ever."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from arriero.training.ranks import ALONE

JOB = Path(__file__).parent / "jobs" / "waits.py"


def test_alone_there_is_nobody_to_ask() -> None:
    assert ALONE.from_all(3) == [3]
    assert ALONE.agreed(3) == 3


@pytest.mark.slow
def test_a_rank_waits_long_for_the_first_one_and_not_the_other_way_round() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(JOB)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = ranks[0].communicate(timeout=60)[0].splitlines()
    finally:
        for rank in ranks:
            rank.kill()
    assert ranks[1].communicate()[0].splitlines()[1:] == ["met"]
    assert said == ["['rank 0', 'rank 1']", "met", "lost True in time True missing [1]"]
