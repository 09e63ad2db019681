"""The commands that work on texts: `rewrite` and `summarize`."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from smolchat.assembly import (
    STARTED,
    interrupt_calls,
    load,
    locate,
    locate_tokenizer,
    new_recorder,
    new_renderer,
    piped_text,
    print_prompt,
)
from smolchat.difference import changes
from smolchat.errors import UsageError
from smolchat.messages import MessageAdded, TextDelta
from smolchat.options import Options, PromptOption, shared_options

if TYPE_CHECKING:
    from smolchat.difference import Change
    from smolchat.documents import Coverage
    from smolchat.loading import LoadedEngine
    from smolchat.outcome import Outcome
    from smolchat.settings import Settings
    from smolchat.terminal.renderer import Renderer
    from smolchat.writing import Writer


class Tone(str, Enum):
    """What a rewrite should sound like."""

    friendly = "friendly"
    professional = "professional"
    concise = "concise"


EachOption = Annotated[bool, typer.Option("--each", help="One result per file.")]


@shared_options
def rewrite(
    options: Options,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The message; else standard input.")
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(
            "-f", "--file", metavar="FILE", help="Read the message here; may be given again."
        ),
    ] = None,
    tone: Annotated[Tone | None, typer.Option(help="How it should sound.")] = None,
    each: EachOption = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what changed, word by word.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when numbers, dates or links get lost.")
    ] = False,
    show_prompt: PromptOption = False,
) -> None:
    """Rewrite a message in another tone."""
    from smolchat.inputs import require_text
    from smolchat.settings import resolve

    settings = resolve(options.given(), profile="rewrite")
    if tone is not None:
        settings = settings.reworded(_tone_phrases(tone))
    if text is not None and file is not None:
        raise UsageError("a text and --file exclude each other", "Give one of the two.")
    texts = _documents(file, settings, each) if text is None else {"": require_text(text)}
    _work(texts, "rewrite", settings, options, show_prompt, shows_diff=diff, is_strict=strict)


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
    each: EachOption = False,
    show_prompt: PromptOption = False,
) -> None:
    """Summarize files, a text or standard input."""
    from smolchat.settings import resolve

    settings = resolve(options.given(), profile="summarize")
    if sentences is not None:
        settings = settings.reworded({SENTENCE_LIMIT: _sentence_limit(sentences)})
    texts = _documents(files, settings, each, may_be_text=True)
    _work(texts, "summarize", settings, options, show_prompt)


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


def _documents(
    sources: list[str] | None, settings: Settings, each: bool, may_be_text: bool = False
) -> dict[str, str]:
    """The texts to work on by the name of their file: with `each` apart, else as one."""
    from smolchat.inputs import read_documents, require_text, told_of_waiting

    with told_of_waiting(settings["quiet"]):
        if not sources:
            return {"": require_text(piped_text(is_document=True))}
        texts = read_documents(sources, may_be_text)
    if each:
        return {name: require_text(text) for name, text in texts.items()}
    return {"": require_text("\n\n".join(texts.values()))}


Task = Literal["rewrite", "summarize"]


def _work(
    texts: dict[str, str],
    task: Task,
    settings: Settings,
    options: Options,
    show_prompt: bool,
    shows_diff: bool = False,
    is_strict: bool = False,
) -> None:
    """Prints the result for each text, or the prompts that would be sent."""
    from smolchat.outcome import Outcome

    renderer = new_renderer(settings)
    if show_prompt:
        _print_prompts(texts, task, settings, renderer, options.json)
        return
    checkpoint = locate(settings["model"], renderer)
    load_started = time.perf_counter()
    with renderer.waiting("loading"):
        engine = load(checkpoint, settings)
    load_seconds = time.perf_counter() - load_started
    code = 0
    for number, (name, text) in enumerate(texts.items()):
        if len(texts) > 1 and not options.json:
            renderer.write("\n\n" * (number > 0) + f"==> {name} <==\n")
        outcome = Outcome(checkpoint.name, STARTED, load_seconds)
        is_held = options.json or shows_diff
        writer = _write(text, task, engine, settings, renderer, outcome, is_held)
        compared = changes(text, outcome.text) if shows_diff else None
        if options.json:
            _print_report(name, outcome, writer, compared)
        elif compared is not None:
            renderer.changes(compared)
        _tell_coverage(writer.coverage, renderer)
        code = max(code, _exit_code(outcome, writer, is_strict))
        if code == 130:
            break
    raise typer.Exit(code)


def _write(
    text: str,
    task: Task,
    engine: LoadedEngine,
    settings: Settings,
    renderer: Renderer,
    outcome: Outcome,
    is_held: bool,
) -> Writer:
    """Works on one text; shows the result as it comes unless `is_held`."""
    from smolchat.chat import new_session, turn_settings
    from smolchat.messages import Message
    from smolchat.writing import Writer

    with ExitStack() as waiting, renderer.steps(task) as progress:
        waiting.enter_context(renderer.waiting("working"))

        def report(done: int, total: int) -> None:
            waiting.close()
            progress(done, total)

        session = new_session(engine, settings)
        writer = Writer(session, settings.profile.user_text, report)
        events = writer.rewrite(text) if task == "rewrite" else writer.summarize(text)
        recorder = new_recorder(settings, task)
        made_with = turn_settings(session, settings, outcome.model, engine.place)
        asked = Message("user", settings.profile.user_text(text))
        with interrupt_calls(writer.cancel):
            recorder.begin(made_with, text, [asked])
            for event in recorder.follow(events):
                waiting.close()
                outcome.record(event)
                if not (is_held and isinstance(event, (TextDelta, MessageAdded))):
                    renderer.show(event)
    return writer


def _print_report(
    name: str, outcome: Outcome, writer: Writer, compared: list[Change] | None
) -> None:
    report: dict[str, Any] = {"file": name} if name else {}
    report |= outcome.as_json()
    report |= {
        "coverage": writer.coverage.as_json(),
        "missing": writer.missing,
        "invented": writer.invented,
    }
    if compared is not None:
        report["changes"] = [[change.kind, change.text] for change in compared]
    print(json.dumps(report, ensure_ascii=False))


def _tell_coverage(coverage: Coverage, renderer: Renderer) -> None:
    counts = f"{coverage.parts_done} of {coverage.parts} parts done"
    tokens = f"{coverage.skipped_tokens} of {coverage.source_tokens} tokens skipped"
    if renderer.is_verbose:
        renderer.detail(f"coverage {coverage.share:.3f} · {counts} · {tokens}")
    elif not coverage.is_complete:
        renderer.notice(f"the result is not of the whole text: {counts}, {tokens}")


def _exit_code(outcome: Outcome, writer: Writer, is_strict: bool) -> int:
    if outcome.finish_reason == "cancelled":
        return 130
    return int(not writer.coverage.is_complete or (is_strict and bool(writer.missing)))


def _print_prompts(
    texts: dict[str, str], task: Task, settings: Settings, renderer: Renderer, as_json: bool
) -> None:
    """What would be sent first: for each text all parts, without later summaries of summaries."""
    from smolchat.loading import load_chat_format
    from smolchat.writing import Frame

    checkpoint, chat_format = load_chat_format(locate_tokenizer(settings["model"], renderer))
    frame = Frame(
        chat_format,
        checkpoint.context_tokens,
        settings["max_new_tokens"],
        settings["system"],
        settings.profile.user_text,
    )
    for text in texts.values():
        parts = frame.rewritable(text) if task == "rewrite" else frame.summarizable(text)
        for part in parts:
            print_prompt(frame.transcript(part.text), chat_format, as_json)
