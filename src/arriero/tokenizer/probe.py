"""What a chat template writes around messages, learned from renderings of dialogs with known words.

A question and an answer that stand in no template are laid out; what surrounds them is the
template's own. So nothing is guessed from the source, which may put its tags together from parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from arriero.records import Message, UserError

Render = Callable[[Sequence[Sequence[Message]], bool], list[str]]
"""Texts of dialogs; whether the opening of an answer is to follow. Raises UserError."""

_SYSTEM, _QUESTION, _ANSWER, _MORE = (f"Xq{i}zk{i}vw{i}" for i in range(4))
S, Q, A, M = (
    Message("system", _SYSTEM),
    Message("user", _QUESTION),
    Message("assistant", _ANSWER),
    Message("user", _MORE),
)


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """How a template writes an answer.

    Attributes:
        header: what follows a rendered prompt before the answer may begin; mostly empty. A template
            that does not know `add_generation_prompt` writes its header only with the answer.
        context: the end of the prompt as far as its last control token: what an answer's first
            token is told apart by.
        lead: white space before an answer (Mistral: a space).
        closing: what follows an answer as far as its end token, that included.
        end: literal of that token; None where the template writes none.
        own: all text of the probes that is the template's own.
    """

    header: str
    context: str
    lead: str
    closing: str
    end: str | None
    own: str


def probe(render: Render, control: Sequence[str], where: object) -> TemplateFacts:
    """Learn a template's facts.

    Args:
        control: literals of the control tokens.

    Raises:
        UserError: the template does not lay out a question, or a question and its answer, or
            leaves one of them out.
    """
    prompt = render([[Q]], True)[0]
    full = render([[Q, A]], False)[0]
    if prompt.count(_QUESTION) != 1 or full.count(_QUESTION) != 1 or full.count(_ANSWER) != 1:
        raise UserError(
            f"{where}: the chat template does not write each message once; it cannot be used"
        )
    before, after = full.split(_ANSWER)
    lead = before[len(prompt) :] if before.startswith(prompt) else ""
    header = ""
    if lead.strip():
        header = lead.rstrip(" ")
        lead = lead[len(header) :]
    opening = prompt.split(_QUESTION)[1] + header
    last = max((opening.rfind(literal) for literal in control), default=-1)
    first = min(
        ((at, -len(literal)) for literal in control if (at := after.find(literal)) >= 0),
        default=None,
    )
    end = None if first is None else after[first[0] : first[0] - first[1]]
    return TemplateFacts(
        header=header,
        context=opening[max(last, 0) :],
        lead=lead,
        closing="" if end is None else after[: after.find(end) + len(end)],
        end=end,
        own=_own(render, [prompt, full]),
    )


def _own(render: Render, texts: list[str]) -> str:
    """The template's own text, in several shapes; some templates refuse a system message."""
    for messages in ([Q, A, M], [S, Q], [S, Q, A, M]):
        try:
            texts += render([messages], True)
        except UserError:
            continue
    text = "\0".join(texts)
    for word in (_SYSTEM, _QUESTION, _ANSWER, _MORE):
        text = text.replace(word, "\0")
    return text
