"""Weights, laid out as the C++ step reads them, and the structures that point at them."""

from __future__ import annotations

import ctypes
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from arriero.inference.native.memory import Memory

Weights = Literal["float32", "bfloat16", "int8"]
KINDS: dict[str, int] = {"float32": 0, "bfloat16": 1, "int8": 2}


class Matrix(ctypes.Structure):
    """`struct Matrix` of forward.cpp."""

    _fields_ = [
        ("panels", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("depth", ctypes.c_int64),
        ("kind", ctypes.c_int32),
    ]


class Layer(ctypes.Structure):
    """`struct Layer` of forward.cpp."""

    _fields_ = [
        ("attention_norm", ctypes.c_void_p),
        ("ffn_norm", ctypes.c_void_p),
        ("qkv", Matrix),
        ("out", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
    ]


class Model(ctypes.Structure):
    """`struct Model` of forward.cpp."""

    _fields_ = [
        *(
            (name, ctypes.c_int64)
            for name in (
                "dim",
                "num_layers",
                "num_heads",
                "num_kv_heads",
                "head_dim",
                "ffn_dim",
                "slots",
            )
        ),
        ("norm_eps", ctypes.c_float),
        ("embedding_kind", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("embedding", "cosine", "sine", "final_norm")),
        ("head", Matrix),
        ("layers", ctypes.POINTER(Layer)),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "x",
                "normed",
                "qkv",
                "attended",
                "hidden",
                "scores",
            )
        ),
    ]


def round_up(count: int, multiple: int) -> int:
    """The smallest multiple that is no less than `count`."""
    return -(-count // multiple) * multiple


def in_panels(weight: Tensor, width: int) -> Tensor:
    """[outputs, depth] -> [panels, depth, width]: `width` outputs beside one another; a view where
    nothing has to be filled up."""
    outputs, depth = weight.shape
    whole = F.pad(weight, (0, 0, 0, round_up(outputs, width) - outputs))
    return whole.view(-1, width, depth).transpose(1, 2)


def interleaved(first: Tensor, second: Tensor, lanes: int) -> Tensor:
    """Two matrices (or vectors) of one shape as one, `lanes` outputs of each in turn."""
    missing = round_up(first.shape[0], lanes) - first.shape[0]
    padding = (0, 0) * (first.dim() - 1) + (0, missing)
    parts = [F.pad(part, padding).unflatten(0, (-1, lanes)) for part in (first, second)]
    return torch.cat(parts, dim=1).flatten(0, 1)


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 weights [outputs, depth] and a float32 scale for each output, symmetric about zero."""
    wide = weight.float()
    scales = wide.abs().amax(1).clamp_min(1e-30) / 127
    return (wide / scales[:, None]).round().to(torch.int8), scales


class Arena:
    """Keeps alive what the structures point at; the C++ side knows only addresses."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._memory = Memory()
        self._kept: list[object] = []

    def address(self, tensor: Tensor) -> int:
        """The address of a tensor's values, which lie side by side from now on."""
        whole = tensor.detach().contiguous()
        self._kept.append(whole)
        return whole.data_ptr()

    def zeros(self, count: int) -> int:
        """The address of so many float32 zeros."""
        return self.address(self._memory.zeros(count))

    def floats(self, tensor: Tensor) -> int:
        """The address of the values as float32."""
        return self.address(tensor.float())

    def matrix(self, weight: Tensor, bias: Tensor | None, weights: Weights) -> Matrix:
        """A weight matrix [outputs, depth] in panels of the given type."""
        outputs = round_up(weight.shape[0], self.width)
        missing = outputs - weight.shape[0]
        scales = None
        if weights == "int8":
            weight, scales = quantized(weight)
        else:
            weight = weight.to(getattr(torch, weights))
        panels = self._memory.zeros(outputs * weight.shape[1], weight.dtype)
        panels.view(-1, weight.shape[1], self.width).copy_(in_panels(weight.detach(), self.width))
        return Matrix(
            panels=self.address(panels),
            scales=None if scales is None else self.floats(F.pad(scales, (0, missing))),
            bias=None if bias is None else self.floats(F.pad(bias.detach(), (0, missing))),
            outputs=outputs,
            depth=weight.shape[1],
            kind=KINDS[weights],
        )
