"""The readers on public sets, where they lie beside the repository (or where ARRIERO_DATA says)."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from arriero.data.check import check_data
from arriero.data.dialogs import read_dialogs
from arriero.data.documents import MAX_CHARACTERS, read_documents
from arriero.data.preferences import read_preferences
from arriero.data.prompts import read_prompts

FOLDER = Path(
    os.environ.get("ARRIERO_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
)
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no public data in {FOLDER}: set ARRIERO_DATA to a folder of them"
)


def test_wikitext_is_cut_at_its_titles() -> None:
    documents = list(read_documents(FOLDER / "wikitext-2"))
    starts = [document[:4] for document in documents]
    assert sum(start.startswith(" = ") and start != " = =" for start in starts) == 120
    assert max(map(len, documents)) <= MAX_CHARACTERS


def test_peps_are_whole() -> None:
    files = sorted((FOLDER / "peps").glob("*.rst"))
    num_signs = sum(len(file.read_text(encoding="utf-8").strip()) for file in files)
    documents = list(read_documents(FOLDER / "peps"))
    assert len(documents) > len(files)
    # Only empty lines at the cuts are lost.
    assert 0.999 * num_signs < sum(map(len, documents)) <= num_signs


@pytest.mark.parametrize(
    ("name", "num_usable", "num_skipped"),
    [
        ("oasst/en_100_tree.jsonl", 100, 0),
        ("oasst/en_100_message.jsonl", 100, 0),
        ("self-instruct/seed_tasks.jsonl", 175, 0),
        ("t0_sample/train.jsonl", 3273, 175),
        ("flan_cot/ecqa_train.tsv", 7112, 0),
    ],
)
def test_instructions(name: str, num_usable: int, num_skipped: int) -> None:
    skipped: Counter[str] = Counter()
    dialogs = list(read_dialogs(FOLDER / name, skipped=skipped))
    assert len(dialogs) == num_usable
    assert skipped.total() == num_skipped
    assert not any("<|endoftext|>" in dialog.answer for dialog in dialogs)


@pytest.mark.parametrize(
    ("name", "num_rows"),
    [
        ("harmless-base", 1704),
        ("helpful-base", 1737),
        ("helpful-online", 870),
        ("helpful-rejection-sampled", 2041),
    ],
)
def test_comparisons(name: str, num_rows: int) -> None:
    skipped: Counter[str] = Counter()
    pairs = list(read_preferences(FOLDER / "hh-rlhf" / name, skipped=skipped))
    assert len(pairs) + skipped.total() == num_rows
    assert skipped.total() < 0.02 * num_rows


def test_prompts_of_comparisons_have_the_ids_of_their_pairs() -> None:
    path = FOLDER / "hh-rlhf" / "helpful-online"
    ids = [pair.prompt_id for pair in read_preferences(path)]
    assert [prompt.id for prompt in read_prompts(path)] == list(dict.fromkeys(ids))


def test_lists_of_prompts() -> None:
    names = ["en_100_text.jsonl", "prompt_lottery_en_250_text.jsonl"]
    assert len(list(read_prompts([FOLDER / "oasst" / name for name in names]))) == 350


def test_every_set_checks_without_a_bad_row() -> None:
    formats = {
        "hh-rlhf/harmless-base": "hh",
        "oasst/en_100_tree.jsonl": "oasst",
        "oasst/en_100_text.jsonl": "prompt",
        "self-instruct/seed_tasks.jsonl": "self_instruct",
        "t0_sample": "completion",
        "flan_cot/qasc_train.tsv": "table",
        "wikitext-2": "plain",
    }
    for name, expected in formats.items():
        report = check_data(FOLDER / name)
        assert (report.format, report.num_bad) == (expected, 0)
        assert report.num_usable > 0
