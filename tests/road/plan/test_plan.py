from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from arriero.cli import main
from arriero.records import UserError
from arriero.road.plan import make_plan, misfit_line
from arriero.road.plan.plan import USABLE, fits, mends
from arriero.road.recipe import load_recipe


def test_a_published_size_gets_the_papers_device_and_the_fewest_that_fit() -> None:
    plan = make_plan(load_recipe("llama2-7b"))
    assert plan.device.name == "a100-80gb"
    shared = [stage for stage in plan.stages if stage.name != "ppo"]
    assert all(fits(stage, plan.device) for stage in shared)
    fewer = make_plan(load_recipe("llama2-7b"), devices=plan.layout.devices // 2)
    assert any(not fits(stage, fewer.device) for stage in fewer.stages if stage.name != "ppo")
    assert not plan.refused


def test_everything_else_gets_this_machine() -> None:
    plan = make_plan(load_recipe("tiny"))
    assert (plan.device.name, plan.layout.devices) == ("cpu", 1)
    assert not plan.misfits
    assert plan.cost.watts == 65


def test_ranks_on_one_cpu_share_it() -> None:
    recipe = load_recipe("tiny", {"pretrain.micro_rows": 1})
    one, two = (make_plan(recipe, devices=n, device="cpu") for n in (1, 2))
    assert two.device.memory == one.device.memory / 2
    assert two.cost.watts == one.cost.watts / 2


def test_watts() -> None:
    """The recipe's without a device, the maker's with one, the recipe's again where it is asked."""
    recipe = load_recipe("llama2-34b")
    assert make_plan(recipe).cost.watts == 350
    assert make_plan(recipe, device="h100").cost.watts == 700
    assert make_plan(recipe, device="h100", watts_given=True).cost.watts == 350


def test_a_device_is_never_filled_to_the_brim() -> None:
    plan = make_plan(load_recipe("llama2-7b"), devices=2)
    stage = plan.stages[0]
    needed = stage.parts.total + plan.device.runtime
    assert needed <= USABLE * plan.device.memory


@pytest.mark.parametrize(
    ("recipe", "keys", "devices", "device"),
    [
        ("llama2-7b", {}, 1, "a100-80gb"),
        ("llama2-7b", {"parallel.recompute": False, "pretrain.micro_rows": 4}, 4, "a100-80gb"),
        ("llama2-70b", {"reward.micro_pairs": 32}, 32, "h100"),
        ("llama2-13b", {}, 8, "l4"),
    ],
)
def test_what_is_said_to_mend_a_plan_does(
    recipe: str, keys: dict[str, object], devices: int, device: str
) -> None:
    """Every option that is printed is tried."""
    plan = make_plan(load_recipe(recipe, keys), devices=devices, device=device)
    assert plan.refused
    tried = 0
    for stage in plan.misfits:
        for options in mends(plan, stage):
            words = shlex.split(options)
            given = dict(zip((word[2:] for word in words[::2]), words[1::2], strict=True))
            again = make_plan(
                load_recipe(recipe, keys | {k: v for k, v in given.items() if "." in k}),
                devices=int(given.get("devices", devices)),
                device=given.get("device", device),
            )
            mended = next(one for one in again.stages if one.name == stage.name)
            assert fits(mended, again.device), options
            tried += 1
    assert tried


def test_the_line_names_the_need_and_the_mend() -> None:
    plan = make_plan(load_recipe("llama2-7b"), devices=1, device="a100-80gb")
    line = misfit_line(plan)
    assert line.startswith("pretrain needs ")
    assert "GiB of a device's 79.1 (A100 80GB SXM, 8% kept free); " in line
    assert "--devices 2" in line
    assert "\n" not in line


@pytest.mark.parametrize("utilisation", [0.0, -0.1, 1.1, float("nan")])
def test_a_utilisation_that_is_no_share(utilisation: float) -> None:
    with pytest.raises(UserError, match=r"is no share; name one such as 0\.4"):
        make_plan(load_recipe("llama2-7b"), utilisation=utilisation)


def plan_lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["plan", *words]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("recipe", "hours", "tonnes", "utilisation"),
    [
        ("llama2-7b", "184,320", "31.22", "41.410%"),
        ("llama2-13b", "368,640", "62.44", "39.678%"),
        ("llama2-34b", "1,038,336", "153.90", "36.108%"),
        ("llama2-70b", "1,720,320", "291.42", "44.341%"),
    ],
)
def test_the_papers_row_beside_ours(
    capsys: pytest.CaptureFixture[str], recipe: str, hours: str, tonnes: str, utilisation: str
) -> None:
    lines = plan_lines(capsys, recipe)
    ours = next(line.split() for line in lines if line.startswith("this plan"))
    papers = next(line.split() for line in lines if line.startswith("paper, Table 2"))
    assert ours[2:] == papers[4:]
    assert (ours[2], ours[-1]) == (hours, tonnes)
    assert any(line.startswith(f"utilisation {utilisation}") for line in lines)
    assert any("539.00 t" in line for line in lines)


def test_options_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    lines = plan_lines(
        capsys,
        *("llama2-7b", "--devices", "64", "--device", "H200", "--tensor", "2"),
        *("--utilisation", "0.5"),
    )
    assert lines[1] == "64 x H200 SXM: 32 data parallel x 2 tensor parallel"
    assert any(line.startswith("utilisation 50.000% of 989 TFLOP/s (given") for line in lines)


def test_ppo_is_shared_and_where_it_does_not_fit_told_of_rather_than_refused() -> None:
    plan = make_plan(load_recipe("llama2-7b"), devices=8, device="h200")
    assert (plan.stages[-1].name, plan.stages[-1].layout.devices) == ("ppo", 8)
    assert not plan.misfits
    fewer = make_plan(load_recipe("llama2-7b"), devices=4, device="h200")
    assert fewer.misfits == [fewer.stages[-1]]
    assert fewer.refused == []
    # Each rank samples with the whole policy: no number of devices makes 70B fit.
    largest = make_plan(load_recipe("llama2-70b"), devices=512, device="h200")
    assert largest.misfits == [largest.stages[-1]]
    assert mends(largest, largest.stages[-1]) == []
    alone = make_plan(load_recipe("llama2-7b"), devices=1, device="h200")
    assert alone.stages[-1] in alone.refused


def test_small_models_in_small_units(capsys: pytest.CaptureFixture[str]) -> None:
    lines = plan_lines(capsys, "tiny")
    assert any(line.startswith("MiB a device at its peak  weights") for line in lines)
    assert not any("paper" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["llama2-7b", "--device", "h2000"], "did you mean h200?"),
        (["llama2-70b", "--devices", "16", "--tensor", "16"], "model.num_kv_heads is 8"),
        (["llama2-7b", "--devices", "3"], "3 data-parallel ranks cannot share evenly"),
        (["llama2-7b", "--devices", "0"], "name 1 or more"),
        (["llama2-7b", "--devices", "1", "--device", "l4"], "pretrain needs"),
        (["llama2-7b", "--devics", "1"], "unknown key devics"),
        (["llama2-8b"], "no recipe 'llama2-8b'"),
    ],
)
def test_refused_with_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def test_a_recipe_of_ones_own_may_name_its_device(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Its key `device`, of where a run takes place, does not get in the way."""
    path = tmp_path / "own.toml"
    path.write_text('device = "cpu"\nwatts = 80.0\n[parallel]\ntensor = 2\n')
    lines = plan_lines(capsys, str(path), "--device", "b200", "--parallel.recompute", "true",
                       "--reward.micro_pairs", "4", "--devices", "4")  # fmt: skip
    assert "2 tensor parallel" in lines[1]
    assert lines[2].startswith("a device: 178.0 GiB, 2,250 TFLOP/s, 1000 W")
