"""Verbs about model folders and files: chat, convert, inspect, check-data, doctor."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from arriero.cli.verbs import Verbs
from arriero.records import UserError


def add_verbs(verbs: Verbs) -> None:
    """Add them all."""
    chat = verbs.add("chat", "talk to a model", _chat)
    chat.add_argument("model", type=Path, metavar="MODEL", help="a model folder or a run")
    chat.add_argument("-p", "--prompt", help="answer this one prompt and leave")
    chat.add_argument("--system", help="the system message")
    chat.add_argument("--temperature", type=float, default=0.6)
    chat.add_argument("--top-p", type=float, default=0.9)
    chat.add_argument("--max-new-tokens", type=int, default=256)
    chat.add_argument("--seed", type=int, default=0)
    convert = verbs.add("convert", "write a model in another layout", _convert)
    convert.add_argument("source", type=Path, metavar="SOURCE", help="a model folder")
    convert.add_argument("target", type=Path, metavar="TARGET", help="a new folder, or FILE.gguf")
    convert.add_argument("--to", required=True, choices=("hugging-face", "meta", "gguf"))
    convert.add_argument("--dtype", help="float32, bfloat16, float16, and q8_0 for gguf")
    convert.add_argument("--shards", type=int, default=1, help="model-parallel files, for meta")
    convert.add_argument("--max-shard-size", metavar="SIZE", help="of a file, such as 5GB")
    convert.add_argument("--context", type=int, help="in tokens, for a SOURCE in Meta's layout")
    look = verbs.add("inspect", "what a model folder holds; nothing in it is run", _inspect)
    look.add_argument("model", type=Path, metavar="MODEL")
    look.add_argument("--check", action="store_true", help="read every weight and hash every file")
    check = verbs.add("check-data", "what a file is taken for, one example, its loss mask", _check)
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("--tokenizer", type=Path, metavar="MODEL", help="a folder with a tokenizer")
    check.add_argument(
        "--against", type=Path, metavar="OTHER", help="a file that must have no prompt of FILE"
    )
    verbs.add("doctor", "what this machine can do", _doctor)


def _chat(options: argparse.Namespace) -> None:
    from rich.console import Console

    from arriero.inference.session import ChatSession
    from arriero.road.drive import newest_chat_model
    from arriero.serving.terminal import ChatSettings, chat

    folder: Path = options.model
    if folder.is_dir() and not (folder / "config.json").exists():
        folder = newest_chat_model(folder) or folder
    chat(
        ChatSession.load(folder),
        system=options.system,
        prompt=options.prompt,
        settings=ChatSettings(
            temperature=options.temperature,
            top_p=options.top_p,
            max_new_tokens=options.max_new_tokens,
            seed=options.seed,
        ),
        console=Console(),
    )


def _convert(options: argparse.Namespace) -> None:
    from arriero.conversion.convert import convert

    lost = convert(
        options.source,
        options.target,
        options.to,
        dtype=options.dtype,
        num_shards=options.shards,
        max_shard_size=options.max_shard_size,
        context=options.context,
    )
    print(options.target)
    if lost is not None:
        print(f"note: {lost}", file=sys.stderr)


def _inspect(options: argparse.Namespace) -> None:
    from arriero.conversion.inspection import inspect_model

    for line in inspect_model(options.model, check=options.check):
        print(line)


def _check(options: argparse.Namespace) -> None:
    from arriero.data.check import check_data, render_check
    from arriero.data.leaks import find_leaks, render_leaks
    from arriero.tokenizer.load import load_tokenizer

    tokenizer = load_tokenizer(options.tokenizer) if options.tokenizer else None
    print(render_check(check_data(options.file), tokenizer))
    if options.against is not None:
        leaks = find_leaks(options.file, options.against)
        print(render_leaks(leaks))
        if leaks:
            raise UserError(
                f"{leaks[0].where}: {options.against} has this prompt too; remove it from one"
            )


def _doctor(_: argparse.Namespace) -> None:
    from arriero.road.doctor import examine

    print("\n".join(examine()))
