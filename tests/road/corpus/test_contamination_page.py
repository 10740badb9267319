"""The page of `arriero contamination`: Table 51's rows, and texts side by side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from arriero.equations.contamination import as_row, is_affected, subset_figures
from arriero.road.corpus.contamination_page import write_contamination_page


def results(shares: list[float], metric: list[float] | None) -> dict[str, Any]:
    subsets = subset_figures(shares, metric)
    found = {
        "with_match": 4,
        "contamination": 0.5,
        "tokens_contaminated": 20,
        "subsets": {name: as_row(row) for name, row in subsets.items()},
        "affected": None if metric is None else is_affected(subsets),
    }
    return {
        "corpus": {"name": "web", "tokens": 1_500_000, "documents": 900, "folders": ["a"]},
        "rule": {
            "min_lengths": [40], "budget": 4, "exact_prefix": 10, "replacement": True,
            "higher_is_better": True,
        },
        "sets": {
            "quiz": {
                "samples": len(shares), "empty": 0, "too_short": 1, "tokens": 80,
                "metric": None if metric is None else 0.5,
                "longest": 44, "lengths": {"40": found},
            }
        },
        "shown": [],
    }  # fmt: skip


def table(page: str, title: str) -> list[list[str]]:
    body = page.split(f"<h3>{title}</h3>")[1].split("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("<tr>")]
    return [row for row in rows if row]


def test_rows_of_an_affected_set(tmp_path: Path) -> None:
    shares = [0.0] * 20 + [0.9] * 20
    page = write_contamination_page(tmp_path, results(shares, [0.0] * 20 + [1.0] * 20)).read_text()
    rows = table(page, "Subsets by contamination")
    # sigma = 0.5 / sqrt(20) = 0.112, Z = 0.5 / 0.112 = 4.47.
    assert rows[0] == [
        "quiz (L = 40)", "Clean (below 20%)", "20", "0.0%", "0", "0.5", "0.112", "−4.47", "yes",
    ]  # fmt: skip
    assert [row[2] for row in rows] == ["20"] * 4
    assert [row[7] for row in rows] == ["−4.47", "4.47", "−4.47", "4.47"]
    assert "<b>50.0%</b>" in page


def test_shares_alone(tmp_path: Path) -> None:
    page = write_contamination_page(tmp_path, results([0.0, 0.3], None)).read_text()
    assert table(page, "Subsets by contamination")[3] == ["", "Dirty (80% and above)", "0", "–"]
    assert "there are shares and no Z" in page
    assert "No sample has a match in this corpus." in page


def test_texts_are_marked_and_escaped(tmp_path: Path) -> None:
    given = results([0.9], None)
    pieces = [["<script>", "around"], ["a & b", "same"], ["c", "different"]]
    given["shown"] = [
        {
            "dataset": "quiz", "id": "<1>", "tokens": 20, "share": 0.9, "num_matches": 1,
            "match": {
                "begin": 0, "length": 12, "different": [11], "folder": "a", "document": "d7",
                "place": 1200,
            },
            "sample": pieces, "corpus": [*pieces, ["\x00", "around"]],
        }
    ]  # fmt: skip
    page = write_contamination_page(tmp_path, given).read_text()
    assert page.count('<span class="around">&lt;script&gt;</span>') == 2
    assert page.count('<span class="same">a &amp; b</span><span class="different">c</span>') == 2
    assert "a · document d7 · from token 1,200" in page
    assert "quiz · &lt;1&gt;" in page
    assert "<script>" not in page
    assert "\x00" not in page
