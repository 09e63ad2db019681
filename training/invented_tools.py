"""Tools that exist nowhere, with questions that state their arguments in plain words."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from training import tool_pools as pools
from training.example import Split
from training.tool_task import Schema, Task, function_schema, listed
from training.words import Scene, capitalized, invented

Choice = TypeVar("Choice")
Stated = tuple[Any, str]
"""A value as JSON, and as a question says it."""

VERBS = tuple(pools.VERBS)
ATTRIBUTES = tuple(pools.ATTRIBUTES)
SUBJECTS = tuple(pools.SUBJECTS)
ACTION_KINDS = tuple(pools.KINDS)
SUBJECT_KINDS = ("city", "city", "city", "date", "time", "code")
_SHARES: dict[Split, tuple[float, float, float]] = {
    "train": (0.28, 0.42, 0.13),
    "heldout": (0.45, 0.30, 0.13),
}
"""How many parameters are of a known kind, have any name, and have options; the rest switch.

Lists of few words have the held-out shares, and few kinds, of which tools have other names.
"""
FIRST_WORDS = (
    *("get", "find", "lookup", "look_up", "check", "fetch", "show", "read", "query", "tell"),
    *("retrieve", "see", "return", "report", "list", "load", "give"),
)
"""Names may begin with these whatever the tool does."""
LOOKUP_KINDS = ("city", "date", "time", "person", "code", "file", "url", "radius")
ARTICLES = (
    "a(n) {noun}",
    "the {noun}",
    "the {noun}",
    "my {noun}",
    "our {noun}",
    "this {noun}",
    "that {noun}",
    "your {noun}",
    "one {noun}",
    "another {noun}",
    "the next {noun}",
    "the first {noun}",
    "the new {noun}",
    "his {noun}",
    "her {noun}",
    "their {noun}",
)

ACTION_FRAMES = (
    ("{act}", False),
    ("please {act}", False),
    ("can you {act}", True),
    ("could you {act}", True),
    ("I need to {act}", False),
    ("I want to {act}", False),
    ("{act}", False),
    ("would you please {act}", True),
    ("I would like to {act}", False),
    ("I'd like you to {act}", False),
    ("help me {act}", False),
    ("could you please {act}", True),
    ("go ahead and {act}", False),
    ("it is time to {act}", False),
    ("we have to {act}", False),
    ("will you {act}", True),
    ("is it possible to {act}", True),
    ("hey, {act}", False),
    ("I have to {act}", False),
    ("{act} now", False),
    ("{act} for me", False),
    ("quickly {act}", False),
    ("let's {act}", False),
    ("kindly {act}", False),
    ("oh please {act}", False),
    ("I have got to {act}", False),
    ("I must {act}", False),
    ("I should {act}", False),
    ("I am going to {act}", False),
    ("I am trying to {act}", False),
    ("I was asked to {act}", False),
    ("I would love to {act}", False),
    ("I'd like to {act}", False),
    ("I'd love you to {act}", False),
    ("I want you to {act}", False),
    ("I need you to {act}", False),
    ("I need somebody to {act}", False),
    ("I ask you to {act}", False),
    ("I wish to {act}", False),
    ("we need to {act}", False),
    ("we want to {act}", False),
    ("we would like to {act}", False),
    ("we should {act}", False),
    ("you have to {act}", False),
    ("you should {act}", False),
    ("you may {act}", False),
    ("it is important to {act}", False),
    ("it is necessary to {act}", False),
    ("it would be good to {act}", False),
    ("it would be great to {act}", False),
    ("it is my job to {act}", False),
    ("it is best to {act}", False),
    ("there is a need to {act}", False),
    ("my task is to {act}", False),
    ("my boss wants me to {act}", False),
    ("the plan is to {act}", False),
    ("the next step is to {act}", False),
    ("the time has come to {act}", False),
    ("next, {act}", False),
    ("first, {act}", False),
    ("now {act}", False),
    ("just {act}", False),
    ("simply {act}", False),
    ("right away {act}", False),
    ("carefully {act}", False),
    ("immediately {act}", False),
    ("slowly {act}", False),
    ("finally {act}", False),
    ("quietly {act}", False),
    ("once more {act}", False),
    ("do please {act}", False),
    ("please help me to {act}", False),
    ("please help us {act}", False),
    ("please try to {act}", False),
    ("please go and {act}", False),
    ("please be so kind and {act}", False),
    ("be so good as to {act}", False),
    ("try to {act}", False),
    ("do {act}", False),
    ("remember to {act}", False),
    ("make sure to {act}", False),
    ("get ready to {act}", False),
    ("don't forget to {act}", False),
    ("feel free to {act}", False),
    ("how about you {act}", True),
    ("why don't you {act}", True),
    ("can we {act}", True),
    ("can I {act}", True),
    ("could I {act}", True),
    ("could we {act}", True),
    ("may I ask you to {act}", True),
    ("might you {act}", True),
    ("shall we {act}", True),
    ("should we {act}", True),
    ("do you mind if we {act}", True),
    ("would you {act}", True),
    ("would you kindly {act}", True),
    ("would it be possible to {act}", True),
    ("are you able to {act}", True),
    ("can somebody {act}", True),
    ("can you help me {act}", True),
    ("could you help me to {act}", True),
    ("could you soon {act}", True),
    ("{act} as soon as you can", False),
    ("{act} at last", False),
    ("{act} right away", False),
    ("{act} quickly", False),
    ("{act} if you can", False),
    ("{act}, thank you", False),
    ("{act}, will you", True),
    ("{act}, can you", True),
    ("{act} again", False),
)
LOOKUP_FRAMES = (
    ("what is {sought}", True),
    ("what's {sought}", True),
    ("tell me {sought}", False),
    ("show me {sought}", False),
    ("find {sought}", False),
    ("please tell me {sought}", False),
    ("I want to know {sought}", False),
    ("look up {sought}", False),
    ("get {sought}", False),
    ("can you tell me {sought}", True),
    ("give me {sought}", False),
    ("do you know {sought}", True),
    ("I need {sought}", False),
    ("could you check {sought}", True),
    ("please find out {sought}", False),
    ("fetch {sought}", False),
    ("I am looking for {sought}", False),
    ("can you find {sought}", True),
    ("I would like to know {sought}", False),
    ("I'd like to know {sought}", False),
    ("I want {sought}", False),
    ("I have to know {sought}", False),
    ("I need to know {sought}", False),
    ("I must find out {sought}", False),
    ("I want to see {sought}", False),
    ("I want to find {sought}", False),
    ("I am asking for {sought}", False),
    ("I am interested in {sought}", False),
    ("I am curious about {sought}", False),
    ("I wonder about {sought}", False),
    ("I forgot {sought}", False),
    ("we need {sought}", False),
    ("we want to know {sought}", False),
    ("we are looking for {sought}", False),
    ("let me know {sought}", False),
    ("let me see {sought}", False),
    ("let me have {sought}", False),
    ("let us look at {sought}", False),
    ("please check {sought}", False),
    ("please get {sought}", False),
    ("please get me {sought}", False),
    ("please give me {sought}", False),
    ("please show me {sought}", False),
    ("please find {sought}", False),
    ("please look for {sought}", False),
    ("please look up {sought}", False),
    ("please let me know {sought}", False),
    ("help me find {sought}", False),
    ("help me find out {sought}", False),
    ("check {sought}", False),
    ("check for {sought}", False),
    ("see {sought}", False),
    ("search for {sought}", False),
    ("look for {sought}", False),
    ("find out {sought}", False),
    ("find me {sought}", False),
    ("get me {sought}", False),
    ("bring me {sought}", False),
    ("report {sought}", False),
    ("tell us {sought}", False),
    ("state {sought}", False),
    ("name {sought}", False),
    ("return {sought}", False),
    ("read out {sought}", False),
    ("how about {sought}", True),
    ("what about {sought}", True),
    ("what was {sought}", True),
    ("what might be {sought}", True),
    ("what would be {sought}", True),
    ("what can you say about {sought}", True),
    ("which is {sought}", True),
    ("where do I find {sought}", True),
    ("do we know {sought}", True),
    ("do you have {sought}", True),
    ("does anybody know {sought}", True),
    ("have you got {sought}", True),
    ("is there a way to see {sought}", True),
    ("may I know {sought}", True),
    ("may I have {sought}", True),
    ("can I get {sought}", True),
    ("can I see {sought}", True),
    ("can you get {sought}", True),
    ("can you get me {sought}", True),
    ("can you show me {sought}", True),
    ("can you give me {sought}", True),
    ("can you look up {sought}", True),
    ("can you check {sought}", True),
    ("could I see {sought}", True),
    ("could you find {sought}", True),
    ("could you give me {sought}", True),
    ("could you look up {sought}", True),
    ("could you tell me {sought}", True),
    ("would you tell me {sought}", True),
    ("would you know {sought}", True),
    ("will you tell me {sought}", True),
    ("will you find {sought}", True),
    ("any idea of {sought}", True),
    ("{sought}", True),
    ("{sought} please", False),
    ("{sought}, please", False),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of an invented tool and how to draw and say a value for it."""

    name: str
    schema: Schema
    required: bool
    state: Callable[[Scene], Stated]


@dataclass(frozen=True, slots=True)
class InventedTool:
    """A tool that acts on a noun, looks up an attribute of it, or a subject that has no noun."""

    name: str
    description: str
    verb: str
    noun: str
    attribute: str
    """What is looked up; empty for a tool that acts."""
    parameters: tuple[Parameter, ...]
    returns: str | None

    @property
    def schema(self) -> Schema:
        properties = {parameter.name: parameter.schema for parameter in self.parameters}
        required = [parameter.name for parameter in self.parameters if parameter.required]
        return function_schema(self.name, self.description, properties, required, self.returns)


def wording(scene: Scene, options: Sequence[Choice]) -> Choice:
    """A wording of this split; short lists are shared."""
    unseen = heldout(options)
    if scene.split == "heldout":
        return scene.pick(unseen or options)
    return scene.pick([each for each in options if each not in unseen])


def heldout(options: Sequence[Choice]) -> Sequence[Choice]:
    """Every eighth wording, which no training example has."""
    return options[5::8]


def quoted(scene: Scene, template: str) -> str:
    """A template with single quotes, now and then with double ones."""
    return template.replace("'", '"') if scene.chance(0.3) else template


def invent_tool(scene: Scene, near: InventedTool | None = None) -> InventedTool:
    """Make up a tool; one `near` another shares its verb or its noun."""
    verb, noun = _verb(scene), _noun(scene)
    is_lookup = scene.chance(0.35)
    if near and scene.chance(0.5):
        noun = near.noun or noun
    elif near and not near.attribute:
        verb, is_lookup = near.verb, False
    attribute = scene.own(ATTRIBUTES) if is_lookup else ""
    if is_lookup and scene.chance(0.3):
        noun, attribute = "", scene.own(SUBJECTS)
    name = _lookup_name(scene, noun, attribute) if attribute else _action_name(scene, verb, noun)
    if scene.chance(0.06):
        name = _camel_case(name)
    return InventedTool(
        name,
        _description(scene, verb, noun, attribute),
        verb,
        noun,
        attribute,
        _parameters(scene, noun, attribute),
        scene.pick(("string", "string", "object", "number")) if scene.chance(0.3) else None,
    )


def offer_beside(scene: Scene, tool: InventedTool, count: int) -> list[InventedTool]:
    """Other tools that cannot be mistaken for `tool`, some of them near it."""
    offered = [tool]
    while len(offered) <= count:
        other = invent_tool(scene, tool if scene.chance(0.35) else None)
        if all(_differ(other, each) for each in offered):
            offered.append(other)
    return offered[1:]


def in_other_words(
    scene: Scene, tool: InventedTool, offered: Sequence[InventedTool]
) -> InventedTool:
    """The tool, in training now and then with a verb that nobody knows to ask for it.

    Only its noun can lead to it then, so no other `offered` tool may have that. Tools that look
    something up are asked for without their verb.
    """
    is_alone = all(each is tool or each.noun != tool.noun for each in offered)
    if scene.split == "train" and not tool.attribute and is_alone and scene.chance(0.2):
        return replace(tool, verb=invented(scene.rng))
    return tool


def draw_task(scene: Scene, tool: InventedTool) -> Task:
    """A wish that states every argument it needs, with its call, result and answer."""
    stated = _stated(scene, tool)
    wish, is_question = _wish(scene, tool, [phrase for _, (_, phrase) in stated])
    arguments = {parameter.name: value for parameter, (value, _) in stated}
    result, answer, keep = _outcome(scene, tool)
    return Task(tool.schema, wish, is_question, arguments, result, answer, keep)


def draw_incomplete_wish(scene: Scene, tool: InventedTool) -> Task:
    """A wish that leaves out at least one required argument; the tool must have one."""
    stated = _stated(scene, tool)
    required = [parameter for parameter, _ in stated if parameter.required]
    left_out = {scene.pick(required).name}
    if scene.chance(0.5):
        left_out = {parameter.name for parameter in required}
    phrases = [phrase for parameter, (_, phrase) in stated if parameter.name not in left_out]
    wish, is_question = _wish(scene, tool, phrases)
    return Task(tool.schema, wish, is_question, {}, "", "")


def draw_chain(scene: Scene) -> tuple[InventedTool, InventedTool, Task, Task]:
    """A tool that looks something up and one that needs it, with a task for each."""
    source, target = invent_tool(scene), invent_tool(scene)
    while not source.attribute:
        source = invent_tool(scene)
    while target.attribute or target.noun == source.noun:
        target = invent_tool(scene)
    found = scene.inner().fill(_looks_of(source.attribute))
    linked = _linked_parameter(scene, source.attribute, found)
    others = tuple(each for each in target.parameters if each.name != linked.name)
    target = replace(target, parameters=(linked, *others[:2]))
    result = scene.pick(("{v}", "{v}", "{a}: {v}"))
    result = result.replace("{v}", found).replace("{a}", source.attribute)
    first = replace(draw_task(scene, source), result=result)
    second = draw_task(scene, target)
    while second.is_question:
        second = draw_task(scene, target)
    return source, target, first, second


def _linked_parameter(scene: Scene, attribute: str, found: str) -> Parameter:
    """A parameter whose value the question leaves to an earlier call."""
    phrase = scene.pick(("with that {a}", "using this {a}", "with the {a} you found", "with it"))
    schema = {"type": "string", "description": f"The {attribute}"}
    stated = (found, phrase.replace("{a}", attribute))
    return Parameter(_snake(attribute), schema, True, lambda _: stated)


def _verb(scene: Scene) -> str:
    return invented(scene.rng) if _is_invented(scene, 0.5) else scene.own(VERBS)


def _noun(scene: Scene) -> str:
    noun = invented(scene.rng) if _is_invented(scene) else scene.own(pools.NOUNS)
    if not scene.chance(0.05):
        return noun
    first = scene.own(pools.LABELS)
    if _is_invented(scene):
        first = noun[:3] + invented(scene.rng)  # what follows the first letters is ambiguous
    return f"{first} {noun}"


def _is_invented(scene: Scene, share: float = 1.0) -> bool:
    """Words of no pool keep pools from being learnt by heart; held-out ones are unseen anyway."""
    return scene.chance(share * (0.4 if scene.split == "train" else 0.05))


def _other_words(verb: str) -> tuple[str, ...]:
    return pools.VERBS.get(verb, ())


def _differ(one: InventedTool, other: InventedTool) -> bool:
    if one.name == other.name:
        return False
    if one.noun and other.noun and one.noun != other.noun:
        return one.noun not in other.noun and other.noun not in one.noun
    return (one.attribute or one.verb) != (other.attribute or other.verb)


def _action_name(scene: Scene, verb: str, noun: str) -> str:
    if scene.split == "train" and scene.chance(0.15):
        return _snake(f"{_first_word(scene)} {verb} {noun}")
    pattern = scene.pick(("{verb} {noun}", "{verb} {noun}", "{verb} {noun}", "{noun} {verb}"))
    return _snake(pattern.format(verb=verb, noun=noun))


def _lookup_name(scene: Scene, noun: str, attribute: str) -> str:
    if scene.split == "train" and scene.chance(0.6):
        of = scene.chance(1 / 3)
        sought = f"{attribute} of {noun}" if of else f"{noun} {attribute}"
        return _snake(f"{_first_word(scene)} {sought if noun else attribute}")
    if not noun:
        verb = scene.pick(("get", "get", "get", "check", "find", "fetch", "show", "look_up"))
        return _snake(f"{verb} {attribute}")
    patterns = (
        "get {noun} {attribute}",
        "get {attribute} of {noun}",
        "find {noun} {attribute}",
        "{noun} {attribute}",
        "lookup {noun} {attribute}",
        "get {noun} {attribute}",
    )
    return _snake(scene.pick(patterns).format(noun=noun, attribute=attribute))


def _first_word(scene: Scene) -> str:
    """What a name begins with that does not tell it from others; few questions say it."""
    return invented(scene.rng) if scene.chance(0.4) else scene.pick(FIRST_WORDS)


def _snake(words: str) -> str:
    return words.replace(" ", "_").replace("-", "_").lower()


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _description(scene: Scene, verb: str, noun: str, attribute: str) -> str:
    if attribute and not noun:
        templates = (
            "[Get|Look up|Find|Return|Fetch|Tell|Check] the {a}",
            "[Gets|Looks up|Returns] the {a}",
            "The {a}",
            "[Get|Return] the current {a}",
        )
    elif attribute:
        templates = (
            "[Get|Look up|Find|Return|Fetch|Tell] the {a} of a(n) {n}",
            "[Gets|Looks up|Finds|Returns] the {a} of the {n}",
            "The {a} of a(n) {n}",
            "Find out the {a} of a given {n}",
            "[Get|Return] {n} {a}",
        )
    else:
        said = scene.pick((*_other_words(verb), verb)) if scene.chance(0.2) else verb
        verb = said
        templates = (
            "{V} a(n) {n}",
            "{V} the {n}",
            "{V} one {n}[| of the user| in the system| and return a confirmation]",
            "[Use this to|Function to|Tool to] {v} a(n) {n}",
            "{V} a(n) {n} with the given [settings|details|values]",
        )
    template = scene.pick(templates)
    words = {"{v}": verb, "{V}": capitalized(verb), "{n}": noun, "{a}": attribute}
    for slot, word in words.items():
        template = template.replace(slot, word)
    return scene.fill(template) + scene.pick((".", ".", ""))


def _parameters(scene: Scene, noun: str, attribute: str) -> tuple[Parameter, ...]:
    count = scene.pick((0, 1, 1, 1, 1, 2, 2, 2, 3) if attribute else (0, 1, 1, 2, 2, 2, 3, 3, 4))
    kinds = LOOKUP_KINDS if attribute else ACTION_KINDS
    if not noun:
        kinds, noun = SUBJECT_KINDS, attribute
    parameters: dict[str, Parameter] = {}
    used: set[str] = set()
    while len(parameters) < count:
        parameter, cue = _parameter(scene, noun, kinds)
        if cue not in used and parameter.name not in parameters:
            parameters[parameter.name] = parameter
            used.add(cue)
    return tuple(sorted(parameters.values(), key=lambda parameter: not parameter.required))


def _parameter(scene: Scene, noun: str, kinds: tuple[str, ...]) -> tuple[Parameter, str]:
    """A parameter, and the cue by which a question tells it from the others."""
    draw = scene.rng.random()
    of_kind, labelled, option = _SHARES["heldout" if scene.narrow else scene.split]
    if draw < of_kind:
        return _kind_parameter(scene, noun, scene.pick(scene.few(kinds)))
    if draw < of_kind + labelled:
        return _label_parameter(scene)
    is_option = draw < of_kind + labelled + option
    return _option_parameter(scene) if is_option else _switch_parameter(scene)


def _kind_parameter(scene: Scene, noun: str, kind: str) -> tuple[Parameter, str]:
    names, descriptions, phrases = pools.KINDS[kind]
    name = scene.pick(names)
    label = name.replace("_", " ")
    description = scene.pick(descriptions).format(label=label, Label=capitalized(label), noun=noun)

    def state(scene: Scene) -> Stated:
        value, said = _KIND_VALUES[kind](scene)
        phrase = quoted(scene, scene.pick(phrases))
        return value, phrase.format(v=said, label=label)

    return _finished(scene, name, _KIND_TYPES.get(kind, "string"), description, state), kind


def _label_parameter(scene: Scene) -> tuple[Parameter, str]:
    label = invented(scene.rng) if _is_invented(scene) else scene.own(pools.LABELS)
    if scene.chance(0.1):
        label = f"{scene.pick(pools.LABEL_ADJECTIVES)} {label}"
    json_type = scene.pick(tuple(_TYPED_VALUES))
    description = scene.pick(
        ("The {0}", "{1}", "{1} to use", "Which {0}", "The {0} wanted", "Value of the {0}")
    ).format(label, capitalized(label))

    def state(scene: Scene) -> Stated:
        value, said = _TYPED_VALUES[json_type](scene)
        return value, _phrase_of(scene, pools.GENERIC_PHRASES).format(v=said, label=label)

    return _finished(scene, _snake(label), json_type, description, state), label


def _option_parameter(scene: Scene) -> tuple[Parameter, str]:
    label = scene.pick(tuple(pools.OPTIONS))
    options = list(pools.OPTIONS[label])
    if scene.chance(0.15):
        options = list(dict.fromkeys(invented(scene.rng) for _ in range(3)))
    scene.rng.shuffle(options)
    description = scene.pick(("The {0}", "{1}", "Which {0}", "One of the {0} options"))

    def state(scene: Scene) -> Stated:
        value = scene.pick(options)
        return value, _phrase_of(scene, pools.OPTION_PHRASES).format(v=value, label=label)

    schema = {"type": "string", "enum": options}
    return _finished(
        scene, _snake(label), schema, description.format(label, capitalized(label)), state
    ), label


def _switch_parameter(scene: Scene) -> tuple[Parameter, str]:
    switch = scene.own(pools.SWITCHES)
    bare = switch.removeprefix("a ")
    name = _snake(bare)
    if scene.chance(0.3):
        name = scene.pick(("include_", "with_", "add_")) + name
    description = scene.pick(("Whether to include {0}", "With or without {0}", "Add {0}", "{1}"))

    def state(scene: Scene) -> Stated:
        value = scene.chance(0.5)
        if _is_loose(scene):
            phrase = loose_switch(scene, value)
        else:
            phrase = wording(scene, pools.SWITCH_PHRASES)[0 if value else 1]
        return value, phrase.format(v=switch, bare=bare)

    return _finished(
        scene, name, "boolean", description.format(switch, capitalized(bare)), state
    ), bare


def _is_loose(scene: Scene, share: float = 0.4) -> bool:
    """Whether to say a thing in any words at all, so that no wording is learnt by heart."""
    return scene.split == "train" and scene.chance(share)


def _loose(draw: Callable[[], list[str]], unseen: Collection[str]) -> str:
    """A template of words at random that is none of the `unseen` ones."""
    template = " ".join(draw())
    while template in unseen:
        template = " ".join(draw())
    return template


def _fillers(scene: Scene, most: int) -> list[str]:
    return [scene.pick(pools.FILLERS) for _ in range(scene.rng.randint(0, most))]


def loose_phrase(scene: Scene, wordings: Sequence[str]) -> str:
    """A label and its value in either order, with any words or fitting ones before and between."""

    def draw() -> list[str]:
        if scene.chance(0.6):
            return _composed_phrase(scene)
        first, second = scene.pick((("{label}", "{v}"), ("{v}", "{label}")))
        return [*_fillers(scene, 2), first, *_fillers(scene, 2), second]

    return _loose(draw, heldout(wordings))


def _composed_phrase(scene: Scene) -> list[str]:
    """The parts of a phrase in fitting words."""
    before = [scene.pick(pools.BEFORE)] if scene.chance(0.7) else []
    if scene.chance(0.35):
        return [*before, "{v}", *scene.pick(pools.IS_LABEL).split(), "{label}"]
    link = scene.pick(pools.LABEL_IS)
    label = "{label}:" if link == ":" else f"{{label}} {link}"
    parts = [*before, *scene.pick(pools.LABELLED).split(), *label.split(), "{v}"]
    if scene.chance(0.08):
        opening, closing = scene.pick(("()", "[]"))
        parts = [opening + parts[0], *parts[1:-1], parts[-1] + closing]
    return parts


def loose_switch(scene: Scene, is_on: bool) -> str:
    """A switch with a word that turns it on or off, and any words around."""

    def draw() -> list[str]:
        before, after = (pools.WANTED, pools.YES) if is_on else (pools.UNWANTED, pools.NO)
        said = [scene.pick(before), *_fillers(scene, 1), "{bare}"]
        if scene.chance(0.5):
            said = ["{bare}", *_fillers(scene, 1), scene.pick(after)]
        return [*_fillers(scene, 1), *said]

    return _loose(draw, _HELDOUT_SWITCHES)


def loose_frame(scene: Scene, frames: Sequence[tuple[str, bool]], wish: str) -> str:
    """A wish with any words before and after it."""

    def draw() -> list[str]:
        return [*_fillers(scene, 3), wish, *_fillers(scene, 1)]

    return _loose(draw, [frame for frame, _ in heldout(frames)])


def _phrase_of(scene: Scene, wordings: Sequence[str]) -> str:
    return loose_phrase(scene, wordings) if _is_loose(scene) else wording(scene, wordings)


def _frame_of(scene: Scene, frames: Sequence[tuple[str, bool]], wish: str) -> tuple[str, bool]:
    """What stands around a wish, and whether it makes a question of it."""
    frame, is_question = wording(scene, frames)
    return loose_frame(scene, frames, wish) if _is_loose(scene, 0.2) else frame, is_question


def _finished(
    scene: Scene,
    name: str,
    json_type: str | Schema,
    description: str,
    state: Callable[[Scene], Stated],
) -> Parameter:
    required = scene.chance(0.78)
    schema = _type_schema(json_type) if isinstance(json_type, str) else dict(json_type)
    if not required and scene.chance(0.35):
        default, _ = state(scene)
        description += scene.pick((" (optional)", ", optional", f" (default: {default})"))
    return Parameter(name, {**schema, "description": description}, required, state)


def _type_schema(json_type: str) -> Schema:
    item_type = json_type.removeprefix("array of ")
    if item_type != json_type:
        return {"type": "array", "items": {"type": item_type}}
    return {"type": json_type}


def _drawn(template: str) -> Callable[[Scene], Stated]:
    def draw(scene: Scene) -> Stated:
        value = scene.inner().fill(template)
        return value, value

    return draw


def _integer(low: int, high: int) -> Callable[[Scene], Stated]:
    def draw(scene: Scene) -> Stated:
        value = scene.rng.randint(low, high)
        return value, str(value)

    return draw


def _any_integer(scene: Scene) -> Stated:
    value = scene.rng.randint(1, 10 ** scene.rng.randint(1, 5))
    return value, str(value)


def _any_number(scene: Scene) -> Stated:
    if scene.chance(0.35):
        return _any_integer(scene)
    whole = scene.rng.randint(0, 10 ** scene.rng.randint(1, 3))
    said = (
        f"{whole}.{scene.rng.randint(0, 9) if scene.chance(0.4) else ''}{scene.rng.randint(1, 9)}"
    )
    return json.loads(said), said


def _any_text(scene: Scene) -> Stated:
    draw = scene.rng.random()
    if draw < 0.06:
        return (str(scene.rng.randint(1, 999)),) * 2
    if draw < 0.3:
        return _drawn("{code}")(scene)
    if draw < 0.6:
        value = invented(scene.rng)
        return (value.capitalize(),) * 2 if scene.chance(0.4) else (value, value)
    if draw < 0.8:
        return _drawn("[{name}|{person}|{project}|{company}|{city}]")(scene)
    value = _phrase(scene)
    return value, quoted(scene, f"'{value}'")


def free_text(scene: Scene) -> str:
    """A few words that somebody might have written, in lower case without an end."""
    draw = scene.rng.random()
    if draw < 0.4:
        return scene.own(pools.PHRASES)
    if draw < 0.6:
        pool = (*pools.ITEMS, *pools.LABELS, *VERBS, "the", "a", "of", "and", "in", "is", "to")
        return " ".join(scene.pick(pool) for _ in range(scene.rng.randint(2, 9)))
    text = scene.inner().fill(scene.pick(pools.SENTENCES))
    words = {"<n>": _noun(scene), "<m>": _noun(scene), "<v>": scene.own(VERBS)}
    for slot, word in words.items():
        text = text.replace(slot, word)
    return text


def _phrase(scene: Scene) -> str:
    phrase = free_text(scene)
    if scene.chance(0.3):
        phrase = scene.inner().fill("[{name}: |ask {name}, |{project}: |for {name}, ]") + phrase
    return capitalized(phrase) if scene.chance(0.5) else phrase


def _email(scene: Scene) -> Stated:
    first = scene.inner().fill("{name}").lower()
    first = first if first.isascii() else invented(scene.rng)
    domain = f"{invented(scene.rng)}.{scene.pick(('com', 'org', 'net', 'io', 'de', 'co.uk'))}"
    if scene.chance(0.4):
        first += scene.pick((".", "_", "")) + scene.pick((invented(scene.rng), "info", "7"))
    return (f"{first}@{domain}",) * 2


def _url(scene: Scene) -> Stated:
    host = f"{invented(scene.rng)}.{scene.pick(('com', 'org', 'net', 'io', 'example'))}"
    path = scene.pick(("", "", f"/{invented(scene.rng)}", f"/{scene.rng.randint(1, 999)}"))
    return (scene.pick(("https://", "https://", "www.", "")) + host + path,) * 2


def _list_of(draw: Callable[[Scene], Stated], longest: int = 4) -> Callable[[Scene], Stated]:
    def draw_list(scene: Scene) -> Stated:
        drawn = [draw(scene) for _ in range(scene.rng.randint(2, longest))]
        said = [said for _, said in drawn]
        return [value for value, _ in drawn], listed(said)

    return draw_list


def _item(scene: Scene) -> Stated:
    return (invented(scene.rng) if scene.chance(0.08) else scene.own(pools.ITEMS),) * 2


_KIND_TYPES = {
    "quantity": "integer",
    "minutes": "integer",
    "people": "integer",
    "price": "number",
    "weight": "number",
    "radius": "number",
    "items": "array of string",
    "names": "array of string",
    "numbers": "array of integer",
}
_KIND_VALUES: dict[str, Callable[[Scene], Stated]] = {
    "city": _drawn("{city}"),
    "date": _drawn("{date}"),
    "time": _drawn("{time}"),
    "person": _drawn("[{name}|{person}]"),
    "recipient": _drawn("[{name}|{person}]"),
    "quantity": _integer(2, 80),
    "minutes": _integer(5, 240),
    "people": _integer(2, 40),
    "price": _any_number,
    "weight": _any_number,
    "radius": _any_number,
    "email": _email,
    "message": lambda scene: (_phrase(scene),) * 2,
    "title": lambda scene: (_phrase(scene),) * 2,
    "code": _drawn("{code}"),
    "file": _drawn("{file}"),
    "url": _url,
    "items": _list_of(_item),
    "names": _list_of(_drawn("{name}")),
    "numbers": _list_of(_any_integer),
}
_TYPED_VALUES: dict[str, Callable[[Scene], Stated]] = {
    "string": _any_text,
    "integer": _any_integer,
    "number": _any_number,
    "array of string": _list_of(_item, 3),
    "array of integer": _list_of(_any_integer, 3),
}


def _stated(scene: Scene, tool: InventedTool) -> list[tuple[Parameter, Stated]]:
    return [
        (parameter, parameter.state(scene))
        for parameter in tool.parameters
        if parameter.required or scene.chance(0.5)
    ]


def _wish(scene: Scene, tool: InventedTool, phrases: list[str]) -> tuple[str, bool]:
    if scene.chance(0.15):
        scene.rng.shuffle(phrases)
    details = "".join(_separator(scene, phrase) + phrase for phrase in phrases)
    article = scene.pick(ARTICLES).replace("{noun}", tool.noun)
    if tool.attribute:
        sought = scene.fill(f"the {tool.attribute} of {article}")
        if not tool.noun:
            sought = f"the {tool.attribute}"
        elif scene.chance(0.25):
            sought = f"the {tool.noun} {tool.attribute}"
        frame, is_question = _frame_of(scene, LOOKUP_FRAMES, "{sought}")
        return frame.replace("{sought}", sought + details), is_question
    said = scene.pick((tool.verb, tool.verb, tool.verb, *_other_words(tool.verb)))
    act = f"{said} {scene.fill(article)}{details}"
    frame, is_question = _frame_of(scene, ACTION_FRAMES, "{act}")
    return frame.replace("{act}", act), is_question


def _separator(scene: Scene, phrase: str) -> str:
    if phrase.startswith(("and ", "(")):
        return " "
    first = phrase.split(" ")[0]
    return scene.pick((" ", " ", ", ")) if first in _PREPOSITIONS else ", "


_HELDOUT_SWITCHES = frozenset(
    phrase.replace("{v}", "{bare}") for pair in heldout(pools.SWITCH_PHRASES) for phrase in pair
)
_PREPOSITIONS = frozenset(
    [
        "with",
        "for",
        "to",
        "in",
        "at",
        "on",
        "by",
        "using",
        "from",
        "whose",
        "where",
        "within",
        "under",
        "saying",
        "that",
        "called",
        "titled",
        "over",
        "around",
        "near",
        "including",
        "containing",
        "lasting",
        "weighing",
        "of",
        "together",
        "without",
    ]
)

_LOOKUP_RESULTS = ("{v}", "{v}", "{a}: {v}", '{"{key}": "{v}"}', "The {a} is {v}")
_LOOKUP_ANSWERS = ("the {a} of the {n} is {v}",)
_SUBJECT_ANSWERS = ("the {a} is {v}",)
_OUTCOMES = (
    (
        ("confirmed, reference {code}", '{"status": "confirmed", "reference": "{code}"}'),
        "the {n} is confirmed, and the reference is {code}",
    ),
    (
        ("{code}", "id {code}", '{"id": "{code}"}', "created {code}"),
        "the {n} has the number {code}",
    ),
    (
        ("planned for {date} at {time}", '{"date": "{date}", "time": "{time}"}'),
        "the {n} is planned for {date} at {time}",
    ),
    (
        ("ready in {number} minutes", '{"ready_in_minutes": "{number}"}'),
        "the {n} will be ready in {number} minutes",
    ),
    (("total {amount}", '{"total": "{amount}"}', "{amount}"), "the total is {amount}"),
    (
        ("handled by {person}", '{"assigned_to": "{person}"}', "assigned to {person}"),
        "the {n} is now with {person}",
    ),
    (("saved as {file}", '{"file": "{file}"}', "{file}"), "the {n} is saved as {file}"),
    (("in {city}", '{"place": "{city}"}', "location {city}"), "the {n} is in {city}"),
    (
        ("ok", "done", "success", "true", '{"status": "ok"}', '{"success": true}'),
        "done, the {n} is taken care of",
    ),
    (
        ("pending", '{"status": "pending"}', "in the queue"),
        "the {n} is not finished yet, it is waiting in the queue",
    ),
)
_TROUBLES = (
    ("{n} not found", "the {n} was not found"),
    ("the service is not available", "the service is not available"),
    ("permission denied", "permission was denied"),
    ("code {code} is unknown", "the code {code} is unknown"),
    ("{person} is not registered", "{person} is not registered"),
    ("the limit is {number}", "the limit is {number}"),
    ("nothing free on {date}", "nothing is free on {date}"),
    ("closed until {time}", "it is closed until {time}"),
    ("The call was not allowed.", "the call was not allowed"),
    ("stopped: it took longer than 30 seconds", "it took longer than 30 seconds"),
)
_APOLOGIES = ("sorry, that did not work: {why}",)


def _looks_of(attribute: str) -> str:
    return pools.ATTRIBUTES.get(attribute) or pools.SUBJECTS[attribute]


def _outcome(scene: Scene, tool: InventedTool) -> tuple[str, str, tuple[str, ...]]:
    """A result, its answer, and what the answer copies from it."""
    inner = scene.inner()
    words = {"{n}": tool.noun, "{a}": tool.attribute, "{key}": _snake(tool.attribute)}
    if inner.chance(0.1):
        trouble, why = inner.pick(_TROUBLES if tool.noun else _TROUBLES[1:])
        result = inner.pick(("ValueError: ", "RuntimeError: ", "error: ", "")) + trouble
        answer = inner.pick(_APOLOGIES).replace("{why}", why)
    elif tool.attribute:
        words["{v}"] = inner.fill(_looks_of(tool.attribute))
        answers = _LOOKUP_ANSWERS if tool.noun else _SUBJECT_ANSWERS
        result, answer = inner.pick(_LOOKUP_RESULTS), inner.pick(answers)
    else:
        results, answer = inner.pick(_OUTCOMES)
        result = inner.pick(results)
    for slot, word in words.items():
        result, answer = result.replace(slot, word), answer.replace(slot, word)
    result, answer = inner.fill(result), inner.fill(answer)
    return result, answer, inner.kept_in(answer)
