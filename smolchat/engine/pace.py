"""When torch pays for a span: measured once for a machine, a shape and a format, and remembered.

Knows seconds only, no model.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from smolchat.engine.files import write_whole


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that a span takes either way."""

    kernel_token: float
    torch_span: float
    """Of any span, however short."""
    torch_token: float
    torch_import: float

    def gain(self, count: int) -> float:
        """What torch saves on `count` positions."""
        return count * self.kernel_token - self.torch_span - count * self.torch_token


GUESS = Pace(kernel_token=2e-3, torch_span=0.05, torch_token=1e-3, torch_import=1.5)


class Choice:
    """Kernels or torch, span by span.

    Importing torch takes longer than most prompts. So it is put off until waiting for the kernels
    has cost as much as the import would have: never more than twice the best that was possible.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._missed = 0.0
        self.pace = _read(path)

    def is_for_torch(self, count: int) -> bool:
        """Sums are taken in another order, so the choice can show in the logits.

        Who needs the same digits on every run sets SMOLCHAT_PREFILL to `kernels`.
        """
        if os.environ.get("SMOLCHAT_PREFILL") == "kernels":
            return False
        pace = self.pace or GUESS
        gain = pace.gain(count)
        if gain <= 0:
            return False
        if "torch" in sys.modules:
            return True
        self._missed += gain
        return self._missed > pace.torch_import

    def remember(self, pace: Pace) -> None:
        """Keeps it for later processes, if the folder takes it."""
        self.pace = pace
        with suppress(OSError):
            write_whole(self._path, json.dumps(asdict(pace)).encode())


def _read(path: Path) -> Pace | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Pace(**{field.name: float(stored[field.name]) for field in fields(Pace)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
