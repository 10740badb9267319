"""Reward training beside TRL's RewardTrainer: the same model, pairs and steps, on one machine.

python benchmarks/reward.py --data hh-rlhf/ --repeats 15

--data holds pairs of transcripts (`chosen`, `rejected`) as JSON lines, in files of any folder below
it. Every peer lives in a process of its own and takes a step whenever it is told to, in turns, so
that a slow minute meets all of them; `+` keeps glibc from giving memory back, which is the kinder
setting for a peer that frees much. `apart` is ours with both answers on their own, prompt and all:
what sharing the prompt is worth. What is printed are pairs a second (medians), ratios, and the most
memory that each process ever held (VmHWM), imports included. trl and datasets are to be installed
for it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing as mp
import os
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

SHAPE = {"vocab_size": 4096, "dim": 256, "num_layers": 6, "num_heads": 8, "num_kv_heads": 8}
FFN_DIM, CONTEXT = 704, 1024
BATCH = 8
NEVER = 10**9
LEAST, MOST = 84, 180  # tokens a side
KEEPS_PAGES = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
Pair = dict[str, str]
Wait = Callable[[], None]


def transcripts(data: Path) -> Iterator[Pair]:
    """Pairs of all files below a folder, in order of their names."""
    for path in sorted([*data.rglob("*.jsonl"), *data.rglob("*.jsonl.gz")]):
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if isinstance(row.get("chosen"), str) and isinstance(row.get("rejected"), str):
                    yield {side: row[side] for side in ("chosen", "rejected")}


def prepare(folder: Path, data: Path, count: int) -> None:
    """A tokenizer of those texts, a model with drawn weights, and pairs of like length."""
    from arriero.data.preferences import to_preferences
    from arriero.data.rows import Row
    from arriero.data.writing import write_preferences
    from arriero.model.config import ModelConfig
    from arriero.model.heads import LanguageModel, ScoreModel
    from arriero.model.weights import save_language_model, save_score_model
    from arriero.records import Preference
    from arriero.tokenizer import load_tokenizer, train_tokenizer

    rows = list(transcripts(data))
    train_tokenizer((row["chosen"] for row in rows[:1500]), folder / "rm", SHAPE["vocab_size"])
    tokenizer = load_tokenizer(folder / "rm")
    language = LanguageModel.fresh(ModelConfig(**SHAPE, ffn_dim=FFN_DIM, context=CONTEXT), 0)
    save_score_model(ScoreModel.from_language_model(language, 0), folder / "rm", tokenizer.special)
    save_language_model(language, folder / "chat", tokenizer.special)
    for name in ("rm", "chat"):
        tokenizer.save(folder / name, model_max_length=CONTEXT)
    kept: list[Pair] = []
    preferences: list[Preference] = []
    for number, row in enumerate(rows):
        lengths = [len(tokenizer.encode(row[side])) for side in row]
        if not all(LEAST <= length <= MOST for length in lengths):
            continue
        found = list(to_preferences(Row(row, data, number)))
        if len(found) == 1 and isinstance(found[0], Preference):
            preferences.append(found[0])
            kept.append(row)
        if len(kept) == count:
            break
    (folder / "pairs.json").write_text(json.dumps(kept), encoding="utf-8")
    write_preferences(folder / "pairs.jsonl", preferences)


def ours(folder: Path, wait: Wait, *, is_shared: bool = True) -> None:
    """The stage's own way: its encoding, batches, loss, meter and guard."""
    import torch

    from arriero.data import pairs as data_pairs
    from arriero.data.preferences import read_preferences
    from arriero.model.weights import load_score_model
    from arriero.stages import reward
    from arriero.stages.reward_config import RewardConfig
    from arriero.stages.reward_pairs import encode_pairs
    from arriero.stages.workspace import ALONE, Workspace
    from arriero.tokenizer import load_tokenizer
    from arriero.training.optimizer import OptimizerConfig

    if not is_shared:
        data_pairs.shared_length = lambda *_: 0
    tokenizer = load_tokenizer(folder / "chat")
    pairs = encode_pairs(tokenizer, list(read_preferences([folder / "pairs.jsonl"])), CONTEXT)
    model = load_score_model(folder / "rm")
    config = RewardConfig(
        epochs=NEVER,
        pairs_per_step=BATCH,
        micro_pairs=BATCH,
        checkpoint_every=NEVER,
        precision="float32",
        optimizer=OptimizerConfig(peak=1e-4),
    )
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name), 0, torch.device("cpu"), lambda _: None, ALONE)
        wait()
        for report, meter in reward.fit_pairs(config, "helpfulness", model, pairs, workspace):
            meter.record(report)
            wait()


def trl(folder: Path, wait: Wait) -> None:
    """RewardTrainer in float32 without gradient checkpointing, which is its fastest."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, LlamaForSequenceClassification, TrainerCallback
    from trl import RewardConfig, RewardTrainer

    class Turns(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            wait()

    rows = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as name:
        arguments = RewardConfig(
            output_dir=name,
            per_device_train_batch_size=BATCH,
            max_steps=1_000_000,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_steps=1_000_000,
            disable_tqdm=True,
            max_grad_norm=1.0,
            learning_rate=1e-4,
            max_length=512,
            seed=0,
        )
        model = LlamaForSequenceClassification.from_pretrained(folder / "rm", dtype=torch.float32)
        trainer = RewardTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(folder / "rm"),
            callbacks=[Turns()],
        )
        wait()
        trainer.train()


PEERS: dict[str, Callable[[Path, Wait], None]] = {
    "arriero": ours,
    "apart": partial(ours, is_shared=False),
    "trl": trl,
}


def worker(peer: str, folder: Path, threads: int, pipe: Connection) -> None:
    """Takes a step whenever it is told to, and sleeps in between; at last says its memory."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    began: list[float] = []

    def wait() -> None:
        pipe.send(time.perf_counter() - began.pop() if began else 0.0)
        if not pipe.recv():
            pipe.send(peak_megabytes())
            os._exit(0)
        began.append(time.perf_counter())

    PEERS[peer.rstrip("+")](folder, wait)


def peak_megabytes() -> float:
    """The most memory that this process ever held."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


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
    folder: Path, peers: list[str], repeats: int, threads: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of every step by peer, and the most memory of each."""
    context = mp.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for peer in peers:
        pipes[peer], there = context.Pipe()
        with environment(KEEPS_PAGES if peer.endswith("+") else {}):
            arguments = (peer, folder, threads, there)
            context.Process(target=worker, args=arguments, daemon=True).start()
        pipes[peer].recv()
    spent: dict[str, list[float]] = {peer: [] for peer in peers}
    for repeat in range(repeats + 3):
        for peer in peers[repeat % len(peers) :] + peers[: repeat % len(peers)]:
            pipes[peer].send(True)
            seconds = pipes[peer].recv()
            if repeat > 2:  # the first steps compile, and fill what the allocators keep
                spent[peer].append(seconds)
    memory: dict[str, float] = {}
    for peer, pipe in pipes.items():
        pipe.send(False)
        memory[peer] = pipe.recv()
    return spent, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=61, help="steps that count; 64 read all")
    parser.add_argument("--peers", default="arriero,apart,trl,trl+")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write everything into a file too")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    peers = options.peers.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        preparing = mp.get_context("spawn").Process(
            target=prepare, args=(folder, options.data, options.pairs)
        )
        preparing.start()
        preparing.join()
        if preparing.exitcode:
            sys.exit("the pairs could not be made ready")
        spent, memory = measure(folder, peers, options.repeats, options.threads)
    own, own_memory = statistics.median(spent[peers[0]]), memory[peers[0]]
    for peer, seconds in spent.items():
        median = statistics.median(seconds)
        print(
            f"  {peer:8} {BATCH / median:6.1f} pairs/s ({min(seconds):.3f} to {max(seconds):.3f} s"
            f" a step), {peers[0]} is {median / own:.2f} times as fast; {memory[peer]:,.0f} MB, "
            f"{peers[0]} takes {own_memory / memory[peer]:.2f} times that",
            flush=True,
        )
    if options.json:
        found = {"seconds": spent, "megabytes": memory}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
