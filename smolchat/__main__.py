"""The entry point of `smolchat` and of `python -m smolchat`."""

from __future__ import annotations

import gc
import os
import signal

ALLOCATIONS = 100_000
"""New objects before Python looks for garbage: imports make many and no garbage, and looking among
them every 700 takes a fifteenth of the time to the first token."""


def main() -> None:
    """Runs the command line and ends the process with its exit code.

    Ctrl-C ends it quietly with 130, from the first import to the end. The interpreter's own way
    out is not taken: once a KeyboardInterrupt has passed through `exec` of a text, as dataclasses
    and named tuples use it, CPython kills itself with SIGINT in the end, caught or not.
    """
    gc.set_threshold(ALLOCATIONS)
    try:
        try:
            code = _exit_code()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        code = 130
    os._exit(code)


def _exit_code() -> int:
    """What the command line ends with, all output written. An error that nobody foresaw passes."""
    try:
        from smolchat.cli import main as run

        run()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


if __name__ == "__main__":
    main()
