"""Scores sequences for many clients at once, in one thread, with a bounded queue.

What waits together is scored together; since a score does not depend on its batch, nobody can tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from arriero.serving.faults import ApiError

_log = logging.getLogger(__name__)

_LONGEST_RETRY_SECONDS = 60

ScoreIds = Callable[[Sequence[Sequence[int]]], list[float]]
"""Raw scores of sequences of ids, each prompt and answer; called in a thread, one at a time."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """One sequence of a request; `future` gets its score."""

    ids: Sequence[int]
    future: asyncio.Future[float]


class ScoreWorker:
    """Owns the reward model; all methods are for the event loop.

    Attributes:
        num_open: sequences that are being scored or wait.
        num_active: sequences that are being scored.
        fault: always None: a batch that fails fails alone.
        is_stopping: whether new requests are refused.
    """

    def __init__(self, score: ScoreIds, *, max_rows: int, max_queue: int) -> None:
        self._score, self._max_rows = score, max_rows
        self._capacity = max_rows + max_queue
        self._queue: deque[_Waiting] = deque()
        self._open: set[asyncio.Future[float]] = set()
        self._running: asyncio.Task[None] | None = None
        self._mean_seconds = 1.0
        self._num_arriving = 0
        self.num_active = 0
        self.fault: str | None = None
        self.is_stopping = False

    @property
    def num_open(self) -> int:
        return len(self._open)

    @property
    def num_waiting(self) -> int:
        """Sequences that wait for their batch."""
        return max(0, self.num_open - self.num_active)

    def start(self) -> None:
        """Nothing to do before the first request."""

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """While a request is read: as many at once as there are places, so that memory is bounded.

        Raises:
            ApiError: 429 or 503, as `score` does; then nothing of it need be read.
        """
        self._check_open(max(self.num_open, self._num_arriving) + 1)
        self._num_arriving += 1
        try:
            yield
        finally:
            self._num_arriving -= 1

    async def score(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """Raw scores in order; who is cancelled while it waits frees its places at once.

        Raises:
            ApiError: 400 for more sequences than there are places, 429 and when to ask again, 503
                where the server stops or scoring has failed.
        """
        if len(sequences) > self._capacity:
            raise ApiError(
                400,
                f"{len(sequences)} dialogs: the most at once is {self._capacity}",
                param="messages",
            )
        self._check_open(self.num_open + len(sequences))
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(ids, loop.create_future()) for ids in sequences]
        futures = [one.future for one in waiting]
        self._queue.extend(waiting)
        self._open.update(futures)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        try:
            return await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.cancel()
            self._open.difference_update(futures)

    def end_all(self) -> None:
        """End every request with an error, since the server stops."""
        self._fail(list(self._open), ApiError(503, "the server has stopped", code="stopping"))

    async def close(self) -> None:
        """End every request, and wait for the batch that is under way."""
        self.is_stopping = True
        self.end_all()
        if self._running is not None:
            await self._running

    def _check_open(self, num_sequences: int) -> None:
        if self.is_stopping:
            raise ApiError(503, "the server is stopping", code="stopping")
        over = num_sequences - self._capacity
        if over > 0:
            wait = math.ceil(over / self._max_rows * self._mean_seconds)
            seconds = min(_LONGEST_RETRY_SECONDS, max(1, wait))
            raise ApiError(
                429,
                f"the queue is full; ask again in {seconds} s",
                code="queue_full",
                headers={"retry-after": str(seconds)},
            )

    async def _run(self) -> None:
        """Batch after batch, as long as somebody waits."""
        while batch := self._next_batch():
            began = time.perf_counter()
            self.num_active = len(batch)
            try:
                scores = await asyncio.to_thread(self._score, [one.ids for one in batch])
                for one, score in zip(batch, scores, strict=True):
                    if not one.future.done():
                        one.future.set_result(score)
            except Exception:
                _log.exception("scoring failed")
                error = ApiError(503, "scoring failed; the server's log says more", code="failed")
                self._fail([one.future for one in batch], error)
            self.num_active = 0
            self._mean_seconds += 0.05 * (time.perf_counter() - began - self._mean_seconds)
        self._running = None

    def _next_batch(self) -> list[_Waiting]:
        """The first that wait, without those whose client has gone."""
        batch: list[_Waiting] = []
        while self._queue and len(batch) < self._max_rows:
            one = self._queue.popleft()
            if not one.future.done():
                batch.append(one)
        return batch

    def _fail(self, futures: Sequence[asyncio.Future[float]], error: ApiError) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(error)
