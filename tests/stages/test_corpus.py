"""The tokenised corpus of a stage: written once, checked, what is damaged written again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from arriero.data.mixing import Source, open_corpus, shard_folder
from arriero.data.shards import flaw
from arriero.records import UserError
from arriero.stages.corpus import SHARD, mend, tokenise
from arriero.tokenizer.load import load_tokenizer

from .conftest import WORDS, NewWorkspace


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    found: list[Source] = []
    for name, weight in (("letters", 1.0), ("tales", 2.0)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(f'{{"text": "{name} {word}"}}\n' for word in WORDS))
        found.append(Source(name, weight, (path,)))
    return found


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 4]))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["tokens.bin", "starts.npy"])
def test_only_what_is_damaged_is_tokenised_again(
    sources: list[Source],
    chat_folder: Path,
    workspace: NewWorkspace,
    harm: Callable[[Path], None],
    name: str,
) -> None:
    said: list[str] = []
    space = replace(workspace(), say=said.append)
    tokenizer = load_tokenizer(chat_folder)
    tokenise([], sources, tokenizer, space)
    assert [line.partition(" tokens")[0].partition(": ")[0] for line in said] == [
        "letters",
        "tales",
    ]
    folders = [shard_folder(space.folder / SHARD, number) for number in range(2)]
    before = [(folder / "tokens.bin").read_bytes() for folder in folders]
    written = (folders[0] / "tokens.bin").stat().st_mtime_ns
    said.clear()
    tokenise([], sources, tokenizer, space)
    assert said == []

    harm(folders[1] / name)
    tokenise([], sources, tokenizer, space)
    assert said[0].startswith(f"{folders[1]}: {name} ")
    assert said[0].endswith("; tokenising the corpus again")
    assert said[1].startswith("tales: ")
    assert [(folder / "tokens.bin").read_bytes() for folder in folders] == before
    assert [flaw(folder) for folder in folders] == ["", ""]
    assert (folders[0] / "tokens.bin").stat().st_mtime_ns == written


def test_a_corpus_without_sources_is_mended_too(
    sources: list[Source], chat_folder: Path, workspace: NewWorkspace
) -> None:
    space = workspace()
    paths = [path for source in sources for path in source.paths]
    tokenise(paths, (), load_tokenizer(chat_folder), space)
    assert open_corpus(space.folder / SHARD, 8).names == ("",)
    path = space.folder / SHARD / "tokens.bin"
    whole = path.read_bytes()
    flip(path)
    mend(corpus=paths, sources=(), tokenizer_folder=chat_folder, workspace=space)
    assert path.read_bytes() == whole


def test_an_empty_source_is_named(
    sources: list[Source], chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    empty = Source("verses", 1.0, (tmp_path / "empty.jsonl",))
    with pytest.raises(UserError, match=r"^source verses: .*empty\.jsonl"):
        tokenise([], [*sources, empty], load_tokenizer(chat_folder), workspace())
