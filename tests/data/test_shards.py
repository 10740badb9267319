"""A tokenised corpus on disk, its rows and their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from arriero.data.shards import Shard, row_order, write_shard
from arriero.records import UserError
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.tokenizer.train import train_tokenizer
from tests.tokenizer.families import smollm

TEXTS = [f"The {word} goes to market on day {n}." for n in range(40) for word in ("cow", "goat")]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, folder, 300)
    return load_tokenizer(folder)


def test_rows_hold_the_corpus_in_order(tokenizer: Tokenizer, tmp_path: Path) -> None:
    total = write_shard(TEXTS, tokenizer, tmp_path)
    shard = Shard(tmp_path, 16)
    stream = [
        token
        for text in TEXTS
        for token in (tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id)
    ]
    assert total == len(stream) == len(shard.tokens)
    batch = shard.batch(range(shard.num_rows))
    assert batch.tokens.flatten().tolist() == stream[: shard.num_rows * 16]
    assert batch.targets.flatten().tolist() == stream[1 : shard.num_rows * 16 + 1]


def test_without_bos_a_document_begins_with_what_separates_documents(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(smollm(tmp_path / "tokenizer", TEXTS, bos_token=None))
    assert tokenizer.bos_id is None
    write_shard(TEXTS[:3], tokenizer, tmp_path / "shard")
    tokens = Shard(tmp_path / "shard", 16).tokens.tolist()
    separator = tokenizer.eos_id
    documents = [[separator, *tokenizer.encode(text), separator] for text in TEXTS[:3]]
    assert tokens == [token for document in documents for token in document]


def test_documents_are_segments_and_do_not_predict_each_other(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    write_shard(TEXTS, tokenizer, tmp_path)
    batch = Shard(tmp_path, 32).batch([0, 1])
    starts = batch.tokens == tokenizer.bos_id
    for row in range(2):
        for column in range(1, 32):
            new = bool(starts[row, column])
            assert new == bool(batch.segments[row, column] != batch.segments[row, column - 1])
            # The token before a BOS is an EOS, and BOS is not to be predicted from it.
            assert bool(batch.loss_mask[row, column - 1]) != new
            before = 0 if new else int(batch.positions[row, column - 1]) + 1
            assert int(batch.positions[row, column]) == before


def test_order_covers_each_epoch_once_and_depends_on_the_seed_alone() -> None:
    order = [row for step in range(10) for row in row_order(20, 6, step, seed=3)]
    for epoch in range(3):
        assert sorted(order[epoch * 20 : (epoch + 1) * 20]) == list(range(20))
    assert order[:20] != order[20:40]
    assert row_order(20, 6, 7, seed=3) == order[42:48]
    assert row_order(20, 6, 0, seed=4) != order[:6]


def test_an_empty_corpus_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text"):
        write_shard([], tokenizer, tmp_path / "empty")
    write_shard(["One."], tokenizer, tmp_path / "small")
    with pytest.raises(UserError, match="fewer than one row"):
        Shard(tmp_path / "small", 512)
