"""A parser for each verb, whose errors are one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from arriero.records import UserError

Act = Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line that names the mend."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


class Verbs:
    """The verbs so far.

    Attributes:
        asked: the one that the command line names; others need no costly options.
    """

    def __init__(self, parser: Parser, asked: str | None, prefix: str = "") -> None:
        self._parsers: Any = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
        self.asked, self._prefix = asked, prefix

    def add(self, name: str, text: str, act: Act) -> Parser:
        """A verb that calls `act` with its options."""
        added: Parser = self._parsers.add_parser(
            name, help=text, description=text, allow_abbrev=False
        )
        added.set_defaults(act=act, verb=self._prefix + name)
        return added
