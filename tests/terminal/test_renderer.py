"""Events to the screen: the bare reply in a pipe, and a tidy one on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from smolchat.difference import changes
from smolchat.errors import SmolchatError
from smolchat.generation import GenerationStats
from smolchat.messages import Event, Message, MessageAdded, Notice, TextDelta, TurnFinished
from smolchat.terminal.renderer import Renderer

STATS = GenerationStats(
    prompt_tokens=100, cached_tokens=60, new_tokens=21, prefill_seconds=0.5, decode_seconds=2.0
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")


def finished(stats: GenerationStats) -> TurnFinished:
    return TurnFinished("stop", stats, used_tokens=121, context_tokens=2048)


def turn(*deltas: str) -> list[Event]:
    return [
        MessageAdded(Message("user", "hi")),
        *map(TextDelta, deltas),
        MessageAdded(Message("assistant", "".join(deltas))),
        finished(STATS),
    ]


def show(renderer: Renderer, events: list[Event]) -> None:
    for event in events:
        renderer.show(event)


@pytest.mark.parametrize("is_streaming", [True, False])
@pytest.mark.parametrize("force", ["", "1"])
@pytest.mark.parametrize(
    "reply",
    [
        "Hello",
        "ends with a break\n",
        "",
        "long " * 50,
        "\x1b[31m\r\n\ttab :smile: [bold]x[/bold] é😀",
    ],
)
def test_in_a_pipe_the_output_is_the_reply(
    reply: str, force: str, is_streaming: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", force)
    out, err = io.StringIO(newline=""), io.StringIO()
    show(Renderer(out, err, is_streaming=is_streaming), turn(*reply))
    assert out.getvalue() == reply
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    ("deltas", "shown"),
    [
        (("Hel", "lo"), "Hello\n"),
        (("Hello", "\n"), "Hello\n"),
        (("Hello\n", ""), "Hello\n"),
        (("a\n\n", "b"), "a\n\nb\n"),
        (("# **Mark", "down**\n- a *", "b*"), "# **Markdown**\n- a *b*\n"),
        ((), ""),
        (
            ("[bold]x[/bold] :smile: ", "word " * 20),
            "[bold]x[/bold] :smile: " + "word " * 20 + "\n",
        ),
        (("\x1b[31mred\x07", "\u202e"), "\\x1b[31mred\\x07\\u202e\n"),
    ],
)
@pytest.mark.parametrize("reason", ["raw", "NO_COLOR", "TERM"])
def test_on_a_terminal_that_is_to_be_plain_a_reply_is_escaped_and_ends_its_line(
    deltas: tuple[str, ...], shown: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason != "raw":
        monkeypatch.setenv(reason, "dumb")
    out = Terminal()
    show(Renderer(out, io.StringIO(), is_raw=reason == "raw"), turn(*deltas))
    assert out.getvalue() == shown


@pytest.mark.parametrize("is_streaming", [True, False])
def test_on_a_terminal_markdown_is_drawn_and_broken_between_words(is_streaming: bool) -> None:
    out = Terminal()
    renderer = Renderer(out, io.StringIO(), is_streaming=is_streaming)
    for _ in range(2):
        show(renderer, turn("# **Ti", "tle**\n", "word " * 9, "\n- it", "em"))
    drawn = re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())
    assert drawn == 2 * f"Title\n{'word ' * 7}word\nword\n• item\n"


def test_a_failure_in_the_middle_of_a_reply_begins_a_line() -> None:
    screen = Terminal()
    renderer = Renderer(screen, screen)
    renderer.show(TextDelta("half a **re"))
    renderer.problem(SmolchatError("broken"))
    assert "half a **re\n" in screen.getvalue()
    assert screen.getvalue().endswith("smolchat: broken\x1b[0m\n")


def test_without_streaming_nothing_is_shown_before_the_reply_is_complete() -> None:
    out = io.StringIO()
    renderer = Renderer(out, io.StringIO(), is_streaming=False)
    events = turn("Hel", "lo")
    show(renderer, events[:3])
    assert out.getvalue() == ""
    show(renderer, events[3:])
    assert out.getvalue() == "Hello"


def test_every_delta_is_written_at_once() -> None:
    written: list[str] = []

    class Pipe(io.StringIO):
        def flush(self) -> None:
            written.append(self.getvalue())

    renderer = Renderer(Pipe(), io.StringIO())
    renderer.show(TextDelta("Hel"))
    assert written == ["Hel"]


@pytest.mark.parametrize(("is_quiet", "said"), [(False, "smolchat: it was cut\n"), (True, "")])
def test_notices_go_to_standard_error_unless_quiet(is_quiet: bool, said: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    Renderer(out, err, is_quiet=is_quiet).show(Notice("it was cut"))
    assert (out.getvalue(), err.getvalue()) == ("", said)


def test_verbose_tells_speeds_and_counts_in_one_line() -> None:
    out, err = io.StringIO(), io.StringIO()
    Renderer(out, err, is_verbose=True).show(finished(STATS))
    assert out.getvalue() == ""
    assert err.getvalue() == (
        "first token 0.50 s · prefill 80 · decode 10 tok/s · "
        "drafts 0/0 · cached 60/100 · context 121/2048\n"
    )


@pytest.mark.parametrize(
    "stats",
    [GenerationStats(prompt_tokens=3), GenerationStats(prompt_tokens=3, new_tokens=1)],
)
def test_a_rate_of_nothing_is_a_dash(stats: GenerationStats) -> None:
    err = io.StringIO()
    Renderer(io.StringIO(), err, is_verbose=True).show(finished(stats))
    assert "prefill - · decode - tok/s" in err.getvalue()


def test_a_problem_is_told_with_its_hint_also_when_quiet() -> None:
    out, err = io.StringIO(), io.StringIO()
    renderer = Renderer(out, err, is_quiet=True)
    renderer.problem(SmolchatError("no such \x1b[8m thing [bold]", "Try another."))
    renderer.problem(SmolchatError("no hint " + "x" * 100))
    assert out.getvalue() == ""
    assert err.getvalue() == (
        f"smolchat: no such \\x1b[8m thing [bold]\nTry another.\nsmolchat: no hint {'x' * 100}\n"
    )


def told_on_terminal() -> str:
    err = Terminal()
    renderer = Renderer(io.StringIO(), err, is_verbose=True)
    renderer.notice("cut")
    renderer.problem(SmolchatError("broken", "Mend it."))
    renderer.show(finished(STATS))
    with renderer.waiting("loading"):
        pass
    return err.getvalue()


def test_a_terminal_gets_colour_and_a_spinner() -> None:
    told = told_on_terminal()
    assert "\x1b[2msmolchat: cut\x1b[0m\n" in told
    assert "\x1b[1;31msmolchat: broken\x1b[0m\nMend it.\n" in told
    assert "\x1b[2mfirst token" in told
    assert "loading" in told


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_is_to_stay_plain_gets_text_only(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    told = told_on_terminal()
    assert "\x1b" not in told
    assert told.startswith("smolchat: cut\nsmolchat: broken\nMend it.\nfirst token")
    assert told.count("\n") == 4


@pytest.mark.parametrize("force", ["", "1"])
def test_a_pipe_gets_no_colour_and_no_spinner(force: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", force)
    err = io.StringIO()
    renderer = Renderer(io.StringIO(), err)
    renderer.notice("cut")
    with renderer.waiting("loading"):
        pass
    assert err.getvalue() == "smolchat: cut\n"


def test_a_download_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    err = Terminal()
    with Renderer(io.StringIO(), err).progress("fetching 360m") as progress:
        progress(1_000_000, 2_000_000)
        progress(2_000_000, 2_000_000)
    assert "fetching 360m" in err.getvalue()
    assert "2.0/2.0 MB" in err.getvalue()


@pytest.mark.parametrize(("is_quiet", "said"), [(False, "smolchat: fetching 360m\n"), (True, "")])
def test_a_download_is_one_line_in_a_pipe_once_it_has_begun(is_quiet: bool, said: str) -> None:
    err = io.StringIO()
    with Renderer(io.StringIO(), err, is_quiet=is_quiet).progress("fetching 360m") as progress:
        assert err.getvalue() == ""
        for here in range(3):
            progress(here, 3)
    assert err.getvalue() == said


def test_a_quiet_terminal_gets_neither_spinner_nor_bar() -> None:
    err = Terminal()
    renderer = Renderer(io.StringIO(), err, is_quiet=True)
    with renderer.waiting("loading"), renderer.progress("fetching") as progress:
        progress(1, 2)
    assert err.getvalue() == ""


def test_changes_are_coloured_on_a_terminal_and_marked_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    differences = changes("where is it", "where can it be")
    terminal = Terminal()
    Renderer(terminal, io.StringIO()).changes(differences)
    assert terminal.getvalue() == (
        "where \x1b[9;31mis\x1b[0m\x1b[32mcan\x1b[0m it\x1b[32m be\x1b[0m\n"
    )
    pipe = io.StringIO()
    Renderer(pipe, io.StringIO()).changes(differences)
    assert pipe.getvalue() == "where [-is-]{+can+} it{+ be+}"
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Renderer(terminal, io.StringIO()).changes(differences)
    assert terminal.getvalue() == "where [-is-]{+can+} it{+ be+}\n"


def test_a_bar_makes_way_for_the_answer() -> None:
    screen = Terminal()
    renderer = Renderer(screen, screen)
    with renderer.steps("rewrite") as report:
        report(1, 3)
        assert "1/3" in screen.getvalue()
        renderer.show(TextDelta("Hello.\n"))
        assert screen.getvalue().endswith("\x1b[2KHello.\n")
        report(2, 3)
    assert "2/3" not in screen.getvalue()


def test_a_bar_stays_while_the_answer_goes_elsewhere() -> None:
    screen = Terminal()
    renderer = Renderer(io.StringIO(), screen)
    with renderer.steps("rewrite") as report:
        report(1, 3)
        renderer.show(TextDelta("Hello.\n"))
        report(2, 3)
    assert "2/3" in screen.getvalue()


def test_steps_show_nothing_without_a_terminal() -> None:
    err = io.StringIO()
    with Renderer(Terminal(), err).steps("rewrite") as report:
        report(1, 3)
    assert err.getvalue() == ""
