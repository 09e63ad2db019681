"""A random whole number, from the system's random source."""

from __future__ import annotations

import random

from smolchat import tool


@tool(effect="pure")
def random_number(minimum: int = 1, maximum: int = 100) -> int:
    """Pick a random whole number.

    Args:
        minimum: Smallest number
        maximum: Largest number
    """
    if minimum > maximum:
        raise ValueError(f"the smallest number {minimum} is above the largest {maximum}")
    return random.SystemRandom().randint(minimum, maximum)
