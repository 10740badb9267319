"""The Python interface: talk to a model, score answers, run a recipe.

>>> from arriero.api import load_chat, load_reward, run_recipe
>>> run_recipe("tiny", "runs/tiny")                                     # doctest: +SKIP
>>> chat = load_chat("runs/tiny/08-ppo-v1/model")                       # doctest: +SKIP
>>> answer = chat.answer("Where does Bena live?", max_new_tokens=64)    # doctest: +SKIP
>>> reward = load_reward("runs/tiny/05-reward-helpfulness-v1/model")    # doctest: +SKIP
>>> reward.score("Where does Bena live?", answer)                       # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arriero.alignment.scoring import score_sequences
from arriero.inference.session import ChatSession
from arriero.model.heads import ScoreModel
from arriero.model.weights import load_score_model
from arriero.records import Message
from arriero.road.drive import drive
from arriero.road.recipe import load_recipe
from arriero.tokenizer.chat import encode_answer, encode_prompt
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer

__all__ = ["ChatSession", "RewardSession", "load_chat", "load_reward", "run_recipe"]


@dataclass(frozen=True)
class RewardSession:
    """A reward model's folder opened for scoring."""

    model: ScoreModel
    tokenizer: Tokenizer

    def score(self, messages: Sequence[Message] | str, answer: str) -> float:
        """The raw score s of an answer; its sigmoid is the probability of section 3.2.3."""
        if isinstance(messages, str):
            messages = [Message("user", messages)]
        ids = encode_prompt(self.tokenizer, messages) + encode_answer(self.tokenizer, answer)
        return float(score_sequences(self.model, [ids])[0])


def load_chat(folder: Path | str) -> ChatSession:
    """A chat model; raises UserError where the folder holds none."""
    return ChatSession.load(folder)


def load_reward(folder: Path | str) -> RewardSession:
    """A reward model; raises UserError where the folder holds none."""
    return RewardSession(load_score_model(folder).eval(), load_tokenizer(folder))


def run_recipe(
    recipe: str,
    run: Path | str,
    overrides: dict[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Run a recipe (its name or a TOML file) into a folder; returns the report's path.

    Args:
        overrides: values by dotted key, such as {"ppo.iterations": 5}.
    """
    report = drive(load_recipe(recipe, overrides), Path(run), say)
    return report or Path(run) / "report.html"
