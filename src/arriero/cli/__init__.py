"""The one entry point, `arriero`: verbs, and every key of a recipe as an option."""

from arriero.cli.entry import main
from arriero.cli.running import STAGE_VERBS

__all__ = ["STAGE_VERBS", "main"]
