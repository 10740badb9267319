"""Building a corpus beside a plain datatrove pipeline of the same steps, in one run.

    python benchmarks/corpus.py TEXT [--mb 30] [--repeats 3] [--workers 2] [--spaces]

TEXT is a file or folder of prose. Its paragraphs are joined until they have 600 characters; every
twentieth document comes again with one word in forty changed. Both read JSON lines, apply Gopher's
quality rules, find near-duplicates by MinHash (14 bands of 8 rows, runs of five words) and write
what is left. datatrove gets a word tokenizer of one regular expression, so that no time of its
default one is counted. With that signs are words too: its rules remove more, and it has less to
hash; with `--spaces` its words are what stands between spaces, as ours are. Ours counts every rule
by source, measures personal identifiers, keeps what it removed, compares candidates exactly,
removes exact duplicates too, and hashes all it writes.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import xxhash
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.filters import GopherQualityFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.word_tokenizers import WordTokenizer
from loguru import logger

from arriero.corpus.build import build
from arriero.corpus.config import CorpusRecipe
from arriero.data.documents import read_documents

_WORD, _SPACED = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]"), re.compile(r"\S+")
# Those of datatrove's filter; the others off, because it has none.
_RULES = {
    "min_words": 20,
    "phrases": [],
    "max_repeated_lines": 1,
    "max_repeated_paragraphs": 1,
    "max_top_2gram": 1,
    "max_top_3gram": 1,
    "max_top_4gram": 1,
    "max_repeated_5grams": 1,
    "max_repeated_10grams": 1,
}


class Words(WordTokenizer):
    """Words by one regular expression."""

    pattern = _WORD

    def word_tokenize(self, text: str) -> list[str]:
        return self.pattern.findall(text)

    def sent_tokenize(self, text: str) -> list[str]:
        return re.split(r"(?<=[.!?])\s+", text)

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"[^.!?]+[.!?]*\s*", text)]


def hash_text(text: str) -> int:
    """datatrove's hash; its own gives xxhash text, which xxhash 4 takes no more."""
    return xxhash.xxh64_intdigest(text.encode())


def write_input(text: Path, folder: Path, mb: float, files: int) -> int:
    """Write the documents as JSON lines; returns their characters."""
    rng, documents, size, joined = random.Random(0), list[str](), 0, ""
    for paragraph in _paragraphs(text):
        joined += paragraph + "\n"
        if len(joined) < 600:
            continue
        documents.append(joined.strip())
        if len(documents) % 20 == 0:
            words = joined.strip().split(" ")
            documents.append(" ".join(w if rng.random() > 1 / 40 else "changed" for w in words))
        size += len(joined)
        joined = ""
        if size >= mb * 1e6:
            break
    rng.shuffle(documents)
    folder.mkdir(parents=True)
    for file in range(files):
        rows = [json.dumps({"id": f"{file}-{n}", "text": d})
                for n, d in enumerate(documents[file::files])]  # fmt: skip
        (folder / f"{file:02d}.jsonl").write_text("\n".join(rows) + "\n")
    return sum(map(len, documents))


def _paragraphs(text: Path) -> Iterator[str]:
    for document in read_documents(text):
        yield from (part for part in re.split(r"\n\s*\n", document) if part.strip())


def datatrove(source: Path, work: Path, workers: int) -> int:
    """Its pipeline; returns the documents that are left."""
    config = MinhashConfig(
        n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64)
    )
    words = Words("en")

    def run(name: str, pipeline: list[object], tasks: int) -> None:
        LocalPipelineExecutor(
            pipeline,  # type: ignore[arg-type]
            tasks=tasks,
            workers=workers,
            logging_dir=str(work / "log" / name),
        ).run()

    def writer(name: str) -> JsonlWriter:
        return JsonlWriter(str(work / name), output_filename="${rank}.jsonl", compression=None)

    rules = GopherQualityFilter(min_doc_words=20, language=words)  # type: ignore[arg-type]
    kept = str(work / "kept")
    run("filter", [JsonlReader(str(source)), rules, writer("kept")], workers)
    signature = MinhashDedupSignature(str(work / "sig"), config=config, language=words)  # type: ignore[arg-type]
    signature._hash_func = hash_text
    run("signatures", [JsonlReader(kept), signature], workers)
    buckets = MinhashDedupBuckets(str(work / "sig"), str(work / "buckets"), config=config)
    run("buckets", [buckets], 14)
    cluster = MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config)
    run("cluster", [cluster], 1)
    duplicates = MinhashDedupFilter(str(work / "remove"))
    run("write", [JsonlReader(kept), duplicates, writer("out")], workers)
    return sum(len(path.read_bytes().splitlines()) for path in (work / "out").glob("*.jsonl"))


def arriero(source: Path, work: Path, workers: int) -> int:
    """Our build; returns the documents that are left."""
    recipe = CorpusRecipe.model_validate(
        {
            "sources": {"text": {"paths": [str(source)]}},
            "rules": _RULES,
            "unit_megabytes": 0.001,
            "tokenizer": {"model": ""},
            "executor": {"workers": workers},
        }
    )
    facts = build(recipe, work, lambda line: print(f"    {line}"))
    return facts["sources"]["text"]["kept"]["documents"]


def timed(run: Callable[[Path, Path, int], int], source: Path, workers: int) -> tuple[float, int]:
    """Seconds in a fresh folder, and the documents that are left."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        left = run(source, Path(folder) / "work", workers)
        return time.perf_counter() - begun, left


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--mb", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--spaces", action="store_true", help="the peer's words are ours")
    options = parser.parse_args()
    if options.spaces:
        Words.pattern = _SPACED
    logger.disable("datatrove")
    logger.remove()
    folder = Path(tempfile.mkdtemp())
    source = folder / "in"
    size = write_input(options.text, source, options.mb, options.workers)
    print(f"{size / 1e6:.1f} MB of paragraphs, {options.workers} workers")
    seconds: dict[str, list[float]] = {"datatrove": [], "arriero": []}
    for _ in range(options.repeats):
        for name, run in (("datatrove", datatrove), ("arriero", arriero)):
            took, left = timed(run, source, options.workers)
            seconds[name].append(took)
            print(f"  {name}: {took:.1f} s, {size / took / 1e6:.2f} MB/s, {left:,} documents left")
    shutil.rmtree(folder)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = medians["datatrove"] / medians["arriero"]
    print(f"arriero is {ratio:.2f} times as fast (goal 1.5)")


if __name__ == "__main__":
    main()
