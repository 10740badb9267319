"""Where a line of figures goes: a file always; TensorBoard, W&B and trackio where asked for.

A sink takes lines, each a flat dict with a `step`, and is closed at the end. What is shown
elsewhere is a convenience: when it fails, a word is said and the training goes on without it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from arriero.records import UserError

PACKAGES = ("tensorboard", "wandb", "trackio")

Line = Mapping[str, Any]
Say = Callable[[str], None]


class Sink(Protocol):
    """Takes a stage's lines one after another."""

    def write(self, line: Line) -> None:
        """One line."""
        ...

    def close(self) -> None:
        """After the last line."""
        ...


class JsonLines:
    """metrics.jsonl: each line is on the disk before the next step begins.

    Args:
        path: the file; lines of steps that will be done again are dropped.
        start: the step that comes next.
    """

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        rewind(path, start)

    def write(self, line: Line) -> None:
        """Append it; what is not finite is null, which every reader of JSON knows."""
        plain = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in line.items()
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain, allow_nan=False) + "\n")

    def close(self) -> None:
        """Nothing is held open."""


class TensorBoard:
    """Event files in `folder/tensorboard`: `tensorboard --logdir runs/NAME` shows all stages."""

    def __init__(self, folder: Path, start: int) -> None:
        module: Any = importlib.import_module("torch.utils.tensorboard")
        # What is done again takes the place of what was shown for the same steps.
        self._writer = module.SummaryWriter(str(folder / "tensorboard"), purge_step=start)

    def write(self, line: Line) -> None:
        """Every number of the line, at its step."""
        for name, value in _numbers(line).items():
            self._writer.add_scalar(name, value, line["step"])

    def close(self) -> None:
        """Write what is still held back."""
        self._writer.close()


class WeightsAndBiases:
    """One W&B run a stage, in the group of the whole run; `WANDB_MODE=offline` keeps it here.

    The id follows from the folder, so that a resumed stage goes on in its own run.
    """

    def __init__(self, folder: Path, project: str) -> None:
        wandb: Any = importlib.import_module("wandb")
        self._run = wandb.init(
            project=project,
            group=folder.parent.name,
            name=f"{folder.parent.name}/{folder.name}",
            id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],
            resume="allow",
            dir=str(folder),
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )
        # By our own step: W&B's counter would refuse the steps that are done again.
        self._run.define_metric("*", step_metric="step")

    def write(self, line: Line) -> None:
        """Every number of the line."""
        self._run.log({"step": line["step"], **_numbers(line)})

    def close(self) -> None:
        """End the run there."""
        self._run.finish()


class Trackio:
    """One trackio run a stage, in its database on this machine: `trackio show` opens it."""

    def __init__(self, folder: Path, project: str) -> None:
        self._trackio: Any = importlib.import_module("trackio")
        self._trackio.init(
            project=project,
            name=f"{folder.parent.name}/{folder.name}",
            resume="allow",
            embed=False,
        )

    def write(self, line: Line) -> None:
        """Every number of the line, at its step."""
        self._trackio.log(_numbers(line), step=line["step"])

    def close(self) -> None:
        """Wait until the lines are in the database."""
        self._trackio.finish()


class Forgiving:
    """A sink that is dropped, with a word, once it fails: showing figures must not cost a run."""

    def __init__(self, name: str, make: Callable[[], Sink], say: Say) -> None:
        self._name, self._say = name, say
        self._sink: Sink | None = None
        self._attempt(lambda: setattr(self, "_sink", make()))

    def write(self, line: Line) -> None:
        """One line, if the sink still works."""
        if (sink := self._sink) is not None:
            self._attempt(lambda: sink.write(line))

    def close(self) -> None:
        """After the last line."""
        if (sink := self._sink) is not None:
            self._attempt(sink.close)

    def _attempt(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # whatever a foreign package raises
            self._sink = None
            self._say(
                f"{self._name} takes no more figures ({_reason(error)}); metrics.jsonl has them all"
            )


def check_sinks(wanted: Mapping[str, object]) -> None:
    """Refuse, before a run begins, figures that could not be shown.

    Args:
        wanted: by package name, whether it is asked for.

    Raises:
        UserError: a package that is asked for is not installed, or W&B has no key here.
    """
    for package in PACKAGES:
        if wanted.get(package) and find_spec(package) is None:
            raise UserError(
                f"figures.{package}: the package {package} is not installed; "
                f"pip install 'arriero[{package}]', or leave the key out"
            )
    if wanted.get("wandb"):
        _check_wandb()


def _check_wandb() -> None:
    """Refuse what would make W&B ask for a key in the midst of a run."""
    wandb: Any = importlib.import_module("wandb")
    if wandb.setup().settings.mode in ("offline", "dryrun", "disabled"):
        return
    try:
        reason = "" if wandb.login(prompt=False) else "it has no key here"
    except Exception as error:  # whatever a foreign package raises
        reason = _reason(error)
    if reason:
        raise UserError(
            f"figures.wandb: W&B takes no figures ({reason}); "
            "`wandb login` gives it a key, WANDB_MODE=offline needs none"
        )


def open_sinks(
    folder: Path, start: int, say: Say, *, tensorboard: bool, wandb: str, trackio: str
) -> list[Sink]:
    """The sinks of a stage beside its metrics.jsonl.

    Args:
        folder: the stage's own folder.
        start: the step that comes next.
        say: prints one line.
        tensorboard: whether it gets event files.
        wandb, trackio: names of their projects; empty for none.
    """
    found: list[Sink] = []
    if tensorboard:
        found.append(Forgiving("TensorBoard", lambda: TensorBoard(folder, start), say))
    if wandb:
        found.append(Forgiving("W&B", lambda: WeightsAndBiases(folder, wandb), say))
    if trackio:
        found.append(Forgiving("trackio", lambda: Trackio(folder, trackio), say))
    return found


def rewind(path: Path, start: int) -> None:
    """Drop the lines of steps from `start` on: a resumed run writes them again."""
    if not path.exists():
        return
    kept: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] < start:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # the line that a kill cut in two
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(path)


def last_line(path: Path) -> Mapping[str, Any]:
    """The newest whole line of a metrics file; empty if there is none."""
    lines: Sequence[str] = path.read_text(encoding="utf-8").splitlines() if path.exists() else ()
    for line in reversed(lines):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return {}


def _reason(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _numbers(line: Line) -> dict[str, float]:
    return {
        name: value
        for name, value in line.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
