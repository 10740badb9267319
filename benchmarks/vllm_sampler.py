"""PPO whose rollouts come from a real vLLM server, beside our own engine's on the same machine.

    python benchmarks/vllm_sampler.py prepare FOLDER         # models, a tokenizer, prompts
    VLLM_SERVER_DEV_MODE=1 vllm serve FOLDER/chat --host 127.0.0.1 --port 8000 \
        --skip-tokenizer-init --logprobs-mode processed_logprobs --dtype float32
    python benchmarks/vllm_sampler.py run FOLDER --url http://127.0.0.1:8000

vLLM lives in an environment of its own; it is not imported here. `run` asks for the same answers
twice, notes the gap between server and model before and after the model is changed and brought over
again, and goes through iterations of PPO with each sampler, from the same start: 64 prompts of 16
tokens, up to 32 new ones, four mini-batches. Printed are the gap in nats a token, the seconds of
sampling (bringing the weights over included), and figures that both have to share.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import ppo as models

RATE = 1e-4


def run(folder: Path, url: str, iterations: int) -> None:
    """All of it."""
    import torch

    from arriero.alignment.rollouts import answer_logprobs, lay_out
    from arriero.data.prompts import read_prompts
    from arriero.inference.generate import Sampling
    from arriero.stages.sampling import Answer, ChatModel
    from arriero.stages.served import Served
    from arriero.stages.workspace import Workspace

    prompts = list(read_prompts([folder / "prompts.jsonl"]))[: models.SAMPLES]
    chat = ChatModel.load(folder / "chat", torch.device("cpu"))

    @torch.no_grad()
    def gap(found: list[list[Answer]], temperature: float) -> str:
        flat = [answer for (answer,) in found]
        rollouts = lay_out([a.prompt_ids for a in flat], [a.completion for a in flat])
        own = answer_logprobs(chat.model, rollouts, temperature)
        apart = (own - rollouts.sampler_logprobs).abs()
        return (
            f"{float(apart.sum() / rollouts.lengths.sum()):.2g} (largest {float(apart.max()):.2g})"
        )

    with tempfile.TemporaryDirectory() as name:
        space = Workspace(Path(name), 0, torch.device("cpu"), lambda _: None)
        served = Served.now(chat, url, space)
        for temperature in (1.0, 0.7, 1.3):
            sampling = Sampling(temperature=temperature, max_new_tokens=models.NEW)
            found = served.answers(prompts, sampling, seed=0)
            again = served.answers(prompts, sampling, seed=0)
            same = sum(a.ids == b.ids for (a,), (b,) in zip(found, again, strict=True))
            print(
                f"temperature {temperature}: gap {gap(found, temperature)}, asked again "
                f"{same} of {len(found)} answers are the same"
            )
        with torch.no_grad():
            for parameter in chat.model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.003)
        stale = gap(served.answers(prompts, sampling, seed=1), 1.3)
        begin = time.perf_counter()
        served = Served.now(chat, url, space)
        seconds = time.perf_counter() - begin
        fresh = gap(served.answers(prompts, sampling, seed=1), 1.3)
        print(f"the model changed: gap {stale}; brought over in {seconds:.2f} s: gap {fresh}")
    for address in ("", url):
        lines = learned(folder, address, iterations)
        gaps = [line["sampler_gap"] for line in lines]
        last = lines[-1]
        print(
            f"PPO, {'vLLM' if address else 'our engine'}: gap {min(gaps):.2g} to {max(gaps):.2g}; "
            f"sampling {statistics.median(line['generation_s'] for line in lines):.2f} s of "
            f"{statistics.median(line['whole_s'] for line in lines):.2f} s; reward "
            f"{lines[0]['reward']:.3f} to {last['reward']:.3f}, KL {last['kl']:.3f}, length "
            f"{last['length']:.1f}, ratio of the first mini-batch off 1 by at most "
            f"{max(line['ratio_gap'] for line in lines):.2g}"
        )


def learned(folder: Path, url: str, iterations: int) -> list[dict[str, Any]]:
    """Figures of iterations of PPO from the start, with a server or without."""
    import torch

    from arriero.alignment.scoring import RewardModels
    from arriero.data.prompts import read_prompts
    from arriero.data.shards import row_order
    from arriero.stages.learner import full_learner
    from arriero.stages.placement import read_score_model
    from arriero.stages.ppo_config import PpoConfig
    from arriero.stages.ppo_iteration import iterate
    from arriero.stages.ppo_update import Guards
    from arriero.stages.sampling import ChatModel
    from arriero.stages.workspace import Workspace
    from arriero.training.optimizer import OptimizerConfig
    from arriero.training.stopping import StopRequest

    config = PpoConfig(
        samples=models.SAMPLES,
        mini_batch=models.MINI_BATCH,
        max_new_tokens=models.NEW,
        beta=models.BETA,
        critic_peak=RATE,
        sampler_url=url,
        optimizer=OptimizerConfig(peak=RATE, warmup_steps=0, final_share=1.0),
    )
    prompts = list(read_prompts([folder / "prompts.jsonl"]))
    rewards = (folder / "helpfulness", folder / "safety")
    with tempfile.TemporaryDirectory() as name:
        space = Workspace(Path(name), 0, torch.device("cpu"), lambda _: None)
        reference = ChatModel.spread(folder / "chat", space)
        reference.model.requires_grad_(False)
        judges = RewardModels.read(
            *rewards, reference.tokenizer, lambda f: read_score_model(f, space, "float32")
        )
        learner = full_learner(
            folder / "chat", rewards, "helpfulness", config.optimizer, RATE, space
        )
        guards, lines = Guards(config.optimizer.clip), list[dict[str, Any]]()
        for iteration in range(iterations):
            rows = row_order(len(prompts), models.SAMPLES, iteration, 0)
            batch = [prompts[row] for row in rows]
            begin = time.perf_counter()
            figures = iterate(
                config, learner, reference, judges, batch, iteration, space, guards, StopRequest()
            )
            lines.append(figures | {"whole_s": time.perf_counter() - begin})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["prepare", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--iterations", type=int, default=12)
    arguments = parser.parse_args()
    if arguments.what == "prepare":
        models.prepare(arguments.folder.resolve())
    else:
        run(arguments.folder.resolve(), arguments.url, arguments.iterations)


if __name__ == "__main__":
    main()
