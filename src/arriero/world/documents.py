"""The corpus: short documents from several named sources of unlike register.

Some tell what people asked and what is so; none holds a dialogue, so a model of them cannot either.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from arriero.world import sources_people, sources_school, sources_warnings
from arriero.world.sources_questions import school_hour
from arriero.world.tasks import Tasks
from arriero.world.valley import Valley

Writer = Callable[[Valley, random.Random], str]


@dataclass(frozen=True, slots=True)
class Document:
    """One text of the corpus and the source that it claims."""

    id: str
    source: str
    text: str


SCHOOL_HOURS = 0.14
# Share of the other documents by source.
SHARES: dict[str, tuple[float, Writer]] = {
    "chronicle": (0.13, sources_people.chronicle),
    "letters": (0.11, sources_people.letter),
    "tales": (0.06, sources_people.tale),
    "gazette": (0.09, sources_people.gazette),
    "notices": (0.06, sources_people.notice),
    "school book": (0.20, sources_school.school_book),
    "verses": (0.06, sources_school.verses),
    "word list": (0.09, sources_school.word_list),
    "almanac": (0.06, sources_warnings.almanac),
    "healer": (0.06, sources_warnings.healer),
    "law book": (0.05, sources_warnings.law_book),
    "smugglers' notes": (0.03, sources_warnings.smugglers_notes),
}

SOURCES = ("school hour", *SHARES)


def write_documents(tasks: Tasks, num: int) -> Iterator[Document]:
    """`num` documents; the first ones stay the same when more are asked for."""
    rng = random.Random(f"documents/{tasks.valley.seed}")
    names = list(SHARES)
    weights = [SHARES[name][0] for name in names]
    for position in range(num):
        if rng.random() < SCHOOL_HOURS:
            source, text = SOURCES[0], school_hour(tasks, rng)
        else:
            source = rng.choices(names, weights)[0]
            text = SHARES[source][1](tasks.valley, rng)
        yield Document(f"{source.replace(' ', '-')}-{position}", source, text)
