"""What a section of the report is made of; the page template knows how to show each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A drawing with what to see in it and which figure of the paper it answers."""

    kind: ClassVar[str] = "figure"
    title: str
    svg: Markup
    look: str
    paper: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """Small multiples: several drawings that are read together."""

    kind: ClassVar[str] = "panels"
    title: str
    panels: Sequence[tuple[str, Markup]]
    look: str
    paper: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell: the value, a smaller second line, a shade from 0 to 1, and whether it leads."""

    text: str
    small: str = ""
    shade: float | None = None
    is_best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The first `num_names` columns name the row, the others are numbers."""

    kind: ClassVar[str] = "table"
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    look: str
    paper: str = ""
    has_total: bool = False
    is_wide: bool = False
    num_names: int = 1


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a stacked bar: `share` in [0, 1] of the bar, `role` a colour of the palette."""

    name: str
    share: float
    role: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A stacked bar with a note, such as its interval."""

    label: str
    segments: Sequence[Segment]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Stacked bars, drawn by the browser: their text keeps its size on a phone."""

    kind: ClassVar[str] = "bars"
    title: str
    bars: Sequence[Bar]
    look: str
    paper: str = ""

    @property
    def legend(self) -> list[tuple[str, str]]:
        """(name, role) of each kind of segment, once, in the order of the fullest bar."""
        fullest_first = sorted(self.bars, key=lambda bar: -len(bar.segments))
        return list(
            dict.fromkeys(
                (segment.name, segment.role) for bar in fullest_first for segment in bar.segments
            )
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """Numbers with names."""

    kind: ClassVar[str] = "facts"
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Texts cut into tokens, each piece on its own ground."""

    kind: ClassVar[str] = "pieces"
    title: str
    texts: Sequence[Sequence[str]]
    look: str
    paper: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in a sample: whose, the text, and badges (text, tone: good, fair, bad, plain)."""

    who: str
    text: str
    badges: Sequence[tuple[str, str]] = ()
    role: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt (role, text) and the answers to it, side by side."""

    prompt: Sequence[tuple[str, str]]
    answers: Sequence[Answer]
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Samples; the first `num_open` are shown, the others fold away."""

    kind: ClassVar[str] = "samples"
    title: str
    samples: Sequence[Sample]
    look: str
    paper: str = ""
    num_open: int = 3


@dataclass(frozen=True, slots=True)
class Passage:
    """Two texts side by side, each a name and pieces (text, mark: same, different, around)."""

    title: str
    tags: Sequence[str]
    sides: Sequence[tuple[str, Sequence[tuple[str, str]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """Texts that share a passage; the first `num_open` are shown, the others fold away."""

    kind: ClassVar[str] = "passages"
    title: str
    passages: Sequence[Passage]
    look: str
    paper: str = ""
    num_open: int = 4


Block = Figure | Panels | Table | Bars | Facts | Pieces | Samples | Passages


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page, one line in its contents."""

    id: str
    title: str
    lead: str
    blocks: Sequence[Block]

    @property
    def layout(self) -> list[tuple[Block, bool]]:
        """Each block and whether it takes the whole width: pairs stand side by side.

        A block that would be left with an empty place beside it takes the whole width too.
        """
        placed: list[tuple[Block, bool]] = []
        has_left = False
        for index, block in enumerate(self.blocks):
            following = self.blocks[index + 1 : index + 2]
            can_pair = has_left or any(not _needs_width(other) for other in following)
            is_wide = _needs_width(block) or not can_pair
            has_left = not is_wide and not has_left
            placed.append((block, is_wide))
        return placed


def _needs_width(block: Block) -> bool:
    if isinstance(block, Table):
        return block.is_wide
    if isinstance(block, Samples):
        return any(len(sample.answers) > 2 for sample in block.samples)
    return isinstance(block, (Panels, Facts, Pieces, Passages))


@dataclass(frozen=True, slots=True)
class TileRow:
    """One version in a tile: value, low and high are positions in [0, 1] on its bar."""

    label: str
    value: str
    role: str
    position: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Tile:
    """A big number of the newest version, with all versions below."""

    title: str
    value: str
    note: str
    direction: str
    rows: Sequence[TileRow]


@dataclass(frozen=True, slots=True)
class Milestone:
    """A stage on the strip at the head of the page; `share` of the run's whole time."""

    label: str
    time: str
    share: float
    is_finished: bool
    section: str
