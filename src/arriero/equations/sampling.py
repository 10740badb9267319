"""Drawing the next token: temperature, top-k, top-p, and the numbers that decide.

The uniform numbers come in from outside, one a row, so that what a row draws depends on its own
random stream and not on the batch around it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from arriero.equations.logprobs import token_logprobs
from arriero.equations.masked import at_least_float32


def sample_tokens(
    logits: Tensor, uniforms: Tensor, temperature: float, top_p: float = 1.0, top_k: int = 0
) -> Tensor:
    """Draw one token a row by inverting the cumulative distribution, in the vocabulary's order.

    The token is the first whose cumulative probability exceeds the uniform number; a token of
    probability 0 is never drawn. Filters apply after the temperature, top-k before top-p. Rollouts
    for PPO keep top_p at 1 and top_k at 0: otherwise sampler and trainer differ in distribution.

    Args:
        logits: [B, V].
        uniforms: [B], in [0, 1).
        temperature: divides the logits; 0 takes the most probable token.
        top_p: keep the smallest set of most probable tokens whose mass reaches it; in (0, 1].
        top_k: keep this many most probable tokens; 0 keeps all.

    Returns:
        [B] int64.

    Raises:
        ValueError: a setting is out of range, or a row of logits is no distribution (NaN or inf).

    Worked example: probabilities (0.5, 0.3, 0.2): 0.49 -> 0, 0.5 -> 1, 0.81 -> 2.
    """
    if temperature < 0 or not 0 < top_p <= 1 or top_k < 0:
        raise ValueError(
            f"temperature {temperature}, top_p {top_p}, top_k {top_k}: "
            "needs temperature >= 0, 0 < top_p <= 1, top_k >= 0"
        )
    if temperature == 0:
        return logits.argmax(-1)
    # Masses need not sum to 1, and in place they cost one [B, V] buffer instead of four.
    wide = at_least_float32(logits)
    masses = (wide - wide.amax(-1, keepdim=True)).div_(temperature).exp_()
    if top_k > 0 or top_p < 1:
        masses = _keep_top(masses, top_p, top_k)
    return _invert(masses.cumsum_(-1), uniforms)


def chosen_logprobs(logits: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """Log-probability of drawn tokens under softmax(logits / temperature), without any filter.

    At temperature 0 the distribution is one point: 0 for the most probable token, -inf for others.

    Args:
        logits: [B, V].
        tokens: [B].
        temperature: at least 0.

    Returns:
        [B], nats, at least float32.
    """
    if temperature > 0:
        return token_logprobs(logits, tokens, temperature)
    is_best = logits.argmax(-1) == tokens
    wide = at_least_float32(logits[:, 0])
    return torch.where(is_best, torch.zeros_like(wide), torch.full_like(wide, -torch.inf))


def _keep_top(masses: Tensor, top_p: float, top_k: int) -> Tensor:
    """[B, V] -> [B, V]: 0 for all but the top tokens."""
    vocab_size = masses.shape[-1]
    kept, order = masses.topk(min(top_k, vocab_size) if top_k else vocab_size, dim=-1)
    mass_before = F.pad(kept.cumsum(-1)[:, :-1], (1, 0))
    is_needed = mass_before < top_p * kept.sum(-1, keepdim=True)
    kept = torch.where(is_needed, kept, torch.zeros_like(kept))
    return torch.zeros_like(masses).scatter(-1, order, kept)


def _invert(cumulative: Tensor, uniforms: Tensor) -> Tensor:
    """[B, V] cumulative masses, [B] uniforms -> [B]: first token whose sum exceeds its share."""
    if not cumulative.is_cpu:
        # A parallel scan rounds each sum on its own and may step back by a bit.
        cumulative = cumulative.cummax(-1).values
    whole = cumulative[:, -1]
    if not bool(((whole > 0) & torch.isfinite(whole)).all()):
        raise ValueError("a row of logits holds NaN or +inf, or nothing but -inf")
    # A number that rounds to 1 must still stay below the whole mass.
    below = whole.nextafter(torch.zeros_like(whole))
    target = torch.minimum(uniforms.to(whole.dtype) * whole, below)
    return torch.searchsorted(cumulative, target.unsqueeze(-1), right=True).squeeze(-1)
