"""Folders as the families of open models ship them, small, with tokenizers trained here.

The markers are the families' own; the templates around them are written for these tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

LLAMA3_WORDS = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_NAMES = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
LLAMA3_SPECIAL = LLAMA3_NAMES + tuple(
    f"<|reserved_special_token_{i}|>" for i in range(3, 256 - len(LLAMA3_NAMES) + 3)
)
SMOLLM_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>")

LLAMA3_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' ~ m.role ~ '<|end_header_id|>\\n\\n' }}"
    "{{ m.content | trim }}{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
CHATML_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nA llama speaks.<|im_end|>\\n' }}{% endif %}"
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
ZEPHYR_TEMPLATE = (
    "{% for m in messages %}{{ '<|' ~ m.role ~ '|>\\n' ~ m.content ~ eos_token ~ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
SPACED_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ '[INST] ' + m.content + ' [/INST]' }}{% elif m.role == 'assistant' %}"
    "{{ ' ' + m.content + eos_token }}{% else %}"
    "{{ raise_exception('there is no place for a system message') }}{% endif %}{% endfor %}"
)
"""As Mistral's: no generation prompt, a space before the answer, no system message."""


def llama3(folder: Path, documents: Iterable[str], **config: Any) -> Path:
    """Byte-level BPE with 256 special tokens, three of which may end a turn."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(LLAMA3_WORDS, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer, documents, 700)
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in LLAMA3_SPECIAL])
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        pair="<|begin_of_text|> $A <|begin_of_text|> $B",
        special_tokens=[("<|begin_of_text|>", begin)],
    )
    ends = [tokenizer.token_to_id(f"<|{name}|>") for name in ("end_of_text", "eom_id", "eot_id")]
    return _write(
        folder,
        tokenizer,
        {
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>",
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": LLAMA3_TEMPLATE,
        }
        | config,
        {"bos_token_id": begin, "eos_token_id": ends},
    )


def smollm(folder: Path, documents: Iterable[str], **config: Any) -> Path:
    """GPT-2's byte-level BPE with digits apart and ChatML; its padding is its end of turn."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer, documents, 600, SMOLLM_SPECIAL)
    return _write(
        folder,
        tokenizer,
        {
            "bos_token": "<|im_start|>",
            "eos_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "pad_token": "<|im_end|>",
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "tokenizer_class": "GPT2Tokenizer",
            "chat_template": CHATML_TEMPLATE,
        }
        | config,
        {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2},
    )


def smollm_base(folder: Path, documents: Iterable[str]) -> Path:
    """The same before fine-tuning: one token is BOS, EOS and unknown, and nothing is padding."""
    one = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    path = smollm(folder, documents)
    (path / "tokenizer_config.json").write_text(json.dumps(one))
    (path / "generation_config.json").write_text('{"bos_token_id": 0, "eos_token_id": 0}')
    return path


def metaspace(folder: Path, documents: Iterable[str], **config: Any) -> Path:
    """Llama 2's BPE with bytes as fallback, as a tokenizer.json."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    words = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.pre_tokenizer = words
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    _train(tokenizer, (line for text in documents for line in text.split("\n")), 700, names)
    raw = json.loads(tokenizer.to_str())
    raw["added_tokens"] = raw["added_tokens"][:3]  # bytes are pieces, not special
    raw["pre_tokenizer"] = None
    made = Tokenizer.from_str(json.dumps(raw))
    return _write(
        folder,
        made,
        {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "</s>",
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": ZEPHYR_TEMPLATE,
        }
        | config,
        {"bos_token_id": 1, "eos_token_id": 2},
    )


def _train(
    tokenizer: Tokenizer, documents: Iterable[str], vocab_size: int, special: Iterable[str] = ()
) -> None:
    is_byte_level = isinstance(tokenizer.decoder, decoders.ByteLevel)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if is_byte_level else [],
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)


def _write(
    folder: Path, tokenizer: Tokenizer, config: dict[str, Any], generation: dict[str, Any]
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps(generation))
    size = {"model_type": "llama", "vocab_size": tokenizer.get_vocab_size()}
    (folder / "config.json").write_text(json.dumps(size))
    return folder
