"""Decoding and prefill beside transformers, and beside llama.cpp where it is installed.

    python benchmarks/decode.py [--repeats 7] [--shapes 7M,25M] [--weights bfloat16,int8]
                                [--json FILE]

The same weights, prompts, threads and precision (float32), each peer in a process of its own;
their repeats alternate, so that a noisy neighbour hits all of them. What is printed are tokens a
second (medians) and ratios of medians, beside the ceilings measured in the same run.
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
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from arriero.model.config import ModelConfig

SHAPES = {
    "7M": ModelConfig(
        vocab_size=4096,
        dim=256,
        num_layers=6,
        num_heads=8,
        num_kv_heads=8,
        ffn_dim=704,
        context=1024,
    ),
    "25M": ModelConfig(
        vocab_size=32_000,
        dim=288,
        num_layers=6,
        num_heads=6,
        num_kv_heads=6,
        ffn_dim=768,
        context=1024,
    ),
}
NUM_NEW = 64
# Name: sequences, prompt tokens, new tokens, samples of one prompt.
WORK = {
    "decode, batch 1": (1, 16, NUM_NEW, 1),
    "decode, batch 32": (32, 16, NUM_NEW, 1),
    "decode, batch 128": (128, 16, NUM_NEW, 1),
    "16 samples of one prompt": (1, 64, NUM_NEW, 16),
    "prefill, 8 x 512": (8, 512, 1, 1),
}
Act = Callable[[str, list[list[int]]], None]


def count_of(name: str) -> int:
    """Tokens that a repeat is counted as: new ones, or those of the prompts for the prefill."""
    sequences, prompt, new, samples = WORK[name]
    return sequences * prompt if name.startswith("prefill") else sequences * samples * new


def ours(folder: Path, weights: Any = None) -> Act:
    from arriero.inference.engine import Engine
    from arriero.inference.request import Sampling
    from arriero.model.weights import load_language_model

    model = load_language_model(folder).eval()
    engines: dict[str, Any] = {}

    def act(name: str, prompts: list[list[int]]) -> None:
        sequences, prompt, new, samples = WORK[name]
        if name not in engines:
            engines.clear()
            engines[name] = Engine(
                model,
                ends=(),
                max_rows=sequences * samples,
                num_slots=prompt + new,
                weights=weights,
            )
        engine = engines[name]
        for key, ids in enumerate(prompts):
            for sample in range(samples):
                engine.submit(ids, Sampling(max_new_tokens=new), seed=0, key=key, sample=sample)
        drawn = 0
        while not engine.is_idle:
            drawn += len(engine.step())
        assert drawn == sequences * samples * new

    return act


def transformers(folder: Path) -> Act:
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None

    @torch.inference_mode()
    def act(name: str, prompts: list[list[int]]) -> None:
        sequences, _, new, samples = WORK[name]
        ids = torch.tensor(prompts)
        if name.startswith("prefill"):
            model(input_ids=ids, use_cache=True, logits_to_keep=1)
            return
        drawn = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=new,
            num_return_sequences=samples,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert drawn.shape == (sequences * samples, ids.shape[1] + new)

    return act


def llama_cpp(folder: Path) -> Act:
    """Its bare steps, without the Python binding's sampler; batch 1 is what the binding offers."""
    from llama_cpp import Llama

    threads = int(os.environ["OMP_NUM_THREADS"])
    model = Llama(
        str(folder / "model.gguf"),
        n_ctx=1024,
        n_batch=512,
        n_threads=threads,
        n_threads_batch=threads,
        verbose=False,
    )
    draw = random.Random(0)

    def act(name: str, prompts: list[list[int]]) -> None:
        _, _, new, _ = WORK[name]
        for ids in prompts:
            model.reset()
            model.eval(ids)
            if not name.startswith("prefill"):
                for token in draw.choices(range(3, 4096), k=new):
                    model.eval([token])

    return act


PEERS: dict[str, Callable[[Path], Act]] = {
    "arriero": ours,
    "transformers": transformers,
    "llama.cpp": llama_cpp,
    "bfloat16": partial(ours, weights="bfloat16"),
    "int8": partial(ours, weights="int8"),
}


def worker(peer: str, folder: str, threads: int, pipe: Connection) -> None:
    """Does a repeat whenever it is told to, and sleeps in between."""
    import torch

    torch.set_num_threads(threads)
    act = PEERS[peer](Path(folder))
    pipe.send(None)
    while (order := pipe.recv()) is not None:
        began = time.perf_counter()
        act(*order)
        pipe.send(time.perf_counter() - began)


def ceilings(threads: int) -> dict[str, float]:
    """What the machine can do: float32 products in GFLOP/s, a copy and a read of memory in GB/s."""
    import torch

    torch.set_num_threads(threads)

    def best(act: Callable[[], object], count: int = 9) -> float:
        act()
        spent: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            act()
            spent.append(time.perf_counter() - began)
        return statistics.median(spent)

    square = torch.randn(2048, 2048)
    large, vector = torch.randn(8192, 16_384), torch.randn(16_384)
    target = torch.empty_like(large)
    return {
        "products, GFLOP/s": 2 * 2048**3 / best(lambda: square @ square) / 1e9,
        "copy, GB/s": 2 * large.nbytes / best(lambda: target.copy_(large)) / 1e9,
        "matrix times vector, GB/s": large.nbytes / best(lambda: large @ vector) / 1e9,
    }


def bound_of(config: ModelConfig, gb_per_s: float) -> float:
    """Tokens/s at batch 1 if every weight that multiplies is read once a token at that speed."""
    return gb_per_s * 1e9 / (4 * (config.num_parameters - config.vocab_size * config.dim))


def measure(
    config: ModelConfig, folder: Path, peers: list[str], repeats: int, threads: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """Every piece of work with its median seconds by peer."""
    context = mp.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for peer in peers:
        pipes[peer], there = context.Pipe()
        context.Process(
            target=worker, args=(peer, str(folder), threads, there), daemon=True
        ).start()
        pipes[peer].recv()
    draw = random.Random(0)
    for name, (sequences, prompt, _, _) in WORK.items():
        able = [
            p for p in peers if p != "llama.cpp" or name.startswith(("prefill", "decode, batch 1"))
        ]
        able = [p for p in able if p != "llama.cpp" or name != "decode, batch 128"]
        spent: dict[str, list[float]] = {peer: [] for peer in able}
        for repeat in range(repeats + 1):
            for peer in able:
                prompts = [
                    draw.choices(range(3, config.vocab_size), k=prompt) for _ in range(sequences)
                ]
                pipes[peer].send((name, prompts))
                seconds = pipes[peer].recv()
                if repeat:  # the first is a warm-up
                    spent[peer].append(seconds)
        yield name, {peer: statistics.median(values) for peer, values in spent.items()}
    for pipe in pipes.values():
        pipe.send(None)


def print_now(line: str, **where: Any) -> None:
    """A line that is seen at once, in a pipe too."""
    print(line, flush=True, **where)


def line_of(work: str, spent: dict[str, float], bound: float) -> str:
    """Tokens a second of each peer, and ours over theirs."""
    rates = {peer: count_of(work) / seconds for peer, seconds in spent.items()}
    own = rates["arriero"]
    shown = "  ".join(f"{peer} {rate:7,.0f}" for peer, rate in rates.items())
    ratios = [f"{own / rate:.2f} x {peer}" for peer, rate in rates.items() if peer != "arriero"]
    if work == "decode, batch 1":
        ratios.append(f"{own / bound:.2f} of the bound by memory, {bound:,.0f}")
    return f"  {work:25} {shown}  = {', '.join(ratios)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--weights", default="", help="ours in further types: bfloat16,int8")
    parser.add_argument("--json", type=Path, help="write everything into a file too")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    peers = ["arriero", "transformers", *(options.weights.split(",") if options.weights else [])]
    try:
        import gguf  # noqa: F401
        import llama_cpp as _  # noqa: F401

        peers.insert(2, "llama.cpp")
    except ImportError:
        print_now(
            "llama.cpp is left out: llama-cpp-python or gguf is not installed", file=sys.stderr
        )
    limits = ceilings(options.threads)
    print_now(f"{options.threads} threads; " + ", ".join(f"{n} {v:.1f}" for n, v in limits.items()))
    everything: dict[str, Any] = {"ceilings": limits, "threads": options.threads}
    for shape in options.shapes.split(","):
        config = SHAPES[shape]
        bound = bound_of(config, limits["matrix times vector, GB/s"])
        print_now(
            f"\n{shape}: {config.num_parameters:,} parameters, vocabulary {config.vocab_size:,}"
        )
        everything[shape] = {}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(config, folder, with_gguf="llama.cpp" in peers)
            for work, spent in measure(config, folder, peers, options.repeats, options.threads):
                everything[shape][work] = spent
                print_now(line_of(work, spent, bound))
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


def write(config: ModelConfig, folder: Path, *, with_gguf: bool) -> None:
    """A model folder with random weights, and the same as GGUF."""
    from arriero.model.heads import LanguageModel
    from arriero.model.weights import save_language_model
    from arriero.records import LLAMA2_IDS

    save_language_model(LanguageModel.fresh(config, 0), folder, LLAMA2_IDS)
    if with_gguf:
        from arriero.conversion.convert import convert

        write_tokenizer(config.vocab_size, folder)
        convert(folder, folder / "model.gguf", "gguf")


def write_tokenizer(vocab_size: int, folder: Path) -> None:
    """A vocabulary of the right size, since GGUF wants one; nothing is tokenized with it."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [f"\u2581word{number}" for number in range(len(pieces), vocab_size)]
    model = models.BPE(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=[],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(pieces[:3])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("unk_token", "bos_token", "eos_token"), pieces, strict=False))
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")


if __name__ == "__main__":
    main()
