"""`arriero corpus report`: a built corpus in, analyses.json and a page out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from arriero.corpus.analyses.build_record import SourceRecord, read_record
from arriero.corpus.analyses.counts import Counts
from arriero.corpus.analyses.figures import all_figures
from arriero.corpus.analyses.line_model import is_line_model, read_line_model
from arriero.corpus.analyses.removed import removed_examples
from arriero.corpus.analyses.survey import OpenScorer, Settings, survey
from arriero.corpus.reading import ANALYSES, DOCUMENTS, read_build
from arriero.records import UserError
from arriero.road.corpus.report_page import write_corpus_page
from arriero.stages.workspace import write_json


def report_corpus(corpus: Path, settings: Settings, say: Callable[[str], None]) -> Path:
    """Write analyses.json and report.html into the corpus's folder; returns the page's path.

    Nothing is written before everything is counted. analyses.json is the same for the same corpus
    and settings, whatever the number of processes; how long it took stands on the page alone.

    Raises:
        UserError: the corpus is not built or damaged, or a model cannot be read.
    """
    record = read_record(corpus)
    scorer = settings.open_scorer() if settings.open_scorer else None
    classifier, about = (scorer.name, scorer.about) if scorer else ("", "")
    done = survey(corpus, settings, say)
    _check_documents(corpus, record, done.by_source)
    examples = removed_examples(corpus, settings.seed)
    figures = all_figures(done.by_source, settings, examples, record, classifier, about)
    _check_scores(figures["total"]["toxicity"], classifier)
    # Which build it is of: a later one makes the page an old one.
    figures = {"corpus": read_build(corpus)["hash"], **figures}
    write_json(corpus / ANALYSES, figures)
    return write_corpus_page(corpus, figures, done.seconds)


def scorer_at(path: Path, label: str = "") -> OpenScorer:
    """Opens the classifier of lines at a path: a file of ours, or a Hugging Face folder.

    Args:
        label: of a folder: the label that is toxic; "" to find it.

    Raises:
        UserError: it is neither, or cannot be read.
    """
    if path.is_dir():
        from arriero.evaluation.line_classifiers import open_line_classifier

        return partial(open_line_classifier, path, label)
    if label:
        raise UserError(f"--toxic-label is for the labels of a folder; {path} has but one")
    if not is_line_model(path):
        read_line_model(path)  # says what is wrong with it
    return partial(read_line_model, path)


def _check_documents(
    corpus: Path, record: Mapping[str, SourceRecord], by_source: Mapping[str, Counts]
) -> None:
    """A file that is gone would else be a smaller corpus, without a word."""
    for name, source in record.items():
        number = by_source[name][("documents",)] if name in by_source else 0
        if source.kept is not None and source.kept != number:
            raise UserError(
                f"{corpus / DOCUMENTS / name}: {number:,} documents, but the build kept "
                f"{source.kept:,}; give `arriero corpus build` again, which mends it"
            )


def _check_scores(toxicity: dict[str, int] | None, classifier: str) -> None:
    if toxicity and toxicity["lines_without_a_number"] and not toxicity["lines"]:
        raise UserError(
            f"{classifier}: no number in 0 to 1 for any of {toxicity['lines_without_a_number']:,} "
            "lines; name another classifier with --toxicity"
        )
