"""An answer that people have graded or labelled, for calibrating a reward model."""

from __future__ import annotations

from dataclasses import dataclass

from arriero.records.dialog import Dialog

BEST_GRADE = 7
"""Grades go from 1 to 7, the Likert scale of Figure 29."""


@dataclass(frozen=True, slots=True)
class RatedResponse:
    """A dialog that ends with an answer, with its human grade (1 to 7), its safety label, or both.

    Each is None where a data set does not carry it.
    """

    dialog: Dialog
    grade: float | None = None
    is_safe: bool | None = None
