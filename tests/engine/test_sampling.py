"""The sampler, held against transformers' own logits processors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from smolchat.engine.sampling import Sampler, waiting_times
from smolchat.errors import SmolchatError
from smolchat.generation import Sampling

VOCABULARY = 300
SEEN = (3, 7, 7, 250, 12)

Vector = NDArray[np.float32]

SAMPLINGS = [
    Sampling(),
    Sampling(temperature=1.0, top_p=1.0),
    Sampling(temperature=0.2, top_p=0.9),
    Sampling(temperature=5.0, top_p=0.5),
    Sampling(temperature=1.0, top_p=0.01),
    Sampling(temperature=1.3, top_p=1.0, top_k=1),
    Sampling(temperature=1.3, top_p=1.0, top_k=40),
    Sampling(temperature=1.3, top_p=1.0, top_k=10_000),
    Sampling(temperature=1.0, top_p=1.0, min_p=0.05),
    Sampling(temperature=1.0, top_p=1.0, min_p=1.0),
    Sampling(temperature=2.0, top_p=0.8, top_k=50, min_p=0.1),
    Sampling(temperature=0.7, top_p=0.95, top_k=20, min_p=0.02, repetition_penalty=1.3),
    Sampling(temperature=1.0, top_p=1.0, repetition_penalty=0.8),
]


def random_logits(seed: int, spread: float = 3.0) -> Vector:
    drawn = np.random.default_rng(seed).standard_normal(VOCABULARY)
    return (spread * drawn).astype(np.float32)


def probabilities_by_transformers(sampling: Sampling, logits: Vector) -> NDArray[np.float64]:
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        processors.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        processors.append(MinPLogitsWarper(sampling.min_p))
    scores = processors(torch.tensor([SEEN]), torch.tensor(logits.astype(np.float64))[None])
    probabilities: NDArray[np.float64] = torch.softmax(scores[0], dim=-1).numpy()
    return probabilities


def drawn(sampling: Sampling, logits: Vector, count: int) -> list[int]:
    sampler = Sampler(sampling, SEEN)
    return [sampler.draw(logits) for _ in range(count)]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("spread", [0.1, 3.0, 20.0])
def test_support_and_probabilities_equal_those_of_transformers(
    sampling: Sampling, spread: float
) -> None:
    for seed in range(10):
        logits = random_logits(seed, spread)
        expected = probabilities_by_transformers(sampling, logits)
        ours = np.zeros(VOCABULARY)
        ids, shares = Sampler(sampling, SEEN).distribution(logits)
        ours[ids] = shares
        np.testing.assert_array_equal(ours > 0, expected > 0)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.2, 0.8, 2.0])
def test_a_whole_vocabulary_with_ties_and_a_mask_is_weighed_as_by_transformers(
    temperature: float,
) -> None:
    sampling = Sampling(temperature=temperature, top_p=0.9)
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, 49_152).astype(np.float16).astype(np.float32)
    logits[random.random(len(logits)) < 0.5] = -np.inf
    expected = probabilities_by_transformers(sampling, logits)
    ids, shares = Sampler(sampling).distribution(logits)
    np.testing.assert_allclose(np.sort(shares), np.sort(expected[expected > 0]), rtol=1e-5)
    tied = logits == logits[ids].min()  # of tokens that are as likely any may be left out
    assert set(np.flatnonzero(expected)) ^ set(ids) <= set(np.flatnonzero(tied))


def test_what_a_token_waits_for_hangs_on_its_id_alone() -> None:
    ids = np.arange(100_000)
    waits = waiting_times(7, ids)
    np.testing.assert_array_equal(waiting_times(7, ids[5::1000]), waits[5::1000])
    assert abs(waits.mean() - 1) < 0.02
    assert abs((waits < np.log(2)).mean() - 0.5) < 0.01
    assert abs(np.corrcoef(waits, waiting_times(8, ids))[0, 1]) < 0.02


def test_draws_follow_the_probabilities() -> None:
    sampling = Sampling(temperature=1.0, top_p=0.9, top_k=8, seed=1)
    logits = random_logits(0, 1.0)
    expected = probabilities_by_transformers(sampling, logits)
    count = 20_000
    shares = np.bincount(drawn(sampling, logits, count), minlength=VOCABULARY) / count
    assert set(np.flatnonzero(shares)) == set(np.flatnonzero(expected))
    # Five standard deviations of a share.
    assert np.all(np.abs(shares - expected) <= 5 * np.sqrt(expected * (1 - expected) / count))


def test_temperature_zero_takes_the_likeliest_whatever_else_is_set() -> None:
    for seed in range(20):
        logits = random_logits(seed)
        greedy = Sampling(temperature=0, top_p=0.1, top_k=3, min_p=0.5, seed=seed)
        assert drawn(greedy, logits, 3) == [int(logits.argmax())] * 3


def test_the_repetition_penalty_counts_for_greedy_and_for_new_tokens() -> None:
    logits = np.array([1.0, 0.9, 0.8, -1.0], dtype=np.float32)
    sampler = Sampler(Sampling(temperature=0, repetition_penalty=1.2), seen_ids=[0])
    assert sampler.draw(logits) == 1
    sampler.observe(1)
    assert sampler.draw(logits) == 0  # 1 / 1.2 against 0.9 / 1.2 and 0.8
    sampler.observe(10_000)  # an id without a logit
    assert sampler.draw(logits) == 0


def test_the_penalty_pushes_negative_logits_further_down_and_leaves_the_input_alone() -> None:
    logits = np.array([-1.0, -1.1], dtype=np.float32)
    assert Sampler(Sampling(temperature=0, repetition_penalty=1.2), [0]).draw(logits) == 1
    np.testing.assert_array_equal(logits, np.array([-1.0, -1.1], dtype=np.float32))


def test_the_same_seed_gives_the_same_ids_and_another_seed_others() -> None:
    logits = random_logits(0, 1.0)
    one, same, other = (
        drawn(Sampling(temperature=1.0, seed=seed), logits, 50) for seed in (7, 7, 8)
    )
    assert one == same
    assert one != other


def test_without_a_seed_two_requests_differ() -> None:
    logits = random_logits(0, 1.0)
    assert drawn(Sampling(temperature=1.0), logits, 50) != drawn(
        Sampling(temperature=1.0), logits, 50
    )


def test_ties_go_to_the_lowest_id_when_greedy_and_are_all_kept_by_top_k() -> None:
    logits = np.array([0.0, 2.0, 2.0, 2.0, -1.0], dtype=np.float32)
    assert drawn(Sampling(temperature=0), logits, 3) == [1, 1, 1]
    sampling = Sampling(temperature=1.0, top_p=1.0, top_k=2, seed=0)
    assert set(drawn(sampling, logits, 200)) == {1, 2, 3}


def test_top_p_takes_as_few_of_equally_likely_tokens_as_reach_it() -> None:
    sampling = Sampling(temperature=1.0, top_p=0.5, seed=0)
    assert set(drawn(sampling, np.zeros(10, dtype=np.float32), 200)) == {0, 1, 2, 3, 4}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("top_p", [0.9, 1.0])
@pytest.mark.parametrize("temperature", [1e-300, 1e-46, 1e-40, 1e-6, 1e-3, 0.03, 100.0])
def test_extreme_temperatures_stay_finite(temperature: float, top_p: float) -> None:
    logits = random_logits(1, 50.0)
    sampling = Sampling(temperature=temperature, top_p=top_p, seed=0)
    ids = set(drawn(sampling, logits, 50))
    assert ids <= set(range(VOCABULARY))
    if temperature < 0.01:
        assert ids == {int(logits.argmax())}


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_tokens_ruled_out_by_minus_infinity_are_never_drawn(temperature: float) -> None:
    logits = np.full(VOCABULARY, -np.inf, dtype=np.float32)
    logits[[5, 9]] = [1.0, 1.5]
    sampling = Sampling(temperature=temperature, repetition_penalty=1.5, seed=0)
    assert set(drawn(sampling, logits, 100)) <= {5, 9}


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_failed_computation_is_reported_instead_of_drawn_from(
    temperature: float, value: float
) -> None:
    logits = random_logits(0)
    logits[17] = value
    with pytest.raises(SmolchatError, match="overflowed") as caught:
        drawn(Sampling(temperature=temperature), logits, 1)
    assert "--dtype" in caught.value.hint
