"""What the generating commands put together: screen, checkpoint, engine, and what Ctrl-C does.

Everything is imported late, so that the commands start quickly.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smolchat.errors import SmolchatError, UsageError

if TYPE_CHECKING:
    from smolchat.catalog import Located
    from smolchat.chatml import ChatFormat
    from smolchat.loading import LoadedEngine
    from smolchat.messages import Message
    from smolchat.options import ResumeOptions
    from smolchat.outcome import Outcome
    from smolchat.settings import Settings
    from smolchat.store import Conversation, Recorder
    from smolchat.terminal.renderer import Renderer


STARTED = time.perf_counter()
"""When the command began, for the times that it reports."""


def new_renderer(settings: Settings) -> Renderer:
    """A renderer on the standard streams that does as `settings` say."""
    from smolchat.terminal.renderer import Renderer

    return Renderer(
        sys.stdout,
        sys.stderr,
        is_streaming=not settings["no_stream"],
        is_quiet=settings["quiet"],
        is_verbose=settings["verbose"],
        is_raw=settings["raw"],
    )


def locate(name: str | None, renderer: Renderer) -> Located:
    """The checkpoint to run; fetched first when it was named and is not on disk."""
    from smolchat.catalog import Located, choose

    choice = choose(name)
    if choice.path is None:
        return Located(choice.name, fetch(choice.name, renderer))
    if choice.reason == "embedded":
        renderer.notice(
            "this is the small embedded demonstration model; get a real one with: "
            "smolchat pull 360m"
        )
    return Located(choice.name, choice.path)


def locate_tokenizer(name: str | None, renderer: Renderer) -> Path:
    """The folder of a checkpoint whose weights may be missing."""
    from smolchat.catalog import choose, find_tokenizer

    name = name or choose(None).name
    return find_tokenizer(name) or fetch(name, renderer, with_weights=False)


def fetch(name: str, renderer: Renderer, with_weights: bool = True) -> Path:
    """Downloads a checkpoint under a progress bar; returns its folder."""
    from smolchat.hub import download

    with renderer.progress(f"fetching {name}") as progress:
        return download(name, progress, with_weights)


def known_models() -> list[str]:
    """What may follow --model."""
    from smolchat import catalog

    return [catalog.EMBEDDED, *catalog.FAMILY, *(found.name for found in catalog.installed())]


def load(checkpoint: Located, settings: Settings) -> LoadedEngine:
    """The engine for a checkpoint, as `settings` want it."""
    from smolchat.catalog import chosen_draft
    from smolchat.loading import load_engine

    return load_engine(
        checkpoint.folder,
        settings["device"],
        settings["dtype"],
        settings["threads"],
        settings["quantize"],
        chosen_draft(settings["draft"], checkpoint.name),
        notice=_unheard if settings["quiet"] else None,
    )


def quiet_load(settings: Settings) -> Callable[..., LoadedEngine]:
    """`load_engine`, whose notices nobody sees where the settings say so."""
    from functools import partial

    from smolchat.loading import load_engine

    return partial(load_engine, notice=_unheard) if settings["quiet"] else load_engine


def _unheard(text: str) -> None:
    """Takes notices when quiet was asked for."""


def new_recorder(
    settings: Settings, kind: str, conversation: Conversation | None = None
) -> Recorder:
    """What keeps a command's turns, in `conversation` if given, unless that is switched off."""
    from smolchat.paths import conversations_path
    from smolchat.store import Recorder

    recorder = Recorder(conversations_path(), kind, is_on=not settings["no_history"])
    if conversation is not None:
        recorder.resume(conversation)
    return recorder


def conversation_to_resume(resume: ResumeOptions) -> Conversation | None:
    """The conversation that the options name. Raises StoreError when it is not there."""
    from smolchat.paths import conversations_path
    from smolchat.store import Recorder

    if resume.is_continued and resume.resume is not None:
        raise UsageError("--continue and --resume exclude each other", "Give one of the two.")
    if not resume.is_continued and resume.resume is None:
        return None
    return Recorder(conversations_path(), "").read(resume.resume)


def continued_settings(conversation: Conversation | None) -> dict[str, Any]:
    """The settings that a conversation brings along, as far as they are still to be had."""
    from smolchat.catalog import find
    from smolchat.profiles import profile_paths

    if conversation is None or not conversation.turns:
        return {}
    last = conversation.turns[-1].settings
    try:
        is_here = find(last.checkpoint) is not None
    except SmolchatError:
        is_here = False
    brought = {
        "model": last.checkpoint if is_here else None,
        "profile": last.profile if last.profile in profile_paths() else None,
        "system": last.system,
    }
    return {name: value for name, value in brought.items() if value is not None}


def print_prompt(sent: list[Message], chat_format: ChatFormat, as_json: bool) -> None:
    """Prints what would be sent, the system message included."""
    text = chat_format.prompt_text(sent)
    if as_json:
        ids = chat_format.prompt_ids(sent)
        print(json.dumps({"prompt": text, "prompt_ids": ids}, ensure_ascii=False))
    else:
        print(text, end="")


def piped_text(is_document: bool = False) -> str:
    """Standard input. Raises UsageError where a person sits there, who was to give a text.

    A document is also refused in formats that have to be converted first.
    """
    from smolchat.inputs import has_piped_stdin, read_document, read_stdin

    if not has_piped_stdin():
        raise UsageError("there is no text", "Give it as an argument or on standard input.")
    return read_document(Path("-")) if is_document else read_stdin()


def user_turn(text: str, settings: Settings) -> list[Message]:
    """A transcript that asks `text` in the profile's words. Raises UsageError for no text."""
    from smolchat.inputs import require_text
    from smolchat.messages import Message

    return [Message("user", settings.profile.user_text(require_text(text)))]


def bound_to_schema(transcript: list[Message], schema: dict[str, Any]) -> tuple[list[Message], str]:
    """The last message with the schema described in it, and the grammar of the answer."""
    from dataclasses import replace

    from smolchat.grammar_text import schema_grammar

    *before, question = transcript
    described = f"Answer with JSON that satisfies this schema:\n{json.dumps(schema)}"
    question = replace(question, content=f"{question.content}\n\n{described}")
    return [*before, question], schema_grammar(schema)


def mismatch(schema: dict[str, Any] | None, outcome: Outcome) -> str:
    """Why an answer does not satisfy the schema; empty where it does, or was interrupted."""
    from smolchat.json_schema import complaint

    if schema is None or outcome.finish_reason == "cancelled":
        return ""
    if outcome.finish_reason == "length":
        return "the answer was cut"
    return complaint(schema, outcome.text)


@contextmanager
def interrupt_calls(cancel: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C calls `cancel`, to end the reply in good order; a second one ends all."""

    def interrupted(signum: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        cancel()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
