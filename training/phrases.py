"""The English of the prose generators: verb phrases, noun phrases, clauses and questions.

Every phrase comes in the forms that a rewording needs, so that a wish can turn into a request
and a question into an indirect one without a grammar at run time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from training.example import Split
from training.words import TOPIC_WORDS, Scene, invented, lines, listed, read_tables

_POOLS = read_tables("phrases")
VERB_PHRASES = lines(_POOLS["verb_phrases"])
VERBS = listed(_POOLS["verbs"])
OBJECT_PLACES = lines(_POOLS["object_places"])
ERRANDS = lines(_POOLS["errands"])
MISFORTUNES = lines(_POOLS["misfortunes"])
DOCUMENTS = listed(_POOLS["documents"])
NOUNS = listed(_POOLS["nouns"])
PLURALS = listed(_POOLS["plurals"])
ADJECTIVES = listed(_POOLS["adjectives"])
EVENTS = listed(_POOLS["events"])
GROUPS = listed(_POOLS["groups"])
DEADLINES = lines(_POOLS["deadlines"])
TIMES = lines(_POOLS["times"])
SINGULAR_SUBJECTS = lines(_POOLS["singular_subjects"])
PLURAL_SUBJECTS = lines(_POOLS["plural_subjects"])
TROUBLES = lines(_POOLS["troubles"])
NEWS = lines(_POOLS["news"])
DONE = listed(_POOLS["done"])
CIRCUMSTANCES = lines(_POOLS["circumstances"])
CONSEQUENCES = lines(_POOLS["consequences"])
EVENT_TROUBLES = lines(_POOLS["event_troubles"])
WORKS = listed(_POOLS["works"])
IMPRESSIONS = listed(_POOLS["impressions"])
MANNERS = listed(_POOLS["manners"])
QUESTIONS = lines(_POOLS["questions"])

AGREEMENT = {
    "is": ("is", "are"),
    "has": ("has", "have"),
    "was": ("was", "were"),
    "does": ("does", "do"),
    "now": ("is now", "are now"),
    "goes": ("goes", "go"),
    "passed": ("passed", "passed"),
    "will": ("will", "will"),
}
_OPTIONAL = re.compile(r"\[\|[^\]]*\]")
_SPEAKER = re.compile(r"\b(I|we|my|our|me|us|you|your)\b")
_INVARIANT = frozenset(["went", "broke", "failed", "fell", "crashed"])

PhraseMaker = Callable[[Scene], str | dict[str, str]]


def agree(predicate: str, *, plural: bool) -> str:
    """A predicate with the verb in the subject's number, if angle brackets mark one."""
    if not predicate.startswith("<"):
        return predicate
    verb, rest = predicate[1:].split(">", 1)
    singular_plural = AGREEMENT.get(verb)
    if singular_plural:
        return singular_plural[plural] + rest
    return (verb if not plural or verb in _INVARIANT else verb.removesuffix("s")) + rest


def _pool(pool: tuple[str, ...], invented_share: float = 0.0) -> PhraseMaker:
    """Draws a word of the pool, or now and then invents one."""

    def draw(scene: Scene) -> str:
        if scene.chance(invented_share):
            return invented(scene.rng)
        return scene.own(pool)

    return draw


def _templates(pool: tuple[str, ...]) -> PhraseMaker:
    def draw(scene: Scene) -> str:
        return scene.fill(scene.pick(pool))

    return draw


def _doc(scene: Scene) -> str:
    templates = ("the {stuff} {document}", "the {stuff} {document}", "the {document}", "{file}",
                 "the {document} for {project}", "the {project} {document}", "invoice {code}",
                 "the {document} from {company}", "the {month} {document}",
                 "order {code}",
                 "the {adjective} {document}", "{name}'s {document}", "the {stuff} slides",
                 "the {quarter} {document}", "the {quarter} [figures|numbers]",
                 "the invoice {code}",
                 "the [meeting|{stuff}] [notes|figures|minutes|photos]")  # fmt: skip
    return scene.fill(scene.pick(templates))


def _thing(scene: Scene) -> str:
    templates = ("the {noun}", "the {noun}", "the {adjective} {noun}", "the {project} {noun}",
                 "the {noun} in {place}", "{project}", "ticket {code}", "{name}'s {noun}",
                 "the {stuff} {noun}", "the {noun} from {company}")  # fmt: skip
    return scene.fill(scene.pick(templates))


def _things(scene: Scene) -> str:
    templates = ("the {plural}", "the {adjective} {plural}", "the {number} {plural}", "{thing}",
                 "{thing}", "{doc}", "the {plural} in {place}",
                 "the {plural} from {company}")  # fmt: skip
    return scene.fill(scene.pick(templates))


def _whom(scene: Scene) -> str:
    return scene.fill(scene.pick(("{name}", "{name}", "{person}", "the {group}", "{company}",
                                  "{name} and {name:b}", "the {group} in {city}")))  # fmt: skip


def _verb_phrase(scene: Scene, *, is_bare: bool = False) -> dict[str, str]:
    """A verb phrase: plain `send the notes to Ana`, and its past, done and ing forms."""
    template = scene.pick(VERB_PHRASES)
    return _inflected(scene, _OPTIONAL.sub("", template) if is_bare else template)


def _inflected(scene: Scene, template: str) -> dict[str, str]:
    verb, complement = template.split(" | ", 1)
    plain, past, done, ing = verb.split()
    rest = scene.fill(complement)
    forms = {"plain": plain, "past": past, "done": done, "ing": ing}
    return {form: f"{word} {rest}" for form, word in forms.items()}


def _open_verb_phrase(scene: Scene, *, is_bare: bool = False) -> dict[str, str]:
    """Any regular verb, now and then an invented one, with any object and place."""
    verb = scene.own(VERBS)
    rest = scene.fill("{things}")
    if scene.chance(0.2):
        rest = f"{rest} {scene.inner().fill(scene.pick(OBJECT_PLACES))}"
    if not is_bare and scene.chance(0.3):
        rest = f"{rest} {scene.fill('{by}')}"
    forms = {"plain": verb, "past": _past(verb), "done": _past(verb), "ing": _ing(verb)}
    return {form: f"{word} {rest}" for form, word in forms.items()}


_DOUBLED = frozenset({"stop", "trim", "split", "wrap", "scan", "format", "reset"})


def _stem(verb: str) -> str:
    return verb + verb[-1] if verb in _DOUBLED else verb.removesuffix("e")


def _past(verb: str) -> str:
    if verb in _UNCHANGED_VERBS:
        return verb
    if verb[-1] == "y" and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return _stem(verb) + "ed"


def _ing(verb: str) -> str:
    return _stem(verb) + "ing"


_UNCHANGED_VERBS = frozenset({"split", "reset"})


def _errand(scene: Scene) -> dict[str, str]:
    return _inflected(scene, scene.pick(ERRANDS))


def _task(scene: Scene) -> dict[str, str]:
    return _open_verb_phrase(scene) if scene.chance(0.15) else _verb_phrase(scene)


def _chore(scene: Scene) -> dict[str, str]:
    """A task without a time."""
    make = _open_verb_phrase if scene.chance(0.15) else _verb_phrase
    return make(scene, is_bare=True)


def _subject(scene: Scene) -> tuple[str, bool]:
    plural = scene.chance(0.3)
    return scene.fill(scene.pick(PLURAL_SUBJECTS if plural else SINGULAR_SUBJECTS)), plural


def _predicate(scene: Scene, predicates: tuple[str, ...]) -> str:
    """A listed predicate, now and then with an adverb or about any verb."""
    if scene.chance(0.03):
        return scene.pick(OPEN_PREDICATES)
    predicate = scene.pick(predicates)
    if predicate.startswith("<is> ") and "still" not in predicate and scene.chance(0.12):
        predicate = predicate.replace("<is>", f"<is> {scene.pick(ADVERBS)}", 1)
    return predicate


def _clause(predicates: tuple[str, ...], circumstance_share: float) -> PhraseMaker:
    def draw(scene: Scene) -> str:
        subject, plural = _subject(scene)
        inner = scene.inner()
        predicate = inner.fill(agree(_predicate(inner, predicates), plural=plural))
        clause = f"{subject} {predicate}"
        if scene.chance(circumstance_share):
            clause = f"{clause} {scene.inner().fill(scene.pick(CIRCUMSTANCES))}"
        return clause

    return draw


def _joined(clause: PhraseMaker, share: float) -> PhraseMaker:
    """Now and then two clauses in one."""

    def draw(scene: Scene) -> str:
        if scene.chance(share):
            return f"{clause(scene.inner())} {scene.pick(('and', 'but'))} {clause(scene.inner())}"
        return str(clause(scene))

    return draw


def _plain_clause(predicates: tuple[str, ...]) -> PhraseMaker:
    """A clause about things and third persons only, as a summary may repeat it."""
    inner = _clause(predicates, 0.0)

    def draw(scene: Scene) -> str:
        clause = str(inner(scene))
        while clause.startswith(("our ", "my ", "your ")) or " your " in clause:
            clause = str(inner(scene))
        return clause

    return draw


def _direct_question(scene: Scene) -> dict[str, str]:
    """A question: plain `where is the key`, indirect `where the key is`."""
    subject, plural = _subject(scene)
    scene.set("subject", plain=subject)
    verbs = {verb: forms[plural] for verb, forms in AGREEMENT.items()}
    direct, indirect = scene.pick(QUESTIONS).split(" | ")
    for verb in ("is", "has", "was", "does"):
        direct = direct.replace(f"<{verb}>", verbs[verb])
        indirect = indirect.replace(f"<{verb}>", verbs[verb])
    indirect = indirect.replace("<s>", "" if plural else "s")
    return {"plain": scene.fill(direct), "indirect": scene.fill(indirect)}


ADVERBS = listed("always completely already really totally constantly clearly now probably often")
OPEN_PREDICATES = (
    "{open.past}", "<is> {open.ing}", "will {open}", "did not {open}", "<has> {open.done}",
    "cannot {open}", "never {open.past}",
)  # fmt: skip
PHRASES: dict[str, PhraseMaker] = {
    "task": _task,
    "open": lambda scene: _open_verb_phrase(scene, is_bare=True),
    "errand": _errand,
    "misfortune": _templates(MISFORTUNES),
    "circumstance": _templates(CIRCUMSTANCES),
    "chore": _chore,
    "doc": _doc,
    "document": _pool(DOCUMENTS),
    "thing": _thing,
    "things": _things,
    "noun": _pool(NOUNS, invented_share=0.02),
    "plural": _pool(PLURALS),
    "adjective": _pool(ADJECTIVES),
    "stuff": _pool(TOPIC_WORDS, invented_share=0.01),
    "event": _templates(EVENTS),
    "group": _pool(GROUPS),
    "whom": _whom,
    "by": _templates(DEADLINES),
    "when": _templates(TIMES),
    "done": _pool(DONE),
    "work": _pool((*WORKS, *DOCUMENTS)),
    "consequence": _templates(CONSEQUENCES),
    "event_trouble": _templates(EVENT_TROUBLES),
    "impression": _pool(IMPRESSIONS),
    "manner": _pool(MANNERS),
    "trouble": _clause(TROUBLES, 0.25),
    "news": _clause(NEWS, 0.1),
    "fact": _plain_clause(NEWS),
    "problem": _plain_clause(TROUBLES),
    "question": _direct_question,
}


def new_scene(rng: Random, split: Split) -> Scene:
    """A scene that knows words and phrases."""
    return Scene(rng, split, PHRASES)
