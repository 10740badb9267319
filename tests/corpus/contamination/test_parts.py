"""Parts of a corpus: cut, kept, made again where they are damaged; the same matches however cut."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from arriero.corpus.contamination import search as searching
from arriero.corpus.contamination.matching import Rule, samples_of
from arriero.corpus.contamination.parts import (
    Part,
    TokenFolder,
    most_tokens,
    open_token_folder,
    plan_parts,
)
from arriero.corpus.contamination.search import Match, search
from arriero.corpus.contamination.suffixes import sorting_bytes
from arriero.records import UserError

Write = Callable[..., Path]
RULE = Rule(min_length=5, budget=2, exact_prefix=3)


def folder_of(*lengths: int) -> TokenFolder:
    starts = np.cumsum([0, *lengths])[: len(lengths)].astype(np.int64)
    return TokenFolder(Path("none"), "none", np.zeros(sum(lengths), np.uint16), starts, "")


def plan(lengths: Sequence[int], most: int, longest: int = 2) -> list[tuple[int, int, int, int]]:
    parts = plan_parts(folder_of(*lengths), most, longest)
    return [(part.begin, part.end, part.first, part.last) for part in parts]


def test_whole_documents_by_hand() -> None:
    # 3 + 1, 4 + 1 and 2 + 1 tokens and separators.
    assert plan([3, 4, 2], 12) == [(0, 9, 0, 3)]
    assert plan([3, 4, 2], 11) == [(0, 7, 0, 2), (7, 9, 2, 3)]
    assert plan([3, 4, 2], 8) == [(0, 3, 0, 1), (3, 9, 1, 3)]
    assert plan([], 8) == []
    assert plan([0, 0], 8) == [(0, 0, 0, 2)]


def test_a_long_document_is_cut_into_pieces_that_overlap() -> None:
    # Pieces of 5 tokens, the last two of which begin the next.
    assert plan([1, 12, 1], 6) == [
        (0, 1, 0, 1), (1, 6, 1, 2), (4, 9, 1, 2), (7, 12, 1, 2), (10, 13, 1, 2), (13, 14, 2, 3),
    ]  # fmt: skip


def test_pieces_shorter_than_two_samples() -> None:
    with pytest.raises(UserError, match="needs more than --memory allows"):
        plan([20], 6, longest=3)


@pytest.mark.parametrize("seed", range(30))
def test_every_window_lies_in_a_part(seed: int) -> None:
    draw = random.Random(seed)
    longest = draw.randrange(1, 5)
    folder = folder_of(*(draw.randrange(40) for _ in range(draw.randrange(1, 9))))
    most = 2 * longest + 1 + draw.randrange(20)
    parts = list(plan_parts(folder, most, longest))
    for document in range(len(folder.starts)):
        begin, end = folder.bounds(document)
        for place in range(begin, end):
            window = place, min(place + longest, end)
            assert any(p.begin <= window[0] and window[1] <= p.end for p in parts)
    assert all(p.end - p.begin + p.last - p.first <= most for p in parts)


Result = list[list[Match]]


def found(folders: list[Path], samples: list[list[int]], tokens: int) -> tuple[Result, list[str]]:
    """The matches of samples, with parts of so many tokens, and what was said."""
    said: list[str] = []
    opened = [open_token_folder(path, path.name) for path in folders]
    rows = samples_of(samples)
    memory = tokens * sorting_bytes()
    got = search(opened, rows, RULE, memory, 1000, said.append)
    starts = rows.starts.tolist()
    return [got.of_sample(a, b) for a, b in pairwise(starts)], said


def material(seed: int) -> tuple[list[list[int]], list[list[int]]]:
    """Documents and samples over three tokens, some of them parts of documents."""
    draw = random.Random(seed)
    documents = [[draw.randrange(3) for _ in range(draw.randrange(60))] for _ in range(8)]
    samples = [[draw.randrange(3) for _ in range(draw.randrange(12))] for _ in range(6)]
    samples += [document[3:14] for document in documents]
    return documents, samples


@pytest.mark.parametrize("seed", range(8))
def test_however_cut_the_same_matches(seed: int, way: str, write: Write) -> None:
    documents, samples = material(seed)
    whole, said = found([write("whole", documents)], samples, 10_000)
    assert any(whole)
    assert said == [f"whole: {sum(map(len, documents)):,} tokens in 1 parts"]
    for tokens in (100, 61, 27):
        cut, said = found([write(f"cut-{tokens}", documents)], samples, tokens)
        assert cut == whole
        assert "in 1 parts" not in said[-1]


@pytest.mark.parametrize("seed", range(4))
def test_several_folders_give_what_one_gives(seed: int, write: Write) -> None:
    documents, samples = material(seed)
    whole, _ = found([write("whole", documents)], samples, 10_000)
    folders = [write(str(n), documents[n : n + 1]) for n in range(8) if documents[n]]
    several, _ = found(folders, samples, 10_000)
    spans = [[(match.begin, match.length) for match in own] for own in whole]
    assert [[(match.begin, match.length) for match in own] for own in several] == spans


@pytest.mark.parametrize("vocab_size", [2**16, 2**16 + 1])
def test_ids_of_16_and_of_32_bits(vocab_size: int, write: Write) -> None:
    documents, samples = material(1)
    folder = write("wide", documents, vocab_size)
    assert open_token_folder(folder, "").tokens.dtype.itemsize == (2 if vocab_size == 2**16 else 4)
    assert found([folder], samples, 100) == found([folder], samples, 100)
    narrow, _ = found([write("narrow", documents)], samples, 100)
    assert found([folder], samples, 100)[0] == narrow


def test_kept_arrays_are_used(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, samples = material(2)
    folder = write("kept", documents)
    first = found([folder], samples, 61)

    def refuse(text: object) -> None:
        raise AssertionError("sorted again")

    monkeypatch.setattr("arriero.corpus.contamination.parts.suffix_order", refuse)
    assert found([folder], samples, 61) == first


@pytest.mark.parametrize(
    "damage", ["a bit", "cut", "gone", "no facts", "facts cut", "facts of a list"]
)
def test_a_damaged_array_is_sorted_again(damage: str, write: Write) -> None:
    documents, samples = material(3)
    folder = write("damaged", documents)
    matches, _ = found([folder], samples, 61)
    order, facts = folder / "suffixes" / "00001.order", folder / "suffixes" / "00001.json"
    before = order.read_bytes()
    match damage:
        case "a bit":
            order.write_bytes(bytes([before[0] ^ 1]) + before[1:])
        case "cut":
            order.write_bytes(before[:-4])
        case "gone":
            order.unlink()
        case "no facts":
            facts.unlink()
        case "facts cut":
            facts.write_text(facts.read_text()[:10])
        case _:
            facts.write_text("[1]")
    again, said = found([folder], samples, 61)
    assert again == matches
    assert order.read_bytes() == before
    lines = [line for line in said if "sorting this part again" in line]
    assert len(lines) == (0 if damage == "no facts" else 1)
    assert all("00001" in line and "damaged" in line for line in lines)


def test_other_tokens_and_other_parts_are_sorted_again(write: Write) -> None:
    documents, samples = material(4)
    folder = write("stale", documents)
    found([folder], samples, 61)
    num = len(list((folder / "suffixes").glob("*.order")))
    write("stale", [*documents[1:], documents[0]])
    _, said = found([folder], samples, 61)
    assert any("of other tokens or of parts of another size" in line for line in said)
    (folder / "suffixes" / ".00000.order.77").write_bytes(b"half")
    _, said = found([folder], samples, 10_000)
    assert num > 1
    names = sorted(path.name for path in (folder / "suffixes").iterdir())
    assert names == ["00000.json", "00000.order"]


def test_damaged_tokens_are_refused(write: Write) -> None:
    folder = write("broken", [[1, 2, 3]])
    (folder / "tokens.bin").write_bytes(b"\1\0\2\0\4\0")
    with pytest.raises(UserError, match=r"broken: tokens.bin does not have its hash any more"):
        open_token_folder(folder, "broken")


def test_the_corpus_of_another_tokenizer(write: Write) -> None:
    folder = open_token_folder(write("other", [[1, 2, 999]]), "other")
    with pytest.raises(UserError, match="holds the id 999, the tokenizer has 999"):
        search([folder], samples_of([[1]]), RULE, 1e6, 999, lambda line: None)


def test_memory_for_no_token(write: Write) -> None:
    folder = open_token_folder(write("small", [[1, 2]]), "small")
    with pytest.raises(UserError, match="holds no token"):
        search([folder], samples_of([[1]]), RULE, 1, 10, lambda line: None)


def test_a_file_system_that_takes_nothing(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, samples = material(5)
    folder = write("locked", documents)
    (folder / "suffixes").write_text("a file in the way")
    with pytest.raises(OSError, match="suffixes"):
        found([folder], samples, 61)
    (folder / "suffixes").unlink()

    def refuse(path: Path, **more: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    matches, said = found([folder], samples, 10_000)
    assert any("the suffix arrays are not kept" in line for line in said)
    monkeypatch.undo()
    assert found([folder], samples, 10_000)[0] == matches


def test_facts_say_what_the_array_is_of(write: Write) -> None:
    folder = write("facts", [[1, 2, 3], [4]])
    found([folder], [[1]], 10_000)
    facts = json.loads((folder / "suffixes" / "00000.json").read_text())
    digest = open_token_folder(folder, "").digest
    sha256 = facts.pop("sha256")
    assert facts == {"format": 1, "tokens": digest, "begin": 0, "end": 4}
    assert len(sha256) == 64
    assert most_tokens(1e15) == 2**30
    assert Part(0, 4, 0, 2) == next(plan_parts(open_token_folder(folder, ""), 100, 1))
    assert searching.Match(2, 3, 0, 0).end == 5
