"""The `smolchat history` commands: what is kept of earlier conversations."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from smolchat.errors import UsageError

if TYPE_CHECKING:
    from smolchat.store import Heading, Store

history_app = typer.Typer(
    help="List, show, search, export, remove and replay conversations.", rich_markup_mode=None
)

ID = Annotated[int, typer.Argument(metavar="ID", help="The conversation's number.")]
IDS = Annotated[list[int] | None, typer.Argument(metavar="ID", help="Their numbers.")]
LIMIT = Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print a JSON list.")]


class ExportFormat(str, Enum):
    """What an export may be written in."""

    md = "md"
    json = "json"
    jsonl = "jsonl"


@history_app.command("list")
def list_conversations(limit: LIMIT = 20, as_json: AS_JSON = False) -> None:
    """List the conversations, latest first."""
    with _store() as store:
        found = store.headings(limit)
        more = len(store.headings()) - len(found) if len(found) == limit else 0
    _print_headings(found, as_json)
    if more:
        typer.echo(f"smolchat: {more} more; see them with --limit", err=True)


@history_app.command("show")
def show_conversation(
    number: ID,
    with_replaced: Annotated[
        bool, typer.Option("--all", help="Also replies that were generated again.")
    ] = False,
) -> None:
    """Print a conversation."""
    from smolchat.export import as_markdown

    with _store() as store:
        conversation = store.read(number)
    _print_text(as_markdown(conversation, with_replaced))
    hidden = sum(turn.is_replaced for turn in conversation.turns)
    if hidden and not with_replaced:
        typer.echo(f"smolchat: {hidden} replaced replies are shown by --all", err=True)


@history_app.command("search")
def search_conversations(
    words: Annotated[list[str], typer.Argument(metavar="WORD", help="All of these words.")],
    limit: LIMIT = 20,
    as_json: AS_JSON = False,
) -> None:
    """Find the conversations in which words were said."""
    with _store() as store:
        found = store.search(" ".join(words), limit)
    _print_headings(found, as_json)
    if not found:
        raise typer.Exit(1)


@history_app.command("export")
def export_conversations(
    numbers: IDS = None,
    wanted: Annotated[
        ExportFormat, typer.Option("--format", help="Markdown, a JSON list, or an object per line.")
    ] = ExportFormat.md,
) -> None:
    """Print conversations, by default all, as Markdown, JSON or JSON Lines."""
    from smolchat.export import exported

    with _store() as store:
        chosen = numbers or [heading.id for heading in reversed(store.headings())]
        _print_text(exported([store.read(number) for number in chosen], wanted.value))


@history_app.command("remove")
def remove_conversations(
    numbers: IDS = None,
    is_all: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Remove conversations for good."""
    if is_all == bool(numbers):
        raise UsageError("which conversations?", "Give their numbers, or --all.")
    with _store() as store:
        known = [heading.id for heading in store.headings()]
        chosen = known if is_all else list(dict.fromkeys(numbers or []))
        for number in chosen:
            if number not in known:
                store.read(number)  # says that it is not there, before anything is removed
        store.remove(chosen)
    typer.echo(f"smolchat: {len(chosen)} removed", err=True)


@history_app.command("replay")
def replay_conversation(
    number: ID,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the exit code.")] = False,
) -> None:
    """Answer a conversation again with its seeds; show what differs (exit code 1)."""
    from smolchat.replay import replayed

    with _store() as store:
        conversation = store.read(number)
    differs = False
    for outcome in replayed(conversation):
        differs |= not outcome.is_same
        if not quiet:
            _print_text(outcome.report())
    raise typer.Exit(int(differs))


@contextmanager
def _store() -> Iterator[Store]:
    from smolchat.paths import conversations_path
    from smolchat.store import Store

    store = Store(conversations_path(), is_created=False)
    try:
        yield store
    finally:
        store.close()


def _print_headings(found: list[Heading], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(heading) for heading in found], ensure_ascii=False, indent=2))
        return
    for heading in found:
        when = datetime.fromtimestamp(heading.updated_at).strftime("%Y-%m-%d %H:%M")
        turns = f"{heading.turn_count} turn{'' if heading.turn_count == 1 else 's'}"
        _print_text(f"{heading.id:>5}  {when}  {heading.kind:<9}  {turns:>9}  {heading.title}\n")
        if heading.excerpt:
            _print_text(f"       {heading.excerpt}\n")


def _print_text(text: str) -> None:
    """On a terminal without its control characters, which a model may have written."""
    if sys.stdout.isatty():
        from smolchat.terminal.escape import escape_controls

        text = escape_controls(text)
    print(text, end="")
