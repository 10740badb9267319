"""The seam of scorers: what a folder says is what score_sequences says, whatever the batch."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.alignment.scoring import score_sequences
from arriero.evaluation.classifiers import ClassifierScorer
from arriero.evaluation.opening import JudgeOptions, open_scorers
from arriero.evaluation.scorers import (
    NOT_FINITE,
    TOO_LONG,
    AnswerScorer,
    LengthScorer,
    RandomScorer,
    RewardModelScorer,
    answered,
    pair_scores,
)
from arriero.model.weights import load_score_model
from arriero.model.weights.shapes import EMBEDDING
from arriero.records import Dialog, Message, Preference, UserError
from arriero.tokenizer import load_tokenizer
from arriero.tokenizer.chat import encode_answer, encode_prompt
from tests.evaluation.conftest import pair

CPU = torch.device("cpu")


def test_a_reward_model_scores_as_score_sequences_whatever_the_batch(
    reward_folder: Path, pairs: list[Preference]
) -> None:
    scorer = RewardModelScorer.load("mine", reward_folder, CPU)
    tokenizer, model = load_tokenizer(reward_folder), load_score_model(reward_folder).eval()
    dialogs = [answered(each, each.chosen) for each in pairs]
    ids = [
        encode_prompt(tokenizer, each.prompt) + encode_answer(tokenizer, each.chosen)
        for each in pairs
    ]
    expected = [float(score_sequences(model, [one])[0]) for one in ids]
    assert scorer.score(dialogs) == pytest.approx(expected, abs=1e-5)
    assert scorer.score(dialogs[::-1]) == pytest.approx(expected[::-1], abs=1e-5)
    assert [scorer.score([dialog])[0] for dialog in dialogs] == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.01
    assert not scorer.skipped


def test_what_is_too_long_has_no_score_and_is_counted(reward_folder: Path) -> None:
    scorer = RewardModelScorer.load("mine", reward_folder, CPU)
    rows = [pair(0), pair(1, rejected="salt " * 200), pair(2)]
    scores = pair_scores(scorer, rows)
    assert [each is None for each in scores] == [False, True, False]
    assert scorer.skipped == {TOO_LONG: 1}
    alone = pair_scores(scorer, rows[2:])[0]
    assert scores[2] == pytest.approx(alone, abs=1e-5)


def test_transformers_gives_the_same_from_the_same_folder(
    reward_folder: Path, pairs: list[Preference]
) -> None:
    ours = RewardModelScorer.load("ours", reward_folder, CPU)
    theirs = ClassifierScorer.load("theirs", reward_folder, CPU)
    dialogs = [answered(each, each.rejected) for each in pairs]
    dialogs += [
        Dialog((Message("system", "Be wise."), *dialogs[0].messages)),
        Dialog((*dialogs[1].messages, Message("user", "and?"), Message("assistant", "salt"))),
    ]
    assert theirs.score(dialogs) == pytest.approx(ours.score(dialogs), abs=1e-5)
    assert theirs.score([answered(pair(0), "salt " * 200)]) == [None]
    assert theirs.skipped == {TOO_LONG: 1}


def bert_folder(folder: Path, num_labels: int, code: dict[str, str] | None = None) -> Path:
    """A classifier over pairs of texts, without a chat template."""
    transformers: Any = importlib.import_module("transformers")
    folder.mkdir()
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] salt wool river how is it good bad".split()
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    shape = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        num_labels=num_labels,
        initializer_range=0.5,
    )
    model = transformers.BertForSequenceClassification(shape)
    model.config.update({"auto_map": code} if code else {})
    model.save_pretrained(folder)
    return folder


def test_a_classifier_over_pairs_of_texts(tmp_path: Path) -> None:
    import transformers

    folder = bert_folder(tmp_path / "two", 2)
    (scorer,) = open_scorers([str(folder)], JudgeOptions(), CPU)
    assert isinstance(scorer, ClassifierScorer)
    assert scorer.name == "two"
    found = scorer.score([answered(pair(0), "good wool"), answered(pair(0), "bad salt river")])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(**tokenizer("salt 0?", "good wool", return_tensors="pt")).logits[0]
    assert found[0] == pytest.approx(float(logits[1] - logits[0]), abs=1e-5)
    assert found[0] != found[1]


def test_what_is_no_scorer_is_refused_and_nothing_of_it_is_run(
    tmp_path: Path, chat_folder: Path, reward_folder: Path
) -> None:
    three = bert_folder(tmp_path / "three", 3)
    cases = {
        str(tmp_path / "nowhere"): "no such folder",
        str(three): "3 labels",
        str(chat_folder): "it was not trained to score",
        "http://": "no address",
        "http://a b/v1#m": "no address",
    }
    for given, problem in cases.items():
        with pytest.raises(UserError, match=problem):
            open_scorers([given], JudgeOptions(), CPU)
    with pytest.raises(UserError, match="two scorers are called judge"):
        open_scorers([str(reward_folder)] * 2, JudgeOptions(), CPU)
    code = bert_folder(tmp_path / "code", 1)
    raw = (code / "config.json").read_text()
    own = '"auto_map": {"AutoConfig": "own.C", "AutoModelForSequenceClassification": "own.M"},'
    (code / "config.json").write_text(raw.replace("{", "{" + own, 1).replace('"bert"', '"own"'))
    mark = tmp_path / "was run"
    (code / "own.py").write_text(f"open({str(mark)!r}, 'w')\n")
    with pytest.raises(UserError, match="no sequence classifier"):
        open_scorers([str(code)], JudgeOptions(), CPU)
    assert not mark.exists()


def test_names_and_order(reward_folder: Path) -> None:
    given = ["random", f"first={reward_folder}", str(reward_folder), "words=length"]
    scorers = open_scorers(given, JudgeOptions(), CPU)
    assert [scorer.name for scorer in scorers] == ["random", "first", "judge", "words"]
    assert all(isinstance(scorer, AnswerScorer) for scorer in scorers)


def test_trivial_scorers_by_hand() -> None:
    rows = [pair(0, "long answer", "short"), pair(1, "a", "b")]
    assert pair_scores(LengthScorer(), rows) == [(11, 5), (1, 1)]
    dialogs = [answered(pair(number), "salt") for number in range(2000)]
    drawn = [value for value in RandomScorer().score(dialogs) if value is not None]
    assert RandomScorer().score(dialogs[5:6]) == [drawn[5]], "it follows from the dialog alone"
    assert RandomScorer(seed=1).score(dialogs) != drawn
    assert all(0 <= value < 1 for value in drawn)
    assert sum(drawn) / 2000 == pytest.approx(0.5, abs=0.03)


def test_folders_that_do_not_open_are_one_line(tmp_path: Path, reward_folder: Path) -> None:
    stage = reward_folder.parent
    with pytest.raises(UserError, match=rf"{stage}: its model .* name {stage}/model$"):
        open_scorers([str(stage)], JudgeOptions(), CPU)
    foreign = bert_folder(tmp_path / "foreign", 1)
    settings = (foreign / "tokenizer_config.json").read_text()
    needy = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}
    (foreign / "tokenizer_config.json").write_text(json.dumps(needy))
    with pytest.raises(UserError, match=r"foreign: a package is not installed \(.*fugashi"):
        open_scorers([str(foreign)], JudgeOptions(), CPU)
    (foreign / "tokenizer_config.json").write_text(settings)
    weights = foreign / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="foreign: no sequence classifier") as caught:
        open_scorers([str(foreign)], JudgeOptions(), CPU)
    assert "\n" not in str(caught.value)


def test_scores_that_are_no_numbers_are_counted(reward_folder: Path) -> None:
    scorer = RewardModelScorer.load("mine", reward_folder, CPU)
    rows = [pair(0, "salt", "wool"), pair(1, "mule", "wool"), pair(2, "salt", "mule mule")]
    token = scorer.tokenizer.encode("mu")[-1]
    assert token not in scorer.tokenizer.encode("salt wool [INST] road river")
    before = pair_scores(scorer, rows[:1])
    scorer.model.state_dict()[EMBEDDING][token] = float("nan")
    found = pair_scores(scorer, rows)
    assert found[0] == pytest.approx(before[0], abs=1e-5)
    assert found[1:] == [None, None]
    assert scorer.skipped == {NOT_FINITE: 2}
