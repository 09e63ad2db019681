"""The model as transformers computes it: any architecture, any device, slow and sure.

The oracle that faster models are tested against.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils import logging

from smolchat.engine.checkpoint import Checkpoint
from smolchat.engine.device import available_threads, choose_device, choose_dtype
from smolchat.engine.model import Logits
from smolchat.errors import CheckpointError, SmolchatError


class ReferenceModel:
    """A checkpoint run by transformers. Implements `Model`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
    ) -> None:
        """Loads the weights, from safetensors only. Raises CheckpointError or UsageError."""
        self.context_tokens = checkpoint.context_tokens
        torch.set_num_threads(threads or available_threads())
        self._model = _load_weights(checkpoint, choose_device(device), dtype)
        self.vocab_size = int(self._model.config.vocab_size)
        self.device = str(self._model.device)
        self.dtype = str(self._model.dtype).removeprefix("torch.")
        self._cache = DynamicCache()
        # transformers 5.24 renames the argument, in one architecture after the other.
        takes = inspect.signature(self._model.forward).parameters
        self._cache_argument = "cache" if "cache" in takes else "past_key_values"

    @property
    def weight_bytes(self) -> int:
        """What computing a token reads of the weights: of an embedding of its own but a row."""
        weights = {each.data_ptr(): each.nbytes for each in self._model.parameters()}
        embedding = self._model.get_input_embeddings().weight
        is_head = embedding.data_ptr() == self._model.get_output_embeddings().weight.data_ptr()
        return int(sum(weights.values()) - (0 if is_head else embedding.nbytes))

    @torch.inference_mode()
    def forward(self, ids: Sequence[int], start: int, last: int = 1) -> Logits:
        self.truncate(start)
        with _out_of_memory_reported():
            output = self._model(
                input_ids=torch.tensor([list(ids)], device=self._model.device),
                use_cache=True,
                logits_to_keep=last,
                **{self._cache_argument: self._cache},
            )
        logits: Logits = output.logits[0, -last:].float().cpu().numpy()
        return logits

    def truncate(self, length: int) -> None:
        if length == 0:
            self._cache = DynamicCache()
        # A forward that was broken off leaves layers of different lengths.
        for layer in self._cache.layers:
            if (surplus := layer.get_seq_length() - length) > 0:
                layer.crop(-surplus)


def _load_weights(checkpoint: Checkpoint, device: str, dtype: str) -> Any:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    stored = str(checkpoint.config.get("dtype") or checkpoint.config.get("torch_dtype"))
    with _bad_files_reported(checkpoint), _out_of_memory_reported():
        model, report = AutoModelForCausalLM.from_pretrained(
            checkpoint.folder,
            dtype=choose_dtype(dtype, device, stored, checkpoint.weight_bytes),
            device_map="auto" if device == "all" else None,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        _require_complete(report)
        return (model if device == "all" else model.to(device)).eval()


def _require_complete(report: dict[str, Any]) -> None:
    """transformers makes up at random what the files lack, and tells it only here."""
    for name, stored, expected in sorted(report["mismatched_keys"]):
        raise ValueError(f"{name} is {list(stored)}, by config.json it is {list(expected)}")
    for name in sorted(report["missing_keys"]):
        raise ValueError(f"{name} is missing")


@contextmanager
def _bad_files_reported(checkpoint: Checkpoint) -> Iterator[None]:
    try:
        yield
    except SmolchatError:
        raise
    except Exception as error:  # transformers and safetensors raise many kinds for bad files
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"cannot load the weights in {checkpoint.folder}: {reason}",
            "The files may be damaged or incomplete: fetch them again.",
        ) from error


@contextmanager
def _out_of_memory_reported() -> Iterator[None]:
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise SmolchatError(
            "out of memory", "Choose a smaller checkpoint, --dtype bfloat16 or --device cpu."
        ) from error
