"""From what a user writes to a scorer: a folder, an address, or the name of a trivial one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import torch

from arriero.evaluation.chat_client import ChatClient
from arriero.evaluation.classifiers import ClassifierScorer
from arriero.evaluation.judge import LanguageJudge
from arriero.evaluation.scorers import (
    AnswerScorer,
    LengthScorer,
    RandomScorer,
    RewardModelScorer,
    Scorer,
)
from arriero.model.weights import is_score_model
from arriero.model.weights.hugging_face_config import CONFIG
from arriero.records import UserError

_PORTS = {"http": 80, "https": 443}
_WEB = tuple(f"{scheme}://" for scheme in _PORTS)
_NAMED = re.compile(r"([\w .-]+)=(.+)")


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """How a judge behind an address is asked; see ChatClient and LanguageJudge."""

    key: str | None = None
    timeout: float = 60.0
    attempts: int = 4
    at_once: int = 4
    max_tokens: int = 16


def open_scorers(given: Sequence[str], options: JudgeOptions, device: torch.device) -> list[Scorer]:
    """The scorers that are named, in order.

    Args:
        given: each `length`, `random`, a model folder, `hf:FOLDER` (by way of transformers) or
            `http://HOST/v1#MODEL` (a judge); `NAME=` before it names it in reports.

    Raises:
        UserError: a folder holds no scorer, nobody answers, two have one name, or the key would go
            to two addresses.
    """
    if options.key is not None:
        _check_one_address(given)
    scorers: list[Scorer] = []
    for one in given:
        name, what = _split_name(one)
        scorer = _open(what, name, options, device)
        if any(other.name == scorer.name for other in scorers):
            raise UserError(f"two scorers are called {scorer.name}: name one, as NAME={what}")
        scorers.append(scorer)
    return scorers


def _split_name(given: str) -> tuple[str | None, str]:
    named = _NAMED.fullmatch(given)
    return (named[1], named[2]) if named else (None, given)


def _check_one_address(given: Sequence[str]) -> None:
    """Before anybody is asked: a key is one service's, and no other's to see."""
    judges = [what for _, what in map(_split_name, given) if what.startswith(_WEB)]
    addresses = list(dict.fromkeys(map(_server, judges)))
    if len(addresses) > 1:
        raise UserError(
            f"the judges' key would be sent to {addresses[0]} and to {addresses[1]}; "
            "ask those of one address at a time, or do without ARRIERO_JUDGE_KEY"
        )


def _server(address: str) -> str:
    """Scheme, host and port of a judge's address.

    Raises:
        UserError: it has no host, or its port is no number.
    """
    url = address.partition("#")[0]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS[parts.scheme]
    except ValueError:
        host, port = None, None
    if not host or any(character.isspace() for character in url):
        raise UserError(f"{address}: no address; write it as http://HOST:PORT/v1#MODEL")
    host = f"[{host}]" if ":" in host else host
    return f"{url.partition(':')[0]}://{host}:{port}"


def _open(what: str, name: str | None, options: JudgeOptions, device: torch.device) -> Scorer:
    if what == "length":
        return LengthScorer(name or "length")
    if what == "random":
        return RandomScorer(name or "random")
    if what.startswith(_WEB):
        return open_judge(what, options, name)
    return open_answer_scorer(what, device, name)


def open_answer_scorer(what: str, device: torch.device, name: str | None = None) -> AnswerScorer:
    """The reward model or classifier of a folder; `hf:FOLDER` opens it by way of transformers.

    Raises:
        UserError: there is no such folder, or it holds none.
    """
    folder = Path(what.removeprefix("hf:"))
    if not folder.is_dir():
        raise UserError(f"{what}: no such folder; name one with a reward model")
    if not (folder / CONFIG).exists() and (folder / "model" / CONFIG).exists():
        raise UserError(
            f"{what}: its model is in a folder of its own; name {what.rstrip('/')}/model"
        )
    label = name or _label(folder)
    if what.startswith("hf:") or not is_score_model(folder):
        return ClassifierScorer.load(label, folder, device)
    return RewardModelScorer.load(label, folder, device)


def open_judge(address: str, options: JudgeOptions, name: str | None = None) -> LanguageJudge:
    """The judge at `http://HOST/v1#MODEL`; without a model, the only one that is there.

    Raises:
        UserError: that is no address, or nobody there names a single model.
    """
    _server(address)
    url, _, model = address.partition("#")
    client = ChatClient(url, options.key, options.timeout, options.attempts)
    model = model or client.only_model()
    return LanguageJudge(name or model, client, model, options.max_tokens, options.at_once)


def _label(folder: Path) -> str:
    """`runs/tiny/06-reward-safety-v1/model` is `06-reward-safety-v1`."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" and folder.parent.name else folder.name
