"""Batches that are made when they are asked for, and how the ranks of a job share a step's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

Item = TypeVar("Item")
Plan = TypeVar("Plan")
Batch = TypeVar("Batch")


class Batches(Sequence[Batch], Generic[Plan, Batch]):
    """The batches of a step; of several ranks, each makes only the ones that it takes.

    Args:
        plans: what each is made from.
        make: makes one.
    """

    def __init__(self, plans: Sequence[Plan], make: Callable[[Plan], Batch]) -> None:
        self._plans, self._make = plans, make

    def __len__(self) -> int:
        return len(self._plans)

    @overload
    def __getitem__(self, place: int) -> Batch: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Batch]: ...
    def __getitem__(self, place: int | slice) -> Batch | Sequence[Batch]:
        if isinstance(place, slice):
            return Batches(self._plans[place], self._make)
        return self._make(self._plans[place])


def micro_batches(items: Sequence[Item], at_once: int, ranks: int = 1) -> list[Sequence[Item]]:
    """A step's items in micro-batches of at most `at_once`, which the ranks take in turns.

    Every rank gets as many items as the others where their number divides by the ranks, however
    large a micro-batch may be. Where it does not, which only happens where there are fewer items
    in all than a step asks for, some ranks get fewer.

    >>> micro_batches([0, 1, 2, 3, 4, 5, 6, 7], 3, ranks=2)
    [[0, 1, 2], [4, 5, 6], [3], [7]]
    """
    ranks = 1 if len(items) % ranks else ranks
    share = len(items) // ranks
    parts = [items[rank * share : (rank + 1) * share] for rank in range(ranks)]
    return [part[at : at + at_once] for at in range(0, share, at_once) for part in parts]


def most_ranks(items: int, ranks: int) -> int:
    """The most ranks, at most `ranks`, that share so many items of a step evenly."""
    return next(count for count in range(min(items, ranks), 0, -1) if items % count == 0)
