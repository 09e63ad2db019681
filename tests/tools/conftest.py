"""The shipped tools, run as plain functions."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Tools = dict[str, Callable[..., Any]]


@pytest.fixture(scope="session")
def tools() -> Tools:
    found: Tools = {}
    for path in sorted((Path(__file__).parents[2] / "tools").glob("*.py")):
        members = runpy.run_path(str(path)).items()
        found |= {name: each for name, each in members if hasattr(each, "tool_settings")}
    return found
