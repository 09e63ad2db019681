"""The commands. The one place where objects are put together; the engine is loaded late."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from smolchat import __version__
from smolchat.assembly import (
    STARTED,
    bound_to_schema,
    continued_settings,
    conversation_to_resume,
    fetch,
    interrupt_calls,
    known_models,
    load,
    locate,
    locate_tokenizer,
    mismatch,
    new_recorder,
    new_renderer,
    piped_text,
    print_prompt,
    quiet_load,
    user_turn,
)
from smolchat.bench_command import bench
from smolchat.document_commands import rewrite, summarize
from smolchat.errors import SchemaMismatch, SmolchatError, UsageError, did_you_mean
from smolchat.history_commands import history_app
from smolchat.messages import MessageAdded, TextDelta
from smolchat.options import (
    Options,
    PromptOption,
    ResumeOptions,
    ToolOptions,
    complete_model,
    complete_profile,
    shared_options,
)
from smolchat.tool_commands import chosen_tools, offered_schemas, tools_app

if TYPE_CHECKING:
    from smolchat.messages import Message
    from smolchat.outcome import Outcome
    from smolchat.session import ToolUse
    from smolchat.settings import Settings
    from smolchat.store import Conversation
    from smolchat.terminal.renderer import Renderer
    from smolchat.toolbox import Approver

ANSWER_EVENTS = (TextDelta, MessageAdded)
"""What is not shown as it comes when the whole turn is printed as JSON."""


class _Commands(TyperGroup):
    """Without a command it chats."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {"--help", "--version", "--install-completion", "--show-completion"}
        is_option = bool(args) and args[0].startswith("-") and args[0] not in own
        # Completing the first word parses an empty line too: there every command is offered.
        if is_option or (not args and not ctx.resilient_parsing):
            args = ["chat", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, names = args[0], self.list_commands(ctx)
        if name not in names and not ctx.resilient_parsing:
            shown = name if len(name) <= 60 else f"{name[:60]}…"
            raise UsageError(
                f"there is no command {shown!r}{did_you_mean(name, names)}",
                f"To ask the model: smolchat run {shlex.quote(shown)}",
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _failures_told():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    help="SmolLM2 in your terminal: chat, pipelines, rewriting, summaries. Offline and private.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
profiles_app = typer.Typer(help="List and show the profiles.", rich_markup_mode=None)
app.add_typer(profiles_app, name="profiles")
app.add_typer(tools_app, name="tools")
app.add_typer(history_app, name="history")


def main() -> None:
    """The entry point of the `smolchat` command."""
    with _failures_told():
        _prepare_streams()
        app()


def _prepare_streams() -> None:
    """UTF-8, whatever the locale. Raises SmolchatError when standard output is closed."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.stderr = sys.stderr or io.StringIO()
    if sys.stdout is None:
        raise SmolchatError("standard output is closed", "Send it to a file or /dev/null.")


@contextmanager
def _failures_told() -> Iterator[None]:
    """Ends the program after any failure with at most two lines and an exit code."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except SmolchatError as error:
        _print_problem(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _discard_output()
        sys.exit(0)
    except OSError as error:
        _discard_output()
        what = error.filename or "the output"
        _print_problem(SmolchatError(f"cannot use {what}: {error.strerror or error}"))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"smolchat {__version__}")
        raise typer.Exit()


@app.callback()
def smolchat(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


@app.command()
@shared_options
def chat(options: Options, tool_options: ToolOptions, resume_options: ResumeOptions) -> None:
    """Chat in the terminal (the default command)."""
    from smolchat.inputs import NO_TERMINAL

    if sys.stdin is None or not sys.stdout.isatty():
        raise UsageError(*NO_TERMINAL)
    if options.json:
        raise UsageError("chat does not print JSON", "Use smolchat run --json.")
    from smolchat.chat import Chat
    from smolchat.inputs import has_piped_stdin, take_piped_stdin, told_of_waiting
    from smolchat.paths import data_dir
    from smolchat.settings import resolve
    from smolchat.terminal.repl import Repl

    conversation = conversation_to_resume(resume_options)
    settings = resolve(options.given(), continued=continued_settings(conversation))
    renderer = new_renderer(settings)
    with told_of_waiting(settings["quiet"]):
        first_message = take_piped_stdin() if has_piped_stdin() else ""
    with ExitStack() as stack:
        talk = Chat(
            settings,
            locate(settings["model"], renderer),
            locate=lambda name: locate(name, renderer),
            load=quiet_load(settings),
            tool_use=_tool_use(tool_options, settings, renderer, stack),
            recorder=new_recorder(settings, "chat", conversation),
        )
        if conversation is not None:
            talk.reopen(conversation)
        repl = Repl(talk, renderer, data_dir() / "input_history", known_models)
        raise typer.Exit(repl.run(first_message))


@app.command()
@shared_options
def run(
    options: Options,
    tool_options: ToolOptions,
    resume_options: ResumeOptions,
    text: Annotated[str | None, typer.Argument(metavar="PROMPT", help="The prompt.")] = None,
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", metavar="TEXT", help="The prompt.")
    ] = None,
    messages: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON list of role/content messages to answer."),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(metavar="FILE|JSON", help="Answer with JSON that satisfies this schema."),
    ] = None,
    tool_schemas: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Offer these functions; print the calls, run none."),
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Answer the prompt of every line: prompt, system, settings."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --jsonl: write here, and go on where it stops."),
    ] = None,
    show_prompt: PromptOption = False,
) -> None:
    """Answer one prompt: an argument, standard input or both."""
    from smolchat.inputs import read_messages, told_of_waiting
    from smolchat.settings import resolve

    conversation = conversation_to_resume(resume_options)
    settings = resolve(options.given(), continued=continued_settings(conversation))
    if jsonl is not None:
        if conversation is not None:
            raise UsageError("--jsonl excludes -c and --resume", "Its prompts stand alone.")
        if text is not None or prompt is not None or messages or tool_schemas or show_prompt:
            raise UsageError(
                "--jsonl excludes a prompt, --messages, --tool-schemas and --show-prompt",
                "The prompts stand in the file.",
            )
        _answer_lines(jsonl, output, settings, options, tool_options, schema)
    if output is not None:
        raise UsageError("--output needs --jsonl", "One answer can be sent to a file with >.")
    if messages and not (text is None and prompt is None):
        raise UsageError("--messages and a prompt exclude each other", "Give one of the two.")
    if messages and conversation:
        raise UsageError("--messages is a conversation already", "Leave out -c and --resume.")
    with told_of_waiting(settings["quiet"]):
        if messages:
            transcript = read_messages(messages)
            if options.system is not None and transcript[0].role == "system":
                raise UsageError(
                    f"{messages} has a system message, and so has --system", "Give one of the two."
                )
        else:
            transcript = user_turn(_prompt_of(text, prompt), settings)
    with ExitStack() as stack:
        tools = _tool_use(tool_options, settings, new_renderer(settings), stack, tool_schemas)
        if schema is not None and tools is not None:
            raise UsageError("--schema and tools exclude each other", "Give one of the two.")
        _answer(transcript, settings, options, show_prompt, tools, schema, conversation)


app.command()(rewrite)
app.command()(summarize)
app.command()(bench)


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    remove_packed: Annotated[
        bool, typer.Option("--remove-packed", help="Remove packed weights and prefixes.")
    ] = False,
) -> None:
    """List the checkpoints on disk and to fetch."""
    from smolchat import catalog

    if remove_packed:
        print(f"{catalog.remove_packed() / 1e6:.1f} MB of packed weights and prefixes removed")
        return
    found = catalog.installed()
    if as_json:
        rows = [{"name": each.name, "bytes": each.bytes, "path": str(each.path)} for each in found]
        print(json.dumps(rows, indent=2))
        return
    for checkpoint in found:
        print(f"{checkpoint.name:<42} {checkpoint.bytes / 1e6:>8.1f} MB  {checkpoint.path}")
    names = {checkpoint.name for checkpoint in found}
    for alias, name in catalog.FAMILY.items():
        if name not in names:
            print(f"{name:<42} not here      smolchat pull {alias}")
    for each in catalog.packed():
        label = f"packed as {each.format}, for the CPU"
        print(f"{label:<42} {each.bytes / 1e6:>8.1f} MB  {each.source}")


@app.command()
def pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="135m, 360m, 1.7b, or a Hub id.", autocompletion=complete_model
        ),
    ],
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar.")] = False,
) -> None:
    """Fetch a checkpoint, or go on fetching it."""
    from smolchat.terminal.renderer import Renderer

    print(fetch(name, Renderer(sys.stdout, sys.stderr, is_quiet=quiet)))


@profiles_app.command("list")
def list_profiles() -> None:
    """List the profiles; the user's own are marked with a star."""
    from smolchat.errors import ProfileError
    from smolchat.paths import shipped
    from smolchat.profiles import load_profile, profile_paths

    for name, path in profile_paths().items():
        try:
            description = load_profile(name).description
        except ProfileError as error:
            description = f"cannot be used: {error.message}"
        mark = " " if path.parent == shipped("profiles") else "*"
        print(f"{mark} {name:<14} {description}")


@profiles_app.command("show")
def show_profile(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The profile's name.", autocompletion=complete_profile),
    ],
) -> None:
    """Print a profile's file."""
    from smolchat.profiles import load_profile, profile_paths

    load_profile(name)
    path = profile_paths()[name]
    print(f"# {path}")
    print(path.read_text(encoding="utf-8"), end="")


@app.command()
@shared_options
def doctor(options: Options) -> None:
    """Show versions, devices, folders and settings."""
    from smolchat.doctor import examine
    from smolchat.settings import resolve

    settings: Settings | SmolchatError
    try:
        settings = resolve(options.given())
    except SmolchatError as error:
        settings = error
    report = examine(settings)
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for title, rows in report.items():
        print(title)
        for name, value in rows.items():
            print(f"  {name:<20} {value}")
    if isinstance(settings, SmolchatError):
        raise settings


def _prompt_of(text: str | None, prompt: str | None) -> str:
    """The argument or --prompt, then a blank line, then standard input, as far as given."""
    from smolchat.inputs import has_piped_stdin, read_stdin

    if text is not None and prompt is not None:
        raise UsageError("the prompt is given twice", "Use the argument or --prompt.")
    given = prompt if text is None else text
    if given is None:
        return piped_text()
    piped = read_stdin() if has_piped_stdin() else ""
    return "\n\n".join(part for part in (given, piped) if part)


def _answer(
    transcript: list[Message],
    settings: Settings,
    options: Options,
    show_prompt: bool,
    tools: ToolUse | None = None,
    schema: str | None = None,
    conversation: Conversation | None = None,
) -> None:
    """Answers messages on standard output, or shows the prompt that would be sent.

    With a `conversation` they are its next ones.
    """
    from smolchat.chat import new_session, turn_settings
    from smolchat.inputs import read_schema
    from smolchat.loading import load_chat_format
    from smolchat.outcome import Outcome
    from smolchat.session import with_system

    renderer = new_renderer(settings)
    grammar = None
    wanted = None if schema is None else read_schema(schema)
    if wanted is not None:
        renderer.is_raw = True
        transcript, grammar = bound_to_schema(transcript, wanted)
    if show_prompt:
        folder = locate_tokenizer(settings["model"], renderer)
        before = conversation.transcript("") if conversation else []
        sent = with_system([*before, *transcript], settings["system"], tools)
        print_prompt(sent, load_chat_format(folder)[1], options.json)
        return
    checkpoint = locate(settings["model"], renderer)
    recorder = new_recorder(settings, "run", conversation)
    prints_reply = not options.json and (tools is None or tools.runs_calls)
    with ExitStack() as waiting:
        waiting.enter_context(renderer.waiting("loading"))
        load_started = time.perf_counter()
        engine = load(checkpoint, settings)
        session = new_session(engine, settings, tools, grammar)
        before = conversation.transcript(checkpoint.name) if conversation else []
        session.transcript = [*before, *transcript]
        made_with = turn_settings(session, settings, checkpoint.name, engine.place)
        outcome = Outcome(checkpoint.name, STARTED, time.perf_counter() - load_started)
        with interrupt_calls(session.cancel):
            recorder.begin(made_with, transcript[-1].content, transcript)
            for event in recorder.follow(session.answer()):
                waiting.close()
                outcome.record(event)
                if prints_reply or not isinstance(event, ANSWER_EVENTS):
                    renderer.show(event)
    if tools is not None and not tools.runs_calls:
        _print_calls(outcome, tools, renderer, options.json)
    elif options.json:
        print(json.dumps(outcome.as_json(), ensure_ascii=False))
    if problem := mismatch(wanted, outcome):
        raise SchemaMismatch(problem, _MISMATCH_HINT)
    raise typer.Exit(_exit_code(outcome, tools))


def _answer_lines(
    path: Path,
    output: Path | None,
    settings: Settings,
    options: Options,
    tool_options: ToolOptions,
    schema: str | None,
) -> NoReturn:
    from smolchat.batch_command import Batch

    renderer = new_renderer(settings)
    with ExitStack() as stack:
        tools = _tool_use(tool_options, settings, renderer, stack)
        if schema is not None and tools is not None:
            raise UsageError("--schema and tools exclude each other", "Give one of the two.")
        raise typer.Exit(Batch(options, settings, renderer, tools, schema).run(path, output))


_NO_CALLS_HINT = "Allow more tokens with --max-new-tokens, and do without --free."
_MISMATCH_HINT = "Allow more tokens with --max-new-tokens, or ask for less."


def _exit_code(outcome: Outcome, tools: ToolUse | None) -> int:
    if outcome.finish_reason == "cancelled":
        return 130
    is_answer_due = tools is not None and tools.runs_calls
    return 5 if is_answer_due and not outcome.text.strip() else 0


def _print_calls(outcome: Outcome, tools: ToolUse, renderer: Renderer, as_json: bool) -> None:
    """The calls of the reply as a JSON list, with arguments as their schemas want them."""
    from smolchat.messages import ToolResult
    from smolchat.toolbox import changes

    if outcome.unread:
        raise SchemaMismatch(outcome.unread, _NO_CALLS_HINT)
    calls = []
    for wished in outcome.wished_calls:
        checked = tools.toolbox.check(wished)
        if isinstance(checked, ToolResult):
            raise SchemaMismatch(checked.content, "Without --free every call is valid.")
        changed = changes(wished.arguments, checked.arguments)
        for change in changed:
            renderer.notice(f"{checked.name}: {change}")
        calls.append({"name": checked.name, "arguments": checked.arguments})
        outcome.tool_calls.append({**calls[-1], "changes": changed})
    if outcome.text and not as_json:
        renderer.notice(outcome.text)
    if not calls and tools.choice != "auto" and outcome.finish_reason != "cancelled":
        raise SchemaMismatch("the reply makes no call", _NO_CALLS_HINT)
    print(json.dumps(outcome.as_json() if as_json else calls, ensure_ascii=False))


def _tool_use(
    options: ToolOptions,
    settings: Settings,
    renderer: Renderer,
    stack: ExitStack,
    schemas: Path | None = None,
) -> ToolUse | None:
    """What the options and the profile offer; `stack` ends the process that runs it."""
    from smolchat.session import ToolUse
    from smolchat.toolbox import Toolbox

    files = options.tool_file or []
    names = options.tool or ([] if files else settings.profile.tools)
    if schemas is not None and (names or files):
        raise UsageError("--tool-schemas and tools exclude each other", "Give one of the two.")
    tools = offered_schemas(schemas) if schemas else chosen_tools(names, files)
    if options.tool_choice == "none":
        if schemas:
            raise UsageError("--tool-choice none leaves no call to print", "Use another choice.")
        return None
    if not tools:
        if options.tool_choice != "auto":
            raise UsageError(
                f"--tool-choice {options.tool_choice}: no tools are offered", "Offer some with -T."
            )
        return None
    offered = [tool.name for tool in tools]
    if options.tool_choice not in ("auto", "required", *offered):
        raise UsageError(
            f"--tool-choice {options.tool_choice}: no such tool is offered",
            f"Use auto, none, required, or one of: {', '.join(offered)}.",
        )
    asks = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    toolbox = Toolbox(
        tools,
        approve=settings["approve"],
        approver=_approval_question(renderer) if asks else None,
    )
    stack.callback(toolbox.close)
    return ToolUse(
        toolbox,
        options.tool_choice,
        options.max_rounds,
        is_constrained=not options.free,
        runs_calls=schemas is None,
    )


def _approval_question(renderer: Renderer) -> Approver:
    from smolchat.terminal.approval import ApprovalQuestion

    return ApprovalQuestion(renderer)


def _print_problem(error: SmolchatError) -> None:
    from smolchat.terminal.renderer import Renderer

    Renderer(sys.stderr, sys.stderr).problem(error)


def _discard_output() -> None:
    """Keeps Python from failing again when it flushes standard output at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
