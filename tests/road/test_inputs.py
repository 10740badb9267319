"""What a run starts from: the world as files, or one's own files named in time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from arriero.data.dialogs import read_dialogs
from arriero.data.documents import read_documents
from arriero.data.mixing import Source
from arriero.data.preferences import read_preferences
from arriero.records import UserError
from arriero.road.inputs import (
    draw_world,
    external_files,
    few_shot,
    open_set,
    prepare,
    prompts_of,
)
from arriero.road.recipe import CROWD, DataConfig, WorldConfig
from arriero.stages.workspace import Workspace
from arriero.world.documents import SOURCES

WORLD = WorldConfig(
    documents=30,
    demonstrations=20,
    preference_prompts=40,
    comparison_prompts=10,
    policy_prompts=20,
    held_out_prompts=20,
    test_prompts=12,
    safety_share=0.4,
    borderline_share=0.1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inputs")
    draw_world(WORLD, Workspace(path, 0, torch.device("cpu"), lambda line: None))
    return path


def test_the_world_as_files(folder: Path) -> None:
    inputs = prepare(DataConfig(world=WORLD), folder)
    assert len(list(read_documents(inputs.corpus))) == 30
    assert len(list(read_dialogs(inputs.instructions))) == 20
    assert len(few_shot(folder)) == 3
    assert (inputs.helpfulness, inputs.safety) == ((), ())
    assert inputs.oracle() is not None
    assert inputs.annotators()
    assert external_files(inputs) == {}


def test_the_mix_of_prompts_by_hand(folder: Path) -> None:
    prompts = prompts_of(folder / "prompts-preferences.jsonl")
    tracks = [prompt.track for prompt in prompts]
    assert len(prompts) == 40
    assert tracks.count("safety") == 16  # two fifths adversarial; borderline ones are harmless
    # Evenly spread, so that any part of the list has the mix of all of it.
    assert all(6 <= tracks[at : at + 20].count("safety") <= 10 for at in range(0, 21))
    for name, count in (("rejection", 20), ("ppo", 20), ("held_out", 20), ("comparisons", 20)):
        assert len(prompts_of(folder / f"prompts-{name}.jsonl")) == count
    for name in ("ordinary", "adversarial", "borderline"):
        assert len(prompts_of(folder / f"prompts-test-{name}.jsonl")) == 12


def test_no_prompt_of_the_evaluation_is_learnt_from(folder: Path) -> None:
    def words(pattern: str) -> set[str]:
        return {p.messages[-1].content for f in folder.glob(pattern) for p in prompts_of(f)}

    learnt = words("prompts-[!tc]*.jsonl")
    assert learnt
    assert not learnt & words("prompts-test-*.jsonl")
    assert not learnt & words("prompts-comparisons.jsonl")


def test_open_comparisons_of_the_world(folder: Path, tmp_path: Path) -> None:
    assert not list(folder.glob("open-*"))
    world = WORLD.model_copy(update={"open_comparisons": 7})
    draw_world(world, Workspace(tmp_path, 0, torch.device("cpu"), lambda line: None))
    for track in ("helpfulness", "safety"):
        rows = list(read_preferences([open_set(tmp_path, track)]))
        assert len(rows) == 7
        assert {(row.track, row.source, row.rating) for row in rows} == {(track, CROWD, None)}


def test_the_same_seed_draws_the_same_files(folder: Path, tmp_path: Path) -> None:
    draw_world(WORLD, Workspace(tmp_path, 7, torch.device("cpu"), lambda line: None))
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    world = WORLD.model_copy(update={"seed": 1})
    draw_world(world, Workspace(other, 7, torch.device("cpu"), lambda line: None))
    assert (other / "corpus.jsonl").read_bytes() != (folder / "corpus.jsonl").read_bytes()


def test_files_of_ones_own(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("b.txt", "a.txt"):
        (corpus / name).write_text("words")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n")
    config = DataConfig(
        source="files",
        corpus=(str(corpus),),
        instructions=(str(rows),),
        helpfulness=(str(rows),),
        safety=(str(rows),),
    )
    inputs = prepare(config, tmp_path / "run")
    assert (inputs.world, inputs.oracle(), inputs.annotators()) == (None, None, ())
    files = [corpus / "a.txt", corpus / "b.txt"]
    others = {"instructions": [rows], "helpfulness": [rows], "safety": [rows]}
    assert external_files(inputs) == {"corpus": files, **others}
    weighted = config.model_copy(
        update={"corpus": (f"web={files[0]}", f"own={files[1]}"), "weights": {"web": 1, "own": 2}}
    )
    found = external_files(prepare(weighted, tmp_path / "run"))
    assert found == {"corpus web": files[:1], "corpus own": files[1:], **others}
    assert few_shot(tmp_path) == []
    missing = config.model_copy(update={"safety": (str(tmp_path / "no.jsonl"),)})
    with pytest.raises(UserError, match=r"no\.jsonl"):
        prepare(missing, tmp_path / "run")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """A corpus of a file, a folder and a file again, and what else has to be there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web").mkdir()
    for name in ("wiki.jsonl.gz", "web/a.txt", "more=wiki.txt", "rows.jsonl"):
        (tmp_path / name).write_text("words")
    rows = ("rows.jsonl",)
    corpus = ("wiki.jsonl.gz", str(tmp_path / "web"), "wiki=rows.jsonl", "more=wiki.txt")
    return DataConfig(
        source="files", corpus=corpus, instructions=rows, helpfulness=rows, safety=rows
    )


def test_sources_are_named_after_their_files_or_as_one_says(
    files: DataConfig, tmp_path: Path
) -> None:
    """`more=wiki.txt` is a file that is there, `wiki=rows.jsonl` is none."""
    weights = {"more=wiki": 0.5, "web": 1.0, "wiki": 3.0}
    inputs = prepare(files.model_copy(update={"weights": weights}), tmp_path / "run")
    wiki, web, last, more = (Path("wiki.jsonl.gz"), tmp_path / "web", Path("rows.jsonl"),
                             Path("more=wiki.txt"))  # fmt: skip
    assert inputs.sources == (
        Source("wiki", 3.0, (wiki, last)),
        Source("web", 1.0, (web,)),
        Source("more=wiki", 0.5, (more,)),
    )
    assert inputs.corpus == (wiki, web, last, more)
    plain = prepare(files, tmp_path / "run")
    assert (plain.corpus, plain.sources) == (inputs.corpus, ())


@pytest.mark.parametrize(
    ("weights", "line"),
    [
        ({"wki": 1.0}, r"data\.weights: the corpus has no source wki; did you mean wiki\?$"),
        ({"zzz": 1.0}, r"the corpus has no source zzz; there are wiki, web, more=wiki$"),
        ({"wiki": 1.0}, r"data\.weights: no weight for web, more=wiki; give each source"),
    ],
)
def test_weights_and_sources_that_do_not_belong_together(
    files: DataConfig, tmp_path: Path, weights: dict[str, float], line: str
) -> None:
    with pytest.raises(UserError, match=line):
        prepare(files.model_copy(update={"weights": weights}), tmp_path / "run")


def test_the_world_by_source(folder: Path, tmp_path: Path) -> None:
    weights = {name: 1.0 + number for number, name in enumerate(SOURCES)}
    draw_world(
        WORLD, Workspace(tmp_path, 7, torch.device("cpu"), lambda line: None), by_source=True
    )
    assert (tmp_path / "corpus.jsonl").read_bytes() == (folder / "corpus.jsonl").read_bytes()
    found = prepare(DataConfig(world=WORLD, weights=weights), tmp_path)
    assert {source.name: source.weight for source in found.sources} == weights
    lines: list[str] = []
    for source in found.sources:
        own = source.paths[0].read_text().splitlines()
        assert {json.loads(line)["source"] for line in own} <= {source.name}
        lines += own
    assert sorted(lines) == sorted((folder / "corpus.jsonl").read_text().splitlines())
    with pytest.raises(UserError, match="no weight for school hour, chronicle, letters,"):
        prepare(DataConfig(world=WORLD, weights={"tales": 1.0}), tmp_path)
