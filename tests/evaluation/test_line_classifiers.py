"""A Hugging Face classifier of lines: which label is toxic, and what it says."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.evaluation.line_classifiers import open_line_classifier, toxic_label
from arriero.records import UserError
from tests.evaluation.test_scorers import bert_folder

LINES = ["good wool", "bad salt river", "how is it good", "bad " * 100, "wool"] * 10


def named(folder: Path, labels: list[str], **more: Any) -> Path:
    """A random classifier with names for its labels."""
    bert_folder(folder, len(labels))
    path = folder / "config.json"
    config = json.loads(path.read_text()) | more
    config["id2label"] = {str(place): label for place, label in enumerate(labels)}
    config["label2id"] = {label: place for place, label in enumerate(labels)}
    path.write_text(json.dumps(config))
    return folder


def logits(folder: Path, line: str) -> torch.Tensor:
    transformers: Any = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        cut = tokenizer(line, return_tensors="pt", truncation=True, max_length=32)
        return model(**cut).logits[0]


def test_the_probability_of_the_toxic_label(tmp_path: Path) -> None:
    two = named(tmp_path / "two", ["neutral", "hate"])
    classifier = open_line_classifier(two)
    assert classifier.name == "two, label hate"
    scores = classifier.score(LINES)
    expected = [float(logits(two, line).softmax(-1)[1]) for line in LINES[:5]]
    assert scores == pytest.approx(expected * 10, abs=1e-5)
    assert max(scores) - min(scores) > 0.01
    assert classifier.score(LINES) == scores
    assert classifier.score([]) == []
    several = "multi_label_classification"
    six = named(tmp_path / "six", ["severe_toxic", "toxic", "insult"], problem_type=several)
    found = open_line_classifier(six).score(LINES[:2])
    assert found == pytest.approx([float(logits(six, x).sigmoid()[1]) for x in LINES[:2]], abs=1e-5)
    one = named(tmp_path / "one", ["LABEL_0"])
    found = open_line_classifier(one).score(LINES[:2])
    assert found == pytest.approx([float(logits(one, x).sigmoid()[0]) for x in LINES[:2]], abs=1e-5)


def test_three_labels_without_a_toxic_one(tmp_path: Path) -> None:
    folder = named(tmp_path / "three", ["happy", "sad", "plain"])
    with pytest.raises(UserError) as refused:
        open_line_classifier(folder)
    assert "3 labels (happy, sad, plain), none of which says toxic" in str(refused.value)
    assert "--toxic-label" in str(refused.value)
    assert open_line_classifier(folder, "SAD").label == 1
    with pytest.raises(UserError, match="no label angry; its labels are happy, sad, plain"):
        open_line_classifier(folder, "angry")


def test_labels_by_name() -> None:
    folder = Path("model")
    assert toxic_label(folder, ["LABEL_0", "LABEL_1"]) == 1
    assert toxic_label(folder, ["toxic", "non-toxic"]) == 0
    assert toxic_label(folder, ["not_toxic", "Toxic"]) == 1
    assert toxic_label(folder, ["obscene", "severe_toxic", "toxicity"]) == 2
    assert toxic_label(folder, ["hate-speech", "neither"]) == 0
    assert toxic_label(folder, ["anything"]) == 0
    for names in (["LABEL_0", "LABEL_1", "LABEL_2"], ["non-toxic", "fine"], ["good", "bad"]):
        with pytest.raises(UserError, match="none of which says toxic"):
            toxic_label(folder, names)


def test_what_is_no_classifier(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no sequence classifier"):
        open_line_classifier(tmp_path / "empty")
