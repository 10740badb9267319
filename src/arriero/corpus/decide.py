"""Stage 6: which copy stays. In the order of precedence, each document that is like one that has
stayed already goes; so whatever goes is, by itself, like the one that is named as having stayed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from arriero.corpus.buckets import Numbers, precedence, read_bands, read_first, read_limits
from arriero.corpus.candidates import ShingleSets
from arriero.corpus.config import DuplicatesConfig
from arriero.corpus.shingles import Hashes, jaccard
from arriero.corpus.signatures import id_text, read_signatures
from arriero.corpus.stages import Context, Outputs, Stage
from arriero.corpus.storage import hash_of, write_json

NAME = "06-decide"
EXACT, NEAR = "exact_duplicate", "near_duplicate"

# Of a unit's documents: id to (rule, id of the one that stayed, similarity).
Decisions = dict[str, tuple[str, str, float]]


def stage(
    found: Mapping[str, Outputs],
    exact: Mapping[str, Outputs],
    signed: Mapping[str, Outputs],
    config: DuplicatesConfig,
) -> Stage:
    """One unit, for all documents.

    It follows from the signatures too: a file that is called otherwise gives its documents other
    ids, and with the same texts in the same places nothing else would tell.
    """
    facts = [[dict(outputs) for outputs in part.values()] for part in (found, exact, signed)]
    return Stage(NAME, decide, {"all": hash_of(NAME, config.near, config.threshold, facts)})


def decide(context: Context, name: str) -> list[Path]:
    """Write each unit's decisions, sorted by id."""
    del name
    parts = read_signatures(context)
    limits, first = read_limits(context), read_first(context)
    gone = near_duplicates(context, precedence(context, parts)) if len(first) else {}
    ids = np.concatenate([part["id"] for part in parts])
    is_leader = first == np.arange(len(first))
    touched = np.flatnonzero(~is_leader | np.isin(first, list(gone)))
    paths: list[Path] = []
    for place, unit in enumerate(context.units()):
        found: Decisions = {}
        begin, end = np.searchsorted(touched, limits[place : place + 2])
        for number in touched[begin:end].tolist():
            leader = int(first[number])
            if leader in gone:
                stayed, similarity = gone[leader]
                found[id_text(ids[number])] = (NEAR, id_text(ids[stayed]), round(similarity, 4))
            elif leader != number:
                found[id_text(ids[number])] = (EXACT, id_text(ids[leader]), 1.0)
        path = Path(NAME, f"{unit.name}.json")
        write_json(context.root / path, dict(sorted(found.items())))
        paths.append(path)
    return paths


def near_duplicates(context: Context, rank: Numbers) -> dict[int, tuple[int, float]]:
    """Documents that go, each with the one that stayed and their Jaccard similarity."""
    groups: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for band, pairs in enumerate(read_bands(context)):
        for group, number in pairs.T.tolist():
            groups[number].append((band, group))
    if not groups:
        return {}
    sets, threshold = ShingleSets(context), context.recipe.duplicates.threshold
    stayed: dict[tuple[int, int], list[tuple[int, Hashes]]] = defaultdict(list)
    gone: dict[int, tuple[int, float]] = {}
    for number in sorted(groups, key=lambda one: int(rank[one])):
        own, compared = sets.of(number), set[int]()
        likeness = 0.0
        for key in groups[number]:
            for other, others in stayed[key]:
                if other in compared:
                    continue
                compared.add(other)
                sizes = sorted((len(own), len(others)))
                if sizes[0] < threshold * sizes[1]:
                    continue  # the smaller one's share of both is the most that they can have
                likeness = jaccard(own, others)
                if likeness >= threshold:
                    gone[number] = (other, likeness)
                    break
            if number in gone:
                break
        else:
            for key in groups[number]:
                stayed[key].append((number, own))
    return gone
