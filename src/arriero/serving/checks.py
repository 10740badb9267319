"""Safety checks on what a user asks and on what the model answers (section 5.3).

A check is a function of a dialog and an answer: None lets it pass, a text is said instead. A
deployer can replace or add any; here are two plain ones and the one way to join several.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

from arriero.equations.reward import SAFETY_THRESHOLD
from arriero.records import Message, UserError

REFUSAL = "I can't help with that."


class Check(Protocol):
    """Looks at a dialog that ends with the user, before the answer (None) and with it.

    It is called from several threads at once. What it raises is no leave: the request gets a 503.

    Returns:
        None to let it pass, or the text that is said instead.
    """

    def __call__(self, messages: Sequence[Message], answer: str | None, /) -> str | None: ...


def all_of(checks: Sequence[Check]) -> Check | None:
    """A check that asks each in turn; the first refusal counts. None where there are none."""
    if not checks:
        return None

    def check(messages: Sequence[Message], answer: str | None) -> str | None:
        for one in checks:
            refusal = one(messages, answer)
            if refusal is not None:
                return refusal
        return None

    return check


def refuse_patterns(path: Path, refusal: str = REFUSAL) -> Check:
    """Refuse where a pattern of a file is found in the user's last message or in the answer.

    The file has one regular expression a line, upper and lower case alike; blank lines and lines
    that begin with `#` say nothing.

    Raises:
        UserError: the file cannot be read, or a line is no regular expression.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no readable file of patterns ({error})") from None
    patterns: list[re.Pattern[str]] = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            try:
                patterns.append(re.compile(line.strip(), re.IGNORECASE))
            except re.error as error:
                raise UserError(f"{path}:{number}: no regular expression: {error}") from None

    def check(messages: Sequence[Message], answer: str | None) -> str | None:
        text = messages[-1].content if answer is None else answer
        return refusal if any(pattern.search(text) for pattern in patterns) else None

    return check


def refuse_unsafe(
    score: Callable[[Sequence[Message], str], float],
    threshold: float = SAFETY_THRESHOLD,
    refusal: str = REFUSAL,
) -> Check:
    """Refuse answers to which a safety reward model gives a low probability of being safe.

    Args:
        score: the model's raw score of an answer; its sigmoid is compared with `threshold`.

    Raises:
        UserError: the threshold is no probability between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise UserError(f"--safety-threshold {threshold}: a probability between 0 and 1 is needed")
    lowest = math.log(threshold / (1 - threshold))

    def check(messages: Sequence[Message], answer: str | None) -> str | None:
        if answer is None or score(messages, answer) >= lowest:
            return None
        return refusal

    return check


def load_check(name: str) -> Check:
    """The check `module:function` that a deployer has written; looked for in this folder too.

    Raises:
        UserError: there is no such module or function.
    """
    module, _, function = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"no check {name} ({error}); name it as module:function") from None
    if not callable(found):
        raise UserError(f"{name} is no function")
    return cast(Check, found)
