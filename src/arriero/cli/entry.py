"""The command line from its words to its exit code."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from typing import NoReturn

from safetensors import SafetensorError

from arriero._version import __version__
from arriero.cli import (
    bag,
    contamination,
    corpus,
    lineage,
    models,
    planning,
    running,
    scoring,
    serving,
    watching,
)
from arriero.cli.verbs import Act, Parser, Verbs
from arriero.records import Stopped, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for what the user can mend)."""
    again = "the same command"
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        if any(word.partition("=")[0] == "--from" for word in given):
            again += " without --from"
        options, unknown = _parser(next(iter(given), None)).parse_known_args(given)
        if unknown:
            _refuse_unknown(options, unknown)
        act: Act = options.act
        act(options)
    except UserError as error:
        sys.stderr.write(f"arriero: {error}\n")  # in one piece: ranks write side by side
        return 2
    except Stopped as stopped:
        sys.stderr.write(f"arriero: stopped and saved; {again} goes on where it was\n")
        return 128 + stopped.signal
    except KeyboardInterrupt:
        print(f"\narriero: stopped; {again} goes on where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except SafetensorError as error:
        line = f"weights were not written ({error}); free some disk and give {again}"
        sys.stderr.write(f"arriero: {line}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"arriero: {_explain(error, again)}\n")
        return 2
    return 0


def _parser(asked: str | None) -> Parser:
    """All verbs; the one that is asked for gets the recipe's keys, which take a while to import."""
    parser = Parser(
        prog="arriero",
        description="The whole Llama 2 system: raw text in, an aligned chat model out.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"arriero {__version__}")
    verbs = Verbs(parser, asked)
    for group in (
        running,
        planning,
        models,
        scoring,
        corpus,
        contamination,
        bag,
        lineage,
        serving,
        watching,
    ):
        group.add_verbs(verbs)
    return parser


def _explain(error: OSError, again: str) -> str:
    """One line for what the file system refused; raises the error where the user can't mend it."""
    where = error.filename or "while writing"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({where}); free some and give {again}"
    if error.errno == errno.EFBIG:
        return (
            f"{where}: larger than the limit on files allows (ulimit -f); raise it and give {again}"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}: not allowed; name another place or mend its permissions"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{where}: a file is in the way of a folder; name another place"
    if error.errno == errno.EISDIR:
        return f"{where}: a folder is in the way of a file; name another place"
    raise error


def _refuse_unknown(options: argparse.Namespace, unknown: Sequence[str]) -> NoReturn:
    first = unknown[0]
    if first.startswith("--") and options.verb == "corpus build":
        from arriero.corpus.recipe import unknown_corpus_key

        raise UserError(unknown_corpus_key(first[2:].split("=")[0]))
    if first.startswith("--") and hasattr(options, "recipe"):
        from arriero.road.recipe import unknown_key

        raise UserError(unknown_key(first[2:].split("=")[0]))
    raise UserError(f"unknown argument {first}; see `arriero {options.verb} --help`")
