"""How well the languages of documents are told: accuracy on udhr for the 30 largest languages.

    python benchmarks/languages.py UDHR [--model lid.176.bin] [--lengths 60 200 1200]

UDHR is nltk's `udhr2.zip` or a folder of its files: the same declaration in many languages, one a
file. Each is cut into pieces of about so many characters, between words, and every piece is asked
for as a document would be. The languages are the 30 with the most speakers, second language
included, of those that have a file there (Telugu, Cantonese, Wu and Egyptian Arabic have none);
where a language has several files, one is taken. An answer counts as right if it is the language,
whatever its probability; `known` is the share of pieces with a probability of 0.5 or more.
"""

from __future__ import annotations

import argparse
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from arriero.corpus.analyses.code import is_code
from arriero.corpus.analyses.language import THRESHOLD, Identify, identifier

# By speakers. The code of the file, and the codes that an identifier may answer with.
LANGUAGES = {
    "eng": "en", "cmn_hans": "zh", "hin": "hi", "spa": "es", "fra": "fr", "arb": "ar",
    "ben": "bn", "por_BR": "pt", "rus": "ru", "urd": "ur", "ind": "id", "deu": "de", "jpn": "ja",
    "pcm": "pcm", "mar": "mr", "tur": "tr", "tam": "ta", "vie": "vi", "tgl": "tl",
    "kor": "ko", "pes_1": "fa", "hau_NG": "ha", "swh": "sw", "jav": "jv", "ita": "it",
    "pnb": "pnb", "guj": "gu", "tha": "th", "amh": "am", "kan": "kn",
}  # fmt: skip
NUM_LANGUAGES = 30


def pieces(text: str, length: int) -> Iterator[str]:
    """Runs of whole words of about so many characters; scripts without blanks are cut anywhere."""
    text = " ".join(text.split())
    start = 0
    while start < len(text):
        end = text.find(" ", start + length)
        end = start + length if end < 0 or end > start + 2 * length else end
        if len(piece := text[start:end].strip()) >= length / 2:
            yield piece
        start = end


def texts(path: Path) -> dict[str, str]:
    """The text of each file by its code."""
    if path.is_dir():
        return {file.stem: file.read_text(encoding="utf-8") for file in path.glob("*.txt")}
    with zipfile.ZipFile(path) as archive:
        return {
            Path(name).stem: archive.read(name).decode("utf-8")
            for name in archive.namelist()
            if name.endswith(".txt")
        }


def measure(found: dict[str, str], identify: Identify, length: int) -> None:
    """Print accuracy by language and over all."""
    print(f"\npieces of about {length} characters\nlanguage  pieces  right  known  taken for")
    shares: list[float] = []
    number, right, known, seconds = 0, 0, 0, 0.0
    for code, wanted in [pair for pair in LANGUAGES.items() if pair[0] in found][:NUM_LANGUAGES]:
        cut = list(pieces(found[code], length))
        started = time.process_time()
        answers = [("code", 1.0) if is_code(piece) else identify(piece) for piece in cut]
        seconds += time.process_time() - started
        hits = sum(language == wanted for language, _ in answers)
        sure = sum(probability >= THRESHOLD for _, probability in answers)
        wrong = Counter(language for language, _ in answers if language != wanted)
        listed = ", ".join(f"{name} {times}" for name, times in wrong.most_common(3))
        print(f"{wanted:8}  {len(cut):6}  {hits / len(cut):5.1%}  {sure / len(cut):5.1%}  {listed}")
        shares.append(hits / len(cut))
        number, right, known = number + len(cut), right + hits, known + sure
    print(
        f"all {len(shares)}: mean accuracy {sum(shares) / len(shares):.2%}, of all pieces "
        f"{right / number:.2%}, known {known / number:.2%}, {number / seconds:,.0f} pieces/s of CPU"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("udhr", type=Path)
    parser.add_argument("--model", type=Path, help="a fastText model; default: py3langid")
    parser.add_argument("--lengths", type=int, nargs="+", default=[60, 200, 1200])
    options = parser.parse_args()
    found, identify = texts(options.udhr), identifier(options.model)
    for length in options.lengths:
        measure(found, identify, length)


if __name__ == "__main__":
    main()
