"""The outside judge of stage `evaluate`: opened and tried early, asked patiently, kept on disk.

A judge that is wrong from the start is refused before anything is sampled; one that stops on the
way costs nothing but its own part.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from arriero.evaluation.chat_client import Declined, Refused, Unanswered
from arriero.evaluation.comparison import Answers
from arriero.evaluation.judge import KEY_VARIABLE, NONSENSE, LanguageJudge, Verdict, judge_key
from arriero.evaluation.judging import (
    agreements,
    compared_answers,
    judged_path,
    judged_wins,
)
from arriero.evaluation.opening import JudgeOptions, open_judge
from arriero.records import Message, Preference, UserError
from arriero.stages.workspace import Workspace
from arriero.training.meters import TimeLeft

_FILE = "verdicts.jsonl"
_LETTERS = re.compile(r"[AB]{2}|[AB]?\?")
# Of a look before a long run; the stage itself is as patient as the recipe says.
_LONGEST_LOOK_S = 10.0
_LINES_OF_PROGRESS = 10


class JudgeConfig(BaseModel):
    """Who outside is asked, as in `arriero evaluate-rewards`; its key stands in no recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        default="",
        description="a judge that speaks OpenAI's API, such as http://127.0.0.1:8000/v1; its key "
        f"stands in {KEY_VARIABLE}; none asks nobody",
    )
    model: str = Field(default="", description="its name there; none takes the only one")
    pairs: int = Field(
        default=300, gt=0, description="most pairs of each two versions, asked in both orders"
    )
    max_tokens: int = Field(
        default=16, gt=0, description="longest reply; more for a model that thinks aloud"
    )
    timeout: float = Field(
        default=60.0, gt=0, le=3600, description="seconds that an attempt may take"
    )
    attempts: int = Field(default=4, gt=0, description="attempts at a question")
    parallel: int = Field(default=4, gt=0, le=256, description="questions under way at once")

    @model_validator(mode="after")
    def _address_is_plain(self) -> JudgeConfig:
        """The address itself is not shown: what is wrong with it may be a key in it."""
        if not self.url:
            return self
        try:
            parts = urlsplit(self.url)
            is_address = bool(parts.scheme in ("http", "https") and parts.hostname)
            is_address &= parts.port != 0 and not re.search(r"\s", self.url)
        except ValueError:
            is_address, parts = False, None
        if not is_address or parts is None:
            raise ValueError("url is no address; write it as http://HOST:PORT/v1")
        if parts.username is not None or parts.query:
            raise ValueError(f"url holds more than an address; a key belongs into {KEY_VARIABLE}")
        if parts.fragment:
            raise ValueError("url names a model; name it with evaluate.judge.model")
        return self


def look_for_judge(config: JudgeConfig, say: Callable[[str], None]) -> None:
    """Before a long run: one question, with little patience.

    Nobody there yet is no fault, as the judge may be started later; it is said.

    Raises:
        UserError: the judge refuses the key, the address or the model.
    """
    quick = config.model_copy(
        update={"attempts": 1, "timeout": min(_LONGEST_LOOK_S, config.timeout)}
    )
    try:
        open_outside(quick, say)
    except Refused:
        raise
    except UserError as error:
        say(f"note: {error}; it is asked again when stage evaluate begins")


def open_outside(config: JudgeConfig, say: Callable[[str], None]) -> LanguageJudge | None:
    """The judge, after one question that it has to answer; None where none is wanted.

    Raises:
        Refused: it refuses the key, the address, the model or the question.
        UserError: nobody answers, or the model has to be named.
    """
    if not config.url:
        return None
    options = JudgeOptions(
        judge_key(), config.timeout, config.attempts, config.parallel, config.max_tokens
    )
    address = f"{config.url}#{config.model}" if config.model else config.url
    mend = f"its key stands in {KEY_VARIABLE}; without evaluate.judge.url nobody is asked"
    try:
        judge = open_judge(address, options)
        letter = judge.ask([Message("user", "What is 2 plus 2?")], "4", "5")
    except Declined as error:
        raise Refused(
            f"evaluate.judge: {config.url} refuses a plain question ({error}); {mend}"
        ) from None
    except Unanswered as error:
        raise UserError(
            f"evaluate.judge: {config.url} answers no question ({error}); {mend}"
        ) from None
    except UserError as error:
        line = f"evaluate.judge: {error}".replace("#MODEL", "evaluate.judge.model")
        raise type(error)(f"{line}; {mend}") from None
    if letter is None:
        say(
            f"the judge {judge.model} {NONSENSE} when it was tried; pairs of such replies do not "
            "count; evaluate.judge.max_tokens may be too few"
        )
    return judge


def ask_outside(
    config: JudgeConfig, judge: LanguageJudge, graded: Answers, baseline: str, workspace: Workspace
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Have the versions' answers judged: rows for `wins`, and what results.json says of the judge.

    What was answered in an earlier life of the stage is not asked again. Pairs that several
    comparisons share are asked once.

    Args:
        graded: {version: {set: answers}}, the answers of a set in the same order.
        baseline: the version that later ones are held against; the first where empty.

    Returns:
        The rows of judged_wins, and a dict: `model`, `url`; `num_pairs` compared, of them
        `num_same` of the same text; `num_asked`, different questions; of these `num_judged`,
        `num_swayed` (the verdict changed with the order), `num_left` (never asked, since the
        judge fell silent) and `skipped` by reason; `letters` said; `agreement`, `path`; `error`,
        one line if the judge stopped on the way, else empty.
    """
    compared = compared_answers(graded, baseline, config.pairs, workspace.seed)
    questions = {one.question(judge.model): one.pair for one in compared if not one.is_same_text}
    verdicts, error = _verdicts(judge, questions, workspace)
    values = [
        0.5 if one.is_same_text else _value(verdicts.get(one.question(judge.model)))
        for one in compared
    ]
    letters = Counter("".join(found.letters for found in verdicts.values()).replace("?", ""))
    skipped = Counter(found.reason for found in verdicts.values() if found.reason)
    facts = {
        "model": judge.model,
        "url": config.url,
        "num_pairs": len(compared),
        "num_same": sum(one.is_same_text for one in compared),
        "num_asked": len(questions),
        "num_judged": sum(found.value is not None for found in verdicts.values()),
        "num_swayed": sum(found.value == 0.5 for found in verdicts.values()),
        "num_left": len(questions) - len(verdicts),
        "skipped": dict(sorted(skipped.items())),
        "letters": dict(sorted(letters.items())),
        "agreement": agreements(compared, values),
        "path": judged_path(compared, values, baseline or next(iter(graded), "")),
        "error": error,
    }
    workspace.say(
        f"judge {judge.model}: {facts['num_judged']:,} of {len(questions):,} pairs judged, "
        f"{facts['num_swayed']:,} of them one way in each order"
    )
    for reason, num in facts["skipped"].items():
        workspace.say(f"  {num:,} skipped: {reason}")
    return judged_wins(compared, values), facts


def _value(verdict: Verdict | None) -> float | None:
    return None if verdict is None else verdict.value


def _verdicts(
    judge: LanguageJudge, questions: Mapping[str, Preference], workspace: Workspace
) -> tuple[dict[str, Verdict], str]:
    """A verdict for each question that got one, and why the judge stopped, if it did."""
    kept = read_verdicts(workspace.folder / _FILE)
    verdicts = {key: kept[key] for key in questions if key in kept}
    left = [key for key in questions if key not in kept]
    workspace.say(
        f"judge {judge.model}: {len(left):,} pairs to ask"
        + (f", {len(verdicts):,} are answered already" if verdicts else "")
    )
    error = ""
    try:
        # One by one: what came before a failure stays.
        verdicts.update(_asked(judge, {key: questions[key] for key in left}, workspace))
    except UserError as found:
        error = str(found)
    silent = [one.reason for one in verdicts.values() if not one.letters]
    if silent and len(silent) == len(verdicts) and not error:
        error = f"{judge.client.url}: no question was answered ({silent[0]})"
    if error:
        workspace.say(f"the judge stopped: {error}; all other results stand")
    return verdicts, error


def _asked(
    judge: LanguageJudge, questions: Mapping[str, Preference], workspace: Workspace
) -> Iterator[tuple[str, Verdict]]:
    """Questions with their verdicts as they come, those that were answered kept on disk."""
    path = workspace.folder / _FILE
    keys, pairs = list(questions), list(questions.values())
    time_left = TimeLeft(len(keys))
    with path.open("a", encoding="utf-8") as file:
        # A line that a kill cut off ends here.
        file.write("\n" if path.stat().st_size else "")
        for done, (place, verdict) in enumerate(judge.verdicts(pairs), 1):
            if _LETTERS.fullmatch(verdict.letters):
                row = {"question": keys[place], "letters": verdict.letters}
                file.write(json.dumps(row | {"prompt_id": pairs[place].prompt_id}) + "\n")
                file.flush()
                os.fsync(file.fileno())  # paid for: not to be lost to a power cut
            yield keys[place], verdict
            if done % max(1, len(keys) // _LINES_OF_PROGRESS) == 0 and done < len(keys):
                workspace.say(f"{done:,} of {len(keys):,} pairs  {time_left.after(done)}")


def read_verdicts(path: Path) -> dict[str, Verdict]:
    """What was kept, by question; a line that is not whole is passed over."""
    if not path.exists():
        return {}
    found: dict[str, Verdict] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            question, letters = row["question"], row["letters"]
        except (ValueError, TypeError, KeyError):
            continue
        if isinstance(letters, str) and _LETTERS.fullmatch(letters):
            found[str(question)] = Verdict(letters, NONSENSE if "?" in letters else "")
    return found
