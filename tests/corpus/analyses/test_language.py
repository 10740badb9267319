"""Languages with a threshold, code by its lines, and a bounded part of long documents."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.corpus.analyses.code import is_code, looks_like_code
from arriero.corpus.analyses.excerpts import PIECE_CHARACTERS, PIECES, excerpt
from arriero.corpus.analyses.language import (
    Identify,
    identifier,
    language_figures,
    language_of,
)
from arriero.records import UserError


@pytest.fixture(scope="module")
def identify() -> Identify:
    return identifier()


SENTENCES = {
    "en": "The river was cold, and nobody had crossed it since the old bridge fell down in March.",
    "de": "Der Fluss war kalt, und niemand hatte ihn überquert, seit die Brücke einstürzte.",
    "fr": "La rivière était froide et personne ne l'avait traversée depuis la chute du vieux pont.",
    "es": "El río estaba frío y nadie lo había cruzado desde que se cayó el viejo puente en marzo.",
    "ru": "Река была холодной, и никто не переходил её с тех пор, как рухнул старый мост.",
    "zh": "河水很冷，自从三月份那座老桥倒塌以后，就再也没有人渡过这条河了。",
    "ja": "川は冷たく、三月に古い橋が落ちてからは、誰もその川を渡っていなかった。",
    "ar": "كان النهر باردا ولم يعبره أحد منذ أن سقط الجسر القديم في شهر مارس.",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_languages(identify: Identify, code: str) -> None:
    assert language_of(SENTENCES[code], identify) == code
    assert language_of(f"{SENTENCES[code]}\n" * 300, identify) == code
    assert language_of(SENTENCES[code], identify, threshold=1.01) == "unknown"


@pytest.mark.parametrize("text", ["", " \n", "12 34 ...", "?!\0", "\ud800", "🙂🙂"])
def test_without_letters_unknown(identify: Identify, text: str) -> None:
    assert language_of(text, identify) == "unknown"


def test_a_preface_alone_does_not_decide(identify: Identify) -> None:
    """Of three pieces two are German."""
    text = SENTENCES["en"] * 6 + SENTENCES["de"] * 200
    assert language_of(text, identify) == "de"


def test_the_threshold_is_on_the_probability() -> None:
    for probability, expected in ((0.5, "xx"), (0.49, "unknown"), (float("nan"), "unknown")):
        assert language_of("some words", lambda _, p=probability: ("xx", p)) == expected


@given(st.text(alphabet="ab \n", max_size=6_000))
def test_an_excerpt_is_bounded_and_of_the_text(text: str) -> None:
    part = excerpt(text)
    assert len(part) <= PIECES * PIECE_CHARACTERS + PIECES - 1
    if len(text) <= PIECES * PIECE_CHARACTERS:
        assert part == text
    assert Counter(part.replace("\n", "")) <= Counter(text)


def test_an_excerpt_sees_beginning_middle_and_end() -> None:
    text = "one " * 1_000 + "two " * 1_000 + "three " * 1_000
    part = excerpt(text)
    assert {"one", "two", "three"} == set(part.split())
    assert len(excerpt("x" * 10**6)) == PIECES * PIECE_CHARACTERS + 2  # one gigantic word


CODE = {
    "python": "import os\n\n\ndef area(r):\n    # a circle\n    pi = 3.14\n    return pi * r * r\n",
    "c": '#include <stdio.h>\nint main(void) {\n    printf("hi\\n");\n    return 0;\n}\n',
    "javascript": "const a = [1, 2];\nfor (const x of a) {\n  console.log(x);\n}\n",
    "html": '<html>\n<body>\n<p class="a">hello</p>\n</body>\n</html>\n',
    "sql": "SELECT name FROM people;\nINSERT INTO people VALUES (1);\nDELETE FROM people;\n",
    "session": ">>> x = 1\n>>> x + 1\n2\n>>> print(x)\n1\n",
    "json": '{\n  "name": "a",\n  "size": 3,\n  "list": [\n    1\n  ]\n}\n',
}
PROSE = {
    "sentences": "He said so.\nShe left; it was late.\nThey (all of them) slept.\n",
    "verse": "If you can keep your head,\nfor all is lost;\nreturn to me,\nwhile it is day:\n",
    "dialog": "Anna: I came.\nBert: You saw?\nAnna: I did.\n",
    "list": "- milk\n- two eggs\n- bread (brown)\n",
    "letter": "Dear Sir,\n\nfrom what I hear, the class of 1901 will return.\n\nYours,\nA. B.\n",
    "one line": "x = 1\n",
    "left-out words": "<unk> was a poet .\n <unk> has been one of them .\n<unk> followed .\n",
    "english with code": (
        "First we say how long it is.\nThen we count the rows in it.\n\n    n = len(rows)\n\n"
        "And at the end we say what was found.\nThat is all there is to it.\n"
    ),
}


@pytest.mark.parametrize("name", CODE)
def test_code(identify: Identify, name: str) -> None:
    assert is_code(CODE[name])
    assert language_of(CODE[name], identify) == "code"


@pytest.mark.parametrize("name", PROSE)
def test_prose(name: str) -> None:
    assert not is_code(PROSE[name])


def test_at_least_half_of_the_lines_and_three() -> None:
    assert not is_code("a = 1\nb = 2\n")
    assert is_code("a = 1\nb = 2\nc = 3\n")
    assert is_code("a = 1\nb = 2\nc = 3\nno\nno\nno\n")
    assert not is_code("a = 1\nb = 2\nc = 3\nno\nno\nno\nno\n")
    assert is_code("a = 1\n\n\n---\n\nb = 2\nc = 3\n\n1 2 3\n\n")  # lines without letters


@pytest.mark.timeout(20)
def test_gigantic_lines_are_no_code_and_take_no_time(identify: Identify) -> None:
    assert not looks_like_code("x = " + "1" * 10_000_000)
    assert language_of("word " * 4_000_000, identify) in ("en", "unknown")
    for nasty in ("a." * 150, "a[" * 150, "<a " * 100, " " * 299 + "!", "a=" * 150):
        looks_like_code(nasty)


def test_table_10_by_hand() -> None:
    counts = Counter(
        {("documents",): 100_000, ("language", "en"): 99_980, ("language", "de"): 5,
         ("language", "fr"): 4, ("language", "it"): 4, ("language", "unknown"): 4,
         ("language", "code"): 3}
    )  # fmt: skip
    figures = language_figures(counts)
    assert [row["language"] for row in figures["languages"]] == ["en", "de", "unknown", "code"]
    assert figures["languages"][1] == {"language": "de", "documents": 5, "share": 0.00005}
    assert figures["rarer"] == {"languages": 2, "documents": 8}
    assert language_figures(Counter()) == {
        "languages": [], "rarer": {"languages": 0, "documents": 0},
    }  # fmt: skip


def test_a_fasttext_model_that_is_not_there_or_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"no file; name a fastText model"):
        identifier(tmp_path / "lid.176.bin")
    file = tmp_path / "lid.176.bin"
    file.write_bytes(b"no model")
    monkeypatch.setitem(sys.modules, "fasttext", None)  # as if it were not installed
    with pytest.raises(UserError, match="this needs fastText: pip install"):
        identifier(file)


@pytest.mark.parametrize(
    ("label", "code"),
    [("en", "en"), ("eng", "en"), ("eng_Latn", "en"), ("de", "de"), ("deu_Latn", "deu_Latn"),
     ("enm_Latn", "enm_Latn"), ("zxx_Zzzz", "unknown")],
)  # fmt: skip
def test_labels_of_fasttext_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, code: str
) -> None:
    """Pronouns, identity terms and toxicity are those of `en`, whatever a model calls it."""

    def predict(line: str, number: int, least: float, errors: str) -> list[tuple[float, str]]:
        assert (line.count("\n"), number, least, errors) == (1, 1, 0.0, "strict")
        return [(1.000001, f"__label__{label}")]

    model = SimpleNamespace(f=SimpleNamespace(predict=predict))
    fake = SimpleNamespace(load_model=lambda path: model)
    monkeypatch.setitem(sys.modules, "fasttext", fake)
    file = tmp_path / "lid.bin"
    file.write_bytes(b"a model")
    assert language_of("Two\nlines.", identifier(file)) == code


def test_without_py3langid_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(UserError, match=r"pip install 'arriero\[corpus\]'"):
        identifier()
