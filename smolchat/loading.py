"""A checkpoint folder to the objects that run it. The engine is imported when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smolchat.catalog import find
from smolchat.chatml import ChatFormat, default_system
from smolchat.errors import CheckpointError
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
    name: Path | str, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> LoadedEngine:
    """Loads a checkpoint from disk: an alias, a Hub id or a folder.

    Raises CheckpointError when it is damaged or not there, UsageError for an absent device.
    """
    folder = find(str(name))
    if folder is None:
        raise CheckpointError(f"{name} is not on disk", f"Fetch it: smolchat pull {name}")
    checkpoint, chat_format = load_chat_format(folder)

    from smolchat.engine.engine import Engine
    from smolchat.engine.grammar import GrammarCompiler
    from smolchat.engine.reference import ReferenceModel

    model = ReferenceModel(checkpoint, device, dtype, threads)
    engine = Engine(model, GrammarCompiler(checkpoint.tokenizer).compile)
    return LoadedEngine(engine, chat_format, checkpoint.stop_ids, model.device, model.dtype)
