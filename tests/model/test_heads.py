"""Heads: logits, scores at the last real token, a reward model that starts from a chat model."""

from __future__ import annotations

import copy

import torch

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel, before, last_places

CONFIG = ModelConfig(
    vocab_size=30, dim=16, num_layers=2, num_heads=2, num_kv_heads=2, ffn_dim=24, context=32
)


def score_model() -> ScoreModel:
    return ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, seed=0), seed=1).eval()


def test_logits_are_the_states_times_the_output_matrix() -> None:
    model = LanguageModel.fresh(CONFIG, seed=0)
    tokens = torch.tensor([[1, 7, 9]])
    with torch.no_grad():
        expected = model.model(tokens) @ model.lm_head.weight.T
        torch.testing.assert_close(model(tokens), expected)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert sum(p.numel() for p in model.parameters()) == CONFIG.num_parameters


def test_places_by_hand() -> None:
    assert last_places(torch.tensor([3, 1, 2]), width=4).tolist() == [2, 4, 9]
    tokens = torch.tensor([[5, 6, 7], [8, 9, 0]])
    mask = torch.tensor([[False, False, True], [False, True, False]])
    seen, places = before(tokens, mask)
    assert seen.tolist() == [[5, 6], [8, 9]]
    assert places.tolist() == [1, 2]
    seen, places = before(torch.tensor([[5]]), torch.tensor([[False]]))
    assert seen.tolist() == [[5]]
    assert places.tolist() == []


def test_wanted_states_are_those_of_the_whole_with_their_gradients() -> None:
    model = LanguageModel.fresh(CONFIG, seed=4)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(3, 30, (3, 12), generator=generator)
    segments = torch.tensor([[0] * 5 + [1] * 7, [0] * 12, [0] * 3 + [1] * 9])
    wanted = torch.tensor([0, 6, 11, 12, 30, 35])
    weights = torch.randn(len(wanted), CONFIG.dim, generator=generator)
    found = []
    for only in (None, wanted):
        states = model.model(tokens, segments=segments, wanted=only)
        states = states.flatten(0, 1)[wanted] if only is None else states
        slopes = torch.autograd.grad((states * weights).sum(), list(model.model.parameters()))
        found.append((states.detach(), slopes))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_the_last_token_is_found_by_length_and_not_by_id() -> None:
    """An answer may end in EOS (2) or hold the pad id (0): neither moves the place of the score."""
    model = score_model()
    rows = [[1, 5, 6, 2], [1, 5, 0], [1, 9, 2, 2, 7, 2]]
    for pad in (0, 2, 29):
        padded = torch.full((3, 8), pad)
        for index, row in enumerate(rows):
            padded[index, : len(row)] = torch.tensor(row)
        with torch.no_grad():
            got = model(padded, wanted=last_places(torch.tensor([4, 3, 6]), width=8))
            alone = torch.cat([model(torch.tensor([row]))[:, -1] for row in rows])
        torch.testing.assert_close(got, alone, atol=1e-6, rtol=1e-5)


def test_a_reward_model_starts_from_the_chat_model() -> None:
    language = LanguageModel.fresh(CONFIG, seed=3)
    model = ScoreModel.from_language_model(language, seed=1)
    for name, tensor in language.model.state_dict().items():
        assert torch.equal(model.model.state_dict()[name], tensor)
    tokens = torch.randint(3, 30, (8, 20), generator=torch.Generator().manual_seed(0))
    scores = model(tokens)
    assert scores.shape == (8, 20)
    # So near 0 that the first ranking loss is log 2.
    assert 0 < float(scores.detach().abs().max()) < 0.6
    with torch.no_grad():
        model.model.norm.weight.zero_()
    assert language.model.norm.weight.sum().item() == 16  # a copy, not the same tensors


def test_scores_are_float32_whatever_the_weights_are() -> None:
    scores = score_model().bfloat16()(torch.tensor([[1, 4, 5]]))
    assert scores.dtype == torch.float32


def test_the_seed_fixes_the_head() -> None:
    language = LanguageModel.fresh(CONFIG, seed=0)
    heads = [ScoreModel.from_language_model(language, seed).score.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


TIED = CONFIG.model_copy(update={"tie_embeddings": True})


def test_tied_embeddings_are_one_tensor() -> None:
    model = LanguageModel.fresh(TIED, seed=0)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert set(model.state_dict()) == set(LanguageModel.fresh(CONFIG, seed=0).state_dict())
    assert sum(p.numel() for p in model.parameters()) == TIED.num_parameters
    again = copy.deepcopy(model).double()
    assert again.lm_head.weight is again.model.embed_tokens.weight


def test_tied_embeddings_are_drawn_once_as_an_embedding() -> None:
    wide = TIED.model_copy(update={"dim": 64, "vocab_size": 500})
    tied, untied = (
        LanguageModel.fresh(wide, seed=0),
        LanguageModel.fresh(wide.model_copy(update={"tie_embeddings": False}), seed=0),
    )
    assert abs(float(tied.lm_head.weight.detach().std()) / 0.02 - 1) < 0.05
    for name, tensor in untied.model.state_dict().items():
        assert torch.equal(tensor, tied.model.state_dict()[name]), name


def test_tied_embeddings_learn_from_both_ends() -> None:
    model = LanguageModel.fresh(TIED, seed=0)
    # Token 9 is never looked up: its gradient comes through the output alone.
    model(torch.tensor([[1, 7]]))[..., 9].sum().backward()
    gradient = model.model.embed_tokens.weight.grad
    assert gradient is not None
    assert bool(gradient[9].any())
    assert bool(gradient[7].any())
    assert not bool(gradient[5].any())


def test_a_reward_model_of_a_tied_chat_model() -> None:
    model = ScoreModel.from_language_model(LanguageModel.fresh(TIED, seed=0), seed=1)
    assert "lm_head.weight" not in model.state_dict()
    assert torch.isfinite(model(torch.tensor([[1, 5, 6]]))).all()
