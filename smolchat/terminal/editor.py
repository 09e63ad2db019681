"""A text in the user's own editor."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from smolchat.errors import UsageError
from smolchat.terminal.keys import keys_released

USUAL = ("editor", "nano", "vi")


def edited(text: str) -> str:
    """`text` as the editor leaves it. Raises UsageError where there is none, or where it fails."""
    command = editor_command(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "message.md"
        path.write_text(text, encoding="utf-8")
        try:
            with keys_released():
                done = subprocess.run([*command, str(path)], check=False)
        except OSError as error:
            raise UsageError(f"cannot run {command[0]}: {error.strerror}", HINT) from error
        if done.returncode != 0:
            raise UsageError(f"{command[0]} ended with {done.returncode}", "Nothing is taken over.")
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")


HINT = "Set EDITOR to the editor of your choice."


def editor_command(environment: Mapping[str, str]) -> list[str]:
    """$VISUAL, else $EDITOR, else what is usually there; with its options. Raises UsageError."""
    named = environment.get("VISUAL") or environment.get("EDITOR")
    try:
        words = shlex.split(named or "")
    except ValueError as error:
        raise UsageError(f"EDITOR is not a command: {error}", HINT) from error
    found = words or [name for name in USUAL if shutil.which(name)][:1]
    if not found:
        raise UsageError("there is no editor", HINT)
    return found
