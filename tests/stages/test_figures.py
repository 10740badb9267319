"""The section [figures]: off unless asked for, refused where it could not be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from arriero.records import UserError
from arriero.road.recipe import load_recipe
from arriero.stages.figures import FiguresConfig
from arriero.training import sinks


def test_nothing_is_shown_elsewhere_unless_asked_for(tmp_path: Path) -> None:
    config = load_recipe("tiny").figures
    assert config == FiguresConfig()
    config.check()
    assert config.sinks(tmp_path, 0, print) == []


@pytest.mark.slow
def test_a_key_of_the_command_line_opens_its_sink(tmp_path: Path) -> None:
    config = load_recipe("tiny", {"figures.tensorboard": "true"}).figures
    config.check()
    (sink,) = config.sinks(tmp_path, 0, print)
    sink.write({"step": 0, "loss": 1.0})
    sink.close()
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_what_is_not_installed_is_refused_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"figures\.trackio: .* is not installed"):
        load_recipe("tiny", {"figures.trackio": "valley"}).figures.check()
