"""A tokenised corpus on disk, its rows and their order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from arriero.data.shards import Shard, flaw, is_written, row_order, write_shard
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


def test_order_is_numpys_permutation_of_seed_and_epoch() -> None:
    """Runs that go on rely on it: (3, 0) and (3, 1) are the seeds of the first two epochs."""
    epochs = [np.random.default_rng((3, epoch)).permutation(300).tolist() for epoch in (0, 1)]
    assert row_order(300, 600, 0, seed=3) == epochs[0] + epochs[1]


def test_a_shard_names_its_hashes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert not is_written(tmp_path)
    write_shard(TEXTS, tokenizer, tmp_path)
    facts = json.loads((tmp_path / "shard.json").read_text())
    for name in ("tokens.bin", "starts.npy"):
        content = (tmp_path / name).read_bytes()
        assert facts["sha256"][name] == hashlib.sha256(content).hexdigest()
    assert is_written(tmp_path)
    assert flaw(tmp_path) == ""
    assert Shard(tmp_path, 16).num_documents == len(TEXTS)


@pytest.mark.parametrize("name", ["tokens.bin", "starts.npy"])
def test_what_is_no_longer_whole_is_found(tokenizer: Tokenizer, tmp_path: Path, name: str) -> None:
    write_shard(TEXTS, tokenizer, tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert flaw(tmp_path) == f"{name} does not have its hash any more"
    path.write_bytes(whole[:-2])
    assert flaw(tmp_path) == f"{name} does not have its hash any more"
    path.unlink()
    assert flaw(tmp_path) == f"{name} is missing"
    path.write_bytes(whole)
    assert flaw(tmp_path) == ""


@pytest.mark.parametrize("facts", ["{}", "[]", '{"sha256": 1}', "{", '{"sha256": {}}'])
def test_facts_without_hashes(tokenizer: Tokenizer, tmp_path: Path, facts: str) -> None:
    write_shard(TEXTS, tokenizer, tmp_path)
    (tmp_path / "shard.json").write_text(facts + "\n")
    assert flaw(tmp_path) == "shard.json is not as it was written"


def test_every_flipped_bit_of_the_facts_is_found(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_shard(TEXTS, tokenizer, tmp_path)
    path = tmp_path / "shard.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert flaw(tmp_path), (place, path.read_bytes())


def test_a_shard_that_was_cut_short_is_never_mapped(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Reading past the end of a mapped file is no exception: it kills the process."""
    write_shard(TEXTS, tokenizer, tmp_path)
    path = tmp_path / "tokens.bin"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    with pytest.raises(UserError, match=rf"tokens.bin has .* should have {size:,}; remove "):
        Shard(tmp_path, 16)


def test_written_again_it_does_not_stand_on_the_way(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_shard(TEXTS, tokenizer, tmp_path)

    def texts() -> Iterator[str]:
        yield TEXTS[0]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        write_shard(texts(), tokenizer, tmp_path)
    assert not is_written(tmp_path)


def test_an_empty_corpus_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text"):
        write_shard([], tokenizer, tmp_path / "empty")
    write_shard(["One."], tokenizer, tmp_path / "small")
    with pytest.raises(UserError, match="fewer than one row"):
        Shard(tmp_path / "small", 512)
