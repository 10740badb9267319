"""A model as the C++ step runs it: packed weights, the cache, room for one step's tokens."""

from __future__ import annotations

import ctypes
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from arriero.inference.native.layout import (
    Arena,
    Layer,
    Model,
    Weights,
    interleaved,
    round_up,
)
from arriero.model.heads import LanguageModel
from arriero.model.rotary import rotary_angles, rotary_frequencies
from arriero.model.transformer import Block

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


class NativeRunner:
    """Runs steps for `num_rows` sequences of up to `num_slots` tokens on the CPU.

    Attributes:
        num_rows, num_slots: shape of the cache.
        max_tokens: most tokens a step.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        model: LanguageModel,
        num_rows: int,
        num_slots: int,
        *,
        max_tokens: int,
        weights: Weights | None = None,
    ) -> None:
        config = model.config
        width = int(library.panel_width())
        self._library = library
        self._arena = Arena(width)
        self.num_rows, self.num_slots, self.max_tokens = num_rows, num_slots, max_tokens
        self._threads = torch.get_num_threads()
        slots = round_up(num_slots, width)
        head_dim, kv_heads = config.head_dim, config.num_kv_heads
        of_model = str(model.lm_head.weight.dtype).removeprefix("torch.")
        kind: Weights = weights or ("bfloat16" if of_model == "bfloat16" else "float32")
        layers = (Layer * config.num_layers)(
            *(
                self._layer(cast(Block, block), num_rows * kv_heads * slots, kind)
                for block in model.model.layers
            )
        )
        self._layers = layers
        positions = torch.arange(slots)[None]
        cosine, sine = rotary_angles(positions, rotary_frequencies(config, "cpu"))
        address, floats, zeros = self._arena.address, self._arena.floats, self._arena.zeros
        embedding = model.model.embed_tokens.weight
        is_narrow = embedding.dtype == torch.bfloat16
        qkv = round_up((config.num_heads + 2 * kv_heads) * head_dim, width)

        def room(width_of_row: int) -> int:
            return zeros(max_tokens * width_of_row)

        self._model = Model(
            dim=config.dim,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            num_kv_heads=kv_heads,
            head_dim=head_dim,
            ffn_dim=config.ffn_dim,
            slots=slots,
            norm_eps=config.norm_eps,
            embedding_kind=int(is_narrow),
            embedding=address(embedding) if is_narrow else floats(embedding),
            cosine=floats(cosine),
            sine=floats(sine),
            final_norm=floats(model.model.norm.weight),
            head=self._arena.matrix(model.lm_head.weight, None, kind),
            layers=layers,
            x=room(round_up(config.dim, width)),
            normed=room(round_up(config.dim, width)),
            qkv=room(qkv),
            attended=room(round_up(config.num_heads * head_dim, width)),
            hidden=room(round_up(config.ffn_dim, width)),
            scores=zeros(self._threads * int(library.block_rows()) * slots),
        )
        self._vocab_size = config.vocab_size
        self._logits = np.empty((0, round_up(config.vocab_size, width)), np.float32)

    def forward(
        self, tokens: Integers, rows: Integers, positions: Integers, wanted: Integers
    ) -> Floats:
        """Logits after some of the tokens of a step.

        Args:
            tokens, rows, positions: [N] ids, the row of the cache each belongs to, its position
                there; tokens of one row in the order of their positions.
            wanted: [M] numbers of the tokens after which logits are wanted.

        Returns:
            [M, V'] float32, V' the vocabulary rounded up; overwritten by the next call.
        """
        assert len(tokens) <= self.max_tokens
        assert len(wanted) <= self.max_tokens
        if len(self._logits) < len(wanted):
            self._logits = np.empty((len(wanted), self._logits.shape[1]), np.float32)
        logits = self._logits[: len(wanted)]
        self._library.forward(
            ctypes.byref(self._model),
            ctypes.c_int32(self._threads),
            ctypes.c_int64(len(tokens)),
            _pointer(tokens),
            _pointer(rows),
            _pointer(positions),
            ctypes.c_int64(len(wanted)),
            _pointer(wanted),
            _pointer(logits),
        )
        return logits

    def row(self, logits: Floats, place: int) -> Floats:
        """The logits of one place [V]."""
        return logits[place, : self._vocab_size]

    def draw(
        self,
        logits: Floats,
        uniforms: Floats,
        temperatures: Floats,
        top_ps: Floats,
        top_ks: Integers,
    ) -> tuple[Integers, Floats]:
        """A token for each row of logits and its log-probability; see equations.sampling.

        Raises:
            ValueError: a row of logits is no distribution.
        """
        count = len(logits)
        tokens, logprobs = np.empty(count, np.int64), np.empty(count, np.float32)
        self._library.draw(
            ctypes.c_int32(self._threads),
            ctypes.c_int64(count),
            ctypes.c_int64(self._vocab_size),
            ctypes.c_int64(logits.shape[1]),
            *map(_pointer, (logits, uniforms, temperatures, top_ps, top_ks, tokens, logprobs)),
        )
        if count and int(tokens.min()) < 0:
            raise ValueError("a row of logits holds NaN or +inf, or nothing but -inf")
        return tokens, logprobs

    def copy(self, source: int, target: int, count: int) -> None:
        """Put the first `count` slots of one row into another."""
        self._library.copy_row(
            ctypes.byref(self._model),
            *(ctypes.c_int64(number) for number in (source, target, count)),
        )

    def _layer(self, block: Block, num_slots: int, kind: Weights) -> Layer:
        """A layer's weights and its cache, `num_slots` counted over all rows and heads."""
        attention, mlp, arena = block.self_attn, block.mlp, self._arena
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        has_bias = attention.q_proj.bias is not None
        gate, up = mlp.gate_proj, mlp.up_proj
        lanes = arena.width // 2
        return Layer(
            attention_norm=arena.floats(block.input_layernorm.weight),
            ffn_norm=arena.floats(block.post_attention_layernorm.weight),
            qkv=arena.matrix(
                torch.cat([part.weight for part in projections]),
                torch.cat([part.bias for part in projections]) if has_bias else None,
                kind,
            ),
            out=arena.matrix(attention.o_proj.weight, attention.o_proj.bias, kind),
            gate_up=arena.matrix(
                interleaved(gate.weight, up.weight, lanes),
                None if gate.bias is None else interleaved(gate.bias, up.bias, lanes),
                kind,
            ),
            down=arena.matrix(mlp.down_proj.weight, mlp.down_proj.bias, kind),
            keys=arena.zeros(num_slots * attention.config.head_dim),
            values=arena.zeros(num_slots * round_up(attention.config.head_dim, arena.width)),
        )


def _pointer(array: Integers | Floats) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)
