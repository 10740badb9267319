"""A dialog's map of attention: which earlier tokens each token looks at (Figure 10)."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from arriero.road.report.svg import STAND_IN, render_svg

_SIZE = (4.4, 4.0)
_FAINTEST = 0.02


def draw_attention(
    weights: Sequence[Sequence[float]], bin_size: int, instruction: tuple[int, int]
) -> Markup:
    """Strongest attention from each bin of tokens (down) to each earlier one (to the right).

    Args:
        weights: [B][B] from 0 to 1, the deeper the colour the larger.
        bin_size: tokens a bin.
        instruction: its first token and the one after its last; marked below the columns.
    """
    count = len(weights)

    def draw(axes: Axes) -> None:
        for row, line in enumerate(weights):
            for column, weight in enumerate(line[: row + 1]):
                if weight >= _FAINTEST:
                    axes.add_patch(
                        Rectangle(
                            (column, row),
                            1,
                            1,
                            facecolor=STAND_IN["blue"],
                            alpha=round(min(1.0, weight), 2),
                            linewidth=0,
                        )
                    )
        begin, end = (place / bin_size for place in instruction)
        axes.plot(
            [begin, max(end, begin + 0.5)],
            [count + 0.5, count + 0.5],
            color=STAND_IN["vermilion"],
            linewidth=3,
            solid_capstyle="butt",
        )
        axes.set_xlim(0, count)
        axes.set_ylim(count + 1, 0)
        ticks = range(0, count + 1, max(1, count // 5))
        axes.set_xticks(list(ticks), [f"{tick * bin_size}" for tick in ticks])
        axes.set_yticks(list(ticks), [f"{tick * bin_size}" for tick in ticks])
        axes.set_xlabel("token looked at (the instruction is underlined)")
        axes.set_ylabel("token that looks")
        axes.grid(visible=False)

    return render_svg(draw, _SIZE)
