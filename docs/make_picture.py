"""Makes the pictures of the README from real runs: `python docs/make_picture.py [NAME]`.

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

COLUMNS, LINES = 100, 40
QUIET_SECONDS = 8.0
"""So long without output, a command is taken to wait for the next key."""

MAIL = """\
Hi all,

The launch of Falcon is planned for 3 May. Please send me the sales report by Friday.
Let me know if you have any questions.

Best,
Anna
"""

SESSIONS = {
    "chat": [
        "smolchat -m tiny",
        "Hi! Who are you?",
        "What can you do?",
        "What is the capital of France?",
        "Thank you!",
    ],
    "approval": [
        'smolchat run -m tiny -T calculate --approve none "What is 48 times 25?"',
        "y",
    ],
    "rewrite": [
        'smolchat rewrite -m tiny --diff "The CI is failing after your last commit!"',
    ],
    "summarize": ["cat mail.txt", "smolchat summarize -m tiny --verbose mail.txt"],
}
"""What is typed for each picture, line by line."""


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "mail.txt").write_text(MAIL)
        run(["smolchat run -m tiny Hello"], Path(home))  # compiles the kernels, once
        for name in sys.argv[1:] or SESSIONS:
            screen = run(SESSIONS[name], Path(home))
            export(screen, Path(__file__).parent / f"{name}.svg")


def run(lines: list[str], home: Path) -> pyte.Screen:
    """The screen after `lines` were typed into a shell whose user has nothing but `home`."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.Stream(screen)
    scripts = Path(sys.executable).parent
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile"],
        dimensions=(LINES, COLUMNS),
        encoding="utf-8",
        cwd=str(home),
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
    for line in lines:
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


def export(screen: pyte.Screen, path: Path) -> None:
    """Writes the screen as SVG, without the empty lines above a status line at its bottom."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    lines = [drawn(screen.buffer[row]) for row in range(LINES)]
    status = [lines.pop()] if lines[-1].plain.strip() else []
    while lines and not lines[-1].plain.strip():
        lines.pop()
    for line in [*lines, *status]:
        console.print(line, no_wrap=True, crop=True)
    console.save_svg(str(path), title="smolchat")


def drawn(row: dict[int, pyte.screens.Char]) -> Text:
    """One line of the screen with its colors."""
    text = Text()
    for column in range(COLUMNS):
        cell = row[column]
        color = None if cell.fg == "default" else color_name(cell.fg)
        style = Style(
            color=color,
            bold=cell.bold,
            italic=cell.italics,
            underline=cell.underscore,
            strike=cell.strikethrough,
            reverse=cell.reverse,
        )
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
