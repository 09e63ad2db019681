"""Sequences that share steps give what each gives alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import EMBEDDED

from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.cpu import CpuModel
from smolchat.engine.engine import Engine
from smolchat.engine.together import Together
from smolchat.generation import GenerationRequest, Sampling


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed weights of a test go with it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def requests() -> list[GenerationRequest]:
    """Prompts and replies of different lengths, greedy and drawn."""
    numbers = np.random.default_rng(0)
    return [
        GenerationRequest(
            tuple(int(token) for token in numbers.integers(4, 2000, 3 + 9 * index)),
            10 + 7 * (index % 4),
            frozenset(),
            Sampling(temperature=0.8 * (index % 2), seed=index),
        )
        for index in range(11)
    ]


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_sequences_together_give_the_ids_of_each_alone(quantize: str) -> None:
    model = CpuModel(open_checkpoint(EMBEDDED), quantize, threads=2)
    alone = [list(Engine(model).generate(request)) for request in requests()]
    free = [Engine(sequence) for sequence in Together(model, 4).sequences]

    def answer(request: GenerationRequest) -> list[int]:
        engine = free.pop()
        ids = list(engine.generate(request))
        free.append(engine)
        return ids

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(answer, requests())) == alone


def test_a_sequence_whose_owner_is_busy_does_not_hold_up_the_others() -> None:
    model = CpuModel(open_checkpoint(EMBEDDED), "int8", threads=1)
    first, second = Together(model, 2).sequences
    expected = model.forward([5, 6, 7], 0)
    np.testing.assert_array_equal(first.forward([5, 6, 7], 0), expected)
    np.testing.assert_array_equal(second.forward([5, 6, 7], 0), expected)
    np.testing.assert_array_equal(second.forward([6, 7], 1), expected)
