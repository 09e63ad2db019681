"""The commands that work on texts: `rewrite` and `summarize`."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smolchat.assembly import (
    STARTED,
    interrupt_calls,
    load,
    locate,
    locate_tokenizer,
    new_renderer,
    piped_text,
    print_prompt,
    user_turn,
)
from smolchat.errors import UsageError
from smolchat.messages import MessageAdded, TextDelta
from smolchat.options import Options, PromptOption, shared_options

if TYPE_CHECKING:
    from smolchat.settings import Settings


class Tone(str, Enum):
    """What a rewrite should sound like."""

    friendly = "friendly"
    professional = "professional"
    concise = "concise"


@shared_options
def rewrite(
    options: Options,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The message; else standard input.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="Read the message here.")
    ] = None,
    tone: Annotated[Tone | None, typer.Option(help="How it should sound.")] = None,
    show_prompt: PromptOption = False,
) -> None:
    """Rewrite a message in another tone."""
    from smolchat.inputs import read_file, told_of_waiting
    from smolchat.settings import resolve

    settings = resolve(options.given(), profile="rewrite")
    if tone is not None:
        settings = settings.reworded(_tone_phrases(tone))
    if text is not None and file is not None:
        raise UsageError("a text and --file exclude each other", "Give one of the two.")
    with told_of_waiting(settings["quiet"]):
        if text is None:
            text = read_file(file) if file else piped_text()
    _answer(text, settings, options, show_prompt)


@shared_options
def summarize(
    options: Options,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Files, or one text; else standard input."),
    ] = None,
    sentences: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=10, help="At most N sentences, 1 to 10.")
    ] = None,
    show_prompt: PromptOption = False,
) -> None:
    """Summarize files, a text or standard input."""
    from smolchat.inputs import read_sources, told_of_waiting
    from smolchat.settings import resolve

    settings = resolve(options.given(), profile="summarize")
    if sentences is not None:
        settings = settings.reworded({SENTENCE_LIMIT: _sentence_limit(sentences)})
    with told_of_waiting(settings["quiet"]):
        text = read_sources(files) if files else piped_text()
    _answer(text, settings, options, show_prompt)


FRIENDLY = "more friendly and approachable"
PROFESSIONAL = "more professional and approachable"
"""What the shipped rewrite prompts say about tone, the user's and the system's."""

SENTENCE_LIMIT = "up to three sentences"

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def _tone_phrases(tone: Tone) -> dict[str, str]:
    """The card's prompts are friendly as they stand."""
    if tone is Tone.friendly:
        return {FRIENDLY: FRIENDLY}
    return dict.fromkeys((FRIENDLY, PROFESSIONAL), f"more {tone.value}")


def _sentence_limit(count: int) -> str:
    return f"up to {NUMBERS[count - 1]} sentence{'' if count == 1 else 's'}"


def _answer(text: str, settings: Settings, options: Options, show_prompt: bool) -> None:
    from smolchat.chat import new_session
    from smolchat.outcome import Outcome

    renderer = new_renderer(settings)
    transcript = user_turn(text, settings)
    if show_prompt:
        folder = locate_tokenizer(settings["model"], renderer)
        print_prompt(transcript, settings, None, folder, options.json)
        return
    checkpoint = locate(settings["model"], renderer)
    with ExitStack() as waiting:
        waiting.enter_context(renderer.waiting("loading"))
        load_started = time.perf_counter()
        session = new_session(load(checkpoint, settings), settings)
        session.transcript = transcript
        outcome = Outcome(checkpoint.name, STARTED, time.perf_counter() - load_started)
        with interrupt_calls(session.cancel):
            for event in session.answer():
                waiting.close()
                outcome.record(event)
                if not options.json or not isinstance(event, (TextDelta, MessageAdded)):
                    renderer.show(event)
    if options.json:
        print(json.dumps(outcome.as_json(), ensure_ascii=False))
    raise typer.Exit(130 if outcome.finish_reason == "cancelled" else 0)
