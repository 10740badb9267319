"""The tokenizer as Hugging Face programs read it: tokenizer.json and tokenizer_config.json.

tokenizer.json is written here and never by transformers: the config names
`PreTrainedTokenizerFast`, since `LlamaTokenizer` makes transformers rebuild the tokenizer, with
other ids for many texts. Text gives the same ids as SentencePiece as long as it holds none of
`<s>`, `</s>`, `<unk>`. Those a fast tokenizer reads as ids unless the caller passes
`split_special_tokens=True`; it cannot be the default, because the chat template writes BOS and EOS
as text. So the template breaks these literals inside messages, and whoever tokenizes foreign text
without it passes the flag.

A plain text gets no BOS (`add_bos_token` false), as in `Tokenizer.encode`: the template carries
it, and two of them would be wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

from arriero.tokenizer.template import CHAT_TEMPLATE

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
SPACE = "\u2581"


def write_tokenizer_files(
    processor: SentencePieceProcessor, folder: Path, model_max_length: int
) -> None:
    """Write tokenizer.json, tokenizer_config.json and special_tokens_map.json into `folder`."""
    fast_tokenizer(processor).save(str(folder / "tokenizer.json"))
    special_tokens = {**SPECIAL_TOKENS, "pad_token": SPECIAL_TOKENS["unk_token"]}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special_tokens,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": model_max_length,
        "padding_side": "left",
        "split_special_tokens": False,
        "chat_template": CHAT_TEMPLATE,
    }
    _write_json(folder / "tokenizer_config.json", config)
    _write_json(folder / "special_tokens_map.json", special_tokens)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def fast_tokenizer(processor: SentencePieceProcessor) -> Tokenizer:
    """The same BPE for the `tokenizers` library."""
    pieces = [processor.id_to_piece(i) for i in range(processor.vocab_size())]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=_merges(processor, pieces),
            unk_token=SPECIAL_TOKENS["unk_token"],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = [AddedToken(token, normalized=False) for token in SPECIAL_TOKENS.values()]
    tokenizer.add_special_tokens(special)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


def _merges(processor: SentencePieceProcessor, pieces: list[str]) -> list[tuple[str, str]]:
    """Every pair of pieces that joins to a piece, in the order in which SentencePiece joins.

    SentencePiece stores no merges: it joins whichever neighbours form the piece with the highest
    score. Bytes and special pieces take no part, so that the text `<0x0A>` stays text.
    """
    ordinary = {
        piece: processor.get_score(i)
        for i, piece in enumerate(pieces)
        if not (processor.is_byte(i) or processor.is_control(i) or processor.is_unknown(i))
    }
    merges: list[tuple[str, str]] = []
    for piece in sorted(ordinary, key=lambda piece: -ordinary[piece]):
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in ordinary and right in ordinary:
                merges.append((left, right))
    return merges
