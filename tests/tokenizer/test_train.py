from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from arriero.records import UserError
from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from arriero.tokenizer.train import measure


def test_facts_by_hand(tmp_path: Path) -> None:
    # 3 special ids, 256 bytes, the alphabet "▁ab" and ten digits; no room for a merge.
    facts = train_tokenizer(["ab ab\n", "ba é"], tmp_path, 3 + 256 + 10 + 4)
    tokenizer = load_tokenizer(tmp_path)
    # 6 bytes: ▁ a b ▁ a b \n; 5 bytes: ▁ b a ▁ é (é has its own piece).
    assert (facts.vocab_size, facts.documents, facts.bytes, facts.tokens) == (273, 2, 11, 12)
    assert facts.bytes_per_token == pytest.approx(11 / 12)
    assert facts.byte_fallback_share == 0.0  # the newline does not count
    # "ü" is unknown here: two of the four tokens ▁ a C3 BC are bytes.
    assert measure(tokenizer, ["aü"]).byte_fallback_share == pytest.approx(2 / 4)
    example = facts.examples[-1]
    assert (example.text, example.pieces) == ("ba é", ["▁", "b", "a", "▁", "é"])


def test_layout_of_the_vocabulary(tokenizer: Tokenizer, processor: SentencePieceProcessor) -> None:
    assert [processor.id_to_piece(i) for i in range(4)] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert processor.pad_id() == -1
    assert tokenizer.byte_ids == frozenset(range(3, 259))
    assert tokenizer.vocab_size == 500


def test_every_digit_is_a_token_even_without_digits_in_the_corpus(tmp_path: Path) -> None:
    train_tokenizer(["no number stands here, none at all"], tmp_path, 300)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.pieces("1029384756") == ["▁", *"1029384756"]
    assert not tokenizer.byte_ids.intersection(tokenizer.encode("0123456789"))


def test_no_piece_holds_two_digits_or_crosses_a_word(
    tokenizer: Tokenizer, processor: SentencePieceProcessor
) -> None:
    pieces = [processor.id_to_piece(i) for i in range(259, tokenizer.vocab_size)]
    assert any(len(piece) > 4 for piece in pieces)
    for piece in pieces:
        assert sum(sign.isdigit() for sign in piece) <= 1
        assert "\n" not in piece
        assert "▁" not in piece.lstrip("▁")  # what makes prompt and answer join


def test_the_same_corpus_gives_the_same_fingerprint(tmp_path: Path, documents: list[str]) -> None:
    prints: set[str] = set()
    for name, threads, seed in (("a", 1, 0), ("b", 2, 0), ("c", 2, 1)):
        train_tokenizer(iter(documents), tmp_path / name, 400, threads=threads, seed=seed)
        prints.add(load_tokenizer(tmp_path / name).fingerprint)
    assert len(prints) == 1
    train_tokenizer(documents[:200], tmp_path / "d", 400)
    assert load_tokenizer(tmp_path / "d").fingerprint not in prints


def test_a_large_corpus_is_sampled_by_seed(tmp_path: Path, documents: list[str]) -> None:
    def facts(seed: int, max_bytes: int) -> tuple[int, int]:
        result = train_tokenizer(documents, tmp_path, 320, seed=seed, max_bytes=max_bytes)
        return result.documents, result.bytes

    total = sum(len(document.encode()) for document in documents)
    assert facts(0, total) == (len(documents), total)
    sampled = facts(0, total // 3)
    assert total // 6 * 0.7 < sampled[1] <= total // 3
    assert sampled == facts(0, total // 3)
    assert sampled != facts(1, total // 3)


def test_one_document_larger_than_the_sample_stays(tmp_path: Path) -> None:
    assert train_tokenizer(["a b c " * 50] * 4, tmp_path, 276, max_bytes=10).documents == 1


def test_a_corpus_too_small_names_the_largest_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocab_size to (\d+) or less") as error:
        train_tokenizer(["the cat sat on the mat"], tmp_path, 32_000)
    assert not (tmp_path / "tokenizer.model").exists()
    largest = int(str(error.value).split("vocab_size to ")[1].split()[0])
    assert train_tokenizer(["the cat sat on the mat"], tmp_path, largest).vocab_size == largest
    with pytest.raises(UserError, match=f"vocab_size to {largest} or less"):
        train_tokenizer(["the cat sat on the mat"], tmp_path, largest + 1)


def test_a_vocabulary_too_small_names_the_smallest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set vocab_size to 272 or more"):
        train_tokenizer(["abab"], tmp_path, 100)
    assert train_tokenizer(["abab"], tmp_path, 272).vocab_size == 272


@pytest.mark.parametrize("texts", [[], [""], ["\n \n", ""]])
def test_an_empty_corpus(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(UserError, match="holds no text"):
        train_tokenizer(texts, tmp_path, 300)


def test_errors_of_the_reader_come_through(tmp_path: Path) -> None:
    def texts() -> Iterator[str]:
        yield "a first row"
        raise UserError("rows.jsonl, line 2: not JSON")

    with pytest.raises(UserError, match="line 2"):
        train_tokenizer(texts(), tmp_path, 300)


def test_odd_texts_train(tmp_path: Path) -> None:
    odd = [
        "a\0b",
        "broken \ud800 surrogate",
        "blocks ▅▅",
        "</s> <0x0A>",
        "tab\there\r\n",
        "x" * 9000,
    ]
    facts = train_tokenizer(odd * 3, tmp_path, 300)
    assert facts.documents == 18
    # The line of 9,000 signs counted: its letter was merged.
    assert load_tokenizer(tmp_path).pieces("xxxxxxxx") != ["▁", *"xxxxxxxx"]


def test_training_is_quiet_and_leaves_one_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train_tokenizer(["the cat sat on the mat"], tmp_path, 280)
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.model"]
