"""The batched engine: schedule, run, postprocess; requests come and go as they like.

A sequence owns a row of a static key/value cache. A step computes whatever a sequence has and the
cache lacks: a whole prompt, a part of a long one, or the one token drawn last; so prefill and
decode are the same thing here and share a step. What a row holds stays there after its sequence
has ended, and a new prompt that begins alike takes it over: the samples of one prompt, a system
message, the turns before cost one prefill. Not thread-safe: one thread owns an engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from arriero.inference.prefixes import Prefixes
from arriero.inference.request import Alternatives, Drawn, Sampling, uniforms
from arriero.inference.runners import Weights, make_runner
from arriero.model.heads import LanguageModel
from arriero.records import UserError

# Prompt tokens a step computes at most: a long prompt must not hold up those who decode.
CHUNK = 512


@dataclass(slots=True)
class _Sequence:
    """A request under way. `tokens` are prompt and answer; the cache holds `computed` of them."""

    ticket: int
    tokens: list[int]
    sampling: Sampling
    seed: tuple[int, int, int]
    num_alternatives: int | None
    num_prompt: int
    row: int = -1
    computed: int = 0
    leader: _Sequence | None = None
    followers: list[_Sequence] = field(default_factory=list["_Sequence"])
    uniforms: list[float] = field(default_factory=list[float])


class Engine:
    """Continues prompts, many at once.

    Attributes:
        max_rows: sequences that are computed together; further ones wait.
        num_slots: longest sequence, prompt and answer.
        computed_tokens, reused_tokens, drawn_tokens: counts since the start: through the model,
            taken over from the cache, new.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        ends: Sequence[int],
        max_rows: int = 64,
        num_slots: int | None = None,
        weights: Weights | None = None,
    ) -> None:
        """Set up the cache.

        Args:
            ends: ids that end an answer.
            num_slots: the model's context if left out.
            weights: type of the weights on a CPU; the model's own if left out.
        """
        self.max_rows = max_rows
        self.num_slots = min(num_slots or model.config.context, model.config.context)
        self.vocab_size = model.config.vocab_size
        self._ends = frozenset(ends)
        self._runner = make_runner(
            model, max_rows, self.num_slots, max_tokens=CHUNK + max_rows, weights=weights
        )
        self._waiting: deque[_Sequence] = deque()
        self._running: dict[int, _Sequence] = {}
        self._free = deque(range(max_rows))
        self._prefixes = Prefixes(max_rows)
        self._next_ticket = 0
        self.computed_tokens = self.reused_tokens = self.drawn_tokens = 0

    @property
    def num_active(self) -> int:
        """Requests that own a row."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Requests that wait for a row."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return not self._running and not self._waiting

    def submit(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        seed: int,
        key: int = 0,
        sample: int = 0,
        num_alternatives: int | None = None,
    ) -> int:
        """Ask for a continuation; returns its ticket.

        Args:
            prompt: token ids.
            seed, key, sample: together they fix the request's randomness: of a run, of a prompt,
                of a sample.
            num_alternatives: how many of the most probable tokens to tell at each step.

        Raises:
            UserError: the prompt is empty, leaves no room in the context, or has an id outside the
                vocabulary.
        """
        if not prompt:
            raise UserError("a prompt has no tokens")
        if len(prompt) >= self.num_slots:
            raise UserError(
                f"a prompt has {len(prompt)} tokens, the model's context is {self.num_slots}"
            )
        if min(prompt) < 0 or max(prompt) >= self.vocab_size:
            raise UserError(f"a prompt has an id outside the vocabulary of {self.vocab_size}")
        ticket = self._next_ticket
        self._next_ticket += 1
        self._waiting.append(
            _Sequence(
                ticket, list(prompt), sampling, (seed, key, sample), num_alternatives, len(prompt)
            )
        )
        return ticket

    def cancel(self, ticket: int) -> None:
        """Drop a request and free its row; unknown and ended ones are ignored."""
        sequence = self._running.get(ticket)
        if sequence is not None:
            self._retire(sequence)
        else:
            self._waiting = deque(one for one in self._waiting if one.ticket != ticket)

    def step(self) -> list[Drawn]:
        """Admit who waits, compute once, and return the tokens drawn."""
        self._admit()
        tokens, rows, positions, wanted, drawing = self._schedule()
        if not tokens:
            return []
        logits = self._runner.forward(
            *(np.asarray(part, np.int64) for part in (tokens, rows, positions, wanted))
        )
        self.computed_tokens += len(tokens)
        self._share(drawing)
        return self._postprocess(logits, drawing)

    def _admit(self) -> None:
        """Give rows to those who wait, in order; who could share a prompt that is not computed yet
        waits for it."""
        newcomers: dict[tuple[int, ...], _Sequence] = {}
        passed_over: list[_Sequence] = []
        while self._waiting and self._free and len(passed_over) < self.max_rows:
            sequence = self._waiting.popleft()
            leader = newcomers.get(tuple(sequence.tokens))
            if leader is not None:
                self._place(sequence, self._free.popleft(), 0)
                sequence.leader = leader
                leader.followers.append(sequence)
                continue
            source, shared, coming = self._prefixes.longest(sequence.tokens)
            if coming > shared:
                passed_over.append(sequence)
                continue
            shared = min(shared, len(sequence.tokens) - 1)
            if shared and source in self._free:
                self._free.remove(source)
                row = source
            else:
                row = self._free.popleft()
                if shared:
                    self._runner.copy(source, row, shared)
            self._place(sequence, row, shared)
            self.reused_tokens += shared
            newcomers[tuple(sequence.tokens)] = sequence
        self._waiting.extendleft(reversed(passed_over))

    def _place(self, sequence: _Sequence, row: int, computed: int) -> None:
        sequence.row, sequence.computed = row, computed
        limit = min(sequence.sampling.max_new_tokens, self.num_slots - sequence.num_prompt)
        sequence.uniforms = uniforms(*sequence.seed, limit)
        self._running[sequence.ticket] = sequence
        self._prefixes.put(row, sequence.tokens, computed)

    def _schedule(
        self,
    ) -> tuple[list[int], list[int], list[int], list[int], list[_Sequence]]:
        """What to compute, and whose next token follows from it: `wanted[i]` draws `drawing[i]`."""
        tokens: list[int] = []
        rows: list[int] = []
        positions: list[int] = []
        wanted: list[int] = []
        drawing: list[_Sequence] = []
        room = CHUNK
        for sequence in self._running.values():
            if sequence.leader is not None:
                continue
            begin, end = sequence.computed, len(sequence.tokens)
            if end - begin > 1:
                end = min(end, begin + room)
                room -= end - begin
            if begin == end:
                continue
            tokens += sequence.tokens[begin:end]
            rows += [sequence.row] * (end - begin)
            positions += range(begin, end)
            sequence.computed = end
            self._prefixes.computed[sequence.row] = end
            if end == len(sequence.tokens):
                drawing += [sequence, *sequence.followers]
                wanted += [len(tokens) - 1] * (1 + len(sequence.followers))
        return tokens, rows, positions, wanted, drawing

    def _share(self, drawing: Sequence[_Sequence]) -> None:
        """Followers get their leader's row and go their own ways from here on."""
        for sequence in drawing:
            leader = sequence.leader
            if leader is not None:
                self._runner.copy(leader.row, sequence.row, leader.computed)
                self.reused_tokens += leader.computed
                self._prefixes.computed[sequence.row] = sequence.computed = leader.computed
                sequence.leader = None
        for sequence in drawing:
            sequence.followers.clear()

    def _postprocess(self, logits: Any, drawing: Sequence[_Sequence]) -> list[Drawn]:
        """Draw a token for each, and let go of those that end with it."""
        if not drawing:
            return []
        settings = [sequence.sampling for sequence in drawing]
        told = [
            None
            if sequence.num_alternatives is None
            else _log_softmax(self._runner.row(logits, place))
            for place, sequence in enumerate(drawing)
        ]
        tokens, logprobs = self._runner.draw(
            logits,
            np.array([s.uniforms[len(s.tokens) - s.num_prompt] for s in drawing], np.float32),
            np.array([s.temperature for s in settings], np.float32),
            np.array([s.top_p for s in settings], np.float32),
            np.array([s.top_k for s in settings], np.int64),
        )
        drawn: list[Drawn] = []
        for sequence, token, logprob, own in zip(
            drawing, tokens.tolist(), logprobs.tolist(), told, strict=True
        ):
            sequence.tokens.append(token)
            alternatives = None
            if own is not None:
                alternatives = _alternatives(own, token, sequence.num_alternatives or 0)
            finish = self._finish(sequence, token)
            drawn.append(Drawn(sequence.ticket, token, logprob, alternatives, finish))
            if finish is not None:
                self._retire(sequence)
        self.drawn_tokens += len(drawn)
        return drawn

    def _finish(self, sequence: _Sequence, token: int) -> Literal["stop", "length"] | None:
        if token in self._ends or token in sequence.sampling.stop_ids:
            return "stop"
        is_full = len(sequence.tokens) >= self.num_slots
        if is_full or len(sequence.tokens) - sequence.num_prompt == len(sequence.uniforms):
            return "length"
        return None

    def _retire(self, sequence: _Sequence) -> None:
        """Free the row; what it holds may serve a later prompt."""
        del self._running[sequence.ticket]
        self._free.append(sequence.row)
        # The token drawn last, or the rest of a cancelled prompt, was never computed.
        self._prefixes.put(sequence.row, sequence.tokens[: sequence.computed], sequence.computed)
        if sequence.leader is not None:
            sequence.leader.followers.remove(sequence)
        if sequence.followers:
            first, *others = sequence.followers
            first.leader, first.followers = None, others
            for follower in others:
                follower.leader = first


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    wide -= wide.max()
    return wide - np.log(np.exp(wide).sum())


def _alternatives(logprobs: np.ndarray, token: int, count: int) -> Alternatives:
    count = min(count, len(logprobs))
    best = np.argpartition(-logprobs, count - 1)[:count] if count else np.empty(0, np.int64)
    best = best[np.lexsort((best, -logprobs[best]))]
    top = [(int(place), float(logprobs[place])) for place in best]
    return Alternatives(float(logprobs[token]), top)
