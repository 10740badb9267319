"""Both ways to compute a step, under the same tests."""

from __future__ import annotations

import pytest

from arriero.inference import runners
from arriero.native.build import Native, native


@pytest.fixture(params=["compiled", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs with the compiled step and once more with PyTorch alone."""
    if request.param == "plain":
        monkeypatch.setattr(runners, "native", lambda: Native(None, "turned off for a test"))
    else:
        assert native().library is not None, native().why
    return request.param
