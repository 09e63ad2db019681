"""A checkpoint folder to the objects that run it. The engine is imported when it is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from smolchat.catalog import find
from smolchat.chatml import ChatFormat, default_system
from smolchat.errors import CheckpointError, UsageError
from smolchat.generation import TokenGenerator

if TYPE_CHECKING:
    from smolchat.engine.checkpoint import Checkpoint
    from smolchat.engine.cpu import CpuModel
    from smolchat.engine.prefix_store import PrefixStore
    from smolchat.engine.reference import ReferenceModel

Notice = Callable[[str], None]
"""Takes one line that the user should know."""


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """A checkpoint ready to answer."""

    generator: TokenGenerator
    chat_format: ChatFormat
    stop_ids: frozenset[int]
    device: str
    dtype: str

    @property
    def place(self) -> str:
        """Where the checkpoint runs and in which precision, in words for the user."""
        return f"{self.device}, {self.dtype}"


def load_chat_format(folder: Path) -> tuple[Checkpoint, ChatFormat]:
    """Tokenizer and template only: quick, and no weights are needed. Raises CheckpointError."""
    from smolchat.engine.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(folder)
    return checkpoint, ChatFormat(checkpoint.tokenizer, default_system(checkpoint.chat_template))


def load_engine(
    name: Path | str,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    quantize: str = "auto",
    draft: Path | str | None = None,
    notice: Notice | None = None,
) -> LoadedEngine:
    """Loads a checkpoint from disk: an alias, a Hub id or a folder.

    `draft` is a smaller one with the same tokens, which guesses ahead.
    `notice` is told what takes long or cannot be done as usual; by default that goes to standard
    error. Raises CheckpointError when the checkpoint is damaged or not there, UsageError for an
    absent device, a quantisation that it cannot have or a draft of another vocabulary.
    """
    checkpoint, chat_format = load_chat_format(_on_disk(name))

    from smolchat.engine.engine import Engine
    from smolchat.engine.grammar import GrammarCompiler

    def open_model(checkpoint: Checkpoint) -> CpuModel | ReferenceModel:
        return _open_model(checkpoint, device, dtype, threads, quantize, notice or _say)

    draft_model = None if draft is None else open_model(_open_draft(draft, checkpoint))
    model = open_model(checkpoint)
    compile_grammar = GrammarCompiler(checkpoint.tokenizer).compile
    engine = Engine(model, compile_grammar, draft_model, store=_store_for(model, checkpoint))
    return LoadedEngine(engine, chat_format, checkpoint.stop_ids, model.device, model.dtype)


def _store_for(model: CpuModel | ReferenceModel, checkpoint: Checkpoint) -> PrefixStore | None:
    """Where system prompts are kept for the next process, if the model can take them back."""
    from smolchat.engine.prefix_store import PrefixStore, identity_of
    from smolchat.paths import prefix_dir

    if not hasattr(model, "restore"):
        return None
    return PrefixStore(prefix_dir(), identity_of(checkpoint, model.dtype))


def alongside(engine: LoadedEngine, count: int) -> list[LoadedEngine]:
    """Engines on the same weights for up to `count` threads, or just this one.

    They answer alike, and together faster than one after the other, where a step for several
    sequences reads the weights once: on the compiled kernels. The engine itself rests meanwhile.
    """
    from smolchat.engine.cpu import CpuModel
    from smolchat.engine.engine import Engine

    if not isinstance(engine.generator, Engine) or not isinstance(engine.generator.model, CpuModel):
        return [engine]
    from smolchat.engine.together import Together

    sequences = Together(engine.generator.model, count).sequences
    return [replace(engine, generator=engine.generator.on(each)) for each in sequences]


def _on_disk(name: Path | str) -> Path:
    folder = find(str(name))
    if folder is None:
        raise CheckpointError(f"{name} is not on disk", f"Fetch it: smolchat pull {name}")
    return folder


def _open_draft(name: Path | str, checkpoint: Checkpoint) -> Checkpoint:
    from smolchat.engine.checkpoint import open_checkpoint

    draft = open_checkpoint(_on_disk(name))
    if draft.tokenizer.get_vocab() != checkpoint.tokenizer.get_vocab():
        raise UsageError(
            f"{name} cannot draft here: its tokens are not those of the checkpoint",
            "SmolLM2 checkpoints draft for each other: --draft 135m.",
        )
    return draft


def _open_model(
    checkpoint: Checkpoint,
    device: str,
    dtype: str,
    threads: int | None,
    quantize: str,
    notice: Notice,
) -> CpuModel | ReferenceModel:
    """The kernels for a Llama on a CPU, transformers for all else.

    A number format that was asked for is not quantised unless that was asked for too.
    """
    from smolchat.engine.cpu import CpuModel, can_run
    from smolchat.engine.device import choose_device

    device = choose_device(device)
    if device == "cpu" and dtype != "float16" and can_run(checkpoint):
        wish = ("int8" if dtype == "auto" else "none") if quantize == "auto" else quantize
        try:
            return CpuModel(checkpoint, wish, threads, notice)
        except ImportError as error:
            notice(f"running slowly, by transformers: Numba cannot be used ({error})")
    if quantize in ("int8", "int4"):
        raise UsageError(
            f"--quantize {quantize} is for SmolLM2 and other plain Llamas on a CPU",
            "Use --quantize auto or none here.",
        )
    from smolchat.engine.reference import ReferenceModel

    return ReferenceModel(checkpoint, device, dtype, threads)


def _say(text: str) -> None:
    print(f"smolchat: {text}", file=sys.stderr)
