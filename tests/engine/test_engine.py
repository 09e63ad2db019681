"""The engine over the reference model: what is reused, where it ends, what survives a break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.engine import PREFILL_TOKENS, Engine, common_prefix
from smolchat.engine.reference import ReferenceModel
from smolchat.errors import ContextOverflow
from smolchat.generation import GenerationRequest, GenerationStats, Sampling

GREEDY = Sampling(temperature=0)


class WatchedModel(ReferenceModel):
    """Notes the spans it computes; `before_forward` may interfere."""

    def __init__(self, folder: Path) -> None:
        super().__init__(open_checkpoint(folder), device="cpu", dtype="float32", threads=1)
        self.spans: list[tuple[int, int]] = []
        self.before_forward: Callable[[], None] = lambda: None

    def forward(self, ids: Sequence[int], start: int, last: int = 1) -> NDArray[np.float32]:
        self.before_forward()
        self.spans.append((start, len(ids)))
        return super().forward(ids, start, last)


@pytest.fixture
def model(tiny_folder: Path) -> WatchedModel:
    return WatchedModel(tiny_folder)


@pytest.fixture
def engine(model: WatchedModel) -> Engine:
    return Engine(model)


def prompt_of(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(map(int, np.random.default_rng(seed).integers(4, 260, length)))


def request(
    prompt: Sequence[int],
    count: int = 10,
    stop_ids: frozenset[int] = frozenset(),
    sampling: Sampling = GREEDY,
) -> GenerationRequest:
    return GenerationRequest(tuple(prompt), count, stop_ids, sampling)


@cache
def oracle(folder: Path) -> WatchedModel:
    return WatchedModel(folder)


def fresh_ids(folder: Path, prompt: Sequence[int], count: int = 10) -> list[int]:
    """What an engine that has cached nothing gives."""
    return list(Engine(oracle(folder)).generate(request(prompt, count)))


# Prefix reuse


def test_the_second_turn_prefills_only_what_is_new(
    engine: Engine, model: WatchedModel, tiny_folder: Path
) -> None:
    prompt = prompt_of(50)
    everything = list(engine.generate(request(prompt, 8)))
    stop_id = everything[5]
    first = engine.generate(request(prompt, 8, frozenset({stop_id})))
    reply = list(first)
    assert first.finish_reason == "stop"
    model.spans.clear()

    longer = (*prompt, *reply, *prompt_of(7, seed=1))
    second = engine.generate(request(longer))
    ids = list(second)
    assert second.stats.cached_tokens == len(prompt) + len(reply)
    assert second.stats.prompt_tokens == len(longer)
    assert model.spans[0] == (len(prompt) + len(reply), 7)
    assert ids == fresh_ids(tiny_folder, longer)


def test_after_a_reply_cut_by_length_only_its_last_token_is_computed_anew(
    engine: Engine, tiny_folder: Path
) -> None:
    prompt = prompt_of(20)
    reply = list(engine.generate(request(prompt, 6)))
    longer = (*prompt, *reply, *prompt_of(3, seed=1))
    second = engine.generate(request(longer))
    assert list(second) == fresh_ids(tiny_folder, longer)
    assert second.stats.cached_tokens == len(prompt) + len(reply) - 1


def test_regenerating_computes_one_prompt_token(engine: Engine, model: WatchedModel) -> None:
    prompt = prompt_of(30)
    first = list(engine.generate(request(prompt)))
    model.spans.clear()
    again = engine.generate(request(prompt))
    assert list(again) == first
    assert again.stats.cached_tokens == 29
    assert model.spans[0] == (29, 1)


@pytest.mark.parametrize("kept", [1, 10, 39])
def test_editing_an_earlier_turn_shortens_the_cache_to_what_is_shared(
    engine: Engine, tiny_folder: Path, kept: int
) -> None:
    prompt = prompt_of(40)
    list(engine.generate(request(prompt)))
    edited = (*prompt[:kept], 3, *prompt_of(20, seed=2))
    generation = engine.generate(request(edited))
    assert list(generation) == fresh_ids(tiny_folder, edited)
    assert generation.stats.cached_tokens == kept


def test_undoing_a_turn_keeps_the_shorter_prompt_cached(engine: Engine, tiny_folder: Path) -> None:
    short = prompt_of(25)
    list(engine.generate(request((*short, *prompt_of(30, seed=3)))))
    generation = engine.generate(request(short))
    assert list(generation) == fresh_ids(tiny_folder, short)
    assert generation.stats.cached_tokens == 24


def test_another_conversation_starts_from_nothing(engine: Engine, tiny_folder: Path) -> None:
    list(engine.generate(request((3, *prompt_of(20)))))
    other = (4, *prompt_of(20, seed=4))
    generation = engine.generate(request(other))
    assert list(generation) == fresh_ids(tiny_folder, other)
    assert generation.stats.cached_tokens == 0


def test_a_long_conversation_equals_a_fresh_engine_at_every_turn(
    engine: Engine, tiny_folder: Path
) -> None:
    rng = np.random.default_rng(5)
    prompt = list(prompt_of(10))
    for turn in range(12):
        if turn % 4 == 3:
            del prompt[int(rng.integers(1, len(prompt))) :]
        prompt += prompt_of(int(rng.integers(1, 30)), seed=turn)
        reply = list(engine.generate(request(prompt, 6)))
        assert reply == fresh_ids(tiny_folder, prompt, 6)
        prompt += reply


@pytest.mark.parametrize(
    ("left", "right", "length"),
    [
        ((), (), 0),
        ((1, 2), (), 0),
        ((1, 2), (1, 2, 3), 2),
        ((1, 2, 3), (1, 5, 3), 1),
        ((2,), (1,), 0),
    ],
)
def test_the_common_prefix(left: tuple[int, ...], right: tuple[int, ...], length: int) -> None:
    assert common_prefix(left, right) == length


# Prefill


@pytest.mark.parametrize("length", [1, PREFILL_TOKENS, PREFILL_TOKENS + 1, 2 * PREFILL_TOKENS])
def test_a_long_prompt_is_computed_in_pieces(
    engine: Engine, model: WatchedModel, length: int
) -> None:
    list(engine.generate(request(prompt_of(length), 1)))
    assert [start for start, _ in model.spans] == list(range(0, length, PREFILL_TOKENS))
    assert sum(count for _, count in model.spans) == length


# Where it ends


def test_it_stops_before_any_of_the_stop_ids(engine: Engine) -> None:
    prompt = prompt_of(15)
    free = list(engine.generate(request(prompt, 10)))
    never = frozenset(range(260)) - set(free)
    for stop_id in dict.fromkeys(free):
        generation = engine.generate(request(prompt, 10, never | {stop_id}))
        assert list(generation) == free[: free.index(stop_id)]
        assert generation.finish_reason == "stop"
        assert generation.stats.new_tokens == free.index(stop_id)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_it_ends_at_max_new_tokens(engine: Engine, model: WatchedModel, count: int) -> None:
    prompt = prompt_of(15)
    generation = engine.generate(request(prompt, count))
    assert len(list(generation)) == count
    assert generation.finish_reason == "length"
    assert generation.stats.new_tokens == count
    assert len(model.spans) == count, "the last token needs no forward"


@pytest.mark.parametrize("room", [1, 2, 5])
def test_the_context_is_filled_to_the_last_position(tiny_folder: Path, room: int) -> None:
    model = WatchedModel(tiny_folder)
    model.context_tokens = 40
    generation = Engine(model).generate(request(prompt_of(40 - room), 50))
    assert len(list(generation)) == room
    assert generation.finish_reason == "length"


@pytest.mark.parametrize("excess", [0, 1, 1000])
def test_a_prompt_that_leaves_no_room_is_an_overflow(engine: Engine, excess: int) -> None:
    with pytest.raises(ContextOverflow) as caught:
        engine.generate(request(prompt_of(engine.context_tokens + excess)))
    assert str(engine.context_tokens) in caught.value.message
    assert str(engine.context_tokens + excess) in caught.value.message
    assert caught.value.hint
    assert list(engine.generate(request(prompt_of(5), 1))), "the engine stays usable"


def test_stats_tell_counts_and_times(engine: Engine) -> None:
    generation = Engine(engine.model, drafts=False).generate(request(prompt_of(15), 5))
    assert generation.stats == GenerationStats(prompt_tokens=15)
    list(generation)
    stats = generation.stats
    assert (stats.prompt_tokens, stats.cached_tokens, stats.new_tokens) == (15, 0, 5)
    assert stats.prefill_seconds > 0
    assert stats.decode_seconds > 0
    assert (stats.drafted_tokens, stats.accepted_tokens, stats.forced_tokens) == (0, 0, 0)


def test_stats_add_up_field_by_field() -> None:
    one = GenerationStats(prompt_tokens=3, cached_tokens=1, new_tokens=2, decode_seconds=0.5)
    other = GenerationStats(prompt_tokens=4, new_tokens=1, prefill_seconds=2.0, decode_seconds=0.25)
    assert one + other == GenerationStats(7, 1, 3, prefill_seconds=2.0, decode_seconds=0.75)


# Cancelling


def test_cancelling_ends_before_the_next_token_and_keeps_what_came(
    engine: Engine, tiny_folder: Path
) -> None:
    prompt = prompt_of(15)
    generation = engine.generate(request(prompt, 50))
    ids = []
    for token_id in generation:
        ids.append(token_id)
        if len(ids) == 3:
            generation.cancel()
    assert ids == fresh_ids(tiny_folder, prompt, 3)
    assert generation.finish_reason == "cancelled"
    longer = (*prompt, *ids, *prompt_of(4, seed=1))
    following = engine.generate(request(longer))
    assert list(following) == fresh_ids(tiny_folder, longer)
    assert following.stats.cached_tokens >= len(prompt) + len(ids) - 1


def test_cancelling_before_the_start_computes_nothing(engine: Engine, model: WatchedModel) -> None:
    generation = engine.generate(request(prompt_of(15)))
    generation.cancel()
    assert list(generation) == []
    assert generation.finish_reason == "cancelled"
    assert model.spans == []


def test_cancelling_within_a_long_prompt_keeps_what_was_computed(
    engine: Engine, model: WatchedModel, tiny_folder: Path
) -> None:
    prompt = prompt_of(3 * PREFILL_TOKENS)
    generation = engine.generate(request(prompt))
    model.before_forward = generation.cancel
    assert list(generation) == []
    assert generation.finish_reason == "cancelled"
    assert model.spans == [(0, PREFILL_TOKENS)]

    model.before_forward = lambda: None
    again = engine.generate(request(prompt))
    assert list(again) == fresh_ids(tiny_folder, prompt)
    assert again.stats.cached_tokens == PREFILL_TOKENS


# Breaks


class Break(Exception):
    pass


def break_layer(model: WatchedModel, index: int) -> Callable[[], None]:
    """Makes a layer raise once the layers before it have grown the cache; returns the mending."""

    def fail(*_: object) -> None:
        raise Break

    handle = model._model.model.layers[index].mlp.register_forward_pre_hook(fail)
    return handle.remove  # type: ignore[no-any-return]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("cached", [0, 20])
def test_a_prefill_that_was_broken_off_leaves_a_usable_engine(
    engine: Engine, model: WatchedModel, tiny_folder: Path, index: int, cached: int
) -> None:
    prompt = prompt_of(40)
    if cached:
        list(engine.generate(request(prompt[:cached], 1)))
    mend = break_layer(model, index)
    with pytest.raises(Break):
        list(engine.generate(request(prompt)))
    mend()
    generation = engine.generate(request(prompt))
    assert list(generation) == fresh_ids(tiny_folder, prompt)
    assert generation.stats.cached_tokens == cached


@pytest.mark.parametrize("index", [0, 1])
def test_a_decode_step_that_was_broken_off_leaves_a_usable_engine(
    engine: Engine, model: WatchedModel, tiny_folder: Path, index: int
) -> None:
    prompt = prompt_of(40)
    generation = iter(engine.generate(request(prompt)))
    ids = [next(generation) for _ in range(4)]
    mend = break_layer(model, index)
    with pytest.raises(Break):
        next(generation)
    mend()
    longer = (*prompt, *ids, 9)
    following = engine.generate(request(longer))
    assert list(following) == fresh_ids(tiny_folder, longer)
    assert following.stats.cached_tokens == len(prompt) + 3


def test_a_generation_left_halfway_leaves_a_usable_engine(
    engine: Engine, tiny_folder: Path
) -> None:
    prompt = prompt_of(40)
    abandoned = iter(engine.generate(request(prompt)))
    next(abandoned)
    abandoned.close()  # type: ignore[attr-defined]
    assert list(engine.generate(request(prompt))) == fresh_ids(tiny_folder, prompt)


# Sampling


def test_the_same_seed_gives_the_same_ids_also_from_the_cache(engine: Engine) -> None:
    prompt = prompt_of(15)
    one, same, other = (
        list(engine.generate(request(prompt, 30, sampling=Sampling(temperature=2.0, seed=seed))))
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_the_repetition_penalty_sees_prompt_and_reply(engine: Engine) -> None:
    prompt = prompt_of(10)
    strong = Sampling(temperature=0, repetition_penalty=100.0)
    ids = list(engine.generate(request(prompt, 40, sampling=strong)))
    assert len(set(ids)) == len(ids)
    assert not set(ids) & set(prompt)
