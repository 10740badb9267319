"""The embedded world: a small valley, generated from a seed, with a truth to check answers by.

The paper trains on public text and human annotators; this stands in for both, so that every stage
can be run and checked in minutes. Nothing above this floor may depend on it being the input.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cached_property

from arriero.records import Annotator, ConsistencyTest, Dialog, Oracle, Preference, Prompt
from arriero.records.prompt import Track
from arriero.world.annotators import make_annotators
from arriero.world.attribute_dialogs import (
    attribute_demonstrations,
    attribute_tests,
    ghost_prompts,
)
from arriero.world.attributes import Attributes
from arriero.world.demonstrations import demonstrations, few_shot, graded_answers
from arriero.world.documents import Document, write_documents
from arriero.world.open_sets import open_comparisons
from arriero.world.oracle import WorldOracle
from arriero.world.prompts import make_prompts
from arriero.world.tasks import Task, Tasks
from arriero.world.valley import Valley

__all__ = ["Document", "World"]


class World:
    """Documents, demonstrations, prompts and judges; everything follows from the seed."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.valley = Valley(seed)
        self.tasks = Tasks(self.valley)

    def documents(self, num: int) -> Iterator[Document]:
        """The first `num` documents of the corpus."""
        return write_documents(self.tasks, num)

    def demonstrations(self, num: int) -> list[Dialog]:
        """`num` dialogs of mixed quality for supervised fine-tuning."""
        return demonstrations(self.tasks, num)

    def prompts(self, split: str, kind: str, num: int) -> list[Prompt]:
        """`num` tagged prompts.

        `split`: preferences, rejection, ppo (the training combinations), held_out, test.
        `kind`: ordinary, adversarial, borderline. Raises UserError for any other.
        """
        return make_prompts(self.tasks, split, kind, num)

    def open_comparisons(self, track: Track, num: int) -> list[Preference]:
        """`num` comparisons of a track as public sets have them, without ratings or labels."""
        return open_comparisons(self.tasks, self.oracle(), track, num)

    def attribute_demonstrations(self, num: int) -> list[Dialog]:
        """`num` dialogs that teach to obey an instruction of the same turn."""
        return attribute_demonstrations(self.tasks, self._attributes, num)

    def ghost_prompts(self, num: int) -> list[Prompt]:
        """`num` dialogs of many turns for Ghost Attention to rewrite."""
        return ghost_prompts(self.tasks, num)

    def attribute_tests(self, num: int) -> list[ConsistencyTest]:
        """`num` tests whether an instruction of the first turn still holds many turns later."""
        return attribute_tests(self.tasks, self._attributes, num)

    def honours(self, kind: str, value: str, answer: str) -> bool:
        """Whether an answer keeps to an attribute that was set."""
        return self._attributes.honours(kind, value, answer)

    def few_shot(self, num: int) -> list[Dialog]:
        """`num` clean dialogs to prompt a base model with."""
        return few_shot(self.tasks, num)

    def answers(self, prompt: Prompt) -> dict[str, str]:
        """One answer of every grade to a prompt, by the oracle's labels (and `partial`)."""
        rng = random.Random(f"answers/{self.seed}/{prompt.id}")
        return graded_answers(self.tasks, Task.from_id(prompt.id), rng)

    @cached_property
    def _attributes(self) -> Attributes:
        return Attributes(self.valley)

    @cached_property
    def _oracle(self) -> Oracle:
        return WorldOracle(self.tasks)

    def oracle(self) -> Oracle:
        """The judge that knows the truth of every prompt of this seed."""
        return self._oracle

    def annotators(self) -> tuple[Annotator, ...]:
        """Simulated annotators, who see the oracle through noise and bias."""
        return make_annotators(self.oracle(), self.seed)
