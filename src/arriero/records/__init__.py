"""What travels through the system: dialogs, prompts, preferences, grades, errors. No torch."""

from arriero.records.consistency import ConsistencyTest
from arriero.records.dialog import Dialog, Message, folded
from arriero.records.document import CorpusDocument
from arriero.records.errors import Stopped, UserError
from arriero.records.preference import Preference, Rating
from arriero.records.prompt import Prompt
from arriero.records.response import BEST_GRADE, RatedResponse
from arriero.records.score import Annotator, Grade, Judgment, Oracle
from arriero.records.special_ids import LLAMA2_IDS, SpecialIds

__all__ = [
    "BEST_GRADE",
    "LLAMA2_IDS",
    "Annotator",
    "ConsistencyTest",
    "CorpusDocument",
    "Dialog",
    "Grade",
    "Judgment",
    "Message",
    "Oracle",
    "Preference",
    "Prompt",
    "RatedResponse",
    "Rating",
    "SpecialIds",
    "Stopped",
    "UserError",
    "folded",
]
