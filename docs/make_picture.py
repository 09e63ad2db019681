"""Makes docs/terminal.svg from a real run: `python docs/make_picture.py`.

Types into a shell in a pseudo-terminal, lets a terminal emulator draw what comes back, and exports
its screen. Needs bash, and the embedded checkpoint only.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path

import pexpect
import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

COLUMNS, LINES = 100, 30
QUIET_SECONDS = 4.0
"""So long without output, a command is taken to wait for the next key."""

SESSION = [
    'echo "The CI is failing after your last commit!" | smolchat rewrite -m tiny',
    "smolchat -m tiny",
    "Hi! Who are you?",
    "What can you do?",
    "What is the capital of France?",
    "Thank you!",
]
OUTPUT = Path(__file__).parent / "terminal.svg"


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        screen = run(Path(home))
    export(screen)


def run(home: Path) -> pyte.Screen:
    """The screen after the whole session, typed into a shell of a user without any files."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.Stream(screen)
    scripts = Path(sys.executable).parent
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile"],
        dimensions=(LINES, COLUMNS),
        encoding="utf-8",
        env={
            "PATH": f"{scripts}:/usr/bin:/bin",
            "HOME": str(home),
            "PS1": "$ ",
            "TERM": "xterm-256color",
            "HF_HUB_OFFLINE": "1",
        },
    )
    screen.write_process_input = shell.send  # answers questions about the cursor
    settle(shell, stream)
    for line in SESSION:
        shell.send(f"{line}\r")
        settle(shell, stream)
    shell.close(force=True)
    return screen


def settle(shell: pexpect.spawn, stream: pyte.Stream) -> None:
    """Feeds the emulator until nothing has come for a while."""
    last = time.monotonic()
    while time.monotonic() - last < QUIET_SECONDS:
        try:
            stream.feed(shell.read_nonblocking(65536, timeout=0.2))
            last = time.monotonic()
        except pexpect.TIMEOUT:
            continue
        except pexpect.EOF:
            return


def export(screen: pyte.Screen) -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    lines = [drawn(screen.buffer[row]) for row in range(LINES)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    for line in lines:
        console.print(line, no_wrap=True, crop=True)
    console.save_svg(str(OUTPUT), title="smolchat")


def drawn(row: dict[int, pyte.screens.Char]) -> Text:
    """One line of the screen with its colors."""
    text = Text()
    for column in range(COLUMNS):
        cell = row[column]
        color = None if cell.fg == "default" else color_name(cell.fg)
        style = Style(color=color, bold=cell.bold, italic=cell.italics, reverse=cell.reverse)
        text.append(cell.data, style)
    text.rstrip()
    return text


def color_name(name: str) -> str:
    """pyte says `brightblue` or `aabbcc`, Rich `bright_blue` or `#aabbcc`."""
    if len(name) == 6 and all(digit in "0123456789abcdef" for digit in name):
        return f"#{name}"
    return {"brown": "yellow"}.get(name, name.replace("bright", "bright_"))


if __name__ == "__main__":
    main()
