"""`arriero serve`: one process, one model, one port."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import torch
import uvicorn

from arriero.inference.engine import Engine
from arriero.inference.native.layout import Weights
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model
from arriero.records import UserError
from arriero.serving.app import Service
from arriero.serving.guards import check_address
from arriero.tokenizer import Tokenizer, load_tokenizer

_BACKLOG = 1024
# After the last answer was ended by force: the time to say so to the clients.
_LAST_WORDS_SECONDS = 2


def open_socket(host: str, port: int, api_key: str | None) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        UserError: the address is open to others and there is no key, or it cannot be had.
    """
    check_address(host, api_key)
    if not 0 <= port < 2**16:
        raise UserError(f"--port {port} is no port: name one from 0 to 65535")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host} port {port} ({error.strerror}): name another"
        ) from None


def open_engine(
    folder: Path,
    *,
    max_rows: int,
    context: int | None,
    dtype: Weights | None,
    device: str | None,
) -> tuple[Engine, Tokenizer]:
    """The engine and the tokenizer of a model folder.

    Args:
        max_rows: sequences that are computed together.
        context: longest sequence in tokens; the model's own if left out.
        dtype: type of the weights; the folder's if left out.
        device: `cpu` or a GPU such as `cuda:0`; a GPU, if there is one, if left out.

    Raises:
        UserError: the folder holds no such model, its tokenizer is another model's, there is no
            such device, or the cache for so many long sequences is more than the machine has.
    """
    if max_rows < 1:
        raise UserError(f"--max-rows {max_rows}: at least one sequence has to be computed")
    if context is not None and context < 2:
        raise UserError(f"--context {context}: a prompt and an answer have two tokens at least")
    has_gpu = torch.cuda.is_available()
    device = device or ("cuda" if has_gpu else "cpu")
    is_cpu = device == "cpu"
    if not is_cpu and not (has_gpu and device.partition(":")[0] == "cuda"):
        raise UserError(f"--device {device}: not on this machine; name cpu, or cuda with a GPU")
    if dtype == "int8" and not is_cpu:
        raise UserError("int8 weights are for the CPU: leave --dtype out, or name bfloat16")
    wanted = None if dtype is None or is_cpu else getattr(torch, dtype)
    model = load_language_model(folder, dtype=wanted).to(device).eval()
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, "
            f"the model {model.config.vocab_size}"
        )
    num_slots = min(context or model.config.context, model.config.context)
    _check_memory(model, max_rows, num_slots)
    engine = Engine(
        model,
        ends=tokenizer.special.ends,
        max_rows=max_rows,
        num_slots=num_slots,
        weights=dtype if is_cpu else None,
    )
    return engine, tokenizer


def _check_memory(model: LanguageModel, max_rows: int, num_slots: int) -> None:
    """Raise UserError where the keys and values of all rows cannot lie in memory."""
    config, weight = model.config, model.lm_head.weight
    width = 4 if weight.is_cpu else weight.element_size()
    of_row = 2 * config.num_layers * config.num_kv_heads * config.head_dim * num_slots * width
    free = _free_memory() if weight.is_cpu else torch.cuda.mem_get_info(weight.device)[0]
    if free is not None and max_rows * of_row > free:
        fitting = int(0.9 * free / of_row)
        raise UserError(
            f"{max_rows} sequences of {num_slots} tokens take {max_rows * of_row / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free: "
            + (f"--max-rows {fitting} fits" if fitting else "give a smaller --context")
        )


def _free_memory() -> int | None:
    """Bytes that programs can have, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((1024 * int(kilobytes) for kilobytes in found), None)


def serve(
    service: Service, listener: socket.socket, grace: float, say: Callable[[str], None]
) -> None:
    """Answer until SIGTERM or Ctrl-C; a second one ends at once.

    Then no request is taken, those under way get `grace` seconds, and what is left ends with an
    error that says so.
    """
    config = uvicorn.Config(
        service.app,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=int(grace) + _LAST_WORDS_SECONDS,
        timeout_keep_alive=30,
        ws="none",
    )
    server = uvicorn.Server(config)
    # Its own handling of signals would end the process by the signal, not with exit code 0.
    server.capture_signals = contextlib.nullcontext  # pyright: ignore[reportAttributeAccessIssue]

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if server.should_exit:
                server.force_exit = True
                service.end_all()
                return
            num_open = service.num_open
            answers = f", {num_open} answers under way get {grace:g} s" if num_open else ""
            say(f"stopping{answers}")
            service.stop()
            server.should_exit = True
            loop.call_later(grace, service.end_all)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        await server.serve(sockets=[listener])

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())
