"""Paths, folders and lines, plain and compressed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard

from arriero.data import files
from arriero.records import UserError


def test_a_missing_path_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "helpful").mkdir()
    with pytest.raises(UserError, match=r"did you mean .*helpful\?"):
        files.given_paths(tmp_path / "helpfull" / "pairs.jsonl")


def test_a_missing_path_without_neighbours_names_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is the last part of it that does"):
        files.given_paths([tmp_path / "nothing.txt"])


def test_no_path_at_all() -> None:
    with pytest.raises(UserError, match="no data was named"):
        files.given_paths([])


def test_a_folder_is_its_data_files_by_name(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.txt", "a/b.txt", "sourdough.txt", ".hidden", ".git/x.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("text")
    for name in ("LICENSE", "LICENSE-NOTE.txt", "SOURCE.txt", "README.md", "a/README"):
        (tmp_path / name).write_text("about")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "empty.txt").write_text("")
    found = [str(file.relative_to(tmp_path)) for file in files.files_of(tmp_path)]
    assert found == ["a/b.txt", "a/z.txt", "b.txt", "sourdough.txt"]


def test_a_file_named_by_the_user_is_taken_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("text")
    assert files.files_of(path) == [path]


def test_a_folder_without_data(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("about")
    with pytest.raises(UserError, match="holds no data files"):
        files.files_of(tmp_path)


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd", "zstd in two frames"])
def test_lines_do_not_depend_on_the_compression_or_the_name(tmp_path: Path, kind: str) -> None:
    text = "\ufeffone\r\ntwo\n\nthrée".encode()
    packed = {
        "plain": text,
        "gzip": gzip.compress(text),
        "zstd": zstandard.compress(text),
        "zstd in two frames": zstandard.compress(text[:9]) + zstandard.compress(text[9:]),
    }[kind]
    path = tmp_path / "a.dat"
    path.write_bytes(packed)
    expected = [(1, "one"), (2, "two"), (3, ""), (4, "thrée")]
    assert list(files.read_text_lines(path)) == expected
    assert files.read_head(path).startswith(b"one")


def test_lines_longer_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 7)
    path = tmp_path / "a.txt"
    path.write_text("a" * 20 + "\n" + "b" * 6 + "\n" + "c" * 7)
    assert [line for _, line in files.read_lines(path)] == [b"a" * 20, b"b" * 6, b"c" * 7]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_file_cut_short_is_no_shorter_corpus(tmp_path: Path, compress) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(compress(bytes(range(1, 200)) * 50)[:-6])
    with pytest.raises(UserError, match=r"a\.jsonl\.gz cannot be read whole"):
        list(files.read_lines(path))


def test_damaged_compression(tmp_path: Path) -> None:
    whole = bytearray(zstandard.compress(b"some text that is not all the same " * 9))
    whole[4:12] = b"\xff" * 8
    path = tmp_path / "a.zst"
    path.write_bytes(whole)
    with pytest.raises(UserError, match="cannot be read whole"):
        list(files.read_lines(path))


def test_binary_and_other_encodings_are_named(tmp_path: Path) -> None:
    binary = tmp_path / "a.bin"
    binary.write_bytes("text".encode("utf-16"))
    with pytest.raises(UserError, match="is no text"):
        files.read_head(binary)
    latin = tmp_path / "b.txt"
    latin.write_bytes(b"one\ntw\xf6\n")
    with pytest.raises(UserError, match=r"b\.txt:2: byte 0xf6 at column 3 is not UTF-8"):
        list(files.read_text_lines(latin))


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("hh/helpful/pairs.jsonl.gz", "helpful/pairs"),
        ("seed.jsonl", "seed"),
        ("sets/v1.5-notes.txt", "sets/v1.5-notes"),
        ("hf:owner/name:test", "owner/name:test"),
    ],
)
def test_the_short_name_of_a_file(path: str, stem: str) -> None:
    assert files.stem_of(Path(path)) == stem
