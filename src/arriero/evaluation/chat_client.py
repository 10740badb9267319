"""Asks a chat model behind an address that speaks OpenAI's API, patiently.

What passes (a full queue, a broken connection, a slow answer) is asked again after a pause that
doubles; what will not (a wrong key, a wrong address) is the user's to mend.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any, NoReturn, cast

from arriero.records import UserError

_MOST_BYTES = 4 << 20
_LONGEST_PAUSE_S = 30.0
_PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
_MENDABLE = {401: "the key", 403: "the key", 404: "the address and the model", 405: "the address"}


class Unanswered(Exception):  # noqa: N818 - no fault of ours
    """A question that got no answer; its text says why, in a few words."""


class Declined(Unanswered):
    """A no to this question alone: somebody is there, and answers others."""


class Refused(UserError):  # noqa: N818 - as Unanswered
    """The address or the key is wrong: nothing that passes."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the key to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True, slots=True)
class ChatClient:
    """An address such as http://127.0.0.1:8000/v1.

    Attributes:
        key: sent as a bearer token; None for none.
        timeout: seconds that one attempt may take between two bytes.
        attempts: how often a question is asked before it counts as unanswered.
        pause: seconds before the second attempt; each further one doubles it.
    """

    url: str
    key: str | None = None
    timeout: float = 60.0
    attempts: int = 4
    pause: float = 1.0

    def only_model(self) -> str:
        """The name of the one model behind the address.

        Raises:
            Refused: there is another number of models, or no list of them.
            UserError: nobody answers.
        """
        try:
            body = self._ask("/models", None)
            names = [str(model["id"]) for model in body["data"]]
        except Unanswered as error:
            raise UserError(f"{self.url}: {error}; is a server running there?") from None
        except (KeyError, TypeError):
            raise Refused(f"{self.url}: no list of models; name one with #MODEL") from None
        if len(names) != 1:
            raise Refused(f"{self.url} has {len(names)} models; name one with #MODEL")
        return names[0]

    def answer(self, model: str, messages: Sequence[Mapping[str, str]], max_tokens: int) -> str:
        """The model's answer at temperature 0, "" for one without text.

        Raises:
            Unanswered: it did not come, or was refused for this question alone.
            Refused: the address or the key is wrong.
        """
        question = {"model": model, "messages": list(messages), "max_tokens": max_tokens}
        body = self._ask("/chat/completions", {**question, "temperature": 0})
        try:
            content = body["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise Declined("a reply without an answer") from None
        return content if isinstance(content, str) else ""

    def _ask(self, path: str, body: object) -> Any:
        """One request, as often as it takes."""
        why, wait = "no attempt", 0.0
        for attempt in range(self.attempts):
            try:
                return self._once(path, body)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in _PASSING:
                        self._refuse(error)
                why, wait = f"HTTP {error.code}", _retry_after(error.headers)
            except (OSError, http.client.HTTPException) as error:
                timed_out = "timed out" in str(error)
                why, wait = "no answer in time" if timed_out else "no connection", 0.0
            except ValueError:
                why, wait = "a reply that is no JSON", 0.0
            if attempt + 1 < self.attempts:
                # Never exactly together with the others who were told the same.
                pause = self.pause * 2**attempt * random.uniform(1.0, 1.25)
                time.sleep(min(_LONGEST_PAUSE_S, max(wait, pause)))
        raise Unanswered(why)

    def _once(self, path: str, body: object) -> Any:
        headers = {"content-type": "application/json", "accept": "application/json"}
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode("utf-8", "replace")
        request = urllib.request.Request(self.url.rstrip("/") + path, data, headers)
        with _OPENER.open(request, timeout=self.timeout) as reply:
            raw = cast(bytes, reply.read(_MOST_BYTES + 1))
        if len(raw) > _MOST_BYTES:
            raise Unanswered("a reply that is too large")
        return json.loads(raw)

    def _refuse(self, error: urllib.error.HTTPError) -> NoReturn:
        if error.code in _MENDABLE:
            raise Refused(f"{self.url}: HTTP {error.code}; check {_MENDABLE[error.code]}")
        if 300 <= error.code < 400:
            raise Refused(f"{self.url} sends on to another address; name that one")
        raise Declined(f"HTTP {error.code}")


def _retry_after(headers: Message) -> float:
    """Seconds that a server asks for; 0 where it names none."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return 0.0
