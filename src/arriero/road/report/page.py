"""Puts the report together and writes it: one HTML file that needs nothing else.

Everything a model or a data set said is escaped by the template; characters that no page may hold
are replaced. The same run gives the same bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from arriero.road.report.blocks import Milestone, Section, Tile
from arriero.road.report.costs import assumed_watts, costs_section, total, total_seconds
from arriero.road.report.evaluation import Evaluation, read_evaluation
from arriero.road.report.folder import RunFolder, number, read_run, text
from arriero.road.report.limits import limits_section
from arriero.road.report.outcome import dialogs_section, safety_section
from arriero.road.report.overview import milestones, tiles
from arriero.road.report.preferences import preferences_section, rewards_section
from arriero.road.report.pretraining import (
    other_sections,
    pretraining_section,
    sft_section,
    tokenizer_section,
)
from arriero.road.report.tuning import ppo_section, rejection_section
from arriero.road.report.versions import versions_section
from arriero.road.report.wording import MISSING, carbon, duration, energy

_KNOWN = frozenset(
    {"inputs", "tokenizer", "pretrain", "sft", "preferences", "reward", "rejection", "ppo"}
    | {"evaluate"}
)


def write_report(run: Path) -> Path:
    """Write `report.html` into a run's folder, from whatever stages are there.

    Args:
        run: a folder such as `runs/tiny`; half-finished runs give half a report.

    Returns:
        The path of the page. An earlier page is replaced at once, never left half-written.

    Raises:
        UserError: `run` is no folder, or holds no stage yet.
    """
    return write_page(run / "report.html", render_report(read_run(run)))


def write_page(path: Path, page: str) -> Path:
    """Write a page whole or not at all; an earlier one is replaced at once."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(page.encode("utf-8", errors="replace"))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def render_report(run: RunFolder) -> str:
    """The page as text."""
    evaluation = read_evaluation(run)
    sections = _sections(run, evaluation)
    return render_page(
        run,
        about="report of a run",
        facts=run_facts(run),
        milestones=milestones(run, sections),
        tiles=tiles(run, evaluation),
        sections=sections,
    )


def render_page(
    run: RunFolder,
    *,
    about: str,
    facts: Sequence[tuple[str, str]],
    milestones: Sequence[Milestone],
    tiles: Sequence[Tile],
    sections: Sequence[Section],
) -> str:
    """A page as text, whatever stands in its sections.

    Args:
        run: gives the name and the recipe.
        about: what the page is, such as `report of a run`.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    files = resources.files(__package__ or "arriero.road.report")
    template = environment.from_string((files / "page.html").read_text(encoding="utf-8"))
    page = template.render(
        run=run,
        about=about,
        facts=facts,
        milestones=milestones,
        tiles=tiles,
        sections=sections,
    )
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\ufffe\uffff]", "�", page)


def _sections(run: RunFolder, evaluation: Evaluation | None) -> list[Section]:
    sections = [
        tokenizer_section(run),
        pretraining_section(run),
        sft_section(run),
        preferences_section(run),
        rewards_section(run),
        rejection_section(run),
        ppo_section(run),
        *other_sections(run, _KNOWN),
    ]
    if evaluation is not None:
        sections += [
            versions_section(evaluation),
            safety_section(evaluation),
            dialogs_section(evaluation),
            limits_section(run, evaluation),
        ]
    sections.append(costs_section(run))
    return [section for section in sections if section is not None]


def run_facts(run: RunFolder) -> list[tuple[str, str]]:
    """The headline: recipe, seed, time, energy, code."""
    manifests = [stage.manifest for stage in run.stages if stage.is_finished]
    seeds = [seed for manifest in manifests if (seed := number(manifest.get("seed"))) is not None]
    seed = number(run.recipe.get("seed"))
    seed = seed if seed is not None else next(iter(seeds), None)
    watts = assumed_watts(run)
    codes = list(dict.fromkeys(text(manifest.get("version")) for manifest in manifests))
    energy_note = f"{energy(total(run, 'energy_wh'))}" + (
        f" at an assumed {watts}" if watts else ""
    )
    facts = [
        ("recipe", text(run.recipe.get("recipe") or run.recipe.get("name")) or run.name),
        ("seed", MISSING if seed is None else f"{seed:g}"),
        ("time", duration(total_seconds(run))),
        ("energy", energy_note),
        ("CO₂eq", carbon(total(run, "co2_g"))),
        ("code", ", ".join(code for code in codes if code)[:60]),
    ]
    return [(name, value) for name, value in facts if value and not value.startswith(MISSING)]
