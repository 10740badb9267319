"""What the report allows itself to say of a small model."""

from __future__ import annotations

from typing import Any

from arriero.road.report.blocks import Table
from arriero.road.report.evaluation import read_evaluation
from arriero.road.report.folder import RunFolder, StageFolder
from arriero.road.report.limits import limits_section


def stage(number: int, kind: str, results: dict[str, Any], name: str = "") -> StageFolder:
    version = 1 if kind == "reward" else None
    return StageFolder(number, kind, name, version, {"seconds": 1.0}, results, ())


def rows_of(results: dict[str, Any], accuracy: tuple[float, float, float]) -> dict[str, list[str]]:
    value, low, high = accuracy
    figures = {"accuracy": value, "low": low, "high": high, "n": 100}
    run = RunFolder(
        "run",
        {},
        "",
        (
            stage(2, "pretrain", {"parameters": 6_738_416, "tokens": 2_000_000}),
            stage(5, "reward", {"accuracy": {"safety": {"all": figures}}}, "safety"),
            stage(9, "evaluate", results),
        ),
    )
    evaluation = read_evaluation(run)
    assert evaluation is not None
    section = limits_section(run, evaluation)
    assert section is not None
    [table] = section.blocks
    assert isinstance(table, Table)
    found: dict[str, list[str]] = {}
    for what, *others in table.rows:
        assert isinstance(what, str)
        found[what] = [one if isinstance(one, str) else one.text for one in others]
    return found


def results(**others: Any) -> dict[str, Any]:
    win = {"a": "ppo-v1", "b": "sft", "set": "all", "judge": "reward", "share": 0.59}
    return {
        "versions": ["sft", "ppo-v1"],
        "baseline": "sft",
        "wins": [win | {"low": 0.51, "high": 0.66}],
        "perplexity": {"sft": 143.0, "ppo-v1": 139.0},
        "ended": {"sft": 0.5, "ppo-v1": 0.96},
        "repetition": {"ppo-v1": 0.2},
        "capabilities": {"measure": "reward", "by_category": {"cooking": {"ppo-v1": 0.9}}},
        **others,
    }


def test_a_small_model_wins_and_is_told_what_it_cannot() -> None:
    found = rows_of(results(), (0.6, 0.55, 0.65))
    assert found["size"][2] == "Llama 2 7B has 1,000 times as many"
    assert found["reading"][2] == "0.297 a parameter; Llama 2 7B read 297"
    assert found["foretell text that it has not read"][:2] == ["cannot", "perplexity 139"]
    assert found["come to an end"][0] == "can"
    assert found["go on without repeating itself"][:2] == [
        "cannot",
        "20.0% of its trigrams stood before",
    ]
    assert found["its safety model: tell better from worse"][0] == "can"
    assert found["answer better than sft, by its own reward models"][:2] == [
        "can",
        "wins 59.0% (51.0–66.0%) of the prompts that are no tie",
    ]
    # A reward model's word is no truth: there is no row for a skill.
    assert found["say what is true"][:2] == ["not settled", "not measured"]
    assert "cooking" not in found


def test_what_an_interval_leaves_open_is_not_settled() -> None:
    win = {"a": "ppo-v1", "b": "sft", "set": "all", "judge": "oracle", "share": 0.53}
    found = rows_of(
        results(
            wins=[win | {"low": 0.45, "high": 0.61}],
            capabilities={
                "measure": "right",
                "prompts": {"rhyme": 40, "sums": 60},
                "by_category": {"rhyme": {"ppo-v1": 0.3}, "sums": {"ppo-v1": 0.9}},
            },
        ),
        (0.52, 0.42, 0.61),
    )
    assert found["answer better than sft, by the oracle"][0] == "not settled"
    assert found["its safety model: tell better from worse"][0] == "not settled"
    assert found["rhyme"][:2] == ["cannot", "30.0% right of 40"]
    assert found["sums"][0] == "can"
    lost = rows_of(results(wins=[win | {"low": 0.3, "high": 0.4}]), (0.4, 0.33, 0.47))
    assert lost["answer better than sft, by the oracle"][0] == "cannot"
    assert lost["its safety model: tell better from worse"][0] == "cannot"
