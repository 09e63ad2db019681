"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_whole(path: Path, content: bytes, is_private: bool = False) -> None:
    """Writes beside `path` and renames, in a folder that is made if need be. Raises OSError.

    What is private nobody else may read; the rest is as the user's umask says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
    mode = 0o600 if is_private else 0o666
    try:
        with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
