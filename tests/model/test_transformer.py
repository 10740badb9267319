"""Norm, SwiGLU and block by hand; the decoder sees the past alone; how weights are drawn."""

from __future__ import annotations

import math

import torch

from arriero.model.config import ModelConfig
from arriero.model.rotary import rotary_angles, rotary_frequencies
from arriero.model.transformer import Block, RMSNorm, SwiGLU, Transformer, init_weights

CONFIG = ModelConfig(
    vocab_size=40, dim=16, num_layers=3, num_heads=4, num_kv_heads=2, ffn_dim=24, context=32
)


def transformer(seed: int = 0, config: ModelConfig = CONFIG) -> Transformer:
    model = Transformer(config)
    init_weights(model, config.num_layers, seed)
    return model.eval()


def test_norm_by_hand() -> None:
    norm = RMSNorm(2, eps=0.5)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 10.0]))
        got = norm(torch.tensor([3.0, 4.0]))
    root = math.sqrt((9 + 16) / 2 + 0.5)
    torch.testing.assert_close(got, torch.tensor([3 / root, 40 / root]))


def test_norm_squares_in_float32() -> None:
    """300 squared is beyond float16."""
    x = torch.tensor([300.0, -300.0], dtype=torch.float16)
    got = RMSNorm(2, eps=1e-5).half()(x)
    assert got.dtype == torch.float16
    assert got.tolist() == [1.0, -1.0]


def test_swiglu_by_hand() -> None:
    mlp = SwiGLU(CONFIG)
    with torch.no_grad():
        for layer, value in ((mlp.gate_proj, 2.0), (mlp.up_proj, 3.0), (mlp.down_proj, 5.0)):
            layer.weight.zero_()
            layer.weight[0, 0] = value
        got = mlp(torch.tensor([1.0] + [0.0] * 15))
    silu = 2 / (1 + math.exp(-2))
    torch.testing.assert_close(got[:2], torch.tensor([5 * silu * 3, 0.0]))


def test_a_block_normalises_before_and_adds_after() -> None:
    block = Block(CONFIG)
    x = 3 * torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    cosine, sine = rotary_angles(torch.arange(5)[None], rotary_frequencies(CONFIG))
    with torch.no_grad():
        y = x + block.self_attn(block.input_layernorm(x), cosine, sine, None, None)
        expected = y + block.mlp(block.post_attention_layernorm(y))
        torch.testing.assert_close(block(x, cosine, sine, None, None), expected)
        block.self_attn.o_proj.weight.zero_()
        block.mlp.down_proj.weight.zero_()
        assert torch.equal(block(x, cosine, sine, None, None), x)


def test_a_state_depends_on_the_past_alone() -> None:
    model = transformer()
    tokens = torch.randint(3, 40, (1, 10), generator=torch.Generator().manual_seed(1))
    other = tokens.clone()
    other[0, 6] = (other[0, 6] + 1) % 40
    with torch.no_grad():
        a, b = model(tokens), model(other)
    assert torch.equal(a[:, :6], b[:, :6])
    assert not torch.allclose(a[:, 6:], b[:, 6:], atol=1e-4)


def test_positions_count_and_start_at_zero() -> None:
    model = transformer()
    tokens = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        plain = model(tokens)
        torch.testing.assert_close(plain, model(tokens, positions=torch.arange(4)[None]))
        stretched = model(tokens, positions=torch.tensor([[0, 3, 6, 9]]))
    assert not torch.allclose(plain, stretched, atol=1e-4)


def test_weights_are_drawn_as_said() -> None:
    config = CONFIG.model_copy(update={"dim": 64, "ffn_dim": 128, "vocab_size": 500})
    model = transformer(0, config)
    layer = model.layers[1]
    assert isinstance(layer, Block)
    expected = {
        model.embed_tokens.weight: 0.02,
        layer.self_attn.q_proj.weight: 64**-0.5,
        layer.mlp.up_proj.weight: 64**-0.5,
        layer.self_attn.o_proj.weight: 64**-0.5 / math.sqrt(6),
        layer.mlp.down_proj.weight: 128**-0.5 / math.sqrt(6),
    }
    for parameter, std in expected.items():
        weight = parameter.detach()
        assert abs(float(weight.std()) / std - 1) < 0.05
        assert abs(float(weight.mean())) < 0.1 * std
    assert bool((layer.input_layernorm.weight == 1).all())


def test_the_seed_fixes_the_weights() -> None:
    first, again, other = (transformer(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embed_tokens.weight"], other["embed_tokens.weight"])


def test_biases_start_at_zero() -> None:
    config = CONFIG.model_copy(update={"attention_bias": True, "mlp_bias": True})
    biases = [p for n, p in transformer(0, config).named_parameters() if n.endswith("bias")]
    assert len(biases) == 3 * 7
    assert not any(bool(bias.any()) for bias in biases)


def test_stretched_frequencies_reach_the_attention() -> None:
    """Twice as far apart at half the frequency is the same."""
    stretched = CONFIG.model_copy(update={"rope_scaling": "linear", "rope_factor": 2.0})
    tokens = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        plain = transformer()(tokens)
        far = transformer(0, stretched)(tokens, positions=torch.tensor([[0, 2, 4, 6]]))
    torch.testing.assert_close(plain, far)


def test_nothing_is_unset_after_a_meta_init() -> None:
    with torch.device("meta"):
        model = Transformer(CONFIG)
    assert list(model.buffers()) == []
    model.load_state_dict(transformer().state_dict(), assign=True)
    tokens = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(model(tokens), transformer()(tokens))
