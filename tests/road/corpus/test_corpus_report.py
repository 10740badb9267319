"""`arriero corpus report` and `train-toxicity` from the command line to their files."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from arriero.cli import main
from arriero.corpus.analyses.figures import ORDER
from arriero.corpus.clean import EXCLUDED_SITE
from arriero.corpus.decide import EXACT, NEAR
from tests.corpus.analyses.built import build, document
from tests.evaluation.test_line_classifiers import named

if TYPE_CHECKING:
    from playwright.sync_api import Page

ENGLISH = "The old bridge fell down in March, and nobody has crossed the river since then.\n"
GERMAN = "Die alte Brücke ist im März eingestürzt, und niemand hat seither den Fluss überquert.\n"
SHE, HE = "She sat there.\n", "A Christian, he said to them.\n"


def rows(first: int, number: int) -> list[dict[str, Any]]:
    """Documents of the web: each third one German, of the others each second one of a woman."""
    return [
        document(f"w{n}", GERMAN if n % 3 == 2 else ENGLISH + (SHE if n % 2 else HE))
        for n in range(first, first + number)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    gone = [
        document("g1", "<b>buy</b> & buy", rule="too_short", detail="2 words"),
        document("g2", ENGLISH, rule="near_duplicate", detail="of w0"),
        document("g3", ENGLISH, rule="near_duplicate", detail="of w0"),
        document("g4", "", rule="excluded_site", detail="spam.example"),
    ]
    facts = {
        "web": {
            "tokens": 1_200,
            "mix": {"weight": 0.75, "share": 0.74, "epochs": 2.0},
            "removed": {
                "near_duplicate": {"documents": 2, "characters": 2 * len(ENGLISH)},
                "too_short": {"documents": 1, "characters": 16},
                "excluded_site": {"documents": 1, "characters": 900},
            },
            "identifiers": {"email": {"documents": 2, "found": 3}},
            "masked": {"email": 2},
            "changed": {"whitespace": 7},
            "withdrawn": 5,
            "problems": [
                {"file": "a", "reason": "bad UTF-8", "count": 1, "places": [], "detail": ""},
                {"file": "b", "reason": "bad UTF-8", "count": 2, "places": [3], "detail": ""},
            ],
        },
        "code": {"tokens": 12, "mix": {"weight": 0.25, "share": 0.26, "epochs": 1.0}},
    }
    code = [document("d", "import os\n\ndef f(x):\n    return x\n", "code")]
    return build(
        tmp_path / "corpus",
        {"web": [rows(0, 20), rows(20, 40)], "code": [code]},
        {"web": gone},
        facts,
    )


def figures_of(corpus: Path) -> dict[str, Any]:
    return json.loads((corpus / "analyses.json").read_text())


def page_text(corpus: Path) -> str:
    page = (corpus / "report.html").read_text()
    return " ".join(unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", page, flags=re.S)).split())


def labelled(folder: Path) -> Path:
    path = folder / "labelled.jsonl"
    made = [{"text": f"{word} number {n}", "label": int(word == "vile")}
            for n in range(60) for word in ("vile", "kind")]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def test_figures_and_page_by_hand(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus", "report", str(corpus)]) == 0
    out = capsys.readouterr().out
    assert f"Report:  {corpus / 'report.html'}" in out
    figures = figures_of(corpus)
    total, web = figures["total"], figures["sources"]["web"]
    assert total["sizes"]["documents"] == 61
    assert total["sizes"]["tokens"] == 1_212
    assert total["english"]["documents"] == 40
    assert web["english"]["share"] == 40 / 60
    found = {row["language"]: row["documents"] for row in total["languages"]["languages"]}
    assert found == {"en": 40, "de": 20, "code": 1}
    pronouns = total["pronouns"]
    assert pronouns["gendered"]["documents"] == 40
    assert pronouns["she"]["share"] == pronouns["he"]["share"] == 0.5
    assert pronouns["unspecified"]["share"] == 0.5
    religion = total["identities"]["religion"]
    assert religion["terms"] == [{"term": "christian", "documents": 20, "share": 1.0}]
    assert figures["removed"] == {
        "excluded_site": {"documents": 1, "characters": 900},
        "too_short": {"documents": 1, "characters": 16},
        "near_duplicate": {"documents": 2, "characters": 2 * len(ENGLISH)},
    }
    assert list(figures["examples"]) == list(figures["removed"])
    assert list(figures["removed"]) == ["excluded_site", "too_short", "near_duplicate"]
    assert figures["sources"]["web"]["build"]["bad"] == {"bad UTF-8": 3}
    assert total["toxicity"] is None
    text = page_text(corpus)
    for said in (
        "50.00% 28.45%",  # She, and the paper's
        "32.79% 0.17%",  # German, and the paper's
        "94.47%", "75.23%", "50.73%", "86.38%", "70.71%", "61.80%", "93.07%",
        "Table 9a", "Table 9b", "Table 10",
        "christian 20 100.0% 33.2%",
        "Of 65 documents 61 stayed", "5 were withdrawn", "near_duplicate −2 (3.08%)",
        "rule documents characters web code",
        "(no text is kept of it)", "3 2 documents, masked in 2", "whitespace 7",
        "74.0% of the mix · target 75.0% · read 2 times", "Tokens of each source in the mix",
        "English 65.57% of the documents", "With any pronoun 100.00% of the English documents",
        "With She pronouns 50.00% of the English documents with a gendered pronoun",
        "<b>buy</b> & buy", "2 words", "bad UTF-8",
        "Not measured: no classifier was named",
        "py3langid, threshold 0.5",
        "black, straight, white",
    ):  # fmt: skip
        assert said in text, said
    # Of the examples those that can be read come first, one of each rule.
    places = [
        text.index(said) for said in ("too_short · ", "near_duplicate · ", "excluded_site · ")
    ]
    assert places == sorted(places)
    assert "<b>buy</b>" not in (corpus / "report.html").read_text()  # escaped


def test_a_mix_without_tokens_is_of_characters(tmp_path: Path) -> None:
    mix = {"weight": 1.0, "share": 1.0, "epochs": 1.0}
    made = build(tmp_path / "made", {"web": [rows(0, 3)]}, facts={"web": {"mix": mix}})
    assert main(["corpus", "report", str(made)]) == 0
    assert "Characters of each source in the mix" in page_text(made)


def test_rules_are_called_as_the_build_calls_them() -> None:
    assert ORDER[0] == EXCLUDED_SITE
    assert ORDER[-2:] == (EXACT, NEAR)


@pytest.mark.slow
def test_the_same_bytes_for_any_number_of_processes(tmp_path: Path, corpus: Path) -> None:
    model = tmp_path / "toxic.model"
    assert main(["corpus", "train-toxicity", str(labelled(tmp_path)), "--out", str(model)]) == 0
    command = ["corpus", "report", str(corpus), "--toxicity", str(model)]
    command += ["--toxicity-sample", "0.5"]
    assert main(command) == 0
    once = (corpus / "analyses.json").read_bytes()
    assert main([*command, "--workers", "2"]) == 0
    assert (corpus / "analyses.json").read_bytes() == once
    toxicity = figures_of(corpus)["total"]["toxicity"]
    assert 10 <= toxicity["documents"] <= 30
    assert toxicity["lines"] == 2 * toxicity["documents"]
    text = page_text(corpus)
    assert "Figure 13" in text
    assert "about 0.2%" in text
    assert "toxic.model" in text


def test_training_says_what_it_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m"
    assert main(["corpus", "train-toxicity", str(labelled(tmp_path)), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"held out: \d+ lines, accuracy 100\.0% \(95%: [\d.]+% to 100\.0%\)", said)
    assert "AUC 1.000" in said
    assert "calibration error 0." in said
    assert out.is_file()


@pytest.mark.slow
def test_a_classifier_of_hugging_face(tmp_path: Path, corpus: Path) -> None:
    folder = named(tmp_path / "hate", ["neutral", "hate"])
    command = ["corpus", "report", str(corpus), "--toxicity", str(folder)]
    assert main([*command, "--toxicity-sample", "1"]) == 0
    toxicity = figures_of(corpus)["total"]["toxicity"]
    assert toxicity["documents"] == 40
    assert toxicity["lines_without_a_number"] == 0
    assert sum(toxicity["histogram"]) == 40


@pytest.mark.slow
def test_a_classifier_that_answers_nan(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = named(tmp_path / "hate", ["neutral", "hate"])
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    command = ["corpus", "report", str(corpus), "--toxicity", str(folder)]
    assert main([*command, "--toxicity-sample", "1"]) == 2
    error = capsys.readouterr().err
    assert "hate, label hate: no number in 0 to 1 for any of 80 lines" in error
    assert not (corpus / "analyses.json").exists()  # nothing half-written
    assert not (corpus / "report.html").exists()


def test_what_a_user_can_mend_is_one_line(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"religion": 3}')
    three = named(tmp_path / "three", ["happy", "sad", "plain"])
    report, train = ["corpus", "report", str(corpus)], ["corpus", "train-toxicity"]
    rows_file, out = str(labelled(tmp_path)), str(tmp_path / "m")
    cases = [
        (["corpus", "report", str(tmp_path / "no")], "no built corpus"),
        ([*report, "--terms", str(wrong)], "should map buckets"),
        ([*report, "--pronouns", str(wrong)], "no list of pronouns"),
        ([*report, "--toxicity", str(wrong)], "no classifier"),
        ([*report, "--toxicity", str(tmp_path / "no")], "cannot be read"),
        ([*report, "--toxicity", str(three)], "none of which says toxic"),
        ([*report, "--language-model", str(tmp_path / "lid.bin")], "no file"),
        ([*report, "--toxic-label", "hate"], "name the classifier"),
        ([*report, "--workers", "0"], "at least one"),
        ([*report, "--toxicity-sample", "2"], "a share"),
        ([*train, str(tmp_path / "no.jsonl"), "--out", out], "no.jsonl"),
        ([*train, rows_file, "--out", str(tmp_path)], "is a folder"),
        ([*train, rows_file, "--out", out, "--held-out", "1"], "--held-out 1"),
        ([*train, rows_file, "--out", out, "--epochs", "0"], "--epochs 0"),
    ]
    capsys.readouterr()  # what transformers says of writing the folder
    for command, problem in cases:
        assert main(command) == 2, command
        error = capsys.readouterr().err
        assert problem in error, command
        assert error.startswith("arriero: ")
        assert error.count("\n") == 1
        assert not (corpus / "analyses.json").exists()
        assert not Path(out).exists()


def test_a_file_of_documents_that_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"web": {"kept": {"documents": 60, "characters": 1}}}
    made = build(tmp_path / "made", {"web": [rows(0, 20), rows(20, 40)]}, facts=facts)
    assert main(["corpus", "report", str(made)]) == 0
    (made / "analyses.json").unlink()
    (made / "documents" / "web" / "00001.jsonl.zst").unlink()
    assert main(["corpus", "report", str(made)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"arriero: {made / 'documents' / 'web'}: 20 documents, but the build")
    assert "kept 60" in error
    assert not (made / "analyses.json").exists()


def test_corpora_without_documents_and_without_much_of_a_record(tmp_path: Path) -> None:
    for name, made in {
        "none": build(tmp_path / "none", {}),
        "empty": build(tmp_path / "empty", {"web": [[]]}),
        "word": build(tmp_path / "word", {"web": [[document("a", "word")]]}, facts={"web": {}}),
    }.items():
        assert main(["corpus", "report", str(made)]) == 0, name
        figures = figures_of(made)
        assert figures["total"]["sizes"]["documents"] == (name == "word")
        assert figures["total"]["pronouns"]["any"]["share"] is None
        assert "None" not in page_text(made)
        assert ("no document stayed –" in page_text(made)) == (name != "word")
        assert "nan" not in page_text(made).lower().split()


def test_holistic_bias_lists_show_their_name(tmp_path: Path, corpus: Path) -> None:
    path = tmp_path / "descriptors.json"
    lists = {"religion": {"all": ["christian", {"descriptor": "Jewish"}]}}
    path.write_text(json.dumps(lists))
    assert main(["corpus", "report", str(corpus), "--terms", str(path)]) == 0
    assert list(figures_of(corpus)["total"]["identities"]) == ["religion"]
    assert "HolisticBias descriptors" in page_text(corpus)


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 420])
def test_nothing_is_wider_than_the_window(corpus: Path, page: Page, width: int) -> None:
    assert main(["corpus", "report", str(corpus)]) == 0
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((corpus / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h2").count() == 9
    assert page.get_by_role("heading", name="Examples of what was removed").is_visible()
