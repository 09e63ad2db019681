"""What a rewrite must keep, and what a summary must not invent, found in the texts alone.

Numbers, dates, times, addresses and code can be compared by rule; whether a sentence still means
the same cannot. Knows English month names and number words, and no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["code", "URL", "e-mail", "date", "time", "number"]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is either in a text or not."""

    kind: Kind
    text: str
    """As it was written."""
    value: tuple[str, ...]
    """The same for every way to write it."""

    def __str__(self) -> str:
        return self.text


MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"
_MONTH = (
    # With a capital, so that "may 3 people" names no day.
    r"(?P<{0}>(?-i:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|"
    r"Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?))\b\.?"
)
_DAY = r"(?P<{0}>\d{{1,2}})(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s+(?P<{0}>\d{{4}})\b)?"

PATTERNS: tuple[tuple[Kind, str], ...] = (
    ("code", r"```.*?```|`[^`\n]+`"),
    ("URL", r"\b(?:https?|ftp)://[^\s<>\"'`]+|\bwww\.[^\s<>\"'`]+"),
    ("e-mail", r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    ("date", r"\b(?P<y1>\d{4})-(?P<m1>\d{1,2})-(?P<d1>\d{1,2})\b"),
    (
        "date",
        rf"\b{_MONTH.format('m2')}\s+{_DAY.format('d2')}\b(?!:){_YEAR.format('y2')}",
    ),
    (
        "date",
        rf"\b{_DAY.format('d3')}\s+(?:of\s+)?{_MONTH.format('m3')}{_YEAR.format('y3')}",
    ),
    ("date", r"\b(?P<w>\d{1,2}[/.]\d{1,2}[/.]\d{2,4})\b"),
    ("time", r"\b(?P<h1>\d{1,2}):(?P<n1>\d{2})(?::\d{2})?(?:\s?[ap]\.?m\b\.?)?"),
    ("time", r"\b(?P<h2>\d{1,2})\s?[ap]\.?m\b\.?"),
    ("number", r"(?:(?<![\w.])[-−])?\d+(?:[.,]\d+)*"),
)
FACT = re.compile(
    "|".join(f"(?P<k{index}>{pattern})" for index, (_, pattern) in enumerate(PATTERNS)),
    re.IGNORECASE | re.DOTALL,
)

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORDS = (
    {word: number for number, word in enumerate(ONES.split())}
    | {word: 20 + 10 * index for index, word in enumerate(TENS.split())}
    | {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
    | {"once": 1, "first": 1, "twice": 2, "second": 2, "third": 3, "dozen": 12}
)


def facts(text: str) -> list[Fact]:
    """Every fact of `text` once, in order."""
    found = {fact.value: fact for fact in reversed(list(_facts(text)))}
    return list(reversed(found.values()))


def missing(source: str, result: str) -> list[Fact]:
    """The facts of `source` that `result` does not hold in any way of writing them.

    A number may become a word, and a date may gain a year.
    """
    held = _Holding(result)
    return [fact for fact in facts(source) if not held.holds(fact)]


def invented(source: str, result: str) -> list[str]:
    """Numbers, dates, addresses and names of `result` that are not in `source`."""
    held = _Holding(source)
    strange = [str(fact) for fact in facts(result) if not held.holds(fact)]
    return strange + [name for name in names(result) if not held.knows(name)]


LETTERS = re.compile(r"[^\W\d_]+")
AROUND_WORDS = ".,;:!?'’‘)]*_#"
WITH_CAPITALS = (
    "a an the this that these those it its he she they we you i his her their our your my and but "
    "or so if when while after before in on at by for from to of with as all both each some no "
    "not there here then also however according january february march april may june july "
    "august september october november december"
)
NO_NAMES = frozenset(WITH_CAPITALS.split())


def names(text: str) -> list[str]:
    """Words and runs of words with capitals that are names, each once.

    A single word at the start of a sentence is none: anything has a capital there.
    """
    sentences = re.split(r"(?<=[.!?:…])\s+|\n+|[\"“”(]", text)
    runs = (run for sentence in sentences for run in _capital_runs(sentence.split()))
    return list(dict.fromkeys(runs))


def _capital_runs(words: list[str]) -> Iterator[str]:
    run: list[str] = []
    for index, written in enumerate(words):
        word = re.sub(r"['’]s$", "", written.strip(AROUND_WORDS))
        if _is_capital(word):
            run.append(word)
        if run and (not _is_capital(word) or written[-1] in ",;.!?" or index + 1 == len(words)):
            is_first = index + 1 - len(run) - (not _is_capital(word)) == 0
            if len(run) > 1 or not is_first or (run[0].isupper() and len(run[0]) > 1):
                yield " ".join(run)
            run = []


def _is_capital(word: str) -> bool:
    return word[:1].isupper() and re.split("['’]", word)[0].casefold() not in NO_NAMES


def _facts(text: str) -> Iterator[Fact]:
    for match in FACT.finditer(text):
        assert match.lastgroup
        kind = next(
            kind for index, (kind, _) in enumerate(PATTERNS) if match.group(f"k{index}") is not None
        )
        written = match[0]
        if kind == "URL":
            written = written.rstrip(".,;:!?)]}*")
        yield Fact(kind, written, _value(kind, written, match.groupdict()))


def _value(kind: Kind, written: str, groups: dict[str, str | None]) -> tuple[str, ...]:
    if kind == "code":
        return kind, written.strip("`").strip()
    if kind == "date" and groups["w"] is None:
        return kind, *_date(groups)
    if kind == "time":
        hour, minute = groups["h1"] or groups["h2"], groups["n1"] or "00"
        return kind, f"{int(hour or 0) % 12}:{minute}"
    if kind == "number":
        return kind, re.sub(r",(?=\d{3}(?!\d))", "", written).replace("−", "-")
    return kind, written.casefold()


def _date(groups: dict[str, str | None]) -> tuple[str, str, str]:
    """Year, month, day; no year is an empty one."""
    year, month, day = (
        next((found for n in "123" if (found := groups[f"{part}{n}"])), "") for part in "ymd"
    )
    if not month.isdigit():
        month = str(MONTHS.index(month[:3].lower()) // 3 + 1)
    return year, str(int(month)), str(int(day))


class _Holding:
    """What a text holds, looked up once however long it is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = {word.casefold() for word in LETTERS.findall(text)}
        self._values = {fact.value for fact in facts(text)}
        self._numbers = {str(NUMBER_WORDS[word]) for word in self._words & NUMBER_WORDS.keys()}
        for kind, *value in self._values:
            if kind != "number":  # it may stand in a date, a time or an address
                self._numbers.update(re.findall(r"\d+", " ".join(value)))

    def holds(self, fact: Fact) -> bool:
        """Whether the fact is there in any way of writing it."""
        if fact.value in self._values:
            return True
        if fact.kind == "code":  # the backticks may go, the code may not
            return fact.value[1] in self._text
        if fact.kind == "date" and not fact.value[1]:  # the other may say the year as well
            return any(value[0] == "date" and value[2:] == fact.value[2:] for value in self._values)
        return fact.kind == "number" and fact.value[1] in self._numbers

    def knows(self, name: str) -> bool:
        """Whether all words of a name are there, up to an ending: Germans, as of German."""
        stems = [word.casefold()[: max(4, len(word) - 2)] for word in LETTERS.findall(name)]
        return all(any(word.startswith(stem) for word in self._words) for stem in stems)
