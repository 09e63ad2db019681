"""The reference model gives what transformers gives, for the shape of every family member."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SHARED, make_checkpoint
from transformers import AutoModelForCausalLM, PreTrainedModel

from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.engine import PREFILL_TOKENS, Engine
from smolchat.engine.reference import ReferenceModel
from smolchat.errors import SmolchatError
from smolchat.generation import GenerationRequest, Sampling

FAMILY: dict[str, dict[str, Any]] = {
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
COMMON = {"rms_norm_eps": 1e-5, "max_position_embeddings": 8192}


def open_reference(folder: Path) -> ReferenceModel:
    return ReferenceModel(open_checkpoint(folder), device="cpu", dtype="float32", threads=1)


def open_transformers(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder for large weights, which are not kept after the test."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def random_prompt(length: int, vocabulary: int = 260, seed: int = 0) -> tuple[int, ...]:
    ids = np.random.default_rng(seed).integers(4, vocabulary, length)
    return tuple(int(token_id) for token_id in ids)


def greedy_by_engine(
    model: ReferenceModel, prompt: tuple[int, ...], count: int, penalty: float = 1.0
) -> list[int]:
    sampling = Sampling(temperature=0, repetition_penalty=penalty)
    request = GenerationRequest(prompt, count, frozenset(), sampling)
    return list(Engine(model).generate(request))


@torch.inference_mode()
def greedy_by_transformers(
    model: PreTrainedModel, prompt: tuple[int, ...], count: int, penalty: float = 1.0
) -> list[int]:
    ids = torch.tensor([prompt])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        repetition_penalty=penalty,
        eos_token_id=None,
        pad_token_id=2,
    )
    return [int(token_id) for token_id in output[0, len(prompt) :]]


@pytest.mark.parametrize("shape", FAMILY.values(), ids=FAMILY.keys())
def test_greedy_ids_equal_generate_for_each_family_shape(
    shape: dict[str, Any], scratch: Path
) -> None:
    folder = make_checkpoint(scratch / "checkpoint", **COMMON, **shape)
    model, prompt = open_reference(folder), random_prompt(40)
    ids = greedy_by_engine(model, prompt, 12)
    assert ids == greedy_by_transformers(model._model, prompt, 12)
    assert len(set(ids)) > 1


def test_greedy_ids_equal_generate_with_the_real_vocabulary(scratch: Path) -> None:
    shape = FAMILY["135M"] | COMMON | {"vocab_size": 49_152}
    model = open_reference(make_checkpoint(scratch / "checkpoint", **shape))
    prompt = random_prompt(20, vocabulary=49_152)
    ids = greedy_by_engine(model, prompt, 12)
    assert ids == greedy_by_transformers(model._model, prompt, 12)
    assert max(ids) > 260


@pytest.mark.skipif(not SHARED.exists(), reason="the real files are not here")
@pytest.mark.parametrize("size", FAMILY)
def test_the_shapes_are_those_of_the_real_configs(size: str) -> None:
    path = SHARED / "smollm2" / f"SmolLM2-{size}-Instruct" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    shape = FAMILY[size] | COMMON
    assert {name: config[name] for name in shape} == shape


@pytest.mark.parametrize("length", [1, PREFILL_TOKENS, PREFILL_TOKENS + 1, 3 * PREFILL_TOKENS - 1])
def test_greedy_ids_equal_generate_for_prompts_of_several_forwards(
    tiny_folder: Path, length: int
) -> None:
    prompt = random_prompt(length)
    ids = greedy_by_engine(open_reference(tiny_folder), prompt, 30)
    assert ids == greedy_by_transformers(open_transformers(tiny_folder), prompt, 30)


def test_greedy_ids_with_a_repetition_penalty_equal_generate(tiny_folder: Path) -> None:
    prompt = random_prompt(30)
    ids = greedy_by_engine(open_reference(tiny_folder), prompt, 40, penalty=1.5)
    assert ids == greedy_by_transformers(open_transformers(tiny_folder), prompt, 40, penalty=1.5)
    assert ids != greedy_by_engine(open_reference(tiny_folder), prompt, 40)


@torch.inference_mode()
def test_logits_equal_those_of_one_forward_however_the_ids_are_split(tiny_folder: Path) -> None:
    prompt = random_prompt(50)
    expected = open_transformers(tiny_folder)(torch.tensor([prompt])).logits[0].numpy()
    model = open_reference(tiny_folder)
    np.testing.assert_allclose(model.forward(prompt, 0, last=50), expected, atol=1e-4)
    model.truncate(0)
    for start, end in [(0, 1), (1, 20), (20, 21), (21, 50)]:
        logits = model.forward(prompt[start:end], start, last=end - start)
        assert logits.dtype == np.float32
        assert logits.shape == (end - start, model.vocab_size)
        np.testing.assert_allclose(logits, expected[start:end], atol=1e-4)


def test_a_shortened_cache_continues_as_a_fresh_one(tiny_folder: Path) -> None:
    prompt, other = random_prompt(60), random_prompt(20, seed=1)
    model, fresh = open_reference(tiny_folder), open_reference(tiny_folder)
    model.forward(prompt, 0)
    model.truncate(25)
    model.truncate(40)  # nothing to forget
    expected = fresh.forward((*prompt[:25], *other), 0)
    np.testing.assert_allclose(model.forward(other, 25), expected, atol=1e-4)


def test_a_forward_that_was_broken_off_may_be_repeated(tiny_folder: Path) -> None:
    prompt = random_prompt(60)
    model, fresh = open_reference(tiny_folder), open_reference(tiny_folder)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    model.forward(prompt[:40], 0)
    hook = model._model.model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        model.forward(prompt[40:], 40)
    hook.remove()
    expected = fresh.forward(prompt, 0)
    np.testing.assert_allclose(model.forward(prompt[40:], 40), expected, atol=1e-4)


def test_the_number_format_and_the_threads_are_those_asked_for(tiny_folder: Path) -> None:
    checkpoint = open_checkpoint(tiny_folder)
    threads = torch.get_num_threads()
    try:
        model = ReferenceModel(checkpoint, "cpu", "bfloat16", threads=1)
        assert (model.device, model.dtype, torch.get_num_threads()) == ("cpu", "bfloat16", 1)
        assert model.forward(random_prompt(5), 0).dtype == np.float32
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_running_out_of_memory_is_one_clear_line(tiny_folder: Path, error: Exception) -> None:
    model = open_reference(tiny_folder)

    def fail(*_: object) -> None:
        raise error

    model._model.register_forward_pre_hook(fail)
    with pytest.raises(SmolchatError, match="out of memory") as caught:
        model.forward([5], 0)
    assert "smaller checkpoint" in caught.value.hint


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("device", ["cuda", "all"])
def test_greedy_ids_on_a_gpu_equal_those_on_the_cpu(tiny_folder: Path, device: str) -> None:
    prompt = random_prompt(300)
    model = ReferenceModel(open_checkpoint(tiny_folder), device, "float32")
    assert model.device.startswith("cuda")
    assert greedy_by_engine(model, prompt, 30) == greedy_by_engine(
        open_reference(tiny_folder), prompt, 30
    )
