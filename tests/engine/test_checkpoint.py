"""Checkpoint folders, sound and damaged: each fault is one CheckpointError with a hint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CHAT_TEMPLATE, SHARED, byte_tokenizer
from safetensors.torch import load_file, save_file

from smolchat.engine.checkpoint import open_checkpoint
from smolchat.errors import CheckpointError
from smolchat.loading import load_chat_format, load_engine
from smolchat.messages import Message

CONFIG = {"model_type": "llama", "max_position_embeddings": 2048, "eos_token_id": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Config and tokenizer, without weights."""
    write_json(tmp_path / "config.json", CONFIG)
    write_json(tmp_path / "tokenizer_config.json", {"chat_template": CHAT_TEMPLATE})
    byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.fixture
def whole(tmp_path: Path, tiny_folder: Path) -> Path:
    """A checkpoint with weights that a test may damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "whole"))


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", config | changes)


def refusal(action: Callable[[Path], object], folder: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        action(folder)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


# Sound folders


def test_a_folder_tells_its_context_template_and_end_ids(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    assert checkpoint.context_tokens == 2048
    assert checkpoint.chat_template == CHAT_TEMPLATE
    assert checkpoint.stop_ids == {2}
    assert checkpoint.weight_bytes == 0


def test_weight_bytes_are_those_of_all_shards(folder: Path) -> None:
    for index in (1, 2):
        (folder / f"model-{index}.safetensors").write_bytes(b"x" * 10)
    (folder / "pytorch_model.bin").write_bytes(b"x" * 1000)
    assert open_checkpoint(folder).weight_bytes == 20


@pytest.mark.parametrize(
    ("config_ids", "generation_ids", "expected"),
    [
        (2, None, {2}),
        (0, None, {0, 2}),
        ([0, 5], None, {0, 2, 5}),
        (None, 7, {2, 7}),
        (0, [3, 4], {0, 2, 3, 4}),
        (None, None, {2}),
        ([], [], {2}),
    ],
)
def test_every_named_end_id_stops(
    folder: Path, config_ids: Any, generation_ids: Any, expected: set[int]
) -> None:
    change_config(folder, eos_token_id=config_ids)
    write_json(folder / "generation_config.json", {"eos_token_id": generation_ids})
    assert open_checkpoint(folder).stop_ids == expected


def test_a_template_file_wins_over_the_tokenizer_config(folder: Path) -> None:
    template = CHAT_TEMPLATE.replace("SmolLM", "Grüße")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    assert open_checkpoint(folder).chat_template == template


def test_truncation_and_padding_in_the_tokenizer_file_do_not_change_a_prompt(folder: Path) -> None:
    sound = load_chat_format(folder)[1].prompt_ids([Message("user", "Hello")])
    tokenizer = byte_tokenizer()
    tokenizer.enable_truncation(max_length=4)
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert load_chat_format(folder)[1].prompt_ids([Message("user", "Hello")]) == sound


@pytest.mark.skipif(not SHARED.exists(), reason="the real files are not here")
@pytest.mark.parametrize("size", ["135M", "360M", "1.7B"])
def test_the_real_folders_are_read(size: str) -> None:
    checkpoint = open_checkpoint(SHARED / "smollm2" / f"SmolLM2-{size}-Instruct")
    assert checkpoint.context_tokens == 8192
    assert checkpoint.stop_ids == {2}
    assert checkpoint.tokenizer.get_vocab_size() == 49_152
    assert checkpoint.chat_template


def test_the_tokenizer_is_enough_for_a_prompt(folder: Path) -> None:
    checkpoint, chat_format = load_chat_format(folder)
    assert chat_format.prompt_text([Message("user", "Hi")]).startswith("<|im_start|>system\n")
    assert checkpoint.folder == folder


# Damaged config and tokenizer


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    error = refusal(open_checkpoint, folder)
    assert f"{name} is missing" in error.message
    assert str(folder) in error.message


def test_a_folder_that_is_not_there_or_is_a_file_is_named(tmp_path: Path) -> None:
    assert "nowhere" in refusal(open_checkpoint, tmp_path / "nowhere").message
    (tmp_path / "file").write_text("x")
    assert "file" in refusal(open_checkpoint, tmp_path / "file").message


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"\x00" * 10, b"[" * 100_000],
    ids=["empty", "broken", "list", "null", "string", "not utf-8", "zeros", "deep"],
)
def test_a_damaged_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    error = refusal(open_checkpoint, folder)
    assert name in error.message
    assert "damaged" in error.message


def test_a_template_that_is_not_text_is_damaged(folder: Path) -> None:
    (folder / "chat_template.jinja").write_bytes(b"\xff\xfe")
    assert "chat_template.jinja is damaged" in refusal(open_checkpoint, folder).message


@pytest.mark.parametrize("value", [None, "2048", 0, -1, 2.5])
def test_a_context_that_is_no_positive_number_is_damage(folder: Path, value: Any) -> None:
    change_config(folder, max_position_embeddings=value)
    assert "max_position_embeddings" in refusal(open_checkpoint, folder).message


def test_a_tokenizer_that_knows_more_ids_than_the_model_is_damage(whole: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save(str(whole / "tokenizer.json"))
    assert "tokenizer.json is damaged" in refusal(open_checkpoint, whole).message


@pytest.mark.parametrize(
    ("template", "said"), [(None, "no chat template"), ("[INST]", "not ChatML")]
)
def test_a_checkpoint_that_is_not_for_chatting_is_refused(
    folder: Path, template: str | None, said: str
) -> None:
    write_json(folder / "tokenizer_config.json", {"chat_template": template})
    assert said in refusal(load_chat_format, folder).message


# Damaged weights


def test_truncated_weights_are_refused(whole: Path) -> None:
    weights = whole / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert str(whole) in refusal(load_engine, whole).message


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\xff" * 1000, b"\x10" + b"\x00" * 7 + b"{" * 16]
)
def test_a_corrupt_weights_header_is_refused(whole: Path, content: bytes) -> None:
    (whole / "model.safetensors").write_bytes(content)
    assert str(whole) in refusal(load_engine, whole).message


def test_missing_weights_are_refused(whole: Path) -> None:
    (whole / "model.safetensors").unlink()
    assert "model.safetensors is missing" in refusal(load_engine, whole).message


def test_pickled_weights_are_not_read(whole: Path, tmp_path: Path) -> None:
    """Unpickling this file would leave a marker."""
    import pickle

    marker = tmp_path / "marker"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    (whole / "model.safetensors").unlink()
    (whole / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    error = refusal(load_engine, whole)
    assert "weights are read from safetensors only" in error.message
    assert "model.safetensors" in error.hint
    assert not marker.exists()


def test_sound_pickled_weights_are_not_read_either(whole: Path) -> None:
    weights = load_file(whole / "model.safetensors")
    torch.save(weights, whole / "pytorch_model.bin")
    (whole / "model.safetensors").rename(whole / "adapter.safetensors")
    assert str(whole) in refusal(load_engine, whole).message


def test_a_missing_shard_is_refused(whole: Path) -> None:
    (whole / "model.safetensors").rename(whole / "model-00001-of-00002.safetensors")
    names = load_file(whole / "model-00001-of-00002.safetensors")
    shards = dict.fromkeys(names, "model-00001-of-00002.safetensors")
    shards["model.norm.weight"] = "model-00002-of-00002.safetensors"
    write_json(whole / "model.safetensors.index.json", {"metadata": {}, "weight_map": shards})
    assert str(whole) in refusal(load_engine, whole).message


def test_an_absent_weight_is_refused_instead_of_made_up(whole: Path) -> None:
    weights = load_file(whole / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, whole / "model.safetensors", metadata={"format": "pt"})
    message = refusal(load_engine, whole).message
    assert "model.layers.1.mlp.up_proj.weight is missing" in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 3}, "model.layers.2"),
        ({"hidden_size": 128}, "by config.json"),
        ({"hidden_size": "wide"}, "cannot load the weights"),
        ({"model_type": "unheard-of"}, "unheard-of"),
        ({"model_type": None}, "None"),
    ],
    ids=str,
)
def test_weights_that_do_not_fit_the_config_are_refused(
    whole: Path, changes: dict[str, Any], said: str
) -> None:
    change_config(whole, **changes)
    assert said in refusal(load_engine, whole).message


# Remote code


@pytest.mark.parametrize("model_type", ["evil", "llama"])
def test_code_in_a_checkpoint_is_never_executed(
    whole: Path, tmp_path: Path, model_type: str
) -> None:
    marker = tmp_path / "marker"
    for name in ("configuration_evil", "modeling_evil", "tokenization_evil"):
        (whole / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    classes = {
        "AutoConfig": "configuration_evil.EvilConfig",
        "AutoModelForCausalLM": "modeling_evil.EvilModel",
        "AutoTokenizer": ["tokenization_evil.Evil", None],
    }
    change_config(whole, model_type=model_type, auto_map=classes, architectures=["EvilModel"])
    if model_type == "evil":
        refusal(load_engine, whole)
    else:  # a known architecture is run by the installed code
        assert load_engine(whole).device
    assert not marker.exists()
