"""Answers from a vLLM server on this machine instead of our own engine.

The first rank alone asks it, and shares what it says. The weights go to it as a plain Hugging Face
folder. Its log-probabilities are compared with our own model's: they say whose weights answered.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import torch
from pydantic import AfterValidator

from arriero.alignment.rollouts import answer_logprobs, lay_out
from arriero.inference.generate import Completion, Interrupted, Sampling
from arriero.inference.loopback import loopback_address
from arriero.inference.vllm import VllmServer
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.lora import merged
from arriero.model.weights import load_language_model, save_language_model
from arriero.model.weights.hugging_face_config import config_from_hugging_face, read_config
from arriero.records import Prompt, Stopped, UserError
from arriero.stages.placement import gathered
from arriero.stages.sampling import Answer, Answering, ChatModel, as_answers, fitting
from arriero.stages.workspace import ALONE, Ranks, Workspace
from arriero.tokenizer.chat import encode_prompt
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.training.parallel import Precision
from arriero.training.stopping import StopRequest

PARTED = 0.3
"""Nats a token beyond which a server is taken to have other weights; bfloat16 makes some 0.01."""
_FEW_PROMPTS, _FEW_TOKENS = 4, 32
_Found = TypeVar("_Found")


def _checked(url: str) -> str:
    if url:
        loopback_address(url)
    return url


SamplerUrl = Annotated[str, AfterValidator(_checked)]
"""The address of a vLLM server on this machine, or "" for our own engine."""


@dataclass(frozen=True)
class Served:
    """A model in a server.

    Attributes:
        server: where it is; None on all ranks but the first.
        config: the model's shape.
    """

    server: VllmServer | None
    tokenizer: Tokenizer
    config: ModelConfig

    @classmethod
    def now(cls, policy: ChatModel, url: str, workspace: Workspace) -> Served:
        """A model as it is now, brought into the server; all ranks call it.

        Adapters are merged. The folder that the weights travel in goes once they are there.

        Raises:
            UserError: no such server, it holds a model of another shape, or does not take this one;
                the disk is full.
        """
        config, special = policy.model.config, policy.tokenizer.special
        model = gathered(policy.model, workspace)
        folder = workspace.folder / "sampler"

        def sync() -> VllmServer:
            assert model is not None  # on the first rank
            server = _of_shape(url, config)
            shutil.rmtree(folder, ignore_errors=True)  # a killed process may have left it
            try:
                save_language_model(merged(model), folder, special)
                server.load(folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return server

        return cls(_on_first(workspace.ranks, sync), policy.tokenizer, config)

    @classmethod
    def of_folder(
        cls, folder: Path, url: str, prompts: Sequence[Prompt], workspace: Workspace
    ) -> Served:
        """The chat model of a folder in the server; all ranks call it.

        Args:
            prompts: answers to a few of them are held against the folder's own model.

        Raises:
            UserError: as `now`, or the server answers as another model does.
        """
        tokenizer = load_tokenizer(folder)
        config = config_from_hugging_face(read_config(folder), folder)

        def sync() -> VllmServer:
            server = _of_shape(url, config)
            server.load(folder)
            few = [encode_prompt(tokenizer, prompt.messages) for prompt in prompts]
            few = [ids for ids in few if len(ids) + _FEW_TOKENS <= config.context][:_FEW_PROMPTS]
            sampling = Sampling(max_new_tokens=_FEW_TOKENS)
            samples = server.sample(few, sampling, seed=0, ends=tokenizer.special.ends)
            _refuse_other_vocabulary(samples, config.vocab_size, url)
            model = load_language_model(folder).to(workspace.device).eval()
            refuse_parted(_gap(model, few, [one for (one,) in samples]), url)
            return server

        return cls(_on_first(workspace.ranks, sync), tokenizer, config)

    def answers(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int,
        num_samples: int = 1,
        max_rows: int = 256,
        first_key: int = 0,
        ranks: Ranks = ALONE,
        stop: StopRequest | None = None,
    ) -> list[list[Answer]]:
        """As `ChatModel.answers`; the server decides how many it samples at once.

        Raises:
            Stopped: a rank was asked to stop.
            UserError: as `VllmServer.sample`.
        """
        encoded = [encode_prompt(self.tokenizer, prompt.messages) for prompt in prompts]
        is_unwanted = None if stop is None else lambda: stop.asked

        def ask() -> list[list[Completion]] | None:
            assert self.server is not None  # on the first rank
            try:
                found = self.server.sample(
                    encoded,
                    sampling,
                    seed=seed,
                    ends=self.tokenizer.special.ends,
                    keys=range(first_key, first_key + len(prompts)),
                    num_samples=num_samples,
                    max_rows=max_rows,
                    is_unwanted=is_unwanted,
                )
            except Interrupted:
                return None
            _refuse_other_vocabulary(found, self.config.vocab_size, self.server.http.url)
            return found

        found = ranks.agreed(_on_first(ranks, ask))
        # A signal may have reached another rank than the first, which alone breaks off.
        signal = ranks.most((stop and stop.signal) or 0)
        if found is None or signal:
            raise Stopped(signal)
        return as_answers(self.tokenizer, encoded, found)

    def fitting(self, prompts: Sequence[Prompt], num_new: int) -> list[Prompt]:
        """As `ChatModel.fitting`."""
        return fitting(self.tokenizer, self.config.context, prompts, num_new)


def sampled_from(
    policy: ChatModel, url: str, precision: Precision, workspace: Workspace
) -> Answering:
    """What answers as the policy is now: a whole copy of it, or a server that has its weights.

    All ranks call it. Let go of it before the policy learns on.

    Args:
        url: of the server; "" for none.
        precision: of the copy; a server has its own.
    """
    if url:
        return Served.now(policy, url, workspace)
    return policy.whole(workspace, precision)


def refuse_parted(gap: float, url: str) -> None:
    """Raise UserError where sampler and trainer are more nats a token apart than rounding makes."""
    if not gap <= PARTED:
        raise UserError(
            f"{url}: its log-probabilities are {gap:.2g} nats a token from those of our model: it "
            "answers from other weights, or not from the whole distribution; start the server again"
        )


def _of_shape(url: str, config: ModelConfig) -> VllmServer:
    """The server, which has to hold a model of that shape: it would not survive other weights."""
    server = VllmServer.connect(url)
    try:
        held = config_from_hugging_face(read_config(server.folder), server.folder)
    except UserError as error:
        raise UserError(
            f"{url}: its model is not to be read here ({error}); start vllm serve with the full "
            "path of a folder"
        ) from None
    shape, own = held.model_dump(), config.model_dump()
    for key in shape:
        if key != "context" and shape[key] != own[key]:
            raise UserError(
                f"{url}: serves {server.folder}, whose {key} is {shape[key]}, and not {own[key]}; "
                "start it with a folder of the same shape as the policy's"
            )
    return server


@torch.no_grad()
def _gap(model: LanguageModel, prompts: Sequence[list[int]], found: Sequence[Completion]) -> float:
    """Mean difference of log-probabilities, nats a token, of the sampler's and a model's own."""
    if not found:
        return 0.0
    rollouts = lay_out(prompts, found)
    own = answer_logprobs(model, rollouts, temperature=1.0).cpu()
    return float((own - rollouts.sampler_logprobs).abs().sum() / rollouts.lengths.sum())


def _on_first(ranks: Ranks, work: Callable[[], _Found]) -> _Found | None:
    """What the first rank alone finds, None on the others; its UserError is raised on all."""
    found, error = None, None
    if ranks.is_first:
        try:
            found = work()
        except UserError as raised:
            error = str(raised)
    error = ranks.agreed(error)
    if error is not None:
        # The process is about to end. A thread of gloo may still hold what was just shared, and
        # needs the interpreter once more to let go of it; without it PyTorch aborts.
        ranks.barrier()
        raise UserError(error)
    return found


def _refuse_other_vocabulary(
    found: Sequence[Sequence[Completion]], vocab_size: int, url: str
) -> None:
    if any(max(one.tokens, default=0) >= vocab_size for samples in found for one in samples):
        raise UserError(f"{url}: a token id of another vocabulary")
