"""Texts from arguments, files and standard input: what is read, and how bad ones are refused."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest

from smolchat import inputs
from smolchat.errors import UsageError
from smolchat.messages import Message


def give_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"plain", "plain"),
        (b"one\ntwo\n", "one\ntwo"),
        (b"dos\r\nlines\r\n", "dos\r\nlines"),
        (b"\n  indented\n\n", "\n  indented"),
        ("caf\u00e9 \U0001f600".encode(), "caf\u00e9 \U0001f600"),
        (b"\xef\xbb\xbfmarked", "marked"),
        (b"nul\x00byte", "nul\x00byte"),
        (b"", ""),
    ],
)
def test_content_is_text_without_the_line_breaks_at_its_end(content: bytes, text: str) -> None:
    assert inputs.decode(content, "mail.txt") == text


@pytest.mark.parametrize(
    ("content", "where"),
    [(b"caf\xe9", "0xe9 at 3"), (b"\xff\xfeh\x00", "0xff at 0"), (b"ab\xe2\x82", "0xe2 at 2")],
)
def test_other_encodings_are_refused_with_the_first_bad_byte(content: bytes, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        inputs.decode(content, "mail.txt")
    assert caught.value.message == f"mail.txt is not UTF-8 text (byte {where})"
    assert "iconv" in caught.value.hint


def test_stdin_is_read_as_utf8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, "\u00fc\n".encode())
    assert inputs.has_piped_stdin()
    assert inputs.read_stdin() == "\u00fc"


def test_a_closed_stdin_is_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert not inputs.has_piped_stdin()


def test_a_stdin_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = os.open(tmp_path / "output", os.O_WRONLY | os.O_CREAT)
    with os.fdopen(descriptor) as write_only:
        monkeypatch.setattr(sys, "stdin", write_only)
        with pytest.raises(UsageError, match="cannot read standard input: Bad file descriptor"):
            inputs.read_stdin()


@pytest.mark.parametrize(("is_quiet", "said"), [(False, "waiting for standard input"), (True, "")])
def test_whoever_forgets_to_end_stdin_is_told_unless_quiet(
    is_quiet: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(inputs, "WAIT_SECONDS", 0.05)
    reading, writing = os.pipe()
    closing = threading.Timer(0.4, os.close, [writing])
    closing.start()
    with os.fdopen(reading) as pipe, inputs.told_of_waiting(is_quiet):
        monkeypatch.setattr(sys, "stdin", pipe)
        assert inputs.read_stdin() == ""
    closing.join()
    assert capsys.readouterr().err.count("\n") == bool(said)


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, b"piped\n")
    assert inputs.read_file(Path("-")) == "piped"


def test_several_files_are_read_by_name(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("one", "two")]
    for path in paths:
        Path(path).write_text("text\n")
    assert inputs.read_documents(paths) == dict.fromkeys(paths, "text")


@pytest.mark.parametrize(
    ("content", "kind", "command"),
    [
        (b"%PDF-1.7\n\xe2", "PDF", "pdftotext {} -"),
        (b"<!DOCTYPE html>\n<p>", "HTML", "pandoc -f html -t plain {}"),
        (b"\xef\xbb\xbf\n <html lang=en>", "HTML", "pandoc -f html -t plain {}"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<html>", "HTML", "pandoc"),
        (b"{\\rtf1 hi}", "RTF", "pandoc -f rtf"),
        (b"PK\x03\x04....", "office document", "pandoc -t plain {}"),
        (b"\xd0\xcf\x11\xe0", "office document", "antiword {}"),
        (b"%!PS-Adobe", "PostScript", "ps2ascii {}"),
    ],
)
def test_other_formats_are_refused_with_the_command_that_converts_them(
    content: bytes, kind: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "my file"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        inputs.read_document(path)
    assert f"{path} is " in refused.value.message
    assert kind in refused.value.message
    assert command.format(f"'{path}'") in refused.value.hint
    give_stdin(monkeypatch, content)
    with pytest.raises(UsageError) as refused:
        inputs.read_document(Path("-"))
    assert refused.value.message.startswith("standard input is ")
    assert command.format("-") in refused.value.hint


def test_a_text_about_html_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("The tag <html> opens a page.")
    assert inputs.read_document(tmp_path / "a") == "The tag <html> opens a page."


def test_a_single_source_with_blanks_is_a_text_unless_it_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert inputs.read_documents(["the long mail"]) == {"": "the long mail"}
    assert inputs.read_documents(["words " * 1000]) == {"": "words " * 1000}
    (tmp_path / "the long mail").write_text("from the file\n")
    assert inputs.read_documents(["the long mail"]) == {"the long mail": "from the file"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent", "No such file or directory"), (".", "Is a directory"), ("x" * 300, "too long")],
)
def test_files_that_cannot_be_read_are_named(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=reason) as caught:
        inputs.read_documents([name, "other"])
    assert caught.value.message.startswith(f"cannot read {name}: ")


@pytest.mark.parametrize("text", ["", " ", "\n\t \n"])
def test_an_empty_prompt_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="the prompt is empty"):
        inputs.require_text(text)


def test_a_prompt_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="not valid text"):
        inputs.require_text(os.fsdecode(b"caf\xe9"))


def test_messages_are_read_in_order(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi \U0001f600"},
        {"role": "assistant", "content": ""},
        {"content": "And now?\n", "role": "user"},
    ]
    path = tmp_path / "messages.json"
    path.write_text(json.dumps(messages))
    assert inputs.read_messages(path) == [
        Message("system", "Be brief."),
        Message("user", "Hi \U0001f600"),
        Message("assistant", ""),
        Message("user", "And now?\n"),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is not JSON"),
        ("[", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"role": "user", "content": "hi"}', "is not a list of messages"),
        ("[]", "is not a list of messages"),
        ('["hi"]', "message 1: not an object of role and content"),
        ('[{"role": "user"}]', "message 1: not an object of role and content"),
        (
            '[{"role": "user", "content": "hi", "name": "x"}]',
            "message 1: not an object of role and content",
        ),
        ('[{"role": "user", "content": 3}]', "message 1: content is not a text"),
        ('[{"role": "user", "content": null}]', "message 1: content is not a text"),
        (
            '[{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]',
            "message 2: role 'tool' is none of system, user, assistant",
        ),
        ('[{"role": ["user"], "content": "a"}]', "message 1: role ['user'] is none of"),
        ('[{"role": "assistant", "content": "a"}]', "the last message is not the user's"),
    ],
)
def test_bad_messages_are_refused_with_file_and_number(
    content: str, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "messages.json"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        inputs.read_messages(path)
    assert caught.value.message.startswith(str(path))
    assert problem in caught.value.message
    assert '"role": "user"' in caught.value.hint


def test_message_files_in_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "messages.json"
    path.write_bytes('[{"role": "user", "content": "é"}]'.encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        inputs.read_messages(path)
