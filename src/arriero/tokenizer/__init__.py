"""Text to ids and back: tokenizers of both kinds, their training, and the chat layouts."""

from arriero.tokenizer.chat import (
    CHAT_TEMPLATE,
    EncodedDialog,
    encode_answer,
    encode_dialog,
    encode_dialogs,
    encode_prompt,
    neutralize,
)
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.tokenizer.train import TokenizerExample, TokenizerFacts, train_tokenizer

__all__ = [
    "CHAT_TEMPLATE",
    "EncodedDialog",
    "Tokenizer",
    "TokenizerExample",
    "TokenizerFacts",
    "encode_answer",
    "encode_dialog",
    "encode_dialogs",
    "encode_prompt",
    "load_tokenizer",
    "neutralize",
    "train_tokenizer",
]
