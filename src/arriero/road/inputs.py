"""What a run starts from, as files: drawn from the embedded world, or the user's own.

The world is known here alone: stages get paths, and the oracle as a grader.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import get_args

from arriero.data.dialogs import read_dialogs
from arriero.data.files import files_of, given_paths, is_hub
from arriero.data.mixing import Source
from arriero.data.preferences import read_preferences
from arriero.data.prompts import prompts_file, read_prompts
from arriero.data.writing import write_dialogs, write_preferences, write_prompts, write_rows
from arriero.records import Annotator, Dialog, Oracle, Prompt, UserError
from arriero.records.prompt import Track
from arriero.road.built import built_weights, with_built
from arriero.road.recipe import DataConfig, WorldConfig
from arriero.stages.workspace import Workspace
from arriero.world import World
from arriero.world.documents import SOURCES, Document

TEST_SETS = ("ordinary", "adversarial", "borderline")

GHOST_PROMPTS = "prompts-ghost.jsonl"
GHOST_TESTS = "prompts-ghost-test.jsonl"

_FEW_SHOT = 3
# Forty of each of the eight kinds that are tested.
_ATTRIBUTE_TESTS = 320


@dataclass(frozen=True)
class Inputs:
    """Paths of everything that the stages read from outside.

    Attributes:
        corpus, instructions: what the base model and the SFT model learn from.
        helpfulness, safety: the user's own comparisons; empty where annotators make them.
        tests: those of a track that the user holds out.
        world: seed of the world whose annotators and oracle judge; None with one's own files.
        sources: the corpus in parts with their weights; none where the recipe gives no weights.
        ghost: dialogs that Ghost Attention rewrites.
        general: open comparisons for a reward model that watches PPO, if there are any.
    """

    corpus: tuple[Path, ...]
    instructions: tuple[Path, ...]
    helpfulness: tuple[Path, ...]
    safety: tuple[Path, ...]
    world: int | None
    sources: tuple[Source, ...] = ()
    tests: Mapping[Track, tuple[Path, ...]] = field(default_factory=dict)
    ghost: tuple[Path, ...] = ()
    general: Mapping[Track, tuple[Path, ...]] = field(default_factory=dict)

    def annotators(self) -> tuple[Annotator, ...]:
        """The simulated annotators, where there are any."""
        return () if self.world is None else World(self.world).annotators()

    def oracle(self) -> Oracle | None:
        """The oracle, where there is one."""
        return None if self.world is None else World(self.world).oracle()


def prepare(config: DataConfig, folder: Path) -> Inputs:
    """Paths of the inputs; those of the world lie in `folder` once `draw_world` wrote them.

    Raises:
        UserError: files are wanted and one kind of them is not named or not there, or weights and
            sources do not belong together.
    """
    if config.source == "world":
        parts = {name: (_part_of_world(folder, name),) for name in SOURCES}
        return Inputs(
            corpus=(folder / "corpus.jsonl",),
            instructions=(folder / "demonstrations.jsonl", *_attributes(config, folder)),
            helpfulness=(),
            safety=(),
            world=config.world.seed,
            sources=weighted(parts, config.weights),
            ghost=(folder / GHOST_PROMPTS,) if config.world.attribute_dialogs else (),
            general=_general_of_world(folder) if config.world.general_comparisons else {},
        )
    weights = config.weights or built_weights(config.corpus)
    return Inputs(
        corpus=corpus_files(config.corpus),
        instructions=existing_files("instructions", config.instructions),
        helpfulness=existing_files("helpfulness", config.helpfulness),
        safety=existing_files("safety", config.safety),
        world=None,
        sources=weighted(corpus_sources(config.corpus), weights),
        tests=_test_files(config),
        ghost=existing_files("instructions", config.instructions),
        general=(
            {"helpfulness": existing_files("general", config.general)} if config.general else {}
        ),
    )


def _general_of_world(folder: Path) -> dict[Track, tuple[Path, ...]]:
    return {track: (general_set(folder, track),) for track in get_args(Track)}


def _attributes(config: DataConfig, folder: Path) -> tuple[Path, ...]:
    return (folder / "attributes.jsonl",) if config.world.attribute_dialogs else ()


def _test_files(config: DataConfig) -> dict[Track, tuple[Path, ...]]:
    named: dict[Track, tuple[str, ...]] = {
        "helpfulness": config.helpfulness_test,
        "safety": config.safety_test,
    }
    return {
        track: existing_files(f"{track}_test", names) for track, names in named.items() if names
    }


def corpus_files(entries: Sequence[str]) -> tuple[Path, ...]:
    """The paths of a corpus, whatever the sources are called, in the order given.

    Raises:
        UserError: none is named, or one is not there.
    """
    return existing_files("corpus", [_named(entry)[1] for entry in with_built(entries)])


def corpus_sources(entries: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """The paths of a corpus by source.

    Raises:
        UserError: one is not there.
    """
    named: dict[str, tuple[Path, ...]] = {}
    for name, path in map(_named, with_built(entries)):
        named[name] = (*named.get(name, ()), *existing_files("corpus", [path]))
    return named


def weighted(
    named: Mapping[str, tuple[Path, ...]], weights: Mapping[str, float]
) -> tuple[Source, ...]:
    """The sources with their weights, in the order of the corpus; none without weights.

    Raises:
        UserError: a weight without a source, or a source without a weight.
    """
    for name in weights:
        if name not in named:
            near = difflib.get_close_matches(name, named, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(named)}"
            raise UserError(f"data.weights: the corpus has no source {name}; {hint}")
    missing = [name for name in named if name not in weights]
    if weights and missing:
        raise UserError(
            f"data.weights: no weight for {', '.join(missing)}; give each source of the corpus one"
        )
    return tuple(Source(name, weights[name], named[name]) for name in named if weights)


def _named(entry: str) -> tuple[str, str]:
    """Source and path of an entry: of NAME=PATH, or of a path that has the name of its file.

    web.jsonl.gz is called web.
    """
    name, equals, path = entry.partition("=")
    if equals and "/" not in name and not Path(entry).exists():
        if not name:
            raise UserError(f"{entry} gives a source no name; say NAME{entry}")
        return name, path
    name = Path(entry).resolve().name
    return name.lstrip(".").partition(".")[0] or name, entry


def _part_of_world(folder: Path, source: str) -> Path:
    return folder / "sources" / f"{source.replace(' ', '-')}.jsonl"


def external_files(inputs: Inputs) -> dict[str, list[Path]]:
    """All files of the user's that a run reads, by what they are read as."""
    if inputs.world is not None:
        return {}
    corpus = {f"corpus {source.name}": source.paths for source in inputs.sources}
    parts = {
        **(corpus or {"corpus": inputs.corpus}),
        "instructions": inputs.instructions,
        "helpfulness": inputs.helpfulness,
        "safety": inputs.safety,
        **{f"{track}_test": paths for track, paths in inputs.tests.items()},
        **{f"general {track}": paths for track, paths in inputs.general.items()},
    }
    return {
        part: [file for path in paths for file in files_of(path)] for part, paths in parts.items()
    }


def read_once(inputs: Inputs, workspace: Workspace) -> None:
    """Read the dialogs and comparisons to their end, so that a wrong row costs no training.

    The corpus needs none of it: the tokenizer, which comes next, reads it.

    Raises:
        UserError: a row is wrong (`file:line: ...`), or a path holds nothing of its kind.
    """
    read: dict[str, tuple[Sequence[Path], Callable[[Sequence[Path]], Iterator[object]]]] = {
        "dialogs": (inputs.instructions, read_dialogs),
    }
    comparisons: dict[Track, tuple[Path, ...]] = {
        "helpfulness": inputs.helpfulness,
        "safety": inputs.safety,
    }
    for track, paths in comparisons.items():
        reader = partial(read_preferences, track=track)
        read[f"{track} comparisons"] = (paths, reader)
        read[f"{track} test comparisons"] = (inputs.tests.get(track, ()), reader)
        read[f"general {track} comparisons"] = (inputs.general.get(track, ()), reader)
    counts: dict[str, int] = {}
    for name, (paths, reader) in read.items():
        local = [path for path in paths if not is_hub(path)]
        counts[name] = sum(1 for _ in reader(local)) if local else 0
    workspace.say(", ".join(f"{count:,} {name}" for name, count in counts.items() if count))
    files = [str(file) for part in external_files(inputs).values() for file in part]
    workspace.write_results({"files": files, "rows": counts})


def draw_world(
    config: WorldConfig, workspace: Workspace, *, by_source: bool = False, versions: int = 1
) -> None:
    """Write the world's documents, demonstrations and prompts as a user's files would be.

    Args:
        by_source: the documents lie once more in a file for each source.
        versions: each gets as many prompts as `config` says, none of them another's.
    """
    world = World(config.seed)
    folder = workspace.folder
    documents = list(world.documents(config.documents))
    _write_documents(folder / "corpus.jsonl", documents)
    for source in SOURCES if by_source else ():
        path = _part_of_world(folder, source)
        path.parent.mkdir(exist_ok=True)
        _write_documents(path, [one for one in documents if one.source == source])
    demonstrations = world.demonstrations(config.demonstrations)
    write_dialogs(folder / "demonstrations.jsonl", demonstrations)
    write_dialogs(folder / "few-shot.jsonl", world.few_shot(_FEW_SHOT))
    counts = {
        "preferences": config.preference_prompts,
        "rejection": config.policy_prompts,
        "ppo": config.policy_prompts,
    }
    for split, count in counts.items():
        prompts = _mixed(world, split, count * versions, config)
        for version in range(1, versions + 1):
            fresh = prompts[count * (version - 1) : count * version]
            asks_for_rhymes = not config.rhymes_until or version <= config.rhymes_until
            write_prompts(
                prompts_file(folder, split, version, versions),
                [one for one in fresh if asks_for_rhymes or one.category != "rhyme"],
            )
    held_out = _mixed(world, "held_out", config.held_out_prompts, config)
    write_prompts(folder / "prompts-held_out.jsonl", held_out)
    count = config.comparison_prompts
    by_kind = {
        kind: world.prompts("test", kind, count * versions) for kind in ("ordinary", "adversarial")
    }
    for version in range(1, versions + 1):
        fresh = [
            prompt
            for prompts in by_kind.values()
            for prompt in prompts[count * (version - 1) : count * version]
        ]
        write_prompts(prompts_file(folder, "comparisons", version, versions), fresh)
    for kind in TEST_SETS:
        prompts = world.prompts("test", kind, config.test_prompts)
        write_prompts(folder / f"prompts-test-{kind}.jsonl", prompts)
    num_open, num_general = config.open_comparisons, config.general_comparisons
    for track in get_args(Track) if num_open or num_general else ():
        rows = world.open_comparisons(track, num_open + num_general)
        if num_open:
            write_preferences(open_set(folder, track), rows[:num_open])
        if num_general:
            write_preferences(general_set(folder, track), rows[num_open:])
    if config.attribute_dialogs:
        _draw_attributes(world, config.attribute_dialogs, folder)
    workspace.say(f"{config.documents:,} documents, {len(demonstrations):,} demonstrations")
    workspace.write_results({"documents": config.documents, "demonstrations": len(demonstrations)})


def _draw_attributes(world: World, num: int, folder: Path) -> None:
    """Demonstrations about attributes, prompts for Ghost Attention, and tests of many turns."""
    write_dialogs(folder / "attributes.jsonl", world.attribute_demonstrations(num))
    write_prompts(folder / GHOST_PROMPTS, world.ghost_prompts(num))
    write_rows(folder / GHOST_TESTS, map(asdict, world.attribute_tests(_ATTRIBUTE_TESTS)))


def _write_documents(path: Path, documents: Sequence[Document]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for document in documents:
            row = {"text": document.text, "source": document.source, "id": document.id}
            file.write(json.dumps(row) + "\n")


def open_set(folder: Path, track: Track) -> Path:
    """Where the world's open comparisons of a track lie, if it drew any."""
    return folder / f"open-{track}.jsonl"


def general_set(folder: Path, track: Track) -> Path:
    """Where the comparisons lie that the world's general reward model learns from."""
    return folder / f"general-{track}.jsonl"


def few_shot(folder: Path) -> list[Dialog]:
    """The examples for the base model, if the world gave any."""
    path = folder / "few-shot.jsonl"
    return list(read_dialogs([path])) if path.exists() else []


def prompts_of(path: Path) -> list[Prompt]:
    """The prompts of a file."""
    return list(read_prompts([path]))


def _mixed(world: World, split: str, count: int, config: WorldConfig) -> list[Prompt]:
    """Ordinary, adversarial and borderline prompts of a split, evenly spread."""
    num_safety = round(count * config.safety_share)
    num_borderline = round(count * config.borderline_share)
    kinds = {
        "ordinary": count - num_safety - num_borderline,
        "adversarial": num_safety,
        "borderline": num_borderline,
    }
    placed = [
        ((number + 0.5) / size, kind, prompt)
        for kind, size in kinds.items()
        if size
        for number, prompt in enumerate(world.prompts(split, kind, size))
    ]
    return [prompt for _, _, prompt in sorted(placed, key=lambda item: item[:2])]


def existing_files(key: str, names: Sequence[str]) -> tuple[Path, ...]:
    """The paths of a key of the recipe.

    Raises:
        UserError: none is named, or one is not there.
    """
    if not names:
        raise UserError(f"no {key} named; say --data.{key} PATH [PATH ...]")
    return tuple(given_paths([Path(name).expanduser() for name in names]))
