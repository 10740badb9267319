"""Compilation: once, whole, and without it everything still works and says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = (
    "from arriero.native.build import native;"
    "built = native(); print(built.library is not None); print(built.why)"
)


def show(environment: dict[str, str]) -> tuple[bool, str]:
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    built, why = done.stdout.splitlines()
    return built == "True", why


@pytest.mark.slow
def test_it_is_compiled_once_and_kept(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    assert show(environment)[0]
    (kept,) = (tmp_path / "arriero").iterdir()
    before = kept.stat().st_mtime_ns
    assert show(environment)[0]
    assert [path.stat().st_mtime_ns for path in (tmp_path / "arriero").iterdir()] == [before]


@pytest.mark.slow
def test_many_at_once_leave_one_whole_library(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", SHOW], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [process.communicate()[0].decode() for process in running]
    assert all(output.startswith("True") for output in outputs)
    assert len(list((tmp_path / "arriero").iterdir())) == 1


def test_without_a_compiler(tmp_path: Path) -> None:
    built, why = show({"PATH": str(tmp_path), "CXX": "", "XDG_CACHE_HOME": str(tmp_path)})
    assert not built
    assert "no C++ compiler" in why


def test_a_compiler_that_fails_is_named(tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'out of luck' >&2\nexit 1\n")
    compiler.chmod(0o755)
    built, why = show({"CXX": str(compiler), "XDG_CACHE_HOME": str(tmp_path)})
    assert not built
    assert "out of luck" in why
    assert list((tmp_path / "arriero").iterdir()) == [], "nothing half-written stays"


def test_a_compiler_that_cannot_be_run(tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/no/such/interpreter\n")
    compiler.chmod(0o755)
    built, why = show({"CXX": str(compiler), "XDG_CACHE_HOME": str(tmp_path)})
    assert not built
    assert "does not answer" in why


def test_turned_off() -> None:
    built, why = show({"ARRIERO_NATIVE": "0"})
    assert not built
    assert "ARRIERO_NATIVE" in why


@pytest.mark.slow
def test_a_home_that_cannot_be_written_to(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert show({"XDG_CACHE_HOME": str(blocked)})[0]
