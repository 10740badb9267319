"""`arriero ablate attention` from its recipe to its results, and once more."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from arriero.records import UserError
from arriero.road.ablation import ablation_named
from arriero.road.ablation.attention import variant_shapes
from arriero.road.recipe import Recipe, load_recipe

ATTENTION = ("mha", "gqa-8", "mqa")
GIB = 2**30


def results_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text())


def test_the_shapes_of_tiny() -> None:
    shapes = variant_shapes(load_recipe("tiny"))
    assert {name: shape.num_kv_heads for name, shape in shapes.items()} == {
        "mha": 16,
        "gqa-8": 8,
        "mqa": 1,
        "half": 16,
    }
    row_length = load_recipe("tiny").pretrain.row_length
    assert shapes["half"].context * 2 == shapes["mha"].context == row_length
    sizes = [shapes[name].num_parameters for name in ATTENTION]
    assert max(sizes) / min(sizes) < 1.005


def test_the_recipes_own_heads_are_taken_where_the_ablation_names_none() -> None:
    shapes = variant_shapes(load_recipe("llama2-7b"))
    assert [shapes[name].num_kv_heads for name in ATTENTION] == [32, 8, 1]
    assert shapes["mha"].num_heads == 32
    assert shapes["half"].context == 2048


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        (12, r"12 heads do not allow; say --ablation\.num_heads 16"),
        (8, r"8 heads do not allow"),
        (48, r"48 query heads: dim 128 must be an even multiple of num_heads"),
    ],
)
def test_heads_that_do_not_fit(heads: int, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        variant_shapes(load_recipe("tiny", {"ablation.num_heads": heads}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("atention", "did you mean attention"), ("gqa attention", "attention"), ("x", "there is att")],
)
def test_an_unknown_ablation_is_told_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"no ablation '{name}'; .*{hint}"):
        ablation_named(name)


@pytest.mark.slow
def test_what_an_ablation_leaves(finished: Path, recipe: Recipe) -> None:
    results = results_of(finished)
    assert {"report.html", "results.json", "recipe.toml"} <= {p.name for p in finished.iterdir()}
    shapes = variant_shapes(recipe)
    for variant in results["variants"]:
        shape = shapes[variant["name"]]
        assert variant["parameters"] == shape.num_parameters
        losses = variant["long_loss"]["seeds"]
        assert len(losses) == 2
        assert variant["long_loss"]["mean"] == pytest.approx(statistics.fmean(losses))
        assert variant["long_loss"]["low"] == min(losses)
    mha, mqa = (
        next(v for v in results["variants"] if v["name"] == name) for name in ("mha", "mqa")
    )
    differences = [
        a - b for a, b in zip(mqa["long_loss"]["seeds"], mha["long_loss"]["seeds"], strict=True)
    ]
    difference = mqa["long_loss"]["minus_mha"]
    assert difference["value"] == pytest.approx(statistics.fmean(differences))
    # Two seeds: Student's t of one freedom, 12.706 standard errors.
    reach = 12.706 * abs(differences[0] - differences[1]) / 2
    assert difference["high"] - difference["value"] == pytest.approx(reach, rel=1e-3)
    assert mha["long_loss"]["minus_mha"]["value"] == 0
    assert [row["to"] for row in results["positions"]] == [8, 16, 24, 32, 40, 48, 56, 64]
    assert results["corpus"]["held_out"]["long"] >= 8
    assert results["tokens"] == 10_240


@pytest.mark.slow
def test_every_model_of_a_seed_saw_the_same_batches(finished: Path) -> None:
    """The loss of the first step is that of new weights on the same tokens: nearly the same."""
    first: dict[str, list[Any]] = {}
    for path in sorted(finished.glob("*-train-*/metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        first[path.parent.name[3:]] = [line["tokens"] for line in lines]
    assert len(first) == 8
    for seed in (0, 1):
        ours = [tokens for name, tokens in first.items() if name.endswith(f"seed{seed}")]
        assert all(tokens == ours[0] for tokens in ours)
    assert first["train-mha-seed0"] != first["train-mha-seed1"]


@pytest.mark.slow
def test_memory_ends_first_for_mha(finished: Path) -> None:
    decoding = results_of(finished)["decoding"]
    last = {
        name: max(
            point["batch"]
            for point in decoding["points"]
            if point["variant"] == name and point["context"] == 256 and point["tokens_per_s"]
        )
        for name in ATTENTION
    }
    assert last["mha"] < last["gqa-8"] <= last["mqa"] == 4


@pytest.mark.slow
def test_the_papers_memory_by_hand(finished: Path) -> None:
    paper = results_of(finished)["paper"]
    short = paper["contexts"][0]
    # 2 * 48 layers * 8,192 wide * 384 tokens * 2 bytes = 576 MiB a sequence.
    assert short["cache_gib"]["mha"][0] == 576 / 1024
    assert short["cache_gib"]["gqa-8"][0] == 72 / 1024
    assert short["cache_gib"]["mqa"][10] == 9
    assert short["largest_batch"]["mha"] == 512


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_more_seeds_add_to_it(
    finished: Path, recipe: Recipe
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.glob("*/results.json")}
    said: list[str] = []
    ablation_named("attention")(recipe, finished, said.append)
    assert {path: path.stat().st_mtime_ns for path in finished.glob("*/results.json")} == before
    assert not [line for line in said if "starting" in line]
    config = recipe.ablation.model_copy(update={"seeds": 3})
    more = recipe.model_copy(update={"ablation": config})
    ablation_named("attention")(more, finished, said.append)
    after = {path: path.stat().st_mtime_ns for path in finished.glob("*/results.json")}
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 4
    assert len(results_of(finished)["variants"][0]["long_loss"]["seeds"]) == 3
    assert [line for line in said if "model 9 of 12 is trained, about" in line]
    assert [line for line in said if "model 12 of 12 is trained, the report comes" in line]
    # And fewer again: the report tells of what was asked for.
    ablation_named("attention")(recipe, finished, said.append)
    assert results_of(finished)["seeds"] == 2
    assert len(results_of(finished)["variants"][0]["long_loss"]["seeds"]) == 2


@pytest.mark.slow
def test_on_files_of_ones_own(tmp_path: Path, recipe: Recipe) -> None:
    """Documents of a user, here prose that repeats itself."""
    paragraphs = [
        " ".join(f"Salt {n + k} and wool {n * k} go over the pass." for k in range(40))
        for n in range(300)
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in paragraphs))
    data = recipe.data.model_copy(update={"source": "files", "corpus": (str(path),)})
    model = recipe.model.model_copy(update={"vocab_size": 320})
    config = recipe.ablation.model_copy(update={"seeds": 1})
    own = recipe.model_copy(update={"data": data, "model": model, "ablation": config})
    run = tmp_path / "run"
    report = ablation_named("attention")(own, run, lambda line: None)
    results = results_of(run)
    assert results["corpus"]["held_out"]["short"] == 0
    assert results["variants"][1]["long_loss"]["minus_mha"]["low"] is None  # one seed, no interval
    assert "how much of a difference is chance is not known" in report.read_text()
