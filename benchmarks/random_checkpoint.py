"""Random checkpoints of the real shapes: speed does not depend on the values of the weights.

Written once into a folder in Hugging Face layout, with the embedded checkpoint's tokenizer, and
converted to GGUF for llama.cpp.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolchat.paths import shipped

VOCABULARY = 49_152
HEAD_SIZE = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers in which the members of the family differ."""

    hidden: int
    layers: int
    heads: int
    groups: int
    inner: int
    theta: int

    def config(self) -> dict[str, Any]:
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.groups,
            "intermediate_size": self.inner,
            "rope_theta": self.theta,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "hidden_act": "silu",
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 2,
        }


SHAPES = {
    "135m": Shape(576, 30, 9, 3, 1536, 100_000),
    "360m": Shape(960, 32, 15, 5, 2560, 100_000),
    "1.7b": Shape(2048, 24, 32, 32, 8192, 130_000),
}


def checkpoint(name: str, folder: Path) -> Path:
    """The folder of the checkpoint `name` in `folder`, made if it is not there."""
    place = folder / name
    if not (place / "config.json").is_file():
        place.mkdir(parents=True, exist_ok=True)
        _write_weights(SHAPES[name], place / "model.safetensors")
        for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            shutil.copy(shipped("checkpoints") / "tiny" / file, place)
        config = json.dumps(SHAPES[name].config(), indent=2)
        (place / "config.json").write_text(config, encoding="utf-8")
    return place


def gguf(place: Path, kind: str) -> Path:
    """The checkpoint in `place` as GGUF: `F16`, or `Q8_0` or `Q4_0` as llama.cpp makes them."""
    path = place / f"{kind}.gguf"
    if not path.is_file():
        beside = path.with_suffix(".partial")
        if kind == "F16":
            _write_gguf(place, beside)
        else:
            _quantize(gguf(place, "F16"), beside, kind)
        beside.replace(path)
    return path


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    queries, keys = shape.heads * HEAD_SIZE, shape.groups * HEAD_SIZE
    yield "model.embed_tokens.weight", (VOCABULARY, shape.hidden)
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (shape.hidden,)
        yield prefix + "self_attn.q_proj.weight", (queries, shape.hidden)
        yield prefix + "self_attn.k_proj.weight", (keys, shape.hidden)
        yield prefix + "self_attn.v_proj.weight", (keys, shape.hidden)
        yield prefix + "self_attn.o_proj.weight", (shape.hidden, queries)
        yield prefix + "post_attention_layernorm.weight", (shape.hidden,)
        yield prefix + "mlp.gate_proj.weight", (shape.inner, shape.hidden)
        yield prefix + "mlp.up_proj.weight", (shape.inner, shape.hidden)
        yield prefix + "mlp.down_proj.weight", (shape.hidden, shape.inner)
    yield "model.norm.weight", (shape.hidden,)


def _write_weights(shape: Shape, path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    source = torch.Generator().manual_seed(0)
    weights = {}
    for name, size in _tensors(shape):
        if len(size) == 1:
            weights[name] = torch.ones(size, dtype=torch.bfloat16)
        else:
            drawn = torch.empty(size).normal_(0, 0.02, generator=source)
            weights[name] = drawn.to(torch.bfloat16)
    save_file(weights, path, {"format": "pt"})


GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _gguf_name(name: str) -> str:
    whole = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
    }
    if name in whole:
        return whole[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[rest.removesuffix('.weight')]}.weight"


def _write_gguf(place: Path, path: Path) -> None:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType
    from safetensors import safe_open

    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(path, "llama")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(HEAD_SIZE)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    _add_tokenizer(writer, place, config["vocab_size"])
    with safe_open(place / "model.safetensors", "pt") as file:
        for name in file.keys():  # noqa: SIM118
            tensor = file.get_tensor(name).float().numpy()
            heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
            for part, count in heads.items():
                if part in name:
                    tensor = _interleaved(tensor, config[count])
            is_matrix = tensor.ndim == 2
            writer.add_tensor(
                _gguf_name(name),
                tensor.astype(np.float16 if is_matrix else np.float32),
                raw_dtype=GGMLQuantizationType.F16 if is_matrix else GGMLQuantizationType.F32,
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _interleaved(weight: Any, heads: int) -> Any:
    """llama.cpp turns neighbouring numbers of a head, Hugging Face its halves."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _add_tokenizer(writer: Any, place: Path, size: int) -> None:
    described = json.loads((place / "tokenizer.json").read_text(encoding="utf-8"))
    control = {token["id"] for token in described["added_tokens"] if token["special"]}
    named = {index: token for token, index in described["model"]["vocab"].items()}
    named |= {token["id"]: token["content"] for token in described["added_tokens"]}
    merges = described["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([named.get(index, f"[unused{index}]") for index in range(size)])
    writer.add_token_types([3 if index in control else 1 for index in range(size)])
    writer.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def _quantize(source: Path, path: Path, kind: str) -> None:
    import llama_cpp

    types = {
        "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
        "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    }
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = types[kind]
    # It tells of every tensor; the callback must live as long as it may be called.
    _SILENCE.append(llama_cpp.llama_log_callback(lambda level, text, data: None))
    llama_cpp.llama_log_set(_SILENCE[-1], None)
    if llama_cpp.llama_model_quantize(str(source).encode(), str(path).encode(), params):
        raise RuntimeError(f"llama.cpp cannot quantize {source}")


_SILENCE: list[Any] = []
