"""The verb `serve`."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arriero.cli.verbs import Verbs
from arriero.records import Message, UserError

if TYPE_CHECKING:
    from arriero.serving.app import Service
    from arriero.serving.checks import Check
    from arriero.serving.scoring import RewardModel


def add_verbs(verbs: Verbs) -> None:
    """Add it: where to listen, how much to take on, what to check."""
    parser = verbs.add("serve", "answer OpenAI's API and show the chat page", _serve)
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="a model folder, a reward model's, or a run"
    )
    parser.add_argument("--host", default="127.0.0.1", help="any but loopback needs a key")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--api-key", metavar="KEY", help="better in ARRIERO_API_KEY, unseen by ps")
    parser.add_argument("--name", help="what clients call the model; default: the folder's name")
    parser.add_argument(
        "--max-rows", type=int, default=64, metavar="N", help="sequences computed together"
    )
    parser.add_argument(
        "--max-queue", type=int, default=256, metavar="N", help="sequences that may wait; then 429"
    )
    parser.add_argument("--context", type=int, metavar="N", help="longest sequence in tokens")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "int8"), help="of the weights")
    parser.add_argument("--device", help="such as cpu or cuda; default: a GPU if there is one")
    parser.add_argument(
        "--grace", type=float, default=20, metavar="S", help="seconds to finish answers at the end"
    )
    parser.add_argument(
        "--reward-model", type=Path, metavar="MODEL", help="answers /v1/score beside the chat"
    )
    checks = parser.add_argument_group(
        "safety checks", "on what users ask and on answers, which are then sent whole"
    )
    checks.add_argument(
        "--refuse-patterns", type=Path, metavar="FILE", help="regular expressions, one a line"
    )
    checks.add_argument("--safety-model", type=Path, metavar="MODEL", help="a safety reward model")
    checks.add_argument(
        "--safety-threshold", type=float, default=0.15, metavar="P", help="least P(safe); 0.15"
    )
    checks.add_argument(
        "--check", action="append", default=[], metavar="MODULE:FUNCTION", help="one of your own"
    )


def _serve(options: argparse.Namespace) -> None:
    try:
        from arriero.serving import serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise UserError("this needs more packages: pip install 'arriero[serving]'") from None
    if options.max_queue < 0 or options.grace < 0:
        raise UserError("--max-queue and --grace are 0 or more")
    api_key = options.api_key
    if api_key is None:
        api_key = os.environ.get("ARRIERO_API_KEY") or None
    with serve.open_socket(options.host, options.port, api_key) as listener:
        _serve_on(listener, api_key, options)


def _serve_on(listener: socket.socket, api_key: str | None, options: argparse.Namespace) -> None:
    """Open the model while the port is ours already: a taken one shows at once."""
    from arriero.model.weights import is_score_model
    from arriero.road.drive import newest_chat_model
    from arriero.serving import app, checks, serve

    found = [checks.load_check(name) for name in options.check]
    if options.refuse_patterns is not None:
        found.append(checks.refuse_patterns(options.refuse_patterns))
    if options.safety_model is not None:
        score = _safety_score(options.safety_model)
        found.append(checks.refuse_unsafe(score, options.safety_threshold))
    folder: Path = options.model
    if folder.is_dir() and not (folder / "config.json").exists():
        folder = newest_chat_model(folder) or folder
    if is_score_model(folder):
        service = _score_service(folder, found, api_key, options)
    else:
        engine, tokenizer = serve.open_engine(
            folder,
            max_rows=options.max_rows,
            context=options.context,
            dtype=options.dtype,
            device=options.device,
        )
        reward = options.reward_model
        service = app.create_app(
            engine,
            tokenizer,
            name=options.name or app.served_name(folder.resolve()),
            api_key=api_key,
            check=checks.all_of(found),
            max_queue=options.max_queue,
            reward=None
            if reward is None
            else _reward_model(reward, app.served_name(reward.resolve()), options.device),
        )

    def say(line: str) -> None:
        print(line, flush=True)

    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    where = f"{url} in a browser, {url}/v1 for OpenAI clients"
    if is_score_model(folder):
        where = f"{url} under /v1/score"
    say(f"{folder} is served: {where}; Ctrl-C stops")
    serve.serve(service, listener, options.grace, say)


def _score_service(
    folder: Path, checks: Sequence[Check], api_key: str | None, options: argparse.Namespace
) -> Service:
    """A reward model alone; options that are about a chat are refused."""
    from arriero.serving import app

    if options.max_rows < 1:
        raise UserError(f"--max-rows {options.max_rows}: at least one dialog has to be scored")
    given = {
        "--reward-model": options.reward_model is not None,
        "--context": options.context is not None,
        "--dtype": options.dtype is not None,
        "a safety check": bool(checks),
    }
    for name, is_given in given.items():
        if is_given:
            raise UserError(f"{folder} is a reward model, which {name} has no meaning for")
    name = options.name or app.served_name(folder.resolve())
    reward = _reward_model(folder, name, options.device)
    return app.create_score_app(
        reward, api_key=api_key, max_rows=options.max_rows, max_queue=options.max_queue
    )


def _reward_model(folder: Path, name: str, device: str | None) -> RewardModel:
    """A reward model's folder, opened for /v1/score."""
    from arriero.alignment.scoring import score_sequences
    from arriero.cli.scoring import device_named
    from arriero.model.weights import load_score_model
    from arriero.serving.scoring import RewardModel
    from arriero.tokenizer import load_tokenizer

    model = load_score_model(folder).to(device_named(device)).eval()

    def score(sequences: Sequence[Sequence[int]]) -> list[float]:
        return score_sequences(model, sequences).tolist()

    return RewardModel(name, load_tokenizer(folder), model.config.context, score)


def _safety_score(folder: Path) -> Callable[[Sequence[Message], str], float]:
    """The raw score that a safety reward model gives an answer."""
    from arriero.alignment.scoring import score_sequences
    from arriero.model.weights import load_score_model
    from arriero.tokenizer import encode_answer, encode_prompt, load_tokenizer

    model, tokenizer = load_score_model(folder).eval(), load_tokenizer(folder)

    def score(messages: Sequence[Message], answer: str) -> float:
        ids = encode_prompt(tokenizer, messages) + encode_answer(tokenizer, answer)
        return float(score_sequences(model, [ids])[0])

    return score
