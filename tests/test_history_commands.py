"""The history commands through real processes, and conversations that go on between commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import Command, Smolchat
from test_store import FINISHED, SETTINGS, TURN, record_turn

from smolchat.messages import Message, MessageAdded, TextDelta
from smolchat.store import Recorder, Store

GREEDY = ("--temperature", "0", "--max-new-tokens", "12")


@pytest.fixture
def path(environment: dict[str, str]) -> Path:
    """Where the program keeps conversations."""
    return Path(environment["XDG_DATA_HOME"]) / "smolchat" / "conversations.db"


@pytest.fixture
def kept(path: Path) -> Path:
    """A chat of two turns with a reply that was replaced, and a run with a tool."""
    recorder = Recorder(path, "chat")
    record_turn(recorder, "Where is my invoice?", "It comes on Friday.")
    record_turn(recorder, "Sure?", "No.")
    record_turn(recorder, "Sure?", "Yes.", replaces_last=True)
    recorder.close()
    recorder = Recorder(path, "run")
    recorder.begin(SETTINGS, "What is 1 + 2?")
    for event in TURN:
        recorder.record(event)
    recorder.close()
    return path


def test_list_shows_the_latest_first(smolchat: Smolchat, kept: Path) -> None:
    lines = smolchat("history", "list").stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["2", "1"]
    assert lines[0].endswith("run           1 turn  What is 1 + 2?")
    assert lines[1].endswith("chat         2 turns  Where is my invoice?")
    listed = smolchat("history", "list", "--json", "--limit", "1")
    assert [heading["title"] for heading in json.loads(listed.stdout)] == ["What is 1 + 2?"]
    assert listed.stderr == b"smolchat: 1 more; see them with --limit\n"


def test_without_conversations_there_is_nothing_and_no_file(smolchat: Smolchat, path: Path) -> None:
    assert smolchat("history", "list").stdout == b""
    assert not path.exists()


def test_show_prints_a_conversation(smolchat: Smolchat, kept: Path) -> None:
    shown = smolchat("history", "show", "1")
    text = shown.stdout.decode()
    assert text.startswith("# Where is my invoice?\n\n## User\n\nWhere is my invoice?\n\n")
    assert text.endswith("## User\n\nSure?\n\n## Assistant (tiny)\n\nYes.\n")
    assert "No." not in text
    assert shown.stderr.decode().startswith("smolchat: 1 replaced replies")
    whole = smolchat("history", "show", "1", "--all").stdout.decode()
    assert "(tiny, replaced later)\n\nNo." in whole
    called = smolchat("history", "show", "2").stdout.decode()
    assert '- `add({"a": 1, "b": [2, "é"]})`\n  ok:\n\n```\n3\n```\n' in called


def test_search_finds_and_its_exit_code_tells(smolchat: Smolchat, kept: Path) -> None:
    found = smolchat("history", "search", "invoice", "yes")
    assert (found.returncode, found.stdout.decode().splitlines()[1].strip()) == (0, "[Yes].")
    missing = smolchat("history", "search", "invoice", "elephant")
    assert (missing.returncode, missing.stdout, missing.stderr) == (1, b"", b"")


def test_export_writes_every_format(smolchat: Smolchat, kept: Path) -> None:
    everything = json.loads(smolchat("history", "export", "--format", "json").stdout)
    assert [each["id"] for each in everything] == [1, 2]
    turn = everything[1]["turns"][0]
    assert (turn["checkpoint"], turn["profile"], turn["sampling"]["seed"]) == ("tiny", "chat", 7)
    assert turn["stats"]["new_tokens"] == FINISHED.stats.new_tokens
    assert turn["tool_runs"][0]["result"]["content"] == "3"
    assert turn["messages"][-1]["token_ids"] == [3, 4]
    lines = smolchat("history", "export", "--format", "jsonl").stdout.decode().splitlines()
    assert [json.loads(line) for line in lines] == everything
    written = smolchat("history", "export", "1").stdout.decode()
    assert written == smolchat("history", "show", "1").stdout.decode()


def test_remove_takes_all_or_nothing(smolchat: Smolchat, command: Command, kept: Path) -> None:
    refused = command("history", "remove", "1", "99")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("smolchat: there is no conversation 99\n")
    assert command("history", "remove").exit_code == 2
    assert smolchat("history", "remove", "1").stderr == b"smolchat: 1 removed\n"
    assert command("history", "list").stdout.split()[0] == "2"
    assert command("history", "remove", "--all").exit_code == 0
    assert command("history", "list").stdout == ""


@pytest.mark.parametrize("arguments", [("list",), ("show", "1"), ("search", "a"), ("export",)])
def test_a_damaged_file_ends_every_command(
    arguments: tuple[str, ...], command: Command, path: Path
) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(os.urandom(5000))
    before = path.read_bytes()
    ended = command("history", *arguments)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[0].startswith(f"smolchat: {path} is damaged")
    assert path.read_bytes() == before


def test_a_run_goes_on_without_a_damaged_file(
    smolchat: Smolchat, path: Path, tiny_folder: Path
) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(os.urandom(5000))
    ended = smolchat("run", "-m", str(tiny_folder), *GREEDY, "hi")
    assert ended.returncode == 0
    assert ended.stdout
    assert ended.stderr.count(b"this conversation is not kept: ") == 1


def test_a_run_is_kept_continued_and_replayed(
    command: Command, path: Path, tiny_folder: Path
) -> None:
    # By transformers, which always adds up in the same order: chance may then decide.
    drawn = ("--dtype", "float16", "--temperature", "1", "-q")
    named = ("run", "-m", str(tiny_folder), "--max-new-tokens", "12", "-s", "Sing.")
    first = command(*named, *drawn, "one").stdout
    second = command("run", "-c", *drawn, "--max-new-tokens", "6", "two").stdout
    command("rewrite", "-m", str(tiny_folder), "-q", *GREEDY, "Pay 12 by Friday.")
    command("run", "-m", str(tiny_folder), "-q", *GREEDY, "--no-history", "three")
    command("run", "-m", str(tiny_folder), "-q", *GREEDY, "four", SMOLCHAT_NO_HISTORY="1")
    store = Store(path)
    assert [(heading.kind, heading.title) for heading in store.headings()] == [
        ("rewrite", "Pay 12 by Friday."),
        ("run", "one"),
    ]
    turns = store.read(1).turns
    store.close()
    texts = [message.content for turn in turns for message in turn.messages]
    assert texts == ["one", first, "two", second]
    assert {(turn.settings.checkpoint, turn.settings.system) for turn in turns} == {
        (str(tiny_folder), "Sing.")
    }
    assert isinstance(turns[0].settings.sampling.seed, int)
    assert len(turns[0].messages[1].token_ids) == 12
    prompt = command("run", "-c", "--show-prompt", "three").stdout
    assert prompt.count("<|im_start|>") == 7
    assert "<|im_start|>system\nSing.<|im_end|>" in prompt
    assert command("history", "replay", "1").stdout == "turn 1: the same\nturn 2: the same\n"
    assert command("history", "replay", "2").stdout == "turn 1: the same\n"


def test_replay_shows_what_differs(
    command: Command, smolchat: Smolchat, path: Path, tiny_folder: Path
) -> None:
    command("run", "-m", str(tiny_folder), "-q", *GREEDY, "one")
    recorder = Recorder(path, "run")
    recorder.resume(recorder.read())
    recorder.extend()
    recorder.record(TextDelta(" and more"))
    told = recorder.read().turns[0].messages[-1].content
    recorder.record(MessageAdded(Message("assistant", told), replaces_last=True))
    recorder.close()
    ended = smolchat("history", "replay", "1")
    assert ended.returncode == 1
    assert ended.stdout.startswith(b"turn 1: differs\n--- then\n+++ now\n")
    assert b" and more\n" in ended.stdout


@pytest.mark.parametrize("arguments", [("-c",), ("--resume", "5")])
def test_there_may_be_nothing_to_go_on_with(arguments: tuple[str, ...], command: Command) -> None:
    ended = command("run", *arguments, "hi")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "there is no conversation" in ended.stderr
