"""`arriero convert`: a model from one layout to another, tensor by tensor, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import torch

from arriero.conversion.gguf_file import GgufType, write_gguf
from arriero.conversion.source import Source, open_source, tokenizer_code
from arriero.conversion.whole import whole_file, whole_folder
from arriero.model.weights import Checkpoint, write_hugging_face, write_meta
from arriero.model.weights.hugging_face_config import GENERATION
from arriero.model.weights.lazy import LazyTensor, as_type
from arriero.model.weights.meta_params import lost_in_params
from arriero.model.weights.tensor_files import MAX_SHARD_SIZE
from arriero.records import UserError

Target = Literal["hugging-face", "meta", "gguf"]

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_GGUF_TYPES: dict[str, GgufType] = {
    "float32": "f32",
    "bfloat16": "bf16",
    "float16": "f16",
    "q8_0": "q8_0",
}
DTYPES = tuple(_GGUF_TYPES)

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def convert(
    folder: Path,
    target: Path,
    to: Target,
    *,
    dtype: str | None = None,
    num_shards: int = 1,
    max_shard_size: str | None = None,
    context: int | None = None,
) -> str | None:
    """Write the model of `folder` to `target` in another layout.

    Args:
        folder: a model in Hugging Face's layout or in Meta's.
        target: a folder that is not there or empty; a .gguf file for GGUF.
        to: the layout to write.
        dtype: one of DTYPES; that of the source if None. q8_0 is for GGUF alone.
        num_shards: model-parallel files of Meta's layout.
        max_shard_size: such as `5GB`; a file of Hugging Face's layout holds no more than this.
        context: longest sequence in tokens, where the source is in Meta's layout.

    Returns:
        What cannot be said in the target's layout, in a sentence; None if nothing is lost.

    Raises:
        UserError: anything about source, target or options that the user can mend. Nothing is left
            at `target` then.
    """
    _check_options(target, to, dtype, num_shards, max_shard_size)
    source = open_source(folder, context)
    _refuse_tokenizer_code(source)
    if to == "gguf":
        with whole_file(target) as path:
            try:
                write_gguf(source, path, _GGUF_TYPES[dtype] if dtype else None)
            except OSError as error:
                reason = f"{target}: not written ({error.strerror}); make room there and try again"
                raise UserError(reason) from None
        return None
    checkpoint = _of_type(source.checkpoint, None if dtype is None else _DTYPES[dtype])
    with whole_folder(target) as temporary:
        if to == "meta":
            write_meta(checkpoint, temporary, num_shards)
        else:
            size = MAX_SHARD_SIZE if max_shard_size is None else parse_size(max_shard_size)
            write_hugging_face(checkpoint, temporary, source.special, size)
            _keep_sampling(source, temporary)
        _take_tokenizer_along(source, temporary, to)
    return lost_in_params(checkpoint.config) if to == "meta" else None


def parse_size(text: str) -> int:
    """Bytes of a size such as `5GB` or `500MB` (powers of ten, as Hugging Face counts)."""
    number, unit = text.strip().upper(), ""
    while number and number[-1].isalpha():
        number, unit = number[:-1], number[-1] + unit
    try:
        size = int(float(number) * _UNITS[unit or "B"])
    except (KeyError, ValueError, OverflowError):
        size = 0
    if size < 1:
        raise UserError(f"--max-shard-size {text}: not a size; give one such as 5GB or 500MB")
    return size


def _check_options(
    target: Path, to: Target, dtype: str | None, num_shards: int, max_shard_size: str | None
) -> None:
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"--dtype {dtype}: not one of {', '.join(DTYPES)}")
    if dtype == "q8_0" and to != "gguf":
        raise UserError("--dtype q8_0 is for --to gguf alone")
    if num_shards != 1 and to != "meta":
        raise UserError("--shards is for --to meta alone; --max-shard-size cuts Hugging Face files")
    if max_shard_size is not None and to != "hugging-face":
        raise UserError("--max-shard-size is for --to hugging-face alone")
    if to == "gguf" and target.suffix != ".gguf":
        raise UserError(f"{target}: a GGUF model is one file; name it {target.name}.gguf")


def _of_type(checkpoint: Checkpoint, dtype: torch.dtype | None) -> Checkpoint:
    if dtype is None:
        return checkpoint
    tensors = {name: _rounded(name, lazy, dtype) for name, lazy in checkpoint.tensors.items()}
    return Checkpoint(checkpoint.config, checkpoint.head, tensors)


def _rounded(name: str, lazy: LazyTensor, dtype: torch.dtype) -> LazyTensor:
    """A tensor in another type; a number that the type cannot hold must not become infinite."""
    if dtype != torch.float16 or lazy.dtype == torch.float16:
        return as_type(lazy, dtype)

    def read() -> torch.Tensor:
        tensor = lazy.read()
        if float(tensor.abs().max()) > torch.finfo(torch.float16).max:
            raise UserError(f"{name} has numbers beyond float16; take --dtype bfloat16")
        return tensor.to(dtype)

    return LazyTensor(lazy.shape, dtype, read)


def _keep_sampling(source: Source, target: Path) -> None:
    """Settings for sampling that came with a model go along unchanged."""
    if (source.folder / GENERATION).is_file():
        shutil.copyfile(source.folder / GENERATION, target / GENERATION)


def _take_tokenizer_along(source: Source, target: Path, to: Target) -> None:
    """Copy the tokenizer's files; make those that Hugging Face programs need and Meta has not."""
    if not source.tokenizer_files:
        return
    names = {path.name for path in source.tokenizer_files}
    if to == "hugging-face" and "tokenizer.json" not in names and source.tokenizer is not None:
        source.tokenizer.save(target, model_max_length=source.checkpoint.config.context)
    for path in source.tokenizer_files:
        shutil.copyfile(path, target / path.name)


def _refuse_tokenizer_code(source: Source) -> None:
    key = tokenizer_code(source.tokenizer_files[0].parent) if source.tokenizer_files else None
    if key is not None:
        raise UserError(
            f"{source.folder / 'tokenizer_config.json'}: asks for code of its own ({key}); arriero "
            "never runs code that comes with a model and does not pass it on. Take the key out"
        )
