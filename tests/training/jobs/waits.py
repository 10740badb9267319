"""Two ranks: the second waits long for the first, then hangs while the first waits for it.

RANK=0 WORLD_SIZE=2 MASTER_ADDR=... MASTER_PORT=... python waits.py
"""

from __future__ import annotations

import os
import signal
import time

import torch

from arriero.training.ranks import ParallelConfig, is_lost_rank, missing_ranks, start_ranks

TIMEOUT_S = 1.5

ranks = start_ranks(ParallelConfig(timeout_s=TIMEOUT_S), torch.device("cpu"))
print(ranks.from_all(f"rank {ranks.number}"), flush=True)
if ranks.is_first:
    time.sleep(2 * TIMEOUT_S)
ranks.wait()
print("met", flush=True)
if not ranks.is_first:
    os.kill(os.getpid(), signal.SIGSTOP)
began = time.monotonic()
try:
    ranks.wait()
except RuntimeError as error:
    in_time = time.monotonic() - began < 2 * TIMEOUT_S
    print(
        f"lost {is_lost_rank(error)} in time {in_time} missing {missing_ranks(ranks)}", flush=True
    )
os._exit(0)
