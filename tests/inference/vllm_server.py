"""A server that speaks as vLLM 0.32 does, with our own engine behind it.

What it answers with is sampled from the weights that it was told to load, so ids and
log-probabilities are true ones. A seed of a request gives what our engine gives the same sample, so
that a stage has to get the same answers from it as from its own engine. The answers' fields, the
status codes and the order of events were noted from a real server.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from arriero.inference import request as requests
from arriero.inference.generate import Sampling, generate
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model

INVERSE = pow(0x9E3779B97F4A7C15, -1, 2**63)
Reply = tuple[int, Any]


class StandIn:
    """What the server knows and does; a test changes what it likes.

    Attributes:
        mode: its `--logprobs-mode`.
        context: its `--max-model-len`.
        is_dev: whether it has the routes of VLLM_SERVER_DEV_MODE.
        loads: folders that it was told to load.
        asked: bodies of requests for completions.
        seconds: delay of a completion.
        change: what becomes of a completion's answer, in place.
        replies: answers to a path instead of the ordinary ones.
        keeps_weights: says that it loaded, and did not.
        on_completion: is called as each request for one comes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model: LanguageModel = load_language_model(folder).eval()
        self.mode, self.context, self.is_dev = "processed_logprobs", self.model.config.context, True
        self.loads: list[Path] = []
        self.asked: list[dict[str, Any]] = []
        self.resets, self.seconds = 0, 0.0
        self.change: Callable[[dict[str, Any]], Any] = lambda reply: reply
        self.replies: dict[str, Reply] = {}
        self.keeps_weights = False
        self.on_completion: Callable[[], Any] = lambda: None
        self.closing = threading.Event()
        self.url = ""
        self._lock = threading.Lock()

    def reply(self, path: str, body: Any) -> Reply:
        path = path.partition("?")[0]
        if path in self.replies:
            return self.replies[path]
        if path == "/v1/models":
            model = {"id": "it", "root": str(self.folder), "max_model_len": self.context}
            return 200, {"object": "list", "data": [model]}
        if path == "/v1/completions":
            return self._complete(body)
        if not self.is_dev:
            return 404, {"detail": "Not Found"}
        if path == "/server_info":
            return 200, {"vllm_config": {"model_config": {"logprobs_mode": self.mode}}}
        if path == "/collective_rpc":
            assert body["method"] == "reload_weights"
            folder = Path(body["kwargs"]["weights_path"])
            self.loads.append(folder)
            if not self.keeps_weights:
                self.model = load_language_model(folder).eval()
            return 200, {"results": [None]}
        if path == "/reset_prefix_cache":
            self.resets += 1
            return 200, {"success": True}
        return 404, {"detail": "Not Found"}

    def _complete(self, body: dict[str, Any]) -> Reply:
        with self._lock:
            self.asked.append(body)
        self.on_completion()
        if self.closing.wait(self.seconds):
            return 500, {"error": {"message": "closing"}}
        ends = body["stop_token_ids"]
        sampling = Sampling(
            temperature=body["temperature"],
            top_p=body["top_p"],
            top_k=body["top_k"],
            max_new_tokens=body["max_tokens"],
        )
        seed = body["seed"] * INVERSE % 2**63
        assert requests.sample_seed(seed, 0, 0) == body["seed"]
        with self._lock:  # one engine at a time, with the weights as they are
            ((found,),) = generate(
                self.model, [body["prompt"]], sampling, seed=seed, ends=ends, keys=[0]
            )
        names = [f"token_id:{token}" for token in found.tokens]
        choice = {
            "index": 0,
            "text": "",
            "finish_reason": "stop" if found.ended else "length",
            "stop_reason": found.tokens[-1] if found.ended else None,
            "logprobs": {"tokens": names, "token_logprobs": found.logprobs},
            "token_ids": found.tokens,
            "prompt_token_ids": body["prompt"],
        }
        reply = {"object": "text_completion", "model": body["model"], "choices": [choice]}
        changed = self.change(reply)
        return 200, reply if changed is None else changed


@contextmanager
def standing_in(folder: Path) -> Iterator[StandIn]:
    """Such a server on a free port, started on a model folder."""
    stand_in = StandIn(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            self._answer(json.loads(raw))

        def _answer(self, body: Any) -> None:
            status, reply = stand_in.reply(self.path, body)
            raw = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            try:
                self.send_response(status)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
            except OSError:
                pass  # whoever asked is gone

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 2048  # uvicorn's

    server = Server(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # pyright: ignore[reportAttributeAccessIssue]
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        stand_in.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def nobody() -> str:
    """An address where nobody is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_address[1]}"
