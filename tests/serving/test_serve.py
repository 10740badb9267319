"""`arriero serve` in a process of its own: what it refuses, what it says, how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from arriero.cli import main
from arriero.model.heads import ScoreModel
from arriero.model.weights import save_language_model, save_score_model
from arriero.serving.app import served_name
from arriero.tokenizer import Tokenizer, load_tokenizer
from tests.serving.running import ENDLESS, Running, post, tiny_model, until


class Process:
    """A server under way; `line` is the first that it said."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process, self.line = process, line
        found = re.search(r"http://\S+:(\d+) ", line)
        assert found is not None, line
        self.port = int(found[1])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()


@contextlib.contextmanager
def served(folder: Path, *options: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "arriero.cli", "serve", str(folder), "--port", "0", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], 60)
        line = process.stdout.readline() if ready else ""
        assert line, process.stderr.read() if process.poll() is not None else "nothing said"
        found = Process(process, line)
        until(lambda: is_up(found), 20)
        yield found
    finally:
        process.kill()
        process.communicate()


def is_up(server: Process) -> bool:
    with contextlib.suppress(OSError):
        return server.get("/health")[0] == 200
    return False


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory, folder: Path, tokenizer: Tokenizer) -> Path:
    """A model whose answers hardly ever end."""
    path = tmp_path_factory.mktemp("endless")
    tokenizer.save(path, model_max_length=ENDLESS)
    model = tiny_model(tokenizer.vocab_size, ENDLESS)
    # The end's logit follows its own row of the output matrix alone: far below all others.
    model.lm_head.weight.data[tokenizer.eos_id] = 0
    model.lm_head.weight.data *= 20
    save_language_model(model, path, tokenizer.special)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_answers_finish_and_ends_with_0(folder: Path, number: int) -> None:
    with served(folder, "--name", "mine", "--max-rows", "2") as server:
        assert json.loads(server.get("/v1/models")[1])["data"][0]["id"] == "mine"
        waiting = [server.connect() for _ in range(6)]
        body = {"messages": [{"role": "user", "content": "the llama"}], "max_tokens": 200}
        for connection in waiting:
            connection.sendall(post({**body, "stream": True}))
        heads = [connection.recv(1 << 16) for connection in waiting]
        assert all(head.startswith(b"HTTP/1.1 200") for head in heads)
        server.process.send_signal(number)
        for connection, head in zip(waiting, heads, strict=True):
            rest = head
            while part := connection.recv(1 << 16):
                rest += part
            assert b"data: [DONE]" in rest, "an answer under way comes to its end"
            connection.close()
        assert server.process.wait(10) == 0
        _, errors = server.process.communicate()
        assert errors == ""


@pytest.mark.slow
def test_after_the_grace_what_goes_on_is_ended_and_told(endless: Path) -> None:
    with served(endless, "--grace", "1", "--max-rows", "1") as server:
        body = {"messages": [{"role": "user", "content": "the llama"}]}
        streamed, queued = server.connect(), server.connect()
        streamed.sendall(post({**body, "stream": True}))
        assert streamed.recv(100).startswith(b"HTTP/1.1 200")
        queued.sendall(post(body))
        until(lambda: json.loads(server.get("/health")[1])["waiting"] == 1, 5)
        idle = server.connect()
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 200")
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        texts: dict[str, bytes] = {}

        def read(name: str, connection: socket.socket) -> None:
            text = b""
            while part := connection.recv(1 << 16):
                text += part
            texts[name] = text

        readers = [
            threading.Thread(target=read, args=one)
            for one in (("streamed", streamed), ("queued", queued), ("idle", idle))
        ]
        for reader in readers:
            reader.start()
        assert server.process.wait(15) == 0
        assert 0.9 < time.monotonic() - began < 8
        for reader in readers:
            reader.join()
        assert b'"the server has stopped"' in texts["streamed"]
        assert b"[DONE]" not in texts["streamed"]
        assert texts["queued"].startswith(b"HTTP/1.1 503")
        with pytest.raises(OSError, match="refused"):
            server.connect()
        for connection in (streamed, queued, idle):
            connection.close()


@pytest.mark.slow
def test_checks_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    """Patterns, a check of one's own, and a reward model that finds everything unsafe."""
    tokenizer = load_tokenizer(folder)
    safety = tmp_path / "safety"
    model = ScoreModel.from_language_model(tiny_model(tokenizer.vocab_size), seed=0)
    save_score_model(model, safety, tokenizer.special)
    tokenizer.save(safety, model_max_length=256)
    (tmp_path / "patterns").write_text("salt\n")
    (folder / "my_check.py").write_text(
        "def check(messages, answer): return 'Mine.' if 'wool' in messages[-1].content else None\n"
    )
    options = ["--refuse-patterns", str(tmp_path / "patterns"), "--check", "my_check:check"]
    with served(
        folder, *options, "--safety-model", str(safety), "--safety-threshold", "0.999999"
    ) as server:
        said = {word: ask(server, word) for word in ("salt", "wool", "river")}
        assert said["wool"] == ("Mine.", "content_filter")
        assert said["salt"][1] == said["river"][1] == "content_filter"
        assert said["salt"][0] == said["river"][0] == "I can't help with that."
    with served(
        folder, *options, "--safety-model", str(safety), "--safety-threshold", "1e-9"
    ) as server:
        assert ask(server, "river")[1] in ("stop", "length")


def ask(server: Process, text: str) -> tuple[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 5}
        headers = {"content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        choice = json.loads(connection.getresponse().read())["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["serve", *options]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_what_is_refused_before_a_port_is_open(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ARRIERO_API_KEY", raising=False)
    model = str(folder)
    said = refused(capsys, model, "--host", "0.0.0.0")
    assert "0.0.0.0 is open to other machines and needs a key" in said
    assert "visible ASCII" in refused(capsys, model, "--api-key", "")
    assert "no port" in refused(capsys, model, "--port", "70000")
    free = [model, "--port", "0"]
    assert "--max-rows 0" in refused(capsys, *free, "--max-rows", "0")
    assert "--max-queue" in refused(capsys, *free, "--max-queue", "-1")
    assert "--context 1" in refused(capsys, *free, "--context", "1")
    assert "--device tpu" in refused(capsys, *free, "--device", "tpu")
    assert "--max-rows" in refused(capsys, *free, "--max-rows", "2000000000")
    assert "no_such:check" in refused(capsys, *free, "--check", "no_such:check")
    assert "nowhere" in refused(capsys, *free, "--refuse-patterns", str(tmp_path / "nowhere"))
    assert "nowhere" in refused(capsys, str(tmp_path / "nowhere"), "--port", "0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(capsys, model, "--port", port)
        assert f"cannot listen on 127.0.0.1 port {port}" in said


@pytest.mark.slow
def test_without_the_extra_one_line_says_what_to_install(folder: Path) -> None:
    program = (
        "import sys; sys.modules['uvicorn'] = sys.modules['starlette'] = None\n"
        f"from arriero.cli import main; sys.exit(main(['serve', {str(folder)!r}, '--port', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "arriero: this needs more packages: pip install 'arriero[serving]'\n"


def test_the_name_of_a_model() -> None:
    assert served_name(Path("runs/tiny/08-ppo-v1/model")) == "08-ppo-v1"
    assert served_name(Path("models/llama-7b")) == "llama-7b"
    assert served_name(Path("/model")) == served_name(Path("/")) == "model"


def test_the_page_is_served_and_asks_nothing_of_others(server: Running) -> None:
    index = server.ask("GET", "/")
    assert index.status == 200
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    rules = index.headers["content-security-policy"]
    assert "default-src 'self'" in rules
    assert "unsafe" not in rules
    assert index.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in index.text, "a strict policy runs nothing inline"
    named = re.findall(r'(?:src|href)="([^"#]+)"', index.text)
    assert named
    for path in named:
        assert server.ask("GET", f"/{path}").status == 200
    again = server.ask("GET", "/", headers={"if-none-match": index.headers["etag"]})
    assert (again.status, again.text) == (304, "")
    assert server.ask("HEAD", "/").status == 200
    assert server.ask("GET", "/..%2fapp.py").status == 404
