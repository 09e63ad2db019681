"""Where configuration, conversations, caches and the shipped folders live.

Creates nothing: whoever writes a file makes its folder.
"""

from __future__ import annotations

import os
from pathlib import Path


def config_dir() -> Path:
    """The user's settings, profiles and tools."""
    import platformdirs

    return platformdirs.user_config_path("smolchat", appauthor=False)


def data_dir() -> Path:
    """What must not be lost: conversations and the input history."""
    import platformdirs

    return platformdirs.user_data_path("smolchat", appauthor=False)


def conversations_path() -> Path:
    """The file that conversations are kept in."""
    return data_dir() / "conversations.db"


def cache_dir() -> Path:
    """What can be made again."""
    import platformdirs

    return platformdirs.user_cache_path("smolchat", appauthor=False)


def prefix_dir() -> Path:
    """Keys and values of system prompts."""
    return cache_dir() / "prefixes"


def packed_dir() -> Path:
    """Weights packed for the kernels."""
    return cache_dir() / "packed"


def code_dir() -> Path:
    """Compiled kernels; SMOLCHAT_CODE_DIR says another place."""
    return Path(os.environ.get("SMOLCHAT_CODE_DIR") or cache_dir() / "compiled")


def shipped(name: str) -> Path:
    """A folder that comes with smolchat: `profiles`, `tools` or `checkpoints`.

    In an installed package it lies inside the package, in a source tree beside it.
    """
    package = Path(__file__).parent
    installed = package / "shipped" / name
    return installed if installed.is_dir() else package.parent / name
