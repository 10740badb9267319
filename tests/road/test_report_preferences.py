"""The report's section of comparisons: tracks, batches, data sets, labels, what was dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arriero.road.report.blocks import Bars, Facts, Table
from arriero.road.report.folder import read_run
from arriero.road.report.preferences import preferences_section

from .synthetic_run import write_stage

FIGURES = {"turns": 2.5, "tokens_per_example": 60.0, "tokens_in_prompt": 40.0}


def group(train: int, test: int) -> dict[str, Any]:
    return {"train": train, "test": test, "tokens_in_response": 20.0, **FIGURES}


RESULTS: dict[str, Any] = {
    "origin": "adopted",
    "tracks": {
        "safety": {
            **group(300, 40),
            "batches": {"1": group(200, 20), "2": group(100, 20)},
            "sources": {"own": group(250, 40), "open": group(50, 0)},
            "safety_labels": {"both_safe": 0.6, "both_unsafe": 0.4},
        }
    },
    "dropped": {"empty answer": 2, "the two answers are the same": 1},
    "dropped_at": {"empty answer": ["pairs.jsonl:7", "pairs.jsonl:9"]},
}


def test_tables_by_track_batch_and_data_set(tmp_path: Path) -> None:
    write_stage(tmp_path, "04-preferences-v1", 1.0, RESULTS, [])
    section = preferences_section(read_run(tmp_path))
    assert section is not None
    tables = {block.title: block for block in section.blocks if isinstance(block, Table)}
    assert {title: (table.head[0], table.rows) for title, table in tables.items()} == {
        "Comparisons": (
            "track",
            [["safety", "300", "40", "2.5", "60", "40", "20"]],
        ),
        "Comparisons by batch": (
            "batch",
            [
                ["safety, 1", "200", "20", "2.5", "60", "40", "20"],
                ["safety, 2", "100", "20", "2.5", "60", "40", "20"],
            ],
        ),
        "Comparisons by data set": (
            "data set",
            [
                ["safety, own", "250", "40", "2.5", "60", "40", "20"],
                ["safety, open", "50", "0", "2.5", "60", "40", "20"],
            ],
        ),
    }


def test_labels_stand_beside_the_papers_and_dropped_rows_are_named(tmp_path: Path) -> None:
    write_stage(tmp_path, "04-preferences-v1", 1.0, RESULTS, [])
    section = preferences_section(read_run(tmp_path))
    assert section is not None
    (bars,) = [block for block in section.blocks if isinstance(block, Bars)]
    shares = {bar.label: [segment.share for segment in bar.segments] for bar in bars.bars}
    assert shares == {"safety": [0.6, 0.4], "the paper": [0.18, 0.47, 0.35]}
    (facts,) = [block for block in section.blocks if isinstance(block, Facts)]
    assert list(facts.facts) == [
        ("dropped: empty answer", "2, first pairs.jsonl:7"),
        ("dropped: the two answers are the same", "1"),
    ]
