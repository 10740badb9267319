"""Report section of time, energy and carbon by stage (the shape of Table 2)."""

from __future__ import annotations

from arriero.road.report.blocks import Bar, Bars, Block, Section, Segment, Table
from arriero.road.report.folder import RunFolder, StageFolder, number
from arriero.road.report.wording import MISSING, duration, energy, percent, scientific


def total(run: RunFolder, key: str) -> float | None:
    """The sum of a manifest value over the stages that have it; None if none has."""
    values = [
        value for stage in run.stages if (value := number(stage.manifest.get(key))) is not None
    ]
    return sum(values) if values else None


def total_seconds(run: RunFolder) -> float | None:
    """Time of all stages, unfinished ones included as far as they logged it."""
    values = [stage.seconds for stage in run.stages if stage.seconds is not None]
    return sum(values) if values else None


def assumed_watts(run: RunFolder) -> str:
    """Such as `65 W`, or `65 to 400 W` if stages ran on different machines; empty if unknown."""
    watts = {value for stage in run.stages if (value := number(stage.manifest.get("watts")))}
    if not watts:
        return ""
    return " to ".join(f"{value:g}" for value in sorted({min(watts), max(watts)})) + " W"


def costs_section(run: RunFolder) -> Section | None:
    """A bar of time by stage and a table of time, energy and tCO2eq."""
    timed = [stage for stage in run.stages if stage.seconds is not None]
    if not timed:
        return None
    longest = max(stage.seconds or 0.0 for stage in timed) or 1.0
    whole = total_seconds(run) or 1.0
    bars = [
        Bar(
            stage.label,
            [Segment("time", (stage.seconds or 0.0) / longest, "blue")],
            f"{duration(stage.seconds)} · {_share((stage.seconds or 0.0) / whole)}",
        )
        for stage in timed
    ]
    blocks: list[Block] = [
        Bars(
            title="Where the time went",
            bars=bars,
            look="Wall time by stage, the longest as the full width.",
        ),
        _table(run),
    ]
    return Section("costs", "Time, energy, carbon", _lead(run), blocks)


def _share(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else percent(share, 0)


def _lead(run: RunFolder) -> str:
    watts = assumed_watts(run)
    drawn = f"an assumed draw of {watts}" if watts else "the machine's assumed draw"
    return (
        f"By the paper's formula: time × power × carbon intensity, with {drawn}: an "
        "estimate from the clock, not a measurement."
    )


def _table(run: RunFolder) -> Table:
    rows = [_row(stage) for stage in run.stages]
    grams = total(run, "co2_g")
    peaks = [value for stage in run.stages if (value := _peak(stage)) is not None]
    rows.append(
        [
            "all stages",
            duration(total_seconds(run)),
            energy(total(run, "energy_wh")),
            scientific(grams / 1e6) if grams else MISSING,
            _memory(max(peaks, default=None)),
        ]
    )
    return Table(
        title="Cost by stage",
        head=["stage", "time", "energy", "tCO₂eq", "peak memory so far"],
        rows=rows,
        look="For scale: the paper's pretraining took 3.3 million GPU hours and 539 tCO₂eq.",
        paper="Table 2",
        has_total=True,
    )


def _row(stage: StageFolder) -> list[str]:
    grams = number(stage.manifest.get("co2_g"))
    return [
        stage.label if stage.is_finished else f"{stage.label} (not finished)",
        duration(stage.seconds),
        energy(number(stage.manifest.get("energy_wh"))),
        scientific(grams / 1e6) if grams else MISSING,
        _memory(_peak(stage)),
    ]


def _peak(stage: StageFolder) -> float | None:
    return number(stage.manifest.get("peak_memory_gb"))


def _memory(gigabytes: float | None) -> str:
    return MISSING if gigabytes is None else f"{gigabytes:.1f} GB"
