"""Which ids of a vocabulary are special, from what the files of a folder say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from arriero.records import SpecialIds, UserError
from arriero.tokenizer.folder_files import FolderFiles


def find_special(
    files: FolderFiles,
    id_of: Callable[[str], int | None],
    control: Mapping[int, str],
    vocab_size: int,
    turn_end: str | None,
) -> SpecialIds:
    """BOS, ends and padding.

    Names in the tokenizer's own files come before ids in the model's. `ends` are the tokenizer's
    EOS, what the chat template ends an answer with, and what generation_config.json (or else
    config.json) stops at.

    Args:
        id_of: id of a literal; None where the vocabulary has no such token.
        control: the control ids and their literals; what `files` gives by number is among them.
        vocab_size: one more than the largest id.
        turn_end: literal of the token that ends an answer in the chat template, if there is one.

    Raises:
        UserError: a special token is not in the vocabulary, or nothing ends a text.
    """

    def named(name: str) -> list[int]:
        literal = files.named.get(name)
        if literal is None:
            return []
        found = id_of(literal)
        if found is None:
            raise UserError(f"{files.where}: {name} {literal!r} is not in the vocabulary")
        return [found]

    hinted = [*files.ends, *([] if files.bos is None else [files.bos])]
    for token in hinted:
        if token not in control:
            raise UserError(
                f"{files.where}: special id {token} is outside the vocabulary of {vocab_size}"
            )
    bos = [*named("bos_token"), *([] if files.bos is None else [files.bos])]
    if "bos_token" in files.config and "bos_token" not in files.named:
        bos = []  # said to have none
    turn = None if turn_end is None else id_of(turn_end)
    gathered = [*named("eos_token"), *([] if turn is None else [turn]), *files.ends]
    ends = tuple(dict.fromkeys(gathered))
    if not ends:
        raise UserError(
            f"{files.where}: nothing ends a text; name an eos_token in tokenizer_config.json"
        )
    return SpecialIds(
        bos=bos[0] if bos else None,
        ends=ends,
        pad=_padding(files, id_of, control, vocab_size, ends, bos),
    )


def _padding(
    files: FolderFiles,
    id_of: Callable[[str], int | None],
    control: Mapping[int, str],
    vocab_size: int,
    ends: Sequence[int],
    bos: Sequence[int],
) -> int:
    """An id that fills rows and is no end.

    Rows are masked by their lengths, so that any id would do here; other programs find a
    sequence's last token by it, so that it must be one that no sequence ends with. In order: the
    tokenizer's own, `<unk>`, a token whose name says so (`<|finetune_right_pad_id|>`), a reserved
    one, BOS, any other control token; where a vocabulary has none of these, its first id.
    """
    own = [
        None if literal is None else id_of(literal)
        for literal in (files.named.get("pad_token"), files.named.get("unk_token"))
    ]
    own.insert(1, files.pad)
    by_name = [
        token
        for word in ("pad", "reserved")
        for token, literal in sorted(control.items())
        if word in literal.lower()
    ]
    candidates = chain(own, by_name, bos[:1], sorted(control, reverse=True), range(vocab_size))
    return next(
        token
        for token in candidates
        if token is not None and 0 <= token < vocab_size and token not in ends
    )
