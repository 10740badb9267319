"""A chat model that talks: messages in, pieces of text out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from pydantic import ValidationError

from arriero.inference.engine import Engine
from arriero.inference.request import Sampling
from arriero.inference.text import TextStream
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model
from arriero.records import Message, UserError
from arriero.tokenizer.chat import encode_prompt
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer


class ChatSession:
    """A model folder opened for talking; it keeps no history of its own.

    The engine keeps the last dialog's keys and values, so that a further turn computes only what is
    new.

    Attributes:
        name: the folder it came from.
        model, tokenizer: what was opened.
    """

    def __init__(self, name: str, model: LanguageModel, tokenizer: Tokenizer) -> None:
        self.name, self.model, self.tokenizer = name, model, tokenizer
        self._engine = Engine(model, ends=tokenizer.special.ends, max_rows=1)

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> ChatSession:
        """Open a chat model's folder.

        Raises:
            UserError: the folder is no chat model's, or tokenizer and weights do not fit together.
        """
        model = load_language_model(folder).to(device).eval()
        tokenizer = load_tokenizer(folder)
        if tokenizer.vocab_size > model.config.vocab_size:
            raise UserError(
                f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, "
                f"the model {model.config.vocab_size}"
            )
        return cls(str(folder), model, tokenizer)

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether the dialog leaves a quarter of the context, or 256 tokens, for an answer."""
        context = self.model.config.context
        room = context - min(256, context // 4)
        return len(encode_prompt(self.tokenizer, messages)) <= room

    def stream(
        self,
        messages: Sequence[Message],
        *,
        temperature: float = 0.6,
        top_p: float = 0.9,
        max_new_tokens: int = 512,
        seed: int = 0,
    ) -> Iterator[str]:
        """The answer to a dialog that ends with the user, piece by piece."""
        prompt = encode_prompt(self.tokenizer, messages)
        try:
            sampling = Sampling(temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"{first['loc'][0]} {first['input']}: {first['msg']}") from None
        text = TextStream(self.tokenizer)
        ticket = self._engine.submit(prompt, sampling, seed=seed)
        try:
            while not self._engine.is_idle:
                for drawn in self._engine.step():
                    if drawn.finish != "stop" and (piece := text.feed(drawn.token)):
                        yield piece
        finally:
            self._engine.cancel(ticket)  # where the reader stopped in the middle
        if rest := text.finish():
            yield rest

    def answer(
        self,
        messages: Sequence[Message] | str,
        *,
        system: str | None = None,
        temperature: float = 0.6,
        top_p: float = 0.9,
        max_new_tokens: int = 512,
        seed: int = 0,
    ) -> str:
        """The whole answer to a dialog, or to one question given as a string."""
        if isinstance(messages, str):
            messages = [Message("user", messages)]
        if system is not None:
            messages = [Message("system", system), *messages]
        pieces = self.stream(
            messages,
            temperature=temperature,
            top_p=top_p,
            max_new_tokens=max_new_tokens,
            seed=seed,
        )
        return "".join(pieces)
