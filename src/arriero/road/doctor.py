"""What this machine can do, in a few lines: `arriero doctor`."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.util import find_spec
from pathlib import Path

import torch

from arriero._version import __version__
from arriero.native.build import native
from arriero.road.forecast import forecast
from arriero.road.recipe import load_recipe

_EXTRAS = {
    "transformers": "evaluation",
    "pyarrow": "corpus",
    "starlette": "serving",
    "gguf": "gguf",
}


def examine() -> list[str]:
    """Lines about versions, cores, memory, disk, accelerators, compiler and the time of `tiny`."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    missing = [
        f"{name} (arriero[{extra}])" for name, extra in _EXTRAS.items() if not find_spec(name)
    ]
    expected = forecast(load_recipe("tiny"))
    built = native()
    decoding = "yes" if built.library else "no, sampling takes two to six times as long"
    return [
        f"arriero {__version__}, Python {platform.python_version()}, PyTorch {torch.__version__}",
        f"{os.cpu_count()} CPU cores, {_memory()}, {free:.0f} GB of disk free here",
        f"accelerators: {', '.join(gpus) or 'none; everything runs on the CPU'}",
        f"compiled decoding: {decoding} ({built.why})",
        f"optional parts not installed: {', '.join(missing) or 'none'}",
        f"`arriero run tiny` would take about {expected.minutes:.0f} min here",
    ]


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        return "memory unknown"
    return f"{total:.0f} GB of memory"
