"""Where the words of a call come from: which earlier token each should be looked up at.

A call names a tool and its parameters as the list of tools has them, in the same order. To go on
with the next parameter, a network must know which tool it is calling and which parameter came
last, and must have noted the same of every parameter in the list. These links say where it would
have to look for that; `network.py` says which heads are taught to look there.

Knows the text of tools and calls as SmolLM2 writes them, byte by byte; not tokens' ids.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar


class Kind(IntEnum):
    """What is looked up."""

    NAME = 0
    """By a call: its tool's name in the list of tools."""
    KEY = 1
    """By a call: its next key in the list, or what follows the keys where there is none."""
    LAST_KEY = 2
    """By a call: the key before, or the tool's name."""
    OWN_TOOL = 3
    """By a call: its tool's name in the call."""
    LISTED_LAST_KEY = 4
    """By a key in the list: the key before, or the tool's name."""
    LISTED_OWN_TOOL = 5
    """By a key in the list: its tool's name; by that name, what it has been so far."""
    FITTING_KEY = 6
    """By a value in the question: its key in the list."""
    VALUE = 7
    """By a call: its next value in the question."""
    FITTING_TOOL = 8
    """By a word of the question: the one listed name of a tool that has it."""
    NAMED_KEY = 9
    """By a word of the question: the one listed key that has it."""
    ASKED = 10
    """By a tool's name in a call: the words of the question that only this tool has."""
    FIRST = 11
    """By what stands before a tool's name in a call: what closes the name in the list."""
    LISTED_FIRST = 12
    """By a name in the list: its first token."""


_TOOLS = re.compile(rb"<tools>(\[.*?\])</tools>", re.DOTALL)
_WORD = re.compile(rb"[A-Z]?[a-z]{2,}|[A-Z]{3,}")
_CALLS = re.compile(rb"<tool_call>(\[\{.*?\}\])</tool_call><\|im_end\|>", re.DOTALL)

Span = tuple[int, int]
Owner = TypeVar("Owner", bound=Hashable)


class Link(NamedTuple):
    """The token at `query` should attend to those of `sources`, to each alike."""

    kind: Kind
    query: int
    sources: Sequence[int]


class Listed(NamedTuple):
    """Where a tool stands in the list of tools, in bytes."""

    name: Span
    keys: dict[str, Span]
    end: Span
    """What follows its parameters; the next key where there is none."""


class Tokens:
    """Where the tokens of a text begin."""

    def __init__(self, starts: Sequence[int]) -> None:
        self._starts = starts

    def at(self, byte: int) -> int:
        """The token that holds a byte."""
        return bisect_right(self._starts, byte) - 1

    def of(self, span: Span) -> range:
        """The tokens that hold some of these bytes."""
        return range(self.at(span[0]), self.at(span[1] - 1) + 1)


def find_links(text: bytes, starts: Sequence[int]) -> list[Link]:
    """The links of a conversation whose tokens begin at the bytes `starts`."""
    found = _TOOLS.search(text)
    if not found:
        return []
    tokens = Tokens(starts)
    tools = dict(_listed_tools(text, found))
    links = [link for tool in tools.values() for link in _of_list(tool, tokens)]
    blocks = list(_CALLS.finditer(text, found.end()))
    if not blocks:
        return links
    said = text.index(b"<|im_end|>", found.end()), blocks[0].start()
    names = {name: tool.name for name, tool in tools.items()}
    keys = {(name, key): span for name, tool in tools.items() for key, span in tool.keys.items()}
    asked = _words_of_one(text, said, names)
    links += _of_words(Kind.FITTING_TOOL, asked, names, tokens)
    links += _of_words(Kind.NAMED_KEY, _words_of_one(text, said, keys), keys, tokens)
    for block in blocks:
        links += _of_calls(text, block, tools, tokens, asked)
    return links


def _words_of_one(text: bytes, said: Span, listed: dict[Owner, Span]) -> dict[Owner, list[Span]]:
    """Where the question has words that one of the listed names has, and no other."""
    owners: dict[bytes, set[Owner]] = defaultdict(set)
    for owner, span in listed.items():
        for match in _WORD.finditer(text, *span):
            owners[match[0].lower()].add(owner)
    found: dict[Owner, list[Span]] = defaultdict(list)
    for match in _WORD.finditer(text, *said):
        owned = owners.get(match[0].lower(), set())
        if len(owned) == 1:
            found[next(iter(owned))].append(match.span())
    return found


def _of_words(
    kind: Kind, words: dict[Owner, list[Span]], listed: dict[Owner, Span], tokens: Tokens
) -> Iterator[Link]:
    for owner, spans in words.items():
        for span in spans:
            for token in _told(tokens.of(span)):
                yield Link(kind, token, _closed(tokens.of(listed[owner])))


def _told(word: range) -> range:
    """The tokens of a word at which it may be known."""
    return word[1:] or word


def _listed_tools(text: bytes, found: re.Match[bytes]) -> Iterator[tuple[str, Listed]]:
    place = found.start(1)
    for tool in json.loads(found[1]):
        function = tool["function"]
        name = _span(text, place, '"function": {"name": "', function["name"], '"')
        place = text.index(b'"properties": {', name[1]) + len('"properties": {')
        keys = {}
        for key, schema in function["parameters"]["properties"].items():
            keys[key] = _span(text, place, '"', key, '": ')
            place = keys[key][1] + len('": ') + len(_written(schema))
        yield function["name"], Listed(name, keys, (place, place + 1))


def _of_list(tool: Listed, tokens: Tokens) -> Iterator[Link]:
    last = own = _closed(tokens.of(tool.name))
    for place in range(1, len(own)):
        yield Link(Kind.LISTED_OWN_TOOL, own[place], own[: place + 1])
        yield Link(Kind.LISTED_FIRST, own[place], own[:1])
    for span in (*tool.keys.values(), tool.end):
        for token in tokens.of(span):
            yield Link(Kind.LISTED_LAST_KEY, token, last)
            yield Link(Kind.LISTED_OWN_TOOL, token, own)
        last = _closed(tokens.of(span))


def _of_calls(
    text: bytes,
    block: re.Match[bytes],
    tools: dict[str, Listed],
    tokens: Tokens,
    asked: dict[str, list[Span]],
) -> Iterator[Link]:
    place = block.start(1)
    said = text.index(b"<|im_end|>", text.index(b"</tools>")), block.start()
    for call in json.loads(block[1]):
        tool = tools[call["name"]]
        name = _span(text, place, '{"name": "', call["name"], '"')
        words = [token for word in asked.get(call["name"], ()) for token in _told(tokens.of(word))]
        yield from _of_name(tokens.of(name), tokens.of(tool.name), words)
        last = own = _closed(tokens.of(name))
        place = text.index(b"{", name[1])
        for key, value in call["arguments"].items():
            span = _span(text, place, '"', key, '": ')
            word, source = tokens.of(span), tokens.of(tool.keys[key])
            goes_on = range(tokens.at(place) - 1, word[0] - 1)
            yield from (Link(Kind.KEY, query, source[:1]) for query in goes_on)
            yield from _spelt(Kind.KEY, word, source)
            yield from _known(range(goes_on.start, word[-1]), last, own)
            for found in _stated(value, text, said):
                yield from (Link(Kind.FITTING_KEY, at, source) for at in tokens.of(found))
                for query in range(goes_on.start, word.stop):
                    yield Link(Kind.VALUE, query, _closed(tokens.of(found)))
            last = _closed(word)
            place = span[1] + len('": ') + len(_written(value))
        goes_on = range(tokens.at(place) - 1, tokens.at(place))
        yield from (Link(Kind.KEY, query, tokens.of(tool.end)[:1]) for query in goes_on)
        yield from _known(goes_on, last, own)


def _of_name(word: range, listed: range, asked: Sequence[int]) -> Iterator[Link]:
    yield from _spelt(Kind.NAME, word, listed)
    yield Link(Kind.FIRST, word.start - 1, _closed(listed)[-1:])
    if asked:
        yield from (Link(Kind.ASKED, token - 1, asked) for token in word)


def _stated(value: Any, text: bytes, place: Span) -> Iterator[Span]:
    """Where the conversation states a value, or the first of a list, if it does so once."""
    if isinstance(value, list):
        for part in value[:1]:
            yield from _stated(part, text, place)
        return
    if isinstance(value, bool) or value is None:
        return
    word = value.encode() if isinstance(value, str) else _written(value)
    pattern = re.compile(rb"(?<![\w.])" + re.escape(word) + rb"(?!\w|\.\d)")
    matches = [match.span() for match in pattern.finditer(text, *place)]
    if word and len(matches) == 1:
        yield matches[0]


def _spelt(kind: Kind, word: range, source: range) -> Iterator[Link]:
    """A word is told token by token, each before it is written."""
    for place, token in enumerate(word[: len(source)]):
        yield Link(kind, token - 1, source[place : place + 1])


def _closed(word: range) -> range:
    """A word with the token that closes it."""
    return range(word.start, word.stop + 1)


def _known(queries: range, last: range, own: range) -> Iterator[Link]:
    for query in queries:
        yield Link(Kind.LAST_KEY, query, last)
        yield Link(Kind.OWN_TOOL, query, own)


def _span(text: bytes, place: int, before: str, word: str, after: str) -> Span:
    """The bytes of the next such word between what stands before and after it."""
    start = text.index(f"{before}{word}{after}".encode(), place) + len(before)
    return start, start + len(word.encode())


def _written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
