"""Which tokenizer a folder has, and what is said of folders that cannot be used."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from arriero.records import LLAMA2_IDS, Dialog, Message, UserError
from arriero.tokenizer import CHAT_TEMPLATE, encode_dialog, load_tokenizer
from arriero.tokenizer.json_tokenizer import JsonTokenizer
from arriero.tokenizer.sentence_piece import SentencePieceTokenizer
from tests.tokenizer import families

DIALOG = Dialog((Message("user", "the llama?"), Message("assistant", "salt"), Message("user", "?")))

OTHERS_LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set first = 1 %}{% set said = messages[0].content %}"
    "{% else %}{% set first = 0 %}{% set said = none %}{% endif %}"
    "{% for m in messages[first:] %}{% if m.role == 'user' %}"
    "{% if loop.index0 == 0 and said is not none %}"
    "{% set c = '<<SYS>>\\n' + said + '\\n<</SYS>>\\n\\n' + m.content %}"
    "{% else %}{% set c = m.content %}{% endif %}"
    "{{ bos_token + '[INST] ' + c.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
"""The released layout in other words, without our care for tags."""


def changed(folder: Path, target: Path, **config: Any) -> Path:
    """A copy of a folder with another tokenizer_config.json; None takes a key out."""
    shutil.copytree(folder, target)
    path = target / "tokenizer_config.json"
    merged = json.loads(path.read_text()) | config
    kept = {key: value for key, value in merged.items() if value is not None}
    path.write_text(json.dumps(kept))
    return target


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, OTHERS_LLAMA2, None])
def test_the_llama_2_layout_is_read_from_sentencepiece(
    folder: Path, tmp_path: Path, template: str | None
) -> None:
    tokenizer = load_tokenizer(changed(folder, tmp_path / "m", chat_template=template))
    assert isinstance(tokenizer, SentencePieceTokenizer)
    assert tokenizer.special == LLAMA2_IDS


def test_another_template_is_read_with_tokenizer_json(folder: Path, tmp_path: Path) -> None:
    """TinyLlama-Chat: the vocabulary of Llama 2, another layout."""
    path = changed(folder, tmp_path / "m", chat_template=families.ZEPHYR_TEMPLATE)
    tokenizer = load_tokenizer(path)
    assert isinstance(tokenizer, JsonTokenizer)
    assert tokenizer.special == LLAMA2_IDS
    ids = encode_dialog(tokenizer, DIALOG).ids
    assert tokenizer.decode(ids).count("<|assistant|>") == 2
    assert ids.count(2) == 3
    # With tokenizer.model alone the same comes out of one that is made of it.
    (path / "tokenizer.json").unlink()
    assert encode_dialog(load_tokenizer(path), DIALOG).ids == ids
    # And both files are handed on.
    load_tokenizer(path).save(tmp_path / "saved", model_max_length=64)
    assert (tmp_path / "saved" / "tokenizer.model").read_bytes() == (
        folder / "tokenizer.model"
    ).read_bytes()
    assert encode_dialog(load_tokenizer(tmp_path / "saved"), DIALOG).ids == ids


def test_further_tokens_are_read(folder: Path, tmp_path: Path) -> None:
    """ChatML on a Llama 2: two tokens more than tokenizer.model has."""
    path = changed(
        folder,
        tmp_path / "m",
        chat_template=families.CHATML_TEMPLATE,
        eos_token="<|im_end|>",
        added_tokens_decoder={
            "500": {"content": "<|im_start|>", "special": True},
            "501": {"content": "<|im_end|>", "special": True},
        },
    )
    (path / "tokenizer.json").unlink()
    (path / "config.json").write_text('{"vocab_size": 502}')
    tokenizer = load_tokenizer(path)
    assert tokenizer.vocab_size == 502
    assert tokenizer.special.ends == (501,)
    ids = encode_dialog(tokenizer, DIALOG).ids
    assert (ids.count(500), ids.count(501)) == (5, 4)  # a system message is the template's own


def test_tokens_that_the_model_has_no_row_for_are_left_alone(folder: Path, tmp_path: Path) -> None:
    """A padding token that was added to a Llama 2 and never trained."""
    path = changed(folder, tmp_path / "m")
    (path / "added_tokens.json").write_text('{"<pad>": 500}')
    assert isinstance(load_tokenizer(path), SentencePieceTokenizer)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("added_tokens.json", '{"<x>": "a"}'),
        ("added_tokens.json", '{"<x>": [1]}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"a": {"content": "<x>"}}}'),
    ],
)
def test_an_added_token_without_a_number(
    folder: Path, tmp_path: Path, name: str, content: str
) -> None:
    path = changed(folder, tmp_path / "m")
    (path / name).write_text(content)
    with pytest.raises(UserError, match="an added token has the id"):
        load_tokenizer(path)


def test_symbols_among_the_pieces_are_not_read_from_text(
    folder: Path, tmp_path: Path, documents: list[str]
) -> None:
    """SentencePiece reads symbols of its own as ids wherever they stand; only tokenizer.json helps.

    Yi is a Llama of this kind; Code Llama names pieces at the end of its vocabulary as special.
    """
    from sentencepiece import SentencePieceTrainer

    SentencePieceTrainer.train(
        sentence_iterator=iter(documents),
        model_prefix=str(tmp_path / "tokenizer"),
        model_type="bpe",
        vocab_size=500,
        user_defined_symbols=["<|im_end|>"],
        byte_fallback=True,
        minloglevel=2,
    )
    with pytest.raises(UserError, match=r"further symbols before its bytes.*tokenizer\.json"):
        load_tokenizer(tmp_path)
    named = changed(folder, tmp_path / "m", additional_special_tokens=["\u2581the"])
    tokenizer = load_tokenizer(named)
    assert isinstance(tokenizer, JsonTokenizer)
    assert tokenizer.encode("a the") != load_tokenizer(folder).encode("a the")
    assert "\u2581the" in tokenizer.control.values()


def test_files_by_name(folder: Path, llama3_folder: Path) -> None:
    by_file = load_tokenizer(llama3_folder / "tokenizer.json")
    assert by_file.fingerprint == load_tokenizer(llama3_folder).fingerprint
    assert isinstance(load_tokenizer(folder / "tokenizer.json"), JsonTokenizer)


def test_metas_llama_3_file_is_named(llama3_folder: Path, tmp_path: Path) -> None:
    path = shutil.copytree(llama3_folder, tmp_path / "m")
    (path / "tokenizer.model").write_text("IQ== 0\nIg== 1\n")
    assert load_tokenizer(path).vocab_size == load_tokenizer(llama3_folder).vocab_size
    (path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tiktoken file: put the model's tokenizer\.json"):
        load_tokenizer(path)


def test_a_damaged_tokenizer_model_is_not_passed_over(folder: Path, tmp_path: Path) -> None:
    path = changed(folder, tmp_path / "m")
    content = (path / "tokenizer.model").read_bytes()
    (path / "tokenizer.model").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"tokenizer\.model is not a SentencePiece model"):
        load_tokenizer(path)


def test_a_unigram_model_needs_its_tokenizer_json(tmp_path: Path, documents: list[str]) -> None:
    from sentencepiece import SentencePieceTrainer

    SentencePieceTrainer.train(
        sentence_iterator=iter(documents),
        model_prefix=str(tmp_path / "tokenizer"),
        model_type="unigram",
        vocab_size=300,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    config = {"chat_template": families.ZEPHYR_TEMPLATE}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"needs its tokenizer\.json"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("tokenizer.json", "", r"tokenizer\.json: not valid JSON"),
        ("tokenizer.json", '{"version": "1.0", "model": {"ty', "not valid JSON .*line 1"),
        ("tokenizer.json", "[1]", "names no model"),
        ("tokenizer.json", '{"model": {"type": "Nobody", "vocab": {}}}', "unknown type 'Nobody'"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}', "no vocabulary"),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": -1}}}', "not a tokenizer of"),
        ("tokenizer.json", '{"model": {"vocab": {}}, "added_tokens": [{"id": 1}]}', "lacks its id"),
        ("tokenizer.json", "[" * 100_000, "not valid JSON"),
        ("tokenizer_config.json", "{", r"tokenizer_config\.json: not valid JSON"),
        ("tokenizer_config.json", "[]", "not a JSON object"),
        ("tokenizer_config.json", '{"eos_token": 3}', "eos_token is 3, not a token"),
        ("tokenizer_config.json", '{"eos_token": "</none>"}', "'</none>' is not in the vocab"),
        ("tokenizer_config.json", '{"eos_token": "<|eot_id|>", "bos_token": "<x>"}', "bos_token"),
        ("tokenizer_config.json", '{"chat_template": 3}', "not a text"),
        (
            "tokenizer_config.json",
            '{"chat_template": [{"name": "a", "template": ""}, {"name": "b", "template": ""}]}',
            "none named default",
        ),
        ("generation_config.json", '{"eos_token_id": [1, 9999]}', "9999 is outside the vocab"),
        ("generation_config.json", '{"eos_token_id": "2"}', "not a token's number"),
        ("generation_config.json", '{"bos_token_id": -3}', "-3 is outside the vocabulary"),
        ("config.json", '{"vocab_size": 50}', "tokens, the model 50; they do not belong together"),
        ("special_tokens_map.json", "{", r"special_tokens_map\.json: not valid JSON"),
        ("chat_template.jinja", "{% if %}", "chat template is broken"),
        ("chat_template.jinja", "{{ messages[0].content }}", "does not write each message once"),
    ],
)
def test_bad_input_gives_one_clear_line(
    llama3_folder: Path, tmp_path: Path, name: str, content: str, reason: str
) -> None:
    path = shutil.copytree(llama3_folder, tmp_path / "m")
    (path / name).write_text(content)
    with pytest.raises(UserError, match=reason) as error:
        load_tokenizer(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_that_ends_a_text(llama3_folder: Path, tmp_path: Path) -> None:
    path = changed(llama3_folder, tmp_path / "m", eos_token=None, chat_template=None)
    (path / "generation_config.json").unlink()
    with pytest.raises(UserError, match="nothing ends a text; name an eos_token"):
        load_tokenizer(path)


def test_remote_code_is_neither_run_nor_handed_on(llama3_folder: Path, tmp_path: Path) -> None:
    asked = {"AutoTokenizer": ["own.OwnTokenizer", None]}
    path = changed(llama3_folder, tmp_path / "m", auto_map=asked, tokenizer_class="OwnTokenizer")
    witness = tmp_path / "it-ran"
    (path / "own.py").write_text(f"open({str(witness)!r}, 'w')\nclass OwnTokenizer: ...")
    tokenizer = load_tokenizer(path)
    assert tokenizer.fingerprint == load_tokenizer(llama3_folder).fingerprint
    tokenizer.save(tmp_path / "saved", model_max_length=64)
    assert "auto_map" not in json.loads((tmp_path / "saved/tokenizer_config.json").read_text())
    assert not witness.exists()


@pytest.mark.slow
def test_flipped_bits_and_cut_files_give_an_error_or_a_tokenizer(
    family_folder: Path, tmp_path: Path
) -> None:
    rng = random.Random(9)
    names = ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"]
    refused: list[str] = []
    for _ in range(80):
        path = shutil.copytree(family_folder, tmp_path / "m", dirs_exist_ok=True)
        name = rng.choice(names)
        content = bytearray((path / name).read_bytes())
        place = rng.randrange(len(content))
        match rng.randrange(3):
            case 0:
                content[place] ^= 1 << rng.randrange(8)
            case 1:
                del content[place : place + rng.randrange(1, 40)]
            case _:
                content[place:place] = rng.choice(
                    [b'"', b"{", b"-1", b"null", b"99999999999", b"0"]
                )
        (path / name).write_bytes(content)
        try:
            tokenizer = load_tokenizer(path)
            ids = encode_dialog(tokenizer, DIALOG).ids
            assert tokenizer.decode(ids)
            assert max(ids) < tokenizer.vocab_size
        except UserError as error:
            refused.append(str(error))
    assert 20 < len(refused) < 80
    assert not any("\n" in line for line in refused)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"chat_template.jinja": "J"}, "J"),
        ({"tokenizer_config.json": '{"chat_template": "T"}'}, "T"),
        ({"tokenizer_config.json": '{"chat_template": "T"}', "chat_template.jinja": "J"}, "J"),
        (
            {
                "tokenizer_config.json": '{"chat_template": [{"name": "tool_use", "template": "U"},'
                ' {"name": "default", "template": "D"}]}'
            },
            "D",
        ),
        ({"tokenizer_config.json": '{"chat_template": {"one": "O"}}'}, "O"),
        ({"chat_template.json": '{"chat_template": "P"}'}, "P"),
        ({"tokenizer_config.json": "{}"}, None),
    ],
)
def test_where_a_chat_template_may_stand(
    tmp_path: Path, files: dict[str, str], expected: str | None
) -> None:
    from arriero.tokenizer.folder_files import read_folder_files

    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert read_folder_files(tmp_path).template == expected
