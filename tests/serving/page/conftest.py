"""Servers of a model whose words are known, one for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .page_server import KEY, PageServer
from .scripted_model import write_scripted_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scripted_model(tmp_path_factory.mktemp("roomy") / "valley", context=16_384)


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[PageServer]:
    """Two answers at once, and nobody may wait."""
    with PageServer(folder, "--max-rows", "2", "--max-queue", "0") as server:
        yield server


@pytest.fixture(scope="session")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """Room for little, a key at the door, and a word that nobody may say."""
    folder = write_scripted_model(tmp_path_factory.mktemp("small") / "valley", context=160)
    (folder / "words.txt").write_text("forbidden\n")
    options = ("--refuse-patterns", str(folder / "words.txt"))
    with PageServer(folder, *options, api_key=KEY) as server:
        yield server
