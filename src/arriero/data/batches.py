"""Batches that are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

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
