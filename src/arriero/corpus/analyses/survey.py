"""One pass over a built corpus that feeds all analyses, on any number of processes.

A process takes a file at a time and gives whole numbers back, so the sum is the same for any number
of them and any order. Only the seconds differ; they are kept apart.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from arriero.corpus.analyses.counts import Counts
from arriero.corpus.analyses.demographics import count_identities, count_pronouns
from arriero.corpus.analyses.language import ENGLISH, THRESHOLD, Identify, identifier, language_of
from arriero.corpus.analyses.lists import IdentityTerms, Pronouns
from arriero.corpus.analyses.opening import files_of_part, rows_of
from arriero.corpus.analyses.sampling import is_drawn
from arriero.corpus.analyses.sizes import compressor, count_sizes
from arriero.corpus.analyses.toxicity import RATE, LineScorer, count_toxicity, lines_of
from arriero.corpus.analyses.words import words_of
from arriero.corpus.reading import DOCUMENTS
from arriero.records import UserError

OpenScorer = Callable[[], LineScorer]
"""Opens the classifier of lines, in each process anew; a function that can be pickled."""

Seconds = defaultdict[str, float]


@dataclass(frozen=True)
class Settings:
    """What is looked for, and how.

    Attributes:
        pronouns: lists of words.
        terms: identity terms by axis.
        language_model: a fastText model; None for py3langid.
        threshold: least probability of a language; below it a document is unknown.
        open_scorer: None to leave toxicity out.
        toxicity_rate: share of the English documents whose lines are scored.
        seed: of that sample.
        workers: processes.
    """

    pronouns: Pronouns
    terms: IdentityTerms
    language_model: Path | None = None
    threshold: float = THRESHOLD
    open_scorer: OpenScorer | None = None
    toxicity_rate: float = RATE
    seed: int = 0
    workers: int = 1


@dataclass
class Survey:
    """What a pass has counted.

    Attributes:
        by_source: whole numbers.
        seconds: by analysis, summed over processes.
    """

    by_source: dict[str, Counts] = field(default_factory=dict[str, Counts])
    seconds: Seconds = field(default_factory=lambda: defaultdict[str, float](float))


def survey(corpus: Path, settings: Settings, say: Callable[[str], None]) -> Survey:
    """Count everything, in one pass over the documents.

    Raises:
        UserError: the corpus is not built or damaged, or a model cannot be read.
    """
    _check(settings)
    files = files_of_part(corpus, DOCUMENTS)
    done = Survey({source: Counter() for source, _ in files})
    for number, ((source, path), part) in enumerate(
        zip(files, _parts(files, settings), strict=True), 1
    ):
        counts, seconds = part
        done.by_source[source].update(counts)
        for step, spent in seconds.items():
            done.seconds[step] += spent
        say(f"{number} of {len(files)}  {path.relative_to(corpus)}  {counts[('documents',)]:,}")
    return done


def _check(settings: Settings) -> None:
    if not 0 <= settings.threshold <= 1:
        raise UserError(f"threshold {settings.threshold:g}: a probability lies in 0 to 1")
    if not 0 < settings.toxicity_rate <= 1:
        raise UserError(f"sample {settings.toxicity_rate:g}: a share lies above 0, up to 1")
    if settings.workers < 1:
        raise UserError(f"workers {settings.workers}: at least one")


def _parts(
    files: Sequence[tuple[str, Path]], settings: Settings
) -> Iterator[tuple[Counts, Seconds]]:
    paths = [path for _, path in files]
    if settings.workers == 1 or len(files) < 2:
        analyst = Analyst(settings)
        yield from map(analyst.read, paths)
        return
    identifier(settings.language_model)  # what is wrong with it shows here, not in a process
    # Spawned: a process that was forked from one with threads may hang.
    with ProcessPoolExecutor(
        min(settings.workers, len(files)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(settings,),
    ) as pool:
        try:
            yield from pool.map(_read, paths)
        except BrokenProcessPool:
            raise UserError(
                f"one of {settings.workers} processes ended before its work was done, as for want "
                "of memory; give the same command with fewer --workers"
            ) from None


class Analyst:
    """The analyses with what they need to have open."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identify: Identify = identifier(settings.language_model)
        self._compressor = compressor()
        self._scorer = settings.open_scorer() if settings.open_scorer else None

    def read(self, path: Path) -> tuple[Counts, Seconds]:
        """The counts of one file's documents, and the seconds of each analysis."""
        counts: Counts = Counter()
        seconds: Seconds = defaultdict(float)
        started = time.perf_counter()
        for row in rows_of(path):
            began = time.perf_counter()
            seconds["reading"] += began - started
            self.count(row["id"], row["text"], counts, seconds)
            started = time.perf_counter()
        return counts, seconds

    def count(self, name: str, text: str, counts: Counts, seconds: Seconds) -> None:
        """Add what one document counts as."""
        settings = self._settings
        clock = _Clock(seconds)
        counts.update(count_sizes(text, self._compressor))
        clock.took("length and compression")
        language = language_of(text, self._identify, settings.threshold)
        counts[("language", language)] += 1
        clock.took("language")
        if language != ENGLISH:
            return
        counts[("english",)] += 1
        words = words_of(text)
        clock.took("words")
        counts.update(count_pronouns(words, settings.pronouns))
        clock.took("pronouns")
        counts.update(count_identities(words, settings.terms))
        clock.took("identity terms")
        if self._scorer and is_drawn(name, settings.toxicity_rate, settings.seed):
            counts.update(count_toxicity(self._scorer.score(list(lines_of(text)))))
            clock.took("toxicity")


class _Clock:
    """Says into a counter how long each step took."""

    def __init__(self, seconds: Seconds) -> None:
        self._seconds, self._last = seconds, time.perf_counter()

    def took(self, step: str) -> None:
        now = time.perf_counter()
        self._seconds[step] += now - self._last
        self._last = now


_analyst: Analyst | None = None


def _start(settings: Settings) -> None:
    """In a new process: open once what its files need."""
    global _analyst
    _analyst = Analyst(settings)


def _read(path: Path) -> tuple[Counts, Seconds]:
    assert _analyst is not None
    return _analyst.read(path)
