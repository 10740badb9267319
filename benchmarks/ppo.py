"""An iteration of PPO beside TRL's PPOTrainer: the same model, prompts and steps, on one machine.

    python benchmarks/ppo.py --repeats 15

An iteration samples an answer to each of 64 prompts of 16 tokens, 32 new tokens each, scores them,
and takes one gradient step on each of four mini-batches, all in float32. Ours scores with two
reward models, as the paper does; TRL has room for one, and `one judge` is ours with as many. The
peers end no answer early, so that all are of the same length.

Every peer lives in a process of its own and goes through an iteration whenever it is told to, in
turns, so that a slow minute meets all of them; `+` keeps glibc from giving memory back, which is
the kinder setting for a peer that frees much; `bfloat16` is ours with rollouts in that type. What
is printed are samples a second of whole iterations (medians), their ratios, ours by part, and the
gap between the log-probabilities of sampler and trainer. TRL 1.12 is the last with a PPOTrainer;
it and datasets are to be installed for it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SHAPE = {"vocab_size": 2048, "dim": 128, "num_layers": 4, "num_heads": 4, "num_kv_heads": 4}
FFN_DIM, CONTEXT = 352, 256
SAMPLES, MINI_BATCH = 64, 16
PROMPTS = 16 * SAMPLES
PROMPT, NEW = 16, 32  # tokens
RATE, BETA = 1e-5, 0.05
NEVER = 1_000_000
KEEPS_PAGES = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
PARTS = ("generation_s", "scoring_s", "forward_s", "update_s", "sampler_gap")
Wait = Callable[[dict[str, float]], None]


def prepare(folder: Path) -> None:
    """A tokenizer of the embedded world, models with drawn weights, prompts of one length."""
    from arriero.data.writing import write_prompts
    from arriero.model.config import ModelConfig
    from arriero.model.heads import LanguageModel, ScoreModel
    from arriero.model.weights import save_language_model, save_score_model
    from arriero.records import Message, Prompt
    from arriero.tokenizer import load_tokenizer, train_tokenizer
    from arriero.tokenizer.chat import encode_prompt
    from arriero.world import World

    world = World(0)
    texts = (document.text for document in world.documents(2000))
    train_tokenizer(texts, folder / "chat", SHAPE["vocab_size"])
    tokenizer = load_tokenizer(folder / "chat")
    config = ModelConfig(**SHAPE, ffn_dim=FFN_DIM, context=CONTEXT)
    save_language_model(LanguageModel.fresh(config, 0), folder / "chat", tokenizer.special)
    for seed, name in enumerate(("helpfulness", "safety", "value"), 1):
        judge = ScoreModel.from_language_model(LanguageModel.fresh(config, seed), seed)
        save_score_model(judge, folder / name, tokenizer.special)
        tokenizer.save(folder / name, model_max_length=CONTEXT)
    words = [
        word
        for prompt in world.prompts("ppo", "ordinary", 200)
        for word in prompt.messages[-1].content.split()
    ]
    draw, kept = random.Random(0), dict[tuple[int, ...], Prompt]()
    while len(kept) < PROMPTS:
        message = Message("user", " ".join(draw.choices(words, k=draw.randint(2, 6))))
        ids = tuple(encode_prompt(tokenizer, [message]))
        if len(ids) == PROMPT:
            kept[ids] = Prompt(str(len(kept)), (message,))
    write_prompts(folder / "prompts.jsonl", kept.values())
    (folder / "ids.json").write_text(json.dumps(list(kept)), encoding="utf-8")


def ours(
    folder: Path, wait: Wait, *, precision: Any = "float32", has_two_judges: bool = True
) -> None:
    """The stage's own iteration."""
    import torch

    from arriero.alignment.scoring import CompositeScores, RewardModels, score_sequences
    from arriero.data.prompts import read_prompts
    from arriero.data.shards import row_order
    from arriero.stages import sampling
    from arriero.stages.learner import full_learner
    from arriero.stages.placement import read_score_model
    from arriero.stages.ppo_config import PpoConfig
    from arriero.stages.ppo_iteration import iterate
    from arriero.stages.ppo_update import Guards
    from arriero.stages.sampling import ChatModel
    from arriero.stages.workspace import ALONE, Workspace
    from arriero.training.optimizer import OptimizerConfig
    from arriero.training.pages import keep_pages
    from arriero.training.stopping import StopRequest

    class OneJudge(RewardModels):
        def score(self, sequences: Any, _: Any, shares: Any = ALONE) -> Any:
            scores = score_sequences(self.helpfulness, sequences, shares)
            return CompositeScores(scores, scores, scores)

    keep_pages()  # as the stage does
    sampling.generate = partial(_endless, sampling.generate)
    config = PpoConfig(
        samples=SAMPLES,
        mini_batch=MINI_BATCH,
        max_new_tokens=NEW,
        beta=BETA,
        **(
            {"rollout_precision": precision}
            if "rollout_precision" in PpoConfig.model_fields
            else {}
        ),
        critic_peak=RATE,
        optimizer=OptimizerConfig(peak=RATE, warmup_steps=0, final_share=1.0),
    )
    prompts = list(read_prompts([folder / "prompts.jsonl"]))
    with tempfile.TemporaryDirectory() as name:
        space = Workspace(Path(name), 0, torch.device("cpu"), lambda _: None, ALONE)
        rewards = (folder / "helpfulness", folder / "safety")
        reference = ChatModel.spread(folder / "chat", space)
        reference.model.requires_grad_(False)
        judges = (RewardModels if has_two_judges else OneJudge).read(
            *rewards, reference.tokenizer, lambda f: read_score_model(f, space, "float32")
        )
        learner = full_learner(
            folder / "chat", rewards, "helpfulness", config.optimizer, RATE, space
        )
        guards, figures = Guards(config.optimizer.clip), dict[str, float]()
        for iteration in range(NEVER):
            wait({part: figures[part] for part in PARTS if part in figures})
            batch = [prompts[row] for row in row_order(len(prompts), SAMPLES, iteration, 0)]
            figures = iterate(
                config, learner, reference, judges, batch, iteration, space, guards, StopRequest()
            )
            assert figures["length"] == NEW
            assert not figures["skipped"]


def _endless(generate: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Sampling that nothing ends before the last token, as TRL's."""
    return generate(*arguments, **settings | {"ends": ()})


def trl(folder: Path, wait: Wait) -> None:
    """PPOTrainer in float32 without gradient checkpointing, which is its fastest."""
    import torch
    from datasets import Dataset
    from transformers import (
        AutoTokenizer,
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        TrainerCallback,
    )
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

    class Turns(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            wait({})

    plain = ppo_trainer.batch_generation

    def watched(*arguments: Any, **settings: Any) -> Any:
        found = plain(*arguments, **settings)
        assert found[0].shape == (SAMPLES, PROMPT + NEW)
        return found

    ppo_trainer.batch_generation = watched
    rows = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
    policy, reference = (
        LlamaForCausalLM.from_pretrained(folder / "chat", dtype=torch.float32) for _ in range(2)
    )
    reward, value = (
        LlamaForSequenceClassification.from_pretrained(folder / name, dtype=torch.float32)
        for name in ("helpfulness", "value")
    )
    tokenizer = AutoTokenizer.from_pretrained(folder / "chat", padding_side="left")
    tokenizer.pad_token = tokenizer.unk_token
    with tempfile.TemporaryDirectory() as name:
        arguments = PPOConfig(
            output_dir=name,
            per_device_train_batch_size=SAMPLES,
            gradient_accumulation_steps=1,
            num_mini_batches=SAMPLES // MINI_BATCH,
            num_ppo_epochs=1,
            total_episodes=SAMPLES * NEVER,
            response_length=NEW,
            local_rollout_forward_batch_size=SAMPLES,
            num_sample_generations=0,
            disable_tqdm=True,
            temperature=1.0,
            kl_coef=BETA,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            learning_rate=RATE,
            lr_scheduler_type="constant",
            max_grad_norm=1.0,
            seed=0,
            logging_steps=NEVER,
        )
        trainer = PPOTrainer(
            args=arguments,
            processing_class=tokenizer,
            model=policy,
            ref_model=reference,
            reward_model=reward,
            value_model=value,
            train_dataset=Dataset.from_dict({"input_ids": rows}),
            eval_dataset=Dataset.from_dict({"input_ids": rows[:SAMPLES]}),
            callbacks=[Turns()],
        )
        wait({})
        trainer.train()


PEERS: dict[str, Callable[[Path, Wait], None]] = {
    "arriero": ours,
    "one judge": partial(ours, has_two_judges=False),
    "bfloat16": partial(ours, precision="bfloat16"),
    "trl": trl,
}


def worker(peer: str, folder: Path, threads: int, pipe: Connection) -> None:
    """Goes through an iteration whenever it is told to, and sleeps in between."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    began: list[float] = []

    def wait(parts: dict[str, float]) -> None:
        pipe.send((time.perf_counter() - began.pop() if began else 0.0, parts))
        if not pipe.recv():
            os._exit(0)
        began.append(time.perf_counter())

    PEERS[peer.rstrip("+")](folder, wait)


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """For processes that are started in here."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def measure(
    folder: Path, peers: list[str], repeats: int, threads: int
) -> dict[str, list[tuple[float, dict[str, float]]]]:
    """Seconds of every iteration by peer, with what it tells of its parts."""
    context = mp.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for peer in peers:
        pipes[peer], there = context.Pipe()
        with environment(KEEPS_PAGES if peer.endswith("+") else {}):
            arguments = (peer, folder, threads, there)
            context.Process(target=worker, args=arguments, daemon=True).start()
        pipes[peer].recv()
    spent: dict[str, list[tuple[float, dict[str, float]]]] = {peer: [] for peer in peers}
    for repeat in range(repeats + 3):
        for peer in peers[repeat % len(peers) :] + peers[: repeat % len(peers)]:
            pipes[peer].send(True)
            found = pipes[peer].recv()
            if repeat > 2:  # the first ones compile, and fill what the allocators keep
                spent[peer].append(found)
    for pipe in pipes.values():
        pipe.send(False)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=31, help="iterations that count")
    parser.add_argument("--peers", default="arriero,one judge,bfloat16,trl,trl+")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write everything into a file too")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    peers = options.peers.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        preparing = mp.get_context("spawn").Process(target=prepare, args=(folder,))
        preparing.start()
        preparing.join()
        if preparing.exitcode:
            sys.exit("the prompts could not be made ready")
        spent = measure(folder, peers, options.repeats, options.threads)
    own = statistics.median(seconds for seconds, _ in spent[peers[0]])
    for peer, found in spent.items():
        seconds = [whole for whole, _ in found]
        median = statistics.median(seconds)
        print(
            f"  {peer:9} {SAMPLES / median:6.1f} samples/s ({min(seconds):.3f} to "
            f"{max(seconds):.3f} s an iteration), {peers[0]} is {median / own:.2f} times as fast",
            flush=True,
        )
        for part in PARTS:
            values = [parts[part] for _, parts in found if part in parts]
            if values:
                print(f"    {part:12} {statistics.median(values):.3g}")
    if options.json:
        options.json.write_text(json.dumps(spent, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
