"""Sampling on several ranks: from weights gathered once, and from weights that stay in shares.

    torchrun --standalone --nproc-per-node 2 benchmarks/rollouts.py --repeats 5

Section 3.2.3 says that generation was about twenty times slower with FSDP, until the weights were
gathered once on each node and freed after it. Here all ranks sample 32 tokens after each of 64
prompts of 16, each rank its part of them, in three ways: `shares`, a plain loop over the model in
shares (every step brings every block together); `gathered`, the same loop over a whole copy, with
the time that gathering takes; `engine`, our sampler on that copy, which is what PPO does. The
first two draw the same tokens. The ranks are processes on one machine, so what it measures is the
work of bringing weights together through memory; between machines it costs more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from arriero.inference.generate import Sampling, generate
from arriero.model.cache import KVCache
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.stages.placement import fresh_language_model, whole_copy
from arriero.stages.workspace import ParallelConfig, Workspace, end_ranks, start_ranks
from arriero.training.parallel import reshard

SHAPES = {
    "1M": ModelConfig(
        vocab_size=2048,
        dim=128,
        num_layers=4,
        num_heads=4,
        num_kv_heads=4,
        ffn_dim=352,
        context=256,
    ),
    "7M": ModelConfig(
        vocab_size=4096,
        dim=256,
        num_layers=6,
        num_heads=8,
        num_kv_heads=8,
        ffn_dim=704,
        context=256,
    ),
}
PROMPTS, LENGTH, NEW = 64, 16, 32


@torch.no_grad()
def plain_loop(model: LanguageModel, prompts: Tensor) -> Tensor:
    """NEW tokens [B, NEW] after prompts [B, LENGTH], drawn from the whole distribution."""
    generator = torch.Generator().manual_seed(0)
    cache = KVCache(model.config, len(prompts), LENGTH + NEW, dtype=torch.float32, device="cpu")
    tokens, begin = prompts, 0
    drawn: list[Tensor] = []
    for _ in range(NEW):
        end = begin + tokens.shape[1]
        positions = torch.arange(begin, end).expand(len(tokens), -1)
        logits = model(tokens, positions=positions, cache=cache, num_slots=end)[:, -1]
        tokens, begin = torch.multinomial(logits.softmax(-1), 1, generator=generator), end
        drawn.append(tokens)
    return torch.cat(drawn, 1)


def measure(shape: str, repeats: int, space: Workspace) -> dict[str, list[float]]:
    """Seconds of each way by its name, from the first rank to begin to the last one to end."""
    ranks = space.ranks
    model = fresh_language_model(SHAPES[shape], space, "float32").eval()
    draw = torch.Generator().manual_seed(1)
    prompts = torch.randint(3, SHAPES[shape].vocab_size, (PROMPTS, LENGTH), generator=draw)
    prompts = prompts[ranks.number :: ranks.size]

    def shares() -> Tensor:
        found = plain_loop(model, prompts)
        reshard(model)
        return found

    def gathered() -> Tensor:
        return plain_loop(whole_copy(model, space), prompts)

    def engine() -> Tensor:
        whole = whole_copy(model, space)
        sampling = Sampling(max_new_tokens=NEW)
        found = generate(whole, prompts.tolist(), sampling, seed=0, ends=())
        return torch.tensor([samples[0].tokens for samples in found])

    ways: dict[str, Callable[[], Tensor]] = {
        "shares": shares,
        "gathered": gathered,
        "engine": engine,
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Tensor] = {}
    for repeat in range(repeats + 1):
        for name, act in ways.items():
            ranks.barrier()
            began = time.perf_counter()
            found[name] = act()
            ranks.barrier()
            if repeat:  # the first one compiles
                spent[name].append(time.perf_counter() - began)
    assert torch.equal(found["shares"], found["gathered"])
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--json", type=Path, help="write everything into a file too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cpu")
    ranks = start_ranks(ParallelConfig(), device)
    everything: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        space = Workspace(Path(name), 0, device, lambda _: None, ranks)
        for shape in options.shapes.split(","):
            everything[shape] = spent = measure(shape, options.repeats, space)
            medians = {way: statistics.median(seconds) for way, seconds in spent.items()}
            rates = "  ".join(
                f"{way} {PROMPTS * NEW / median:,.0f} tokens/s" for way, median in medians.items()
            )
            if ranks.is_first:
                print(
                    f"{ranks.size} ranks, {shape}: {rates}; against shares gathered is "
                    f"{medians['shares'] / medians['gathered']:.1f} times as fast, the engine "
                    f"{medians['shares'] / medians['engine']:.1f}",
                    flush=True,
                )
    if options.json and ranks.is_first:
        options.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    end_ranks(ranks)


if __name__ == "__main__":
    sys.exit(main())
