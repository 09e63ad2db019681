"""What a docstring says about a function and its arguments, in Google, NumPy or Sphinx style."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

# The patterns of `transformers.utils.get_json_schema`, so that both read the same descriptions;
# those of 5.24, which skips a type in parentheses where earlier ones gave up.
_GOOGLE_DESCRIPTION = re.compile(r"^(.*?)[\n\s]*(Args:|Returns:|Raises:|\Z)", re.DOTALL)
_GOOGLE_ARGUMENTS = re.compile(r"\n\s*Args:\n(.*?)[\n\s]*(Returns:|Raises:|\Z)", re.DOTALL)
_GOOGLE_ARGUMENT = re.compile(
    r"(?:^|\n)([ \t]*)(\w+)(?:[ \t]*\([^()\n]*\))?:\s*(.*?)\s*"
    r"(?=\n(?!\1[ \t])[ \t]*\w+(?:[ \t]*\([^()\n]*\))?:|\Z)",
    re.DOTALL,
)
_GOOGLE_RETURNS = re.compile(r"\n\s*Returns:\n\s*(.*?)[\n\s]*(Raises:|\Z)", re.DOTALL)

_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Params|Other Parameters|Keyword Args|Returns?|Yields?|Raises"
    r"|Warns|Examples?|Notes?|References|See Also|Attributes|Todo|Warnings?)"
    r"(?::[ \t]*$|[ \t]*\n[ \t]*-{3,}[ \t]*$)",
    re.MULTILINE,
)
_ARGUMENT_SECTIONS = {
    "Args", "Arguments", "Parameters", "Params", "Other Parameters", "Keyword Args",
}  # fmt: skip
_LOOSE_ARGUMENT = re.compile(r"\*{0,2}(\w+)[ \t]*(?:\([^)\n]*\))?:[ \t]*(.*)")
_NUMPY_ARGUMENT = re.compile(r"(\w+(?:[ \t]*,[ \t]*\w+)*)[ \t]*(?::.*)?$")
_SPHINX_FIELD = re.compile(r"^:(\w+)([^:\n]*):(.*(?:\n(?!:\w).*)*)", re.MULTILINE)
_SPHINX_ARGUMENTS = {"param", "parameter", "arg", "argument", "key", "keyword"}


_ArgumentReader = Callable[[str], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Docstring:
    description: str
    arguments: dict[str, str] = field(default_factory=dict)
    returns: str | None = None


def google(doc: str) -> Docstring:
    """As `transformers.utils.get_json_schema` reads it: to the letter, and Google style only."""
    description = _GOOGLE_DESCRIPTION.search(doc)
    section = _GOOGLE_ARGUMENTS.search(doc)
    returns = _GOOGLE_RETURNS.search(doc)
    lines = [line for line in section[1].split("\n") if line.strip()] if section else []
    found = _GOOGLE_ARGUMENT.findall("\n".join(lines))
    return Docstring(
        description[1].strip() if description else "",
        {name: re.sub(r"\s*\n+\s*", " ", text.strip()) for _, name, text in found},
        returns[1].strip() if returns else None,
    )


def read(doc: str, names: Iterable[str]) -> Docstring:
    """In the style that describes most of the arguments `names`."""
    wanted = set(names)
    readings = [_sphinx(doc), _sections(doc, _numpy_arguments), _sections(doc, _loose_arguments)]
    return max(readings, key=lambda reading: len(wanted & reading.arguments.keys()))


def _sphinx(doc: str) -> Docstring:
    fields = list(_SPHINX_FIELD.finditer(doc))
    description = doc[: fields[0].start()] if fields else doc
    arguments = {
        item[2].split()[-1]: _one_line(item[3])
        for item in fields
        if item[1] in _SPHINX_ARGUMENTS and item[2].split()
    }
    return Docstring(description.strip(), arguments)


def _sections(doc: str, arguments_of: _ArgumentReader) -> Docstring:
    heads = list(_SECTION.finditer(doc))
    description = doc[: heads[0].start()] if heads else doc
    arguments: dict[str, str] = {}
    ends = [*(head.start() for head in heads[1:]), len(doc)]
    for head, end in zip(heads, ends[: len(heads)], strict=True):
        if head[1] in _ARGUMENT_SECTIONS:
            body = doc[head.end() : end]
            arguments |= arguments_of(inspect.cleandoc(body.lstrip("\n")))
    return Docstring(description.strip(), arguments)


def _loose_arguments(body: str) -> dict[str, str]:
    """`name (type): text`, going on in deeper lines."""
    found = {}
    for head, deeper in _entries(body):
        entry = _LOOSE_ARGUMENT.match(head)
        if entry:
            found[entry[1]] = _one_line(f"{entry[2]}\n{deeper}")
    return found


def _numpy_arguments(body: str) -> dict[str, str]:
    """`name : type` or `one, other : type`, the text in deeper lines."""
    found: dict[str, str] = {}
    for head, deeper in _entries(body):
        entry = _NUMPY_ARGUMENT.match(head)
        if entry and deeper.strip():
            names = [name.strip() for name in entry[1].split(",")]
            found |= dict.fromkeys(names, _one_line(deeper))
    return found


def _entries(body: str) -> list[tuple[str, str]]:
    """Lines at the margin, each with the deeper lines below it."""
    parts = re.split(r"^(?=\S)", body, flags=re.MULTILINE)
    return [(head, rest) for head, _, rest in (part.partition("\n") for part in parts if part)]


def _one_line(text: str) -> str:
    return " ".join(text.split())
