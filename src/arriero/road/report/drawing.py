"""The few kinds of figures of the report: curves, intervals, histograms, ridges, a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from arriero.road.report.svg import STAND_IN, render_svg

SERIES = ("blue", "amber", "green", "vermilion", "purple", "sky", "olive")
_MAX_POINTS = 400
_SIZE = (4.1, 2.55)
_SMALL = (3.1, 1.85)
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")
Interval = tuple[float, float | None, float | None]  # value, low, high


@dataclass(frozen=True, slots=True)
class Curve:
    """A line; `is_faint` draws the unsmoothed values behind it, `has_markers` its points."""

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    role: str = "blue"
    is_faint: bool = False
    has_markers: bool = False
    is_dashed: bool = False


def smoothed(values: Sequence[float]) -> list[float]:
    """A centred moving mean over about a twentieth of the values (at least 5): calm, not late."""
    half = max(2, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    middle = np.arange(len(values))
    first = np.maximum(middle - half, 0)
    last = np.minimum(middle + half + 1, len(values))
    return [float(value) for value in (sums[last] - sums[first]) / (last - first)]


def draw_curves(
    curves: Sequence[Curve],
    *,
    x: str,
    y: str = "",
    is_small: bool = False,
    is_percent: bool = False,
    has_integers: bool = True,
    is_log: bool = False,
    marks: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Lines over a common x axis, with optional vertical marks (x, name).

    `is_log` is for what doubles: both axes are logarithmic, x with ticks at powers of two.
    """

    def draw(axes: Axes) -> None:
        for curve in curves:
            _draw_curve(axes, curve)
        for at, name in marks:
            axes.axvline(at, color=STAND_IN["soft"], linewidth=0.9, linestyle=(0, (3, 3)))
            axes.annotate(
                name,
                (at, 0.02),
                xycoords=("data", "axes fraction"),
                xytext=(3, 2),
                textcoords="offset points",
                fontsize=8,
                color=STAND_IN["soft"],
            )
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if is_log:
            _scale_by_doubling(axes)
        else:
            axes.xaxis.set_major_locator(_ticks(4 if is_small else 6, integer=has_integers))
            axes.yaxis.set_major_locator(_ticks(4 if is_small else 6))
        axes.xaxis.set_major_formatter(FuncFormatter(_tick))
        axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick if is_percent else _tick))
        axes.margins(x=0.02)
        if len(at := {value for curve in curves for value in curve.x}) == 1:
            axes.set_xlim(min(at) - 1, max(at) + 1)
        _add_legend(axes, sum(bool(curve.label) for curve in curves))

    return render_svg(draw, _SMALL if is_small else _SIZE)


def _scale_by_doubling(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=4, numticks=8))
    low, high = axes.get_ylim()
    # Within two decades powers of ten alone would leave an axis with one number.
    subs = (1.0, 2.0, 5.0) if high < 150 * low else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=subs, numticks=6))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())


def _draw_curve(axes: Axes, curve: Curve) -> None:
    step = max(1, -(-len(curve.x) // _MAX_POINTS))
    axes.plot(
        [*curve.x[:-1:step], *curve.x[-1:]],
        [*curve.y[:-1:step], *curve.y[-1:]],
        label=_label(curve.label) if curve.label else None,
        color=STAND_IN[curve.role],
        alpha=0.3 if curve.is_faint else 1.0,
        linewidth=1.0 if curve.is_faint else 1.8,
        linestyle=(0, (4, 2)) if curve.is_dashed else "-",
        marker="o" if curve.has_markers or len(curve.x) == 1 else None,
        markersize=4,
    )


def draw_intervals(
    rows: Sequence[str],
    series: Mapping[str, Sequence[Interval | None]],
    *,
    roles: Sequence[str],
    x: str,
    row_roles: Sequence[str] | None = None,
    reference: float | None = None,
    is_percent: bool = True,
    starts_at_zero: bool = False,
) -> Markup:
    """A dot with its interval for each row and series; rows run from top to bottom.

    `roles` colours the series; with a single series `row_roles` may colour the rows instead.
    `reference` draws a vertical line, such as chance or no difference.
    """

    def draw(axes: Axes) -> None:
        if reference is not None:
            axes.axvline(reference, color=STAND_IN["soft"], linewidth=1, linestyle=(0, (3, 3)))
        num_series = len(series)
        for index, (name, values) in enumerate(series.items()):
            offset = (index - (num_series - 1) / 2) * 0.26
            for row, value in enumerate(values):
                if value is None:
                    continue
                role = row_roles[row] if row_roles is not None else roles[index]
                middle, low, high = value
                if low is not None and high is not None:
                    axes.plot([low, high], [row + offset] * 2, color=STAND_IN[role], linewidth=2.2)
                axes.plot(
                    [middle],
                    [row + offset],
                    marker=_MARKERS[index % len(_MARKERS)],
                    markersize=6,
                    color=STAND_IN[role],
                    markeredgecolor=STAND_IN["paper"],
                    linestyle="",
                    label=_label(name) if num_series > 1 and row == _first(values) else None,
                )
        axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0, labelcolor=STAND_IN["ink"])
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x)
        axes.xaxis.set_major_locator(_ticks(5))
        if is_percent:
            axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))
        if starts_at_zero:
            axes.set_xlim(left=0)
        _add_legend(axes, num_series if num_series > 1 else 0)

    lines = 0.13 * any("\n" in row for row in rows)
    height = 0.75 + (0.26 * max(1, len(series)) + 0.16 + lines) * len(rows)
    return render_svg(draw, (_SIZE[0], max(1.5, min(height, 6.0))))


def _first(values: Sequence[Interval | None]) -> int:
    return next(index for index, value in enumerate(values) if value is not None)


def draw_histograms(
    edges: Sequence[float],
    counts: Mapping[str, Sequence[float]],
    *,
    roles: Sequence[str],
    x: str,
    is_log: bool = False,
) -> Markup:
    """Histograms over common edges, one on the other, as shares of their own total.

    `is_log` shows a tail of few: the shares are on a logarithmic axis, from half of one on.
    """
    totals = [max(float(sum(values)), 1.0) for values in counts.values()]
    bottom = min((0.5 / total for total in totals), default=0.5) if is_log else 0.0

    def draw(axes: Axes) -> None:
        for role, (name, values), total in zip(roles, counts.items(), totals, strict=False):
            shares = np.maximum(np.asarray(values, dtype=np.float64) / total, bottom)
            colour = STAND_IN[role]
            axes.stairs(
                shares, edges, baseline=bottom, fill=True, color=colour, alpha=0.28, linewidth=0
            )
            axes.stairs(
                shares, edges, baseline=bottom, color=colour, linewidth=1.6, label=_label(name)
            )
        axes.set_xlabel(x)
        if is_log:
            axes.set_yscale("log")
            axes.set_ylim(bottom, 1.0)
            axes.yaxis.set_major_locator(LogLocator(base=10, numticks=6))
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            axes.yaxis.set_major_locator(_ticks(4))
            axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
        axes.margins(x=0)
        _add_legend(axes, len(counts))

    return render_svg(draw, _SIZE)


def draw_ridges(
    edges: Sequence[float], counts: Mapping[str, Sequence[float]], *, roles: Sequence[str], x: str
) -> Markup:
    """One histogram a row, all on the same axis, each with a tick at its mean."""
    centres = (np.asarray(edges[1:]) + np.asarray(edges[:-1])) / 2
    shares = [
        np.asarray(values, dtype=np.float64) / max(sum(values), 1) for values in counts.values()
    ]
    peak = max((float(share.max()) for share in shares if share.size), default=1.0) or 1.0

    def draw(axes: Axes) -> None:
        for row, (share, role) in enumerate(zip(shares, roles, strict=False)):
            base = -row
            top = base + 0.86 * share / peak
            colour = STAND_IN[role]
            axes.stairs(top, edges, baseline=base, fill=True, color=colour, alpha=0.35, linewidth=0)
            axes.stairs(top, edges, baseline=base, color=colour, linewidth=1.3)
            mean = float((share * centres).sum() / max(share.sum(), 1e-9))
            axes.plot([mean, mean], [base, base + 0.9], color=STAND_IN["ink"], linewidth=1.1)
        axes.set_yticks([-row for row in range(len(shares))], [_label(name) for name in counts])
        axes.tick_params(axis="y", length=0, labelcolor=STAND_IN["ink"])
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_ylim(-len(shares) + 0.9, 1.0)
        axes.margins(x=0)
        axes.set_xlabel(x)
        axes.xaxis.set_major_locator(_ticks(6))

    return render_svg(draw, (_SIZE[0], 0.8 + 0.52 * len(counts)))


def draw_path(
    points: Mapping[str, tuple[float, float]], *, roles: Sequence[str], x: str, y: str
) -> Markup:
    """Named points in order, joined by arrows: the way of the versions."""
    places = list(points.values())

    def draw(axes: Axes) -> None:
        for place, role in zip(places, roles, strict=True):
            axes.plot(
                *[[value] for value in place],
                marker="o",
                markersize=9,
                color=STAND_IN[role],
                markeredgecolor=STAND_IN["paper"],
                linestyle="",
                zorder=3,
            )
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.margins(0.2)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(_ticks(5))
            axis.set_major_formatter(FuncFormatter(_percent_tick))
        axes.autoscale_view()  # from here on distances on the drawing are known
        on_page = [tuple(axes.transData.transform(place)) for place in places]
        for start, end, a, b in zip(places, places[1:], on_page, on_page[1:], strict=False):
            if np.hypot(b[0] - a[0], b[1] - a[1]) > 18:
                arrow = {"arrowstyle": "-|>", "color": STAND_IN["soft"], "linewidth": 1.3}
                arrow |= {"shrinkA": 6, "shrinkB": 7}
                axes.annotate("", xy=end, xytext=start, arrowprops=arrow)
        for name, place, offset in zip(
            points, places, _label_offsets(list(points), on_page), strict=True
        ):
            axes.annotate(
                _label(name),
                place,
                xytext=offset,
                textcoords="offset points",
                ha="left" if offset[0] > 0 else "right",
                va="center",
                fontweight="bold",
            )

    return render_svg(draw, (_SIZE[0], 3.3))


def _label_offsets(
    names: Sequence[str], places: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Where to write each name beside its point, in points, so that names don't cover each other.

    Below on the right or above on the left first: the path mostly runs the other diagonal.
    """
    candidates = [(9, -9), (-9, 9), (9, 9), (-9, -9), (9, -20), (-9, 20), (9, 20), (-9, -20)]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    chosen: list[tuple[float, float]] = []
    for name, (x, y) in zip(names, places, strict=True):
        width = 6.6 * len(_label(name))
        boxes = [
            (
                x + dx - (0 if dx > 0 else width),
                y + dy - 6,
                x + dx + (width if dx > 0 else 0),
                y + dy + 6,
            )
            for dx, dy in candidates
        ]
        clashes = [sum(_overlap(box, other) for other in taken) for box in boxes]
        best = clashes.index(min(clashes))
        taken.append(boxes[best])
        chosen.append(candidates[best])
    return chosen


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ticks(most: int, *, integer: bool = False) -> MaxNLocator:
    """Ticks at round numbers only: steps of 3 or 1.5 make odd reading."""
    return MaxNLocator(nbins=most, integer=integer, steps=[1, 2, 2.5, 5, 10])


def _tick(value: float, _position: int) -> str:
    if abs(value) >= 1e6:
        shown = f"{value / 1e6:g}M"
    else:
        shown = f"{value / 1e3:g}k" if abs(value) >= 10_000 else f"{value:g}"
    return shown.replace("-", "−")


def _percent_tick(value: float, _position: int) -> str:
    return f"{round(100 * value, 6):g}%".replace("-", "−")


def _label(name: str) -> str:
    """matplotlib hides labels that begin with an underscore; long names would eat the drawing."""
    lines = [" ".join(line.split()) for line in name.splitlines()]
    short = "\n".join(line if len(line) <= 30 else f"{line[:29]}…" for line in lines)
    return short.lstrip("_") or "?"


_LETTERS_AN_INCH = 16
_LETTERS_OF_A_MARK = 6


def _add_legend(axes: Axes, num_labels: int) -> None:
    if num_labels < 1:
        return
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=min(num_labels, 3, _columns(axes)),
        borderaxespad=0.2,
        columnspacing=1.3,
        labelcolor=STAND_IN["ink"],
    )


def _columns(axes: Axes) -> int:
    """So many labels side by side fit beside the names of the rows, whose place it begins at."""
    labels = axes.get_legend_handles_labels()[1]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    taken = max((len(line) for name in names for line in name.split("\n")), default=0)
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = figure.get_figwidth() * _LETTERS_AN_INCH - taken
    return max(1, int(room // (max(map(len, labels)) + _LETTERS_OF_A_MARK)))
