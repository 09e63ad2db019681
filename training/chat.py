"""Generates conversations about the model itself and smolchat, and honest answers to the rest.

The embedded checkpoint knows no world: whatever is not about it is answered with what it cannot
do, naming what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from training.example import Example, Split
from training.phrases import new_scene
from training.words import Scene, capitalized, invented, lines, listed, read_tables


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a user says and what may be answered; slots are shared between the two."""

    family: str
    users: tuple[str, ...]
    replies: tuple[str, ...]
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Memory:
    """Something that users tell about themselves, and the question that asks for it back."""

    told: tuple[str, ...]
    noted: tuple[str, ...]
    asked: tuple[str, ...]
    recalled: tuple[str, ...]
    unknown: tuple[str, ...]


def _exchange(table: dict[str, Any]) -> Exchange:
    users, replies = lines(table["users"]), lines(table["replies"])
    return Exchange(table["family"], users, replies, table.get("weight", 1))


def _memory(table: dict[str, str]) -> Memory:
    return Memory(**{part: lines(text) for part, text in table.items()})


_TABLES = read_tables("chat")
EXCHANGES = {name: _exchange(table) for name, table in _TABLES["exchanges"].items()}
MEMORIES = tuple(map(_memory, _TABLES["memories"].values()))
SYSTEM_FACTS = tuple(map(_exchange, _TABLES["system_facts"].values()))
"""System prompts (in place of a family) that a question asks back."""
SYSTEM_PROMPTS = lines(_TABLES["system_prompts"])
ECHOES = lines(_TABLES["echoes"])
COUNTRIES = listed(_TABLES["countries"])
TOPICS = listed(_TABLES["topics"])
LANGUAGES = listed(_TABLES["languages"])
TONGUES = listed(_TABLES["tongues"])
UNITS = listed(_TABLES["units"])
_TOLD_SLOT = re.compile(r"\{(\w+)\}")

MIRROR = {
    "you are": "I am", "I am": "you are", "I was": "you were", "you": "I", "I": "you",
    "my": "your", "our": "your", "we": "you", "your": "my",
}  # fmt: skip
_MIRRORED_WORDS = re.compile("|".join(rf"\b{words}\b" for words in MIRROR))
OPERATORS = ("+", "-", "*", "/", "plus", "minus", "times", "divided by")


def _topic(scene: Scene) -> str:
    templates = ("the {stuff} {noun}", "{adjective} {plural}", "the {noun}", "{plural}", "{stuff}",
                 "{nonsense}", "{project}", "{company}", "a(n) {adjective} {noun}")  # fmt: skip
    return scene.own(TOPICS) if scene.chance(0.6) else scene.fill(scene.pick(templates))


def _sum(scene: Scene) -> str:
    first, second = scene.rng.randint(1, 999), scene.rng.randint(1, 99)
    operator = scene.pick(OPERATORS)
    templates = (
        f"{first} {operator} {second}",
        f"{first} {operator} {second}",
        f"{second}% of {first}",
        f"the square root of {first}",
        f"{first}{operator}{second}" if len(operator) == 1 else f"{first}*{second}",
    )
    return scene.pick(templates)


def _mirrored_question(scene: Scene) -> dict[str, str]:
    forms = {form: scene.fill(f"{{question.{form}}}") for form in ("plain", "indirect")}
    return forms | {"mirrored": mirrored(forms["indirect"])}


def mirrored(text: str) -> str:
    """What a user says of `you` and `me`, as the model says it back."""
    return _MIRRORED_WORDS.sub(lambda match: MIRROR[match[0]], text)


CHAT_PHRASES: dict[str, Callable[[Scene], str | dict[str, str]]] = {
    "topic": _topic,
    "country": lambda scene: scene.own(COUNTRIES),
    "sum": _sum,
    "nonsense": lambda scene: invented(scene.rng),
    "quest": lambda scene: _mirrored_question(scene),
    "language": lambda scene: scene.pick(LANGUAGES),
    "unit": lambda scene: scene.pick(UNITS),
    "year": lambda scene: str(scene.rng.randint(1500, 2030)),
    "tongue": lambda scene: scene.pick(TONGUES),
    "echo": lambda scene: scene.fill(scene.pick(ECHOES)),
}
KNOWN = tuple(
    exchange
    for exchange in EXCHANGES.values()
    if exchange.family != "unknown"
    for _ in range(exchange.weight)
)
UNKNOWN = tuple(
    exchange
    for exchange in EXCHANGES.values()
    if exchange.family == "unknown"
    for _ in range(exchange.weight)
)


def generate(rng: Random, split: Split) -> Example:
    """A conversation of one to five turns."""
    scene = new_scene(rng, split)
    scene.phrases = scene.phrases | CHAT_PHRASES
    if scene.chance(0.04):
        return _system_fact(scene)
    messages: list[dict[str, str]] = []
    if scene.chance(0.2):
        system = scene.inner().fill(scene.pick(SYSTEM_PROMPTS))
        messages.append({"role": "system", "content": system})
    turns, family, kept = _turns(scene)
    for user, reply in turns:
        messages.append({"role": "user", "content": user})
        messages.append({"role": "assistant", "content": reply})
    return Example(f"chat/{family}", tuple(messages), kept)


def _system_fact(scene: Scene) -> Example:
    exchange = scene.pick(SYSTEM_FACTS)
    system = scene.fill(exchange.family)
    user = _typed(scene, scene.pick(exchange.users), is_copied=False)
    contents = {
        "system": system,
        "user": user,
        "assistant": scene.fill(scene.pick(exchange.replies)),
    }
    messages = tuple({"role": role, "content": text} for role, text in contents.items())
    return Example("chat/system", messages, scene.kept_in(system))


Turn = tuple[str, str]


def _turns(scene: Scene) -> tuple[list[Turn], str, tuple[str, ...]]:
    if scene.chance(0.17):
        return _memory_turns(scene)
    turns, family = [], ""
    count = scene.pick((1, 1, 1, 1, 2, 2, 3, 4, 5))
    for position in range(count):
        exchange = _next_exchange(scene, position, count)
        turns.append(_turn(scene, exchange))
        family = exchange.family
    return turns, family, ()


def _memory_turns(scene: Scene) -> tuple[list[Turn], str, tuple[str, ...]]:
    memory = scene.pick(MEMORIES[:1] * 3 + MEMORIES)
    asked = _typed(scene, scene.fill(scene.pick(memory.asked)), is_copied=False)
    if scene.chance(0.15):
        between = _small_turns(scene)
        return [*between, (asked, scene.pick(memory.unknown))], "memory", ()
    turns, told = [], ""
    for _ in range(scene.pick((1, 1, 1, 1, 2))):
        turn, told = _told_turn(scene, memory)
        turns += [turn, *_small_turns(scene)]
    if scene.chance(0.2):
        turn, told = _told_turn(scene, memory)
        return [turn], "memory", (told,)
    reply = scene.pick(memory.recalled).replace("{told}", told)
    return [*turns[-4:], (asked, reply)], "memory", (told,)


def _told_turn(scene: Scene, memory: Memory) -> tuple[Turn, str]:
    inner = scene.inner()
    template = inner.pick(memory.told)
    user = inner.fill(template)
    slot = _TOLD_SLOT.search(template)
    told = inner.value(slot[1]) if slot else ""
    return (
        _typed(scene, user, is_copied=True),
        scene.pick(memory.noted).replace("{told}", told),
    ), told


def _small_turns(scene: Scene) -> list[Turn]:
    count = scene.pick((0, 0, 0, 1, 1, 2))
    return [_turn(scene, scene.pick(KNOWN)) for _ in range(count)]


def _next_exchange(scene: Scene, position: int, count: int) -> Exchange:
    if count > 1 and position == 0 and scene.chance(0.4):
        return EXCHANGES["greeting"]
    if count > 1 and position == count - 1 and scene.chance(0.3):
        return EXCHANGES[scene.pick(("thanks", "goodbye"))]
    return scene.pick(UNKNOWN if scene.chance(0.42) else KNOWN)


def _turn(scene: Scene, exchange: Exchange) -> Turn:
    inner = scene.inner()
    user = capitalized(inner.fill(inner.pick(exchange.users)))
    reply = inner.fill(scene.pick([text for text in exchange.replies if inner.covers(text)]))
    return _typed(scene, user, is_copied=exchange.family in ("copy", "unknown")), reply


def _typed(scene: Scene, text: str, *, is_copied: bool) -> str:
    """The text as people type it: now and then in lower case, without its end, with a slip."""
    if scene.chance(0.3) and text.split(" ")[0].isalpha():
        text = text[0].lower() + text[1:]
    if scene.chance(0.15):
        text = text.rstrip("?!. ") or text
    if not is_copied and scene.chance(0.15):
        text = _slip(scene, text)
    return text


def _slip(scene: Scene, text: str) -> str:
    words = text.split(" ")
    if len(words) > 3 and scene.chance(0.4):
        del words[scene.rng.randrange(1, len(words))]
        return " ".join(words)
    at = scene.rng.randrange(len(text))
    slipped = text[:at] + text[at : at + 2][scene.pick((slice(1, None), slice(None, None, -1)))]
    slipped += text[at + 2 :]
    return slipped if slipped == " ".join(slipped.split()) != "" else text
