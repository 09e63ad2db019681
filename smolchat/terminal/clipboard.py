"""Text to the clipboard: by the desktop's own program, else through the terminal (OSC 52)."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import TextIO

from smolchat.errors import UsageError

TIMEOUT_SECONDS = 5
TERMINAL_BYTES = 74_994
"""What xterm and its kin take at most: 100,000 bytes with the sequence around it."""


def copy(text: str, screen: TextIO) -> str:
    """Copies `text` and returns by which way, for the user to read. Raises UsageError."""
    for command in _programs(os.environ):
        if shutil.which(command[0]) and _has_taken(command, text):
            return f"copied with {command[0]}"
    if os.environ.get("TERM", "dumb") in {"dumb", "linux", "unknown"}:
        raise UsageError(
            "there is no way to the clipboard",
            "Install wl-copy, xclip or xsel, or select the text.",
        )
    encoded = text.encode()
    if len(encoded) > TERMINAL_BYTES:
        raise UsageError(
            f"{len(encoded)} bytes are more than the terminal's clipboard takes",
            "Install wl-copy, xclip or xsel.",
        )
    screen.write(f"\x1b]52;c;{base64.b64encode(encoded).decode()}\x07")
    screen.flush()
    return "sent to the terminal's clipboard; not every terminal takes it"


def _programs(environment: Mapping[str, str]) -> Iterator[list[str]]:
    if environment.get("WAYLAND_DISPLAY"):
        yield ["wl-copy"]
    if environment.get("DISPLAY"):
        yield ["xclip", "-selection", "clipboard"]
        yield ["xsel", "--input", "--clipboard"]
    if sys.platform == "darwin" and not environment.get("SSH_CONNECTION"):
        yield ["pbcopy"]


def _has_taken(command: list[str], text: str) -> bool:
    try:
        done = subprocess.run(
            command,
            input=text.encode(),
            # xclip stays behind to serve the text, and would hold a pipe open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
