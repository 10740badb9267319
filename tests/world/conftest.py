"""Worlds for all tests of this room: each seed is built once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from arriero.world import World


@pytest.fixture(scope="session")
def world_of() -> Callable[[int], World]:
    return cache(World)


@pytest.fixture(scope="session")
def world(world_of: Callable[[int], World]) -> World:
    return world_of(0)
