"""The same step in PyTorch: on a GPU, where nothing can be compiled, and to check the compiled one.

A step with one token for most rows runs all rows in place, so that its shapes stay the same from
step to step; any other gathers the rows it needs and puts them back.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arriero.equations.sampling import chosen_logprobs, sample_tokens
from arriero.model.cache import KVCache
from arriero.model.heads import LanguageModel

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


class PlainRunner:
    """Runs steps for `num_rows` sequences of up to `num_slots` tokens where the model lives."""

    def __init__(self, model: LanguageModel, num_rows: int, num_slots: int) -> None:
        weight = model.lm_head.weight
        self._model, self._device = model, weight.device
        self.num_rows, self.num_slots = num_rows, num_slots
        # One slot more than a sequence can have: there goes what is computed for nothing.
        self._cache = KVCache(
            model.config, num_rows, num_slots + 1, dtype=weight.dtype, device=weight.device
        )

    @torch.inference_mode()
    def forward(
        self, tokens: Integers, rows: Integers, positions: Integers, wanted: Integers
    ) -> Tensor:
        """Logits [M, V] after some of the tokens of a step; see NativeRunner.forward."""
        used, places, counts = np.unique(rows, return_inverse=True, return_counts=True)
        width, num_slots = int(counts.max()), int(positions.max()) + 1
        is_in_place = width == 1 and 2 * len(used) > self.num_rows
        if is_in_place:
            places, height = rows, self.num_rows
        else:
            height = len(used)
        # Tokens of a row follow one another, so a token's column counts those before it.
        columns = (
            positions
            - np.array([positions[rows == row].min() for row in used])[np.searchsorted(used, rows)]
        )
        grid = np.zeros((height, width), np.int64)
        slots = np.full((height, width), self.num_slots, np.int64)
        grid[places, columns] = tokens
        slots[places, columns] = positions
        ids, at = (torch.from_numpy(part).to(self._device) for part in (grid, slots))
        if is_in_place:
            hidden = self._model.model(ids, positions=at, cache=self._cache, num_slots=num_slots)
        else:
            chosen = torch.from_numpy(used).to(self._device)
            cache = self._cache.gathered(chosen)
            hidden = self._model.model(ids, positions=at, cache=cache, num_slots=num_slots)
            self._cache.place(chosen, cache)
        last = torch.from_numpy(places[wanted]), torch.from_numpy(columns[wanted])
        return self._model.lm_head(hidden[last[0].to(self._device), last[1].to(self._device)])

    def row(self, logits: Tensor, place: int) -> Floats:
        """The logits of one place [V]."""
        return logits[place].float().cpu().numpy()

    @torch.inference_mode()
    def draw(
        self,
        logits: Tensor,
        uniforms: Floats,
        temperatures: Floats,
        top_ps: Floats,
        top_ks: Integers,
    ) -> tuple[Integers, Floats]:
        """A token for each row of logits and its log-probability; see equations.sampling.

        Raises:
            ValueError: a row of logits is no distribution.
        """
        tokens, logprobs = np.empty(len(logits), np.int64), np.empty(len(logits), np.float32)
        settings = list(zip(temperatures.tolist(), top_ps.tolist(), top_ks.tolist(), strict=True))
        for setting in sorted(set(settings)):
            chosen = np.array([place for place, one in enumerate(settings) if one == setting])
            temperature, top_p, top_k = setting
            some = logits if len(chosen) == len(logits) else logits[chosen.tolist()]
            numbers = torch.from_numpy(uniforms[chosen]).to(self._device)
            drawn = sample_tokens(some, numbers, temperature, top_p=top_p, top_k=top_k)
            tokens[chosen] = drawn.cpu().numpy()
            logprobs[chosen] = chosen_logprobs(some, drawn, temperature).float().cpu().numpy()
        return tokens, logprobs

    @torch.inference_mode()
    def copy(self, source: int, target: int, count: int) -> None:
        """Put the first `count` slots of one row into another."""
        self._cache.copy(source, target, count)
