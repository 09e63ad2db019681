"""The entry point of `smolchat` and of `python -m smolchat`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line. Ctrl-C ends it quietly from the first import on."""
    try:
        from smolchat.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
