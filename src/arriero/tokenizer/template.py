"""The text of the chat layout: what stands around each message, in Python and in Jinja.

The layout is that of the released chat models. An exchange reads

    <s>[INST] USER [/INST] ANSWER </s>

and the system message, if there is one, sits inside the first user turn alone, as
`<<SYS>>\\nSYSTEM\\n<</SYS>>\\n\\nUSER`. `<s>` and `</s>` are ids and never text; the four tags are
plain text that no flag of a tokenizer protects. The paper says only that a special token
separates prompt from answer (section 3.1): the released layout uses `[/INST]` for it.

Two departures from the released code: literals of the template inside a message are broken by a
space (the released code refuses the whole dialog), and a blank system message counts as none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from arriero.records import Message

LITERALS = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<unk>")
"""What a message may not contain. SentencePiece never reads the last three as ids, but most
other programs that open a model folder do, so they are broken too: then all agree on the ids."""

_LITERAL = re.compile("|".join(re.escape(literal) for literal in LITERALS))


def _broken(literal: str) -> str:
    return f"{literal[0]} {literal[1:]}"


def neutralize(text: str) -> str:
    """`text` with a space inside every literal of the template: `[INST]` becomes `[ INST]`.

    One pass is enough: no literal holds a space, so that putting spaces in never makes a new one
    (taking something out would, as in `[IN[INST]ST]`). Hence neutralize(neutralize(x)) ==
    neutralize(x).
    """
    return _LITERAL.sub(lambda match: _broken(match.group()), text)


def render_turns(messages: Sequence[Message]) -> list[str]:
    """The text of each user and assistant turn, in order, without BOS and EOS.

    Turns at even positions are the users', `[INST] USER [/INST]`; those at odd positions are
    answers, each with the one space before the EOS. The space between `[/INST]` and the answer
    is the one that the tokenizer itself puts before a text.
    """
    system, turns = "", messages
    if messages[0].role == "system":
        system, turns = neutralize(messages[0].content), messages[1:]
    rendered: list[str] = []
    for message in turns:
        if message.role == "assistant":
            rendered.append(render_answer(message.content))
            continue
        content = neutralize(message.content)
        if not rendered and system.strip():
            content = f"<<SYS>>\n{system}\n<</SYS>>\n\n{content}"
        rendered.append(f"[INST] {content.strip()} [/INST]")
    return rendered


def render_answer(answer: str) -> str:
    """The text of an assistant turn."""
    return f"{neutralize(answer).strip()} "


_BREAK = "".join(f" | replace('{literal}', '{_broken(literal)}')" for literal in LITERALS)

CHAT_TEMPLATE = (
    """\
{%- if messages[0]['role'] == 'system' -%}
{%- set system = messages[0]['content']@BREAK@ -%}
{%- set turns = messages[1:] -%}
{%- else -%}
{%- set system = '' -%}
{%- set turns = messages -%}
{%- endif -%}
{%- if not turns -%}
{{- raise_exception('a dialog needs at least one user message') -}}
{%- endif -%}
{%- for message in turns -%}
{%- set content = message['content']@BREAK@ -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('user and assistant must take turns, the user first') -}}
{%- elif message['role'] == 'user' -%}
{%- if not content | trim -%}
{{- raise_exception('a user message is empty') -}}
{%- endif -%}
{%- if loop.first and system | trim -%}
{%- set content = '<<SYS>>\\n' ~ system ~ '\\n<</SYS>>\\n\\n' ~ content -%}
{%- endif -%}
{{- bos_token ~ '[INST] ' ~ content | trim ~ ' [/INST]' -}}
{%- elif message['role'] == 'assistant' -%}
{{- ' ' ~ content | trim ~ ' ' ~ eos_token -}}
{%- else -%}
{{- raise_exception('the roles are system, user and assistant') -}}
{%- endif -%}
{%- endfor -%}
"""
).replace("@BREAK@", _BREAK)
"""The same layout in Jinja, for tokenizer_config.json."""
