"""Adapters: by hand, against the merged matrix, and what of a model stays as it was."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from arriero.model.config import LLAMA2_7B, ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.lora import (
    Layer,
    LoraConfig,
    LoraLinear,
    count_trained,
    merged,
    merged_state,
    trained_part,
    with_adapters,
)
from arriero.records import UserError

CONFIG = ModelConfig(
    vocab_size=30, dim=16, num_layers=2, num_heads=4, num_kv_heads=2, ffn_dim=24, context=32
)
BIASED = CONFIG.model_copy(
    update={"attention_bias": True, "mlp_bias": True, "tie_embeddings": True}
)
RANK_2 = LoraConfig(rank=2, alpha=6.0)


def tokens() -> Tensor:
    return torch.randint(3, 30, (3, 11), generator=torch.Generator().manual_seed(5))


def moved(model: nn.Module, seed: int = 0) -> None:
    """Put every trained parameter somewhere else."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def adapted(config: ModelConfig = CONFIG, lora: LoraConfig = RANK_2) -> LanguageModel:
    model = with_adapters(LanguageModel.fresh(config, seed=0), lora, seed=1)
    moved(model)
    return model


def test_by_hand() -> None:
    """W x + (4 / 1) B A x of W = [[1, 2], [3, 4]], A = [1, -1], B = [2, 0], x = [1, 3]."""
    linear = nn.Linear(2, 2, bias=False)
    layer = LoraLinear(linear, rank=1, alpha=4.0, generator=torch.Generator())
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        layer.lora_a.copy_(torch.tensor([[1.0, -1.0]]))
        layer.lora_b.copy_(torch.tensor([[2.0], [0.0]]))
        x = torch.tensor([[1.0, 3.0]])
        # W x = [7, 15]; A x = -2, so B A x = [-4, 0], four times which is [-16, 0].
        assert layer(x).tolist() == [[-9.0, 15.0]]
        parts = {f"here.{name}": value for name, value in layer.state_dict().items()}
        whole = merged_state(nn.ModuleDict({"here": layer}), parts | {"norm": x})
        # 4 B A = [[8, -8], [0, 0]].
        assert whole["here.weight"].tolist() == [[9.0, -6.0], [3.0, 4.0]]
        assert whole.keys() == {"here.weight", "norm"}
        assert linear.weight.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("config", [CONFIG, BIASED])
def test_it_starts_as_the_model_that_it_stands_on(config: ModelConfig) -> None:
    language = LanguageModel.fresh(config, seed=0)
    score = ScoreModel.from_language_model(language, seed=3)
    pairs = [
        (language, with_adapters(language, RANK_2, seed=1)),
        (score, with_adapters(score, RANK_2, seed=1)),
    ]
    with torch.no_grad():
        for model, adapted in pairs:
            assert torch.equal(adapted(tokens()), model(tokens()))


def test_a_starts_random_with_a_variance_of_one_over_the_inputs_and_b_at_zero() -> None:
    layer = LoraLinear(nn.Linear(400, 90), 50, 1.0, torch.Generator().manual_seed(0))
    drawn = layer.lora_a.detach()
    assert drawn.shape == (50, 400)
    assert float(drawn.std()) == pytest.approx(400**-0.5, rel=0.02)
    assert float(drawn.mean()) == pytest.approx(0.0, abs=0.002)
    assert layer.lora_b.shape == (90, 50)
    assert not layer.lora_b.any()


def test_the_seed_fixes_what_is_drawn() -> None:
    base = LanguageModel.fresh(CONFIG, seed=0)

    def drawn(seed: int) -> Tensor:
        model = with_adapters(base, RANK_2, seed)
        parts = [p.flatten() for n, p in model.named_parameters() if n.endswith("lora_a")]
        return torch.cat(parts)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert len(drawn(1).unique()) == len(drawn(1))  # no two layers alike


@pytest.mark.parametrize("config", [CONFIG, BIASED])
def test_merged_it_computes_the_same(config: ModelConfig) -> None:
    model = adapted(config)
    base = LanguageModel.fresh(config, seed=0)
    plain = merged(model)
    assert plain.state_dict().keys() == base.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(plain(tokens()), model(tokens()), atol=1e-5, rtol=1e-4)
        assert float((model(tokens()) - base(tokens())).abs().max()) > 0.1
    # The slow way: each matrix from its parts, entry by entry.
    layer = model.model.layers[1].get_submodule("mlp.gate_proj")
    assert isinstance(layer, LoraLinear)
    weight, a, b = (part.tolist() for part in (layer.weight, layer.lora_a, layer.lora_b))
    rows = [
        [weight[i][j] + 3.0 * sum(b[i][r] * a[r][j] for r in range(2)) for j in range(16)]
        for i in range(24)
    ]
    found = plain.model.layers[1].get_submodule("mlp.gate_proj")
    assert isinstance(found, nn.Linear)
    torch.testing.assert_close(found.weight.detach(), torch.tensor(rows), atol=1e-5, rtol=1e-5)


def test_merging_leaves_the_adapted_model_as_it_is() -> None:
    model = adapted().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = merged(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert plain.lm_head.weight.data_ptr() == model.lm_head.weight.data_ptr()
    assert not plain.training
    assert merged(plain) is plain


def test_gradients_are_those_of_the_merged_matrix() -> None:
    """With W' = W + s B A: dA = s B^T dW', dB = s dW' A^T."""
    model = adapted()
    plain = merged(model).requires_grad_(True)
    targets = tokens().roll(1, 1)
    for one in (model, plain):
        F.cross_entropy(one(tokens()).flatten(0, 1), targets.flatten()).backward()
    count = 0
    for path, layer in model.named_modules():
        if isinstance(layer, LoraLinear):
            linear = plain.get_submodule(path)
            assert isinstance(linear, nn.Linear)
            assert linear.weight.grad is not None
            slope = 3.0 * linear.weight.grad
            assert layer.lora_a.grad is not None
            assert layer.lora_b.grad is not None
            torch.testing.assert_close(layer.lora_a.grad, layer.lora_b.T @ slope)
            torch.testing.assert_close(layer.lora_b.grad, slope @ layer.lora_a.T)
            assert layer.weight.grad is None
            count += 1
    assert count == 14


def test_training_moves_the_adapters_and_a_score_head_alone() -> None:
    base = ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, seed=0), seed=2)
    start = {name: value.clone() for name, value in base.state_dict().items()}
    model = with_adapters(base, RANK_2, seed=1)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(3):
        model(tokens()).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {n for n in before if "lora_" in n or n == "score.weight"}
    assert not any(p.requires_grad for n, p in base.named_parameters() if n != "score.weight")
    for name, value in base.state_dict().items():
        assert torch.equal(value, start[name])


def test_two_models_share_weights_and_learn_apart() -> None:
    base = LanguageModel.fresh(CONFIG, seed=0)
    first, second = (with_adapters(base, RANK_2, seed=1) for _ in range(2))
    for model in (first, second):
        own = {id(p) for p in model.parameters()}
        assert {id(p) for p in base.parameters()} <= own
    with torch.no_grad():
        before = base(tokens())
        moved(first)
        assert not torch.equal(first(tokens()), before)
        assert torch.equal(second(tokens()), before)
        assert torch.equal(base(tokens()), before)


def test_chosen_layers_alone_are_adapted() -> None:
    model = adapted(lora=LoraConfig(rank=2, layers=("q_proj", "v_proj")))
    names = {path.split(".", 3)[-1] for path, m in model.named_modules() if type(m) is LoraLinear}
    assert names == {"self_attn.q_proj", "self_attn.v_proj"}


def test_how_many_are_trained_by_hand() -> None:
    """Two blocks, rank 2: q and o 16 x 16, k and v 8 x 16, three matrices of 24 and 16."""
    model = with_adapters(LanguageModel.fresh(CONFIG, seed=0), RANK_2, seed=1)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == 2 * 2 * (2 * (16 + 16) + 2 * (16 + 8) + 3 * (24 + 16)) == 928
    assert count_trained(model) == "928 of 5,808 parameters are trained"


def test_the_trained_part_is_the_models_own() -> None:
    model, other = adapted(), with_adapters(LanguageModel.fresh(CONFIG, seed=0), RANK_2, seed=9)
    part = trained_part(model)
    assert sum(p.numel() for p in part.parameters()) == 928
    trained_part(other).load_state_dict(part.state_dict())
    with torch.no_grad():
        assert torch.equal(other(tokens()), model(tokens()))
    whole = LanguageModel.fresh(CONFIG, seed=0)
    assert trained_part(whole) is whole


def test_7b_by_hand() -> None:
    with torch.device("meta"):
        base = LanguageModel(LLAMA2_7B)
    model = with_adapters(base, LoraConfig(rank=16), seed=0)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 39_976_960
    assert all(p.is_meta for p in model.parameters())


def test_frozen_bfloat16_weights_have_float32_adapters() -> None:
    """Steps of the adapters are too small for bfloat16; what they give is of the input's type."""
    base = LanguageModel.fresh(CONFIG, seed=0).bfloat16()
    model = with_adapters(base, RANK_2, seed=1)
    moved(model)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    with torch.no_grad():
        logits = model(tokens())
        assert logits.dtype == torch.bfloat16
        plain = merged(model)
        assert {p.dtype for p in plain.parameters()} == {torch.bfloat16}
        difference = (plain(tokens()) - logits).float().norm()
        assert 0 < float(difference) < 0.05 * float(logits.float().norm())


def test_mixed_precision_reaches_the_adapters() -> None:
    """Under autocast products are bfloat16, gradients and adapters float32."""
    model = adapted()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(model(tokens()).float().flatten(0, 1), tokens().flatten())
    loss.backward()
    exact = adapted()
    F.cross_entropy(exact(tokens()).flatten(0, 1), tokens().flatten()).backward()
    pairs: list[tuple[Tensor, Tensor]] = []
    for one, other in zip(model.parameters(), exact.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None) == (not one.requires_grad)
        if one.grad is not None and other.grad is not None:
            assert one.grad.dtype == torch.float32
            pairs.append((one.grad.flatten(), other.grad.flatten()))
    rough, fine = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    # Of these weights a plain model's gradients are rounded by 0.11 too.
    assert 0 < float((rough - fine).norm()) < 0.15 * float(fine.norm())


def test_a_rank_that_saves_nothing_is_refused() -> None:
    base = LanguageModel.fresh(CONFIG, seed=0)
    with pytest.raises(UserError, match=r"lora.rank 8 is no lower than the rank of k_proj, 8;"):
        with_adapters(base, LoraConfig(rank=8), seed=0)
    with_adapters(base, LoraConfig(rank=8, layers=("q_proj",)), seed=0)


@pytest.mark.parametrize(
    ("layers", "most"),
    [(("q_proj", "o_proj"), 16), (("q_proj", "k_proj"), 8), (("gate_proj", "down_proj"), 16)],
)
def test_the_narrowest_matrix_bounds_the_rank(layers: tuple[Layer, ...], most: int) -> None:
    LoraConfig(rank=most - 1, layers=layers).check_rank(CONFIG)
    with pytest.raises(UserError, match=rf"^ppo.lora.rank {most} is .* out of ppo.lora.layers$"):
        LoraConfig(rank=most, layers=layers).check_rank(CONFIG, "ppo.lora")
    # A feed-forward network that is narrower than the residual stream.
    thin = CONFIG.model_copy(update={"ffn_dim": 12})
    with pytest.raises(UserError, match="the rank of up_proj, 12;"):
        LoraConfig(rank=12, layers=("up_proj",)).check_rank(thin)


@pytest.mark.parametrize("wrong", [{"rank": -1}, {"alpha": 0}, {"layers": ()}, {"dropout": 0.1}])
def test_keys_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LoraConfig.model_validate(wrong)


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(ValidationError, match="lm_head"):
        LoraConfig.model_validate({"layers": ["q_proj", "lm_head"]})


def test_no_rows_at_all() -> None:
    """A rank of several may have nothing to do in a mini-batch."""
    model = adapted()
    nothing = torch.zeros(1, 1, dtype=torch.bool)
    logprobs = model.token_logprobs(torch.zeros(1, 1, dtype=torch.int64), nothing, 1.0)
    logprobs.sum().backward()
    assert logprobs.shape == (0,)
