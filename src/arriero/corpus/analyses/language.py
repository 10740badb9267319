"""The language of a document, with a threshold, and code told apart from prose (Table 10).

py3langid by default; a fastText model by path, as the paper used one. Either sees an excerpt
(`excerpts`), so that a book costs what a page does.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arriero.corpus.analyses.code import is_code
from arriero.corpus.analyses.counts import Counts, share
from arriero.corpus.analyses.excerpts import excerpt
from arriero.records import UserError

CODE, UNKNOWN, ENGLISH = "code", "unknown", "en"
THRESHOLD = 0.5
LEAST_SHARE = 0.00005
"""0.005% of the documents: Table 10 lists no language below."""

Identify = Callable[[str], tuple[str, float]]
"""Text to (language, probability in [0, 1])."""

_LABEL = "__label__"
# ISO 639's code for "no linguistic content": py3langid says so of tables of numbers and the like.
_NO_LANGUAGE = "zxx"


def identifier(model: Path | None = None) -> Identify:
    """py3langid with its normalised probability, or the fastText model of a file.

    Raises:
        UserError: a package is not installed, or the file is no such model.
    """
    return _py3langid() if model is None else _fasttext(model)


def language_of(text: str, identify: Identify, threshold: float = THRESHOLD) -> str:
    """`code`, the code of a language, or `unknown` below the threshold.

    A text without a letter is unknown, whatever the identifier says, and so is one that it calls no
    language at all (`zxx`).
    """
    part = excerpt(text)
    if is_code(part):
        return CODE
    if not any(letter.isalpha() for letter in part):
        return UNKNOWN
    language, probability = identify(part)
    is_sure = probability >= threshold and math.isfinite(probability)
    return language if is_sure and language != _NO_LANGUAGE else UNKNOWN


def language_figures(counts: Counts, least: float = LEAST_SHARE) -> dict[str, Any]:
    """Table 10: languages by their share of documents, the rarer ones together.

    `code` and `unknown` are rows too, whatever their share.
    """
    total = counts[("documents",)]
    rows = sorted(
        ((key[1], number) for key, number in counts.items() if key[0] == "language"),
        key=lambda row: (-row[1], row[0]),
    )
    shown = [row for row in rows if row[1] >= least * total or row[0] in (CODE, UNKNOWN)]
    rarer = [row for row in rows if row not in shown]
    return {
        "languages": [
            {"language": name, "documents": number, "share": share(number, total)}
            for name, number in shown
        ],
        "rarer": {"languages": len(rarer), "documents": sum(number for _, number in rarer)},
    }


def _py3langid() -> Identify:
    try:
        langid: Any = importlib.import_module("py3langid.langid")
    except ImportError:
        raise UserError(
            "the language of documents needs one more package: pip install 'arriero[corpus]'"
        ) from None
    made = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)

    def identify(text: str) -> tuple[str, float]:
        language, probability = made.classify(text)
        return str(language), float(probability)

    return identify


def code_of(label: str) -> str:
    """The language of a fastText label; English as `en`, by which the other analyses know it.

    lid.176 names languages by two letters, NLLB's model, OpenLID and GlotLID by three and a script.

    >>> code_of("__label__eng_Latn"), code_of("__label__de"), code_of("__label__deu_Latn")
    ('en', 'de', 'deu_Latn')
    """
    name = label.removeprefix(_LABEL)
    code = name.partition("_")[0]
    return {"eng": ENGLISH, ENGLISH: ENGLISH, _NO_LANGUAGE: _NO_LANGUAGE}.get(code, name)


def _fasttext(path: Path) -> Identify:
    if not path.is_file():
        raise UserError(f"{path}: no file; name a fastText model such as lid.176.bin")
    try:
        fasttext: Any = importlib.import_module("fasttext")
    except ImportError:
        raise UserError(f"{path}: this needs fastText: pip install fasttext-predict") from None

    def identify(text: str) -> tuple[str, float]:
        # It reads one line. What stands under `predict` in the package's Python part fails with
        # numpy 2 in one build, so its C++ part is asked: pairs of a probability and a label.
        line = " ".join(text.encode(errors="replace").decode().split())
        found = model.f.predict(f"{line}\n", 1, 0.0, "strict")
        if not found:
            return UNKNOWN, 0.0
        probability, label = found[0]
        return code_of(label), min(1.0, float(probability))  # float32 may go beyond 1

    try:
        model = fasttext.load_model(str(path))
        identify("a line")  # vectors without labels are refused here
    except (ValueError, RuntimeError, MemoryError) as error:
        raise UserError(f"{path}: no fastText model of languages ({error})") from None
    return identify
