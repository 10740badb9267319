"""The compiled step: against the model's own forward, the same bits in every company."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arriero.inference.native.layout import Weights, in_panels, interleaved, quantized
from arriero.inference.native.runner import NativeRunner
from arriero.inference.plain import PlainRunner
from arriero.inference.runners import Runner
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.native.build import native

SHAPES = {
    "mha": ModelConfig(
        vocab_size=300, dim=64, num_layers=2, num_heads=4, num_kv_heads=4, ffn_dim=176, context=128
    ),
    "gqa, nothing a multiple of a vector": ModelConfig(
        vocab_size=301, dim=72, num_layers=3, num_heads=6, num_kv_heads=2, ffn_dim=101, context=128
    ),
    "gqa 32/4": ModelConfig(
        vocab_size=64, dim=256, num_layers=1, num_heads=32, num_kv_heads=4, ffn_dim=64, context=128
    ),
    "mqa with head width and biases": ModelConfig(
        vocab_size=97,
        dim=96,
        num_layers=2,
        num_heads=16,
        num_kv_heads=1,
        head_width=20,
        attention_bias=True,
        mlp_bias=True,
        ffn_dim=90,
        context=128,
    ),
    "tied, stretched": ModelConfig(
        vocab_size=97,
        dim=64,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        ffn_dim=128,
        context=128,
        tie_embeddings=True,
        rope_scaling="llama3",
        rope_factor=8.0,
        rope_original_context=32,
    ),
}


def drawn(config: ModelConfig, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """A model with random weights, norms and biases included."""
    model = LanguageModel.fresh(config, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.to(dtype).eval()


def compiled(
    model: LanguageModel, num_rows: int = 4, num_slots: int = 100, weights: Weights | None = None
) -> NativeRunner:
    library = native().library
    assert library is not None, native().why
    return NativeRunner(library, model, num_rows, num_slots, max_tokens=400, weights=weights)


def step(runner: Runner, parts: list[tuple[int, int, list[int]]]) -> list[np.ndarray]:
    """Logits after each token of `parts` (row, first position, tokens)."""
    tokens = [token for _, _, ids in parts for token in ids]
    rows = [row for row, _, ids in parts for _ in ids]
    positions = [first + place for _, first, ids in parts for place in range(len(ids))]
    arrays = [np.asarray(part, np.int64) for part in (tokens, rows, positions, range(len(tokens)))]
    logits = runner.forward(*arrays)
    return [np.array(runner.row(logits, place)) for place in range(len(tokens))]


def ids_of(config: ModelConfig, length: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.vocab_size, (length,), generator=generator).tolist()


def expected_of(model: LanguageModel, ids: list[int]) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.tensor([ids]))[0].float().numpy()


@pytest.mark.parametrize("make", [compiled, lambda model: PlainRunner(model, 4, 100)])
@pytest.mark.parametrize("shape", SHAPES)
def test_prefill_decode_and_mixtures_equal_the_whole(shape: str, make) -> None:
    config = SHAPES[shape]
    model = drawn(config)
    runner = make(model)
    rows = {row: ids_of(config, 90, seed=row) for row in (1, 2, 3)}
    whole = {row: expected_of(model, ids) for row, ids in rows.items()}
    done = {1: 41, 2: 1, 3: 13}
    got = step(runner, [(row, 0, rows[row][:end]) for row, end in done.items()])
    want = [line for row, end in done.items() for line in whole[row][:end]]
    np.testing.assert_allclose(got, want, atol=1e-5)
    for count in ({1: 1, 2: 1, 3: 1}, {1: 1, 2: 30, 3: 2}, {2: 7}, {3: 1}, {1: 5, 3: 1}):
        parts = [(row, done[row], rows[row][done[row] : done[row] + n]) for row, n in count.items()]
        got = step(runner, parts)
        want = [line for row, n in count.items() for line in whole[row][done[row] : done[row] + n]]
        np.testing.assert_allclose(got, want, atol=1e-5)
        for row, n in count.items():
            done[row] += n


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_bits_alone_and_in_company(shape: str) -> None:
    """Prefill in one go, in parts, token by token, with others beside it."""
    config = SHAPES[shape]
    model = drawn(config)
    ids, other = ids_of(config, 60), ids_of(config, 60, seed=9)
    whole = step(compiled(model), [(0, 0, ids)])
    single = compiled(model)
    one_by_one = [step(single, [(0, place, [token])])[0] for place, token in enumerate(ids)]
    in_company = compiled(model)
    parts: list[np.ndarray] = []
    for begin, end in ((0, 7), (7, 8), (8, 21), (21, 60)):
        beside = [(1, begin, other[begin:end]), (3, begin, other[begin:end])]
        lines = step(in_company, [beside[0], (2, begin, ids[begin:end]), beside[1]])
        parts += lines[end - begin : 2 * (end - begin)]
    assert np.array_equal(whole, one_by_one)
    assert np.array_equal(whole, parts)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_copied_row_goes_on_like_its_source(shape: str) -> None:
    config = SHAPES[shape]
    model = drawn(config)
    ids, other = ids_of(config, 50), ids_of(config, 50, seed=5)
    runner = compiled(model)
    whole = step(runner, [(1, 0, ids), (3, 0, other)])
    runner.copy(1, 3, 37)
    assert np.array_equal(step(runner, [(3, 37, ids[37:])]), whole[37:50])
    assert np.array_equal(step(runner, [(1, 49, ids[49:])]), whole[49:50])


def test_a_row_forgets_who_had_it_before() -> None:
    config = SHAPES["mha"]
    model = drawn(config)
    runner = compiled(model)
    step(runner, [(0, 0, ids_of(config, 90, seed=8))])
    ids = ids_of(config, 20)
    assert np.array_equal(step(runner, [(0, 0, ids)]), step(compiled(model), [(0, 0, ids)]))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads: int) -> None:
    model = drawn(SHAPES["gqa 32/4"])
    ids = ids_of(SHAPES["gqa 32/4"], 70)
    expected = step(compiled(model), [(0, 0, ids)])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert np.array_equal(step(compiled(model), [(0, 0, ids)]), expected)
    finally:
        torch.set_num_threads(before)


def test_bfloat16_weights_are_multiplied_exactly() -> None:
    """As float32 weights of the same values; nothing is rounded on the way."""
    model = drawn(SHAPES["mha"], torch.bfloat16)
    ids = ids_of(SHAPES["mha"], 40)
    wide = drawn(SHAPES["mha"], torch.bfloat16).float()
    got = step(compiled(model), [(0, 0, ids)])
    assert np.array_equal(got, step(compiled(wide), [(0, 0, ids)]))


def test_int8_weights_are_those_of_the_rounded_matrix() -> None:
    model = drawn(SHAPES["mha"])
    ids = ids_of(SHAPES["mha"], 40)
    rounded = drawn(SHAPES["mha"])
    with torch.no_grad():
        for name, parameter in rounded.named_parameters():
            if parameter.dim() == 2 and "embed" not in name:
                whole, scales = quantized(parameter)
                parameter.copy_(whole * scales[:, None])
    got = step(compiled(model, weights="int8"), [(0, 0, ids)])
    np.testing.assert_allclose(got, expected_of(rounded, ids), atol=2e-5)
    assert np.abs(np.array(got) - expected_of(model, ids)).max() > 1e-4, "it did round"


def test_quantized_by_hand() -> None:
    whole, scales = quantized(torch.tensor([[0.5, -1.27, 0.01], [0.0, 0.0, 0.0]]))
    assert whole.tolist() == [[50, -127, 1], [0, 0, 0]]
    assert scales[0].item() == pytest.approx(0.01)


def test_panels_by_hand() -> None:
    weight = torch.arange(6.0).view(3, 2)  # three outputs of depth two
    assert in_panels(weight, 2).tolist() == [[[0.0, 2.0], [1.0, 3.0]], [[4.0, 0.0], [5.0, 0.0]]]


def test_interleaved_by_hand() -> None:
    mixed = interleaved(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]), 2)
    assert mixed.tolist() == [1, 2, 4, 5, 3, 0, 6, 0]
