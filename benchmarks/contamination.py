"""Contamination beside a dictionary of n-grams in Python: time, memory, growth with the corpus.

    python benchmarks/contamination.py [--tokens 10e6] [--growth 1e6 3e6 10e6 30e6 100e6]
        [--samples 1000] [--rounds 3] [--memory 2] [--threads 1] [--no-native]

Words come from a power law over 32,000 tokens, in documents of 1,000, one in twenty a copy of the
one before; of the samples a third hold a passage of the corpus, in which two tokens differ. Each
measurement is a process of its own, the two sides in turns; tokens lie on disk when the clock
starts. Ours sorts its suffix arrays anew (`sorted`) or finds them kept (`kept`), with one thread
unless said otherwise. The reference keeps the hash of every run of ten tokens with its places in a
dictionary and extends each match in Python. Both name the same contaminated tokens, or the
benchmark ends.

Seconds are the best of the rounds, and of processor time, so that other work on the machine counts
little; `wall` is the clock. Memory is the process's peak less what it held before it began.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from arriero.corpus.contamination.matching import Rule, Samples
from arriero.corpus.contamination.parts import TokenFolder, open_token_folder
from arriero.corpus.contamination.search import search
from arriero.native.build import native

VOCAB, DOCUMENT, SAMPLE = 32_000, 1_000, 200


def prepare(folder: Path, num_tokens: int, num_samples: int) -> None:
    """A corpus of tokens on disk, in the manner of `write_tokens` but at once; and samples."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    weights = 1 / np.arange(1, VOCAB + 1) ** 1.05
    weights /= weights.sum()
    tokens = draw.choice(VOCAB, num_tokens // DOCUMENT * DOCUMENT, p=weights).astype(np.uint16)
    documents = tokens.reshape(-1, DOCUMENT)
    documents[1::20] = documents[0::20][: len(documents[1::20])]
    tokens.tofile(folder / "tokens.bin")
    np.save(folder / "starts.npy", np.arange(len(documents), dtype=np.int64) * DOCUMENT)
    hashes = {}
    for name in ("tokens.bin", "starts.npy"):
        with (folder / name).open("rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    facts = {
        "dtype": "uint16", "tokens": len(tokens), "documents": len(documents), "sha256": hashes
    }  # fmt: skip
    (folder / "shard.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
    samples = draw.choice(VOCAB, (num_samples, SAMPLE), p=weights)
    for row in samples[::3]:
        place = int(draw.integers(len(documents))), int(draw.integers(DOCUMENT - 60))
        row[50:110] = documents[place[0], place[1] : place[1] + 60]
        row[70] = row[90] = 7
    np.save(folder / "samples.npy", samples)


def peak(*, anew: bool = False) -> int:
    """The most memory that this process has held; `anew` begins from what it holds now."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def ours(folder: TokenFolder, samples: Samples, memory: float) -> list[list[bool]]:
    found = search([folder], samples, Rule(), memory, VOCAB, lambda _: None)
    marks: list[list[bool]] = []
    for begin in range(0, len(samples.tokens), SAMPLE):
        marked = np.zeros(SAMPLE, bool)
        for match in found.of_sample(begin, begin + SAMPLE):
            marked[match.begin : match.end] = True
        marks.append(marked.tolist())
    return marks


def reference(folder: TokenFolder, samples: list[list[int]], rule: Rule) -> list[list[bool]]:
    """A dictionary from the hash of ten tokens to their places; extension token by token."""
    width = rule.exact_prefix
    places: dict[int, list[int]] = {}
    bounds = [folder.bounds(number) for number in range(len(folder.starts))]
    ids: list[int] = folder.read(0, len(folder.tokens)).tolist()
    end_of: list[int] = []
    for begin, end in bounds:
        end_of.append(end)
        for place in range(begin, end - width + 1):
            places.setdefault(hash(tuple(ids[place : place + width])), []).append(place)
    marks: list[list[bool]] = []
    for sample in samples:
        marked = [False] * len(sample)
        for begin in range(len(sample) - rule.min_length + 1):
            start = sample[begin : begin + width]
            for place in places.get(hash(tuple(start)), ()):
                if ids[place : place + width] != start:
                    continue
                room = min(end_of[folder.document_of(place)] - place, len(sample) - begin)
                different, length = 0, width
                for k in range(width, room):
                    if ids[place + k] == sample[begin + k]:
                        length = k + 1
                    elif (different := different + 1) > rule.budget:
                        break
                if length >= rule.min_length:
                    marked[begin : begin + length] = [True] * length
        marks.append(marked)
    return marks


def measure(side: str, path: Path, memory: float) -> dict[str, Any]:
    """One measurement, in this process."""
    native()
    folder = open_token_folder(path, path.name)
    rows = np.load(path / "samples.npy")
    samples = Samples(
        (rows + 1).astype(np.uint32).ravel(), np.arange(len(rows) + 1, dtype=np.int64) * SAMPLE
    )
    before, wall, seconds = peak(anew=True), time.perf_counter(), time.process_time()
    if side == "reference":
        marks = reference(folder, rows.tolist(), Rule())
    else:
        marks = ours(folder, samples, memory)
    return {
        "seconds": time.process_time() - seconds,
        "wall": time.perf_counter() - wall,
        "memory": peak() - before,
        "contaminated": sum(map(sum, marks)),
        "marks": hashlib.sha256(json.dumps(marks).encode()).hexdigest(),
    }


def apart(side: str, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The same in a process of its own."""
    if side == "sorted":
        shutil.rmtree(path / "suffixes", ignore_errors=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    if options.no_native:
        environment["ARRIERO_NATIVE"] = "0"
    arguments = ["--measure", side, str(path), "--memory", str(options.memory)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def best(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: min(each[key] for each in found) for key in ("seconds", "wall", "memory")}


def line(name: str, num_tokens: int, found: dict[str, Any]) -> str:
    rate = num_tokens / found["seconds"] / 1e6
    return (
        f"{name:<10} {num_tokens / 1e6:>7.3g} M  {found['seconds']:>8.2f} s  wall "
        f"{found['wall']:>8.2f} s  {rate:>7.2f} M tokens/s  {found['memory'] / 1e6:>7.0f} MB"
    )


def compare(num_tokens: int, options: argparse.Namespace) -> None:
    """The two sides on one corpus, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus"
        prepare(path, num_tokens, options.samples)
        found: dict[str, list[dict[str, Any]]] = {"sorted": [], "kept": [], "reference": []}
        for _ in range(options.rounds):
            for side, measured in found.items():
                measured.append(apart(side, path, options))
    if len({each["marks"] for measured in found.values() for each in measured}) > 1:
        raise SystemExit("the two sides name different tokens")
    for side, measured in found.items():
        print(line(side, num_tokens, best(measured)), flush=True)
    slow = best(found["reference"])
    for side in ("sorted", "kept"):
        one = best(found[side])
        print(
            f"{side}: {slow['seconds'] / one['seconds']:.1f} times the reference, "
            f"{slow['wall'] / one['wall']:.1f} by the clock", flush=True,
        )  # fmt: skip
    print(f"{found['kept'][0]['contaminated']:,} contaminated tokens, the same on both sides")


def grow(sizes: list[int], options: argparse.Namespace) -> None:
    """Ours on larger and larger corpora; seconds a token against those of the smallest."""
    first = 0.0
    for num_tokens in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "corpus"
            prepare(path, num_tokens, options.samples)
            found = [apart("sorted", path, options) for _ in range(options.rounds)]
            kept = apart("kept", path, options)
        one = best(found)
        each = one["seconds"] / num_tokens
        first = first or each
        print(f"{line('sorted', num_tokens, one)}  a token {each / first:.2f} x", flush=True)
        print(line("kept", num_tokens, kept), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=float, default=10e6, help="of the comparison")
    parser.add_argument("--growth", type=float, nargs="*", default=[1e6, 3e6, 10e6, 30e6, 100e6])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=float, default=2, help="GB")
    parser.add_argument("--threads", type=int, default=1, help="of ours")
    parser.add_argument("--no-native", action="store_true", help="NumPy alone")
    parser.add_argument("--measure", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        side, folder = options.measure
        print(json.dumps(measure(side, Path(folder), options.memory * 1e9)))
        return
    if options.tokens:
        compare(int(options.tokens), options)
    if options.growth:
        grow(list(map(int, options.growth)), options)


if __name__ == "__main__":
    main()
