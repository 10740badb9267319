"""Scores of some sequences on the ranks that torchrun starts.

    torchrun --nproc-per-node N scores.py MODEL SEQUENCES OUT TENSOR

SEQUENCES is a JSON list of lists of ids; every rank has all scores, and the first writes them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from arriero.alignment.scoring import score_sequences
from arriero.stages.placement import read_score_model
from arriero.stages.workspace import Workspace
from arriero.training.ranks import ParallelConfig, end_ranks, start_ranks


def main() -> None:
    folder, sequences, out = map(Path, sys.argv[1:4])
    torch.set_num_threads(1)
    device = torch.device("cpu")
    ranks = start_ranks(ParallelConfig(tensor=int(sys.argv[4])), device)
    space = Workspace(out.parent, 0, device, lambda line: None, ranks)
    model = read_score_model(folder, space, "float32")
    scores = score_sequences(model, json.loads(sequences.read_text()), ranks)
    if ranks.is_first:
        out.write_text(json.dumps(scores.tolist()))
    end_ranks(ranks)


main()
