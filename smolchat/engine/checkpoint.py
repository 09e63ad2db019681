"""Reads what a checkpoint folder says about itself. The weights stay on disk.

Knows Hugging Face file names; never imports torch, so that a tokenizer alone is quick to have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from smolchat.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder of weights, config and tokenizer."""

    folder: Path
    config: dict[str, Any]
    tokenizer: Tokenizer
    chat_template: str | None
    stop_ids: frozenset[int]
    """Every end id that the checkpoint names, and `<|im_end|>`."""

    @property
    def context_tokens(self) -> int:
        return int(self.config["max_position_embeddings"])

    @property
    def weight_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))


def open_checkpoint(folder: Path) -> Checkpoint:
    """Reads config and tokenizer of `folder`.

    The tokenizer is read from tokenizer.json itself: rebuilding it through transformers loses
    SmolLM2's digit splitting. Raises CheckpointError naming the file that is missing or damaged.
    """
    config = _read_json(folder / "config.json")
    tokenizer = _read_tokenizer(folder / "tokenizer.json")
    _require_sound(folder, config, tokenizer)
    return Checkpoint(
        folder=folder,
        config=config,
        tokenizer=tokenizer,
        chat_template=_chat_template(folder),
        stop_ids=_stop_ids(folder, config, tokenizer),
    )


def _require_sound(folder: Path, config: dict[str, Any], tokenizer: Tokenizer) -> None:
    context, ids = config.get("max_position_embeddings"), config.get("vocab_size")
    if not isinstance(context, int) or context < 1:
        raise _damaged(folder / "config.json", "max_position_embeddings is not a positive number")
    known = tokenizer.get_vocab_size()
    if isinstance(ids, int) and known > ids:
        raise _damaged(folder / "tokenizer.json", f"it has {known} tokens, the model {ids}")


def _chat_template(folder: Path) -> str | None:
    separate = folder / "chat_template.jinja"
    if separate.is_file():
        return _read_text(separate)
    template = _read_json(folder / "tokenizer_config.json", optional=True).get("chat_template")
    return template if isinstance(template, str) else None


def _stop_ids(folder: Path, config: dict[str, Any], tokenizer: Tokenizer) -> frozenset[int]:
    generation_config = _read_json(folder / "generation_config.json", optional=True)
    named = [config.get("eos_token_id"), generation_config.get("eos_token_id")]
    named.append(tokenizer.token_to_id("<|im_end|>"))
    flat = [entry if isinstance(entry, list) else [entry] for entry in named]
    return frozenset(token_id for ids in flat for token_id in ids if isinstance(token_id, int))


def _read_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise _missing(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise _damaged(path, str(error)) from error
    # The file may ask for either, for training in batches; a prompt must be whole.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read_json(path: Path, optional: bool = False) -> dict[str, Any]:
    if optional and not path.exists():
        return {}
    try:
        value = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(value, dict):
        raise _damaged(path, "not a JSON object")
    return value


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror}", "Check the folder's permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from error


def _missing(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.parent} is not a checkpoint: {path.name} is missing",
        "Name a folder in Hugging Face layout, or an alias such as 360m.",
    )


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged: {reason}", "Fetch the checkpoint again, e.g. smolchat pull 360m."
    )
