"""The verbs of the corpus: corpus report, corpus train-toxicity."""

from __future__ import annotations

import argparse
from pathlib import Path

from arriero.cli.verbs import Verbs
from arriero.records import UserError


def add_report_verbs(verbs: Verbs) -> None:
    """Add them to those of `corpus`."""
    _add_report(verbs)
    _add_train_toxicity(verbs)


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

    def say(line: str) -> None:
        print(line, flush=True)

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
    report = report_corpus(options.corpus, settings, say)
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
