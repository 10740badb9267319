"""`arriero contamination`: a corpus and evaluation sets in, figures and a page out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from arriero.corpus.contamination.evals import read_evals
from arriero.corpus.contamination.study import Settings, study_contamination
from arriero.data.files import given_paths
from arriero.data.writing import write_rows
from arriero.records import UserError
from arriero.road.corpus.contamination_page import write_contamination_page
from arriero.stages.workspace import write_json
from arriero.tokenizer.tokenizer import Tokenizer


def contaminate(
    corpus: Path,
    evals: Sequence[Path | str],
    tokenizer: Tokenizer,
    settings: Settings,
    out: Path,
    say: Callable[[str], None],
    *,
    fields: Sequence[str] = (),
    metric: str = "",
) -> Path:
    """Write results.json, samples.jsonl and report.html into `out`; returns the page's path.

    Nothing is written before everything is known, but for the tokens of a corpus of plain files,
    in `out/tokens`.

    Raises:
        UserError: as `read_evals` and `study_contamination`, or `out` can be no folder.
    """
    _check_folder(out)
    settings.rule()
    given_paths(corpus)
    sets = read_evals(evals, fields, metric)
    study = study_contamination(corpus, sets, tokenizer, settings, out / "tokens", say)
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / "samples.jsonl", iter(study.rows))
    write_json(out / "results.json", study.results)
    return write_contamination_page(out, study.results)


def _check_folder(out: Path) -> None:
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"{there} is a file; name a folder with --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{there}: not allowed to write there; name another folder with --out")
