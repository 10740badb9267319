"""All wordings by relation."""

from __future__ import annotations

from arriero.world.wording import Wording
from arriero.world.wordings_people import WORDINGS_PEOPLE
from arriero.world.wordings_things import WORDINGS_THINGS
from arriero.world.wordings_villages import WORDINGS_VILLAGES

WORDINGS: dict[str, Wording] = WORDINGS_PEOPLE | WORDINGS_VILLAGES | WORDINGS_THINGS
