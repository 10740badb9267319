"""Report sections of rejection sampling and PPO."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from arriero.road.report.blocks import Block, Cell, Figure, Panels, Samples, Section, Table
from arriero.road.report.drawing import SERIES, Curve, draw_curves
from arriero.road.report.folder import RunFolder, StageFolder, mappings, number, text
from arriero.road.report.pretraining import add_facts, add_figure, add_samples, loss_figure
from arriero.road.report.samples import read_samples
from arriero.road.report.wording import MISSING, count, decimal

# What PPO logs each iteration: key(s), title, what it says; in the order of the page.
_PPO_PANELS = (
    (("reward",), "Reward"),
    (("held_out", "held_out_general"), "Reward on held-out prompts"),
    (("kl", "kl_k3"), "KL from the start"),
    (("score_helpfulness", "score_safety"), "Scores by model"),
    (("length",), "Length (tokens)"),
    (("entropy",), "Entropy"),
    (("clip_share",), "Share of clipped tokens"),
    (("explained_variance",), "Explained variance"),
    (("repetition",), "Repetition"),
    (("ended",), "Share of answers that end"),
    (("value_loss",), "Value loss"),
    (("policy_loss",), "Policy loss"),
    (("ratio_first",), "Ratio on first mini-batch"),
    (("sampler_gap",), "Gap of sampler and trainer"),
    (("grad_norm",), "Gradient norm"),
    (("generation_share",), "Share of time for sampling"),
)

_LABELS = {
    "held_out": "trained on",
    "held_out_general": "general model",
    "kl": "as the reward bears it",
    "kl_k3": "never negative (k3)",
}


def rejection_section(run: RunFolder) -> Section | None:
    """Reward against the number of samples (Figure 7), temperature (Figure 8), best and worst."""
    blocks: list[Block] = []
    stages = run.of("rejection")
    if len(stages) > 1:
        blocks.append(_table_of_versions(stages))
    for stage in stages[-1:]:
        results = stage.results
        facts = [
            ("prompts", count(number(results.get("prompts")))),
            ("samples a prompt", count(number(results.get("samples_per_prompt")))),
            ("temperature", decimal(number(results.get("temperature")))),
            ("mean reward of all samples", decimal(number(results.get("reward_mean_of_samples")))),
            ("mean reward of the best", decimal(number(results.get("reward_mean_of_best")))),
        ]
        add_facts(blocks, facts)
        add_figure(blocks, _by_number(stages))
        add_figure(blocks, _by_temperature(stages))
        suffix = f", v{stage.version}" if len(stages) > 1 else ""
        add_figure(
            blocks,
            loss_figure(
                stage,
                f"Fine-tuning on the best{suffix}",
                "As in supervised fine-tuning, from the base model, with the best samples as "
                "targets and the demonstrations in the mix.",
                "section 3.2.3",
            ),
        )
        if samples := read_samples(results.get("samples")):
            look = "Of all samples for a prompt the highest scored that ended becomes a target."
            blocks.append(Samples(title=f"Best and worst of K{suffix}", samples=samples, look=look))
    lead = "Many answers to each prompt, the best by the reward models kept as the new target."
    return Section("rejection", "Rejection sampling", lead, blocks) if blocks else None


def _table_of_versions(stages: Sequence[StageFolder]) -> Table:
    rows: list[list[str | Cell]] = []
    for stage in stages:
        results = stage.results
        rows.append(
            [
                stage.short_label,
                count(number(results.get("prompts"))),
                count(number(results.get("targets"))),
                decimal(number(results.get("temperature"))),
                decimal(number(results.get("reward_mean_of_samples"))),
                decimal(number(results.get("reward_mean_of_best"))),
            ]
        )
    return Table(
        title="Version by version",
        head=["version", "prompts", "targets", "temperature", "all samples", "the best"],
        rows=rows,
        look="Targets beyond the prompts of a version come out of the bag of earlier ones. Rewards "
        "are those of each version's own reward models: they compare within a row alone.",
        paper="section 3.2.3",
        is_wide=True,
    )


def _by_number(stages: Sequence[StageFolder]) -> Figure | None:
    """Of one version maximum and median, of several the maxima."""
    kinds = (("max", "maximum", "blue"), ("median", "median", "amber"))
    curves: list[Curve] = []
    for number_of_stage, stage in enumerate(stages):
        for key, label, role in kinds if len(stages) == 1 else kinds[:1]:
            points = sorted(
                (at, value)
                for entry in mappings(stage.results.get("by_n"))
                if (at := number(entry.get("n"))) is not None
                and (value := number(entry.get(key))) is not None
            )
            if len(stages) > 1:
                label, role = stage.short_label, SERIES[number_of_stage % len(SERIES)]
            curves.append(_curve(points, label, role, len(points) <= 16))
    curves = [curve for curve in curves if curve.x]
    if not curves:
        return None
    look = "The gap between the lines is what there is to gain from choosing the best of N."
    if len(stages) > 1:
        look = "The mean of the best of N, by version: how it climbs is what choosing gains."
    return Figure(
        title="Reward against the number of samples",
        svg=draw_curves(curves, x="samples a prompt, N", y="reward"),
        look=look,
        paper="Figure 7",
    )


def _by_temperature(stages: Sequence[StageFolder]) -> Figure | None:
    curves: list[Curve] = []
    best: list[str] = []
    for number_of_stage, stage in enumerate(stages):
        points = sorted(
            (at, value)
            for entry in mappings(stage.results.get("temperatures"))
            if (at := number(entry.get("temperature"))) is not None
            and (value := number(entry.get("max_mean"))) is not None
        )
        if len(points) < 2:
            continue
        label = stage.short_label if len(stages) > 1 else ""
        curves.append(_curve(points, label, SERIES[number_of_stage % len(SERIES)], True))
        best.append(f"{max(points, key=lambda point: point[1])[0]:g}")
    if not curves:
        return None
    found = f"here {best[0]} is best" if len(best) == 1 else f"best are {', '.join(best)} in turn"
    return Figure(
        title="Best reward by temperature",
        svg=draw_curves(curves, x="temperature", y="mean reward of the best", has_integers=False),
        look=f"Warmer sampling explores more until it loses the thread; {found}.",
        paper="Figure 8",
    )


def _curve(
    points: Sequence[tuple[float, float]], label: str, role: str, has_markers: bool
) -> Curve:
    return Curve(
        [at for at, _ in points], [value for _, value in points], label, role,
        has_markers=has_markers,
    )  # fmt: skip


def ppo_section(run: RunFolder) -> Section | None:
    """The curves of PPO as small multiples, and samples."""
    blocks: list[Block] = []
    stages = run.of("ppo")
    for stage in stages:
        results = stage.results
        stopped = text(results.get("stopped_early"))
        facts = [
            ("iterations", count(number(results.get("iterations")))),
            ("best iteration", count(number(results.get("best_iteration")))),
            ("held-out reward at the start", decimal(number(results.get("held_out_start")))),
            ("held-out reward at its best", decimal(number(results.get("held_out_best")))),
            ("stopped early", {"True": "yes", "False": "no"}.get(stopped, MISSING)),
            ("alarms", _alarms(results.get("alarms"))),
        ]
        add_facts(blocks, facts)
        suffix = f", v{stage.version}" if len(stages) > 1 else ""
        if panels := _panels(stage):
            blocks.append(
                Panels(
                    title=f"The course of PPO{suffix}",
                    panels=panels,
                    look="Reward and held-out reward should rise together while the KL stays "
                    "small; a reward that rises alone, with growing length or repetition, is "
                    "being gamed. The dashed line marks the iteration that was kept.",
                    paper="section 3.2.3, Equation 4",
                )
            )
        add_samples(
            blocks, stage, f"Answers after PPO{suffix}", "Sampled from the iteration that was kept."
        )
    lead = "The policy is nudged towards reward, held near where it started by the KL penalty."
    return Section("ppo", "Proximal policy optimization", lead, blocks) if blocks else None


def _alarms(found: object) -> str:
    """Each that was ever raised, with its iterations."""
    if not isinstance(found, dict):
        return MISSING
    named = [
        f"{name} ({count(number(alarm.get('first')))} to {count(number(alarm.get('last')))})"
        for name, alarm in found.items()
        if isinstance(alarm, dict)
    ]
    return ", ".join(named) or "none"


def _panels(stage: StageFolder) -> list[tuple[str, Markup]]:
    best = number(stage.results.get("best_iteration"))
    marks = [] if best is None else [(best, "")]
    panels: list[tuple[str, Markup]] = []
    for keys, title in _PPO_PANELS:
        curves: list[Curve] = []
        shown = [key for key in keys if stage.series("iteration", key)[0]]
        for key, role in zip(shown, ("blue", "green"), strict=False):
            iterations, values = stage.series("iteration", key)
            first = {"held_out": "held_out_start", "held_out_general": "general_start"}.get(key, "")
            start = number(stage.results.get(first))
            if start is not None and iterations[0] > 0:
                iterations, values = [0.0, *iterations], [start, *values]
            label = _LABELS.get(key, key.removeprefix("score_")) if len(shown) > 1 else ""
            is_sparse = key.startswith("held_out")  # checked every few iterations
            curves.append(Curve(iterations, values, label, role, has_markers=is_sparse))
        if curves:
            is_share = keys[0] in ("clip_share", "ended", "repetition", "generation_share")
            svg = draw_curves(
                curves, x="iteration", is_small=True, is_percent=is_share, marks=marks
            )
            panels.append((title, svg))
    return panels
