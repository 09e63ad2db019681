"""Generates mails and notes with their summaries: key actions and intentions, third person.

A text is two to four facts among small talk; each fact knows how a writer puts it and how an
observer reports it, as a predicate of the writer and as a sentence of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from training.example import Example, Split
from training.phrases import new_scene
from training.words import Scene, capitalized, lines, read_tables, sentence, uncapitalized

PROFILE = Path(__file__).parent.parent / "profiles" / "summarize.yaml"
_PROFILE_LENGTH = "up to three sentences"
LENGTHS = {1: "up to one sentence", 2: "up to two sentences", 3: _PROFILE_LENGTH}


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a text says and a summary repeats."""

    written: tuple[str, ...]
    """The writer's wordings, `I` being the writer and `we` the writer's team."""
    predicate: tuple[str, ...]
    """What the writer does in saying so: `asks the team to sign the form`."""
    statement: tuple[str, ...] = ()
    """The fact without its writer; by default the predicate needs one."""
    weight: int = 1


_TABLES = read_tables("summarize")


def _fact(table: dict[str, Any]) -> Fact:
    texts = {part: lines(table.get(part, "")) for part in ("written", "predicate", "statement")}
    return Fact(**texts, weight=table.get("weight", 1))


FACTS = tuple(fact for fact in map(_fact, _TABLES["facts"].values()) for _ in range(fact.weight))
WRITERLESS_FACTS = tuple(fact for fact in FACTS if fact.statement)

GREETINGS = ("Hi all,", "Hi team,", "Hello everyone,", "Dear all,", "Dear colleagues,", "Hi,",
             "Good morning,", "Team,", "Hey,", "Hi everybody,", "Dear team,", "Hello,",
             "")  # fmt: skip
NAMED_GREETINGS = ("Hi {name:r},", "Hello {name:r},", "Dear {name:r},", "Hey {name:r},",
                   "{name:r},", "Good morning {name:r},", "Hi {name:r}!")  # fmt: skip
SIGNATURES = ("Best,", "Best regards,", "Thanks,", "Regards,", "Kind regards,", "Cheers,",
              "Thank you,", "Many thanks,", "All the best,", "Best wishes,", "-", "")  # fmt: skip
TITLES = ("{stuff} manager", "{stuff} team", "head of {stuff}", "{company}", "{stuff} department",
          "assistant", "team lead", "{stuff} engineer")  # fmt: skip
HEADINGS = ("Meeting notes, {date:h}", "Notes from the {event:h}", "Status report: {project:h}",
            "Minutes of the {event:h}", "Weekly update, {date:h}", "{project:h} update",
            "Incident note {code:h}", "Announcement", "Update", "Memo", "Protocol of the {event:h}",
            "")  # fmt: skip
SMALL_TALK = lines(_TABLES["small_talk"])
BACKGROUND = lines(_TABLES["background"])
LEADS = (
    "Also,", "By the way,", "In addition,", "As agreed,", "First of all,", "Finally,",
    "As you know,",
    "As mentioned before,", "Good news:", "One more thing:", "For your information,", "Besides,",
    "On another note,", "Last but not least,",
)  # fmt: skip
TAILS = (
    ", as discussed", ", as you know", ", by the way", ", which is a pity",
    ", which is good to know",
    ", as we agreed last time", ", and that is important to me", ", if all goes well", ", I think",
    ", and I hope that is fine with everyone", ", as far as I know", ", which surprised me",
)  # fmt: skip
FAREWELLS = lines(_TABLES["farewells"])
NOTE_ENDINGS = lines(_TABLES["note_endings"])


@cache
def system_prompt(sentences: int) -> str:
    """The system prompt of `smolchat summarize --sentences`."""
    profile = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    prompt: str = profile["system_prompt"]
    return prompt.replace(_PROFILE_LENGTH, LENGTHS[sentences])


def generate(rng: Random, split: Split) -> Example:
    """A text with its summary in up to one, two or three sentences."""
    scene = new_scene(rng, split)
    limit = scene.pick((1, 2, 3, 3, 3, 3))
    has_writer = scene.chance(0.7)
    pool = FACTS if has_writer else WRITERLESS_FACTS
    count = scene.pick((1, 1, 2, 2, 2, 3))
    greeting, addressee = _greeting(scene) if has_writer else ("", "the team")
    facts = []
    for fact in _distinct_facts(scene, pool, count):
        inner = scene.inner()
        inner.set("addressee", plain=addressee)
        facts.append((fact, inner))
    written = [_written(inner, fact) for fact, inner in facts]
    text = _mail(scene, greeting, written) if has_writer else _note(scene, written)
    summary = _summary(scene, facts, limit, has_writer=has_writer)
    messages = (
        {"role": "system", "content": system_prompt(limit)},
        {"role": "user", "content": text},
        {"role": "assistant", "content": summary},
    )
    kept = tuple(word for word in scene.kept_in(text) if word in summary)
    return Example(f"summarize/{limit}", messages, kept)


def _greeting(scene: Scene) -> tuple[str, str]:
    """A greeting, and who it says is addressed."""
    if scene.chance(0.4):
        return scene.fill(scene.pick(NAMED_GREETINGS)), scene.fill("{name:r}")
    return scene.pick(GREETINGS), "the team"


def _distinct_facts(scene: Scene, pool: tuple[Fact, ...], count: int) -> list[Fact]:
    facts: list[Fact] = []
    while len(facts) < count:
        fact = scene.pick(pool)
        if fact not in facts:
            facts.append(fact)
    return facts


def _written(scene: Scene, fact: Fact) -> str:
    text = capitalized(scene.fill(scene.pick(fact.written)))
    if scene.chance(0.08) and text.endswith(".") and ": " not in text:
        text = f"{scene.pick(LEADS)} {uncapitalized(text)}"
    if scene.chance(0.04) and text.endswith("."):
        text = f"{text[:-1]}{scene.pick(TAILS)}."
    return text


def _with_filler(scene: Scene, written: list[str]) -> str:
    sentences = []
    for text in written:
        sentences.append(text)
        background = scene.fill(scene.pick(BACKGROUND))
        if scene.chance(0.2) and background not in sentences:
            sentences.append(background)
    return " ".join(sentences)


def _mail(scene: Scene, greeting: str, written: list[str]) -> str:
    body = _with_filler(scene, written)
    if scene.chance(0.4):
        body = f"{scene.fill(scene.pick(SMALL_TALK))} {body}"
    if scene.chance(0.5):
        body = f"{body} {scene.fill(scene.pick(FAREWELLS))}"
    scene.set("writer", plain=scene.fill(scene.pick(("{person:w}", "{person:w}", "{name:w}"))))
    break_ = scene.pick(("\n\n", "\n", "\n\n"))
    signature = scene.pick((f"{scene.pick(SIGNATURES)}\n", f"{scene.pick(SIGNATURES)} ", ""))
    title = scene.fill(f"\n{capitalized(scene.pick(TITLES))}") if scene.chance(0.15) else ""
    parts = (greeting, body, (signature + scene.fill("{writer}")).strip() + title)
    if scene.chance(0.15):
        return " ".join(part.replace("\n", " ") for part in parts if part)
    return break_.join(part for part in parts if part)


def _note(scene: Scene, written: list[str]) -> str:
    heading = scene.fill(scene.pick(HEADINGS))
    body = _with_filler(scene, written)
    if scene.chance(0.25):
        body = "\n".join(f"- {text}" for text in written)
    if scene.chance(0.3):
        body = f"{body} {scene.fill(scene.pick(NOTE_ENDINGS))}"
    return f"{heading}\n\n{body}" if heading else body


def _summary(scene: Scene, facts: list[tuple[Fact, Scene]], limit: int, *, has_writer: bool) -> str:
    if not has_writer:
        clauses = [inner.fill(fact.statement[0]) for fact, inner in facts]
        return " ".join(sentence(clause) for clause in _grouped(clauses, limit))
    writer = scene.fill("{writer}")
    head, *others = facts
    lead = f"{writer} {head[1].fill(scene.pick(head[0].predicate))}"
    clauses = [lead, *(_reported(scene, inner, fact, writer) for fact, inner in others)]
    return " ".join(sentence(clause) for clause in _grouped(clauses, limit))


def _reported(scene: Scene, inner: Scene, fact: Fact, writer: str) -> str:
    if fact.statement:
        return inner.fill(fact.statement[0])
    return f"{writer.split(' ')[0]} {inner.fill(scene.pick(fact.predicate))}"


def _grouped(clauses: list[str], limit: int) -> list[str]:
    """The clauses as at most `limit` sentences of at most two clauses each."""
    pairs = min(len(clauses) - limit, limit)
    if pairs <= 0:
        return clauses
    singles = limit - pairs
    rest = clauses[singles : singles + 2 * pairs]
    joined = [f"{first}, and {second}" for first, second in zip(rest[::2], rest[1::2], strict=True)]
    return clauses[:singles] + joined
