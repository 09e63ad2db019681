"""What a reply says: its prose and its tool calls, or why the calls cannot be read.

Knows text only: no tokens, no tools and no schemas. It repairs what has a single reading and
never changes the type of a value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from smolchat.messages import ToolCall

ErrorKind = Literal["truncated", "malformed_json", "not_a_call", "bad_arguments"]

OPENING, CLOSING = "<tool_call>", "</tool_call>"

MAX_DEPTH = 100
"""How deep brackets may nest: what goes on with the arguments may recurse."""

MAX_DIGITS = 640
"""Python may be set to refuse longer integers, and takes quadratic time for them."""


@dataclass(frozen=True, slots=True)
class ReplyError:
    """Why the calls of a reply cannot be read, in words that a model can learn from."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply. Its calls are all or nothing: where one is wrong there are none."""

    text: str
    """The prose around the calls."""
    tool_calls: tuple[ToolCall, ...] = ()
    error: ReplyError | None = None


def read_reply(text: str) -> Reply:
    """Reads a reply; never raises, whatever the text."""
    stream = ReplyStream()
    stream.feed(_without_end_of_turn(text))
    stream.finish()
    return stream.reply()


def _without_end_of_turn(text: str) -> str:
    for token in ("<|endoftext|>", "<|im_end|>"):
        if (stripped := text.rstrip()).endswith(token):
            text = stripped.removesuffix(token)
    return text


_TAG = re.compile(r"</?tool_call>")
_MARK = re.compile(rf"(?P<fence>`{{3,}})|(?P<mention>`+{OPENING})|(?P<block>{OPENING})")


class ReplyStream:
    """Reads a reply while it grows: gives its prose as it comes and keeps its calls.

    What it reads does not depend on how the text is cut into pieces. Blanks before a block, and
    those at the end of a reply with blocks, belong to the blocks.
    """

    def __init__(self, reads_calls: bool = True) -> None:
        """Without `reads_calls` everything is prose."""
        self._reads_calls = reads_calls
        self._pending = ""
        self._read_to = 0
        self._searched_to = 0
        self._may_be_bare = True
        self._is_in_block = False
        self._fence = ""
        self._prose: list[str] = []
        self._blocks: list[_Block] = []

    def feed(self, text: str) -> str:
        """The prose that `text` completes; nothing that may yet belong to a block."""
        if not self._reads_calls:
            self._prose.append(text)
            return text
        self._pending += text
        self._may_be_bare = self._may_be_bare and _may_be_bare_calls(self._pending)
        return "" if self._may_be_bare else self._read(is_complete=False)

    def finish(self) -> str:
        """What was held back and turned out to be prose; the reply is complete."""
        if self._may_be_bare and (block := _read_bare_calls(self._pending)):
            self._blocks.append(block)
            self._read_to = len(self._pending)
        self._may_be_bare = False
        return self._read(is_complete=True)

    def reply(self) -> Reply:
        """All that was read; asked for after `finish`."""
        text = "".join(self._prose)
        for block in self._blocks:
            if block.error is not None:
                return Reply(text, error=block.error)
        wished = [call for block in self._blocks for call in block.calls]
        return Reply(
            text,
            tuple(
                ToolCall(f"call_{number}", call.name, call.arguments or {})
                for number, call in enumerate(wished, 1)
            ),
        )

    def _read(self, is_complete: bool) -> str:
        found: list[str] = []
        while True:
            if not self._is_in_block:
                found.append(self._read_prose(is_complete))
            if not self._is_in_block or not self._read_block(is_complete):
                break
        self._pending = self._pending[self._read_to :]
        self._searched_to = max(0, self._searched_to - self._read_to)
        self._read_to = 0
        self._prose += found
        return "".join(found)

    def _read_prose(self, is_complete: bool) -> str:
        """Prose up to the next block, or to what may become one."""
        start = self._read_to
        end = len(self._pending) if is_complete else _sure_prose(self._pending)
        for mark in _MARK.finditer(self._pending, start, max(start, end)):
            if mark.lastgroup == "fence":
                self._pass_fence(mark[0])
            elif mark.lastgroup == "block" and not self._fence:
                self._is_in_block = True
                self._read_to = self._searched_to = mark.end()
                return self._pending[start : mark.start()].rstrip()
        self._read_to = max(start, end)
        prose = self._pending[start : self._read_to]
        return prose.rstrip() if is_complete and self._blocks else prose

    def _pass_fence(self, ticks: str) -> None:
        """Code ends at a fence at least as long as the one that opened it."""
        if not self._fence:
            self._fence = ticks
        elif len(ticks) >= len(self._fence):
            self._fence = ""

    def _read_block(self, is_complete: bool) -> bool:
        """Whether the block under way has ended; only a further tag can end it."""
        has_tag = _TAG.search(self._pending, self._searched_to) is not None
        self._searched_to = max(self._read_to, len(self._pending) - len(CLOSING) + 1)
        if not has_tag and not is_complete:
            return False
        block = _read_block(self._pending, self._read_to, is_complete)
        if block is None:
            return False
        self._blocks.append(block)
        self._read_to = block.end
        self._is_in_block = False
        return True


def _sure_prose(text: str) -> int:
    """How much of `text` is prose whatever follows: not its last blanks, ticks or half a tag."""
    angle = text.rfind("<", max(0, len(text) - len(OPENING) + 1))
    is_half_tag = angle >= 0 and OPENING.startswith(text[angle:])
    return len(text[: angle if is_half_tag else None].rstrip("`").rstrip())


_FENCE = re.compile(r"\s*`+\w*\s*")
_FIRST_KEY = re.compile(r"(?:\[\s*)?(?:\{\s*)?[\"']?(\w*)")
_FIRST_KEYS = ("name", "arguments", "parameters", "function", "tool_calls", "id", "type", "index")


def _may_be_bare_calls(text: str) -> bool:
    """Whether the message that begins with `text` may be nothing but calls, in a fence or not."""
    fence = _FENCE.match(text)
    inner = text[fence.end() :] if fence else text.lstrip()
    if not inner:
        return True
    if inner[0] not in "[{":
        return fence is not None and OPENING.startswith(inner[: len(OPENING)])
    first = _FIRST_KEY.match(inner)
    assert first is not None
    if first.end() < len(inner):
        return first[1] in _FIRST_KEYS
    return any(key.startswith(first[1]) for key in _FIRST_KEYS)


def _read_bare_calls(text: str) -> _Block | None:
    """The calls of a message that is nothing else; None where it is an ordinary answer."""
    fence = _FENCE.match(text)
    inner = text[fence.end() :].rstrip("` \r\n\t") if fence else text.strip()
    is_tagged = inner.startswith(OPENING)
    block = _read_block(inner, len(OPENING) if is_tagged else 0, is_complete=True)
    if block is None or block.end < len(inner) or block.error is not None:
        return None
    is_call = bool(block.calls) and all(call.arguments is not None for call in block.calls)
    return block if is_tagged or is_call else None


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    arguments: dict[str, Any] | None
    """None where the model gave none at all."""


@dataclass(frozen=True, slots=True)
class _Block:
    end: int
    """Where the text goes on behind it."""
    calls: tuple[_Call, ...] = ()
    error: ReplyError | None = None


class _Unreadable(Exception):
    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.error = ReplyError(kind, message)


def _read_block(text: str, start: int, is_complete: bool) -> _Block | None:
    """The block that begins behind the tag at `start`; None while more text may change it."""
    reader = _JsonReader(text, start)
    try:
        reader.read()
        end = _end_of_block(text, reader.position, is_complete)
    except _Unreadable as unreadable:
        closing = text.find(CLOSING, reader.position)
        if closing < 0 and not is_complete:
            return None
        end = len(text) if closing < 0 else closing + len(CLOSING)
        return _Block(end, error=unreadable.error)
    if end is None:
        return None
    try:
        return _Block(end, tuple(_calls_of(reader.values)))
    except _Unreadable as unreadable:
        return _Block(end, error=unreadable.error)


def _end_of_block(text: str, position: int, is_complete: bool) -> int | None:
    """Where a block ends whose values end at `position`; None while more text may tell."""
    tag = _TAG.search(text, position)
    if tag is None:
        if not is_complete:
            return None
        return len(text) if CLOSING.startswith(text[position:].strip()) else position
    if tag[0] == CLOSING:
        if tag.start() > position:
            raise _malformed(text, position)
        return tag.end()
    if not _BLANKS.fullmatch(text, tag.end()):
        return position
    # Nothing follows: the opening tag was written for the closing one.
    return len(text) if is_complete else None


_BLANKS = re.compile(r"\s*")
_COLON = re.compile(r"\s*:")


_Container: TypeAlias = "list[Any] | dict[str, Any]"

_TOKEN = re.compile(
    r"(?P<blank>\s+)|(?P<fence>`{3,}\w*)|(?P<tag></?tool_call>)"
    r"|(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)|(?P<colon>:)"
    r"|(?P<string>\"[^\"\\]*(?:\\.[^\"\\]*)*\"|'[^'\\]*(?:\\.[^'\\]*)*')"
    r"|(?P<word>[\w.+\-$]+)",
    re.DOTALL,
)
_CLOSERS = re.compile(r"[\s\]}`]*(</tool_call>)?")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_IDENTIFIER = re.compile(r"[^\W\d][\w-]*")
_LITERALS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}


class _JsonReader:
    """Reads the values of a block, one token at a time.

    A container joins its parent when it opens, so that closing the open ones takes nothing.
    """

    def __init__(self, text: str, position: int) -> None:
        self.position = position
        self.values: list[Any] = []
        self._text = text
        self._stack: list[_Container] = [self.values]
        self._key = ""
        self._last = "open"
        self._has_gap = False

    def read(self) -> None:
        """Stops at the tag, the prose or the end behind the values; raises _Unreadable."""
        while match := _TOKEN.match(self._text, self.position):
            kind, token = str(match.lastgroup), match[0]
            if self._is_behind(kind, token):
                break
            if kind == "word" and match.end() == len(self._text):
                raise self._truncated()
            self._take(kind, token)
            self._has_gap = kind == "blank"
            self.position = match.end()
        self._check_end()

    def _is_behind(self, kind: str, token: str) -> bool:
        """Whether the values end before this token."""
        if token == CLOSING:
            return True
        is_between = len(self._stack) == 1 and bool(self.values)
        return is_between and kind in ("string", "word", "colon", "tag")

    def _check_end(self) -> None:
        if self._text.startswith(CLOSING, self.position):
            if not self.values or self._last in ("key", "colon"):
                raise self._malformed()
        elif len(self._stack) > 1 or not self.values:
            raise self._truncated() if self._is_cut() else self._malformed()
        elif self._last == "comma" and self.position == len(self._text):
            raise self._truncated()

    def _is_cut(self) -> bool:
        """Whether the text ends here, or in a string or tag that begins here."""
        rest = self._text[self.position : self.position + len(CLOSING)]
        return rest[:1] in ("", '"', "'") or OPENING.startswith(rest) or CLOSING.startswith(rest)

    def _take(self, kind: str, token: str) -> None:
        match kind:
            case "open":
                self._open({} if token == "{" else [])
            case "close":
                self._close(token)
            case "string" | "word":
                self._take_scalar(kind, token)
            case "comma" if self._last in ("bracket", "string", "word"):
                self._last = "comma"
            case "colon" if self._last == "key":
                self._last = "colon"
            case "tag" if len(self._stack) > 1:
                raise _Unreadable("truncated", "a block began before the last one was complete")
            case "comma" | "colon":
                raise self._malformed()
            case "fence" if len(self._stack) > 1:
                self._close_all()

    def _open(self, container: _Container) -> None:
        if len(self._stack) > MAX_DEPTH:
            raise _Unreadable("malformed_json", f"brackets nest deeper than {MAX_DEPTH}")
        self._put(container, "bracket")
        self._stack.append(container)
        self._last = "open"

    def _close(self, token: str) -> None:
        container = self._stack[-1]
        is_match = len(self._stack) > 1 and isinstance(container, dict) == (token == "}")
        if is_match and self._last not in ("key", "colon"):
            self._stack.pop()
        elif not self._is_superfluous(container):
            self._close_all()
        self._last = "bracket"

    def _is_superfluous(self, container: _Container) -> bool:
        """A bracket too many changes nothing between calls; within one it might."""
        is_between = len(self._stack) == 1 or (
            len(self._stack) == 2 and isinstance(container, list)
        )
        return is_between and bool(container)

    def _close_all(self) -> None:
        """Where only closing brackets follow, they decide nothing: which ones does not matter."""
        closers = _CLOSERS.match(self._text, self.position)
        assert closers is not None
        if self._last in ("key", "colon"):
            raise self._malformed()
        if closers[1] is None:
            at_end = closers.end() == len(self._text)
            raise self._truncated() if at_end else self._malformed()
        del self._stack[1:]

    def _take_scalar(self, kind: str, token: str) -> None:
        container = self._stack[-1]
        if isinstance(container, dict) and self._last != "colon":
            self._begin_member(container, kind, token)
        else:
            self._put(self._text_of(token) if kind == "string" else self._value_of(token), kind)

    def _begin_member(self, container: dict[str, Any], kind: str, token: str) -> None:
        is_key = _COLON.match(self._text, self.position + len(token)) is not None
        self._require_comma("string" if is_key else kind)
        key = self._text_of(token) if kind == "string" else token
        is_name = kind == "string" or (_IDENTIFIER.fullmatch(key) and key not in _LITERALS)
        if not is_name or key in container:
            raise self._malformed()
        self._key, self._last = key, "key"

    def _put(self, value: Any, kind: str) -> None:
        container = self._stack[-1]
        if isinstance(container, list):
            self._require_comma(kind)
            container.append(value)
        elif self._last == "colon":
            container[self._key] = value
        else:
            raise self._malformed()
        self._last = kind

    def _require_comma(self, kind: str) -> None:
        """A comma may be missing at a bracket, or at a blank before a string or a key.

        Elsewhere it may be a quote without its backslash, or digits in groups.
        """
        if self._last in ("open", "comma"):
            return
        is_apart = self._last == "bracket" or (self._has_gap and self._last in ("string", "word"))
        if kind == "word" or not is_apart:
            raise self._malformed()

    def _text_of(self, token: str) -> str:
        body = re.sub(r'\\.|"', _respelled, token[1:-1], flags=re.DOTALL)
        try:
            text: str = json.loads(f'"{body}"', strict=False)
            text.encode()  # Half a surrogate pair is no character.
        except ValueError:
            raise self._malformed() from None
        return text

    def _value_of(self, word: str) -> Any:
        if word in _LITERALS:
            return _LITERALS[word]
        if len(word) > MAX_DIGITS or not _NUMBER.fullmatch(word):
            raise self._malformed()
        if word.lstrip("-").isdecimal():
            return int(word)
        if not math.isfinite(number := float(word)):
            raise self._malformed()
        return number

    def _malformed(self) -> _Unreadable:
        return _malformed(self._text, self.position)

    def _truncated(self) -> _Unreadable:
        self.position = len(self._text)
        return _Unreadable("truncated", "the reply ends before its calls are complete")


def _respelled(escape: re.Match[str]) -> str:
    """An escape, or a quote in a string of single quotes, as JSON spells it."""
    return {"\\'": "'", '"': '\\"'}.get(escape[0], escape[0])


def _malformed(text: str, position: int) -> _Unreadable:
    near = text[position : position + 20].partition(CLOSING)[0]
    where = f"near {near!r}" if near else "at its end"
    return _Unreadable("malformed_json", f"the block is not valid JSON {where}")


_CALL_SHAPE = '{"name": "...", "arguments": {...}}'
_LABELS = {"id", "type", "index"}


def _calls_of(values: Sequence[Any]) -> Iterator[_Call]:
    for value in values:
        if isinstance(value, dict) and "name" not in value:
            value = value.get("tool_calls", value)
        for entry in value if isinstance(value, list) else [value]:
            yield _call_of(entry)


def _call_of(entry: Any) -> _Call:
    """The call that `entry` is, also where it stands under `function`."""
    strays: set[str] = set()
    if isinstance(entry, dict) and isinstance(entry.get("function"), dict):
        strays = entry.keys() - {"function"} - _LABELS
        entry = entry["function"]
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise _Unreadable("not_a_call", f"each call must be written as {_CALL_SHAPE}")
    strays |= entry.keys() - {"name", "arguments", "parameters"} - _LABELS
    if strays or {"arguments", "parameters"} <= entry.keys():
        raise _bad_arguments(name)
    arguments = entry.get("arguments", entry.get("parameters"))
    return _Call(name.strip(), _arguments_of(name, arguments))


def _arguments_of(name: str, arguments: Any) -> dict[str, Any] | None:
    if isinstance(arguments, str):
        arguments = _decoded(arguments)
    if arguments is not None and not isinstance(arguments, dict):
        raise _bad_arguments(name)
    return arguments


def _decoded(text: str) -> Any:
    """The value that stands in a string; None where it is blank, `text` where it is no value."""
    if not text.strip():
        return None
    reader = _JsonReader(text, 0)
    try:
        reader.read()
    except _Unreadable:
        return text
    is_whole = reader.position == len(text) and len(reader.values) == 1
    return reader.values[0] if is_whole else text


def _bad_arguments(name: str) -> _Unreadable:
    return _Unreadable(
        "bad_arguments", f"the arguments of {name.strip()!r} must be one object: {_CALL_SHAPE}"
    )
