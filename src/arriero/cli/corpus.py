"""The verbs of a corpus: `corpus build`, `report`, `withdraw` and `train-toxicity`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arriero.cli.keys import add_keys
from arriero.cli.verbs import Verbs
from arriero.records import UserError

# Bad files of a source that are named at the end of a build.
_MOST_NOTES = 20


def add_verbs(verbs: Verbs) -> None:
    """Add them."""
    corpus = verbs.add("corpus", "raw dumps to a mix that one can answer for", _nothing)
    inner = Verbs(corpus, None, "corpus ")
    _add_build(inner, with_keys=verbs.asked == "corpus")
    _add_report(inner)
    _add_withdraw(inner)
    _add_train_toxicity(inner)


def _nothing(options: argparse.Namespace) -> None:
    del options
    raise UserError(
        "corpus: say build, report, withdraw or train-toxicity; see `arriero corpus --help`"
    )


def _add_build(verbs: Verbs, *, with_keys: bool) -> None:
    build = verbs.add("build", "clean, de-duplicate, weigh and tokenise", _build)
    build.add_argument("recipe", metavar="RECIPE", help="a name, such as world, or a .toml file")
    build.add_argument("--run", type=Path, metavar="FOLDER", help="default: corpora/RECIPE")
    if with_keys:
        from arriero.corpus.config import CorpusRecipe

        add_keys(build, CorpusRecipe, without=("sources",))


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
        from arriero.road.corpus.build import build_corpus

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
        from arriero.data.files import read_text_lines

    ids = [*options.ids]
    if options.listed is not None:
        if not options.listed.is_file():
            raise UserError(f"{options.listed}: no such file of ids")
        lines = (line for _, line in read_text_lines(options.listed))
        ids += [word for line in lines if (word := line.partition("#")[0].strip())]
    wanted = Wanted(
        frozenset(ids), frozenset(options.url), frozenset(options.site),
        frozenset(options.file), frozenset(options.license),
    )  # fmt: skip
    withdraw(
        options.corpus, wanted, _say,
        dry_run=options.dry_run, retrain_tokenizer=options.retrain_tokenizer,
    )  # fmt: skip


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
        problems = source["problems"]
        for problem in problems[:_MOST_NOTES]:
            places = ", ".join(map(str, problem["places"]))
            where = f"{name}/{problem['file']}" + (f":{places}" if places else "")
            detail = f" ({problem['detail']})" if problem["detail"] else ""
            print(f"note: {where}: {problem['count']:,} {problem['reason']}{detail}",
                  file=sys.stderr)  # fmt: skip
        if source["read"]["documents"] and not source["kept"]["documents"]:
            most, _ = max(source["removed"].items(), key=lambda each: each[1]["documents"])
            print(
                f"note: {name}: nothing stayed, most went for {most}; {root / 'removed'} has what "
                "went, and rules are set by --rules.NAME",
                file=sys.stderr,
            )
        if (more := len(problems) - _MOST_NOTES) > 0:
            print(f"note: {name}: {more:,} more; {root / 'build.json'} has all", file=sys.stderr)
    print(f"Corpus: {root}\nHash:   {facts['hash']}")


def _say(line: str) -> None:
    print(line, flush=True)


def _add_report(verbs: Verbs) -> None:
    added = verbs.add(
        "report", "languages, pronouns, identity terms, toxicity, losses (Tables 9, 10)", _report
    )
    added.add_argument("corpus", type=Path, metavar="CORPUS", help="a built corpus")
    added.add_argument(
        "--terms", type=Path, metavar="FILE",
        help="identity terms, such as HolisticBias's descriptors.json; default: a list of our own",
    )  # fmt: skip
    added.add_argument(
        "--ambiguous", nargs="*", metavar="TERM",
        help="terms to leave out; default: straight, white, black, or those that the file names",
    )  # fmt: skip
    added.add_argument(
        "--keep-duplicates", action="store_true", help="count a term on every axis that has it"
    )
    added.add_argument(
        "--pronouns", type=Path, metavar="FILE", help="default: a list of our own"
    )  # fmt: skip
    added.add_argument(
        "--language-model", type=Path, metavar="FILE",
        help="a fastText model such as lid.176.bin; default: py3langid",
    )  # fmt: skip
    added.add_argument(
        "--language-threshold", type=float, default=0.5, metavar="P",
        help="below this probability a document's language is unknown; default: 0.5",
    )  # fmt: skip
    added.add_argument(
        "--toxicity", type=Path, metavar="MODEL",
        help="the folder of a Hugging Face classifier, or a file of `arriero corpus "
        "train-toxicity`; default: toxicity is not measured",
    )  # fmt: skip
    added.add_argument(
        "--toxic-label", default="", metavar="NAME", help="the label of a folder's classifier"
    )
    added.add_argument(
        "--toxicity-sample", type=float, default=0.1, metavar="SHARE",
        help="of the English documents, drawn by the hash of their ids; default: 0.1",
    )  # fmt: skip
    added.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the samples; default: 0"
    )
    added.add_argument(
        "--workers", type=int, default=1, metavar="N",
        help="processes, a file each; the figures do not depend on it; default: 1",
    )  # fmt: skip


def _report(options: argparse.Namespace) -> None:
    from arriero.corpus.analyses.lists import read_identity_terms, read_pronouns
    from arriero.corpus.analyses.survey import Settings
    from arriero.road.corpus.report import report_corpus, scorer_at

    if options.toxic_label and not options.toxicity:
        raise UserError("--toxic-label: name the classifier that has it with --toxicity")
    settings = Settings(
        pronouns=read_pronouns(options.pronouns),
        terms=read_identity_terms(
            options.terms, ambiguous=options.ambiguous, keep_duplicates=options.keep_duplicates
        ),
        language_model=options.language_model,
        threshold=options.language_threshold,
        open_scorer=scorer_at(options.toxicity, options.toxic_label) if options.toxicity else None,
        toxicity_rate=options.toxicity_sample,
        seed=options.seed,
        workers=options.workers,
    )
    report = report_corpus(options.corpus, settings, _say)
    print(f"\nReport:  {report}\nFigures: {options.corpus / 'analyses.json'}")


def _add_train_toxicity(verbs: Verbs) -> None:
    added = verbs.add(
        "train-toxicity", "fit a classifier of lines to rows of `text` and `label`", _train_toxicity
    )
    added.add_argument(
        "labelled", nargs="+", type=Path, metavar="LABELLED",
        help="files of rows with `text` and a `label` of 0 or 1, true or false",
    )  # fmt: skip
    added.add_argument("--out", type=Path, required=True, metavar="FILE", help="for the classifier")
    added.add_argument(
        "--held-out", type=float, default=0.2, metavar="SHARE",
        help="of the lines, to measure it with; default: 0.2",
    )  # fmt: skip
    added.add_argument("--epochs", type=int, default=8, metavar="N", help="default: 8")
    added.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")


def _train_toxicity(options: argparse.Namespace) -> None:
    from collections import Counter

    from arriero.corpus.analyses.line_model import write_line_model
    from arriero.corpus.analyses.line_training import Fitting, fit_lines, read_labelled

    if not 0 < options.held_out < 1:
        raise UserError(f"--held-out {options.held_out:g}: say a share above 0 and below 1")
    if options.epochs < 1:
        raise UserError(f"--epochs {options.epochs}: say a number above 0")
    if options.out.is_dir():
        raise UserError(f"{options.out} is a folder; name a file with --out")
    skipped: Counter[str] = Counter()
    lines = read_labelled(options.labelled, skipped)
    fitting = Fitting(held_out=options.held_out, epochs=options.epochs, seed=options.seed)
    model = fit_lines(lines, fitting)
    write_line_model(options.out, model)
    for reason, number in skipped.items():
        if number:
            print(f"note: {number:,} rows left out: {reason}")
    held = model.facts["held_out"]
    low, high = held["accuracy_interval"]
    print(f"learned from {model.facts['lines']:,} lines, {model.facts['toxic']:,} of them toxic")
    print(
        f"held out: {held['lines']:,} lines, accuracy {held['accuracy']:.1%} "
        f"(95%: {low:.1%} to {high:.1%}), AUC {held['auc']:.3f}, "
        f"calibration error {held['calibration_error']:.3f}"
    )
    for each in held["calibration"]:
        print(
            f"  {each['low']:.1f} to {each['high']:.1f}: said {each['predicted']:.2f}, "
            f"was {each['observed']:.2f}, {each['n']:,} lines"
        )
    print(options.out)
