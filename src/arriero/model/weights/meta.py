"""Models in Meta's layout: params.json and consolidated.NN.pth, one file a model-parallel rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import torch

from arriero.model.config import ModelConfig
from arriero.model.weights.hugging_face import Checkpoint
from arriero.model.weights.integrity import check_hashes
from arriero.model.weights.json_files import write_json
from arriero.model.weights.lazy import LazyTensor
from arriero.model.weights.meta_layout import (
    cut,
    cut_dimension,
    embedding_cut,
    join,
    meta_name,
    to_halves,
    to_pairs,
    turned_heads,
)
from arriero.model.weights.meta_params import (
    PARAMS,
    config_from_params,
    params_from_config,
    read_params,
)
from arriero.model.weights.pth_files import PthWriter, open_pth
from arriero.model.weights.shapes import EMBEDDING, OUTPUT, check_weights, weight_shapes
from arriero.records import UserError

_WIDENING = "model.layers.0.mlp.gate_proj.weight"
_FREQUENCIES = "rope.freqs"  # follow from params.json


def is_meta(folder: Path) -> bool:
    """Whether a folder is in Meta's layout."""
    return (folder / PARAMS).is_file() or any(folder.glob("consolidated.*.pth"))


def open_meta(folder: Path, context: int | None = None) -> Checkpoint:
    """The language model of a folder in Meta's layout, checked and not read yet.

    Args:
        folder: holds params.json and consolidated.00.pth, consolidated.01.pth, ...
        context: longest sequence in tokens, which params.json does not name; that of the released
            family if None.

    Raises:
        UserError: a file is missing, damaged or holds code; weights do not fit the shape.
    """
    if not (folder / PARAMS).is_file():
        raise UserError(f"{folder}: no {PARAMS}; it says what shape the weights have")
    params = read_params(folder)
    paths = rank_paths(folder)
    check_hashes(folder, paths)
    ranks = [open_pth(path) for path in paths]
    by_rank = [
        {name: tensor for name, tensor in rank.items() if name != _FREQUENCIES} for rank in ranks
    ]
    embedding = _parts(by_rank, EMBEDDING, paths)
    by_columns = int(embedding[0].shape[-1] != params["dim"])
    joined = {EMBEDDING: join(embedding, by_columns)}
    joined[_WIDENING] = join(_parts(by_rank, _WIDENING, paths), 0)
    config = config_from_params(
        params,
        folder,
        vocab_size=joined[EMBEDDING].shape[0],
        ffn_dim=joined[_WIDENING].shape[0],
        tie_embeddings=meta_name(OUTPUT) not in by_rank[0],
        context=context,
    )
    for name, shape in weight_shapes(config, "language"):
        parts = _parts(by_rank, name, paths)
        whole = join(parts, cut_dimension(name, embedding=by_columns))
        if whole.shape != shape:
            raise UserError(
                f"{folder}: {meta_name(name)} has shape {list(whole.shape)} over {len(paths)} "
                f"file(s), {PARAMS} says {list(shape)}; is a consolidated.NN.pth missing?"
            )
        joined[name] = _turned(whole, name, config)
    expected = {meta_name(name) for name in joined}
    left = sorted(by_rank[0].keys() - expected)
    if left:
        raise UserError(f"{paths[0]}: holds {left[0]}, which is no part of this model")
    if OUTPUT in joined and _are_equal(joined[OUTPUT], joined[EMBEDDING]):
        # Meta's code always has an output matrix; where it is the embedding, it is stored twice.
        config = config.model_copy(update={"tie_embeddings": True})
    return Checkpoint(config, "language", check_weights(joined, config, "language", folder))


def rank_paths(folder: Path) -> list[Path]:
    """consolidated.00.pth and on; raises UserError where one in between is missing."""
    found = sorted(path.name for path in folder.glob("consolidated.*.pth"))
    names = [f"consolidated.{number:02d}.pth" for number in range(max(1, len(found)))]
    for name in names:
        path = folder / name
        if name not in found:
            raise UserError(f"{path}: no such file; all consolidated.NN.pth of a model are needed")
        if path.resolve().parent != folder.resolve():
            raise UserError(f"{path}: a link out of the folder; weights stand inside it")
    return [folder / name for name in names]


def write_meta(checkpoint: Checkpoint, folder: Path, num_ranks: int = 1) -> None:
    """Write params.json and one consolidated.NN.pth a rank; weights are read one at a time.

    Args:
        checkpoint: a language model.
        folder: has to exist.
        num_ranks: over how many files Meta's code shall run; has to divide every width.

    Raises:
        UserError: the layout has no place for something of this model.
    """
    config = checkpoint.config
    if checkpoint.head != "language":
        raise UserError("Meta's layout has no place for a reward model")
    params = params_from_config(config)
    widths = (config.num_kv_heads, config.dim, config.ffn_dim, config.vocab_size)
    if num_ranks < 1 or num_ranks > 99 or any(width % num_ranks for width in widths):
        raise UserError(
            f"--shards {num_ranks} does not divide {config.num_kv_heads} key/value heads, "
            f"dim {config.dim}, ffn_dim {config.ffn_dim} and vocab_size {config.vocab_size}"
        )
    write_json(folder / PARAMS, params)
    dimensions = {
        name: cut_dimension(name, embedding=embedding_cut(config))
        for name in [*checkpoint.tensors, OUTPUT]
    }
    shapes = dict(_part_shapes(checkpoint, dimensions, num_ranks))
    paths = [folder / f"consolidated.{rank:02d}.pth" for rank in range(num_ranks)]
    with ExitStack() as open_files:
        files = [open_files.enter_context(closing(PthWriter(path, shapes))) for path in paths]
        for name, lazy in checkpoint.tensors.items():
            tensor = lazy.read().cpu()
            num_heads = turned_heads(name, config)
            if num_heads is not None:
                tensor = to_pairs(tensor, num_heads)
            copies = [name, OUTPUT] if name == EMBEDDING and config.tie_embeddings else [name]
            for copy in copies:
                parts = cut(tensor, dimensions[copy], num_ranks)
                for file, part in zip(files, parts, strict=True):
                    file.write(meta_name(copy), part)
        for file in files:
            file.finish()


def _part_shapes(
    checkpoint: Checkpoint, dimensions: Mapping[str, int | None], num_ranks: int
) -> Iterator[tuple[str, tuple[tuple[int, ...], torch.dtype]]]:
    """Meta's name, shape and type of every rank's part."""
    tensors = dict(checkpoint.tensors)
    tensors.setdefault(OUTPUT, tensors[EMBEDDING])
    for name, tensor in tensors.items():
        shape = list(tensor.shape)
        dimension = dimensions[name]
        if dimension is not None:
            shape[dimension] //= num_ranks
        yield meta_name(name), (tuple(shape), tensor.dtype)


def _parts(by_rank: list[dict[str, LazyTensor]], name: str, paths: list[Path]) -> list[LazyTensor]:
    """A weight's part of every rank; all are matrices, or all vectors, of one type."""
    theirs = meta_name(name)
    for rank, path in zip(by_rank, paths, strict=True):
        if theirs not in rank:
            raise UserError(f"{path}: the weights lack {theirs}")
        part, first = rank[theirs], by_rank[0][theirs]
        num_dimensions = 1 if theirs.endswith("norm.weight") else 2
        if len(part.shape) != num_dimensions or part.dtype != first.dtype:
            raise UserError(f"{path}: {theirs} is no matrix of the other files' kind")
        if part.shape != first.shape:
            raise UserError(f"{path}: {theirs} has another shape than in {paths[0].name}")
    return [rank[theirs] for rank in by_rank]


def _turned(tensor: LazyTensor, name: str, config: ModelConfig) -> LazyTensor:
    """Query and key rows as we have them; all else as it is."""
    num_heads = turned_heads(name, config)
    if num_heads is None:
        return tensor
    return LazyTensor(tensor.shape, tensor.dtype, lambda: to_halves(tensor.read(), num_heads))


def _are_equal(first: LazyTensor, second: LazyTensor) -> bool:
    return first.shape == second.shape and torch.equal(first.read(), second.read())
