"""Texts that a command is given: arguments, files and standard input, as UTF-8."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smolchat.errors import UsageError
from smolchat.messages import Message

WAIT_SECONDS = 3.0
"""After so long a person is told that standard input is being waited for."""


def has_piped_stdin() -> bool:
    return sys.stdin is not None and not sys.stdin.isatty()


def read_stdin() -> str:
    """All of standard input. Raises UsageError when it cannot be read or is not UTF-8."""
    return decode(read_stdin_bytes(), "standard input")


def read_stdin_bytes() -> bytes:
    """As `read_stdin`, before it is known to be a text."""
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot read standard input: {reason}", "Give it a pipe or a file."
        ) from error


def take_piped_stdin() -> str:
    """What is piped in, after which standard input is the terminal that the program runs in.

    Raises UsageError where there is no terminal, or nothing in the pipe.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError as error:
        raise UsageError(*NO_TERMINAL) from error
    text = require_text(read_stdin())
    os.dup2(terminal, 0)
    os.close(terminal)
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    return text


NO_TERMINAL = ("chat needs a terminal", 'Without one, use: smolchat run --prompt "..."')


@contextmanager
def told_of_waiting(is_quiet: bool) -> Iterator[None]:
    """Within it, whoever forgot to end standard input is told so after a while."""
    waiting = threading.Timer(WAIT_SECONDS, _say_waiting)
    waiting.daemon = True
    if not is_quiet:
        waiting.start()
    try:
        yield
    finally:
        waiting.cancel()


def read_file(path: Path) -> str:
    """Raises UsageError when the file cannot be read or is not UTF-8; `-` is standard input."""
    if str(path) == "-":
        return read_stdin()
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise _unreadable(path, error) from error


def read_documents(sources: list[str], may_be_text: bool = True) -> dict[str, str]:
    """Texts of files by name; a single source that reads like a text may be one, without a name.

    Raises UsageError for what cannot be read, and for formats that have to be converted first.
    """
    if may_be_text and len(sources) == 1 and _is_text(sources[0]):
        return {"": sources[0]}
    return {source: read_document(Path(source)) for source in sources}


def read_document(path: Path) -> str:
    """As `read_file`, but not what only looks like a text: PDF, HTML and office formats."""
    if str(path) == "-":
        return require_prose(read_stdin_bytes(), "standard input")
    try:
        return require_prose(path.read_bytes(), str(path))
    except OSError as error:
        raise _unreadable(path, error) from error


def require_prose(content: bytes, origin: str) -> str:
    """The text in `content`. Raises UsageError naming the command that converts it to one."""
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for kind, signature, command in CONVERTERS:
        if re.match(signature, start):
            source = "-" if origin == "standard input" else shlex.quote(origin)
            raise UsageError(
                f"{origin} is {kind}, not plain text",
                f"Convert it first and pipe the text in: {command.format(source)} | smolchat ...",
            )
    return decode(content, origin)


CONVERTERS = (
    ("PDF", rb"%pdf-", "pdftotext {} -"),
    (
        "HTML",
        rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!doctype html|<html)",
        "pandoc -f html -t plain {}",
    ),
    ("RTF", rb"\{\\rtf", "pandoc -f rtf -t plain {}"),
    ("an office document or a ZIP archive", rb"pk\x03\x04", "pandoc -t plain {}"),
    ("an old office document", rb"\xd0\xcf\x11\xe0", "antiword {}"),
    ("PostScript", rb"%!ps", "ps2ascii {}"),
)
"""What a file is, how it starts (in small letters), and what makes a text of it."""


def decode(content: bytes, origin: str) -> str:
    """UTF-8 without a byte order mark and without the line breaks at its end.

    So `echo Hello` gives the prompt that the argument Hello gives. Raises UsageError naming the
    first bad byte.
    """
    try:
        return content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{origin} is not UTF-8 text (byte {content[error.start]:#04x} at {error.start})",
            "Convert it first, for example with iconv -t utf-8.",
        ) from error


def require_text(text: str) -> str:
    """Raises UsageError for an empty text or one that no encoding can carry."""
    if not text.strip():
        raise UsageError("the prompt is empty", "Give a text as argument or on standard input.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            "the prompt is not valid text", "Give it in the terminal's encoding (UTF-8)."
        ) from error
    return text


def read_json(path: Path, hint: str) -> Any:
    """Raises UsageError with `hint` when the file does not hold JSON."""
    try:
        return json.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}", hint) from error


def read_messages(path: Path) -> list[Message]:
    """A JSON list of objects with `role` and `content`, to be answered. Raises UsageError."""
    entries = read_json(path, _MESSAGES_HINT)
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path} is not a list of messages", _MESSAGES_HINT)
    messages = [
        _message(entry, f"{path}, message {number}") for number, entry in enumerate(entries, 1)
    ]
    if messages[-1].role != "user":
        raise UsageError(f"{path}: the last message is not the user's", _MESSAGES_HINT)
    return messages


def read_schema(given: str) -> dict[str, Any]:
    """A JSON schema: the text itself, or the file that holds it. Raises UsageError."""
    hint = 'For example: {"type": "object", "properties": {"name": {"type": "string"}}}'
    if not given.strip():
        raise UsageError("--schema is empty", hint)
    if given.lstrip().startswith("{"):
        try:
            schema = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"--schema is not JSON: {error}", hint) from error
    else:
        schema = read_json(Path(given), hint)
    if not isinstance(schema, dict):
        raise UsageError("--schema is not a JSON object", hint)
    from smolchat.json_schema import usable

    return usable(schema, "--schema")


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot read {path}: {error.strerror}",
        "Check the path; a text to work on can be piped in.",
    )


_MESSAGES_HINT = 'For example: [{"role": "user", "content": "Hello"}]'


def _message(entry: Any, where: str) -> Message:
    if not isinstance(entry, dict) or set(entry) != {"role", "content"}:
        raise UsageError(f"{where}: not an object of role and content", _MESSAGES_HINT)
    role, content = entry["role"], entry["content"]
    if role not in ("system", "user", "assistant"):
        raise UsageError(
            f"{where}: role {role!r} is none of system, user, assistant", _MESSAGES_HINT
        )
    if not isinstance(content, str):
        raise UsageError(f"{where}: content is not a text", _MESSAGES_HINT)
    return Message(role, content)


def _is_text(source: str) -> bool:
    """Several words that are no file, and do not end like the name of one."""
    if " " not in source.strip() or re.search(r"\.\w{1,5}$", source):
        return False
    try:
        return not Path(source).exists()
    except OSError:  # too long for a file name
        return True


def _say_waiting() -> None:
    is_typed = sys.stdin is not None and sys.stdin.isatty()
    how = "end it with Ctrl-D" if is_typed else "if there is none, add </dev/null"
    print(f"smolchat: waiting for standard input ({how})", file=sys.stderr)
