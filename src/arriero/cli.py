"""The one entry point, `arriero`: verbs, and every key of a recipe as an option."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_origin

from safetensors import SafetensorError

from arriero._version import __version__
from arriero.records import Message, UserError

STAGE_VERBS = {
    "tokenizer": "train the tokenizer (section 2.2)",
    "pretrain": "train the base model (section 2.2)",
    "sft": "fine-tune it on demonstrations (section 3.1)",
    "preferences": "collect or take over comparisons (section 3.2.1)",
    "reward": "train both reward models (section 3.2.2)",
    "rejection": "rejection sampling and fine-tuning on the best (section 3.2.3)",
    "ppo": "proximal policy optimization (section 3.2.3)",
    "evaluate": "compare all versions (section 3.4)",
}


class _Parser(argparse.ArgumentParser):
    """argparse, but an error is one line that names the mend."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for what the user can mend)."""
    again = "the same command"
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        if any(word.partition("=")[0] == "--from" for word in given):
            again += " without --from"
        options, unknown = _parser(next(iter(given), None)).parse_known_args(given)
        if unknown:
            _refuse_unknown(options, unknown)
        act: Callable[[argparse.Namespace], None] = options.act
        act(options)
    except UserError as error:
        print(f"arriero: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\narriero: stopped; {again} goes on where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except SafetensorError as error:
        line = f"weights were not written ({error}); free some disk and give {again}"
        print(f"arriero: {line}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"arriero: {_explain(error, again)}", file=sys.stderr)
        return 2
    return 0


def _explain(error: OSError, again: str) -> str:
    """One line for what the file system refused; raises the error where the user can't mend it."""
    where = error.filename or "while writing"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({where}); free some and give {again}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}: not allowed; name another place or mend its permissions"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{where}: a file is in the way of a folder; name another place with --run"
    raise error


def _parser(asked: str | None) -> _Parser:
    """All verbs; the one that is asked for gets the recipe's keys, which take a while to import."""
    parser = _Parser(
        prog="arriero",
        description="The whole Llama 2 system: raw text in, an aligned chat model out.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"arriero {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, text: str, act: Callable[[argparse.Namespace], None]) -> _Parser:
        added = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(act=act, verb=name)
        return added

    def recipe_verb(name: str, text: str, act: Callable[[argparse.Namespace], None]) -> _Parser:
        added = verb(name, text, act)
        _add_recipe(added)
        if name == asked:
            _add_keys(added)
        return added

    run = recipe_verb("run", "run a recipe: all stages in order, what is done skipped", _run)
    run.add_argument("--until", metavar="STAGE", help="the last stage to run")
    run.add_argument("--from", dest="restart", metavar="STAGE", help="do this stage on again")
    for name, text in STAGE_VERBS.items():
        recipe_verb(name, f"one stage alone: {text}", _run)
    ablate = verb("ablate", "what one choice of the paper is worth (A.2.1)", _ablate)
    ablate.add_argument("ablation", metavar="ABLATION", help="attention: of heads and of context")
    ablate.add_argument("recipe", metavar="RECIPE", nargs="?", default="tiny", help="default: tiny")
    ablate.add_argument("--run", type=Path, metavar="FOLDER", help="default: runs/ablate-ABLATION")
    ablate.add_argument("--smoke", action="store_true", help="the same in about a minute")
    ablate.add_argument("--seeds", dest="ablation.seeds", metavar="N", default=argparse.SUPPRESS,
                        help="trainings of each model")  # fmt: skip
    if asked == "ablate":
        _add_keys(ablate)
    recipe_verb("config", "print what a recipe would run, every key, as TOML", _config)
    report = verb("report", "write the report of a run", _report)
    report.add_argument("run", type=Path, metavar="RUN")
    check = verb("check-data", "what a file is taken for, one example, its loss mask", _check)
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("--tokenizer", type=Path, metavar="MODEL", help="a folder with a tokenizer")
    chat = verb("chat", "talk to a model", _chat)
    chat.add_argument("model", type=Path, metavar="MODEL", help="a model folder or a run")
    chat.add_argument("-p", "--prompt", help="answer this one prompt and leave")
    chat.add_argument("--system", help="the system message")
    chat.add_argument("--temperature", type=float, default=0.6)
    chat.add_argument("--top-p", type=float, default=0.9)
    chat.add_argument("--max-new-tokens", type=int, default=256)
    chat.add_argument("--seed", type=int, default=0)
    convert = verb("convert", "write a model in another layout", _convert)
    convert.add_argument("source", type=Path, metavar="SOURCE", help="a model folder")
    convert.add_argument("target", type=Path, metavar="TARGET", help="a new folder, or FILE.gguf")
    convert.add_argument("--to", required=True, choices=("hugging-face", "meta", "gguf"))
    convert.add_argument("--dtype", help="float32, bfloat16, float16, and q8_0 for gguf")
    convert.add_argument("--shards", type=int, default=1, help="model-parallel files, for meta")
    convert.add_argument("--max-shard-size", metavar="SIZE", help="of a file, such as 5GB")
    convert.add_argument("--context", type=int, help="in tokens, for a SOURCE in Meta's layout")
    look = verb("inspect", "what a model folder holds; nothing in it is run", _inspect)
    look.add_argument("model", type=Path, metavar="MODEL")
    look.add_argument("--check", action="store_true", help="read every weight and hash every file")
    _add_serve(verb("serve", "answer OpenAI's API and show the chat page", _serve))
    verb("recipes", "the recipes that come with arriero", _recipes)
    verb("doctor", "what this machine can do", _doctor)
    return parser


def _add_serve(parser: _Parser) -> None:
    """Where to listen, how much to take on, what to check."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model folder or a run")
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


def _add_recipe(parser: _Parser) -> None:
    """The recipe, its folder and its length."""
    parser.add_argument("recipe", metavar="RECIPE", help="a name (see `arriero recipes`) or a file")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="default: runs/RECIPE")
    parser.add_argument("--smoke", action="store_true", help="the same road, a twentieth as long")


def _add_keys(parser: _Parser) -> None:
    """An option for each key of a recipe."""
    from arriero.road.recipe import leaf_fields

    groups: dict[str, Any] = {}
    for key, model, name in leaf_fields():
        field = model.model_fields[name]
        section = key.rpartition(".")[0]
        group = groups.setdefault(section, parser.add_argument_group(section or "keys"))
        is_many = get_origin(field.annotation) is tuple
        group.add_argument(
            f"--{key}",
            dest=key,
            metavar="X",
            nargs="+" if is_many else None,
            default=argparse.SUPPRESS,
            help=(field.description or "").replace("%", "%%"),
        )


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    from arriero.road.recipe import leaf_fields

    given = vars(options)
    return {key: given[key] for key, _, _ in leaf_fields() if key in given}


def _recipe(options: argparse.Namespace) -> Any:
    from arriero.road.recipe import load_recipe

    overrides = _overrides(options)
    if options.smoke:
        overrides.setdefault("scale", 0.05)
    return load_recipe(options.recipe, overrides)


def _refuse_unknown(options: argparse.Namespace, unknown: Sequence[str]) -> NoReturn:
    first = unknown[0]
    if first.startswith("--") and hasattr(options, "recipe"):
        from arriero.road.recipe import unknown_key

        raise UserError(unknown_key(first[2:].split("=")[0]))
    raise UserError(f"unknown argument {first}; see `arriero {options.verb} --help`")


def _run(options: argparse.Namespace) -> None:
    from arriero.road.drive import drive, newest_chat_model

    recipe = _recipe(options)
    run: Path = options.run or Path("runs") / Path(options.recipe).stem
    say = _clocked()
    only = None if options.verb == "run" else options.verb
    until = getattr(options, "until", None)
    restart = getattr(options, "restart", None)
    report = drive(recipe, run, say, until=until, restart_from=restart, only=only)
    print(f"\nReport:  {report}")
    newest = newest_chat_model(run)
    if newest is not None:
        print(f"Chat:    arriero chat {newest}")


def _clocked() -> Callable[[str], None]:
    """Prints a line with the time since now in front of it."""
    began = time.perf_counter()

    def say(line: str) -> None:
        spent = int(time.perf_counter() - began)
        print(f"{spent // 60:3d}:{spent % 60:02d}  {line}", flush=True)

    return say


def _ablate(options: argparse.Namespace) -> None:
    from arriero.road.ablation import ablation_named
    from arriero.road.recipe import load_recipe

    ablation = ablation_named(options.ablation)
    overrides = _overrides(options)
    if options.smoke:
        smoke = {"scale": 0.05, "ablation.seeds": 2, "ablation.max_batch": 64}
        overrides = smoke | overrides
    recipe = load_recipe(options.recipe, overrides)
    run: Path = options.run or Path("runs") / f"ablate-{options.ablation}"
    report = ablation(recipe, run, _clocked())
    print(f"\nReport:  {report}\nFigures: {run / 'results.json'}")


def _config(options: argparse.Namespace) -> None:
    from arriero.road.recipe import to_toml

    print(to_toml(_recipe(options)), end="")


def _report(options: argparse.Namespace) -> None:
    from arriero.road.report import write_report

    if not options.run.is_dir():
        raise UserError(f"{options.run}: no such run")
    print(write_report(options.run))


def _check(options: argparse.Namespace) -> None:
    from arriero.data.check import check_data, render_check
    from arriero.tokenizer.load import load_tokenizer

    tokenizer = load_tokenizer(options.tokenizer) if options.tokenizer else None
    print(render_check(check_data(options.file), tokenizer))


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
    engine, tokenizer = serve.open_engine(
        folder,
        max_rows=options.max_rows,
        context=options.context,
        dtype=options.dtype,
        device=options.device,
    )
    service = app.create_app(
        engine,
        tokenizer,
        name=options.name or app.served_name(folder.resolve()),
        api_key=api_key,
        check=checks.all_of(found),
        max_queue=options.max_queue,
    )

    def say(line: str) -> None:
        print(line, flush=True)

    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    say(f"{folder} is served: {url} in a browser, {url}/v1 for OpenAI clients; Ctrl-C stops")
    serve.serve(service, listener, options.grace, say)


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


def _recipes(_: argparse.Namespace) -> None:
    from arriero.road.recipe import load_recipe, recipe_names

    for name in recipe_names():
        print(f"{name:12} {load_recipe(name).model.num_parameters:>14,} parameters")


def _doctor(_: argparse.Namespace) -> None:
    from arriero.road.doctor import examine

    print("\n".join(examine()))


if __name__ == "__main__":
    sys.exit(main())
