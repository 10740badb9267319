"""Answers of a model to prompts, in text and in ids; what several stages sample through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from arriero.inference.generate import Completion, Sampling, generate
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model
from arriero.records import Prompt, UserError
from arriero.tokenizer.chat import encode_prompt
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Answer:
    """One sampled answer: its text, and prompt and answer as the ids they were sampled in."""

    text: str
    prompt_ids: list[int]
    completion: Completion

    @property
    def ids(self) -> list[int]:
        """Prompt and answer together, never decoded in between."""
        return self.prompt_ids + self.completion.tokens


@dataclass(frozen=True)
class ChatModel:
    """A model folder, opened: weights and their tokenizer."""

    model: LanguageModel
    tokenizer: Tokenizer

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> ChatModel:
        """Open a folder; raises UserError where it is not a chat model's."""
        return cls(load_language_model(folder).to(device).eval(), load_tokenizer(folder))

    def answers(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        num_samples: int = 1,
        max_rows: int = 256,
        first_key: int = 0,
    ) -> list[list[Answer]]:
        """`num_samples` answers to each prompt.

        Args:
            first_key: number of the first prompt in its list, so that a list may be sampled in
                parts with the same result.
        """
        encoded = [encode_prompt(self.tokenizer, prompt.messages) for prompt in prompts]
        sampled = generate(
            self.model,
            encoded,
            sampling,
            seed=seed,
            ends=self.tokenizer.special.ends,
            keys=range(first_key, first_key + len(encoded)),
            num_samples=num_samples,
            max_rows=max_rows,
        )
        return [
            [Answer(self.tokenizer.decode(item.tokens).strip(), ids, item) for item in completions]
            for ids, completions in zip(encoded, sampled, strict=True)
        ]

    def fitting(self, prompts: Sequence[Prompt], num_new: int) -> list[Prompt]:
        """The prompts that leave room for `num_new` tokens in the context.

        Raises:
            UserError: none does.
        """
        room = self.model.config.context - num_new
        kept = [p for p in prompts if len(encode_prompt(self.tokenizer, p.messages)) <= room]
        if not kept:
            raise UserError(
                f"none of {len(prompts)} prompts fits into {room} tokens; "
                "raise model.context or lower max_new_tokens"
            )
        return kept
