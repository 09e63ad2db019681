"""The compiled kernels give what the reference model gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import EMBEDDED, make_checkpoint
from numpy.typing import NDArray

from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.cpu import CpuModel
from smolchat.engine.engine import Engine
from smolchat.engine.model import Model
from smolchat.engine.reference import ReferenceModel
from smolchat.generation import GenerationRequest, Sampling

SHAPES: dict[str, dict[str, Any]] = {
    "135M": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "rope_theta": 100_000,
    },
    "360M": {
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "rope_theta": 100_000,
    },
    "1.7B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "rope_theta": 130_000,
    },
}
COMMON = {
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 8192,
    "initializer_range": 0.05,
}


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packed weights of a test go with it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def open_cpu(folder: Path, quantize: str = "none", threads: int = 2) -> CpuModel:
    return CpuModel(open_checkpoint(folder), quantize, threads)


def open_reference(folder: Path) -> ReferenceModel:
    return ReferenceModel(open_checkpoint(folder), "cpu", "float32", threads=2)


def random_ids(length: int, vocabulary: int = 260, seed: int = 0) -> list[int]:
    ids = np.random.default_rng(seed).integers(4, vocabulary, length)
    return [int(token_id) for token_id in ids]


def relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def greedy(model: Model, prompt: list[int], count: int) -> list[int]:
    request = GenerationRequest(tuple(prompt), count, frozenset(), Sampling(temperature=0))
    return list(Engine(model).generate(request))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_logits_equal_the_reference_for_each_family_shape(
    shape: dict[str, Any], tmp_path: Path
) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", **COMMON, **shape)
    ids = random_ids(20)
    expected = open_reference(folder).forward(ids, 0, last=20)
    assert relative_error(open_cpu(folder).forward(ids, 0, last=20), expected) < 2e-5


def test_greedy_ids_equal_the_reference_over_200_tokens() -> None:
    prompt = random_ids(30, vocabulary=2000)
    expected = greedy(open_reference(EMBEDDED), prompt, 200)
    assert greedy(open_cpu(EMBEDDED), prompt, 200) == expected


@pytest.mark.parametrize("quantize", ["none", "int8", "int4"])
def test_logits_do_not_depend_on_spans_and_threads(quantize: str) -> None:
    ids = random_ids(36, vocabulary=2000)
    model = open_cpu(EMBEDDED, quantize, threads=1)
    expected = np.stack([model.forward([one], at)[0] for at, one in enumerate(ids)])
    for threads in (1, 2, 3):
        model, start = open_cpu(EMBEDDED, quantize, threads), 0
        for length in range(1, 9):
            span = ids[start : start + length]
            logits = model.forward(span, start, last=length)
            np.testing.assert_array_equal(logits, expected[start : start + length])
            start += length


def test_a_prefix_put_back_continues_as_before() -> None:
    ids = random_ids(200, vocabulary=2000)
    model, other = open_cpu(EMBEDDED), open_cpu(EMBEDDED)
    expected = model.forward(ids, 0)
    model.truncate(150)
    other.restore(model.prefix(150), 150)
    np.testing.assert_array_equal(other.forward(ids[150:], 150), expected)


def test_a_prefix_of_another_model_is_refused(tiny_folder: Path) -> None:
    model, other = open_cpu(EMBEDDED), open_cpu(tiny_folder)
    model.forward([5, 6], 0)
    with pytest.raises(ValueError, match="another model"):
        other.restore(model.prefix(2), 2)
    with pytest.raises(ValueError, match="200 positions"):
        model.restore(model.prefix(2), 200)
