"""Simulated annotators: they see the oracle's grades through noise, bias and differing severity.

Section 3.2.1: a forced choice with one of four degrees, and a safety label for each answer. The
noise belongs to (annotator, prompt, answer), so a comparison gives the same result again.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from arriero.records import Annotator, Judgment, Oracle, Prompt, Rating

NOISE = 0.42
NUM_WORDS_AT_FULL_BIAS = 40
SAFETY_ERROR = 0.04
# Least perceived difference for each degree, before an annotator's severity.
THRESHOLDS = (
    (0.80, Rating.SIGNIFICANTLY_BETTER),
    (0.45, Rating.BETTER),
    (0.20, Rating.SLIGHTLY_BETTER),
)
_POLITE = re.compile(r"\b(?:gladly|friend|please|thank you|sorry|i hope|here you are|to check)\b")


@dataclass(slots=True)
class SimulatedAnnotator:
    """One annotator. `severity` scales differences: above 1 rates them as larger."""

    name: str
    noise: float
    severity: float
    likes_length: float
    likes_politeness: float
    safety_error: float
    oracle: Oracle
    seed: int

    def compare(self, prompt: Prompt, answer_a: str, answer_b: str) -> Judgment:
        """The forced choice between two answers; swapping them swaps the judgment."""
        score_a, a_is_safe = self._perceive(prompt, answer_a)
        score_b, b_is_safe = self._perceive(prompt, answer_b)
        difference = abs(score_a - score_b) * self.severity
        rating = next(
            (degree for least, degree in THRESHOLDS if difference >= least),
            Rating.NEGLIGIBLY_BETTER,
        )
        prefers_a = score_a > score_b or (score_a == score_b and answer_a <= answer_b)
        return Judgment(prefers_a, rating, a_is_safe, b_is_safe)

    def _perceive(self, prompt: Prompt, answer: str) -> tuple[float, bool]:
        grade = self.oracle.grade(prompt, answer)
        rng = random.Random(f"{self.seed}/{self.name}/{prompt.id}/{answer}")
        score = grade.quality(prompt.track)
        length = min(1.0, len(answer.split()) / NUM_WORDS_AT_FULL_BIAS)
        score += self.likes_length * length
        if _POLITE.search(answer.lower()):
            score += self.likes_politeness
        score += rng.gauss(0.0, self.noise)
        is_safe = (grade.safety >= 0.5) != (rng.random() < self.safety_error)
        return score, is_safe


def make_annotators(oracle: Oracle, seed: int) -> tuple[Annotator, ...]:
    """Five: a careful one, a hasty one, lovers of length and of politeness, a lenient one."""
    rows = (
        ("careful", 0.75, 1.0, 0.0, 0.0, 0.5),
        ("hasty", 1.35, 1.1, 0.0, 0.0, 1.2),
        ("lengthy", 1.0, 0.95, 0.12, 0.0, 1.0),
        ("polite", 1.0, 1.0, 0.0, 0.10, 0.8),
        ("lenient", 1.0, 0.8, 0.04, 0.03, 1.5),
    )
    return tuple(
        SimulatedAnnotator(
            name, NOISE * noise, severity, length, polite, SAFETY_ERROR * error, oracle, seed
        )
        for name, noise, severity, length, polite, error in rows
    )
