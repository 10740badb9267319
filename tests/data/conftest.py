"""Files of our own writing, and a small tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

WriteRows = Callable[[str, list[Any]], Path]
WriteText = Callable[[str, str], Path]


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """Writes values as JSON lines under a name and returns the path."""

    def write(name: str, rows: list[Any]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_text(tmp_path: Path) -> WriteText:
    """Writes text under a name, byte for byte, and returns the path."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
        return path

    return write


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """300 pieces, from texts that hold the letters of the tests and all digits."""
    folder = tmp_path_factory.mktemp("tokenizer")
    words = "who carries the salt over the pass a mule walks behind it 0123456789 [INST] Yes. No?"
    train_tokenizer([f"{words} {number}" for number in range(200)], folder, 300)
    return load_tokenizer(folder)
