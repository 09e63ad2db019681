"""Looking up one value in JSON text by a dotted path."""

from __future__ import annotations

import json
import re

from smolchat import tool


@tool(effect="pure")
def json_query(text: str, path: str) -> str:
    """Look up a value in JSON text.

    Args:
        text: The JSON text
        path: Dotted path, as users.0.name
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the text is not JSON: {error}") from error
    walked = "the top"
    for step in re.findall(r"[^.\[\]]+", path.removeprefix("$")):
        value = _member(value, step, walked)
        walked = step
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _member(value: object, step: str, parent: str) -> object:
    if isinstance(value, dict):
        if step in value:
            return value[step]
        raise ValueError(f"no key {step!r} in {parent}; its keys are {', '.join(value) or 'none'}")
    if isinstance(value, list):
        if step.isdecimal() and int(step) < len(value):
            return value[int(step)]
        raise ValueError(f"no item {step!r} in {parent}, a list of {len(value)}")
    raise ValueError(f"{parent} is a plain value, it has no {step!r}")
