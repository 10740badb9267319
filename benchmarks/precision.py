"""What bfloat16 and int8 weights cost in quality: perplexity of a text, beside float32.

    python benchmarks/precision.py MODEL TEXT [--tokens 20000]

MODEL is a model folder, TEXT a file it has not learned from. The text is read in rows as long as
the context, every token predicted from those before it in its row, by the engine's own step.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import get_args

import numpy as np

from arriero.inference.native.layout import Weights
from arriero.inference.native.runner import NativeRunner
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model
from arriero.native.build import native
from arriero.tokenizer import load_tokenizer


def losses(model: LanguageModel, rows: list[list[int]], weights: Weights) -> np.ndarray:
    """Nats of every token but the first of each row."""
    library = native().library
    assert library is not None, native().why
    length = model.config.context
    runner = NativeRunner(library, model, 1, length, max_tokens=length, weights=weights)
    found: list[float] = []
    for ids in rows:
        count = len(ids) - 1
        places = np.arange(count)
        logits = runner.forward(
            np.asarray(ids[:-1], np.int64), np.zeros(count, np.int64), places, places
        )
        wide = logits[:, : model.config.vocab_size].astype(np.float64)
        wide -= wide.max(1, keepdims=True)
        found += list(np.log(np.exp(wide).sum(1)) - wide[places, ids[1:]])
    return np.asarray(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--tokens", type=int, default=20_000)
    options = parser.parse_args()
    model = load_language_model(options.model).eval()
    tokenizer = load_tokenizer(options.model)
    text = options.text.read_text(encoding="utf-8")
    ids = tokenizer.encode(text[: 12 * options.tokens])[: options.tokens]
    length = model.config.context
    rows = [[tokenizer.start_id, *ids[i : i + length - 1]] for i in range(0, len(ids), length - 1)]
    exact = losses(model, rows, "float32")
    print(f"{model.config.num_parameters:,} parameters, {len(exact):,} tokens")
    for weights in get_args(Weights):
        own = losses(model, rows, weights)
        change = own - exact
        error = change.std() / math.sqrt(len(change))
        print(
            f"{weights:9} perplexity {math.exp(own.mean()):.3f}, "
            f"loss {change.mean():+.5f} nats a token (standard error {error:.5f})"
        )


if __name__ == "__main__":
    main()
