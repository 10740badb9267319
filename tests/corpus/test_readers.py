"""Readers: what they find in every format, and every kind of bad input counted, named, survived."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from arriero.corpus.config import SourceConfig
from arriero.corpus.listing import InputFile, format_of
from arriero.corpus.readers.items import Found, Item, Problem
from arriero.corpus.readers.lines import bounded_lines
from arriero.corpus.readers.reading import read_file

LIMIT = 1_000


def read(path: Path, form: str = "", **source: Any) -> list[Item]:
    config = SourceConfig.model_validate({"paths": [str(path)]} | source)
    file = InputFile(str(path), path.name, form or format_of(path.name), path.stat().st_size, "")
    return list(read_file(file, config, LIMIT, "plain"))


def texts(items: list[Item]) -> list[str]:
    return [item.text for item in items if isinstance(item, Found)]


def problems(items: list[Item]) -> list[tuple[str, int | str]]:
    return [(item.reason, item.place) for item in items if isinstance(item, Problem)]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_json_lines(tmp_path: Path, ending: str) -> None:
    content = b'{"text": "a", "url": "http://x.example"}\r\n\n{"content": "b"}\n{"text": "c"}'
    if ending == ".gz":
        content = gzip.compress(content)
    elif ending == ".zst":
        content = zstandard.compress(content)
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(content)
    assert read(path) == [Found("a", 1, "http://x.example"), Found("b", 3), Found("c", 4)]


def test_bad_lines_are_named_and_the_others_read(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}',
        b"not json",
        b'{"text": 3}',
        b'{"other": "x"}',
        b"[1, 2]",
        b'{"text": "caf\xe9"}',
        b'{"text": "nu\0ll"}',
        b'{"text": "' + b"x" * LIMIT + b'"}',
        b"[" * 100 + b"]" * 100,
        b'{"text": null}',
        b'{"text": "last"}',
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    items = read(path)
    assert texts(items) == ["good", "last"]
    assert problems(items) == [
        ("not JSON", 2),
        ("a text that is no string", 3),
        ("no field text or content", 4),
        ("a row that is no object", 5),
        ("not UTF-8", 6),
        ("null bytes", 7),
        ("line too long", 8),
        ("a row that is no object", 9),
        ("no field text or content", 10),
    ]


def test_deep_json_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"[" * 400_000)
    config = SourceConfig(paths=(str(path),))
    file = InputFile(str(path), "a.jsonl", "jsonl", 400_000, "")
    assert problems(list(read_file(file, config, 10**6, "plain"))) == [("not JSON", 1)]


def test_fields_can_be_named_and_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"title": "T", "body": "B", "link": "u"}\n')
    assert read(path, text=["title", "body"], join=True, url="link") == [Found("T\n\nB", 1, "u")]
    assert read(path, text="body") == [Found("B", 1)]


@pytest.mark.parametrize("cut", [20, 60, -4])
@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_broken_compression_is_named_and_what_was_whole_is_read(
    tmp_path: Path, ending: str, cut: int
) -> None:
    rows = "".join(json.dumps({"text": f"text {n * 7919 % 1000}"}) + "\n" for n in range(2_000))
    whole = gzip.compress(rows.encode()) if ending == "gz" else zstandard.compress(rows.encode())
    path = tmp_path / f"a.jsonl.{ending}"
    path.write_bytes(whole[:cut])
    items = read(path)
    assert [reason for reason, _ in problems(items)] == ["not readable whole"]
    expected = [json.loads(line)["text"] for line in rows.splitlines()]
    assert texts(items) == expected[: len(texts(items))]


def test_a_bomb_of_one_line_is_not_held(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(b"x" * 2**20)
        file.write(b'\n{"text": "after"}\n')
    tracemalloc.start()
    items = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (problems(items), texts(items)) == ([("line too long", 1)], ["after"])
    assert peak < 8 * 2**20


def test_bounded_lines_whatever_the_chunks() -> None:
    content = b"ab\n" + b"x" * 11 + b"\n\nlast"
    for size in range(1, 20):
        chunks = [content[at : at + size] for at in range(0, len(content), size)]
        assert list(bounded_lines(chunks, 10)) == [
            (1, b"ab"),
            Problem("line too long", 2),
            (3, b""),
            (4, b"last"),
        ]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"text": ["a", None, "c"], "url": ["u", None, None], "n": [1, 2, 3]}), path
    )
    items = read(path)
    assert items == [Found("a", 1, "u"), Problem("no field text or content", 2), Found("c", 3)]
    assert problems(read(path, text=["n"])) == [("a text that is no string", n) for n in (1, 2, 3)]
    assert problems(read(path, text=["none"])) == [("no field none", 0)]


def test_parquet_that_is_none_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and no more")
    assert [reason for reason, _ in problems(read(path))] == ["not readable whole"]


def warc(path: Path, *, compress: bool = True) -> None:
    pages = [
        (
            "http://a.example/1",
            "200 OK",
            "text/html",
            b"<html><body><p>One &amp; all<script>x</script>",
        ),
        ("http://a.example/2", "404 Not Found", "text/html", b"gone"),
        ("http://a.example/3", "200 OK", "text/html; charset=iso-8859-1", b"<p>caf\xe9</p>"),
        ("http://a.example/4", "200 OK", "image/png", b"\x89PNG"),
        ("http://a.example/5", "200 OK", "text/plain", b"plain words"),
        ("http://a.example/6", "200 OK", "text/html", b"<p>\xff\xfe</p>"),
        ("http://a.example/7", "200 OK", "text/html", b"<p>nu\0ll</p>"),
        ("http://a.example/8", "200 OK", "text/html", b"<p>" + b"y" * 2_000),
    ]
    records = [
        record(
            "response", url, f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n".encode() + body
        )
        for url, status, kind, body in pages
    ]
    records.append(record("conversion", "http://a.example/9", b"extracted before"))
    path.write_bytes(b"".join(map(gzip.compress, records) if compress else records))


def record(kind: str, url: str, block: bytes) -> bytes:
    """A record as ISO 28500 has it."""
    content = "application/http; msgtype=response" if kind == "response" else "text/plain"
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\n"
        f"WARC-Record-ID: <urn:uuid:{len(block)}>\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
        f"Content-Type: {content}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_warc(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    warc(path, compress=name.endswith("gz"))
    items = read(path)
    assert [item for item in items if isinstance(item, Found)] == [
        Found("One & all", 1, "http://a.example/1"),
        Found("café", 3, "http://a.example/3"),
        Found("plain words", 5, "http://a.example/5"),
        Found("extracted before", 9, "http://a.example/9"),
    ]
    assert problems(items) == [("not UTF-8", 6), ("null bytes", 7), ("page too long", 8)]


def test_warc_in_zstd(tmp_path: Path) -> None:
    plain, path = tmp_path / "a.warc", tmp_path / "a.warc.zst"
    warc(plain, compress=False)
    path.write_bytes(zstandard.compress(plain.read_bytes()))
    assert read(path) == read(plain)


def test_broken_warc(tmp_path: Path) -> None:
    path, other = tmp_path / "a.warc.gz", tmp_path / "b.warc"
    warc(path)
    path.write_bytes(path.read_bytes()[:700])
    items = read(path)
    assert texts(items)[:1] == ["One & all"]
    other.write_bytes(b"no WARC at all\n" * 20)
    assert texts(read(other)) == []
    assert len(problems(read(other))) == 1


@pytest.mark.parametrize("ending", [".warc", ".warc.gz"])
def test_a_warc_that_is_cut_is_named_and_no_half_page_read(tmp_path: Path, ending: str) -> None:
    """Wherever it is cut but where nothing tells, such as between two records."""
    texts_of = [" ".join(f"{number * n}" for n in range(20)) for number in (7, 9)]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    records = [record("response", "http://a.example/", head + t.encode()) for t in texts_of]
    if ending == ".warc.gz":
        records = [gzip.compress(one) for one in records]
    path = tmp_path / f"a{ending}"
    first, whole = len(records[0]), b"".join(records)
    unseen = 0
    for cut in range(first + 1, len(whole) - 8):
        path.write_bytes(whole[:cut])
        items = read(path)
        assert texts(items) in (texts_of[:1], texts_of)
        unseen += not problems(items) and len(texts(items)) == 1
    # Within the number of bytes of a record, or before gzip gives a line of it.
    assert unseen < (8 if ending == ".warc" else 80)


@pytest.mark.parametrize("charset", ["undefined", "none-such", "ascii; q=1"])
def test_a_strange_charset_ends_nothing(tmp_path: Path, charset: str) -> None:
    path = tmp_path / "a.warc"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset={charset}\r\n\r\n".encode()
    path.write_bytes(2 * record("response", "http://a.example/", head + "wörter".encode()))
    assert read(path) == [Found("wörter", number, "http://a.example/") for number in (1, 2)]


def test_prose_is_cut_between_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n\ntwo two\n\nbad \xff line\nthree\n\0\n")
    items = read(path, max_characters=10)
    assert texts(items) == ["one", "two two", "three"]
    assert problems(items) == [("not UTF-8", 5), ("null bytes", 7)]
    assert texts(read(path, max_characters=0)) == ["one\n\ntwo two\n\nthree"]


def test_prose_without_an_end_of_paragraph_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("word word\n" * 5_000)
    items = read(path, max_characters=0)
    assert max(map(len, texts(items))) <= LIMIT
    assert sum(text.count("word") for text in texts(items)) == 10_000


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.touch()
    assert problems(read(path)) == [("empty file", 0)]


TRICKS = ["../out.txt", "/etc/out.txt", "a/../../out.txt", "C:\\out.txt", "..\\out.txt"]


def test_tar_with_tricks_is_read_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        for name in ["good.txt", *TRICKS, "x.bin"]:
            info = tarfile.TarInfo(name)
            info.size = 5
            archive.addfile(info, io.BytesIO(b"words"))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    items = read(path)
    assert items[0] == Found("words", "good.txt:1")
    leads_out = "a path in an archive that leads out of it"
    assert problems(items) == [
        *((leads_out, name) for name in TRICKS),
        ("no known format", "x.bin"),
        ("a link or device in an archive", "link.txt"),
    ]
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]


def test_zip(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("in/rows.jsonl", '{"text": "a"}\n{"text": 1}\n')
        archive.writestr("../up.txt", "words")
    assert read(path) == [
        Found("a", "in/rows.jsonl:1"),
        Problem("a text that is no string", "in/rows.jsonl:2"),
        Problem("a path in an archive that leads out of it", "../up.txt"),
    ]


def tar(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]]) -> bytes:
    """Writes a plain tar and returns its bytes."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda whole: whole[:1024] + b"\xff" + whole[1025:], 1),  # the second header
        (lambda whole: whole[:2048], 2),  # cut between two members
        (lambda whole: whole[:2100], 2),  # in a header
        (lambda whole: whole[:1540], 1),  # in the second text
    ],
)
def test_a_damaged_tar_is_named(tmp_path: Path, damage: Any, left: int) -> None:
    path = tmp_path / "a.tar"
    whole = tar(path, {f"{number}.txt": b"words" for number in range(4)})
    assert len(texts(read(path))) == 4
    path.write_bytes(damage(whole))
    items = read(path)
    assert problems(items) == [("not readable whole", 0)]
    assert texts(items) == ["words"] * left


def test_names_in_a_tar(tmp_path: Path) -> None:
    """Two of one name are two documents; one that is no UTF-8, or none, does not end anything."""
    path = tmp_path / "a.tar"
    tar(path, [(".", b"x"), ("a.txt", b"one"), ("a.txt", b"two"), ("caf\udce9.txt", b"three")])
    assert read(path) == [
        Problem("no known format", "."),
        Found("one", "a.txt:1"),
        Found("two", "a.txt#2:1"),
        Found("three", "caf\\udce9.txt:1"),
    ]


def test_a_damaged_member_of_a_zip_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.txt", f"text {number}")
    path.write_bytes(path.read_bytes().replace(b"text 1", b"text 7", 1))
    items = read(path)
    assert problems(items) == [("not readable whole", "1.txt")]
    assert {"text 0", "text 2"} <= set(texts(items))


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_archives_that_are_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"no archive" * 100)
    assert [reason for reason, _ in problems(read(path))] == ["not readable whole"]


def test_html_file(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(
        "<html><head><title>T</title></head><body><nav>menu</nav><h1>Head</h1>"
        "<p>Some <b>bold</b>\nwords.<br>Next</p><ul><li>one<li>two</ul></body>"
    )
    assert texts(read(path)) == ["Head\nSome bold words.\nNext\none\ntwo"]


def test_trafilatura_finds_the_article(tmp_path: Path) -> None:
    from arriero.corpus.html import extractor_name, html_text

    story = "The old bridge over the river was built by the people of the valley long ago. " * 5
    page = f"<html><body><div class='menu'><a>Home</a></div><article><p>{story}</p></article>"
    assert extractor_name("auto").startswith("trafilatura ")
    assert html_text(page, "trafilatura").strip() == story.strip()
