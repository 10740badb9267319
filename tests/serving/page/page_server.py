"""`arriero serve` in a process of its own, to be killed and started again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType

KEY = "the-key-of-a-test"
_PATIENCE_SECONDS = 60.0


class PageServer:
    """A server of the model in `folder`, on a free port of this machine."""

    def __init__(self, folder: Path, *options: str, api_key: str | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}/"
        self._command = [
            sys.executable, "-m", "arriero.cli", "serve", str(folder), "--port", port, *options,
        ]  # fmt: skip
        self._environment = {**os.environ, **({"ARRIERO_API_KEY": api_key} if api_key else {})}
        self._log = folder / "server.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log
            )
        began = time.monotonic()
        while self._process.poll() is None and time.monotonic() - began < _PATIENCE_SECONDS:
            try:
                self._health()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"no server:\n{self._log.read_text()}")

    def kill(self) -> None:
        """As if the machine had failed."""
        self._process.kill()
        self._process.wait()

    def wait_until_idle(self) -> None:
        """Wait until no answer is under way."""
        began = time.monotonic()
        while self._health()["active"]:
            assert time.monotonic() - began < 2, "an answer that nobody reads goes on"
            time.sleep(0.05)

    def _health(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}health", timeout=5) as response:
            return json.load(response)

    def __enter__(self) -> PageServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
