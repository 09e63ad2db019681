"""Conversations in a SQLite file, written event by event. Knows no model, screen or command.

What is promised: every event is a transaction of its own in WAL mode, text deltas too, so a
process that is killed loses at most the event being written. Nothing is flushed to the disk for
each event (`synchronous=NORMAL`): a power cut may take the last events, never the file's order.
Several processes may write at once; each waits for the others for up to `BUSY_SECONDS`.

The deltas of a reply make room for its whole message when that is added, so they are left only
where a reply was broken off. A file that is damaged, of a newer version or not smolchat's raises
StoreError and is left as it is.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from smolchat.errors import StoreError
from smolchat.generation import GenerationStats, Sampling
from smolchat.messages import (
    Event,
    Message,
    MessageAdded,
    Notice,
    TextDelta,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
    TurnFinished,
)

BUSY_SECONDS = 20.0
"""How long a write waits for another process."""

CHECKED_BYTES = 64_000_000
"""A file up to this size is checked for damage whenever it is opened: about 2 ms per megabyte."""

TITLE_CHARACTERS = 60

APPLICATION_ID = 0x536D6F6C  # "Smol", at byte 68 of the file
_MAGIC = b"SQLite format 3\x00"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE conversations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            title TEXT NOT NULL,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL
        )""",
        """CREATE TABLE turns (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation_id INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
            started_at REAL NOT NULL,
            settings TEXT NOT NULL,
            is_replaced INTEGER NOT NULL DEFAULT 0
        )""",
        "CREATE INDEX turns_of_conversation ON turns (conversation_id)",
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            turn_id INTEGER NOT NULL REFERENCES turns ON DELETE CASCADE,
            kind TEXT NOT NULL,
            at REAL NOT NULL,
            text TEXT NOT NULL,
            body TEXT NOT NULL
        )""",
        "CREATE INDEX events_of_turn ON events (turn_id)",
        """CREATE VIRTUAL TABLE said USING fts5(
            text, content='events', content_rowid='id',
            tokenize='porter unicode61 remove_diacritics 2'
        )""",
        """CREATE TRIGGER message_added AFTER INSERT ON events WHEN new.kind = 'message' BEGIN
            INSERT INTO said (rowid, text) VALUES (new.id, new.text);
        END""",
        """CREATE TRIGGER message_removed AFTER DELETE ON events WHEN old.kind = 'message' BEGIN
            INSERT INTO said (said, rowid, text) VALUES ('delete', old.id, old.text);
        END""",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
)
"""The statements that lead from version n to n + 1; `user_version` says how many are done."""


OnOverflow = Literal["refuse", "trim", "summarize"]


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """With what a turn was answered: enough to answer it again."""

    checkpoint: str
    profile: str
    system: str | None
    sampling: Sampling
    """With the seed that was drawn, if none was set."""
    max_new_tokens: int
    user_template: str = "{text}"
    """What the user's text was written into."""
    ran_on: str = ""
    """Device and precision, as they came out."""
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = "auto"
    draft: str | None = None
    """Device, precision and draft checkpoint, as they were asked for."""
    is_first_here: bool = False
    """The first turn of its process: nothing was cached when it began."""
    on_overflow: OnOverflow = "refuse"
    tool_schemas: tuple[dict[str, Any], ...] = ()
    tool_choice: str = "auto"
    max_rounds: int = 3
    is_constrained: bool = True
    runs_calls: bool = True
    grammar: str | None = None


@dataclass(frozen=True, slots=True)
class ToolRun:
    """A call in a turn; a result is missing where the turn was broken off."""

    call: ToolCall
    changes: tuple[str, ...]
    result: ToolResult | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A turn as far as it came."""

    id: int
    started_at: float
    """Seconds since 1970."""
    settings: TurnSettings
    messages: tuple[Message, ...]
    tool_runs: tuple[ToolRun, ...]
    notices: tuple[str, ...]
    finished: TurnFinished | None
    """None for a turn under way, or one whose process was killed."""
    is_replaced: bool
    """Answered anew by a later turn."""

    @property
    def is_answered(self) -> bool:
        return any(message.role == "assistant" for message in self.messages)


@dataclass(frozen=True, slots=True)
class Heading:
    """What a list shows of a conversation."""

    id: int
    kind: str
    title: str
    created_at: float
    updated_at: float
    turn_count: int
    excerpt: str = ""
    """Where a search found its words, these in brackets."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that is kept of a conversation, in the order in which it happened."""

    heading: Heading
    turns: tuple[StoredTurn, ...]

    @property
    def current_turns(self) -> list[StoredTurn]:
        """The turns that go on: answered, and not answered anew later."""
        return [turn for turn in self.turns if turn.is_answered and not turn.is_replaced]

    @property
    def unanswered(self) -> str:
        """The last message, if it was not answered; else empty."""
        last = self.turns[-1] if self.turns else None
        if last is None or last.is_answered:
            return ""
        return next((each.content for each in last.messages[::-1] if each.role == "user"), "")

    def transcript(self, checkpoint: str) -> list[Message]:
        """What was said, with the token ids of what `checkpoint` itself produced."""
        return [
            message if turn.settings.checkpoint == checkpoint else replace(message, token_ids=())
            for turn in self.current_turns
            for message in turn.messages
        ]


class Store:
    """An open file of conversations. Raises StoreError from every method, also when created."""

    def __init__(self, path: Path, is_created: bool = True) -> None:
        """Without `is_created` a file that is missing counts as empty and is not made."""
        self.path = path
        self._connection = self._opened(is_created)

    def close(self) -> None:
        self._connection.close()

    # Writing

    def new_conversation(self, kind: str, title: str) -> int:
        now = time.time()
        with self._transaction() as connection:
            row = connection.execute(
                "INSERT INTO conversations (kind, title, created_at, updated_at)"
                " VALUES (?, ?, ?, ?)",
                (kind, shortened(title), now, now),
            )
            return int(row.lastrowid or 0)

    def new_turn(
        self,
        conversation_id: int,
        settings: TurnSettings,
        given: Iterable[Message] = (),
        replaces: int | None = None,
    ) -> int:
        """Begins a turn with the messages `given`, which no event tells of."""
        with self._transaction() as connection:
            row = connection.execute(
                "INSERT INTO turns (conversation_id, started_at, settings) VALUES (?, ?, ?)",
                (conversation_id, time.time(), _json(asdict(settings))),
            )
            turn_id = int(row.lastrowid or 0)
            connection.execute("UPDATE turns SET is_replaced = 1 WHERE id = ?", (replaces,))
            for message in given:
                self._insert(turn_id, MessageAdded(message))
            return turn_id

    def record(self, turn_id: int, event: Event) -> None:
        """Writes one event; when this returns it outlives the process."""
        if isinstance(event, TextDelta):
            with self._told():
                self._insert(turn_id, event)
            return
        with self._transaction() as connection:
            if isinstance(event, MessageAdded) and event.message.role == "assistant":
                self._delete_deltas(turn_id)
            if isinstance(event, MessageAdded) and event.replaces_last:
                connection.execute(
                    "DELETE FROM events WHERE id = (SELECT max(id) FROM events"
                    " WHERE turn_id = ? AND kind = 'message')",
                    (turn_id,),
                )
            self._insert(turn_id, event)
            connection.execute(
                "UPDATE conversations SET updated_at = ? WHERE id ="
                " (SELECT conversation_id FROM turns WHERE id = ?)",
                (time.time(), turn_id),
            )

    def break_off(self, turn_id: int) -> None:
        """Takes back the words of a reply whose message was not added."""
        with self._transaction():
            self._delete_deltas(turn_id)

    def remove_turn(self, turn_id: int, restores: int | None = None) -> None:
        """Takes a turn out, and its conversation when that was all of it."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM turns WHERE id = ?", (turn_id,))
            connection.execute("UPDATE turns SET is_replaced = 0 WHERE id = ?", (restores,))

    def remove_empty(self, conversation_id: int) -> bool:
        """Removes a conversation without turns; says whether it was one."""
        with self._transaction() as connection:
            row = connection.execute(
                "DELETE FROM conversations WHERE id = ?1"
                " AND NOT EXISTS (SELECT 1 FROM turns WHERE conversation_id = ?1)",
                (conversation_id,),
            )
            return row.rowcount > 0

    def set_title(self, conversation_id: int, title: str) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE conversations SET title = ? WHERE id = ?", (title, conversation_id)
            )

    def remove(self, conversation_ids: Iterable[int]) -> None:
        """Removes conversations, and their words from the file itself."""
        with self._transaction() as connection:
            for conversation_id in conversation_ids:
                connection.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))
            connection.execute("INSERT INTO said (said) VALUES ('optimize')")
        with self._told():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # Reading

    def headings(self, limit: int = -1) -> list[Heading]:
        """The conversations, latest first; a negative limit is none."""
        return self._headings("1", (), limit)

    def latest(self, kinds: Sequence[str]) -> int | None:
        """The conversation that was last added to, among those of `kinds`."""
        marks = ", ".join("?" * len(kinds))
        found = self._headings(f"kind IN ({marks})", tuple(kinds), 1)
        return found[0].id if found else None

    def search(self, text: str, limit: int = -1) -> list[Heading]:
        """The conversations that have every word of `text`, in their messages or the title.

        Words match from their beginning and in other grammatical forms, whatever their case.
        """
        words = re.findall(r"\w+", text)
        if not words:
            return []
        found = self.headings()
        for word in words:
            saying = {number for number, _ in self._saying(f'"{word}"*')}
            found = [
                heading
                for heading in found
                if heading.id in saying or word.lower() in heading.title.lower()
            ]
        excerpts: dict[int, str] = {}
        for number, excerpt in self._saying(" OR ".join(f'"{word}"*' for word in words)):
            excerpts.setdefault(number, " ".join(excerpt.split()))
        found = [replace(heading, excerpt=excerpts.get(heading.id, "")) for heading in found]
        return found if limit < 0 else found[:limit]

    def _saying(self, query: str) -> list[tuple[int, str]]:
        """(conversation, excerpt) of the messages that match, the best first."""
        return self._rows(
            "SELECT turns.conversation_id, snippet(said, 0, '[', ']', '…', 16)"
            " FROM said JOIN events ON events.id = said.rowid JOIN turns ON turns.id = turn_id"
            " WHERE said MATCH ? AND NOT is_replaced ORDER BY rank",
            (query,),
        )

    def read(self, conversation_id: int) -> Conversation:
        """Raises StoreError when there is no such conversation."""
        found = self._headings("conversations.id = ?", (conversation_id,), 1)
        if not found:
            raise StoreError(
                f"there is no conversation {conversation_id}", "See smolchat history list."
            )
        turns = self._rows(
            "SELECT id, started_at, settings, is_replaced FROM turns"
            " WHERE conversation_id = ? ORDER BY id",
            (conversation_id,),
        )
        with self._told():  # what is no JSON, or not as it was written, is damage too
            return Conversation(found[0], tuple(self._turn(*row) for row in turns))

    def _turn(self, turn_id: int, started_at: float, settings: str, replaced: int) -> StoredTurn:
        rows = self._rows(
            "SELECT kind, text, body FROM events WHERE turn_id = ? ORDER BY id", (turn_id,)
        )
        messages: list[Message] = []
        runs: list[ToolRun] = []
        notices: list[str] = []
        finished: TurnFinished | None = None
        partial = ""
        for kind, text, written in rows:
            body = json.loads(written)
            if kind == "delta":
                partial += text
            elif kind == "message":
                messages.append(_message(text, body))
            elif kind == "tool_started":
                runs.append(ToolRun(ToolCall(**body["call"]), tuple(body["changes"])))
            elif kind == "tool_finished" and runs:
                result = ToolResult(**body["result"])
                runs[-1] = replace(runs[-1], result=result, seconds=body["seconds"])
            elif kind == "notice":
                notices.append(text)
            elif kind == "finished":
                stats = GenerationStats(**body.pop("stats"))
                if finished is not None:  # the reply was gone on with
                    stats += finished.stats
                finished = TurnFinished(**body, stats=stats)
        if partial.strip() and messages and messages[-1].role == "assistant":
            messages[-1] = Message("assistant", messages[-1].content + partial)
        elif partial.strip():
            messages.append(Message("assistant", partial.lstrip("\n")))
        return StoredTurn(
            turn_id,
            started_at,
            _settings(json.loads(settings)),
            tuple(messages),
            tuple(runs),
            tuple(notices),
            finished,
            bool(replaced),
        )

    def _headings(self, where: str, values: tuple[object, ...], limit: int) -> list[Heading]:
        rows = self._rows(
            "SELECT id, kind, title, created_at, updated_at, (SELECT count(*) FROM turns"
            " WHERE conversation_id = conversations.id AND NOT is_replaced)"
            f" FROM conversations WHERE {where} ORDER BY updated_at DESC, id DESC LIMIT ?",
            (*values, limit),
        )
        return [Heading(*row) for row in rows]

    def _rows(self, statement: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._told():
            return self._connection.execute(statement, values).fetchall()

    def _delete_deltas(self, turn_id: int) -> None:
        self._connection.execute(
            "DELETE FROM events WHERE turn_id = ? AND kind = 'delta'", (turn_id,)
        )

    def _insert(self, turn_id: int, event: Event) -> None:
        kind, text, body = _written(event)
        self._connection.execute(
            "INSERT INTO events (turn_id, kind, at, text, body) VALUES (?, ?, ?, ?, ?)",
            (turn_id, kind, time.time(), text, body),
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, also when Ctrl-C falls into it."""
        with self._told():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as StoreError."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, TypeError, KeyError) as error:
            raise _explained(error, self.path) from error

    # Opening

    def _opened(self, is_created: bool) -> sqlite3.Connection:
        with self._told():
            is_new = not self.path.exists() or self.path.stat().st_size == 0
            if is_new and not is_created:
                return self._migrated(_connection(":memory:"))
            if is_new:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # SQLite gives its -wal and -shm files the permissions of the file itself.
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
            else:
                _refuse_foreign(self.path)
            try:
                return self._prepared(self.path.absolute().as_uri() + "?mode=rw")
            except sqlite3.OperationalError as error:
                if is_created or ("readonly" not in str(error) and "unable" not in str(error)):
                    raise
            # In a folder that cannot be written to, no other process writes either.
            return self._prepared(self.path.absolute().as_uri() + "?immutable=1", False)

    def _prepared(self, address: str, is_writable: bool = True) -> sqlite3.Connection:
        connection = _connection(address)
        try:
            self._check(connection)
            return self._migrated(connection) if is_writable else connection
        except BaseException:
            connection.close()
            raise

    def _check(self, connection: sqlite3.Connection) -> None:
        version = _pragma(connection, "user_version")
        if version > len(MIGRATIONS):
            raise _newer(self.path, version)
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise _foreign(self.path)
        if self.path.exists() and self.path.stat().st_size <= CHECKED_BYTES:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict.partition("\n")[0])

    def _migrated(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        _retried(lambda: connection.execute("PRAGMA journal_mode = WAL"))
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # what is removed is overwritten
        if _pragma(connection, "user_version") < len(MIGRATIONS):
            connection.execute("BEGIN IMMEDIATE")
            try:
                # Read again: another process may have been quicker.
                for number in range(_pragma(connection, "user_version"), len(MIGRATIONS)):
                    for statement in MIGRATIONS[number]:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {number + 1}")
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        return connection


class Recorder:
    """Writes one conversation as it goes on, or nothing at all.

    A store that fails is no failure of the conversation: it then goes on unrecorded, and
    `take_problem` tells why, once.
    """

    def __init__(self, path: Path, kind: str, is_on: bool = True) -> None:
        """Opens nothing before there is something to write or read."""
        self.path = path
        self.kind = kind
        self.is_on = is_on
        self.conversation_id: int | None = None
        self._store: Store | None = None
        self._problem: str | None = None
        self._is_broken = False
        self._has_begun = False
        self._turn_ids: list[int] = []
        """The turns that the transcript holds, in order."""
        self._replaced: int | None = None
        self._is_recording = False
        self._is_extending = False
        """The last turn had an answer before; it is being extended."""

    @property
    def has_all(self) -> bool:
        """Whether the store holds what was said in this conversation."""
        return self.is_on and self.conversation_id is not None and not self._is_broken

    def take_problem(self) -> str | None:
        """Why nothing more is recorded; told once."""
        problem, self._problem = self._problem, None
        return problem

    def read(self, conversation_id: int | None = None) -> Conversation:
        """A conversation, by default the latest chat or run. Raises StoreError without one."""
        store = Store(self.path, is_created=False)
        try:
            if conversation_id is None:
                conversation_id = store.latest(("chat", "run"))
            if conversation_id is None:
                raise StoreError("there is no conversation to continue", "Begin one: smolchat")
            return store.read(conversation_id)
        finally:
            store.close()

    def resume(self, conversation: Conversation) -> None:
        """What is recorded from here on is added to `conversation`."""
        self.conversation_id = conversation.heading.id
        self._turn_ids = [turn.id for turn in conversation.current_turns]
        self._is_recording = False

    def leave(self) -> None:
        """What is recorded from here on is a new conversation."""
        self.conversation_id, self._turn_ids, self._is_recording = None, [], False

    def begin(
        self,
        settings: TurnSettings,
        title: str,
        given: Sequence[Message] = (),
        replaces_last: bool = False,
    ) -> None:
        """Begins a turn; `title` names the conversation if it is its first one."""
        self._is_recording = self._is_extending = False
        settings = replace(settings, is_first_here=not self._has_begun)
        self._has_begun = True
        self._attempt(lambda store: self._begin(store, settings, title, given, replaces_last))

    def extend(self) -> None:
        """What is recorded from here on belongs to the last turn."""
        self._is_recording = self._is_extending = bool(self._turn_ids)

    def record(self, event: Event) -> None:
        """Writes an event of the turn that was begun."""
        if self._is_recording:
            self._attempt(lambda store: store.record(self._turn_ids[-1], event))

    def follow(self, events: Iterator[Event]) -> Iterator[Event]:
        """The events of a turn, each recorded before it is passed on.

        A turn that fails before its first event leaves nothing behind.
        """
        is_first = True
        try:
            for event in events:
                self.record(event)
                is_first = False
                problem = self._problem if isinstance(event, MessageAdded | TurnFinished) else None
                if problem is not None and isinstance(event, TurnFinished):
                    yield Notice(self.take_problem() or "")
                yield event
                if problem is not None and isinstance(event, MessageAdded):
                    yield Notice(self.take_problem() or "")
        except Exception:
            if is_first:
                self.drop_turn()
            raise

    def drop_turn(self) -> None:
        """Takes back the last turn, as if it had not been; one that it replaced counts again."""
        if not self._is_recording:
            return
        self._is_recording = False
        if self._is_extending:
            self._attempt(lambda store: store.break_off(self._turn_ids[-1]))
        else:
            self._remove_last(self._replaced)

    def undo(self) -> None:
        """Removes the last turn for good."""
        self._is_recording = False
        if self._turn_ids:
            self._remove_last(None)

    def set_title(self, title: str) -> None:
        """Raises StoreError when nothing is recorded yet that could have a title."""
        if self.conversation_id is None or not self.has_all:
            raise StoreError("this conversation is not stored", "Send a message first.")
        self._opened().set_title(self.conversation_id, title)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _begin(
        self,
        store: Store,
        settings: TurnSettings,
        title: str,
        given: Sequence[Message],
        replaces_last: bool,
    ) -> None:
        if self.conversation_id is None:
            self.conversation_id = store.new_conversation(self.kind, title)
        self._replaced = self._turn_ids.pop() if replaces_last and self._turn_ids else None
        turn_id = store.new_turn(self.conversation_id, settings, given, self._replaced)
        self._turn_ids.append(turn_id)
        self._is_recording = True

    def _remove_last(self, restores: int | None) -> None:
        turn_id = self._turn_ids.pop()
        if restores is not None:
            self._turn_ids.append(restores)
        self._attempt(lambda store: self._remove(store, turn_id, restores))

    def _remove(self, store: Store, turn_id: int, restores: int | None) -> None:
        store.remove_turn(turn_id, restores)
        if self.conversation_id is not None and store.remove_empty(self.conversation_id):
            self.leave()

    def _attempt(self, write: Callable[[Store], None]) -> None:
        if not self.is_on or self._is_broken:
            return
        try:
            write(self._opened())
        except StoreError as error:
            self._is_broken, self._is_recording = True, False
            self._problem = f"this conversation is not kept: {error.message}"

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(self.path)
        return self._store


def unstored(transcript: Sequence[Message], settings: TurnSettings) -> Conversation:
    """A conversation that is in no store, as if all of it were one turn."""
    now = time.time()
    turn = StoredTurn(0, now, settings, tuple(transcript), (), (), None, False)
    title = next((shortened(each.content) for each in transcript if each.role == "user"), "")
    return Conversation(Heading(0, "chat", title, now, now, 1), (turn,))


def shortened(text: str) -> str:
    """The first words of a text on one line, as a title."""
    line = " ".join(text.split())
    if len(line) <= TITLE_CHARACTERS:
        return line
    head = line[: TITLE_CHARACTERS - 1]
    return (head.rpartition(" ")[0] or head).rstrip(",;:.") + "…"


def _connection(address: str) -> sqlite3.Connection:
    # isolation_level None: transactions begin where the code says so.
    return sqlite3.connect(address, timeout=BUSY_SECONDS, isolation_level=None, uri=True)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _retried(attempt: Callable[[], object]) -> None:
    """Going over to WAL mode does not wait for a lock by itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            attempt()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _refuse_foreign(path: Path) -> None:
    """Reads the first bytes only, so that a file that is not to be touched is not even opened."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise sqlite3.DatabaseError("it is no SQLite database")
    version, mark = int.from_bytes(header[60:64], "big"), int.from_bytes(header[68:72], "big")
    if mark not in (0, APPLICATION_ID):
        raise _foreign(path)
    if version > len(MIGRATIONS):
        raise _newer(path, version)


def _newer(path: Path, version: int) -> StoreError:
    return StoreError(
        f"{path} was written by a newer smolchat (format {version}, this one knows "
        f"{len(MIGRATIONS)})",
        "It is left as it is. Update smolchat, or go on with --no-history.",
    )


def _foreign(path: Path) -> StoreError:
    return StoreError(
        f"{path} is a database of another program", "It is left as it is. Move it elsewhere."
    )


def _explained(error: Exception, path: Path) -> StoreError:
    if isinstance(error, OSError):
        return StoreError(
            f"cannot use {path}: {error.strerror or error}",
            "Look at the folder's permissions, or go on with --no-history.",
        )
    if isinstance(error, sqlite3.OperationalError):
        return StoreError(
            f"cannot use {path}: {error}",
            "Look at the disk's free space and the folder's permissions, or use --no-history.",
        )
    return StoreError(
        f"{path} is damaged: {error}",
        f'It is left as it is. To begin a new one, move it away: mv "{path}" "{path}.damaged"',
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _written(event: Event) -> tuple[str, str, str]:
    """(kind, text, body as JSON)."""
    if isinstance(event, TextDelta):
        return "delta", event.text, "{}"
    if isinstance(event, MessageAdded):
        body = {name: value for name, value in asdict(event.message).items() if value}
        return "message", body.pop("content", ""), _json(body)
    if isinstance(event, ToolStarted):
        return "tool_started", event.call.name, _json(asdict(event))
    if isinstance(event, ToolFinished):
        return "tool_finished", event.result.content, _json(asdict(event))
    if isinstance(event, Notice):
        return "notice", event.text, "{}"
    return "finished", event.reason, _json(asdict(event))


def _message(text: str, body: dict[str, Any]) -> Message:
    return Message(
        body["role"],
        text,
        tuple(ToolCall(**call) for call in body.get("tool_calls", ())),
        tuple(ToolResult(**result) for result in body.get("tool_results", ())),
        tuple(body.get("token_ids", ())),
    )


def _settings(body: dict[str, Any]) -> TurnSettings:
    sampling = Sampling(**body.pop("sampling"))
    schemas = tuple(body.pop("tool_schemas", ()))
    return TurnSettings(sampling=sampling, tool_schemas=schemas, **body)
