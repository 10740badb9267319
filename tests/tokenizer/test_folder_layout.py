"""Chat templates of folders: ids and masks, against transformers and by hand."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from arriero.records import Dialog, Message, UserError
from arriero.tokenizer import (
    Tokenizer,
    encode_answer,
    encode_dialog,
    encode_dialogs,
    encode_prompt,
    load_tokenizer,
)
from tests.tokenizer import families

Q, A = "who walks?", "The llama."
SHAPES = [
    {"texts": texts, "system": system}
    for texts in (
        [Q],
        [Q, A],
        [Q, A, "and?"],
        [Q, A, "and?", "A mule"],
        [Q, A] * 3,
        [Q, A] * 4 + [Q],
    )
    for system in (None, "Be kind.")
]


def dialog(texts: list[str], system: str | None = None) -> Dialog:
    turns = tuple(Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts))
    return Dialog(turns if system is None else (Message("system", system), *turns))


def rows(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    """As transformers takes them; answers are stripped, as they are here."""
    return [
        {"role": m.role, "content": m.content.strip() if m.role == "assistant" else m.content}
        for m in messages
    ]


def theirs(hugging_face: Any, asked: Dialog) -> list[int]:
    return hugging_face.apply_chat_template(
        rows(asked.messages),
        tokenize=True,
        return_dict=False,
        add_generation_prompt=not asked.is_answered,
    )


def check_against(hugging_face: Any, tokenizer: Tokenizer, asked: Dialog) -> None:
    """Ids are theirs; prompts and answers join; the mask is the answers' own."""
    encoded = encode_dialog(tokenizer, asked)
    whole = theirs(hugging_face, asked)
    assert encoded.ids == whole[: len(encoded.ids)]
    # After the last end a template may write white space, which no model is sampled to.
    assert not tokenizer.decode(whole[len(encoded.ids) :]).strip()
    assert not tokenizer.control.keys() & set(whole[len(encoded.ids) :])
    expected: list[bool] = []
    for position, message in enumerate(asked.messages):
        if message.role == "assistant":
            prompt = encode_prompt(tokenizer, asked.messages[:position])
            answer = encode_answer(tokenizer, message.content)
            assert encoded.ids[: len(prompt) + len(answer)] == prompt + answer
            assert answer[-1] in tokenizer.special.ends
            assert not tokenizer.control.keys() & set(answer[:-1])
            expected += [False] * (len(prompt) - len(expected)) + [True] * len(answer)
    expected += [False] * (len(encoded.ids) - len(expected))
    assert encoded.loss_mask == expected
    if asked.is_answered:
        assert expected[-1]


@pytest.fixture(scope="module")
def hugging_face(family_folder: Path) -> Any:
    return PreTrainedTokenizerFast.from_pretrained(family_folder)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_as_transformers(family: Tokenizer, hugging_face: Any, shape: Any) -> None:
    check_against(hugging_face, family, dialog(**shape))


PIECES = [
    *"\n\n\n   \t.,'<>|[]/:é山🦙",
    "the llama",
    " salt",
    "I'm",
    "12",
    "\r\n",
    "\u3000",
    "\u0301",
    "user",
]
contents = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)


@pytest.mark.slow
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(contents.filter(str.strip), min_size=1, max_size=5),
    system=st.none() | contents,
)
def test_any_content_as_transformers(
    family: Tokenizer, hugging_face: Any, texts: list[str], system: str | None
) -> None:
    check_against(hugging_face, family, dialog(texts, system))


def test_by_hand(llama3_folder: Path) -> None:
    tokenizer = load_tokenizer(llama3_folder)
    ids = {literal: token for token, literal in tokenizer.control.items()}
    begin, head, tail, end = (
        ids[f"<|{name}|>"]
        for name in ("begin_of_text", "start_header_id", "end_header_id", "eot_id")
    )
    encoded = encode_dialog(tokenizer, dialog([" the llama\n", "\nsalt "]))
    break_ = tokenizer.encode("\n\n")
    expected = [begin, head, *tokenizer.encode("user"), tail, *break_]
    expected += [*tokenizer.encode("the llama"), end, head, *tokenizer.encode("assistant")]
    expected += [tail, *break_]
    answer = [*tokenizer.encode("salt"), end]
    assert encoded.ids == expected + answer
    assert encoded.loss_mask == [False] * len(expected) + [True] * len(answer)


def test_the_last_answer_only_and_answers_cut_off(family: Tokenizer) -> None:
    asked = dialog([Q, A, "and?", "A mule"], "Be kind.")
    answer = encode_answer(family, "A mule")
    encoded = encode_dialog(family, asked, last_answer_only=True)
    assert encoded.ids == encode_dialog(family, asked).ids
    assert encoded.loss_mask == [False] * (len(encoded.ids) - len(answer)) + [True] * len(answer)
    cut = encode_dialog(family, asked.answered("A mule", is_cut=True))
    assert cut.ids == encoded.ids[:-1]
    assert cut.loss_mask[-1]
    waiting = encode_dialog(family, dialog([Q, A, "and?"]), last_answer_only=True)
    assert sum(waiting.loss_mask) == len(encode_answer(family, A))


def test_a_batch_equals_its_parts(family: Tokenizer) -> None:
    dialogs = [dialog(**shape) for shape in SHAPES]
    assert encode_dialogs(family, dialogs) == [encode_dialog(family, each) for each in dialogs]
    assert encode_dialogs(family, []) == []


def test_an_empty_answer_is_its_end(family: Tokenizer) -> None:
    assert encode_answer(family, " \n") == [family.eos_id]


@pytest.mark.slow
def test_ten_thousand_dialogs_take_seconds(family: Tokenizer) -> None:
    dialogs = [dialog([f"{Q} {i}", A, "and?", f"A mule, {i}."]) for i in range(10_000)]
    start = time.perf_counter()
    encoded = encode_dialogs(family, dialogs)
    assert time.perf_counter() - start < 60  # some 3 on a quiet laptop; this bounds its order
    assert encoded[-1] == encode_dialog(family, dialogs[-1])


# Templates that are unlike those.


def with_template(source: Path, target: Path, template: str, **config: Any) -> Tokenizer:
    shutil.copytree(source, target)
    path = target / "tokenizer_config.json"
    known = json.loads(path.read_text()) | {"chat_template": template} | config
    path.write_text(json.dumps(known))
    return load_tokenizer(target)


def test_a_space_before_answers_and_no_system_message(
    metaspace_folder: Path, tmp_path: Path
) -> None:
    tokenizer = with_template(metaspace_folder, tmp_path / "m", families.SPACED_TEMPLATE)
    opened = PreTrainedTokenizerFast.from_pretrained(tmp_path / "m")
    for texts in ([Q], [Q, A], [Q, A, "and?", "A mule"]):
        check_against(opened, tokenizer, dialog(texts))
    with pytest.raises(UserError, match="refuses this dialog: there is no place for a system"):
        encode_prompt(tokenizer, dialog([Q], "Be kind.").messages)
    # Its tags are broken in messages like those of Llama 2.
    ids = encode_prompt(tokenizer, dialog(["x [/INST] y [INST]"]).messages)
    assert tokenizer.decode(ids).count("[/INST]") == 1


def test_a_header_that_comes_only_with_the_answer(smollm_folder: Path, tmp_path: Path) -> None:
    """A template that does not know add_generation_prompt: the header belongs to the prompt."""
    template = families.CHATML_TEMPLATE.split("{% if add_generation_prompt")[0]
    tokenizer = with_template(smollm_folder, tmp_path / "m", template)
    known = load_tokenizer(smollm_folder)
    for shape in SHAPES:
        asked = dialog(**shape)
        assert encode_dialog(tokenizer, asked) == encode_dialog(known, asked)


def test_earlier_answers_written_otherwise_are_not_learned(
    smollm_folder: Path, tmp_path: Path
) -> None:
    """A template that leaves out what was thought in earlier answers."""
    template = (
        "{% for m in messages %}{% set c = m.content %}"
        "{% if m.role == 'assistant' and not loop.last %}{% set c = c.split('THEN')[-1] %}"
        "{% endif %}"
        "{{ '<|im_start|>' + m.role + '\\n' + c + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    tokenizer = with_template(smollm_folder, tmp_path / "m", template)
    thought = dialog([Q, "Hm THEN the llama", "and?", "So THEN a mule"])
    encoded = encode_dialog(tokenizer, thought)
    assert "Hm" not in tokenizer.decode(encoded.ids)
    answer = encode_answer(tokenizer, "So THEN a mule")
    assert encoded.ids == encode_prompt(tokenizer, thought.prompt) + answer
    assert encoded.loss_mask == [False] * (len(encoded.ids) - len(answer)) + [True] * len(answer)
    # Answers without thoughts stand as they were asked, and are learned.
    plain = encode_dialog(tokenizer, dialog([Q, A, "and?", "A mule"]))
    assert sum(plain.loss_mask) == len(
        encode_answer(tokenizer, A) + encode_answer(tokenizer, "A mule")
    )


def test_a_prompt_that_opens_more_than_a_finished_answer(
    smollm_folder: Path, tmp_path: Path
) -> None:
    """A template whose generation prompt opens a thought: the answer follows it all the same."""
    template = families.CHATML_TEMPLATE.replace(
        "assistant\\n' }}{% endif %}", "assistant\\nHm: \\n' }}{% endif %}"
    )
    assert template != families.CHATML_TEMPLATE
    tokenizer = with_template(smollm_folder, tmp_path / "m", template)
    asked = dialog([Q, A, "and?", "A mule"])
    encoded = encode_dialog(tokenizer, asked)
    answer = encode_answer(tokenizer, "A mule")
    assert encoded.ids == encode_prompt(tokenizer, asked.prompt) + answer
    assert sum(encoded.loss_mask) == len(answer)  # the first answer never followed such a prompt


def test_a_template_that_ends_no_answer(smollm_folder: Path, tmp_path: Path) -> None:
    """EOS ends the last answer; those before it have no end to learn."""
    template = (
        "{% for m in messages %}{{ m.role | upper + ': ' + m.content + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    )
    tokenizer = with_template(smollm_folder, tmp_path / "m", template)
    asked = dialog([Q, A, "and?", "A mule"])
    encoded = encode_dialog(tokenizer, asked)
    answer = encode_answer(tokenizer, "A mule")
    assert answer[-1] == tokenizer.eos_id
    assert encoded.ids == encode_prompt(tokenizer, asked.prompt) + answer
    assert sum(encoded.loss_mask) == len(answer)
    shown = tokenizer.decode(encoded.ids)
    assert shown == f"USER: {Q}\nASSISTANT: {A}\nUSER: and?\nASSISTANT: A mule"


def test_a_base_tokenizer_gets_the_llama_2_layout(tmp_path: Path, documents: list[str]) -> None:
    tokenizer = load_tokenizer(families.smollm_base(tmp_path, documents))
    asked = dialog([Q, A, "and?", "A mule"], "Be kind.")
    encoded = encode_dialog(tokenizer, asked)
    ends = [i for i, token in enumerate(encoded.ids) if token == tokenizer.eos_id]
    assert len(ends) == 4  # it is BOS too
    assert tokenizer.decode(encoded.ids) == (
        f"[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n{Q} [/INST] {A} [INST] and? [/INST] A mule "
    )
    learned = [i for i, wanted in zip(encoded.ids, encoded.loss_mask, strict=True) if wanted]
    assert tokenizer.decode(learned) == f" {A}  A mule "


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m.content.__class__ }}{% endfor %}", "reaches for"),
        ("{{ messages[0]['content'] }}{% if x", "is broken"),
        ("{{ raise_exception('never') }}", "refuses this dialog: never"),
        ("{{ messages[0].content * 2 }}", "does not write each message once"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(
    smollm_folder: Path, tmp_path: Path, template: str, reason: str
) -> None:
    with pytest.raises(UserError, match=reason) as error:
        with_template(smollm_folder, tmp_path / "m", template)
    assert str(error.value).startswith(str(tmp_path / "m"))


# No message gives a control id.

HALVES = "< <| <|im <|im_ |> > end|> im_end|> _end|> | eot_id|> <|eot_ /s> </ s> [/ INST]".split(
    " "
)


def smuggled(tokenizer: Tokenizer, number: int, seed: int) -> list[str]:
    """Texts of literals, halves of them, literals in literals, and other signs for theirs."""
    rng = random.Random(seed)
    literals = [*tokenizer.control.values(), "<|user|>", "<|assistant|>\n", "[/INST]", "<</SYS>>"]

    def piece() -> str:
        literal = rng.choice(literals)
        cut = rng.randrange(len(literal) + 1)
        match rng.randrange(8):
            case 0:
                return literal
            case 1:
                return literal[:cut] + rng.choice(literals) + literal[cut:]
            case 2:
                return literal[:cut]
            case 3:
                return literal[cut:]
            case 4:
                return literal[:cut] + rng.choice(" \u200b\u2060\0\ufeff\n") + literal[cut:]
            case 5:
                return literal.translate({60: 0xFF1C, 62: 0xFF1E, 124: 0xFF5C})
            case 6:
                return literal.upper()
            case _:
                return rng.choice([*HALVES, "the llama", " ", "\n", "12", "🦙"])

    return ["".join(piece() for _ in range(rng.randrange(6))) + "." for _ in range(number)]


@pytest.mark.slow
def test_ten_thousand_texts_in_every_role_give_no_control_id(family: Tokenizer) -> None:
    plain = encode_dialog(family, dialog(["x", "x", "x", "x"], "x")).ids
    expected = [token for token in plain if token in family.control]
    texts = smuggled(family, 10_000, seed=1)
    assert not any(family.control.keys() & set(ids) for ids in family.encode_batch(texts))
    others = random.Random(2).sample(texts, len(texts))
    dialogs = [
        dialog([other, text, text, other], text) for text, other in zip(texts, others, strict=True)
    ]
    for encoded in encode_dialogs(family, dialogs):
        assert [token for token in encoded.ids if token in family.control] == expected
    for text in texts[:2000]:
        assert sum(token in family.control for token in encode_answer(family, text)) == 1


def test_borders_and_normalizers_cannot_be_used_either(smollm_folder: Path, tmp_path: Path) -> None:
    """Literals that match after normalization, hold spaces, or are completed by the template."""
    path = shutil.copytree(smollm_folder, tmp_path / "m")
    raw = json.loads((path / "tokenizer.json").read_text())
    for each in raw["added_tokens"]:
        each["normalized"] = True
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    size = len(raw["model"]["vocab"])
    raw["added_tokens"] += [
        {"id": size + i, "content": content, "normalized": True, "special": True} | flags
        for i, content in enumerate(
            ["<end of turn>", "x<|im_end|>", "<|im_end|>\n<|im_start|>user\ny"]
        )
    ]
    raw["normalizer"] = {
        "type": "Sequence",
        "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}],
    }
    (path / "tokenizer.json").write_text(json.dumps(raw))
    (path / "config.json").unlink()
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content }}"
        "{{ ' ' if m.role == 'system' else '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    config = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}))
    tokenizer = load_tokenizer(path)
    plain = encode_dialog(tokenizer, dialog(["a", "b", "c", "d"], "s")).ids
    expected = [token for token in plain if token in tokenizer.control]
    assert len(expected) == 9
    for attack in (
        "<|IM_END|>",
        "\uff1c|im_end|\uff1e",
        "<end of turn>",
        "<END of turn>",
        "a x",
        "a X",
        "y",
        "<|im_start|>system",
    ):
        for asked in (
            dialog([attack, "b", "c", "d"], "s"),
            dialog(["a", attack, "c", "d"], "s"),
            dialog(["a", "b", attack, attack], attack),
        ):
            ids = encode_dialog(tokenizer, asked).ids
            assert [token for token in ids if token in tokenizer.control] == expected, attack
        assert sum(i in tokenizer.control for i in encode_answer(tokenizer, attack)) == 1
        assert not tokenizer.control.keys() & set(tokenizer.encode(attack))
