"""What was typed at the prompt, kept in a file. Knows no conversation."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from pathlib import Path

from prompt_toolkit.history import History


class InputHistory(History):
    """Entries in the format of prompt-toolkit's `FileHistory`; instances may share the file.

    A file that cannot be read or written is no failure: the entries then last as long as the
    program, and `take_problem` tells why.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._problem: str | None = None
        self._is_broken = False

    def take_problem(self) -> str | None:
        """What went wrong with the file; told once."""
        problem, self._problem = self._problem, None
        return problem

    def load_history_strings(self) -> Iterable[str]:
        """The entries, latest first."""
        try:
            text = self._path.read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            self._break(error)
            return []
        runs = groupby(text.split("\n"), key=lambda line: line.startswith("+"))
        entries = ["\n".join(line[1:] for line in lines) for is_entry, lines in runs if is_entry]
        return reversed(entries)

    def store_string(self, string: str) -> None:
        if self._is_broken:
            return
        lines = "".join(f"+{line}\n" for line in string.split("\n"))
        entry = f"\n# {datetime.now()}\n{lines}".encode("utf-8", "replace")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._append(entry)
        except OSError as error:
            self._break(error)

    def _append(self, entry: bytes) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, entry)  # one write, so that entries of two instances do not mix
        finally:
            os.close(file)

    def _break(self, error: OSError) -> None:
        self._is_broken = True
        self._problem = f"the input history is not kept: {error.strerror}: {self._path}"
