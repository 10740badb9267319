"""The server beside its own engine: what HTTP, JSON and streams cost.

    python benchmarks/serving.py [--repeats 7] [--clients 16] [--new 128] [--json FILE]

A model of 25M parameters with random weights and a vocabulary of 32,000 does the same work three
ways: the engine alone, `arriero serve` with 16 clients that take whole answers, the same with
streams. Engine and server are processes of their own with the same settings; their repeats
alternate. What is printed are medians in tokens a second, ratios of medians, and the seconds to the
first token of a client that comes while 15 others are answered, beside what two decode steps and
the prefill of its prompt take.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing as mp
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from decode import SHAPES

CONFIG = SHAPES["25M"]
PROMPT_WORDS = 24


def make_model(folder: Path) -> None:
    """A model folder whose every id has a text, as a real vocabulary's have."""
    from arriero.model.heads import LanguageModel
    from arriero.model.weights import save_language_model
    from arriero.tokenizer import load_tokenizer, train_tokenizer

    rng = random.Random(0)
    syllables = [a + b for a in "bcdfghjklmnprstvwz" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randrange(2, 6))) for _ in range(60_000)]
    documents = [" ".join(rng.choices(words, k=200)) for _ in range(1500)]
    train_tokenizer(documents, folder, CONFIG.vocab_size)
    tokenizer = load_tokenizer(folder)
    tokenizer.save(folder, model_max_length=CONFIG.context)
    save_language_model(LanguageModel.fresh(CONFIG, seed=0), folder, tokenizer.special)


def questions(count: int, seed: int) -> list[str]:
    """Different ones each time, so that no cache of prompts helps."""
    rng = random.Random(seed)
    return [
        " ".join("".join(rng.choices("abcdefgh", k=5)) for _ in range(PROMPT_WORDS))
        for _ in range(count)
    ]


def engine_worker(folder: str, rows: int, pipe: Connection) -> None:
    """Answers questions without a server whenever it is told to."""
    from arriero.inference.request import Sampling
    from arriero.records import Message
    from arriero.serving.serve import open_engine
    from arriero.tokenizer import encode_prompt

    engine, tokenizer = open_engine(
        Path(folder), max_rows=rows, context=None, dtype=None, device="cpu"
    )
    pipe.send(None)
    while (order := pipe.recv()) is not None:
        texts, new = order
        prompts = [encode_prompt(tokenizer, [Message("user", text)]) for text in texts]
        began = time.perf_counter()
        for prompt in prompts:
            engine.submit(prompt, Sampling(max_new_tokens=new), seed=1)
        drawn = len(engine.step())
        prefill = time.perf_counter() - began
        steps = 0
        while not engine.is_idle:
            drawn += len(engine.step())
            steps += 1
        seconds = time.perf_counter() - began
        step = (seconds - prefill) / max(1, steps)
        pipe.send({"tokens": drawn, "seconds": seconds, "prefill": prefill, "step": step})


async def ask(
    port: int, text: str, new: int, is_streamed: bool, begun: asyncio.Event | None = None
) -> tuple[int, float, float]:
    """One client: tokens it got, seconds to its first token and to the end."""
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": text}],
        "max_tokens": new,
        "seed": 1,
    }
    if is_streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    raw = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    began = time.perf_counter()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw
    )
    text_seen, first = b"", 0.0
    while part := await reader.read(1 << 16):
        text_seen += part
        if not first and text_seen.count(b'"content":') > 1:
            first = time.perf_counter() - began
            if begun is not None:
                begun.set()
    seconds = time.perf_counter() - began
    writer.close()
    assert text_seen.startswith(b"HTTP/1.1 200"), text_seen[:500]
    tokens = int(text_seen.rpartition(b'"completion_tokens":')[2].partition(b",")[0])
    return tokens, first, seconds


async def wave(port: int, texts: list[str], new: int, is_streamed: bool) -> tuple[int, float]:
    """All clients at once: tokens and seconds until the last has its answer."""
    began = time.perf_counter()
    answers = await asyncio.gather(*(ask(port, text, new, is_streamed) for text in texts))
    return sum(tokens for tokens, _, _ in answers), time.perf_counter() - began


async def newcomer(port: int, texts: list[str], new: int) -> float:
    """Seconds to the first token of a client that comes while the others are answered."""
    begun = [asyncio.Event() for _ in texts[1:]]
    others = [
        asyncio.create_task(ask(port, text, new, True, event))
        for text, event in zip(texts[1:], begun, strict=True)
    ]
    await asyncio.gather(*(event.wait() for event in begun))
    assert not any(other.done() for other in others)
    _, first, _ = await ask(port, texts[0], 4, True)
    await asyncio.gather(*others)
    return first


def start_server(folder: str, rows: int) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "arriero.cli", "serve", folder, "--port", "0"]
    server = subprocess.Popen(
        [*command, "--max-rows", str(rows)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    port = int(line.partition("http://127.0.0.1:")[2].partition(" ")[0])
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return server, port


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--new", type=int, default=128, help="tokens of an answer")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--model", type=Path, help="kept there for the next time")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.model or Path(scratch)
        if not (folder / "config.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            make_model(folder)
        pipe, there = mp.Pipe()
        context = mp.get_context("spawn")
        arguments = (str(folder), options.clients, there)
        engine = context.Process(target=engine_worker, args=arguments, daemon=True)
        engine.start()
        server, port = start_server(str(folder), options.clients)
        try:
            pipe.recv()
            found = measure(pipe, port, options.repeats, options.clients, options.new)
        finally:
            server.terminate()
            server.wait()
            pipe.send(None)
            engine.join()
    show(found, options.clients)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def measure(
    pipe: Connection, port: int, repeats: int, clients: int, new: int
) -> dict[str, list[float]]:
    """Every measure of every repeat; the first round warms up and does not count."""
    found: dict[str, list[float]] = {}
    for repeat in range(-1, repeats):
        row: dict[str, float] = {}
        texts = questions(clients, 3 * repeat)
        pipe.send((texts, new))
        alone = pipe.recv()
        row["engine"] = alone["tokens"] / alone["seconds"]
        row["step"] = alone["step"]
        for name, is_streamed in (("whole", False), ("streamed", True)):
            texts = questions(clients, 3 * repeat + 1 + is_streamed)
            tokens, seconds = asyncio.run(wave(port, texts, new, is_streamed))
            row[name] = tokens / seconds
        pipe.send((questions(1, 1000 + repeat), 2))
        row["prefill"] = pipe.recv()["prefill"]
        row["first"] = asyncio.run(newcomer(port, questions(clients, 2000 + repeat), 400))
        if repeat >= 0:
            for name, value in row.items():
                found.setdefault(name, []).append(value)
    return found


def show(found: dict[str, list[float]], clients: int) -> None:
    median = {name: statistics.median(values) for name, values in found.items()}
    bound = 2 * median["step"] + median["prefill"]
    print(f"{clients} clients, tokens/s: medians of {len(found['engine'])} (lowest to highest)\n")
    print("| way | tokens/s | share of the engine |\n|---|---|---|")
    for name in ("engine", "whole", "streamed"):
        spread = f"{min(found[name]):,.0f} to {max(found[name]):,.0f}"
        share = median[name] / median["engine"]
        print(f"| {name} | {median[name]:,.0f} ({spread}) | {share:.2f} |")
    print(
        f"\nfirst token of one more: {1000 * median['first']:.1f} ms; two decode steps "
        f"({1000 * median['step']:.1f} ms each) and a prefill ({1000 * median['prefill']:.1f} ms): "
        f"{1000 * bound:.1f} ms"
    )


if __name__ == "__main__":
    main()
