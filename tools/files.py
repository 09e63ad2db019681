"""Reading and listing files under one allowed folder; links and `..` cannot leave it."""

from __future__ import annotations

import os
from pathlib import Path

from smolchat import tool

_LARGEST_BYTES = 64 * 1024
_MOST_ENTRIES = 200


@tool(effect="read")
def read_file(path: str) -> str:
    """Read a text file.

    Args:
        path: The file to read
    """
    file = _allowed(path)
    if not file.is_file():
        raise ValueError(f"{path!r} is not a file")
    with file.open("rb") as stream:
        content = stream.read(_LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise ValueError(f"{path!r} is larger than {_LARGEST_BYTES} bytes")
    if b"\0" in content:
        raise ValueError(f"{path!r} is not a text file")
    return content.decode("utf-8", errors="replace")


@tool(effect="read")
def list_files(folder: str = ".") -> str:
    """List the files in a folder.

    Args:
        folder: The folder to list
    """
    place = _allowed(folder)
    if not place.is_dir():
        raise ValueError(f"{folder!r} is not a folder")
    names = sorted(entry.name + "/" * entry.is_dir() for entry in place.iterdir())
    if len(names) > _MOST_ENTRIES:
        names[_MOST_ENTRIES:] = [f"and {len(names) - _MOST_ENTRIES} more"]
    return "\n".join(names) or "the folder is empty"


def _allowed(path: str) -> Path:
    """Resolve links first, then compare: what matters is the file that would be opened."""
    root = Path(os.environ.get("SMOLCHAT_FILES_ROOT") or ".").resolve()
    if "\0" in path:
        raise ValueError("a path holds no zero byte")
    resolved = (root / path).resolve()
    if not resolved.is_relative_to(root):
        raise ValueError(f"{path!r} lies outside the allowed folder")
    if not resolved.exists():
        raise ValueError(f"{path!r} does not exist")
    return resolved
