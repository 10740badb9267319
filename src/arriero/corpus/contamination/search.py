"""Samples against a whole corpus: part by part, of each place the longest match of all parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arriero.corpus.contamination.matching import Rule, Samples, longest_matches
from arriero.corpus.contamination.parts import (
    Say,
    TokenFolder,
    drop_others,
    most_tokens,
    part_starts,
    plan_parts,
    sorted_part,
)
from arriero.records import UserError


@dataclass(frozen=True, slots=True)
class Match:
    """A match of a sample: tokens `begin` to `begin + length`, and where it is in the corpus.

    Attributes:
        folder: number of the token folder.
        place: its first token there.
    """

    begin: int
    length: int
    folder: int
    place: int

    @property
    def end(self) -> int:
        """The token after it."""
        return self.begin + self.length


@dataclass(frozen=True, slots=True)
class Found:
    """[M] each: of every token of the samples the longest match that begins there, as `Match`."""

    lengths: NDArray[np.int32]
    folders: NDArray[np.int32]
    places: NDArray[np.int64]

    def of_sample(self, begin: int, end: int) -> list[Match]:
        """The matches of tokens `begin` to `end`, without those that lie in an earlier one.

        What is left does not depend on how the corpus was cut into parts.
        """
        matches: list[Match] = []
        for at in (begin + np.flatnonzero(self.lengths[begin:end])).tolist():
            match = Match(
                at - begin, int(self.lengths[at]), int(self.folders[at]), int(self.places[at])
            )
            if not matches or match.end > matches[-1].end:
                matches.append(match)
        return matches


def search(
    folders: Sequence[TokenFolder],
    samples: Samples,
    rule: Rule,
    memory: float,
    vocab_size: int,
    say: Say,
) -> Found:
    """Look all samples up in all folders.

    Args:
        memory: bytes that a part may take while it is sorted.
        vocab_size: of the tokenizer of the samples; the corpus's ids have to be below it.

    Raises:
        UserError: the corpus has other ids, or memory is too small for a document and a sample.
    """
    lengths = np.zeros(len(samples.tokens), np.int32)
    numbers = np.zeros(len(samples.tokens), np.int32)
    places = np.zeros(len(samples.tokens), np.int64)
    longest = int(np.diff(samples.starts).max(initial=1))
    most = most_tokens(memory)
    if most < 1:
        raise UserError(f"--memory of {memory:g} bytes holds no token; allow more")
    for number, folder in enumerate(folders):
        num_parts = 0
        for part in plan_parts(folder, most, longest):
            text, order = sorted_part(folder, num_parts, part, say)
            num_parts += 1
            if len(order) and int(text.max()) > vocab_size:
                raise UserError(
                    f"{folder.path} holds the id {int(text.max()) - 1}, the tokenizer has "
                    f"{vocab_size}: it was made with another; name that one with --tokenizer"
                )
            found, where = longest_matches(text, order, samples, rule)
            better = np.flatnonzero(found > lengths)
            lengths[better], numbers[better] = found[better], number
            places[better] = part.begin + _in_tokens(where[better], part_starts(folder, part))
        drop_others(folder, num_parts)
        say(f"{folder.name}: {len(folder.tokens):,} tokens in {num_parts} parts")
    return Found(lengths, numbers, places)


def _in_tokens(places: NDArray[np.int32], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places in a part's text as places in its tokens, which have no separators between them."""
    begins = starts + np.arange(len(starts))
    return places - (np.searchsorted(begins, places, side="right") - 1)
