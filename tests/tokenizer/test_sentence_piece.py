from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from arriero.records import LLAMA2_IDS, UserError
from arriero.tokenizer import Tokenizer, load_tokenizer

# Whatever UTF-8 can carry.
texts = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)  # the clock of a busy machine proves nothing
@given(text=texts)
def test_round_trip(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text.replace("\u2581", " ")
    assert all(i > tokenizer.eos_id for i in ids)
    assert "".join(tokenizer.pieces(text)).count("<unk>") == text.count("<unk>")


@pytest.mark.parametrize(
    "text",
    ["", " ", "   ", "\n", "\n\n", "a\n\n  b\r\n\tc ", "\0", "\ufffd", "🦙🏽", "  12  ", "\u2585"],
)
def test_space_newline_and_rare_signs_round_trip(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_newline_is_its_byte(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("\n\n")[-2:] == [3 + 10, 3 + 10]


def test_the_sign_for_a_space_comes_back_as_a_space(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("a\u2581b") == tokenizer.encode("a b")
    assert tokenizer.decode(tokenizer.encode("a\u2581b")) == "a b"


def test_lone_surrogates_become_the_replacement_sign(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("a\ud800") == tokenizer.encode("a\ufffd")
    assert tokenizer.encode_batch(["b", "a\ud800"])[1] == tokenizer.encode("a\ufffd")
    assert tokenizer.pieces("\ud800") == tokenizer.pieces("\ufffd")


@pytest.mark.parametrize(
    "text", ["</s>", "<s>", "<unk>", "a </s> b", "</s></s>", "<0x0A>", "<pad>"]
)
def test_special_tokens_in_text_are_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert min(ids) > 2
    assert "\n" not in tokenizer.decode(ids)
    assert tokenizer.decode(ids) == text


def test_a_batch_equals_its_parts(tokenizer: Tokenizer, documents: list[str]) -> None:
    sample = ["", " ", *documents[:20]]
    assert tokenizer.encode_batch(sample) == [tokenizer.encode(text) for text in sample]
    assert tokenizer.encode_batch([]) == []


def test_equal_to_sentencepiece(
    tokenizer: Tokenizer, processor: SentencePieceProcessor, documents: list[str]
) -> None:
    for document in documents[:20]:
        assert tokenizer.encode(document) == processor.encode(document)
        assert tokenizer.pieces(document) == processor.encode(document, out_type=str)


def test_decode_leaves_special_ids_out(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the llama")
    assert tokenizer.decode([1, *ids, 2, 0, 0]) == "the llama"
    assert tokenizer.decode([0, 1, 2]) == ""
    assert tokenizer.decode([3 + 0xC3]) == "\ufffd"  # half of a sign
    # Rows by which a model's embedding is padded have no text.
    assert tokenizer.decode([*ids, tokenizer.vocab_size]) == "the llama"
    with pytest.raises(IndexError):
        tokenizer.decode([-1])


def test_padding_is_not_the_end(tokenizer: Tokenizer) -> None:
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (1, 2, 0)
    assert tokenizer.special == LLAMA2_IDS
    assert tokenizer.start_id == 1
    assert tokenizer.control == {0: "<unk>", 1: "<s>", 2: "</s>"}


def test_what_holds_a_newline(tokenizer: Tokenizer) -> None:
    assert tokenizer.newline_ids == (3 + 10,)


def test_load_from_folder_file_and_pickle(tokenizer: Tokenizer, folder: Path) -> None:
    for other in (
        load_tokenizer(str(folder)),
        load_tokenizer(folder / "tokenizer.model"),
        pickle.loads(pickle.dumps(tokenizer)),
    ):
        assert other.fingerprint == tokenizer.fingerprint
        assert other.encode("the llama") == tokenizer.encode("the llama")


def test_save_and_load_keep_the_fingerprint(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "new" / "model", model_max_length=64)
    assert load_tokenizer(tmp_path / "new" / "model").fingerprint == tokenizer.fingerprint
    assert sorted(path.name for path in (tmp_path / "new" / "model").iterdir()) == [
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    ]


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path / "tokenizer.model")):
        load_tokenizer(tmp_path)
    with pytest.raises(UserError, match="nowhere"):
        load_tokenizer(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 5, 0.5])
def test_a_damaged_file_is_named(tmp_path: Path, folder: Path, keep: float) -> None:
    whole = (folder / "tokenizer.model").read_bytes()
    damaged = tmp_path / "tokenizer.model"
    damaged.write_bytes(whole[: int(len(whole) * keep) if keep < 1 else int(keep)])
    with pytest.raises(UserError, match=str(damaged)):
        load_tokenizer(damaged)
    damaged.write_bytes(b"\x80\x04garbage" * 50)
    with pytest.raises(UserError, match="damaged"):
        load_tokenizer(tmp_path)


def test_other_special_ids_are_refused(tmp_path: Path) -> None:
    from sentencepiece import SentencePieceTrainer

    SentencePieceTrainer.train(
        sentence_iterator=iter(["abc abc"]),
        model_prefix=str(tmp_path / "tokenizer"),
        model_type="bpe",
        vocab_size=9,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=2,
        minloglevel=2,
    )
    with pytest.raises(UserError, match=r"\(1, -1, 2\)"):
        load_tokenizer(tmp_path)
