"""The classifier of lines: n-grams against strings, training, the file, and what is refused."""

from __future__ import annotations

import hashlib
import json
import random
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.corpus.analyses.line_model import (
    LineModel,
    is_line_model,
    read_line_model,
    write_line_model,
)
from arriero.corpus.analyses.line_training import (
    Fitting,
    LabelledLine,
    evaluate_lines,
    fit_lines,
    read_labelled,
)
from arriero.corpus.analyses.ngrams import BUCKET_BITS, grams_of, normalised
from arriero.records import UserError


def strings_of(line: str) -> list[tuple[str, ...]]:
    """The n-grams of a line as strings: a slow reference."""
    text = normalised(line)
    grams = [
        ("letters", text[start : start + n])
        for n in (2, 3, 4, 5)
        for start in range(len(text) - n + 1)
    ]
    words = "".join(letter if letter.isalnum() else " " for letter in text).split()
    grams += [("word", word) for word in words]
    return grams + [("words", a, b) for a, b in pairwise(words)]


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6))
def test_the_same_strings_have_the_same_buckets_and_others_mostly_others(lines: list[str]) -> None:
    grams = grams_of(lines)
    expected = [strings_of(line) for line in lines]
    assert grams.sizes().tolist() == [len(each) for each in expected]
    # Alone a line has the same as among others.
    for number, line in enumerate(lines):
        alone = grams_of([line])
        assert Counter(alone.buckets.tolist()) == Counter(
            grams.buckets[grams.lines == number].tolist()
        )
    distinct = {gram for each in expected for gram in each}
    found = set(grams.buckets.tolist())
    assert len(found) <= len(distinct)
    assert len(found) >= len(distinct) - 2  # a collision in 2^18 is rare
    assert all(0 <= bucket < 1 << BUCKET_BITS for bucket in found)


def test_places_do_not_matter_to_words() -> None:
    """The hash of a word forgets where it stands, however far in."""
    far = grams_of(["padding " * 500 + "wonder"])
    near = grams_of(["wonder"])
    shared = set(near.buckets.tolist()) & set(far.buckets.tolist())
    assert shared == set(near.buckets.tolist())


def test_known_buckets() -> None:
    """The same on every machine and in every version: a file of weights depends on it."""
    assert grams_of(["ab"]).buckets.tolist() == KNOWN


KNOWN = [229264, 40066, 169630, 63739, 51798, 129926, 251856]


@given(st.text(max_size=20))
def test_spelling_variants_are_one(line: str) -> None:
    spaced = "  " + line.upper().replace(" ", "\t ") + "\n"
    lowered = unicodedata.normalize("NFKC", line.upper()).lower()
    assert normalised(spaced) == " " + " ".join(lowered.split()) + " "


def lines(number: int, seed: int = 0) -> list[LabelledLine]:
    """Lines that are toxic by one of two words, in two scripts, among others."""
    source = random.Random(seed)
    calm = "river stone wool market 河 石 song bread light".split()
    made: list[LabelledLine] = []
    for index in range(number):
        words = [*source.choices(calm, k=source.randrange(3, 8)), str(index)]
        is_toxic = source.random() < 0.5
        if is_toxic:
            words.insert(source.randrange(len(words)), source.choice(["grobule", "坏蛋"]))
        made.append(LabelledLine(" ".join(words), is_toxic))
    return made


@pytest.fixture(scope="module")
def model() -> LineModel:
    return fit_lines(lines(600), Fitting())


def test_it_learns_words_of_any_script_and_their_forms(model: LineModel) -> None:
    held = model.facts["held_out"]
    assert held["accuracy"] > 0.97
    assert held["auc"] > 0.99
    assert held["accuracy_interval"][0] <= held["accuracy"] <= held["accuracy_interval"][1]
    assert held["calibration_error"] < 0.1
    assert 0.1 < held["lines"] / 600 < 0.3
    assert held["lines"] + model.facts["lines"] == 600
    bad, good, other = model.score(["You GROBULES!", "bread and light", "坏蛋"])
    assert bad > 0.5 > good
    assert other > 0.5


def test_the_score_is_the_logistic_of_the_mean_weight(model: LineModel) -> None:
    for text in ("stone grobule", "", "x"):
        buckets = grams_of([text]).buckets.tolist()
        total = sum(float(model.weights[bucket]) for bucket in buckets)
        logit = model.bias + total / max(1, len(buckets)) ** 0.5
        assert model.score([text])[0] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-6)


def test_scores_do_not_depend_on_neighbours(model: LineModel) -> None:
    texts = [line.text for line in lines(700, seed=9)]  # more than go through at once
    together = model.score(texts)
    assert together == [model.score([text])[0] for text in texts]
    assert together == model.score(texts[::-1])[::-1]
    assert model.score([]) == []


def test_the_same_lines_in_any_order_give_the_same_bytes(tmp_path: Path, model: LineModel) -> None:
    given_lines = lines(600)
    random.Random(5).shuffle(given_lines)
    write_line_model(tmp_path / "a", model)
    write_line_model(tmp_path / "b", fit_lines(given_lines, Fitting()))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    other = fit_lines(lines(600), Fitting(seed=1))
    assert other.facts["held_out"]["lines"] != model.facts["held_out"]["lines"]


def test_held_out_lines_are_not_learned_from() -> None:
    """Of labels drawn at random only those of lines learned from can be known, by heart."""
    source = random.Random(3)
    noise = [LabelledLine(f"line {source.random()} x", source.random() < 0.5) for _ in range(400)]
    fitted = fit_lines(noise, Fitting(epochs=40))
    held = fitted.facts["held_out"]
    assert held["accuracy"] < 0.7
    seen = evaluate_lines(fitted, noise)
    assert seen["accuracy"] > held["accuracy"] + 0.15


def test_a_file_comes_back_as_it_was(tmp_path: Path, model: LineModel) -> None:
    path = tmp_path / "models" / "toxic.model"
    write_line_model(path, model)
    back = read_line_model(path)
    assert back.name == "toxic.model"
    assert np.array_equal(back.weights, model.weights)
    assert (back.bias, back.facts) == (model.bias, json.loads(json.dumps(dict(model.facts))))
    assert back.score(["grobule stone"]) == model.score(["grobule stone"])
    assert is_line_model(path)
    assert [file.name for file in path.parent.iterdir()] == ["toxic.model"]


def test_where_nothing_can_be_written(tmp_path: Path, model: LineModel) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file/m: cannot be written"):
        write_line_model(tmp_path / "file" / "m", model)
    (tmp_path / "m").mkdir()
    with pytest.raises(UserError, match="m: cannot be written"):
        write_line_model(tmp_path / "m", model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "m"]  # no draft


def test_a_file_says_how_good_it_is(model: LineModel) -> None:
    held = {"accuracy": 0.875, "auc": 0.9, "lines": 1_200}
    said = LineModel(model.weights, model.bias, {"held_out": held}).about
    assert said == "accuracy 87.5% and AUC 0.900 on the 1,200 lines held out of its training"
    for facts in ({}, {"held_out": 3}, {"held_out": {"accuracy": "x", "auc": 1, "lines": 1}}):
        assert LineModel(model.weights, model.bias, facts).about == ""


def test_damaged_and_foreign_files_are_refused(tmp_path: Path, model: LineModel) -> None:
    path = tmp_path / "m"
    write_line_model(path, model)
    raw = path.read_bytes()
    end = raw.index(b"\n") + 1
    header = json.loads(raw[:end])

    def with_header(**change: Any) -> bytes:
        return json.dumps(header | change).encode() + b"\n" + raw[end:]

    nan = np.full(1 << BUCKET_BITS, np.nan, "<f4").tobytes()
    cases = {
        b"": "no classifier",
        b"\x80\x04pickled": "no classifier",
        b"{}\n": "no classifier",
        b"[" * 100_000: "no classifier",
        raw[:-1]: "damaged",
        raw[:end] + bytes([raw[end] ^ 1]) + raw[end + 1 :]: "damaged",
        with_header(version=2): "version 2; this reads version 1",
        with_header(bits=17): "other n-grams",
        with_header(bias="0"): "no numbers",
        with_header(bias=float("nan")): "no numbers",
        with_header(sha256=hashlib.sha256(nan).hexdigest()).partition(b"\n")[0] + b"\n" + nan: (
            "no numbers"
        ),
    }
    for number, (content, problem) in enumerate(cases.items()):
        broken = tmp_path / f"broken{number}"
        broken.write_bytes(content)
        with pytest.raises(UserError, match=problem) as refused:
            read_line_model(broken)
        assert str(broken) in str(refused.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_line_model(tmp_path / "none")
    assert not is_line_model(tmp_path / "none")


def labelled(folder: Path, rows: list[Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_labels_of_all_kinds(tmp_path: Path) -> None:
    rows: list[Any] = [{"text": f"calm {n}", "label": 0} for n in range(12)]
    rows += [{"text": f"foul {n}", "toxic": True} for n in range(10)]
    rows += [{"text": "foul share", "is_toxic": 0.5}, {"text": "calm share", "label": 0.49}]
    rows += [{"text": "CALM  0", "label": False}]  # stood before
    rows += [{"text": "both", "label": 0}, {"text": "both", "label": 1}]
    rows += [{"text": "  ", "label": 0}]
    skipped: Counter[str] = Counter()
    found = read_labelled([labelled(tmp_path, rows)], skipped)
    assert sum(line.is_toxic for line in found) == 11
    assert len(found) == 24
    assert skipped == {
        "text that stood before": 2, "text with both labels": 1, "empty text": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"label": 1}, "no `text`"),
        ({"text": 3, "label": 1}, "no `text`"),
        ({"text": "a"}, "label None; it should be 0 or 1"),
        ({"text": "a", "label": "toxic"}, "label 'toxic'; it should be 0 or 1"),
        ({"text": "a", "label": 2}, "label 2"),
        ({"text": "a", "label": float("nan")}, "label nan"),
    ],
)
def test_rows_of_another_form_are_named(tmp_path: Path, row: Any, problem: str) -> None:
    path = labelled(tmp_path, [{"text": "fine", "label": 0}, row])
    with pytest.raises(UserError) as refused:
        read_labelled([path], Counter())
    assert problem in str(refused.value)
    assert f"{path}:2" in str(refused.value)


def test_too_few_of_a_label(tmp_path: Path) -> None:
    rows = [{"text": f"calm {n}", "label": 0} for n in range(50)]
    rows += [{"text": "foul", "label": 1}] * 50
    with pytest.raises(UserError, match="1 distinct lines are toxic; a classifier needs 10"):
        read_labelled([labelled(tmp_path, rows)], Counter())
    few = [LabelledLine(f"line {n}", n < 2) for n in range(30)]
    with pytest.raises(UserError, match="lines held out none has one of the labels"):
        fit_lines(few, Fitting(held_out=0.01))
