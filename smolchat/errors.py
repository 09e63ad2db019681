"""The errors that smolchat raises on purpose; the command line prints them as two lines.

SmolchatError                1   something failed while running
├── StoreError               1   conversations cannot be read or written
├── UsageError               2   the command or a setting makes no sense
├── ProfileError             2   a profile or the configuration file is wrong
├── ToolLoadError            2   a tool file cannot be offered to the model
├── SchemaMismatch           3   the output does not satisfy the requested schema
├── ContextOverflow          4   the prompt does not fit the context
└── CheckpointError         69   the checkpoint is missing, damaged or cannot be fetched

The number is the process's exit code.
"""

from __future__ import annotations

from collections.abc import Iterable


class SmolchatError(Exception):
    """Something the user can understand: `message` says what happened, `hint` what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class StoreError(SmolchatError):
    exit_code = 1


class UsageError(SmolchatError):
    exit_code = 2


class ProfileError(SmolchatError):
    exit_code = 2


class ToolLoadError(SmolchatError):
    exit_code = 2


class SchemaMismatch(SmolchatError):
    exit_code = 3


class ContextOverflow(SmolchatError):
    exit_code = 4


class CheckpointError(SmolchatError):
    exit_code = 69


def did_you_mean(wrong: str, valid: Iterable[str]) -> str:
    """A clause for a message that names the nearest of `valid`; empty when none is near."""
    from difflib import get_close_matches

    near = get_close_matches(wrong, list(valid), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
