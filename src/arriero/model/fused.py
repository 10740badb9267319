"""Training's own kernels on a CPU: norm, SwiGLU, attention and loss, each in one pass.

PyTorch goes through the memory several times for each of them. Everything here takes plain float32
tensors (the pointwise ones bfloat16 too) where `is_fused` says so; whoever calls them has the same
in PyTorch's words for all other cases: GPUs, divided tensors, no compiler.
"""

from __future__ import annotations

import ctypes
from typing import Any, cast

import torch
from torch import Tensor

from arriero.native.build import native

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


class _Sizes(ctypes.Structure):
    """As `Sizes` in attention.cpp."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("rows", "length", "num_heads", "num_kv_heads", "head_dim")
    ]


def is_fused(*tensors: Tensor, or_bfloat16: bool = False) -> bool:
    """Whether the kernels take these tensors: of one type, in memory that a CPU reads."""
    if torch.compiler.is_compiling():
        return False
    dtype = tensors[0].dtype
    return (
        (dtype == torch.float32 or (or_bfloat16 and dtype == torch.bfloat16))
        and all(t.device.type == "cpu" and t.dtype == dtype and _is_plain(t) for t in tensors)
        and native().library is not None
    )


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last dimension; float32 [..., D] and [D]."""
    return _apply(_RMSNorm, x, weight, eps)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, of one shape and type."""
    return _apply(_SwiGLU, gate, up)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cosine: Tensor,
    sine: Tensor,
    starts: Tensor,
    skips: Tensor | None = None,
) -> Tensor:
    """Causal attention inside documents, with rotary embedding.

    Args:
        query: float32 [B, T, H, D], not yet turned.
        key, value: float32 [B, T, G, D], G a divisor of H.
        cosine, sine: float32 [B, T, D / 2], the angles of every position.
        starts: int64 [B, T], the column at which the document of each token begins.
        skips: int64 [B, T, 2], as in `visible_from`; none if left out.

    Returns:
        [B, T, H, D].
    """
    return _apply(_Attention, query, key, value, cosine, sine, starts, skips)


def loss_and_slopes_(logits: Tensor, labels: Tensor) -> float:
    """Summed -ln p(label); the logits are overwritten by their slopes, softmax - one_hot.

    Args:
        logits: [N, V] float32 or bfloat16, contiguous.
        labels: int64 [N], from 0 to V - 1.
    """
    rows, width = logits.shape
    labels = _within(labels, width)
    name = f"arriero_loss_{_NAMES[logits.dtype]}"
    return _call(name, rows, width, logits, labels, result=ctypes.c_double)


def logprobs(
    logits: Tensor, labels: Tensor, with_entropy: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """ln p(label) of every row, ln of its sum of e^logit, and its entropy where it is asked for.

    Args:
        logits: float32 [N, V], contiguous.
        labels: int64 [N], from 0 to V - 1.

    Returns:
        [N] each.
    """
    rows, width = logits.shape
    chosen, normalizers = logits.new_empty(rows), logits.new_empty(rows)
    entropies = logits.new_empty(rows) if with_entropy else None
    labels = _within(labels, width)
    _call("arriero_logprobs", rows, width, logits, labels, chosen, normalizers, entropies)
    return chosen, normalizers, entropies


def logprob_slopes_(logits: Tensor, labels: Tensor, normalizers: Tensor, slopes: Tensor) -> None:
    """Overwrite the logits of `logprobs` by `slopes` [N] times the slopes of ln p(label).

    Those are one_hot - softmax; `normalizers` [N] is what `logprobs` gave.
    """
    rows, width = logits.shape
    labels, slopes = _within(labels, width), slopes.contiguous()
    _call("arriero_logprob_slopes", rows, width, logits, labels, normalizers, slopes)


def _within(labels: Tensor, width: int) -> Tensor:
    """Labels that a kernel may use as columns, contiguous.

    Raises:
        IndexError: one is outside the vocabulary.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < width:
        raise IndexError(f"a label is outside the vocabulary of {width}")
    return labels.contiguous()


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        width = x.shape[-1]
        rows = x.numel() // width
        y, scales = torch.empty_like(x), x.new_empty(rows)
        _call("arriero_norm", rows, width, eps, x, weight, y, scales)
        ctx.save_for_backward(x, weight, scales)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, scales = ctx.saved_tensors
        of_x, of_weight = torch.empty_like(x), torch.empty_like(weight)
        sizes, slope = (len(scales), len(weight)), slope.contiguous()
        _call("arriero_norm_slopes", *sizes, x, weight, scales, slope, of_x, of_weight)
        return of_x, of_weight, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        y = torch.empty_like(gate)
        _call(f"arriero_swiglu_{_NAMES[gate.dtype]}", gate.numel(), gate, up, y)
        ctx.save_for_backward(gate, up)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gate, up = ctx.saved_tensors
        of_gate, of_up = torch.empty_like(gate), torch.empty_like(up)
        name = f"arriero_swiglu_slopes_{_NAMES[gate.dtype]}"
        _call(name, gate.numel(), gate, up, slope.contiguous(), of_gate, of_up)
        return of_gate, of_up


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cosine: Tensor,
        sine: Tensor,
        starts: Tensor,
        skips: Tensor | None,
    ) -> Tensor:
        given = (query, key, value, cosine, sine, starts, skips)
        inputs = [tensor if tensor is None else tensor.contiguous() for tensor in given]
        rows, length, num_heads, head_dim = query.shape
        ctx.sizes = _Sizes(rows, length, num_heads, key.shape[2], head_dim)
        out = query.new_empty(query.shape)
        logs = query.new_empty(rows, num_heads, length)
        _call("arriero_attention", ctx.sizes, *inputs, out, logs)
        ctx.save_for_backward(*inputs, out, logs)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        saved = ctx.saved_tensors
        slopes = [torch.empty_like(tensor) for tensor in saved[:3]]
        _call("arriero_attention_slopes", ctx.sizes, *saved, slope.contiguous(), *slopes)
        return (*slopes, None, None, None, None)


def _apply(function: type[torch.autograd.Function], *inputs: Any) -> Tensor:
    # torch leaves the type of `apply` open.
    return cast(Tensor, function.apply(*inputs))  # pyright: ignore[reportUnknownMemberType]


def _is_plain(tensor: Tensor) -> bool:
    return type(tensor) in (Tensor, torch.nn.Parameter)


def _call(name: str, *arguments: Any, result: Any = None) -> Any:
    """Call a kernel; tensors go as addresses, which hold as long as this has the tensors."""
    library = native().library
    assert library is not None
    function = getattr(library, name)
    function.restype = result
    return function(*map(_as_c, arguments))


def _as_c(argument: Any) -> Any:
    match argument:
        case None:
            return ctypes.c_void_p(None)
        case Tensor():
            return ctypes.c_void_p(argument.data_ptr())
        case int():
            return ctypes.c_int64(argument)
        case float():
            return ctypes.c_float(argument)
        case _:
            return ctypes.byref(argument)
