"""The verb of contamination, which needs no built corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

from arriero.cli.verbs import Verbs
from arriero.records import UserError


def add_verbs(verbs: Verbs) -> None:
    """Add them."""
    _add_contamination(verbs)


def _add_contamination(verbs: Verbs) -> None:
    added = verbs.add(
        "contamination", "which tokens of evaluation sets occur in the corpus (A.6)", _contamination
    )
    added.add_argument(
        "corpus", type=Path, metavar="CORPUS",
        help="a built corpus, a folder that holds tokens, or files of text",
    )  # fmt: skip
    added.add_argument(
        "evals", nargs="+", metavar="EVALS", help="files of samples, one data set each, or folders"
    )
    added.add_argument(
        "--tokenizer", type=Path, metavar="MODEL",
        help="a model folder or a tokenizer's file; default: the one that the corpus names",
    )  # fmt: skip
    added.add_argument(
        "--fields", nargs="+", default=(), metavar="KEY",
        help="what of a sample is looked up; default: what goes by a known name",
    )  # fmt: skip
    added.add_argument(
        "--corpus-fields", nargs="+", default=(), metavar="KEY",
        help="the same of the corpus, where it is rows and no tokens",
    )  # fmt: skip
    added.add_argument(
        "--metric", default="", metavar="KEY|FILE",
        help="the field with a sample's metric, or a file of rows `id`, `value` (and `dataset`); "
        "default: shares without Z",
    )  # fmt: skip
    added.add_argument(
        "--lower-is-better", action="store_true", help="the metric is an error, not a score"
    )
    added.add_argument(
        "--without-replacement", action="store_true",
        help="the null hypothesis draws each sample at most once",
    )  # fmt: skip
    added.add_argument(
        "--min-length", nargs="+", type=int, default=[11], metavar="N",
        help="tokens of the shortest match; several give figures for each; default: 11",
    )  # fmt: skip
    added.add_argument(
        "--budget", type=int, default=4, metavar="N",
        help="how many tokens of a match may differ; default: 4",
    )  # fmt: skip
    added.add_argument(
        "--exact-prefix", type=int, default=10, metavar="N",
        help="how many tokens at its beginning may not; default: 10",
    )  # fmt: skip
    added.add_argument(
        "--memory", type=float, default=2, metavar="GB",
        help="for sorting a part of the corpus, beside the program itself; default: 2",
    )  # fmt: skip
    added.add_argument(
        "--out", type=Path, default=Path("runs/contamination"), metavar="FOLDER",
        help="for report.html, results.json and samples.jsonl; default: runs/contamination",
    )  # fmt: skip


def _contamination(options: argparse.Namespace) -> None:
    from arriero.corpus.contamination.opening import tokenizer_of
    from arriero.corpus.contamination.study import Settings
    from arriero.road.corpus.contamination import contaminate
    from arriero.tokenizer.load import load_tokenizer

    if not options.memory > 0:
        raise UserError(f"--memory {options.memory:g}: say gigabytes above 0")

    def say(line: str) -> None:
        print(line, flush=True)

    settings = Settings(
        min_lengths=tuple(options.min_length),
        budget=options.budget,
        exact_prefix=options.exact_prefix,
        memory=options.memory * 1e9,
        replacement=not options.without_replacement,
        higher_is_better=not options.lower_is_better,
        corpus_fields=tuple(options.corpus_fields),
    )
    report = contaminate(
        options.corpus,
        options.evals,
        load_tokenizer(options.tokenizer or tokenizer_of(options.corpus)),
        settings,
        options.out,
        say,
        fields=tuple(options.fields),
        metric=options.metric,
    )
    print(f"\nReport:  {report}\nFigures: {options.out / 'results.json'}")
