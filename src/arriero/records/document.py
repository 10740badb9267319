"""A document of a built corpus, with where it came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """A document that stayed in a corpus.

    Attributes:
        id: the same whatever the machine and the order: a hash of source, file and place.
        text: as it stands in the corpus, normalised and, where asked for, masked.
        source: its name in the recipe.
        license: as the recipe says it for the source; "" where nothing was said.
        file: the input file, relative to the source's root.
        place: line, record or piece in that file, counted from 1; a name inside an archive.
        url: where the document says that it is from; "" if it does not.
    """

    id: str
    text: str
    source: str
    license: str
    file: str
    place: int | str
    url: str
