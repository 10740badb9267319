"""The files at the top of the repository agree with one another."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import arriero

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(name: str) -> str:
    """The name under which the package index files a project."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return normal(match.group())


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {normal(name): version for name, version in pairs}


def test_version_is_the_same_everywhere() -> None:
    assert PROJECT["version"] == arriero.__version__
    assert f"\n## {arriero.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {arriero.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_constraints_and_makefile_name_the_same_torch() -> None:
    assert pins()["torch"] == "2.13.0"
    assert "TORCH ?= torch==2.13.0\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("group", ["base", *PROJECT["optional-dependencies"]])
def test_every_required_package_is_pinned(group: str) -> None:
    extras = {"base": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    required = {required_name(requirement) for requirement in extras[group]}
    assert required
    assert required - pins().keys() == set()


def test_pins_are_released_versions_without_a_local_part() -> None:
    odd = {n: v for n, v in pins().items() if not re.fullmatch(r"[0-9][0-9a-z.]*", v)}
    assert odd == {}


def test_license_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert text.split("\n", 2)[0].strip() == "Apache License"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_ignored_names_leave_the_package_whole() -> None:
    """The build leaves out what .gitignore names: `data/` there would cost `arriero.data`."""
    packages = [str(path.relative_to(ROOT)) for path in (ROOT / "src" / "arriero").glob("*/")]
    packages = [path for path in packages if not path.endswith("__pycache__")]
    answer = subprocess.run(
        ["git", "check-ignore", "--no-index", *packages],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert packages
    assert (answer.stdout.split(), answer.returncode) == ([], 1), answer.stderr


def test_continuous_integration_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("make test")
