"""Generates messages to rewrite: curt ones in, friendly, professional or concise ones out.

A message is one to three acts (a complaint, a request, a question ...). An act's wordings copy the
clause of the source, so that a sentence from a stranger comes out fluent and complete.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from training.example import Example, Split
from training.phrases import new_scene
from training.words import Scene, capitalized, lines, listed, read_tables, uncapitalized

PROFILE = Path(__file__).parent.parent / "profiles" / "rewrite.yaml"
TONES = ("friendly",) * 6 + ("professional",) * 2 + ("concise",) * 2
_USER_TONE = "more friendly and approachable"
_SYSTEM_TONE = "more professional and approachable"


@dataclass(frozen=True, slots=True)
class Act:
    """What a sentence does, its curt wordings and its reworded ones."""

    closing: str
    """The kind of closing that fits when this act comes last."""
    sources: tuple[str, ...]
    friendly: tuple[str, ...]
    professional: tuple[str, ...]
    concise: tuple[str, ...]
    weight: int = 1


def _errands(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text.replace("{task", "{errand").replace("{chore", "{errand") for text in texts)


def _as_errand(act: Act) -> Act:
    """The same act about what the reader should do for the writer: `call me back`."""
    return replace(
        act,
        sources=_errands(act.sources),
        friendly=_errands(act.friendly),
        professional=_errands(act.professional),
        concise=_errands(act.concise),
        weight=max(1, act.weight // 3),
    )


def _act(table: dict[str, Any]) -> Act:
    texts = {part: lines(table[part]) for part in ("sources", *CLOSINGS)}
    return Act(table["closing"], **texts, weight=table.get("weight", 1))


_TABLES = read_tables("rewrite")
CLOSINGS = {
    tone: {kind: lines(text) for kind, text in kinds.items()}
    for tone, kinds in _TABLES["closings"].items()
}
RUDE_OPENERS = lines(_TABLES["rude_openers"])
RUDE_ENDINGS = lines(_TABLES["rude_endings"])
_KINDS = {name: _act(table) for name, table in _TABLES["acts"].items()}
_ERRANDS = ("request", "fault", "prohibition", "reminder")
ACTS = tuple(
    act
    for act in (*_KINDS.values(), *(_as_errand(_KINDS[name]) for name in _ERRANDS))
    for _ in range(act.weight)
)
OPENINGS = {
    "friendly": ("Hi there!",) * 3 + ("Hi!", "Hello!"),
    "professional": ("Hello,",),
    "concise": ("",),
}
NAMED_OPENINGS = {
    "friendly": ("Hi {name:to}!", "Hello {name:to}!"),
    "professional": ("Hello {name:to},",),
    "concise": ("{name:to},",),
}
CALLS = ("{name:to},", "{name:to},", "{name:to},", "Hi {name:to},", "hey {name:to},",
         "Hello {name:to},", "{name:to}:", "{name:to}!", "Hi {name:to}.")  # fmt: skip
SHOUTED_WORDS = listed("still not never always again every too all you very now need must please")
SLOPPY_WORDS = (
    ("n't ", "nt "), ("I'm ", "Im "), ("I'll ", "Ill "), ("please ", "pls "), ("please ", "plz "),
    (" you ", " u "), ("because ", "cause "), (" are ", " r "), ("going to ", "gonna "),
)  # fmt: skip


@cache
def prompts(tone: str) -> tuple[str, str]:
    """The system prompt and the user template of `smolchat rewrite --tone`."""
    profile = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    system, user = profile["system_prompt"], profile["user_template"]
    if tone != "friendly":
        system = system.replace(_SYSTEM_TONE, f"more {tone}")
        user = user.replace(_USER_TONE, f"more {tone}")
    return system, user


def generate(rng: Random, split: Split) -> Example:
    """A curt message and its rewriting in one tone."""
    scene = new_scene(rng, split)
    tone = scene.pick(TONES)
    scenes = [scene.inner() for _ in range(scene.pick((1, 1, 1, 1, 1, 2)))]
    acts = [scene.pick(ACTS) for _ in scenes]
    named = scene.chance(0.25)
    wordings = [each.fill(each.pick(act.sources)) for act, each in zip(acts, scenes, strict=True)]
    source = _source(scene, wordings, named=named)
    target = _target(scene, tone, list(zip(acts, scenes, strict=True)), named=named)
    system, template = prompts(tone)
    messages = (
        {"role": "system", "content": system},
        {"role": "user", "content": template.replace("{text}", source)},
        {"role": "assistant", "content": target},
    )
    return Example(f"rewrite/{tone}", messages, scene.kept_in(source))


def _source(scene: Scene, wordings: list[str], *, named: bool) -> str:
    """The wordings as people type them in a hurry."""
    is_lower, is_sloppy = scene.chance(0.3), scene.chance(0.1)
    end = scene.pick((".", ".", "!", "!", "!!", "", "...", "!!!"))
    opener = _opener(scene, named=named)
    first, *others = wordings
    sentences = [_curt_sentence(first, end, is_lower=is_lower or opener.endswith(","))]
    sentences += [_curt_sentence(text, end, is_lower=is_lower) for text in others]
    gap = " " if end else scene.pick((" ", ", ", " - ", ". "))
    text = f"{opener} {gap.join(sentences)}".lstrip()
    if scene.chance(0.06):
        text = f"{text} {_curt_sentence(scene.pick(RUDE_ENDINGS), end, is_lower=is_lower)}"
    if scene.chance(0.1):
        text = _shouted(scene, text)
    return _sloppy(scene, text) if is_sloppy else text


def _opener(scene: Scene, *, named: bool) -> str:
    if named:
        return scene.fill(scene.pick(CALLS))
    return scene.pick(RUDE_OPENERS) if scene.chance(0.1) else ""


def _curt_sentence(text: str, end: str, *, is_lower: bool) -> str:
    text = text if is_lower else capitalized(text)
    if text.endswith("?"):
        return text[:-1] + {"!": "?!", "!!": "??", "": "", "!!!": "???"}.get(end, "?")
    return text + end


def _shouted(scene: Scene, text: str) -> str:
    word = scene.pick(SHOUTED_WORDS)
    return text.replace(f" {word} ", f" {word.upper()} ")


def _sloppy(scene: Scene, text: str) -> str:
    for proper, sloppy in SLOPPY_WORDS:
        if proper in text and scene.chance(0.5):
            text = text.replace(proper, sloppy)
    return text


def _target(scene: Scene, tone: str, acts: list[tuple[Act, Scene]], *, named: bool) -> str:
    opening = scene.fill(scene.pick((NAMED_OPENINGS if named else OPENINGS)[tone]))
    text = _reworded(scene, tone, acts)
    if opening.endswith(","):
        text = uncapitalized(text)
    closings = CLOSINGS[tone].get(acts[-1][0].closing, ("",))
    return " ".join(part for part in (opening, text, scene.pick(closings)) if part)


def _reworded(scene: Scene, tone: str, acts: list[tuple[Act, Scene]]) -> str:
    """The acts in the tone's words, no wording twice, later ones now and then with `Also`."""
    sentences: list[str] = []
    used: set[str] = set()
    for act, inner in acts:
        wordings: tuple[str, ...] = getattr(act, tone)
        fresh = [wording for wording in wordings if wording[:12] not in used]
        wording = scene.pick(fresh or wordings)
        used.add(wording[:12])
        text = capitalized(inner.fill(wording))
        if sentences and tone != "concise" and scene.chance(0.3):
            text = f"Also, {uncapitalized(text)}"
        sentences.append(text)
    return " ".join(sentences)
