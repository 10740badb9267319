"""`arriero ablate attention`: attention variants and context lengths at equal cost (A.2.1).

MHA, GQA-8 and MQA of one size learn from the same tokens, in rows as long as those of pretraining,
and so does MHA with half that context. It is compared with MHA of the whole one, which is therefore
trained once for both questions. The three also decode, at batches and contexts that grow until
memory ends.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from arriero.model.attention_variants import attention_variants
from arriero.model.config import ModelConfig
from arriero.records import UserError
from arriero.road.ablation.inputs import corpus_paths, draw, external_hash
from arriero.road.ablation.naming import HALF
from arriero.road.ablation.report import write_attention_report
from arriero.road.ablation.summary import summarize
from arriero.road.forecast import training_seconds
from arriero.road.inputs import Inputs
from arriero.road.lock import locked
from arriero.road.names import INPUTS, TOKENIZER
from arriero.road.recipe import Recipe
from arriero.road.report.wording import duration
from arriero.road.run import Step, choose_device, run_steps
from arriero.road.stations import tokenizer_step
from arriero.stages import ablation
from arriero.stages.workspace import Workspace, write_json

_CORPUS = "02-corpus"
_DECODING = "03-decoding"
# A speed is five short windows, and a large cache to fill first.
_SECONDS_A_SPEED = 1.2
_SECONDS_BEFORE = 15


def ablate_attention(recipe: Recipe, run: Path, say: Callable[[str], None]) -> Path:
    """Train, measure and write `report.html` and `results.json` into `run`; returns the report.

    What is done already, by the manifests of its steps, is not done again.

    Raises:
        UserError: the recipe's shape has no GQA-8, a file is missing, or a step asks for a mend.
    """
    shapes = variant_shapes(recipe)
    steps = list(_steps(recipe, shapes, run))
    device = choose_device(recipe)
    say(_forecast(recipe, shapes))
    with locked(run):
        run_steps(steps, recipe, run, say)
        names = {step.name for step in steps}
        results = summarize(recipe, shapes, run, names) | {"device": device.type}
        write_json(run / "results.json", results)
        return write_attention_report(run, names, results)


def variant_shapes(recipe: Recipe) -> dict[str, ModelConfig]:
    """The models to train by name: `mha`, `gqa-8`, `mqa`, and `half`, which is MHA.

    Raises:
        UserError: GQA-8 or the width does not allow the number of heads.
    """
    config = recipe.ablation
    base = recipe.model.model_copy(update={"context": recipe.pretrain.row_length})
    if config.num_heads:
        base = base.model_copy(update={"num_heads": config.num_heads})
    try:
        shapes = attention_variants(base, config.ffn_multiple)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"{base.num_heads} query heads: {message}") from None
    shapes[HALF] = shapes["mha"].model_copy(update={"context": base.context // 2})
    return shapes


def _steps(recipe: Recipe, shapes: Mapping[str, ModelConfig], run: Path) -> Iterator[Step]:
    """Everything in order: seed after seed, so that a stopped ablation has whole comparisons."""
    config, pretrain = recipe.ablation, recipe.pretrain
    paths = corpus_paths(recipe, run / INPUTS)
    inputs = Inputs(corpus=paths, instructions=(), helpfulness=(), safety=(), world=None)
    size = {"num_tokens": config.num_tokens, "held_out": config.held_out}
    yield Step(
        INPUTS,
        "inputs",
        {"data": _dump(recipe.data), "context": recipe.pretrain.row_length, **size},
        (),
        lambda space: draw(recipe, space),
        external=lambda: external_hash(recipe),
    )
    yield tokenizer_step(recipe, inputs)
    yield Step(
        _CORPUS,
        "corpus",
        {"context": recipe.pretrain.row_length, "held_out": config.held_out},
        (INPUTS, TOKENIZER),
        lambda space: ablation.prepare(
            config,
            corpus=paths,
            tokenizer_folder=run / TOKENIZER / "model",
            context=recipe.pretrain.row_length,
            workspace=space,
        ),
    )
    attention = {name: shape for name, shape in shapes.items() if name != HALF}
    measured = {"contexts", "max_batch", "memory_gib", "repeats"}
    yield Step(
        _DECODING,
        "decoding",
        {
            "models": {name: _dump(shape) for name, shape in attention.items()},
            "threads": recipe.threads,
            "device": recipe.device,
            **config.model_dump(mode="json", include=measured),
        },
        (),
        lambda space: ablation.measure_decoding(config, attention, space),
    )
    trained = {
        "num_tokens": config.num_tokens,
        "context": recipe.pretrain.row_length,
        "pretrain": pretrain.model_dump(mode="json", exclude={"num_tokens"}),
    }
    trainings = [(seed, name) for seed in range(config.seeds) for name in shapes]
    clock = _Clock(len(trainings))
    for number, (seed, name) in enumerate(trainings):
        yield Step(
            f"{number + 4:02d}-train-{name}-seed{seed}",
            "train",
            {"model": _dump(shapes[name]), "offset": seed, **trained},
            (_CORPUS,),
            _training(recipe, shapes[name], run / _CORPUS, seed, number + 1, clock),
        )


class _Clock:
    """How long the trainings that are left will take, by those that are done."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.spent: list[float] = []

    def line(self, number: int) -> str:
        """After the training of a number, from 1."""
        left = statistics.fmean(self.spent) * (self.total - number)
        rest = f"about {duration(left)} left" if left else "the report comes next"
        return f"model {number} of {self.total} is trained, {rest}"


def _training(
    recipe: Recipe, shape: ModelConfig, corpus: Path, seed: int, number: int, clock: _Clock
) -> Callable[[Workspace], None]:
    def work(space: Workspace) -> None:
        began = time.perf_counter()
        ablation.train_variant(
            recipe.ablation,
            recipe.pretrain,
            model_config=shape,
            context=recipe.pretrain.row_length,
            corpus=corpus,
            workspace=replace(space, seed=recipe.seed + seed),
        )
        clock.spent.append(time.perf_counter() - began)
        space.say(clock.line(number))

    return work


def _dump(model: Any) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _forecast(recipe: Recipe, shapes: Mapping[str, ModelConfig]) -> str:
    """What will be done, and about how long it takes where nothing is done yet."""
    config = recipe.ablation
    read = config.num_tokens + config.held_out * recipe.pretrain.row_length
    seconds = _SECONDS_BEFORE + config.seeds * sum(
        training_seconds(recipe, shape, shape.context, read) for shape in shapes.values()
    )
    speeds = 3 * len(config.contexts) * config.max_batch.bit_length()
    seconds += _SECONDS_A_SPEED * speeds
    return (
        f"{config.seeds} x {len(shapes)} models of {shapes['mha'].num_parameters:,} parameters, "
        f"{config.num_tokens:,} tokens each, and {speeds} decoding speeds: "
        f"about {max(1, round(seconds / 60))} min on this machine"
    )
