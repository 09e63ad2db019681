"""Conversations in a file: what is kept, when, and what a damaged file or a full disk does."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import store_writer
from conftest import ScriptedGenerator, byte_tokenizer

from smolchat.chatml import ChatFormat
from smolchat.errors import SmolchatError, StoreError
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
from smolchat.session import ChatSession
from smolchat.store import MIGRATIONS, Recorder, Store, TurnSettings, shortened

SETTINGS = TurnSettings(
    "tiny",
    "chat",
    "Be brief.",
    Sampling(temperature=0.5, top_k=3, seed=7),
    100,
    tool_schemas=({"type": "function", "function": {"name": "add"}},),
)
CALL = ToolCall("call_1", "add", {"a": 1, "b": [2, "é"]})
RESULT = ToolResult("call_1", "3", "ok")
FINISHED = TurnFinished("length", GenerationStats(5, 1, 2, 0, 0, 0, 0.25, 0.5), 7, 2048)
TURN: list[Event] = [
    MessageAdded(Message("user", "What is 1 + 2?")),
    MessageAdded(Message("assistant", "", (CALL,), token_ids=(1, 2))),
    ToolStarted(CALL, ("b was text",)),
    ToolFinished(RESULT, 0.125),
    MessageAdded(Message("tool", "3", tool_results=(RESULT,))),
    TextDelta("It is "),
    TextDelta("3."),
    MessageAdded(Message("assistant", "It is 3.", token_ids=(3, 4))),
    Notice("the reply was cut"),
    FINISHED,
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conversations.db"


@pytest.fixture
def recorder(path: Path) -> Iterator[Recorder]:
    recorder = Recorder(path, "chat")
    yield recorder
    recorder.close()


def record_turn(recorder: Recorder, question: str, answer: str, **options: bool) -> None:
    given = [Message("user", question)] if options else []
    recorder.begin(SETTINGS, question, given, **options)
    if not options:
        recorder.record(MessageAdded(Message("user", question)))
    recorder.record(TextDelta(answer))
    recorder.record(MessageAdded(Message("assistant", answer, token_ids=(5,))))
    recorder.record(FINISHED)


def said(recorder: Recorder) -> list[str]:
    return [message.content for message in recorder.read().transcript("tiny")]


def test_a_turn_is_kept_with_all_that_belongs_to_it(recorder: Recorder) -> None:
    recorder.begin(SETTINGS, "What is 1 + 2?")
    assert list(recorder.follow(iter(TURN))) == TURN
    conversation = recorder.read()
    (turn,) = conversation.turns
    assert list(turn.messages) == [each.message for each in TURN if isinstance(each, MessageAdded)]
    assert turn.settings == replace(SETTINGS, is_first_here=True)
    assert turn.finished == FINISHED
    assert turn.notices == ("the reply was cut",)
    (run,) = turn.tool_runs
    assert (run.call, run.changes, run.result, run.seconds) == (
        CALL,
        ("b was text",),
        RESULT,
        0.125,
    )
    assert (conversation.heading.title, conversation.heading.kind) == ("What is 1 + 2?", "chat")
    assert conversation.heading.created_at <= turn.started_at <= conversation.heading.updated_at


def test_the_transcript_of_a_session_comes_back_with_its_ids(recorder: Recorder) -> None:
    chat_format = ChatFormat(byte_tokenizer(), "be brief")
    session = ChatSession(ScriptedGenerator("One.", "Zwei, é!"), chat_format, frozenset())
    for text in ("1", "2"):
        recorder.begin(SETTINGS, text)
        for _ in recorder.follow(session.send(text)):
            pass
    assert recorder.read().transcript("tiny") == session.transcript
    assert all(each.token_ids for each in session.transcript if each.role == "assistant")
    other = recorder.read().transcript("other")
    assert [each.content for each in other] == [each.content for each in session.transcript]
    assert not any(message.token_ids for message in other)


def test_every_word_is_kept_before_the_reply_is_complete(recorder: Recorder) -> None:
    recorder.begin(SETTINGS, "Hi")
    for event in (MessageAdded(Message("user", "Hi")), TextDelta("Good "), TextDelta("mor")):
        recorder.record(event)
    other = Store(recorder.path)
    turn = other.read(1).turns[0]
    assert [message.content for message in turn.messages] == ["Hi", "Good mor"]
    assert turn.finished is None
    other.close()


def test_a_question_without_an_answer_waits_to_be_asked_again(recorder: Recorder) -> None:
    record_turn(recorder, "one", "1")
    recorder.begin(SETTINGS, "two")
    recorder.record(MessageAdded(Message("user", "two")))
    assert said(recorder) == ["one", "1"]
    assert recorder.read().unanswered == "two"


def test_only_the_user_may_read_the_file(recorder: Recorder) -> None:
    before = os.umask(0)
    try:
        record_turn(recorder, "one", "1")
    finally:
        os.umask(before)
    files = list(recorder.path.parent.iterdir())
    assert {file.name for file in files} >= {"conversations.db", "conversations.db-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_nothing_is_written_when_nothing_is_to_be_kept(path: Path) -> None:
    recorder = Recorder(path, "chat", is_on=False)
    record_turn(recorder, "one", "1")
    recorder.undo()
    assert not path.parent.exists()
    with pytest.raises(StoreError, match="not stored"):
        recorder.set_title("name")


# Undo, answer again, extend


def test_undo_removes_the_turn_and_its_words(recorder: Recorder) -> None:
    record_turn(recorder, "one", "1")
    record_turn(recorder, "secretword", "2")
    recorder.undo()
    assert said(recorder) == ["one", "1"]
    store = Store(recorder.path)
    assert store.search("secretword") == []
    store.close()
    recorder.undo()
    with pytest.raises(StoreError, match="no conversation"):
        recorder.read()
    record_turn(recorder, "three", "3")
    assert said(recorder) == ["three", "3"]


def test_a_reply_that_was_replaced_stays_but_does_not_go_on(recorder: Recorder) -> None:
    record_turn(recorder, "one", "1")
    record_turn(recorder, "one", "uno", replaces_last=True)
    assert said(recorder) == ["one", "uno"]
    assert [turn.is_replaced for turn in recorder.read().turns] == [True, False]
    recorder.undo()
    assert not any(not turn.is_replaced for turn in recorder.read().turns)


def test_a_failed_second_try_leaves_the_first_reply(recorder: Recorder) -> None:
    record_turn(recorder, "one", "1")
    recorder.begin(SETTINGS, "", [Message("user", "one")], replaces_last=True)
    recorder.record(TextDelta("un"))
    recorder.drop_turn()
    recorder.drop_turn()
    assert said(recorder) == ["one", "1"]
    recorder.undo()
    assert Store(recorder.path).headings() == []


def test_a_turn_that_fails_at_once_leaves_nothing(recorder: Recorder) -> None:
    def failing() -> Iterator[Event]:
        raise SmolchatError("does not fit")
        yield

    recorder.begin(SETTINGS, "long", [Message("user", "long")])
    with pytest.raises(SmolchatError):
        list(recorder.follow(failing()))
    assert Store(recorder.path).headings() == []


def test_an_extended_reply_is_one_message(recorder: Recorder) -> None:
    record_turn(recorder, "one", "1, ")
    recorder.extend()
    recorder.record(TextDelta("2"))
    assert said(recorder) == ["one", "1, 2"]
    recorder.record(MessageAdded(Message("assistant", "1, 2"), replaces_last=True))
    recorder.record(FINISHED)
    assert said(recorder) == ["one", "1, 2"]
    (turn,) = recorder.read().turns
    assert turn.finished
    assert turn.finished.stats == FINISHED.stats + FINISHED.stats
    recorder.extend()
    recorder.record(TextDelta(", 3"))
    recorder.drop_turn()
    assert said(recorder) == ["one", "1, 2"]


# Titles, search, removal


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("  several\n\n words ", "several words"),
        ("one two, " * 10, "one two, " * 6 + "one…"),
        ("x" * 80, "x" * 59 + "…"),
        ("", ""),
    ],
)
def test_a_title_is_the_first_words(text: str, title: str) -> None:
    assert shortened(text) == title


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("invoice", [1]),
        ("INVOICES friday", [1]),
        ("fri", [1]),
        ("uber", [2]),
        ("Über", [2]),
        ('"weather" OR (NEAR', []),
        ("weather*", [2]),
        ("東京", [2]),
        ("budget", [1]),
        ("?!", []),
        ("nothing", []),
    ],
)
def test_search_finds_words_in_messages_and_titles(
    words: str, found: list[int], recorder: Recorder
) -> None:
    record_turn(recorder, "Where is my invoice?", "It comes on Friday.")
    recorder.set_title("Budget")
    recorder.leave()
    record_turn(recorder, "Über the weather", "東京 is fine.")
    store = Store(recorder.path)
    assert [heading.id for heading in store.search(words)] == found
    if words == "invoice":
        assert store.search(words)[0].excerpt == "Where is my [invoice]?"
    store.close()


def test_what_is_removed_is_no_longer_in_the_file(recorder: Recorder) -> None:
    record_turn(recorder, "one", "xylophone " * 500)
    recorder.leave()
    record_turn(recorder, "two", "2")
    recorder.close()
    store = Store(recorder.path)
    assert b"xylophone" in recorder.path.read_bytes()
    store.remove([1])
    assert [heading.id for heading in store.headings()] == [2]
    assert store.search("xylophone") == []
    store.close()
    assert not any(b"xylophon" in file.read_bytes() for file in recorder.path.parent.iterdir())


# Kills, and several processes


@pytest.fixture
def start_writer(path: Path) -> Iterator[Callable[[str, int], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, turns: int) -> subprocess.Popen[bytes]:
        script = str(Path(store_writer.__file__))
        environment = {**os.environ, "PYTHONPATH": str(Path(script).parent.parent)}
        command = [sys.executable, script, str(path), name, str(turns)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def assert_kept(store: Store, told: list[tuple[int, int]]) -> None:
    """Everything that was told of is there; of a reply broken off all words, or one more."""
    (heading,) = store.headings()
    turns = store.read(heading.id).turns
    reached: dict[int, int] = {}
    for number, index in told:
        reached[number] = index
    for number, index in reached.items():
        user, *replies = turns[number].messages
        events = store_writer.events_of(number)
        assert user.content == f"question {number}"
        if index >= len(events) - 2:
            assert (turns[number].finished is not None) or index == len(events) - 2
            assert replies == [events[-2].message]  # type: ignore[union-attr]
            continue
        words = "".join(each.text for each in events[: index + 1] if isinstance(each, TextDelta))
        assert not words or replies[0].content.startswith(words)


def test_killed_at_any_moment_of_200_turns_every_event_told_is_kept(
    path: Path, start_writer: Callable[[str, int], subprocess.Popen[bytes]]
) -> None:
    choose = random.Random(5)
    told: list[tuple[int, int]] = []
    turns = 0
    while turns < 200:
        writer = start_writer("killed", 200)
        assert writer.stdout
        for _ in range(choose.randint(1, 400)):
            told.append(tuple(map(int, writer.stdout.readline().split())))  # type: ignore[arg-type]
        writer.kill()
        rest, _ = writer.communicate()
        complete = rest.decode().split("\n")[:-1]
        told += [tuple(map(int, line.split())) for line in complete]  # type: ignore[misc]
        store = Store(path)
        assert_kept(store, told)
        turns = store.headings()[0].turn_count
        store.close()


def test_two_processes_write_a_thousand_events_each_and_none_is_lost(
    path: Path, start_writer: Callable[[str, int], subprocess.Popen[bytes]]
) -> None:
    """They also make the file at the same time."""
    writers = {name: start_writer(name, 91) for name in ("left", "right")}  # 11 events each
    for writer in writers.values():
        told, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0
        assert len(told.splitlines()) == 1001
    store = Store(path)
    for heading in store.headings():
        turns = store.read(heading.id).turns
        assert len(turns) == 91
        for number, turn in enumerate(turns):
            events = store_writer.events_of(number)
            added = [each.message for each in events if isinstance(each, MessageAdded)]
            assert (list(turn.messages), turn.finished) == (added, events[-1])
    assert {heading.title for heading in store.headings()} == set(writers)
    store.close()


# Files that cannot be used


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()


def marked_foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 12")
    connection.close()


def overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:20480] = os.urandom(12288)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (newer, "written by a newer smolchat"),
        (foreign, "another program"),
        (marked_foreign, "another program"),
        (overwritten, "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:10000]), "is damaged"),
        (lambda path: path.write_bytes(b"not a database at all" * 20), "is damaged"),
        (lambda path: path.write_bytes(b"short"), "is damaged"),
    ],
)
def test_a_file_that_is_not_understood_is_left_as_it_is(
    spoil: Callable[[Path], None], said: str, recorder: Recorder
) -> None:
    for number in range(20):
        record_turn(recorder, f"question {number}", "word " * 200)
    recorder.close()
    spoil(recorder.path)
    before = recorder.path.read_bytes()
    with pytest.raises(StoreError, match=said) as failure:
        Store(recorder.path)
    assert "left as it is" in failure.value.hint
    later = Recorder(recorder.path, "chat")
    later.begin(SETTINGS, "one")
    told = list(later.follow(iter(TURN)))
    notices = [each.text for each in told if isinstance(each, Notice)]
    assert len(notices) == 2
    assert notices[0].startswith("this conversation is not kept: ")
    assert [each for each in told if each != Notice(notices[0])] == TURN
    assert recorder.path.read_bytes() == before


@contextmanager
def without_privileges() -> Iterator[None]:
    """Permissions do not bind the superuser."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_read_only_folder_can_be_read_and_is_told_of_when_written_to() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "conversations.db"
        recorder = Recorder(path, "chat")
        record_turn(recorder, "one", "1")
        recorder.close()
        path.chmod(0o444)
        folder.chmod(0o555)
        with without_privileges():
            assert said(recorder) == ["one", "1"]
            later = Recorder(path, "chat")
            record_turn(later, "two", "2")
            problem = later.take_problem()
            assert problem
            assert problem.startswith(f"this conversation is not kept: cannot use {path}: ")
            assert later.take_problem() is None
        assert said(recorder) == ["one", "1"]
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


FULL_DISK = """
import resource, sys
from pathlib import Path
from smolchat.store import Recorder
from store_writer import SETTINGS, events_of
recorder = Recorder(Path(sys.argv[1]), "chat")
recorder.begin(SETTINGS, "full")
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
problem, number = None, 0
while not problem:
    for event in events_of(number):
        recorder.record(event)
        problem = problem or recorder.take_problem()
    number += not problem
print(number, problem)
"""


def test_a_full_disk_keeps_what_was_written_before(path: Path) -> None:
    """A limit on the size of files stands for it."""
    tests = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    count, _, problem = done.stdout.partition(" ")
    assert problem.startswith("this conversation is not kept: cannot use")
    store = Store(path)
    messages = store.read(1).turns[0].messages
    assert int(count) > 5
    assert len(messages) >= 2 * int(count)
    store.close()


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    store = Store(path)
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
