"""The options that all generating commands share, declared once.

Typer reads a command's signature; `shared_options` writes the fields of `Options` into it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


def complete_model() -> list[str]:
    from smolchat.catalog import EMBEDDED, FAMILY

    return [EMBEDDED, *FAMILY]


def complete_profile() -> list[str]:
    from smolchat.profiles import profile_paths

    return list(profile_paths())


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; None where it says nothing."""

    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            metavar="NAME",
            autocompletion=complete_model,
            help="Checkpoint: tiny, 135m, 360m, 1.7b, a Hub id, or a folder.",
        ),
    ] = None
    profile: Annotated[
        str | None,
        typer.Option(
            "-P",
            "--profile",
            metavar="NAME",
            autocompletion=complete_profile,
            help="Profile: prompts, sampling and checkpoint under a name.",
        ),
    ] = None
    system: Annotated[
        str | None, typer.Option("-s", "--system", metavar="TEXT", help="System prompt.")
    ] = None
    max_new_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Longest reply, in tokens. Default 1024.")
    ] = None
    temperature: Annotated[
        float | None, typer.Option(metavar="X", help="0 is greedy. Default 0.2.")
    ] = None
    top_p: Annotated[
        float | None, typer.Option(metavar="X", help="Nucleus sampling. Default 0.9.")
    ] = None
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="Keep the N likeliest tokens; 0 keeps all.")
    ] = None
    min_p: Annotated[
        float | None,
        typer.Option(metavar="X", help="Drop tokens below this share of the likeliest."),
    ] = None
    repetition_penalty: Annotated[
        float | None, typer.Option(metavar="X", help="Above 1 discourages repetition.")
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="N", help="Same seed, same text.")] = None
    option: Annotated[
        list[str] | None,
        typer.Option("-o", metavar="KEY=VALUE", help="Any setting; may be given several times."),
    ] = None
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N, mps or all.")
    ] = None
    dtype: Annotated[
        str | None, typer.Option(metavar="NAME", help="auto, float32, bfloat16 or float16.")
    ] = None
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads. Default: all available cores.")
    ] = None
    quantize: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="auto, none, int8 or int4. Auto: int8 on a CPU."),
    ] = None
    draft: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_model,
            help="A smaller checkpoint that guesses ahead, e.g. 135m; auto, or none.",
        ),
    ] = None
    approve: Annotated[
        str | None,
        typer.Option(
            metavar="EFFECT", help="Tools that run unasked: none, pure, read or all. Default pure."
        ),
    ] = None
    on_overflow: Annotated[
        str | None,
        typer.Option(
            metavar="WAY",
            help="A full context: refuse, trim or summarize the oldest turns. "
            "Default: trim in a chat, else refuse.",
        ),
    ] = None
    no_stream: Annotated[
        bool | None, typer.Option("--no-stream", help="Print the reply when it is complete.")
    ] = None
    raw: Annotated[
        bool | None, typer.Option("--raw", help="Markdown as it is written, in a terminal too.")
    ] = None
    keys: Annotated[
        str | None, typer.Option(metavar="NAME", help="The chat's keys: emacs or vi.")
    ] = None
    no_history: Annotated[
        bool | None, typer.Option("--no-history", help="Do not keep this conversation.")
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with text, usage and timings.")
    ] = False
    verbose: Annotated[
        bool | None, typer.Option("--verbose", help="Speeds and counts on standard error.")
    ] = None
    quiet: Annotated[
        bool | None, typer.Option("-q", "--quiet", help="No notices on standard error.")
    ] = None

    def given(self) -> dict[str, Any]:
        """The settings that the command line decides. Raises UsageError for a bad -o."""
        from smolchat.settings import parse_assignment

        named = {field.name: getattr(self, field.name) for field in fields(self)}
        assignments = dict(parse_assignment(text) for text in named.pop("option") or [])
        del named["json"]
        return assignments | {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ResumeOptions:
    """Which conversation is gone on with."""

    is_continued: Annotated[
        bool, typer.Option("-c", "--continue", help="Go on with the last conversation.")
    ] = False
    resume: Annotated[
        int | None, typer.Option(metavar="ID", help="Go on with an earlier conversation.")
    ] = None


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """Which tools are offered, and how."""

    tool: Annotated[
        list[str] | None,
        typer.Option("-T", "--tool", metavar="NAME", help="Offer a tool; `all`: every pure one."),
    ] = None
    tool_file: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Offer the tools of a Python file."),
    ] = None
    tool_choice: Annotated[
        str, typer.Option(metavar="CHOICE", help="auto, none, required, or the tool to call.")
    ] = "auto"
    max_rounds: Annotated[
        int, typer.Option(metavar="N", min=1, max=100, help="Rounds with tools, at most.")
    ] = 3
    free: Annotated[
        bool, typer.Option("--free", help="Calls without the grammar that makes them valid.")
    ] = False


PromptOption = Annotated[
    bool,
    typer.Option("--show-prompt", help="Print the exact prompt sent and stop."),
]


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Offers every field of a command's dataclass parameters as an option of the command."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    own = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command).parameters.items()
        if name not in groups
    ]
    offered = [parameter for group in groups.values() for parameter in _parameters(group)]

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        filled = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**filled, **values)

    parameters = [*own, *offered]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def _parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
