"""A checkpoint folder to the objects that run it. The engine is imported when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smolchat.chatml import ChatFormat, default_system
from smolchat.generation import TokenGenerator

if TYPE_CHECKING:
    from smolchat.engine.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """A checkpoint ready to answer."""

    generator: TokenGenerator
    chat_format: ChatFormat
    stop_ids: frozenset[int]
    device: str
    dtype: str


def load_chat_format(folder: Path) -> tuple[Checkpoint, ChatFormat]:
    """Tokenizer and template only: quick, and no weights are needed. Raises CheckpointError."""
    from smolchat.engine.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(folder)
    return checkpoint, ChatFormat(checkpoint.tokenizer, default_system(checkpoint.chat_template))


def load_engine(
    folder: Path, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> LoadedEngine:
    """Raises CheckpointError for a bad folder and UsageError for a device that is not there."""
    checkpoint, chat_format = load_chat_format(folder)

    from smolchat.engine.engine import Engine
    from smolchat.engine.reference import ReferenceModel

    model = ReferenceModel(checkpoint, device, dtype, threads)
    return LoadedEngine(Engine(model), chat_format, checkpoint.stop_ids, model.device, model.dtype)
