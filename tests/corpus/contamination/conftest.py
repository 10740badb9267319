"""The two ways to the same arrays and matches; tokens on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from arriero.corpus.contamination import matching, suffixes
from arriero.data.shards import write_tokens
from arriero.native.build import Native, native


@pytest.fixture(params=["native", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """C++, which must be there, and NumPy."""
    if request.param == "numpy":
        for module in (matching, suffixes):
            monkeypatch.setattr(module, "native", lambda: Native(None, "left out"))
    else:
        assert native().library is not None, native().why
    return request.param


Write = Callable[[str, Sequence[Sequence[int]]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Documents of ids as a token folder of this name under `corpus/tokens`."""

    def write_folder(name: str, documents: Sequence[Sequence[int]], vocab_size: int = 1000) -> Path:
        folder = tmp_path / "corpus" / "tokens" / name
        write_tokens(documents, vocab_size, folder)
        return folder

    return write_folder
