"""A model that says what a test wants: every token follows from the one before it alone.

A real model folder with real weights. Embeddings are one-hot and the blocks add nothing, so that
the output matrix is a table of transitions. It answers everything with one of `OPENINGS`, then
`SCRIPT`, then `la` again and again: for ever at temperature 0, else until a coin says stop.
"""

from __future__ import annotations

from pathlib import Path

import torch

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import save_language_model
from arriero.records import Message
from arriero.tokenizer import Tokenizer, encode_prompt, load_tokenizer
from arriero.tokenizer.train import train_tokenizer

OPENINGS = ("1", "2", "3")
SCRIPT = ": **bold** `code` <svg onload=hacked()> then"
LOOP = " la"

_VOCAB_SIZE = 320
_SURE = 40.0


def write_scripted_model(folder: Path, *, context: int) -> Path:
    """The folder, filled; `context` limits prompt and answer together."""
    train_tokenizer([f"{SCRIPT}{LOOP * 3}"] * 30, folder, _VOCAB_SIZE)
    tokenizer = load_tokenizer(folder)
    config = ModelConfig(
        vocab_size=_VOCAB_SIZE, dim=_VOCAB_SIZE, num_layers=1, num_heads=4, num_kv_heads=1,
        ffn_dim=8, context=context,
    )  # fmt: skip
    model = LanguageModel.fresh(config, seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
        model.get_parameter("model.embed_tokens.weight").copy_(torch.eye(_VOCAB_SIZE))
        table = model.get_parameter("lm_head.weight").zero_()
        for before, after, logit in _transitions(tokenizer):
            # A one-hot vector leaves the last norm as long as the root of its width.
            table[after, before] = logit / _VOCAB_SIZE**0.5
    save_language_model(model, folder, tokenizer.special)
    tokenizer.save(folder, model_max_length=context)
    return folder


def _transitions(tokenizer: Tokenizer) -> list[tuple[int, int, float]]:
    """Rows of (token, next token, logit)."""
    begin = encode_prompt(tokenizer, [Message("user", "?")])[-1]
    openings = [tokenizer.encode(word)[-1] for word in OPENINGS]
    chain = _different(tokenizer, [begin, *openings], _ids_within(tokenizer, SCRIPT))
    (loop,) = _ids_within(tokenizer, LOOP)
    rows = [(begin, opening, _SURE) for opening in openings]
    rows += [(opening, chain[0], _SURE) for opening in openings]
    rows += [
        (before, after, _SURE) for before, after in zip(chain, [*chain[1:], loop], strict=True)
    ]
    return [*rows, (loop, loop, _SURE), (loop, tokenizer.eos_id, _SURE - 0.1)]


def _ids_within(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text that does not stand at the beginning."""
    return tokenizer.encode(OPENINGS[0] + text)[len(tokenizer.encode(OPENINGS[0])) :]


def _different(tokenizer: Tokenizer, used: list[int], ids: list[int]) -> list[int]:
    """The same text with no id twice: the second time a sign is written as its byte."""
    bytes_by_text = {tokenizer.decode([token]): token for token in tokenizer.byte_ids}
    seen, chain = set(used), list[int]()
    for token in ids:
        spelled = [token]
        if token in seen:
            spelled = [bytes_by_text[sign] for sign in tokenizer.decode([used[1], token])[1:]]
        assert not seen.intersection(spelled), "the script says the same thing three times"
        seen.update(spelled)
        chain += spelled
    return chain
