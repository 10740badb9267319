"""Puts a model onto a device mesh, from outside: tensor parallel, then FSDP2.

A model is built without memory (on the meta device), cut up, and then filled a tensor at a time, so
that no rank ever holds a whole one. Weights, gradients and the optimizer's moments are float32 and
lie in shares on all ranks; a block's matrices come together, in the type they multiply in, while it
is computed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)
from torch.utils.checkpoint import checkpoint

from arriero.records import UserError
from arriero.training.ranks import Ranks

Precision = Literal["float32", "bfloat16"]

_COLUMNS = (
    *(f"self_attn.{name}_proj" for name in "qkv"),
    *("mlp.gate_proj", "mlp.up_proj"),
)
_ROWS = ("self_attn.o_proj", "mlp.down_proj")


def distribute(
    model: nn.Module,
    blocks: Sequence[nn.Module],
    ranks: Ranks,
    precision: Precision,
    methods: Sequence[str] = (),
) -> None:
    """Cut a model up over the mesh, in place; nothing happens where there is none.

    Args:
        model: its parameters may lie on the meta device.
        blocks: its decoder blocks.
        precision: of the matrix products; gradients are added up in float32 in any case.
        methods: further methods of the model that compute with its weights as `forward` does.

    Raises:
        UserError: a matrix cannot be divided by the tensor-parallel ranks.
    """
    if ranks.recompute:
        for block in blocks:
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    if ranks.compile:
        for block in blocks:
            block.compile()
    if ranks.mesh is None:
        return
    if ranks.mesh["tp"].size() > 1:
        for block in blocks:
            _divide_matrices(block, ranks.mesh["tp"])
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if precision == "bfloat16" else None,
        reduce_dtype=torch.float32,
        # The angles of the rotary embedding stay float32.
        cast_forward_inputs=False,
    )
    for block in blocks:
        fully_shard(block, mesh=ranks.mesh["dp"], mp_policy=policy)
    fully_shard(model, mesh=ranks.mesh["dp"], mp_policy=policy)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # Losses are divided by the items of all ranks already: gradients add up.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    for method in methods:
        register_fsdp_forward_method(model, method)


def _divide_matrices(block: nn.Module, mesh: DeviceMesh) -> None:
    """Heads and hidden units of a block over the ranks of `mesh`."""
    for name in _COLUMNS:
        layer = block.get_submodule(name)
        if not isinstance(layer, nn.Linear):
            raise UserError("adapters (lora.rank) cannot be cut up: say --parallel.tensor 1")
        outputs = layer.out_features
        head_dim = cast(Any, block).self_attn.config.head_dim
        units = outputs // head_dim if "attn" in name else outputs
        if units % mesh.size():
            kind = "heads" if "attn" in name else "hidden units"
            raise UserError(
                f"{name} has {units} {kind}, which {mesh.size()} ranks cannot share; "
                "name a divisor as --parallel.tensor"
            )
    plan: dict[str, ParallelStyle] = {name: ColwiseParallel() for name in _COLUMNS}
    plan |= {name: RowwiseParallel() for name in _ROWS}
    parallelize_module(block, mesh, plan)


def fill(
    model: nn.Module, device: torch.device, whole: Callable[[str, torch.Size], Tensor]
) -> None:
    """Give a model on the meta device its memory and its weights.

    Args:
        whole: the whole tensor of a parameter's name and shape; it is called for each of them in
            the model's order, on every rank, and each rank keeps its own part.
    """
    model.to_empty(device=device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            local_part(parameter).copy_(own_part(parameter, whole(name, parameter.shape)))


def local_part(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def own_part(parameter: Tensor, whole: Tensor) -> Tensor:
    """The part of `whole` that this rank holds of a parameter."""
    if not isinstance(parameter, DTensor):
        return whole
    mesh = parameter.device_mesh
    coordinate = mesh.get_coordinate()
    assert coordinate is not None
    # Matrices are divided first, and what a rank has of them is cut for FSDP then.
    for place in reversed(range(mesh.ndim)):
        dim = getattr(parameter.placements[place], "dim", None)  # None where it is not cut
        if dim is not None:
            parts = whole.chunk(mesh.size(place), dim)
            number = coordinate[place]
            whole = parts[number] if number < len(parts) else whole.narrow(dim, 0, 0)
    return whole


def whole_tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Every entry of the state dict, put together; all ranks go through it at the same pace."""
    reshard(module)
    for name, tensor in module.state_dict().items():
        yield name, tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def reshard(module: nn.Module) -> None:
    """Let go of what a forward pass without a backward one leaves together."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def _holders(tensor: Tensor) -> tuple[dist.ProcessGroup, ...]:
    """The groups of ranks that have different parts of a tensor; a copy on each is no part."""
    if not isinstance(tensor, DTensor):
        return ()
    mesh = tensor.device_mesh
    return tuple(
        mesh.get_group(place)
        for place, placement in enumerate(tensor.placements)
        if not placement.is_replicate()
    )


def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> float:
    """Scale all gradients so that their common norm is at most `most`; returns the norm before.

    Parameters may lie on different meshes: squares are added up over the ranks that hold parts.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not any(isinstance(gradient, DTensor) for gradient in gradients):
        return float(nn.utils.clip_grad_norm_(parameters, most))
    squares: dict[tuple[dist.ProcessGroup, ...], Tensor] = {}
    for gradient in gradients:
        square = local_part(gradient).float().square().sum()
        held_by = _holders(gradient)
        squares[held_by] = squares[held_by] + square if held_by in squares else square
    total = 0.0
    for held_by, square in squares.items():
        for group in held_by:
            dist.all_reduce(square, group=group)
        total += float(square)
    norm = math.sqrt(total)
    scale = most / (norm + 1e-6)
    if scale < 1:
        for gradient in gradients:
            local_part(gradient).mul_(scale)
    return norm
