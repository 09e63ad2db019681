"""Drafting: every draft path gives the ids of the slow path, and guesses only where that pays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import EMBEDDED, make_checkpoint
from numpy.typing import NDArray
from tokenizers import Tokenizer

from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.engine import Engine
from smolchat.engine.grammar import GrammarCompiler
from smolchat.engine.model import Logits
from smolchat.engine.prefix import Prefix, common_prefix
from smolchat.engine.reference import ReferenceModel
from smolchat.engine.sampling import Sampler
from smolchat.engine.speculate import (
    SPAN_TOKENS,
    DraftModel,
    PromptLookup,
    SpanCosts,
    Speculation,
    prompt_lookups,
)
from smolchat.errors import UsageError
from smolchat.generation import GenerationRequest, GenerationStats, Sampling
from smolchat.grammar_text import tool_grammar
from smolchat.loading import load_engine

GREEDY = Sampling(temperature=0)
NO_STOP: frozenset[int] = frozenset()
SAMPLINGS = [
    GREEDY,
    Sampling(temperature=0, repetition_penalty=1.3),
    Sampling(temperature=0.7, top_p=0.9, seed=5),
    Sampling(temperature=1.5, top_p=1.0, repetition_penalty=1.2, seed=6),
]


def open_reference(folder: Path) -> ReferenceModel:
    return ReferenceModel(open_checkpoint(folder), device="cpu", dtype="float32", threads=1)


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> ReferenceModel:
    return open_reference(tiny_folder)


@pytest.fixture(scope="module")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> ReferenceModel:
    """Another random checkpoint of the same vocabulary, which mostly guesses wrongly."""
    folder = tmp_path_factory.mktemp("draft") / "smaller"
    return open_reference(make_checkpoint(folder, num_hidden_layers=1))


class Steady(SpanCosts):
    """Forwards that cost the same however long: drafting always pays."""

    is_known = True

    def seconds(self, length: int) -> float:
        return 1.0


class Eager(Engine):
    """Drafts as far as it may, also where nothing was measured yet."""

    def speculation(self) -> Speculation:
        return Speculation([*prompt_lookups(), *self._drafters], Steady())


class Plain(Engine):
    """The slow path: one token at a time."""

    def speculation(self) -> Speculation:
        return Speculation([], SpanCosts())


class Oracle:
    """Guesses what it is told; right, or wrong from some position on."""

    trust = 0.7

    def __init__(self, ids: Sequence[int], wrong_every: int = 0) -> None:
        self._ids = list(ids)
        self._wrong_every = wrong_every

    def draft(self, ids: Sequence[int], count: int, sampler: Sampler) -> list[int]:
        guesses = self._ids[len(ids) : len(ids) + count]
        if self._wrong_every:
            for at in range(len(ids), len(ids) + len(guesses)):
                if at % self._wrong_every == 0:
                    guesses[at - len(ids)] ^= 1
        return guesses

    def seconds(self, count: int) -> float:
        return 0.0


class ToldEngine(Engine):
    """Drafts with an oracle."""

    oracle: Oracle

    def speculation(self) -> Speculation:
        return Speculation([self.oracle], Steady())


def repeating_prompt(length: int, vocabulary: int = 260, seed: int = 0) -> tuple[int, ...]:
    """Ids in which the same few phrases come again and again."""
    rng = np.random.default_rng(seed)
    phrases = [[int(each) for each in rng.integers(4, vocabulary, 5)] for _ in range(3)]
    ids: list[int] = []
    while len(ids) < length:
        ids += phrases[int(rng.integers(3))]
    return tuple(ids[:length])


def generate(
    engine: Engine, prompt: Sequence[int], sampling: Sampling, count: int = 60
) -> tuple[list[int], GenerationStats]:
    request = GenerationRequest(tuple(prompt), count, NO_STOP, sampling)
    generation = engine.generate(request)
    return list(generation), generation.stats


# The same ids


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_prompt_lookup_gives_the_ids_of_the_slow_path(
    model: ReferenceModel, sampling: Sampling
) -> None:
    for seed in range(2):
        prompt = repeating_prompt(80, seed=seed)
        expected, _ = generate(Plain(model), prompt, sampling)
        found, stats = generate(Eager(model), prompt, sampling)
        assert found == expected
        assert stats.new_tokens == 60


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_a_draft_model_gives_the_ids_of_the_slow_path(
    model: ReferenceModel, smaller: ReferenceModel, sampling: Sampling
) -> None:
    prompt = repeating_prompt(40)
    expected, _ = generate(Plain(model), prompt, sampling)
    found, stats = generate(Eager(model, draft_model=smaller), prompt, sampling)
    assert found == expected
    assert stats.drafted_tokens > 0


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_a_draft_model_that_is_the_model_is_never_refuted(
    model: ReferenceModel, tiny_folder: Path, sampling: Sampling
) -> None:
    twin = open_reference(tiny_folder)
    prompt = tuple(range(10, 40))
    found, stats = generate(TwinEngine(model, draft_model=twin), prompt, sampling)
    assert found == generate(Plain(model), prompt, sampling)[0]
    assert stats.accepted_tokens == stats.drafted_tokens > 40


class TwinEngine(Engine):
    """Drafts with the draft model alone."""

    def speculation(self) -> Speculation:
        return Speculation(self._drafters, Steady())


@pytest.mark.parametrize("wrong_every", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("sampling", SAMPLINGS[1:3], ids=str)
def test_guesses_right_or_wrong_change_nothing(
    model: ReferenceModel, wrong_every: int, sampling: Sampling
) -> None:
    prompt = repeating_prompt(30)
    expected, _ = generate(Plain(model), prompt, sampling)
    engine = ToldEngine(model)
    engine.oracle = Oracle([*prompt, *expected], wrong_every)
    found, stats = generate(engine, prompt, sampling)
    assert found == expected
    assert stats.accepted_tokens <= stats.drafted_tokens
    if wrong_every == 0:
        assert stats.accepted_tokens == stats.drafted_tokens
    if wrong_every == 1:
        assert stats.accepted_tokens == 0


def test_the_embedded_checkpoint_drafts_to_the_same_ids() -> None:
    model = open_reference(EMBEDDED)
    tokenizer: Tokenizer = open_checkpoint(EMBEDDED).tokenizer
    text = (
        "<|im_start|>user\nRewrite the message below to make it more friendly.\nThe message: "
        "The meeting on Tuesday was moved to room 12.<|im_end|>\n<|im_start|>assistant\n"
    )
    prompt = tokenizer.encode(text, add_special_tokens=False).ids
    for sampling in (GREEDY, Sampling(seed=1)):
        expected, _ = generate(Plain(model), prompt, sampling, 100)
        found, stats = generate(Eager(model), prompt, sampling, 100)
        assert found == expected
        assert 0 < stats.accepted_tokens < stats.drafted_tokens


def test_the_next_turn_goes_on_from_what_was_confirmed(model: ReferenceModel) -> None:
    engine = Eager(model)
    prompt = repeating_prompt(60)
    reply, _ = generate(engine, prompt, GREEDY, 20)
    longer = (*prompt, *reply, 7, 8, 9)
    following, stats = generate(engine, longer, GREEDY)
    assert following == generate(Plain(model), longer, GREEDY)[0]
    assert stats.cached_tokens >= len(prompt) + len(reply) - 1


def test_a_reply_left_within_its_guesses_leaves_a_usable_engine(model: ReferenceModel) -> None:
    engine = Eager(model)
    prompt = repeating_prompt(60)
    abandoned = iter(engine.generate(GenerationRequest(prompt, 60, NO_STOP, GREEDY)))
    started = [next(abandoned) for _ in range(5)]
    other = (*prompt, *started, 11)
    assert generate(engine, other, GREEDY)[0] == generate(Plain(model), other, GREEDY)[0]


# Limits, stops and grammars


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
def test_guesses_never_go_beyond_the_last_token(model: ReferenceModel, count: int) -> None:
    prompt = repeating_prompt(30)
    expected, _ = generate(Plain(model), prompt, GREEDY, count)
    engine = ToldEngine(model)
    engine.oracle = Oracle([*prompt, *expected, *range(4, 40)])
    found, stats = generate(engine, prompt, GREEDY, count)
    assert found == expected
    assert stats.drafted_tokens <= max(0, count - 2)


@pytest.mark.parametrize("room", [1, 2, 7, 20])
def test_drafts_fill_the_context_to_the_last_position(tiny_folder: Path, room: int) -> None:
    model = open_reference(tiny_folder)
    model.context_tokens = 60
    prompt = repeating_prompt(60 - room)
    expected, _ = generate(Plain(model), prompt, GREEDY)
    assert len(expected) == room
    assert generate(Eager(model), prompt, GREEDY)[0] == expected


def test_a_reply_ends_before_a_stop_token_also_when_it_was_guessed(model: ReferenceModel) -> None:
    prompt = repeating_prompt(30)
    free, _ = generate(Plain(model), prompt, GREEDY)
    never = frozenset(range(260)) - set(free)
    for stop_id in dict.fromkeys(free):
        engine = ToldEngine(model)
        engine.oracle = Oracle([*prompt, *free])
        request = GenerationRequest(prompt, 60, never | {stop_id}, GREEDY)
        generation = engine.generate(request)
        assert list(generation) == free[: free.index(stop_id)]
        assert generation.finish_reason == "stop"


@pytest.mark.parametrize("sampling", [SAMPLINGS[0], SAMPLINGS[3]], ids=str)
def test_drafts_under_a_grammar_give_the_ids_of_the_slow_path(
    tiny_folder: Path, model: ReferenceModel, smaller: ReferenceModel, sampling: Sampling
) -> None:
    compile_grammar = GrammarCompiler(open_checkpoint(tiny_folder).tokenizer).compile
    kind = {"type": "string", "enum": ["sunny", "sunday", "sun"]}
    parameters = {"type": "object", "properties": {"a": kind, "b": kind}, "required": ["a", "b"]}
    grammar = tool_grammar([{"name": name, "parameters": parameters} for name in ("f", "g")])
    request = GenerationRequest(tuple(range(40, 60)), 300, frozenset({2}), sampling, grammar)
    slow = Plain(model, compile_grammar).generate(request)
    expected = list(slow)
    for draft_model in (None, smaller):
        quick = Eager(model, compile_grammar, draft_model).generate(request)
        assert list(quick) == expected
        assert quick.stats.forced_tokens == slow.stats.forced_tokens
        assert quick.finish_reason == slow.finish_reason


# The distribution


class Mixture:
    """A model of four tokens whose distribution hangs on the newest token alone."""

    context_tokens = 1 << 20
    vocab_size = 4

    def __init__(self, sharpness: float) -> None:
        table = np.random.default_rng(3).standard_normal((4, 4))
        self.table = (sharpness * table).astype(np.float32)

    def forward(self, ids: Sequence[int], start: int, last: int = 1) -> Logits:
        found: NDArray[np.float32] = self.table[list(ids)[-last:]]
        return found

    def truncate(self, length: int) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize(
    "draft", [None, Mixture(0.3), Mixture(2.0)], ids=["prompt", "flat", "sharp"]
)
def test_sampling_with_drafts_keeps_the_distribution(draft: Mixture | None) -> None:
    model = Mixture(1.0)
    engine = Eager(model, draft_model=draft) if draft is None else TwinEngine(model, None, draft)
    ids, stats = generate(engine, (0, 1, 2, 3), Sampling(1.0, top_p=1.0, seed=1), 6_000)
    assert 0.1 < stats.accepted_tokens / stats.drafted_tokens < 0.98
    expected = np.exp(model.table) / np.exp(model.table).sum(axis=1, keepdims=True)
    counts = np.zeros((4, 4))
    np.add.at(counts, (np.array(ids[:-1]), np.array(ids[1:])), 1)
    total = counts.sum(axis=1, keepdims=True)
    # Five standard deviations of a share.
    bound = 5 * np.sqrt(expected * (1 - expected) / total)
    assert np.all(np.abs(counts / total - expected) <= bound)


# Whether it pays


def guesses_of(speculation: Speculation, ids: Sequence[int], known: int = 1) -> list[int]:
    return speculation.guess(ids, known, 100, Sampler(GREEDY))


def test_nothing_is_guessed_before_a_forward_was_measured() -> None:
    costs = SpanCosts()
    speculation = Speculation([Oracle(range(100))], costs)
    assert guesses_of(speculation, [0]) == []
    costs.note(1, 0.01)
    assert guesses_of(speculation, [0])


def test_a_span_with_its_guesses_is_never_longer_than_the_kernels_take() -> None:
    for known in range(1, SPAN_TOKENS + 3):
        speculation = Speculation([Oracle(range(100))], Steady())
        assert len(guesses_of(speculation, range(10), known)) == max(0, SPAN_TOKENS - known)


def rising_costs(slope: float) -> SpanCosts:
    """A token more costs `slope` of a single one."""
    costs = SpanCosts()
    for length in range(1, SPAN_TOKENS + 1):
        for _ in range(3):
            costs.note(length, 1.0 + slope * (length - 1))
    return costs


def test_guesses_get_fewer_the_more_a_long_span_costs() -> None:
    counts = []
    for slope in (0.0, 0.1, 0.3, 2.0):
        costs = rising_costs(slope)
        counts.append(len(guesses_of(Speculation([Oracle(range(100))], costs), [0])))
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (SPAN_TOKENS - 1, 0)


def test_drafting_ends_when_guesses_are_refuted_and_is_tried_again_later() -> None:
    costs = rising_costs(0.2)
    speculation = Speculation([Oracle(range(1000))], costs)
    tries = 0
    while guesses_of(speculation, [0]):
        speculation.learn(0, is_refuted=True)
        tries += 1
        assert tries < 30
    pause = 0
    while not guesses_of(speculation, [0]):
        pause += 1
        assert pause < 100
    assert pause > 3


def test_a_dear_draft_model_is_not_asked() -> None:
    class Dear(Oracle):
        def seconds(self, count: int) -> float:
            return 2.0 * count

    assert guesses_of(Speculation([Dear(range(100))], Steady()), [0]) == []


def test_costs_not_seen_are_guessed_and_none_is_above_that_of_a_longer_span() -> None:
    costs = SpanCosts()
    assert costs.seconds(3) == 0.0
    costs.note(1, 1.0)
    costs.note(300, 99.0)
    assert [costs.seconds(length) for length in (1, 2, 5)] == [1.0, 1.25, 2.0]
    costs.note(4, 1.5)
    assert [costs.seconds(length) for length in (2, 3, 4, 5)] == [1.25, 1.5, 1.5, 1.75]


def test_a_single_slow_forward_is_not_held_against_its_length() -> None:
    costs = SpanCosts()
    costs.note(1, 1.0)
    for tries, cost in ((1, 1.25), (2, 1.25), (3, 9.0)):
        costs.note(2, 9.0)
        assert costs.seconds(2) == cost, tries
    costs.note(2, 1.1)
    assert costs.seconds(2) == 1.1


def test_the_cost_of_a_single_token_is_guessed_from_a_span() -> None:
    costs = SpanCosts()
    costs.note(5, 2.0)
    assert [costs.seconds(length) for length in (1, 5)] == [1.0, 2.0]


# Prompt lookup


@pytest.mark.parametrize(
    ("ids", "guesses"),
    [
        ([1, 2, 3, 4, 1, 2], [3, 4, 1]),
        ([1, 2, 3, 1, 2, 4, 1, 2], [4, 1, 2]),
        ([9, 1, 2, 3, 8, 1, 2, 4, 9, 1, 2], [4, 9, 1]),
        ([1, 2, 3], []),
        ([5, 5, 5], [5]),
        ([1], []),
    ],
)
def test_prompt_lookup_goes_on_as_the_latest_match_did(ids: list[int], guesses: list[int]) -> None:
    sampler = Sampler(GREEDY)
    assert PromptLookup(2, 0.5).draft(ids, 3, sampler) == guesses
    growing = PromptLookup(2, 0.5)
    for length in range(1, len(ids)):
        growing.draft(ids[:length], 3, sampler)
    assert growing.draft(ids, 3, sampler) == guesses


def test_what_followed_a_longer_match_is_guessed_first() -> None:
    ids = [1, 2, 3, 4, 5, 6, 7, 9, 9, 5, 6, 8, 9, 9, 3, 4, 5, 6]
    assert guesses_of(Speculation(prompt_lookups(), Steady()), ids)[0] == 7
    shorter = [1, 2, 3, 4, 5, 6, 7, 9, 9, 5, 6, 8, 9, 9, 0, 5, 6]
    assert guesses_of(Speculation(prompt_lookups(), Steady()), shorter)[0] == 8


def test_a_longer_match_is_trusted_further() -> None:
    costs = rising_costs(0.3)
    long, short = (
        guesses_of(Speculation(prompt_lookups(), costs), [*range(30), *range(start, 10)])
        for start in (3, 9)
    )
    assert len(long) > len(short)


# The draft model


def test_a_draft_model_leaves_the_sampler_as_it_was(smaller: ReferenceModel) -> None:
    sampling = Sampling(temperature=1.0, seed=4)
    untouched, used = Sampler(sampling), Sampler(sampling)
    assert len(DraftModel(smaller).draft(range(10, 20), 5, used)) == 5
    logits = np.zeros(260, dtype=np.float32)
    assert [used.draw(logits) for _ in range(5)] == [untouched.draw(logits) for _ in range(5)]


def test_a_draft_model_with_a_shorter_context_stops_guessing(smaller: ReferenceModel) -> None:
    drafter = DraftModel(smaller)
    sampler = Sampler(GREEDY)
    longest = smaller.context_tokens
    assert drafter.draft([5] * (longest - 2), 3, sampler) == []
    assert len(drafter.draft([5] * 300, 3, sampler)) == 3


def test_a_draft_checkpoint_is_loaded_with_its_model(tiny_folder: Path) -> None:
    engine = load_engine(tiny_folder, dtype="float16", draft=tiny_folder)
    request = GenerationRequest(tuple(range(10, 30)), 20, NO_STOP, GREEDY)
    assert len(list(engine.generator.generate(request))) == 20


def test_a_draft_of_another_vocabulary_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(UsageError, match="its tokens are not those") as caught:
        load_engine(tiny_folder, draft=EMBEDDED)
    assert "--draft 135m" in caught.value.hint


# The prefix


@pytest.mark.parametrize(
    ("left", "right", "length"),
    [((), (), 0), ((1, 2), (), 0), ((1, 2), (1, 2, 3), 2), ((1, 2, 3), (1, 5, 3), 1)],
)
def test_the_common_prefix(left: tuple[int, ...], right: tuple[int, ...], length: int) -> None:
    assert common_prefix(left, right) == length


def test_a_prefix_keeps_what_is_shared_but_for_the_last_token(model: ReferenceModel) -> None:
    prefix = Prefix(model)
    prefix.extend([4, 5, 6, 7])
    assert prefix.reuse([4, 5, 6, 7]) == 3
    assert prefix.reuse([4, 5, 9, 9]) == 2
    assert prefix.ids == [4, 5]
