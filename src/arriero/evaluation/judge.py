"""A language model as judge of pairs: asked for A or B, once in each order (Table 7).

Models favour a place, so both orders are asked and the rule is: both verdicts for one answer, it
wins; one for each, neither wins; a reply that names no letter, or no reply, and the pair counts for
nothing and is counted as such.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from arriero.evaluation.chat_client import ChatClient, Unanswered
from arriero.records import Message, Preference, UserError

Letter = Literal["A", "B"]

NONSENSE = "named neither A nor B"
_TASK = (
    "Choose the best answer between A and B: the one that is more helpful, correct and harmless. "
    "Say one letter and nothing else: A or B."
)
_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}
# The letter alone, however dressed: `B`, `**B**`, `(b).`, `Answer: B`, `[[B]]`.
_VERDICT = re.compile(
    r"\W*(?:(?:the\s+)?(?:best\s+|better\s+)?answer\s*(?:is)?\W*)?([ab])\W*", re.I
)
# Silence of so many questions in a row is no bad luck.
_MOST_SILENT = 8


@dataclass
class LanguageJudge:
    """A chat model behind an address.

    Attributes:
        max_tokens: of a reply; the letter comes first or in the last line.
        at_once: questions under way together.
        skipped: pairs without a verdict, by reason.
        letters: how often each letter was said: a model that favours a place shows here.
        num_swayed: pairs whose verdict changed with the order.
    """

    name: str
    client: ChatClient
    model: str
    max_tokens: int = 16
    at_once: int = 4
    kind: str = "LLM judge"
    skipped: Counter[str] = field(default_factory=Counter[str])
    letters: Counter[str] = field(default_factory=Counter[str])
    num_swayed: int = 0
    _num_silent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def compare(self, pairs: Sequence[Preference]) -> list[float | None]:
        """1 for the chosen answer, 0 for the rejected, 0.5 for one in each order; None for neither.

        Raises:
            UserError: the address or key is wrong, or nobody answers any more.
        """
        with ThreadPoolExecutor(self.at_once) as pool:
            try:
                return list(pool.map(self._judge, pairs))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _judge(self, pair: Preference) -> float | None:
        verdicts: list[bool] = []
        for order, letter_of_chosen in (
            ((pair.chosen, pair.rejected), "A"),
            ((pair.rejected, pair.chosen), "B"),
        ):
            try:
                letter = self._ask(pair.prompt, *order)
            except Unanswered as error:
                return self._skip(str(error))
            if letter is None:
                return self._skip(NONSENSE)
            with self._lock:
                self.letters[letter] += 1
            verdicts.append(letter == letter_of_chosen)
        if verdicts[0] != verdicts[1]:
            with self._lock:
                self.num_swayed += 1
        return sum(verdicts) / 2

    def _ask(self, prompt: Sequence[Message], a: str, b: str) -> Letter | None:
        messages = [{"role": "user", "content": question(prompt, a, b)}]
        try:
            reply = self.client.answer(self.model, messages, self.max_tokens)
        except Unanswered as error:
            with self._lock:
                self._num_silent += 1
                if self._num_silent >= _MOST_SILENT:
                    raise UserError(
                        f"{self.client.url}: {_MOST_SILENT} questions in a row went unanswered "
                        f"({error}); nothing is judged"
                    ) from None
            raise
        with self._lock:
            self._num_silent = 0
        return read_verdict(reply)

    def _skip(self, reason: str) -> None:
        with self._lock:
            self.skipped[reason] += 1


def question(prompt: Sequence[Message], a: str, b: str) -> str:
    """What the judge is asked: the task, the conversation, both answers."""
    said = "\n\n".join(f"{_SPEAKERS[turn.role]}: {turn.content}" for turn in prompt)
    return (
        f"{_TASK}\n\n# Conversation\n\n{said}\n\n# Answer A\n\n{a}\n\n# Answer B\n\n{b}\n\n{_TASK}"
    )


def read_verdict(reply: str) -> Letter | None:
    """The letter of a reply: the whole of it, or of its last line; None where it is none.

    >>> read_verdict("**B**"), read_verdict("Both are good."), read_verdict("Well.\\nAnswer: a")
    ('B', None, 'A')
    """
    lines = [line for line in reply.splitlines() if line.strip()]
    found = _VERDICT.fullmatch(lines[-1]) if lines else None
    if found is None:
        return None
    return "A" if found[1] in "aA" else "B"
