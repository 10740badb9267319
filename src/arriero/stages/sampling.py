"""Answers of a model to prompts, in text and in ids; what several stages sample through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from arriero.alignment.scoring import CompositeScores, RewardModels
from arriero.inference.generate import Completion, Interrupted, Sampling, generate
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model
from arriero.records import Prompt, Stopped, UserError
from arriero.stages.placement import read_language_model, whole_copy
from arriero.stages.workspace import ALONE, Ranks, Workspace
from arriero.tokenizer.chat import encode_prompt
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.training.parallel import Precision, reshard
from arriero.training.stopping import StopRequest


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


def composite_scores(
    judges: RewardModels, answers: Sequence[Answer], is_safety_prompt: Tensor, ranks: Ranks
) -> CompositeScores:
    """Raw scores [N] by both reward models and what counts of them, the same on every rank.

    Args:
        answers: all of them, on every rank; each scores its part.
    """
    return sequence_scores(judges, [answer.ids for answer in answers], is_safety_prompt, ranks)


def sequence_scores(
    judges: RewardModels,
    sequences: Sequence[Sequence[int]],
    is_safety_prompt: Tensor,
    ranks: Ranks,
) -> CompositeScores:
    """The same of prompts and answers as ids."""
    scores = judges.score(sequences, is_safety_prompt, ranks)
    for judge in (judges.helpfulness, judges.safety):
        reshard(judge)
    # Ranks that share matrices may differ in a last bit, and what follows must not.
    return ranks.agreed(scores)


class Answering(Protocol):
    """What answers prompts: a model of this process (`ChatModel`) or one in a server (`Served`)."""

    @property
    def tokenizer(self) -> Tokenizer:
        """What its ids mean."""
        ...

    def answers(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        num_samples: int = 1,
        max_rows: int = 256,
        first_key: int = 0,
        ranks: Ranks = ALONE,
        stop: StopRequest | None = None,
    ) -> list[list[Answer]]:
        """As `ChatModel.answers`."""
        ...

    def fitting(self, prompts: Sequence[Prompt], num_new: int) -> list[Prompt]:
        """As `ChatModel.fitting`."""
        ...


@dataclass(frozen=True)
class ChatModel:
    """A model folder, opened: weights and their tokenizer."""

    model: LanguageModel
    tokenizer: Tokenizer

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> ChatModel:
        """Open a folder; raises UserError where it is not a chat model's."""
        return cls(load_language_model(folder).to(device).eval(), load_tokenizer(folder))

    @classmethod
    def spread(cls, folder: Path, workspace: Workspace) -> ChatModel:
        """Open a folder on the ranks of a job, in shares; alone as `load`."""
        return cls(read_language_model(folder, workspace, "float32").eval(), load_tokenizer(folder))

    def whole(self, workspace: Workspace, precision: Precision = "float32") -> ChatModel:
        """What answers can be sampled from: a whole copy of a model in shares, on every rank.

        Alone and in float32 the model itself. It is the model as it is now: let go of it before
        that learns on.
        """
        return replace(self, model=whole_copy(self.model, workspace, precision))

    def answers(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        num_samples: int = 1,
        max_rows: int = 256,
        first_key: int = 0,
        ranks: Ranks = ALONE,
        stop: StopRequest | None = None,
    ) -> list[list[Answer]]:
        """`num_samples` answers to each prompt.

        Args:
            first_key: number of the first prompt in its list, so that a list may be sampled in
                parts with the same result.
            ranks: who samples, each some of the prompts; all get all answers, and the same ones
                whatever their number.
            stop: asked for, the sampling is given up.

        Raises:
            Stopped: one of the ranks was asked to stop.
        """
        own = range(ranks.number, len(prompts), ranks.size)
        encoded = [encode_prompt(self.tokenizer, prompts[place].messages) for place in own]
        try:
            sampled = generate(
                self.model,
                encoded,
                sampling,
                seed=seed,
                ends=self.tokenizer.special.ends,
                keys=[first_key + place for place in own],
                num_samples=num_samples,
                max_rows=max_rows,
                is_unwanted=None if stop is None else lambda: stop.asked,
            )
            answers = as_answers(self.tokenizer, encoded, sampled)
        except Interrupted:
            answers = None
        of_all = [part for part in ranks.from_all(answers) if part is not None]
        if len(of_all) < ranks.size:
            raise Stopped(ranks.most((stop and stop.signal) or 0))
        return [of_all[place % ranks.size][place // ranks.size] for place in range(len(prompts))]

    def fitting(self, prompts: Sequence[Prompt], num_new: int) -> list[Prompt]:
        """The prompts that leave room for `num_new` tokens in the context.

        Raises:
            UserError: none does.
        """
        return fitting(self.tokenizer, self.model.config.context, prompts, num_new)


def as_answers(
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    completions: Sequence[Sequence[Completion]],
) -> list[list[Answer]]:
    """The continuations of encoded prompts, with their text."""
    return [
        [Answer(tokenizer.decode(one.tokens).strip(), ids, one) for one in samples]
        for ids, samples in zip(prompts, completions, strict=True)
    ]


def fitting(
    tokenizer: Tokenizer, context: int, prompts: Sequence[Prompt], num_new: int
) -> list[Prompt]:
    """The prompts that leave room for `num_new` tokens in a context; see `ChatModel.fitting`."""
    room = context - num_new
    kept = [prompt for prompt in prompts if len(encode_prompt(tokenizer, prompt.messages)) <= room]
    if not kept:
        raise UserError(
            f"none of {len(prompts)} prompts fits into {room} tokens; "
            "raise model.context or lower max_new_tokens"
        )
    return kept
