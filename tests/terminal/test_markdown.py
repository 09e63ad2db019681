"""Markdown through a terminal emulator: the rows that are seen, and those scrolled away."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterable
from pathlib import Path

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from smolchat.terminal.markdown import MarkdownStream
from smolchat.terminal.wrapping import cell_count

REPLY = Path(__file__).with_name("packing.md").read_text(encoding="utf-8")

SEEN = """\
Packing light

Take only what you need, and roll --tight
your clothes. See the list
(https://a.example/b).

• shirts, of which two are enough for a
  week if one of them is dark and dries
  over night
  1. socks
☐ passport
☑ ticket

▌ Pack early, and unpack half of it:
▌ nobody has ever regretted to have taken
▌ too little.

```python
def weigh(bag):
    \"\"\"In kg, 日本
    too.\"\"\"
    return sum(bag)  # all
```

item     kg
───────────
boots   1.5
靴下    0.1

────────────────────────────────────────
日本語の文章はとても長いので、行の終わりで
折り返される必要があります。句読点の前では
ない。
A family 👨‍👩‍👧 with flags 🇩🇪🇯🇵,
thumbs 👍🏽 and hearts ❤️ on a line that
is to be wrapped."""


class Emulator(pyte.HistoryScreen):
    """As a terminal that knows no joined emoji; pyte's own drops what follows a joiner."""

    def draw(self, data: str) -> None:
        for character in data:
            super().draw(character)


class Screen:
    """A stream of Markdown, and the terminal that it is written to."""

    def __init__(self, columns: int = 42, lines: int = 12) -> None:
        self.raw = ""
        self.emulator = Emulator(columns, lines, history=100_000)
        self._emulated = pyte.Stream(self.emulator)
        self._file = io.StringIO()
        self._console = Console(
            file=self._file,
            width=columns,
            force_terminal=True,
            color_system="standard",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        self._stream = MarkdownStream(self._console)

    def show(self, *parts: str) -> Screen:
        for part in parts:
            self.feed(part)
        self._stream.finish()
        self._draw()
        return self

    def feed(self, part: str) -> None:
        self._stream.feed(part)
        self._draw()

    def resize(self, columns: int) -> None:
        self._console.width = columns
        self.emulator.resize(columns=columns)

    @property
    def rows(self) -> list[str]:
        """Scrollback and screen, without the empty rows below."""
        emulator = self.emulator
        above = [
            "".join(row[x].data for x in range(emulator.columns)) for row in emulator.history.top
        ]
        rows = [row.rstrip() for row in [*above, *emulator.display]]
        return "\n".join(rows).rstrip("\n").split("\n")

    @property
    def cells(self) -> list[list[pyte.screens.Char]]:
        buffer = [self.emulator.buffer[y] for y in range(self.emulator.lines)]
        return [[row[x] for x in range(self.emulator.columns)] for row in buffer]

    def _draw(self) -> None:
        written = self._file.getvalue()[len(self.raw) :]
        self.raw += written
        self._emulated.feed(written.replace("\n", "\r\n"))  # as the terminal's driver does


def shown(text: str, columns: int = 42) -> list[str]:
    return Screen(columns).show(text).rows


def pieces(text: str, seed: int) -> Iterable[str]:
    chance = random.Random(seed)
    while text:
        size = chance.choice([1, 2, 3, 5, 40])
        yield text[:size]
        text = text[size:]


def never_moves(raw: str) -> bool:
    """Whether nothing but styles and line feeds steers the terminal."""
    controls = re.sub(r"\x1b\[[\d;]*m|\n", "", raw)
    return not re.search(r"[\x00-\x1f\x7f-\x9f]", controls)


def pure(rows: Iterable[str]) -> list[str]:
    """Rows as pyte draws them: it has no cells for joiners and variation selectors of its own."""
    return [re.sub("[\u200d\ufe0f]", "", row) for row in rows]


def test_every_kind_of_block_is_drawn_and_scrolled_away_whole() -> None:
    screen = Screen().show(REPLY)
    assert pure(screen.rows) == pure(SEEN.split("\n"))
    assert never_moves(screen.raw)


@pytest.mark.parametrize("seed", range(8))
def test_how_the_reply_is_cut_into_pieces_changes_nothing(seed: int) -> None:
    whole, cut = Screen().show(REPLY), Screen().show(*pieces(REPLY, seed))
    assert cut.rows == whole.rows
    assert cut.cells == whole.cells
    assert never_moves(cut.raw)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_printed_is_never_touched_again(seed: int) -> None:
    screen = Screen(lines=200)
    before = [""]
    for part in pieces(REPLY, seed):
        screen.feed(part)
        rows = screen.rows
        assert rows[: len(before) - 1] == before[:-1]
        assert rows[len(before) - 1].startswith(before[-1])
        before = rows


@pytest.mark.parametrize("seed", range(5))
def test_a_resize_in_the_middle_leaves_what_is_there_and_loses_no_word(seed: int) -> None:
    chance = random.Random(seed)
    screen = Screen(columns=80, lines=200)
    for part in pieces(REPLY, seed):
        screen.feed(part)
        if chance.random() < 0.1:
            before, columns = screen.rows, chance.randint(30, 100)
            screen.resize(columns)
            assert screen.rows == [row[:columns].rstrip() for row in before] or any(
                not row.isascii() for row in before
            )
    screen.show()
    assert said(screen.raw) == said(Screen(columns=60, lines=200).show(REPLY).raw)
    assert never_moves(screen.raw)


def said(raw: str) -> str:
    """The words, however they were broken into rows."""
    return re.sub(r"\x1b\[[\d;]*m|[\s▌─]", "", raw)


@pytest.mark.parametrize("columns", [20, 33, 57, 80])
def test_no_row_is_longer_than_the_terminal_on_any_terminal(columns: int) -> None:
    prose = re.sub(r"```.*```", "", REPLY, flags=re.DOTALL)
    text = re.sub(r"\x1b\[[\d;]*m", "", Screen(columns).show(prose).raw)
    rows = [row for row in text.split("\n") if " " in row.strip("▌ ")]  # not one long word
    assert max(map(cell_count, rows)) <= columns


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("", [""]),
        ("\n\n one\n\n\n\ntwo\n\n", [" one", "", "two"]),
        ("a soft\nbreak", ["a soft", "break"]),
        ("- - -", ["─" * 40]),
        ("**Note:** 2*3*4 is __24__ and ~~25~~", ["Note: 234 is 24 and 25"]),
        ("*args and **kwargs", ["*args and **kwargs"]),
        (r"\*not\* &lt;b&gt; <b>", ["*not* <b> <b>"]),
        ("array[0] and [1] and [x", ["array[0] and [1] and [x"]),
        ("<https://a.example> ![cat](c.png)", ["https://a.example cat (c.png)"]),
        ("[safe](javascript:x)", ["[safe](javascript:x)"]),
        ("`a  **b**` ``c`d``", ["a  **b** c`d"]),
        ("`open", ["`open"]),
        ("#hashtag\n# \n####### 7", ["#hashtag", "", "####### 7"]),
        ("-5 degrees\n1.5 litres\n-", ["-5 degrees", "1.5 litres", "-"]),
        ("1) one\n10. ten", ["1) one", "10. ten"]),
        ("- a\n\n      b", ["• a", "", "      b"]),
        ("text\n\n    x = **1**\n", ["text", "", "    x = **1**"]),
        ("> > deep\n> - item\n>\n> end", ["▌ ▌ deep", "▌ • item", "▌", "▌ end"]),
        ("- x\n  ```sh\n  ls *\n  ```\n- y", ["• x", "  ```sh", "  ls *", "  ```", "• y"]),
        ("> ```\n> a\nb", ["▌ ```", "▌ a", "b"]),
        ("```\n# no heading\n~~~\n``\n````", ["```", "# no heading", "~~~", "``", "````"]),
        ("```nonsense\nx", ["```nonsense", "x"]),
        ("| not a table\nnext", ["| not a table", "next"]),
        ("| a | b |\n|---|---|", ["a   b", "─────"]),
        (
            "| a | b |\n|---|---|\n| 1 |\n| 2 | 3 | 4 |\n| x\\|y | `z` |",
            ["a     b", "───────────", "1", "2     3 | 4", "x|y   z"],
        ),
        ("| a | b |\n|---|\nx", ["| a | b |", "|---|", "x"]),
        ("x" * 50 + " y", ["x" * 42, "x" * 8 + " y"]),
        ("\ttab", ["    tab"]),
    ],
)
def test_sources_and_what_is_seen_of_them(source: str, rows: list[str]) -> None:
    assert shown(source) == rows
    assert Screen().show(*source).rows == rows


def test_a_table_too_wide_for_the_terminal_is_shown_as_it_is_written() -> None:
    wide = f"|{' x |' * 20}\n|{'---|' * 20}\n"
    assert "".join(shown(wide)).count("x") == 20


def test_styles_are_those_of_the_marks() -> None:
    screen = Screen().show("**b** *i* ~~s~~ `c`\n```python\nreturn 1\n```")
    bold, italic, struck, code = (screen.cells[0][x] for x in (0, 2, 4, 6))
    assert (bold.data, bold.bold) == ("b", True)
    assert (italic.data, italic.italics) == ("i", True)
    assert (struck.data, struck.strikethrough) == ("s", True)
    assert (code.data, code.fg) == ("c", "cyan")
    assert screen.cells[2][0].fg != "default"


def test_code_is_coloured_as_what_stands_before_it_demands() -> None:
    screen = Screen().show('```python\n"""one\nreturn\n"""\nreturn\n```')
    inside, outside = screen.cells[2][0].fg, screen.cells[4][0].fg
    assert inside == screen.cells[1][0].fg != outside


def test_words_are_shown_as_they_come_and_a_span_when_it_is_whole() -> None:
    screen = Screen()
    seen = []
    for part in ("Hello wo", "rld **bo", "ld te", "xt** en", "d\n"):
        screen.feed(part)
        seen.append(screen.rows[0])
    assert seen == [
        "Hello", "Hello world", "Hello world", "Hello world bold text", "Hello world bold text end"
    ]  # fmt: skip


def test_a_mark_without_partner_holds_back_only_so_much() -> None:
    screen = Screen()
    screen.feed("It is **open " + "and goes on " * 30)
    assert screen.rows[0].startswith("It is **open and")


@pytest.mark.parametrize("start", ["It is ", "- ", "`", "```\n", "> ```py\n> "])
def test_a_word_without_end_is_shown_while_it_grows(start: str) -> None:
    screen = Screen(lines=40)
    screen.feed(start)
    for _ in range(500):
        screen.feed("0a")
    assert "".join(screen.rows).count("0a") > 450
    screen.show(" b\n")
    assert "".join(screen.rows).count("0a") == 500
    assert "\n" not in re.search("0a.*0a", screen.raw, re.DOTALL)[0]  # type: ignore[index]


def test_control_characters_reach_no_terminal_in_any_disguise() -> None:
    hidden = "\x1b[2J `\x1b[2J` &#x202e; &#27; [x](<a\x07b>)\n```\n\x1b[2J\n```\n| \x1b[2J |\n|-|\n"
    screen = Screen().show(hidden)
    assert never_moves(screen.raw)
    assert "\u202e" not in screen.raw
    assert r"\x1b[2J" in screen.rows[0]
    assert r"\u202e" in screen.rows[0]


@given(st.text(st.sampled_from("ab 1*_`[]#->|\n.~:\\日👍\t"), max_size=60), st.integers(0, 9))
def test_no_letter_of_any_reply_is_lost(text: str, seed: int) -> None:
    screen = Screen(columns=200, lines=100).show(*pieces(text, seed))
    assert re.sub(r"[^ab日👍]", "", screen.raw) == re.sub(r"[^ab日👍]", "", text)
    assert never_moves(screen.raw)
