"""Counts of the server, as Prometheus reads them."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_WINDOW_SECONDS = 10


class Histogram:
    """How often values lay at or under each bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    """What has happened since the start; one event loop writes and reads it."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._generated = 0
        self._seconds: deque[list[float]] = deque(maxlen=_WINDOW_SECONDS + 1)
        self.prompt_tokens = 0
        self.first_token = Histogram((0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60))

    def count_request(self, path: str, status: int) -> None:
        """One more response."""
        self._requests[path, status] += 1

    def count_tokens(self, count: int) -> None:
        """Tokens drawn in a step."""
        self._generated += count
        second = int(time.monotonic())
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += count
        else:
            self._seconds.append([second, count])

    @property
    def tokens_per_second(self) -> float:
        """Over the last ten whole seconds."""
        now = int(time.monotonic())
        recent = (count for second, count in self._seconds if now - _WINDOW_SECONDS <= second < now)
        return sum(recent) / _WINDOW_SECONDS

    def render(self, *, active: int, waiting: int) -> str:
        """The text of /metrics."""
        requests = [
            (f'{{path="{path}",status="{status}"}}', count)
            for (path, status), count in sorted(self._requests.items())
        ]
        lines = [
            *_metric("requests_total", "counter", "responses by path and status", requests),
            *_single("active_sequences", "gauge", "sequences being computed", active),
            *_single("waiting_sequences", "gauge", "sequences that wait for a row", waiting),
            *_single("prompt_tokens_total", "counter", "tokens of prompts", self.prompt_tokens),
            *_single("generated_tokens_total", "counter", "tokens drawn", self._generated),
            *_single(
                "tokens_per_second",
                "gauge",
                "tokens drawn, mean of ten seconds",
                self.tokens_per_second,
            ),
            *_histogram("first_token_seconds", "from request to first token", self.first_token),
        ]
        return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, text: str, rows: Iterable[tuple[str, float]]) -> list[str]:
    head = [f"# HELP arriero_{name} {text}", f"# TYPE arriero_{name} {kind}"]
    return head + [f"arriero_{name}{labels} {value}" for labels, value in rows]


def _single(name: str, kind: str, text: str, value: float) -> list[str]:
    return _metric(name, kind, text, [("", value)])


def _histogram(name: str, text: str, histogram: Histogram) -> list[str]:
    rows: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        total += count
        rows.append((f'_bucket{{le="{bound}"}}', total))
    rows += [("_sum", histogram.sum), ("_count", total)]
    return _metric(name, "histogram", text, rows)
