"""Contamination of evaluation sets by a corpus: figures of each set, and of each sample (A.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from arriero.corpus.contamination.evals import EvalSet
from arriero.corpus.contamination.matching import Rule, samples_of
from arriero.corpus.contamination.opening import document_ids, token_folders, tokenised
from arriero.corpus.contamination.parts import Say, TokenFolder
from arriero.corpus.contamination.search import Match, search
from arriero.corpus.contamination.shown import differences, passage
from arriero.equations.contamination import (
    as_row,
    contaminated_share,
    is_affected,
    merged_spans,
    subset_figures,
)
from arriero.records import UserError
from arriero.tokenizer.tokenizer import Tokenizer

Json = dict[str, Any]

NUM_SHOWN = 24


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for.

    Attributes:
        min_lengths: of the shortest match; figures are given for each.
        budget, exact_prefix: as in `Rule`.
        memory: bytes that sorting a part of the corpus may take, beside the program itself.
        replacement: how subsets are drawn under the null hypothesis (`sampling_distribution`).
        higher_is_better: of the metric.
        corpus_fields: what of a corpus's row is its text, where it is not tokens yet.
    """

    min_lengths: tuple[int, ...] = (11,)
    budget: int = 4
    exact_prefix: int = 10
    memory: float = 2e9
    replacement: bool = True
    higher_is_better: bool = True
    corpus_fields: tuple[str, ...] = field(default=())

    def rule(self) -> Rule:
        """The rule of the shortest match that is asked for, which finds the others too."""
        if not self.min_lengths:
            raise UserError("no shortest match is named; say --min-length 11")
        return Rule(min(self.min_lengths), self.budget, self.exact_prefix)


@dataclass(frozen=True, slots=True)
class Study:
    """What stands in results.json, and a row of samples.jsonl for each sample."""

    results: Json
    rows: list[Json]


def study_contamination(
    corpus: Path,
    sets: Sequence[EvalSet],
    tokenizer: Tokenizer,
    settings: Settings,
    work: Path,
    say: Say,
) -> Study:
    """Look the samples of all sets up in a corpus.

    Args:
        corpus: a built corpus, a folder that holds token folders, or files of text.
        work: where files of text are tokenised.

    Raises:
        UserError: the corpus is missing, damaged or another tokenizer's, a setting is wrong, or
            memory is too small.
    """
    rule = settings.rule()
    folders = token_folders(corpus)
    if folders:
        _note_beginnings(folders, tokenizer, say)
    else:
        folders = tokenised(corpus, tokenizer, settings.corpus_fields, work, say)
    rows = [ids for each in sets for ids in tokenizer.encode_batch([s.text for s in each.samples])]
    samples = samples_of(rows)
    say(f"{len(rows):,} samples of {len(samples.tokens):,} tokens")
    found = search(folders, samples, rule, settings.memory, tokenizer.vocab_size, say)
    starts = samples.starts.tolist()
    matches = [found.of_sample(a, b) for a, b in pairwise(starts)]
    names = _documents(folders, matches)

    results: Json = {
        "corpus": {
            "name": corpus.name,
            "tokens": sum(len(folder.tokens) for folder in folders),
            "documents": sum(len(folder.starts) for folder in folders),
            "folders": [folder.name for folder in folders],
        },
        "rule": {
            "min_lengths": sorted(set(settings.min_lengths)),
            "budget": rule.budget,
            "exact_prefix": rule.exact_prefix,
            "replacement": settings.replacement,
            "higher_is_better": settings.higher_is_better,
        },
        "sets": {},
    }
    lines: list[Json] = []
    first = 0
    for each in sets:
        last = first + len(each.samples)
        for sample, ids, own in zip(
            each.samples, rows[first:last], matches[first:last], strict=True
        ):
            lines.append(
                {
                    "dataset": each.name,
                    "id": sample.id,
                    "line": sample.line,
                    "tokens": len(ids),
                    "shares": {
                        str(length): contaminated_share(_spans(own, length), len(ids))
                        for length in results["rule"]["min_lengths"]
                    },
                    "spans": [list(span) for span in merged_spans(_spans(own, 0))],
                    "matches": [_match(match, ids, folders, names) for match in own],
                }
            )
            if sample.value is not None:
                lines[-1]["metric"] = sample.value
        results["sets"][each.name] = _figures(each, lines[first:last], settings)
        first = last
    results["shown"] = [
        _shown(lines[number], rows[number], matches[number], folders, tokenizer)
        for number in _worst(lines)
    ]
    return Study(results, lines)


def _spans(matches: Sequence[Match], min_length: int) -> list[tuple[int, int]]:
    return [(match.begin, match.end) for match in matches if match.length >= min_length]


def _figures(given: EvalSet, rows: Sequence[Json], settings: Settings) -> Json:
    """Of one set, for each length of the shortest match."""
    tokens = np.asarray([row["tokens"] for row in rows])
    metric = [row["metric"] for row in rows] if given.has_metric else None
    figures: Json = {
        "samples": len(rows),
        "empty": int((tokens == 0).sum()),
        "too_short": int(((tokens > 0) & (tokens < min(settings.min_lengths))).sum()),
        "tokens": int(tokens.sum()),
        "metric": None if metric is None else float(np.mean(metric)),
        "longest": max((match["length"] for row in rows for match in row["matches"]), default=0),
        "lengths": {},
    }
    for length in rows[0]["shares"]:
        shares = [row["shares"][length] for row in rows]
        subsets = subset_figures(shares, metric, replacement=settings.replacement)
        covered = float(np.dot(shares, tokens))
        figures["lengths"][length] = {
            "with_match": sum(share > 0 for share in shares),
            "contamination": float(np.mean(shares)),
            "tokens_contaminated": round(covered),
            "subsets": {name: as_row(subset) for name, subset in subsets.items()},
            "affected": None
            if metric is None
            else is_affected(subsets, higher_is_better=settings.higher_is_better),
        }
    return figures


def _match(
    match: Match,
    ids: Sequence[int],
    folders: Sequence[TokenFolder],
    names: dict[tuple[int, int], str],
) -> Json:
    folder = folders[match.folder]
    document = folder.document_of(match.place)
    return {
        "begin": match.begin,
        "length": match.length,
        "different": differences(match, ids, folder),
        "folder": folder.name,
        "document": names[match.folder, document],
        "place": match.place - folder.bounds(document)[0],
    }


def _documents(
    folders: Sequence[TokenFolder], matches: Sequence[Sequence[Match]]
) -> dict[tuple[int, int], str]:
    """The ids of all documents that something matches, by folder and number."""
    wanted: list[set[int]] = [set() for _ in folders]
    for match in (match for own in matches for match in own):
        wanted[match.folder].add(folders[match.folder].document_of(match.place))
    return {
        (number, document): name
        for number, folder in enumerate(folders)
        for document, name in document_ids(folder, wanted[number]).items()
    }


def _worst(rows: Sequence[Json]) -> list[int]:
    """The samples to show: those with the largest share, of equal ones the longest match."""
    with_match = [number for number, row in enumerate(rows) if row["matches"]]

    def badness(number: int) -> tuple[float, int, int]:
        row = rows[number]
        share = next(iter(row["shares"].values()))
        return -share, -max(match["length"] for match in row["matches"]), number

    return sorted(with_match, key=badness)[:NUM_SHOWN]


def _shown(
    row: Json,
    ids: Sequence[int],
    matches: Sequence[Match],
    folders: Sequence[TokenFolder],
    tokenizer: Tokenizer,
) -> Json:
    """A sample beside the document of its longest match."""
    number = max(range(len(matches)), key=lambda at: (matches[at].length, -at))
    match = matches[number]
    return {
        "dataset": row["dataset"],
        "id": row["id"],
        "tokens": row["tokens"],
        "share": next(iter(row["shares"].values())),
        "match": row["matches"][number],
        "num_matches": len(matches),
        **passage(match, ids, folders[match.folder], tokenizer),
    }


def _note_beginnings(folders: Sequence[TokenFolder], tokenizer: Tokenizer, say: Say) -> None:
    """Tell where the corpus seems to be another tokenizer's: its documents begin otherwise."""
    for folder in folders:
        starts = np.asarray(folder.starts[:100])
        firsts = folder.tokens[starts[starts < len(folder.tokens)]]
        if np.any(firsts != tokenizer.start_id):
            say(
                f"note: documents of {folder.path} do not begin with the tokenizer's id "
                f"{tokenizer.start_id}; if it is not the one that wrote them, nothing will match"
            )
