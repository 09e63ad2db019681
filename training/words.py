"""Word pools, invented words and the template language of the prose generators.

Knows words only: nothing here knows what a rewrite, a summary or a chat is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from zlib import crc32

import yaml

from training.example import Split

Choice = TypeVar("Choice")


def listed(text: str) -> tuple[str, ...]:
    """The words of a text, or where semicolons stand, what stands between them."""
    separator = ";" if ";" in text else None
    return tuple(" ".join(word.split()) for word in text.split(separator))


def lines(text: str) -> tuple[str, ...]:
    """The lines of a text, with single blanks and without their indentation."""
    return tuple(" ".join(line.split()) for line in text.strip().splitlines())


def read_tables(name: str) -> Any:
    """The tables of a generator, `training/<name>.yaml`."""
    text = (Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


_POOLS = read_tables("words")
FIRST_NAMES = listed(_POOLS["first_names"])
LAST_NAMES = listed(_POOLS["last_names"])
PROJECT_WORDS = listed(_POOLS["project_words"])
PLACES = listed(_POOLS["places"])
TOPIC_WORDS = listed(_POOLS["topic_words"])
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = listed("""
    January February March April May June July August September October November December
""")
MONTH_ABBREVIATIONS = ("Jan", "Feb", "Mar", "Apr", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
ROOMS = listed(_POOLS["rooms"])
FILE_ENDINGS = listed(_POOLS["file_endings"])
ID_PREFIXES = listed(_POOLS["id_prefixes"])
_ONSETS = listed("b c d f g h j k l m n p r s t v w z br ch cl cr dr fl gr kr pl pr qu sh st th tr")
_VOWELS = listed("a e i o u a e i o ai ea oo ia io")
_CODAS = ("", "", "", "", *listed("n r l s x m k t d nd rt sk lm"))


def in_split(word: str, split: Split) -> bool:
    """Whether a word belongs to a split: a stable tenth of all words is held out."""
    return (crc32(word.encode()) % 10 == 0) == (split == "heldout")


@cache
def part(pool: tuple[str, ...], split: Split) -> tuple[str, ...]:
    """The words of a pool that a split may use; a pool too small to divide is shared."""
    return tuple(word for word in pool if in_split(word, split)) or pool


@lru_cache(maxsize=1024)
def narrowed(pool: tuple[str, ...], seed: str) -> tuple[str, ...]:
    """A tenth of a pool, another one for every seed; of small pools three words."""
    return tuple(Random(seed).sample(pool, min(len(pool), max(3, len(pool) // 10))))


def pick(rng: Random, options: Sequence[Choice]) -> Choice:
    """A random element, and faster than `rng.choice`."""
    return options[int(rng.random() * len(options))]


def capitalized(text: str) -> str:
    """The text with its first letter in upper case, unless it starts with a file name or code."""
    first = text.split(" ", 1)[0].rstrip(".!?,")
    return text if "." in first or "_" in first else text[:1].upper() + text[1:]


FUNCTION_WORDS = frozenset(listed(_POOLS["function_words"]))
"""Words that lose their capital letter when they no longer begin the sentence."""


def uncapitalized(text: str) -> str:
    """The text as it goes on after a comma: names, `I` and unknown words keep their capital."""
    first = text.split(" ", 1)[0].rstrip(",.:!?")
    return text[:1].lower() + text[1:] if first in FUNCTION_WORDS else text


def sentence(clause: str, end: str = ".") -> str:
    """A clause as a sentence, without a second full stop after `a.m.` and the like."""
    return capitalized(clause if clause.endswith(end) else clause + end)


def _name(rng: Random) -> str:
    return invented(rng).capitalize() if rng.random() < 0.06 else pick(rng, FIRST_NAMES)


def _person(rng: Random) -> str:
    last = invented(rng).capitalize() if rng.random() < 0.06 else pick(rng, LAST_NAMES)
    first = _name(rng)
    return f"{first} {last}" if first.isascii() or first[0] < "\u0400" else first


def invented(rng: Random) -> str:
    """A pronounceable word that no dictionary holds."""
    syllables = rng.randint(2, 3)
    parts = (pick(rng, _ONSETS) + pick(rng, _VOWELS) for _ in range(syllables))
    return "".join(parts) + pick(rng, _CODAS)


def _project(rng: Random) -> str:
    word = invented(rng).capitalize() if rng.random() < 0.15 else pick(rng, PROJECT_WORDS)
    return pick(rng, (word, word, word, f"Project {word}", f"{word} {rng.randint(2, 9)}"))


def _file(rng: Random) -> str:
    stem = invented(rng) if rng.random() < 0.1 else pick(rng, TOPIC_WORDS)
    tail = pick(rng, ("", "", f"_v{rng.randint(1, 9)}", f"-{rng.randint(2019, 2031)}", "_final"))
    return f"{stem}{tail}.{pick(rng, FILE_ENDINGS)}"


def _code(rng: Random) -> str:
    number = rng.randint(10, 9999)
    return pick(rng, (f"#{number}", f"{pick(rng, ID_PREFIXES)}-{number}", f"#{number}"))


def _time(rng: Random) -> str:
    hour, minute = rng.randint(1, 12), pick(rng, ("00", "15", "30", "45", "05", "10", "20", "50"))
    half = pick(rng, ("am", "pm"))
    whole = pick(rng, (f"{hour}{half}", f"{hour} {half}", f"{hour + 7}:00"))
    return pick(rng, (whole, f"{hour}:{minute} {half}", f"{hour + 7}:{minute}", f"{hour}:{minute}"))


def _date(rng: Random) -> str:
    day, month = rng.randint(1, 28), pick(rng, MONTHS)
    suffix = "th" if 4 <= day <= 20 or day >= 24 else {1: "st", 2: "nd", 3: "rd"}[day % 10]
    iso = f"{rng.randint(2023, 2031)}-{rng.randint(1, 12):02}-{day:02}"
    short = f"{day} {pick(rng, MONTH_ABBREVIATIONS)}"
    return pick(rng, (f"{day} {month}", f"{month} {day}", f"{month} {day}{suffix}", short, iso))


def _number(rng: Random) -> str:
    return f"{rng.randint(2, 10 ** rng.randint(1, 4) + 2):,}"


def _amount(rng: Random) -> str:
    value = f"{rng.randint(10, 10 ** rng.randint(2, 5)):,}"
    return pick(rng, (f"${value}", f"${value}", f"€{value}", f"£{value}", f"{value} euros"))


def _percent(rng: Random) -> str:
    return pick(rng, (f"{rng.randint(2, 95)}%", f"{rng.randint(1, 40)}.{rng.randint(1, 9)}%"))


def _place(rng: Random) -> str:
    room = f"{pick(rng, ROOMS)} {pick(rng, 'ABCDEFGHK')}{rng.randint(1, 40)}"
    return pick(rng, (room, f"{pick(rng, ROOMS)} {rng.randint(1, 999)}", pick(rng, PLACES)))


def _company(rng: Random) -> str:
    word = invented(rng).capitalize() if rng.random() < 0.4 else pick(rng, PROJECT_WORDS)
    ending = pick(rng, ("", "", " Ltd", " Inc", " Labs", " Group", " Foods", " Logistics"))
    return pick(rng, (word, f"{pick(rng, PROJECT_WORDS)}{ending or ' Systems'}", word + ending))


KEPT: dict[str, Callable[[Random], str]] = {
    "name": _name,
    "person": _person,
    "project": _project,
    "file": _file,
    "code": _code,
    "time": _time,
    "date": _date,
    "weekday": lambda rng: pick(rng, WEEKDAYS),
    "month": lambda rng: pick(rng, MONTHS),
    "number": _number,
    "quarter": lambda rng: (
        f"Q{rng.randint(1, 4)}" + pick(rng, ("", "", f" {rng.randint(2022, 2031)}"))
    ),
    "amount": _amount,
    "percent": _percent,
    "place": _place,
    "city": lambda rng: pick(rng, PLACES),
    "company": _company,
}
"""What a rewrite or a summary may not change: names, numbers, dates, codes."""

SHARED_KINDS = frozenset({"weekday", "month", "number", "percent", "quarter"})
"""Kinds with too few values to hold some out."""

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)(?::(\w+))?(?:\.(\w+))?\}")
_ARTICLE = re.compile(r"\b([Aa])\(n\) (?=\W?(\w+))")
_CONSONANT_SOUND = re.compile(r"(?i)uni|use|usu|eu|one|u[0-9]")


class Scene:
    """The words of one example: a slot keeps its value wherever its name comes again.

    Templates know `[this|that]`, a free choice, `{kind}`, a drawn value, `{kind:b}`, another one
    of that kind, `{kind.form}`, another form of the same value, and `a(n)`.
    """

    def __init__(
        self,
        rng: Random,
        split: Split,
        phrases: dict[str, Callable[[Scene], str | dict[str, str]]] | None = None,
    ) -> None:
        self.rng = rng
        self.split = split
        self.phrases = phrases or {}
        self.narrow: str | None = None
        """The seed of the tenth of each pool that is used, so that words meet again."""
        self.kept: list[str] = []
        self._forms: dict[str, dict[str, str]] = {}

    def inner(self) -> Scene:
        """A scene with values of its own, whose kept words count here too."""
        scene = Scene(self.rng, self.split, self.phrases)
        scene.kept, scene.narrow = self.kept, self.narrow
        return scene

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, options: Sequence[Choice]) -> Choice:
        return pick(self.rng, options)

    def own(self, pool: tuple[str, ...]) -> str:
        """A word of the pool that belongs to this split."""
        return pick(self.rng, self.few(part(pool, self.split)))

    def few(self, pool: tuple[str, ...]) -> tuple[str, ...]:
        """The part of a pool that is used where words are few, else all of it."""
        return pool if self.narrow is None else narrowed(pool, self.narrow)

    def fill(self, template: str) -> str:
        """The template in words."""
        while "[" in template:
            template = _CHOICE.sub(self._choose, template)
        text = _SLOT.sub(self._slot, template)
        return _ARTICLE.sub(_article, text) if "(n)" in text else text

    def set(self, key: str, **forms: str) -> None:
        """Fix a slot's forms; the plain form is named `plain`."""
        self._forms[key] = forms

    def value(self, key: str) -> str:
        """The plain form of a slot that was drawn."""
        return self._forms[key]["plain"]

    def covers(self, template: str) -> bool:
        """Whether every slot of a template has been drawn already."""
        slots = (f"{kind}:{tag}" if tag else kind for kind, tag, _ in _SLOT.findall(template))
        return all(slot in self._forms for slot in slots)

    def kept_in(self, text: str) -> tuple[str, ...]:
        """The kept words that a text contains, each once."""
        return tuple(dict.fromkeys(word for word in self.kept if word in text))

    def _choose(self, match: re.Match[str]) -> str:
        return pick(self.rng, str(match[1]).split("|"))

    def _slot(self, match: re.Match[str]) -> str:
        kind, tag, form = match.groups()
        key = f"{kind}:{tag}" if tag else kind
        if key not in self._forms:
            self._forms[key] = self._draw(kind)
        return self._forms[key][form or "plain"]

    def _draw(self, kind: str) -> dict[str, str]:
        if kind in KEPT:
            value = self._draw_kept(kind)
            self.kept.append(value)
            return {"plain": value}
        drawn = self.phrases[kind](self.inner())
        return {"plain": drawn} if isinstance(drawn, str) else drawn

    def _draw_kept(self, kind: str) -> str:
        value = KEPT[kind](self.rng)
        while kind not in SHARED_KINDS and not in_split(value, self.split):
            value = KEPT[kind](self.rng)
        return value


def _article(match: re.Match[str]) -> str:
    vowel = match[2][0] in "aeiouAEIOU8" and not _CONSONANT_SOUND.match(match[2])
    return match[1] + ("n " if vowel else " ")
