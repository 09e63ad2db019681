"""The slash commands: one table drives dispatch, completion and /help."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.utils import is_dumb_terminal

from smolchat.errors import UsageError, did_you_mean
from smolchat.inputs import read_file
from smolchat.messages import MessageAdded, TextDelta
from smolchat.settings import values_of
from smolchat.terminal.clipboard import copy
from smolchat.terminal.editor import edited

if TYPE_CHECKING:
    from smolchat.settings import Setting
    from smolchat.terminal.repl import Repl
    from smolchat.toolbox import Toolbox

OWN_SYSTEM = "the checkpoint's own"


class Leave(Exception):
    """The user wants to leave the chat."""


def no_choices(repl: Repl, before: str) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Command:
    """What stands behind a slash."""

    name: str
    argument: str
    help: str
    run: Callable[[Repl, str], None]
    choices: Callable[[Repl, str], Iterable[str]] = no_choices
    """Words that may follow what stands before the cursor."""
    takes_path: bool = False
    """What follows is the name of a file."""
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)


def is_command(text: str) -> bool:
    """A second slash makes a message of it."""
    return text.startswith("/") and not text.startswith("//")


def obey(repl: Repl, text: str) -> None:
    """Runs the command in `text`. Raises UsageError when there is none of that name."""
    name, *rest = text[1:].split(maxsplit=1) or [""]
    command = _named(name)
    if command is None:
        known = [each for command in COMMANDS for each in command.names]
        suggestion = did_you_mean(name, known).replace(" '", " /").replace("'", "")
        raise UsageError(f"there is no command /{name}{suggestion}", "See /help. " + ESCAPE)
    command.run(repl, rest[0].strip() if rest else "")


class CommandCompleter(Completer):
    """Completes commands and their arguments; leaves messages alone."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        text = document.text
        if not is_command(text) or "\n" in text:
            return
        name, *words = document.text_before_cursor[1:].split(" ")
        if not words:
            yield from _name_completions(name)
        elif (command := _named(name)) and command.takes_path:
            path = Document(" ".join(words))
            yield from self._paths.get_completions(path, event)
        elif command:
            word = words.pop()
            for choice in command.choices(self._repl, " ".join(words)):
                if choice.lower().startswith(word.lower()):
                    yield Completion(choice, -len(word))


def _name_completions(typed: str) -> Iterable[Completion]:
    for command in COMMANDS:
        for name in command.names:
            if name.startswith(typed):
                yield Completion(name, -len(typed), f"/{name}", display_meta=command.help)


def _named(name: str) -> Command | None:
    return next((command for command in COMMANDS if name in command.names), None)


def _help(repl: Repl, argument: str) -> None:
    commands = [(f"/{command.name} {command.argument}", command.help) for command in COMMANDS]
    repl.renderer.table([*commands, *KEYS])


def _clear(repl: Repl, argument: str) -> None:
    repl.chat.clear()
    repl.attached.clear()
    repl.last_turn = None
    repl.renderer.aside("The conversation starts anew.")


def _system(repl: Repl, argument: str) -> None:
    if argument:
        repl.chat.set_option("system", argument)
    repl.renderer.table([("system", _system_text(repl))])


def _model(repl: Repl, argument: str) -> None:
    if argument:
        located = repl.chat.locate(argument)
        with repl.renderer.waiting(f"loading {located.name}"):
            repl.chat.switch_model(located)
        repl.last_turn = None
    repl.renderer.table([("model", repl.chat.model_name)])


def _set(repl: Repl, argument: str) -> None:
    name, _, value = argument.replace("=", " ", 1).partition(" ")
    name = name.replace("-", "_")
    if name and value.strip():
        repl.chat.set_option(name, value.strip())
        repl.follow_settings()
    options = repl.chat.options()
    if name and name not in options:
        raise UsageError(
            f"there is no setting {name!r}{did_you_mean(name, options)}",
            f"Settings are: {', '.join(options)}.",
        )
    repl.renderer.table(
        _setting_row(key, options[key]) for key in options if key == name or not name
    )


def _show(repl: Repl, argument: str) -> None:
    chat = repl.chat
    changed = {key: each for key, each in chat.settings.table.items() if each.source != "default"}
    rows = [
        ("model", chat.model_name),
        ("device", chat.device or "not loaded"),
        ("profile", chat.settings.profile.name),
        ("system", _system_text(repl)),
        ("context", _context_text(repl)),
        *([("summary of older turns", chat.summary)] if chat.summary else []),
    ]
    shown = {name for name, _ in rows}
    rows += [_setting_row(key, setting) for key, setting in changed.items() if key not in shown]
    repl.renderer.table(rows)


def _tools(repl: Repl, argument: str) -> None:
    use = repl.chat.tool_use
    if use is None:
        repl.renderer.aside("No tools are offered. Start with -T all, or -T NAME.")
        return
    name, _, state = argument.partition(" ")
    if name:
        _switch(repl, use.toolbox, name, state.strip())
    offered = {tool.name for tool in use.toolbox.tools}
    repl.renderer.table(
        (tool.name, f"{'on' if tool.name in offered else 'off'}  {tool.effect}  {tool.description}")
        for tool in use.toolbox.all_tools
    )


def _switch(repl: Repl, toolbox: Toolbox, name: str, state: str) -> None:
    names = [tool.name for tool in toolbox.all_tools]
    if name not in names:
        raise UsageError(f"no tool {name} is offered", f"Offered are: {', '.join(names)}.")
    if state not in ("on", "off"):
        raise UsageError(f"/tools {name} needs on or off", f"For example: /tools {name} off")
    toolbox.enable(name, state == "on")


def _retry(repl: Repl, argument: str) -> None:
    """Settings given here hold for this reply only."""
    changes = _assignments(argument)
    settings = repl.chat.settings
    if not changes and (settings["temperature"] == 0 or settings["seed"] is not None):
        repl.renderer.aside(SAME_AGAIN)
    with repl.chat.changed(changes):
        repl.answer(repl.chat.regenerate())


SAME_AGAIN = "With this seed or temperature the reply will be the same: /retry temperature=0.8"


def _assignments(argument: str) -> dict[str, str]:
    """`key=value` several times, quoted as for a shell. Raises UsageError."""
    try:
        words = [word.partition("=") for word in shlex.split(argument)]
    except ValueError as error:
        raise UsageError(f"/retry {argument}: {error}", "Quotes come in pairs.") from error
    if wrong := [name for name, equals, _ in words if not equals]:
        raise UsageError(
            f"/retry {wrong[0]}: not of the form key=value", "For example: /retry temperature=0.8"
        )
    return {name.replace("-", "_"): value for name, _, value in words}


def _continue(repl: Repl, argument: str) -> None:
    transcript = repl.chat.transcript
    if transcript and transcript[-1].role == "assistant":
        repl.renderer.go_on_after(transcript[-1].content)
    repl.answer(repl.chat.extend())
    turn = repl.last_turn
    if turn and turn.reason == "stop" and not turn.stats.new_tokens:
        repl.renderer.aside("The model has nothing to add.")


def _edit(repl: Repl, argument: str) -> None:
    if is_dumb_terminal():
        raise UsageError("a dumb terminal has no room for an editor", SEVERAL_LINES)
    with repl.interrupts.ignored():
        repl.propose(edited(argument))
    if not repl.draft.strip():
        repl.renderer.aside("The message is empty.")


def _file(repl: Repl, argument: str) -> None:
    if argument:
        path = Path(argument).expanduser()
        repl.attached[path.name] = read_file(path)
    if not repl.attached:
        repl.renderer.aside("No file goes with the next message: /file PATH")
    repl.renderer.table(
        (name, f"{len(text)} characters, with the next message")
        for name, text in repl.attached.items()
    )


def _copy(repl: Repl, argument: str) -> None:
    said = [message.content for message in repl.chat.transcript if message.role == "assistant"]
    if not said or not said[-1]:
        raise UsageError("there is no reply to copy", "Send a message first.")
    way = copy(said[-1], sys.stdout)
    repl.renderer.aside(f"The last reply, {len(said[-1])} characters: {way}.")


def _undo(repl: Repl, argument: str) -> None:
    text = repl.chat.undo()
    if text is None:
        repl.renderer.aside("There is nothing to undo.")
        return
    repl.propose(text)
    repl.last_turn = None
    repl.renderer.aside("The last turn is removed.")


def _save(repl: Repl, argument: str) -> None:
    if not argument:
        raise UsageError("/save needs a file", "For example: /save talk.md, .json or .jsonl")
    path = Path(argument).expanduser()
    repl.chat.save(path)
    repl.renderer.aside(f"The conversation is in {path}.")


def _load(repl: Repl, argument: str) -> None:
    if not argument.isdecimal():
        raise UsageError("/load needs a number", "See smolchat history list.")
    repl.chat.load(int(argument))
    repl.last_turn = None
    show_reopened(repl)


def show_reopened(repl: Repl) -> None:
    """Which conversation goes on, and what was said last in it."""
    conversation = repl.chat.reopened
    if conversation is None:
        return
    heading = conversation.heading
    repl.renderer.aside(f"Conversation {heading.id}: {heading.title}")
    last = conversation.current_turns[-1:]
    for message in last[0].messages if last else ():
        if message.role == "user":
            repl.renderer.aside(f"> {message.content}")
        elif message.role == "assistant":
            repl.renderer.show(TextDelta(message.content))
            repl.renderer.show(MessageAdded(message))
    if conversation.unanswered:
        repl.renderer.aside("The last message was not answered; here it is again.")
        repl.draft = conversation.unanswered


def _title(repl: Repl, argument: str) -> None:
    if not argument:
        raise UsageError("/title needs a text", "For example: /title Plans for the garden")
    repl.chat.entitle(argument)
    repl.renderer.aside(f"The conversation is called: {argument}")


def _exit(repl: Repl, argument: str) -> None:
    raise Leave


def _model_choices(repl: Repl, before: str) -> Iterable[str]:
    return () if before else repl.model_names()


def _option_choices(repl: Repl, before: str) -> Iterable[str]:
    options = repl.chat.options()
    if not before:
        return options
    if before not in options:
        return ()
    return (*values_of(before), "default")


def _changed_choices(repl: Repl, before: str) -> Iterable[str]:
    return [f"{name}={value}" for name in repl.chat.options() for value in values_of(name) or ("",)]


def _tool_choices(repl: Repl, before: str) -> Iterable[str]:
    use = repl.chat.tool_use
    if use is None:
        return ()
    return ("on", "off") if before else (tool.name for tool in use.toolbox.all_tools)


def _system_text(repl: Repl) -> str:
    return OWN_SYSTEM if repl.chat.system is None else repl.chat.system


def _context_text(repl: Repl) -> str:
    turn = repl.last_turn
    if turn is None:
        return "known after the next turn"
    return f"{turn.used_tokens} of {turn.context_tokens} tokens used in the last turn"


def _setting_row(name: str, setting: Setting) -> tuple[str, str]:
    value = setting.value
    text = "none" if value is None else str(value).lower() if isinstance(value, bool) else value
    return name, f"{text}  ({setting.source})"


COMMANDS = (
    Command("help", "", "Show this list.", _help),
    Command("clear", "", "Begin a new conversation.", _clear),
    Command("system", "[TEXT]", "Show or change the system prompt; `default` resets it.", _system),
    Command("model", "[NAME]", "Show the checkpoint or change it.", _model, _model_choices),
    Command(
        "set", "[KEY VALUE]", "Show or change settings; `default` resets.", _set, _option_choices
    ),
    Command(
        "tools", "[NAME on|off]", "List the tools, or switch one on or off.", _tools, _tool_choices
    ),
    Command("show", "", "Show checkpoint, prompt, changed settings and context used.", _show),
    Command(
        "retry",
        "[KEY=VALUE]",
        "Generate the last reply again, with other settings if given.",
        _retry,
        _changed_choices,
        aliases=("regen",),
    ),
    Command("continue", "", "Go on with a reply that was stopped or cut.", _continue),
    Command("undo", "", "Take back the last turn, to edit and send it again.", _undo),
    Command("edit", "[TEXT]", "Write the message in $EDITOR.", _edit),
    Command("file", "[PATH]", "Send a file along with the next message.", _file, takes_path=True),
    Command("copy", "", "Copy the last reply, as the model wrote it.", _copy),
    Command(
        "save",
        "FILE",
        "Write the conversation to FILE.md, .json or .jsonl.",
        _save,
        takes_path=True,
    ),
    Command("load", "ID", "Go on with an earlier conversation.", _load),
    Command("title", "TEXT", "Name the conversation.", _title),
    Command("exit", "", "Leave.", _exit, aliases=("quit", "bye")),
)

ESCAPE = "A message that starts with a slash is sent with two: //like this."

SEVERAL_LINES = "Three quotes open and close a block of several lines."

KEYS = (
    ('"""', "Opens and closes a block of several lines."),
    ("Alt-Enter", "Breaks the line; Enter sends."),
    ("Ctrl-X Ctrl-E", "Opens the message in $EDITOR; with vi keys: v."),
    ("//TEXT", "Sends a message that starts with a slash."),
    ("Ctrl-C", "Stops the reply and keeps it; clears the line at the prompt."),
    ("Ctrl-D", "Leaves, at the empty prompt."),
)
