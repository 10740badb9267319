"""The verbs of a corpus: `corpus build` and `corpus withdraw`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_origin

from arriero.cli.verbs import Parser, Verbs
from arriero.records import UserError


def add_verbs(verbs: Verbs) -> None:
    """Add them."""
    corpus = verbs.add("corpus", "raw dumps to a mix that one can answer for", _nothing)
    inner = Verbs(corpus, None, "corpus ")
    _add_build(inner, with_keys=verbs.asked == "corpus")
    _add_withdraw(inner)


def _nothing(options: argparse.Namespace) -> None:
    del options
    raise UserError("corpus: say build or withdraw; see `arriero corpus --help`")


def _add_build(verbs: Verbs, *, with_keys: bool) -> None:
    build = verbs.add("build", "clean, de-duplicate, weigh and tokenise", _build)
    build.add_argument("recipe", metavar="RECIPE", help="a name, such as world, or a .toml file")
    build.add_argument("--run", type=Path, metavar="FOLDER", help="default: corpora/RECIPE")
    if with_keys:
        _add_keys(build)


def _add_withdraw(verbs: Verbs) -> None:
    withdraw = verbs.add(
        "withdraw", "take documents out and mend the mix, without starting over", _withdraw
    )
    withdraw.add_argument("corpus", type=Path, metavar="CORPUS", help="a built corpus's folder")
    withdraw.add_argument("ids", nargs="*", metavar="ID", help="of documents")
    withdraw.add_argument("--from", dest="listed", type=Path, metavar="FILE", help="an id a line")
    for name, text in (
        ("url", "documents of this URL"),
        ("site", "documents of this site and its subdomains"),
        ("file", "documents of this input file, as SOURCE/FILE or FILE"),
        ("license", "documents of this licence"),
    ):
        withdraw.add_argument(f"--{name}", nargs="+", default=[], metavar="X", help=text)
    withdraw.add_argument(
        "--dry-run", action="store_true", help="say what would go, and take nothing out"
    )
    withdraw.add_argument(
        "--retrain-tokenizer", action="store_true", help="where one was trained; all is tokenised"
    )


def _build(options: argparse.Namespace) -> None:
    from arriero.corpus.config import CorpusRecipe
    from arriero.corpus.recipe import load_corpus_recipe
    from arriero.data.toml_tables import leaf_fields

    with _extra():
        from arriero.road.corpus import build_corpus

    given = vars(options)
    overrides = {key: given[key] for key, _, _ in leaf_fields(CorpusRecipe) if key in given}
    if "weights" in overrides:
        overrides["weights"] = _table(overrides["weights"])
    recipe = load_corpus_recipe(options.recipe, overrides)
    root = options.run or Path("corpora") / Path(options.recipe).stem
    facts = build_corpus(recipe, root, _say)
    _print_summary(facts, root)


def _withdraw(options: argparse.Namespace) -> None:
    with _extra():
        from arriero.corpus.withdraw import Wanted, withdraw

    ids = [*options.ids]
    if options.listed is not None:
        if not options.listed.is_file():
            raise UserError(f"{options.listed}: no such file of ids")
        lines = options.listed.read_text(encoding="utf-8").splitlines()
        ids += [word for line in lines if (word := line.partition("#")[0].strip())]
    wanted = Wanted(
        frozenset(ids), frozenset(options.url), frozenset(options.site),
        frozenset(options.file), frozenset(options.license),
    )  # fmt: skip
    withdraw(
        options.corpus, wanted, _say,
        dry_run=options.dry_run, retrain_tokenizer=options.retrain_tokenizer,
    )  # fmt: skip


def _add_keys(parser: Parser) -> None:
    from arriero.corpus.config import CorpusRecipe
    from arriero.data.toml_tables import leaf_fields

    groups: dict[str, Any] = {}
    for key, model, name in leaf_fields(CorpusRecipe):
        if key == "sources":
            continue
        field = model.model_fields[name]
        section = key.rpartition(".")[0]
        group = groups.setdefault(section, parser.add_argument_group(section or "keys"))
        # A tuple may hide in an Annotated; both are given as several words.
        is_many = get_origin(field.annotation) in (tuple, dict)
        group.add_argument(
            f"--{key}",
            dest=key,
            metavar="X",
            nargs="+" if is_many else None,
            default=argparse.SUPPRESS,
            help=(field.description or "").replace("%", "%%"),
        )


@contextmanager
def _extra() -> Iterator[None]:
    """Say what is missing where the extra is not installed."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"a corpus needs {error.name}; install it with pip install arriero[corpus]"
        ) from None


def _table(given: list[str]) -> dict[str, str]:
    pairs = [word.rpartition("=") for word in given]
    for name, _, _ in pairs:
        if not name:
            raise UserError("--weights: write NAME=NUMBER")
    return {name: number for name, _, number in pairs}


def _print_summary(facts: dict[str, Any], root: Path) -> None:
    for name, source in facts["sources"].items():
        mix = source["mix"]
        share = f"share {mix['share']:.1%}, {mix['epochs']:.2f} epochs"
        print(
            f"{name}: {source['kept']['documents']:,} of {source['read']['documents']:,} "
            f"documents, {source['tokens']:,} tokens, {share}"
        )
        for problem in source["problems"]:
            places = ", ".join(map(str, problem["places"]))
            where = f"{name}/{problem['file']}" + (f":{places}" if places else "")
            detail = f" ({problem['detail']})" if problem["detail"] else ""
            print(f"note: {where}: {problem['count']:,} {problem['reason']}{detail}",
                  file=sys.stderr)  # fmt: skip
    print(f"Corpus: {root}\nHash:   {facts['hash']}")


def _say(line: str) -> None:
    print(line, flush=True)
