"""A training step beside transformers' Trainer and beside litgpt, compiled.

    python benchmarks/training.py [--repeats 15] [--shapes 7M,25M] [--precision float32,bfloat16]
                                  [--peers arriero,transformers,litgpt,...] [--json FILE]

The same shape, rows, precision and threads; each peer in a process of its own, and their steps
alternate, so that a noisy neighbour hits all of them. A peer whose name ends in "+" runs with an
allocator that keeps its pages (glibc's MALLOC_ variables); "packed" is ours with several documents
in a row, which the others would let see each other. What is printed are tokens a second (medians),
ratios of medians, and the share of the rate of plain matrix products that was measured in between.
litgpt and accelerate are to be installed for it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SHAPES = {
    "7M": {"vocab_size": 4096, "dim": 256, "num_heads": 8, "ffn_dim": 704},
    "25M": {"vocab_size": 32_000, "dim": 288, "num_heads": 6, "ffn_dim": 768},
}
NUM_LAYERS, CONTEXT = 6, 1024
ROWS = {"7M": (16, 256), "25M": (8, 256)}  # rows, tokens a row
NUM_BATCHES = 8
NEVER = 10**9
KEEPS_PAGES = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
Step = Callable[[], None]


def rows_of(shape: str) -> list[list[list[int]]]:
    """Some batches of random tokens: [batch][row][token]."""
    draw = random.Random(0)
    rows, length = ROWS[shape]
    vocab = range(3, SHAPES[shape]["vocab_size"])
    return [[draw.choices(vocab, k=length) for _ in range(rows)] for _ in range(NUM_BATCHES)]


def ours(
    shape: str, precision: str, wait: Callable[[], None], *, packed: bool = False, **options: Any
) -> None:
    """The stages' own way: fit, its meter and guard, batches of packed rows."""
    import torch

    from arriero.data.packing import PackedBatch, pack
    from arriero.model.config import ModelConfig
    from arriero.stages.fitting import autocast, fit
    from arriero.stages.placement import fresh_language_model
    from arriero.stages.token_loss import packed_loss_sum
    from arriero.stages.workspace import ALONE, Workspace
    from arriero.training.optimizer import OptimizerConfig

    sizes = SHAPES[shape]
    config = ModelConfig(
        **sizes, num_layers=NUM_LAYERS, num_kv_heads=sizes["num_heads"], context=CONTEXT
    )
    draw = random.Random(0)

    def documents(row: list[int]) -> Iterator[list[int]]:
        while packed and len(row) > 100:
            length = draw.randrange(20, 100)
            yield row[:length]
            row = row[length:]
        yield row

    def batch_of(rows: list[list[int]]) -> PackedBatch:
        packed = [pack(list(documents(row)), row_length=ROWS[shape][1]) for row in rows]
        fields = ("tokens", "segments", "positions", "targets", "loss_mask", "last")
        return PackedBatch(*(torch.cat([getattr(row, f) for row in packed]) for f in fields))

    batches = [batch_of(rows) for rows in rows_of(shape)]
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name), 0, device, lambda _: None, ALONE, **options)
        model = fresh_language_model(config, workspace, precision)

        def loss_sum(batch: Any) -> torch.Tensor:
            with autocast(precision, device):
                return packed_loss_sum(model, batch, device)

        wait()
        for report, meter in fit(
            model,
            OptimizerConfig(peak=1e-4, warmup_steps=0),
            workspace,
            num_steps=NEVER,
            checkpoint_every=NEVER,
            micro_batches=lambda step: [batches[step % NUM_BATCHES]],
            loss_sum=loss_sum,
            num_items=lambda batch: batch.num_targets,
            unit="tokens",
            precision=precision,
            flops=lambda batch: float(batch.tokens.numel() * config.flops_per_token(256)),
        ):
            meter.record(report)
            wait()


def transformers(shape: str, precision: str, wait: Callable[[], None]) -> None:
    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    sizes = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["dim"],
        intermediate_size=sizes["ffn_dim"],
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=sizes["num_heads"],
        num_key_value_heads=sizes["num_heads"],
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
    )

    class Turns(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            wait()

    rows = [{"input_ids": row, "labels": row} for batch in rows_of(shape) for row in batch]
    with tempfile.TemporaryDirectory() as name:
        arguments = TrainingArguments(
            output_dir=name,
            per_device_train_batch_size=ROWS[shape][0],
            max_steps=1_000_000,
            use_cpu=True,
            bf16=precision == "bfloat16",
            report_to=[],
            save_strategy="no",
            logging_steps=1_000_000,
            max_grad_norm=1.0,
            learning_rate=1e-4,
            weight_decay=0.1,
            disable_tqdm=True,
            optim="adamw_torch",
            seed=0,
        )
        model = LlamaForCausalLM(config).to(torch.float32)
        wait()
        Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Turns()]).train()


def litgpt(shape: str, precision: str, wait: Callable[[], None], *, compiled: bool = True) -> None:
    import torch
    from litgpt.config import Config
    from litgpt.model import GPT

    sizes = SHAPES[shape]
    model = GPT(
        Config(
            name=shape,
            block_size=CONTEXT,
            vocab_size=sizes["vocab_size"],
            padded_vocab_size=sizes["vocab_size"],
            n_layer=NUM_LAYERS,
            n_head=sizes["num_heads"],
            n_embd=sizes["dim"],
            rotary_percentage=1.0,
            parallel_residual=False,
            bias=False,
            norm_class_name="RMSNorm",
            norm_eps=1e-5,
            mlp_class_name="LLaMAMLP",
            intermediate_size=sizes["ffn_dim"],
        )
    )
    model.max_seq_length = ROWS[shape][1]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1)
    forward = torch.compile(model) if compiled else model
    batches = [torch.tensor(batch) for batch in rows_of(shape)]
    step = 0
    while True:
        wait()
        x = batches[step % NUM_BATCHES]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = forward(x)
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].reshape(-1, logits.size(-1)), x[:, 1:].reshape(-1)
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1


PEERS: dict[str, Callable[[str, str, Callable[[], None]], None]] = {
    "arriero": ours,
    "packed": partial(ours, packed=True),
    "transformers": transformers,
    "litgpt": litgpt,
}


def worker(peer: str, shape: str, precision: str, threads: int, pipe: Connection) -> None:
    """Takes a step whenever it is told to, and sleeps in between."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    began: list[float] = []

    def wait() -> None:
        pipe.send(time.perf_counter() - began.pop() if began else 0.0)
        if not pipe.recv():
            os._exit(0)
        began.append(time.perf_counter())

    PEERS[peer.rstrip("+")](shape, precision, wait)


def product_rate(dtype: Any) -> float:
    """Operations a second in one square matrix product, the best of three."""
    import torch

    x = torch.randn(2048, 2048, generator=torch.Generator().manual_seed(0)).to(dtype)
    spent: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        x @ x
        spent.append(time.perf_counter() - began)
    return 2 * 2048**3 / min(spent)


def operations(shape: str) -> float:
    """Of the matrix products of a step, forward and backward; attention's causal half."""
    sizes, (rows, length) = SHAPES[shape], ROWS[shape]
    dim, layers = sizes["dim"], NUM_LAYERS
    weights = layers * (4 * dim * dim + 3 * dim * sizes["ffn_dim"]) + sizes["vocab_size"] * dim
    return rows * length * (6 * weights + 12 * layers * dim * length / 2)


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """For processes that are started in here."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def measure(
    shape: str, precision: str, peers: list[str], repeats: int, threads: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of every step by peer, and rates of products in between."""
    import torch

    context = mp.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for peer in peers:
        pipes[peer], there = context.Pipe()
        with environment(KEEPS_PAGES if peer.endswith("+") else {}):
            context.Process(
                target=worker, args=(peer, shape, precision, threads, there), daemon=True
            ).start()
        pipes[peer].recv()
    spent: dict[str, list[float]] = {peer: [] for peer in peers}
    rates: list[float] = []
    for repeat in range(repeats + 3):
        order = peers[repeat % len(peers) :] + peers[: repeat % len(peers)]
        for peer in order:
            pipes[peer].send(True)
            seconds = pipes[peer].recv()
            if repeat > 2:  # the first steps compile, and fill what the allocators keep
                spent[peer].append(seconds)
        rates.append(product_rate(getattr(torch, precision)))
    for pipe in pipes.values():
        pipe.send(False)
    return spent, rates


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--precision", default="float32,bfloat16")
    parser.add_argument(
        "--peers", default="arriero,packed,transformers,litgpt,transformers+,litgpt+"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write everything into a file too")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    peers = options.peers.split(",")
    everything: dict[str, Any] = {}
    for shape in options.shapes.split(","):
        for precision in options.precision.split(","):
            spent, rates = measure(shape, precision, peers, options.repeats, options.threads)
            rate = statistics.median(rates)
            everything[f"{shape} {precision}"] = {"seconds": spent, "products": rates}
            print(f"\n{shape}, {precision}; products at {rate / 1e9:.1f} GFLOP/s", flush=True)
            own = statistics.median(spent[peers[0]])
            rows, length = ROWS[shape]
            for peer, seconds in spent.items():
                median = statistics.median(seconds)
                share = operations(shape) / median / rate
                print(
                    f"  {peer:14} {rows * length / median:8,.0f} tokens/s, "
                    f"{share:.2f} of the products' rate, "
                    f"{peers[0]} is {median / own:.2f} times as fast "
                    f"({min(seconds):.2f} to {max(seconds):.2f} s)",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
