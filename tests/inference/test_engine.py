"""The engine: requests come and go, and each gets what it would get alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from arriero.inference.engine import CHUNK, Engine
from arriero.inference.request import Drawn, Sampling
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.records import UserError

CONFIG = ModelConfig(
    vocab_size=60, dim=16, num_layers=2, num_heads=4, num_kv_heads=2, ffn_dim=24, context=1200
)
ENDS = (2,)
NEVER = ()  # no end: every answer is as long as it may be


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel.fresh(CONFIG, seed=0).eval()


def prompt_of(length: int, seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(3, 60), k=length)


def run(engine: Engine, drawn: dict[int, list[Drawn]] | None = None) -> dict[int, list[Drawn]]:
    drawn = {} if drawn is None else drawn
    while not engine.is_idle:
        for one in engine.step():
            drawn.setdefault(one.ticket, []).append(one)
    return drawn


def ids(drawn: list[Drawn]) -> list[int]:
    return [one.token for one in drawn]


@pytest.mark.usefixtures("way")
def test_whatever_is_around_a_request_changes_nothing(model: LanguageModel) -> None:
    """Requests of all kinds submitted at random moments, some cancelled, against each alone."""
    draw = random.Random(1)
    engine = Engine(model, ends=ENDS, max_rows=5, num_slots=200)
    system = prompt_of(40, seed=99)
    requests: dict[int, tuple[list[int], Sampling, int]] = {}
    drawn: dict[int, list[Drawn]] = {}
    cancelled: set[int] = set()
    for number in range(40):
        prompt = prompt_of(draw.randint(1, 90), seed=number % 9)
        if number % 3 == 0:
            prompt = system + prompt
        sampling = Sampling(
            temperature=draw.choice([0, 0.8, 1.3]),
            top_p=draw.choice([0.9, 1.0]),
            top_k=draw.choice([0, 5]),
            max_new_tokens=draw.randint(1, 25),
        )
        ticket = engine.submit(prompt, sampling, seed=7, key=number)
        requests[ticket] = prompt, sampling, number
        for _ in range(draw.randint(0, 3)):
            for one in engine.step():
                drawn.setdefault(one.ticket, []).append(one)
        if number % 7 == 6:
            cancelled.add(ticket)
            engine.cancel(ticket)
    run(engine, drawn)
    assert engine.num_active == engine.num_waiting == 0
    for ticket, (prompt, sampling, key) in requests.items():
        alone = Engine(model, ends=ENDS, max_rows=1, num_slots=200)
        alone.submit(prompt, sampling, seed=7, key=key)
        (expected,) = run(alone).values()
        got = drawn.get(ticket, [])
        if ticket in cancelled:
            assert ids(got) == ids(expected)[: len(got)]
            continue
        assert ids(got) == ids(expected)
        assert [one.logprob for one in got] == pytest.approx(
            [one.logprob for one in expected], abs=1e-5
        )
        assert [one.finish for one in got] == [one.finish for one in expected]


@pytest.mark.usefixtures("way")
def test_samples_of_one_prompt_cost_one_prefill(model: LanguageModel) -> None:
    engine = Engine(model, ends=NEVER, max_rows=16)
    prompt = prompt_of(64)
    for sample in range(16):
        engine.submit(prompt, Sampling(max_new_tokens=5), seed=0, sample=sample)
    drawn = run(engine)
    assert engine.computed_tokens == 64 + 16 * 4
    assert engine.reused_tokens == 15 * 64
    assert len({tuple(ids(one)) for one in drawn.values()}) > 10


@pytest.mark.usefixtures("way")
def test_later_samples_of_a_prompt_find_it_too(model: LanguageModel) -> None:
    engine = Engine(model, ends=NEVER, max_rows=2)
    prompt = prompt_of(64)
    for sample in range(6):
        engine.submit(prompt, Sampling(max_new_tokens=3), seed=0, sample=sample)
    run(engine)
    assert engine.computed_tokens <= 64 + 6 * 3


@pytest.mark.usefixtures("way")
def test_a_system_message_is_computed_once(model: LanguageModel) -> None:
    engine = Engine(model, ends=NEVER, max_rows=8)
    system = prompt_of(50)
    for number in range(8):
        question = [3 + number, *prompt_of(9, seed=number)]
        engine.submit(system + question, Sampling(max_new_tokens=1), seed=0, key=number)
    run(engine)
    assert engine.computed_tokens == 60 + 7 * 10


@pytest.mark.usefixtures("way")
def test_a_further_turn_computes_only_what_is_new(model: LanguageModel) -> None:
    engine = Engine(model, ends=NEVER, max_rows=1)
    first = prompt_of(30)
    engine.submit(first, Sampling(max_new_tokens=10), seed=0)
    (answer,) = run(engine).values()
    before = engine.computed_tokens
    second = [*first, *ids(answer), *prompt_of(12, seed=5)]
    engine.submit(second, Sampling(temperature=0, max_new_tokens=6), seed=0)
    got = list(run(engine).values())[-1]
    assert engine.computed_tokens - before == 1 + 12 + 5, "the last token drawn, the new, five more"
    alone = Engine(model, ends=NEVER, max_rows=1)
    alone.submit(second, Sampling(temperature=0, max_new_tokens=6), seed=0)
    (expected,) = run(alone).values()
    assert ids(got) == ids(expected)


@pytest.mark.usefixtures("way")
def test_a_long_prompt_does_not_hold_up_who_decodes(model: LanguageModel) -> None:
    engine = Engine(model, ends=NEVER, max_rows=2)
    short = engine.submit(prompt_of(3), Sampling(max_new_tokens=6), seed=0)
    engine.step()
    long = engine.submit(prompt_of(1100), Sampling(max_new_tokens=2), seed=0)
    steps = [engine.step() for _ in range(4)]
    assert [[one.ticket for one in step] for step in steps] == [
        [short],
        [short],
        [short, long],
        [short, long],
    ]
    assert CHUNK < 1100 <= 3 * CHUNK


@pytest.mark.usefixtures("way")
def test_cancelling_one_of_several_samples(model: LanguageModel) -> None:
    """The one that computes the prompt for the others goes, before and after the first step."""
    prompt = prompt_of(CHUNK + 30)
    expected = Engine(model, ends=NEVER, max_rows=1)
    expected.submit(prompt, Sampling(max_new_tokens=3), seed=0, sample=1)
    (want,) = run(expected).values()
    for num_steps in (0, 1, 2):
        engine = Engine(model, ends=NEVER, max_rows=3)
        leader, kept, other = (
            engine.submit(prompt, Sampling(max_new_tokens=3), seed=0, sample=sample)
            for sample in range(3)
        )
        drawn: dict[int, list[Drawn]] = {}
        for _ in range(num_steps):
            for one in engine.step():
                drawn.setdefault(one.ticket, []).append(one)
        engine.cancel(leader)
        engine.cancel(leader)
        engine.cancel(12345)
        run(engine, drawn)
        assert ids(drawn[kept]) == ids(want)
        assert len(drawn[other]) == 3
        assert len(drawn.get(leader, [])) == max(0, num_steps - 1)


@pytest.mark.usefixtures("way")
def test_a_prompt_that_begins_like_a_cancelled_one_does_not_wait_for_it(
    model: LanguageModel,
) -> None:
    engine = Engine(model, ends=NEVER, max_rows=1)
    prompt = prompt_of(CHUNK + 100)
    ticket = engine.submit(prompt, Sampling(max_new_tokens=3), seed=0)
    engine.step()
    engine.cancel(ticket)
    engine.submit(prompt, Sampling(max_new_tokens=2), seed=0)
    drawn = [engine.step() for _ in range(2)]
    assert sum(map(len, drawn)) == 2
    assert engine.computed_tokens == CHUNK + 100 + 1, "what was computed before is used"


@pytest.mark.usefixtures("way")
def test_how_a_request_ends(model: LanguageModel) -> None:
    prompt = prompt_of(5)
    engine = Engine(model, ends=NEVER, max_rows=1, num_slots=20)
    engine.submit(prompt, Sampling(max_new_tokens=4), seed=0)
    (free,) = run(engine).values()
    assert [one.finish for one in free] == [None, None, None, "length"]
    engine.submit(prompt, Sampling(max_new_tokens=400), seed=0)
    full = list(run(engine).values())[-1]
    assert (len(full), full[-1].finish) == (15, "length")
    stop = free[1].token
    engine.submit(prompt, Sampling(max_new_tokens=4, stop_ids=(stop,)), seed=0)
    stopped = list(run(engine).values())[-1]
    assert stopped[-1].finish == "stop"
    assert stopped[-1].token == stop
    ended = Engine(model, ends=(stop,), max_rows=1, num_slots=20)
    ended.submit(prompt, Sampling(max_new_tokens=4), seed=0)
    (answer,) = run(ended).values()
    assert ids(answer) == ids(stopped)


@pytest.mark.usefixtures("way")
def test_alternatives_are_the_models_own(model: LanguageModel) -> None:
    prompt = prompt_of(9)
    engine = Engine(model, ends=NEVER, max_rows=2)
    sampling = Sampling(temperature=0.5, top_k=3, max_new_tokens=4)
    engine.submit(prompt, sampling, seed=0, num_alternatives=5)
    engine.submit(prompt, sampling, seed=0, num_alternatives=0)
    told, bare = run(engine).values()
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *ids(told)]]))[0, len(prompt) - 1 : -1]
    exact = logits.double().log_softmax(-1)
    for place, one in enumerate(told):
        assert one.alternatives is not None
        assert one.alternatives.chosen == pytest.approx(float(exact[place, one.token]), abs=1e-5)
        best = exact[place].topk(5)
        assert [token for token, _ in one.alternatives.top] == best.indices.tolist()
        np.testing.assert_allclose(
            [logprob for _, logprob in one.alternatives.top], best.values.numpy(), atol=1e-5
        )
    assert ids(bare) == ids(told)
    assert all(one.alternatives is not None and one.alternatives.top == [] for one in bare)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "no tokens"),
        ([3] * 1200, "has 1200 tokens, the model's context is 1200"),
        ([3, 60], "outside the vocabulary of 60"),
        ([-1], "outside the vocabulary"),
    ],
)
def test_what_is_refused(model: LanguageModel, prompt: list[int], message: str) -> None:
    engine = Engine(model, ends=ENDS)
    with pytest.raises(UserError, match=message):
        engine.submit(prompt, Sampling(), seed=0)
    assert engine.is_idle


@pytest.mark.usefixtures("way")
def test_broken_weights_are_an_error_and_not_an_answer() -> None:
    model = LanguageModel.fresh(CONFIG, seed=0).eval()
    with torch.no_grad():
        model.lm_head.weight[5, 0] = torch.nan
    engine = Engine(model, ends=ENDS, max_rows=1)
    engine.submit([3, 4], Sampling(), seed=0)
    with pytest.raises(ValueError, match="NaN"):
        engine.step()


def test_other_weights_need_the_compiled_step(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arriero.inference import runners
    from arriero.native.build import Native

    Engine(model, ends=ENDS, max_rows=1, weights="int8")
    monkeypatch.setattr(runners, "native", lambda: Native(None, "no C++ compiler"))
    with pytest.raises(UserError, match="int8 weights need the compiled step: no C\\+\\+ compiler"):
        Engine(model, ends=ENDS, max_rows=1, weights="int8")
