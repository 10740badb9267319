"""Text and ids of a tokenizer.json, against the tokenizers library and transformers."""

from __future__ import annotations

import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from arriero.records import SpecialIds
from arriero.tokenizer import CHAT_TEMPLATE, Tokenizer, encode_answer, load_tokenizer
from arriero.tokenizer.json_tokenizer import JsonTokenizer
from tests.tokenizer import families

FRAGMENTS = (
    "the llama¦ carries¦ salt¦I'm¦CAN'T¦'ll¦12¦3456789¦ 1¦007¦\n¦\n\n¦\r\n¦  ¦   ¦\t¦\u00a0¦\u3000"
    "¦é¦e\u0301¦ﬁ¦山道¦🦙🏽¦\u200d¦\0¦\ufffd¦\ufeff¦\u0120¦\u010a¦<0x0A>¦[INST]¦<|im_end|>¦</s>¦<s>"
    "¦<unk>¦<|eot_id|>¦<|begin_of_text|>¦<|reserved_special_token_7|>¦<|user|>¦<|endoftext|>¦<|im_"
).split("¦")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.lists(
    st.sampled_from(FRAGMENTS), max_size=12
).map("".join)
slowly = settings(
    deadline=None, max_examples=700, suppress_health_check=[HealthCheck.too_slow]
)  # the clock of a busy machine proves nothing


@pytest.fixture(scope="module")
def hugging_face(family_folder: Path) -> Any:
    return PreTrainedTokenizerFast.from_pretrained(family_folder)


@pytest.mark.slow
@slowly
@given(some=st.lists(texts, min_size=1, max_size=6))
def test_ids_are_those_of_transformers(
    family: Tokenizer, hugging_face: Any, some: list[str]
) -> None:
    """Some 2,000 texts a family, with the literals of control tokens among them."""
    expected = hugging_face(some, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert family.encode_batch(some) == expected
    assert [family.encode(text) for text in some] == expected
    decoded = hugging_face.batch_decode(expected, skip_special_tokens=True)
    assert [family.decode(ids) for ids in expected] == decoded
    assert not any(family.control.keys() & set(ids) for ids in expected)


@pytest.mark.slow
@slowly
@given(text=texts)
@example("")
@example(" ")
@example("\n\n x")
def test_round_trip(family: Tokenizer, text: str) -> None:
    """But for the sign that metaspace vocabularies write for a space."""
    is_metaspace = "<s>" in family.control.values()
    expected = text.replace("\u2581", " ") if is_metaspace else text
    assert family.decode(family.encode(text)) == expected


def test_pieces_and_bytes(smollm_folder: Path, metaspace_folder: Path) -> None:
    byte_level, metaspace = load_tokenizer(smollm_folder), load_tokenizer(metaspace_folder)
    assert len(byte_level.byte_ids) == len(metaspace.byte_ids) == 256
    assert byte_level.pieces("a \n") == ["a", "\u0120", "\u010a"]
    assert metaspace.pieces("\n") == ["\u2581", "<0x0A>"]
    for tokenizer in (byte_level, metaspace):
        assert set(tokenizer.encode("\u0394")[-2:]) <= tokenizer.byte_ids
        assert tokenizer.decode(tokenizer.encode("\u0394")[:-1]).strip() == "\ufffd"


def test_newlines(family: Tokenizer) -> None:
    for text in ("\n", "a\n", "\n\n", " \n"):
        assert set(family.encode(text)) & set(family.newline_ids)
    for token in family.newline_ids:
        assert "\n" in family.decode([*family.encode("a"), token])
    for token in set(range(family.vocab_size)) - set(family.newline_ids):
        assert "\n" not in family.decode([token])


def test_decode_leaves_out_what_has_no_text(family: Tokenizer) -> None:
    ids = family.encode("the llama")
    mixed = [*family.control, *ids, *family.special.ends, family.vocab_size, family.vocab_size + 9]
    assert family.decode(mixed) == "the llama"
    with pytest.raises(IndexError):
        family.decode([-1])


def test_surrogates_become_the_replacement_sign(family: Tokenizer) -> None:
    assert family.encode("a\ud800") == family.encode("a\ufffd")
    assert family.encode_batch(["b", "a\ud800"])[1] == family.encode("a\ufffd")
    assert family.pieces("\ud800") == family.pieces("\ufffd")
    assert family.encode_batch([]) == []


def test_special_ids_of_the_families(
    llama3_folder: Path, smollm_folder: Path, metaspace_folder: Path, tmp_path: Path, documents: Any
) -> None:
    llama3 = load_tokenizer(llama3_folder)
    names = [llama3.control[i] for i in (llama3.bos_id or 0, *llama3.special.ends, llama3.pad_id)]
    assert names == [
        "<|begin_of_text|>",
        *("<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"),
        "<|finetune_right_pad_id|>",
    ]
    assert len(llama3.control) == 256
    # Their own padding is an end, so it is not taken.
    assert load_tokenizer(smollm_folder).special == SpecialIds(bos=1, ends=(2,), pad=0)
    assert load_tokenizer(metaspace_folder).special == SpecialIds(bos=1, ends=(2,), pad=0)
    base = load_tokenizer(families.smollm_base(tmp_path, documents))
    assert (base.bos_id, base.special.ends) == (0, (0,))
    assert base.pad_id not in (0, None)


def test_without_bos_documents_begin_with_what_separates_them(
    smollm_folder: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(smollm_folder, tmp_path / "m")
    config = json.loads((path / "tokenizer_config.json").read_text()) | {"bos_token": None}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(path)
    assert tokenizer.bos_id is None
    assert tokenizer.start_id == tokenizer.eos_id == 2


def test_what_is_saved_opens_alike_everywhere(
    family_folder: Path, family: Tokenizer, tmp_path: Path, documents: list[str]
) -> None:
    family.save(tmp_path, model_max_length=77)
    for name in ("config.json", "generation_config.json"):  # which a model's folder has
        shutil.copy(family_folder / name, tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.fingerprint == family.fingerprint
    assert again.special == family.special
    assert (tmp_path / "tokenizer.json").read_bytes() == (
        family_folder / "tokenizer.json"
    ).read_bytes()
    original = PreTrainedTokenizerFast.from_pretrained(family_folder)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert opened.model_max_length == 77
    assert opened.chat_template == original.chat_template
    assert opened.pad_token_id == family.pad_id
    assert opened.pad_token_id not in family.special.ends
    assert (opened.bos_token, opened.eos_token) == (original.bos_token, original.eos_token)
    texts = [*documents[:50], "a <|eot_id|> b </s> <|im_end|>"]
    assert opened(texts)["input_ids"] == original(texts)["input_ids"]


def test_a_base_tokenizer_is_saved_with_our_template(tmp_path: Path, documents: list[str]) -> None:
    path = families.smollm_base(tmp_path / "base", documents)
    tokenizer = load_tokenizer(path)
    tokenizer.save(tmp_path / "saved", model_max_length=64)
    opened = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert opened.chat_template == CHAT_TEMPLATE
    assert load_tokenizer(tmp_path / "saved").fingerprint == tokenizer.fingerprint


def test_the_fingerprint_tells_tokenizers_apart(
    llama3_folder: Path, tmp_path: Path, documents: list[str]
) -> None:
    first = load_tokenizer(llama3_folder).fingerprint
    same = families.llama3(tmp_path / "same", documents, chat_template=families.LLAMA3_TEMPLATE)
    assert load_tokenizer(same).fingerprint == first
    others = [
        families.llama3(tmp_path / "text", documents[:150]),
        families.llama3(tmp_path / "eos", documents, eos_token="<|end_of_text|>"),
        families.llama3(tmp_path / "template", documents, chat_template=families.CHATML_TEMPLATE),
    ]
    prints = {load_tokenizer(path).fingerprint for path in others}
    assert len(prints | {first}) == 4
    # A changed order of merges alone changes it.
    raw = json.loads((llama3_folder / "tokenizer.json").read_text())
    raw["model"]["merges"][5:7] = raw["model"]["merges"][6:4:-1]
    (same / "tokenizer.json").write_text(json.dumps(raw))
    assert load_tokenizer(same).fingerprint not in prints | {first}


def test_pickle_and_threads(family: Tokenizer) -> None:
    again = pickle.loads(pickle.dumps(family))
    assert isinstance(again, JsonTokenizer)
    assert again.fingerprint == family.fingerprint
    layout = family.layout

    def ask(number: int) -> tuple[list[int], list[int]]:
        return family.encode("a </s><|im_end|><|eot_id|>"), layout.answer(f"the {number % 3}")

    alone = [ask(number) for number in range(3)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, range(300)))
    assert together == [alone[number % 3] for number in range(300)]


def rewritten(source: Path, target: Path, **changes: Any) -> Path:
    """A copy of a folder with another tokenizer.json."""
    shutil.copytree(source, target)
    raw = json.loads((target / "tokenizer.json").read_text())
    (target / "tokenizer.json").write_text(json.dumps(raw | changes))
    return target


def test_added_tokens_that_are_not_special(smollm_folder: Path, tmp_path: Path) -> None:
    """A run of spaces and a word are text; no text gives a marker that the template writes."""
    raw = json.loads((smollm_folder / "tokenizer.json").read_text())
    size = len(raw["model"]["vocab"])
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    more = [
        {"id": size + i, "content": content} | flags
        for i, content in enumerate(["    ", "llamas", "<|tool|>", "<|unused|>"])
    ]
    template = families.CHATML_TEMPLATE + "{% if false %}<|tool|>{% endif %}"
    path = rewritten(smollm_folder, tmp_path / "m", added_tokens=raw["added_tokens"] + more)
    config = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}))
    (path / "config.json").unlink()
    tokenizer = load_tokenizer(path)
    assert tokenizer.vocab_size == size + 4
    assert set(tokenizer.control) == {0, 1, 2, 3, 4}
    ids = tokenizer.encode("llamas    <|tool|><|unused|>")
    assert [i for i in ids if i >= size] == [size + 1, size, size + 3]
    # What a model says with a marker is shown all the same.
    assert tokenizer.decode([*ids, size + 2]) == "llamas    <|tool|><|unused|><|tool|>"
    answer = encode_answer(tokenizer, "<|tool|>")
    assert size + 2 not in answer
    assert tokenizer.decode(answer) == "< |tool|>"


def test_a_control_token_among_the_ordinary_pieces(tmp_path: Path) -> None:
    """Whole words: the text itself is in the vocabulary, so no switch of the library helps."""
    vocab = {"<unk>": 0, "</s>": 1, "the": 2, "llama": 3}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.save(str(tmp_path / "tokenizer.json"))
    named = {"eos_token": "</s>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("the </s> llama mule") == [2, 3, 0]
    assert tokenizer.special == SpecialIds(bos=None, ends=(1,), pad=0)


def test_rows_are_neither_padded_nor_cut(smollm_folder: Path, tmp_path: Path) -> None:
    padding = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 2,
        "pad_type_id": 0,
        "pad_token": "<|im_end|>",
    }
    truncation = {
        "direction": "Right",
        "max_length": 2,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    path = rewritten(smollm_folder, tmp_path / "m", padding=padding, truncation=truncation)
    whole = load_tokenizer(smollm_folder).encode("the llama carries salt")
    assert load_tokenizer(path).encode("the llama carries salt") == whole
