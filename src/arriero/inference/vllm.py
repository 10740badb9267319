"""A vLLM server on this machine as a sampler: token ids in, token ids and log-probabilities out.

vLLM is never imported, since it pins a torch of its own: `vllm serve FOLDER` is another process,
started by whoever wants it, with VLLM_SERVER_DEV_MODE=1 (without it weights cannot be loaded again)
and `--logprobs-mode processed_logprobs` (without it log-probabilities are those at temperature 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from arriero.inference.generate import Interrupted
from arriero.inference.loopback import Loopback, Refusal
from arriero.inference.request import Completion, Sampling, sample_seed
from arriero.records import UserError

_MODE = "processed_logprobs"
_SOON_S = 60.0
_LOOKS_EVERY_S = 0.1


@dataclass(frozen=True)
class VllmServer:
    """A server that answered, as it was started.

    Attributes:
        name: what it calls its model.
        folder: the folder that it was started on; its weights may be others by now.
        context: the longest sequence in tokens.
    """

    http: Loopback
    name: str
    folder: Path
    context: int

    @classmethod
    def connect(cls, url: str, timeout: float = Loopback.timeout) -> VllmServer:
        """Ask a server what it is.

        Raises:
            UserError: nobody is there, it is no vLLM, or it was not started as PPO needs it.
        """
        http, quick = Loopback(url, timeout), Loopback(url, min(timeout, _SOON_S))
        models = quick.ask("/v1/models")
        try:
            model = models["data"][0]
            server = cls(http, str(model["id"]), Path(model["root"]), int(model["max_model_len"]))
        except (LookupError, TypeError, ValueError):
            raise UserError(
                f"{url}: names no model as vLLM does{_because(models)}; start `vllm serve FOLDER`"
            ) from None
        info = quick.ask("/server_info?config_format=json")
        if isinstance(info, Refusal):
            server._refuse_mode(info)
        try:
            mode = info["vllm_config"]["model_config"]["logprobs_mode"]
        except (LookupError, TypeError):
            raise UserError(
                f"{url}: does not say what its log-probabilities are; a newer vLLM does"
            ) from None
        if mode != _MODE:
            raise UserError(
                f"{url}: its log-probabilities are {mode}; start vllm serve with "
                f"--logprobs-mode {_MODE}"
            )
        return server

    def load(self, folder: Path) -> None:
        """Have it take the weights of another folder of the same shape.

        vLLM does not survive weights that do not fit: compare shapes before.

        Raises:
            UserError: it cannot load weights again, or did not.
        """
        url = self.http.url
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(folder.resolve())}}
        loaded = self.http.ask("/collective_rpc", body)
        if isinstance(loaded, Refusal):
            if loaded.status in (404, 405):
                self._refuse_mode(loaded)
            raise UserError(
                f"{url}: could not load {folder}{_because(loaded)}; start the server again"
            )
        # What it keeps of prompts was computed with the weights before.
        emptied = self.http.ask("/reset_prefix_cache", {})
        if isinstance(emptied, Refusal) or (
            isinstance(emptied, dict) and not emptied.get("success", True)
        ):
            raise UserError(
                f"{url}: keeps what it computed with the weights before{_because(emptied)}; is "
                "somebody else asking it?"
            )

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        seed: int,
        ends: Sequence[int],
        keys: Sequence[int] | None = None,
        num_samples: int = 1,
        max_rows: int = 256,
        is_unwanted: Callable[[], bool] | None = None,
    ) -> list[list[Completion]]:
        """Sample `num_samples` continuations of each prompt; the arguments are those of `generate`.

        Every sample is a request of its own with a seed of its own: samples of one request that
        differ in nothing but their prompt would share their random numbers. The seed fixes the
        random numbers and not the last bits of a distribution, which depend on what the server
        computes at the same time.

        Raises:
            UserError: the server is gone or silent, or its answer is not what was asked for.
            Interrupted: the samples are unwanted.
        """
        longest = max(map(len, prompts), default=0) + sampling.max_new_tokens
        if longest > self.context:
            raise UserError(
                f"{self.http.url}: takes {self.context} tokens, prompt and answer have up to "
                f"{longest}; start vllm serve with --max-model-len {longest}"
            )
        keys = range(len(prompts)) if keys is None else keys
        tasks = [
            (prompt, sample_seed(seed, key, sample))
            for prompt, key in zip(prompts, keys, strict=True)
            for sample in range(num_samples)
        ]
        if not tasks:
            return []
        with ThreadPoolExecutor(min(max_rows, len(tasks))) as pool:
            futures = [pool.submit(self._one, *task, sampling, ends) for task in tasks]
            try:
                _all_done(futures, is_unwanted)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.http.break_off()  # the server gives up what nobody waits for
                raise
        flat = [future.result() for future in futures]
        return [flat[at : at + num_samples] for at in range(0, len(flat), num_samples)]

    def _one(
        self, prompt: Sequence[int], seed: int, sampling: Sampling, ends: Sequence[int]
    ) -> Completion:
        # All that the folder's generation_config.json could change is said.
        body = {
            "model": self.name,
            "prompt": list(prompt),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": 0.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "repetition_penalty": 1.0,
            "seed": seed,
            "ignore_eos": True,  # the ends are ours alone
            "stop_token_ids": [*ends, *sampling.stop_ids],
            "logprobs": 0,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "add_special_tokens": False,
        }
        reply = self.http.ask("/v1/completions", body)
        if isinstance(reply, Refusal):
            raise UserError(f"{self.http.url}: HTTP {reply.status}{_because(reply)}")
        try:
            return read_completion(reply, prompt, sampling, ends)
        except ValueError as error:
            raise UserError(f"{self.http.url}: {error}") from None

    def _refuse_mode(self, refusal: Refusal) -> NoReturn:
        raise UserError(
            f"{self.http.url}: HTTP {refusal.status}: weights cannot be loaded into it; start "
            "vllm serve with VLLM_SERVER_DEV_MODE=1"
        )


def read_completion(
    reply: Any, prompt: Sequence[int], sampling: Sampling, ends: Sequence[int]
) -> Completion:
    """The one completion in an answer of /v1/completions.

    Raises:
        ValueError: the answer is not what was asked for; says in what.
    """
    try:
        (choice,) = reply["choices"]
        reason = choice["finish_reason"]
        tokens, given = choice.get("token_ids"), choice.get("logprobs")
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ValueError("the answer holds no completion") from None
    if not _are(int, tokens) or not tokens or min(tokens) < 0:
        raise ValueError("the answer holds no token ids; a newer vLLM returns them")
    if choice.get("prompt_token_ids") not in (None, list(prompt)):
        raise ValueError("the answer is to another prompt than was sent")
    logprobs: Any = given.get("token_logprobs") if isinstance(given, dict) else None
    num = len(logprobs) if isinstance(logprobs, list) else 0
    if num != len(tokens) or not _are((int, float), logprobs):
        raise ValueError(f"the answer has {len(tokens)} token ids and {num} log-probabilities")
    if not all(math.isfinite(logprob) and logprob <= 1e-3 for logprob in logprobs):
        raise ValueError("the answer holds something that is no log-probability")
    if len(tokens) > sampling.max_new_tokens:
        raise ValueError(f"{len(tokens)} tokens, {sampling.max_new_tokens} were asked for")
    stops = {*ends, *sampling.stop_ids}
    if stops.intersection(tokens[:-1]) or (reason == "stop" and tokens[-1] not in stops):
        raise ValueError("the answer does not end where it was told to")
    if reason not in ("stop", "length"):
        raise ValueError(f"the answer was ended by {reason!r}")
    if tokens[-1] not in stops and len(tokens) < sampling.max_new_tokens:
        raise ValueError(f"cut off after {len(tokens)} of {sampling.max_new_tokens} tokens")
    return Completion(tokens, [float(logprob) for logprob in logprobs], tokens[-1] in set(ends))


def _all_done(
    futures: Sequence[Future[Completion]], is_unwanted: Callable[[], bool] | None
) -> None:
    """Wait for all; the first error of any is raised at once."""
    waiting = set(futures)
    while waiting:
        if is_unwanted is not None and is_unwanted():
            raise Interrupted
        done, waiting = wait(waiting, timeout=_LOOKS_EVERY_S, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()


def _are(kind: type | tuple[type, ...], values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, kind) and not isinstance(value, bool) for value in values
    )


def _because(reply: Any) -> str:
    return f" ({reply.said})" if isinstance(reply, Refusal) and reply.said else ""
