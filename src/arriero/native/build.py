"""Compiles the C++ beside this file and keeps the result in the user's cache.

No build step at installation: the first use takes some seconds where there is a C++ compiler, and
where there is none everything runs in PyTorch instead, two to six times slower.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent
_SOURCES = (
    "forward.cpp",
    "draw.cpp",
    "attention.cpp",
    "pointwise.cpp",
    "logprobs.cpp",
    "shingles.cpp",
    "suffixes.cpp",
)
_COMMON = ("-std=c++17", "-O3", "-shared", "-fPIC", "-pthread", "-fno-math-errno")
# The first that compiles: for this processor, as either family of compilers says it, or for any;
# without OpenMP, which shares PyTorch's threads, a training step has one thread beside products.
_FLAGS = tuple(
    (*processor, *threads)
    for threads in (("-fopenmp",), ())
    for processor in (("-march=native",), ("-mcpu=native",), ())
)
# A starved machine is slow, and without what is compiled all is slower.
_LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Native:
    """What became of the compilation: `library`, or None and the reason in `why`."""

    library: ctypes.CDLL | None
    why: str


@functools.cache
def native() -> Native:
    """The compiled step, built now if it has to be. ARRIERO_NATIVE=0 turns it off."""
    if os.environ.get("ARRIERO_NATIVE") == "0":
        return Native(None, "turned off by ARRIERO_NATIVE=0")
    compiler = _compiler()
    if compiler is None:
        return Native(None, "no C++ compiler (c++, g++ or clang++) on the path")
    try:
        cached = _cache_folder() / f"native-{_key(compiler)}.so"
    except (OSError, subprocess.TimeoutExpired) as error:
        return Native(None, f"{compiler} does not answer: {error}")
    if not cached.is_file():
        reason = _compile(compiler, cached)
        if reason is not None:
            return Native(None, reason)
    try:
        return Native(ctypes.CDLL(str(cached)), f"compiled with {compiler}, kept as {cached}")
    except OSError as error:
        return Native(None, f"{cached} does not load ({error}); remove it")


def _compiler() -> str | None:
    named = os.environ.get("CXX")
    found = (shutil.which(name) for name in ([named] if named else ["c++", "g++", "clang++"]))
    return next((path for path in found if path), None)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "arriero"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass  # no home, or one that nothing can be written to
    return Path(tempfile.mkdtemp(prefix="arriero-"))


def _key(compiler: str) -> str:
    """Changes with the sources, the compiler and the processor, which `native` code depends on."""
    digest = hashlib.sha256()
    for name in sorted(path.name for path in _FOLDER.iterdir() if path.suffix in (".cpp", ".h")):
        digest.update((_FOLDER / name).read_bytes())
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=_LIMIT_S)
    digest.update(version.stdout + repr((_COMMON, _FLAGS, _processor())).encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kept = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(kept)}))


def _compile(compiler: str, target: Path) -> str | None:
    """Write `target` whole or not at all; the reason where no set of flags compiles."""
    complaint = ""
    for flags in _FLAGS:
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".so")
        os.close(handle)
        draft = Path(name)
        command = [compiler, *_COMMON, *flags, *(str(_FOLDER / name) for name in _SOURCES)]
        try:
            done = subprocess.run(
                [*command, "-o", str(draft)], capture_output=True, timeout=_LIMIT_S
            )
            if done.returncode == 0:
                draft.replace(target)
                return None
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            complaint = lines[0] if lines else f"exit code {done.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            complaint = str(error)
        finally:
            draft.unlink(missing_ok=True)
    return f"{compiler} did not compile it: {complaint}"
