"""What stands on top of the decoder: a language head, a score, a value.

`LanguageModel` is laid out as Hugging Face's LlamaForCausalLM and `ScoreModel` as
LlamaForSequenceClassification with one label, names included.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arriero.model.cache import KVCache
from arriero.model.chunked_logprobs import chunked_logprobs, chunked_logprobs_and_entropy
from arriero.model.chunked_loss import chunked_token_loss_sum
from arriero.model.config import ModelConfig
from arriero.model.transformer import Transformer, init_weights


class LanguageModel(nn.Module):
    """Next-token logits: decoder and output matrix, which may be the embedding itself."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Transformer(config)
        self.lm_head = nn.Linear(config.dim, config.vocab_size, bias=False)
        self.tie()

    def tie(self) -> None:
        """Make the output matrix the embedding, where the configuration says so.

        Is called once more after weights were assigned, which replaces both.
        """
        if self.config.tie_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        cache: KVCache | None = None,
        num_slots: int | None = None,
    ) -> Tensor:
        """Logits [B, T, V]; the arguments are those of Transformer.forward."""
        hidden = self.model(
            tokens, positions=positions, segments=segments, cache=cache, num_slots=num_slots
        )
        return self.lm_head(hidden)

    def token_loss_sum(
        self,
        tokens: Tensor,
        targets: Tensor,
        mask: Tensor,
        *,
        positions: Tensor,
        segments: Tensor,
        chunk: int,
    ) -> Tensor:
        """Summed cross-entropy of the targets that count, without ever holding all logits.

        Args:
            tokens, positions, segments: [B, T], as in `forward`.
            targets: [B, T], what should come next.
            mask: [B, T] bool, which of them count.
            chunk: rows of logits at a time.

        Returns:
            A scalar, nats.
        """
        hidden = self.model(tokens, positions=positions, segments=segments)
        return chunked_token_loss_sum(
            hidden.flatten(0, 1), self.lm_head.weight, targets.flatten(), mask.flatten(), chunk
        )

    def token_logprobs(self, tokens: Tensor, mask: Tensor, temperature: float) -> Tensor:
        """Log-probability of each masked token after those before it.

        Args:
            tokens: [B, T] ids, right padded.
            mask: [B, T] bool; a row's first token, which nothing predicts, is outside.
            temperature: divides the logits.

        Returns:
            [N], of the masked tokens row after row, in nats.
        """
        hidden = self._before(tokens, mask)
        return chunked_logprobs(hidden, self.lm_head.weight, tokens[mask], temperature)

    def token_logprobs_and_entropy(
        self, tokens: Tensor, mask: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """As `token_logprobs`, to the bit, with the entropy of each distribution; no gradient.

        Returns:
            Two tensors [N], in nats.
        """
        with torch.no_grad():
            hidden = self._before(tokens, mask)
            weight = self.lm_head.weight
            return chunked_logprobs_and_entropy(hidden, weight, tokens[mask], temperature)

    def _before(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """States [N, D] at the tokens before the masked ones."""
        seen, places = before(tokens, mask)
        return self.model(seen, wanted=places)

    @classmethod
    def fresh(cls, config: ModelConfig, seed: int) -> LanguageModel:
        """A model with newly drawn weights."""
        model = cls(config)
        init_weights(model, config.num_layers, seed)
        return model


class ScoreModel(nn.Module):
    """A scalar a token (section 3.2.2): the next-token head replaced by a regression head.

    As a reward model it is read at the last token of a sequence; as PPO's value function at every
    token of the answer.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Transformer(config)
        self.score = nn.Linear(config.dim, 1, bias=False)

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        skips: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Scores of all positions, float32 [B, T], or [N] of those that are wanted.

        The arguments are those of Transformer.forward.
        """
        hidden = self.model(
            tokens, positions=positions, segments=segments, skips=skips, wanted=wanted
        )
        # A sum over one score, since a view of it must not leave a module that FSDP wraps.
        return self.score(hidden).float().sum(-1)

    @classmethod
    def from_language_model(cls, language: LanguageModel, seed: int) -> ScoreModel:
        """The decoder of a chat checkpoint under a new head: it knows what the chat model knows."""
        decoder = Transformer(language.config)
        decoder.load_state_dict(language.model.state_dict())
        return cls.over(decoder, seed)

    @classmethod
    def over(cls, decoder: Transformer, seed: int) -> ScoreModel:
        """A new head over a decoder, which is shared and not copied."""
        config = decoder.config
        with torch.device("meta"):
            model = cls(config)
        model.model = decoder
        generator = torch.Generator().manual_seed(seed)
        # Small, so that all scores start near 0 and the first loss near log 2.
        drawn = torch.empty(1, config.dim).normal_(0.0, 0.1 * config.dim**-0.5, generator=generator)
        model.score.weight = nn.Parameter(drawn.to(decoder.embed_tokens.weight.device))
        return model


def last_places(lengths: Tensor, width: int) -> Tensor:
    """Where the last real token of each sequence stands, found by length and not by id.

    Args:
        lengths: [B] tokens a row, of rows right padded to `width`.

    Returns:
        [B] places, row after row.

    Worked example: 3 and 1 tokens in rows of 4: 2 and 4.
    """
    return torch.arange(len(lengths), device=lengths.device) * width + lengths - 1


def before(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """What decides about the masked tokens: the last column of all decides about none.

    Args:
        tokens: [B, T], right padded.
        mask: [B, T] bool, False in the first column.

    Returns:
        The columns [B, T - 1] to go through a model (one where there is only one), and the places
        [N] among them, row after row, of the token before each masked one.

    Worked example: rows of 3 tokens, masked the third of the first and the second of the other:
    two columns, places 1 and 2.
    """
    width = max(tokens.shape[1] - 1, 1)
    rows, columns = mask.nonzero(as_tuple=True)
    return tokens[:, :width], rows * width + columns - 1
