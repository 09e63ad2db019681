"""Keys and values of prompts' stable beginnings, kept on disk for the next process.

One file for each: a safetensors file with a checksum, written beside and renamed. Its name comes
from all that the numbers hang on: the checkpoint's files, how their weights are quantised, the
version of smolchat, the kind of processor, and the exact ids. Anything else is a miss, and so is a
file that is not as it was written. Knows ids and arrays, no model.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smolchat import __version__
from smolchat.engine.checkpoint import Checkpoint
from smolchat.engine.files import write_whole
from smolchat.engine.weights import checksum, file_identity, weight_files

LIMIT_BYTES = 512_000_000
"""Of all files together; those that were not used for the longest time go first."""

LEAST_TOKENS = 16
"""A shorter prefix is computed as quickly as it is read."""

ABANDONED_SECONDS = 3600
"""A file half written for so long belongs to a process that has died."""


class PrefixStore:
    """Reads and writes prefixes; a folder that cannot be used is no failure, only no help."""

    def __init__(self, folder: Path, identity: str, limit_bytes: int = LIMIT_BYTES) -> None:
        """`identity` names everything but the ids that keys and values hang on."""
        self._folder = folder
        self._identity = identity
        self._limit_bytes = limit_bytes

    def load(self, ids: Sequence[int]) -> NDArray[Any] | None:
        """What was kept for exactly `ids`, or None; what is damaged goes."""
        path = self._path(ids)
        if not path.is_file():
            return None
        prefix = _read(path)
        with suppress(OSError):
            if prefix is None:
                path.unlink()
            else:
                os.utime(path)
        return prefix

    def save(self, ids: Sequence[int], prefix: NDArray[Any]) -> None:
        """Keeps `prefix` for `ids`, if that is possible and worth it."""
        if len(ids) < LEAST_TOKENS or 2 * prefix.nbytes > self._limit_bytes:
            return
        with suppress(OSError):
            _write(self._path(ids), prefix)
            self._make_room()

    def _path(self, ids: Sequence[int]) -> Path:
        digest = hashlib.sha256(self._identity.encode())
        digest.update(np.array(ids, np.int64).tobytes())
        return self._folder / f"{digest.hexdigest()}.safetensors"

    def _make_room(self) -> None:
        """Another process may do the same at the same time."""
        total = 0
        for used, size, path in sorted(_listed(self._folder), reverse=True):
            total += size
            is_abandoned = path.suffix == ".partial" and used < time.time() - ABANDONED_SECONDS
            if is_abandoned or (total > self._limit_bytes and path.suffix != ".partial"):
                path.unlink(missing_ok=True)


def identity_of(checkpoint: Checkpoint, dtype: str) -> str:
    """What keys and values hang on, apart from the ids; `dtype` is that of the model."""
    digest = hashlib.sha256(f"{__version__} {platform.machine()} {dtype}".encode())
    digest.update(repr(sorted(checkpoint.config.items())).encode())
    digest.update(os.environ.get("SMOLCHAT_PREFILL", "").encode())
    for path in weight_files(checkpoint.folder):
        digest.update(file_identity(path))
    return digest.hexdigest()


def _read(path: Path) -> NDArray[Any] | None:
    """None when the file is not as it was written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            prefix: NDArray[Any] = file.get_tensor("prefix")
            expected = file.metadata()["checksum"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    return prefix if _checksum(prefix) == expected else None


def _write(path: Path, prefix: NDArray[Any]) -> None:
    """Either the whole file or none; raises OSError."""
    from safetensors.numpy import save

    content = save({"prefix": prefix}, {"checksum": _checksum(prefix)})
    write_whole(path, content, is_private=True)


def _checksum(prefix: NDArray[Any]) -> str:
    return checksum(np.ascontiguousarray(prefix).reshape(-1).view(np.uint8))


def _listed(folder: Path) -> list[tuple[float, int, Path]]:
    """When each file was last used, its bytes and its path."""
    found = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return found
