"""How often a document's language is told rightly, on one text in many languages.

    python benchmarks/languages.py udhr2.zip [--model lid.176.bin] [--code FOLDER] [--prose FOLDER]

udhr2.zip is the Universal Declaration of Human Rights as NLTK has it, a file a language in UTF-8.
It is read as documents of three sizes: single paragraphs of 60 characters or more, paragraphs in a
row of 1,000 or more, and whole. The thirty languages are those with the most speakers, first and
second language together, that the archive has; beside them stand those of the paper's Table 10.
A document is right, unknown (below the threshold) or wrong; bokmål counts as Norwegian, `no`.

--code and --prose: how many of the files below a folder are told as code, by the ends of their
names.
"""

from __future__ import annotations

import argparse
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from arriero.corpus.analyses.language import CODE, THRESHOLD, UNKNOWN, identifier, language_of

# By speakers, the most first; orders differ between counts, the set hardly does. Telugu, Wu,
# Cantonese and the spoken Arabics are not in the archive.
LARGEST = {
    "eng": "en", "cmn_hans": "zh", "hin": "hi", "spa": "es", "arb": "ar", "fra": "fr",
    "ben": "bn", "por_BR": "pt", "rus": "ru", "ind": "id", "urd": "ur", "deu": "de", "jpn": "ja",
    "pcm": "pcm", "mar": "mr", "vie": "vi", "hau_NG": "ha", "tur": "tr", "swh": "sw",
    "tgl": "tl", "tam": "ta", "pnb": "pnb", "kor": "ko", "pes_1": "fa", "jav": "jv", "ita": "it",
    "guj": "gu", "tha": "th", "amh": "am", "kan": "kn",
}  # fmt: skip
TABLE_10 = {
    "eng": "en", "deu": "de", "fra": "fr", "swe": "sv", "cmn_hans": "zh", "spa": "es", "rus": "ru",
    "nld": "nl", "ita": "it", "jpn": "ja", "pol": "pl", "por_PT": "pt", "vie": "vi", "ukr": "uk",
    "kor": "ko", "cat": "ca", "srp_cyrl": "sr", "ind": "id", "ces": "cs", "fin": "fi",
    "hun": "hu", "nob": "no", "ron": "ro", "bul": "bg", "dan": "da", "slv": "sl", "hrv": "hr",
}  # fmt: skip
SIZES = {"paragraphs": 60, "1,000 characters": 1_000, "whole": 0}


def documents(text: str, least: int) -> Iterator[str]:
    """Lines of at least so many characters, or lines in a row that have them; 0: all in one."""
    lines = [line for raw in text.splitlines() if (line := raw.strip())]
    if not least:
        yield "\n".join(lines)
    elif least < 1_000:
        yield from (line for line in lines if len(line) >= least)
    else:
        piece: list[str] = []
        for line in lines:
            piece.append(line)
            if sum(map(len, piece)) >= least:
                yield "\n".join(piece)
                piece = []


def measure(archive: Path, wanted: dict[str, str], model: Path | None, threshold: float) -> None:
    """A line a language, and a last one of all: mean over languages, then over documents."""
    identify = identifier(model)
    print("language  " + "  ".join(f"{size:>24}" for size in SIZES) + "  taken for instead")
    shares: dict[str, list[float]] = {size: [] for size in SIZES}
    totals: dict[str, Counter[str]] = {size: Counter() for size in SIZES}
    characters, seconds = 0, 0.0
    for member, language in wanted.items():
        with zipfile.ZipFile(archive) as opened:
            text = opened.read(f"udhr2/{member}.txt").decode("utf-8")
        cells: list[str] = []
        mistakes: Counter[str] = Counter()
        for size, least in SIZES.items():
            found: Counter[str] = Counter()
            for document in documents(text, least):
                began = time.perf_counter()
                said = language_of(document, identify, threshold)
                seconds += time.perf_counter() - began
                characters += len(document)
                kind = "right" if said == language else UNKNOWN if said == UNKNOWN else "wrong"
                found[kind] += 1
                if kind == "wrong":
                    mistakes[said] += 1
            number = found.total()
            shares[size].append(found["right"] / max(1, number))
            totals[size].update(found)
            cells.append(f"{found['right']:4} of {number:<4}, {found[UNKNOWN]:3} unknown")
        instead = ", ".join(f"{name} {number}" for name, number in mistakes.most_common(3))
        print(f"{member:<9} " + "  ".join(f"{cell:>24}" for cell in cells) + f"  {instead}")
    for size in SIZES:
        counts, number = totals[size], totals[size].total()
        mean = sum(shares[size]) / len(shares[size])
        print(
            f"{size}: mean of {len(wanted)} languages {mean:.2%}; of {number} documents "
            f"{counts['right'] / number:.2%} right, {counts[UNKNOWN] / number:.2%} unknown, "
            f"{counts['wrong'] / number:.2%} wrong"
        )
    documents_seen = sum(counts.total() for counts in totals.values())
    print(
        f"{documents_seen / seconds:,.0f} documents a second, of {characters / documents_seen:,.0f} "
        "characters in the mean\n"
    )


def measure_code(folder: Path, model: Path | None) -> None:
    """The share of a folder's text files that are told as code, by the end of their names."""
    identify = identifier(model)
    found: dict[str, Counter[str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if text.strip():
            found.setdefault(path.suffix or "no end", Counter())[language_of(text, identify)] += 1
    for suffix, counts in sorted(found.items()):
        others = Counter({name: n for name, n in counts.items() if name != CODE})
        rest = ", ".join(f"{name} {number}" for name, number in others.most_common(4))
        print(f"{suffix}: {counts[CODE]} of {counts.total()} code; {rest}")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--model", type=Path, help="a fastText model; default: py3langid")
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    parser.add_argument("--code", type=Path, action="append", default=[])
    parser.add_argument("--prose", type=Path, action="append", default=[])
    options = parser.parse_args()
    for title, wanted in (("Most speakers", LARGEST), ("Table 10", TABLE_10)):
        print(f"{title}: {len(wanted)} languages")
        measure(options.archive, wanted, options.model, options.threshold)
    for title, folders in (("Code", options.code), ("Prose", options.prose)):
        for folder in folders:
            print(f"{title}: {folder.name}")
            measure_code(folder, options.model)


if __name__ == "__main__":
    main()
