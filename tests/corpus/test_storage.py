"""Files of a corpus: arrays in parts, JSON with names that are no UTF-8, nothing half written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from arriero.corpus.storage import (
    array_writer,
    read_array,
    read_json,
    read_rows,
    row_writer,
    write_array,
    write_json,
)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("sizes", [[], [0], [3], [5, 0, 1000, 12]])
def test_an_array_in_parts_has_the_bytes_of_one_in_one(
    tmp_path: Path, dtype: type[np.generic], sizes: list[int]
) -> None:
    parts = [np.arange(size).astype(dtype) for size in sizes]
    together = np.concatenate([np.zeros(0, dtype), *parts])
    with array_writer(tmp_path / "parts.npy", dtype) as write:
        for part in parts:
            write(part)
    write_array(tmp_path / "one.npy", together)
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()
    assert read_array(tmp_path / "parts.npy").tolist() == together.tolist()


def test_parts_that_are_not_all_written_are_no_file(tmp_path: Path) -> None:
    def half() -> None:
        with array_writer(tmp_path / "a.npy", np.uint16) as write:
            write(np.arange(9))
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert list(tmp_path.iterdir()) == []


def test_halves_of_a_pair_come_back(tmp_path: Path) -> None:
    value = {"name": "a\\\udcff\n", "other": "ä"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    with row_writer(tmp_path / "a.jsonl.zst") as write:
        write(value)
    assert list(read_rows(tmp_path / "a.jsonl.zst")) == [value]
