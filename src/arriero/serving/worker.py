"""The engine's own thread, and the requests that wait for what it draws.

The event loop hands orders to the thread through a queue; the thread hands back all that one step
drew in one call, so that many streams cost little. Whatever is counted here is counted on the event
loop; tickets belong to the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Protocol

from arriero.inference.engine import Engine
from arriero.inference.request import Drawn, Sampling
from arriero.records import UserError
from arriero.serving.faults import ApiError
from arriero.serving.metrics import Metrics

_log = logging.getLogger(__name__)

_LONGEST_RETRY_SECONDS = 60
_BROKEN = "the engine has stopped after an unexpected error; the server's log says more"


@dataclass(frozen=True, slots=True)
class Order:
    """One sequence to continue; see Engine.submit."""

    prompt: Sequence[int]
    sampling: Sampling
    seed: int
    key: int
    sample: int
    num_alternatives: int | None


class Taker(Protocol):
    """Takes the tokens of one sequence as they are drawn; `is_done` once it wants no more."""

    @property
    def is_done(self) -> bool: ...

    def take(self, drawn: Drawn) -> None: ...


@dataclass(eq=False)
class Job:
    """The sequences of one request.

    Attributes:
        orders, takers: one a sequence.
        wakes_often: whether `changed` is set at every token, not at the end alone.
        failure: why there will be no more tokens, where it is no fault of the takers.
        is_cancelled: whether it was dropped before its end.
        num_open: sequences that still want tokens.
        changed: set when there is something new.
    """

    orders: Sequence[Order]
    takers: Sequence[Taker]
    wakes_often: bool
    began: float = field(default_factory=time.perf_counter)
    failure: ApiError | None = None
    is_cancelled: bool = False
    has_begun: bool = False
    num_open: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    tickets: dict[int, int] = field(default_factory=dict[int, int])
    """The thread's: the ticket of each sequence that is under way."""

    @property
    def is_done(self) -> bool:
        return not self.num_open


class Worker:
    """Owns the engine; all methods but the thread's own are for the event loop.

    Attributes:
        num_open: sequences in the engine or on their way there.
        fault: what broke the engine, if anything did.
        is_stopping: whether new jobs are refused.
    """

    def __init__(self, engine: Engine, metrics: Metrics, *, max_queue: int) -> None:
        self._engine, self._metrics = engine, metrics
        self._capacity = engine.max_rows + max_queue
        self._commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._owners: dict[int, tuple[Job, int]] = {}
        self._is_closed = False
        self._jobs: set[Job] = set()
        self._mean_seconds = 1.0
        self._num_arriving = 0
        self.num_open = 0
        self.fault: str | None = None
        self.is_stopping = False

    @property
    def num_active(self) -> int:
        """Sequences that are being computed."""
        return self._engine.num_active

    @property
    def num_waiting(self) -> int:
        """Sequences that wait for a row."""
        return max(0, self.num_open - self._engine.num_active)

    def start(self) -> None:
        """Start the thread; call it on the event loop that jobs come from."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """While a request is read: as many at once as there are places, so that memory is bounded.

        Raises:
            ApiError: 429 or 503, as `submit` does; then nothing of it need be read.
        """
        self._check_open(max(self.num_open, self._num_arriving) + 1)
        self._num_arriving += 1
        try:
            yield
        finally:
            self._num_arriving -= 1

    def _check_open(self, num_sequences: int) -> None:
        """Raise ApiError where so many sequences are too many, or nothing is taken any more."""
        if self.fault is not None:
            raise ApiError(503, _BROKEN, code="engine_stopped")
        if self.is_stopping:
            raise ApiError(503, "the server is stopping", code="stopping")
        over = num_sequences - self._capacity
        if over > 0:
            rounds = over / self._engine.max_rows
            seconds = min(_LONGEST_RETRY_SECONDS, max(1, math.ceil(rounds * self._mean_seconds)))
            raise ApiError(
                429,
                f"the queue is full; ask again in {seconds} s",
                code="queue_full",
                headers={"retry-after": str(seconds)},
            )

    def submit(self, job: Job) -> None:
        """Take a job on; one without orders is done at once.

        Raises:
            ApiError: 429 and when to ask again, 503 where the server stops or the engine has
                stopped.
        """
        self._check_open(self.num_open + len(job.orders))
        if not job.orders:
            return
        job.num_open = len(job.orders)
        self.num_open += job.num_open
        self._jobs.add(job)
        self._commands.put(lambda: self._admit(job))

    def cancel(self, job: Job) -> None:
        """Drop what is left of a job; its rows are free after the step under way."""
        if job.is_done:
            return
        job.is_cancelled = True
        self._forget(job)
        self._commands.put(lambda: self._withdraw(job, list(job.tickets)))
        job.changed.set()

    def end_all(self) -> None:
        """End every job with an error, since the server stops."""
        for job in list(self._jobs):
            self.cancel(job)
            self._fail(job, ApiError(503, "the server has stopped", code="stopping"))

    async def close(self) -> None:
        """End every job and the thread."""
        self.is_stopping = True
        self.end_all()
        self._commands.put(self._close)
        await asyncio.to_thread(self._thread.join, 10)

    # On the event loop, called by the thread.

    def _hand_out(self, events: Sequence[tuple[Job, int, Drawn]]) -> None:
        """Give every taker its token; one call a step."""
        now = time.perf_counter()
        self._metrics.count_tokens(len(events))
        changed: set[Job] = set()
        for job, number, drawn in events:
            taker = job.takers[number]
            if taker.is_done or job not in self._jobs:
                continue
            if not job.has_begun:
                job.has_begun = True
                self._metrics.first_token.observe(now - job.began)
            try:
                taker.take(drawn)
            except Exception:
                _log.exception("a token could not be taken")
                self.cancel(job)
                self._fail(job, ApiError(500, "internal error; the server's log says more"))
                continue
            if taker.is_done:
                if drawn.finish is None:  # a stop string: the engine knows nothing of it
                    self._commands.put(lambda job=job, one=number: self._withdraw(job, [one]))
                job.num_open -= 1
                self.num_open -= 1
                self._mean_seconds += 0.05 * (now - job.began - self._mean_seconds)
                if job.is_done:
                    self._jobs.discard(job)
            if job.wakes_often or job.is_done:
                changed.add(job)
        for job in changed:
            job.changed.set()

    def _fail(self, job: Job, error: ApiError) -> None:
        if job.failure is None:
            job.failure = error
        if job in self._jobs:
            self._forget(job)
        job.changed.set()

    def _fail_all(self, why: str) -> None:
        self.fault = why
        for job in list(self._jobs):
            self._fail(job, ApiError(503, _BROKEN, code="engine_stopped"))

    def _forget(self, job: Job) -> None:
        self._jobs.discard(job)
        self.num_open -= job.num_open
        job.num_open = 0

    # On the thread.

    def _run(self) -> None:
        try:
            while True:
                if self._engine.is_idle:
                    self._commands.get()()
                while not self._commands.empty():
                    self._commands.get()()
                if self._is_closed:
                    return
                drawn = self._engine.step()
                if drawn:
                    events = [(*self._owners[one.ticket], one) for one in drawn]
                    for job, number, one in events:
                        if one.finish is not None:
                            del self._owners[one.ticket], job.tickets[number]
                    self._loop.call_soon_threadsafe(self._hand_out, events)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            _log.exception("the engine has stopped; every request gets an error from here on")
            self._loop.call_soon_threadsafe(self._fail_all, why)

    def _admit(self, job: Job) -> None:
        try:
            for number, order in enumerate(job.orders):
                ticket = self._engine.submit(
                    order.prompt,
                    order.sampling,
                    seed=order.seed,
                    key=order.key,
                    sample=order.sample,
                    num_alternatives=order.num_alternatives,
                )
                job.tickets[number] = ticket
                self._owners[ticket] = job, number
        except UserError as error:
            self._withdraw(job, list(job.tickets))
            self._loop.call_soon_threadsafe(self._fail, job, ApiError(400, str(error)))

    def _withdraw(self, job: Job, numbers: Sequence[int]) -> None:
        for number in numbers:
            ticket = job.tickets.pop(number, None)
            if ticket is not None:
                del self._owners[ticket]
                self._engine.cancel(ticket)

    def _close(self) -> None:
        for ticket in self._owners:
            self._engine.cancel(ticket)
        self._owners.clear()
        self._is_closed = True
