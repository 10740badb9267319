"""One figure as inline SVG of the page: the style of all figures, colours as CSS variables.

One drawing is right in light, in dark and in print; text stays text; nothing depends on the time
or the machine.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_ROLES = (
    "ink",
    "soft",
    "line",
    "paper",
    "grey",
    "blue",
    "amber",
    "green",
    "vermilion",
    "purple",
    "sky",
    "olive",
)
# Colours that occur nowhere else stand for the roles until the SVG is written.
STAND_IN = {role: f"#0a00{index + 16:02x}" for index, role in enumerate(_ROLES)}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "arriero",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": STAND_IN["line"],
    "axes.labelcolor": STAND_IN["soft"],
    "axes.labelsize": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": STAND_IN["line"],
    "grid.linewidth": 0.6,
    "xtick.color": STAND_IN["line"],
    "ytick.color": STAND_IN["line"],
    "xtick.labelcolor": STAND_IN["soft"],
    "ytick.labelcolor": STAND_IN["soft"],
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": STAND_IN["ink"],
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.4,
    "lines.solid_capstyle": "round",
    "lines.linewidth": 1.8,
    "figure.constrained_layout.use": True,
}


def render_svg(draw: Callable[[Axes], None], size: tuple[float, float]) -> Markup:
    """Draw on fresh axes of a size in inches, and give the drawing as an element of a page."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The reader's browser has the fonts for what the measuring font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=size)
        draw(figure.add_subplot())
        stream = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
    return _inline(stream.getvalue())


def _inline(svg: str) -> Markup:
    """A matplotlib SVG file as an element of a page: unique ids, our colours, no fixed size."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
    view = re.search(r'viewBox="[^"]*"', body)
    opening = f'<svg {view.group() if view else ""} class="plot" aria-hidden="true">'
    body = opening + body[body.index(">") + 1 :]
    # Different drawings get different ids; equal ones may share them, as they are equal.
    prefix = "f" + hashlib.sha256(body.encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    body = re.sub(
        r' id="([^"]*)"',
        lambda match: f' id="{prefix}-{match[1]}"' if match[1] in used else "",
        body,
    )
    body = re.sub(r'xlink:href="#', f'href="#{prefix}-', body)
    body = body.replace("url(#", f"url(#{prefix}-")
    for role, colour in STAND_IN.items():
        body = body.replace(colour, f"var(--{role})")
    return Markup(re.sub(r"\n\s*", "\n", body).strip())  # matplotlib has escaped the text in it
