"""Conversations in SmolLM2's tool format: calls, refusals, results worded into answers.

Half of the tools are invented anew for every example, so that names and values must be copied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from smolchat.chatml import (
    plain_answer_text,
    tool_calls_text,
    tool_response_text,
    tool_system_prompt,
)
from training.example import Example, Split
from training.invented_tools import (
    draw_chain,
    draw_incomplete_wish,
    draw_task,
    in_other_words,
    invent_tool,
    offer_beside,
    wording,
)
from training.shipped_tools import (
    PURE,
    SCHEMAS,
    draw_shipped_chain,
    draw_shipped_follow_up,
    draw_shipped_incomplete,
    draw_shipped_pair,
    draw_shipped_task,
    pick_shipped,
)
from training.tool_task import Schema, Task, listed
from training.words import Scene, capitalized

NO_TOOL = "The query cannot be answered with the provided tools."
NO_PARAMETERS = "The given question lacks the parameters required by the function."

_SHIPPED: dict[Split, float] = {"train": 0.35, "heldout": 0.5}
"""How many conversations are about shipped tools; invented ones are harder to learn."""
_NARROW: dict[Split, float] = {"train": 0.5, "heldout": 0.0}
"""How many lists of tools have a tenth of the words: as held-out ones are, names are alike."""

Message = dict[str, str]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of one conversation, and tasks that they can do."""

    schemas: tuple[Schema, ...]
    tasks: tuple[Task, ...]


class Desk(Scene):
    """A scene with tools; neighbouring scenes have the same ones, so that prompts begin alike."""

    def __init__(self, rng: Random, split: Split, neighbourhood: str) -> None:
        super().__init__(rng, split)
        drawn = Scene(Random(neighbourhood), split)
        if Random(f"{neighbourhood}/narrow").random() < _NARROW[split]:
            self.narrow = drawn.narrow = neighbourhood
        self.is_shipped = drawn.chance(_SHIPPED[split])
        self.shipped_names = _shipped_names(drawn)
        tool = invent_tool(drawn)
        self.invented = _shuffled(drawn, [tool, *offer_beside(drawn, tool, _others(drawn))])


def generate(rng: Random, split: Split, neighbourhood: str | None = None) -> Example:
    """One conversation about tools; those of a neighbourhood mostly offer the same ones."""
    family = rng.choices(tuple(_FAMILIES), _CHANCES[split])[0]
    desk = Desk(rng, split, neighbourhood or str(rng.random()))
    return _FAMILIES[family](desk, f"tools/{family}")


def _call(scene: Desk, family: str) -> Example:
    offer = _offer(scene, 1)
    task = offer.tasks[0]
    question = _user(_spoken(scene, task.question))
    return _conversation(scene, family, offer, question, _calls(offer.tasks))


def _parallel(scene: Desk, family: str) -> Example:
    if scene.chance(0.08):
        text, tasks = draw_shipped_pair(scene)
        names = {tasks[0].name} | set(scene.rng.sample(PURE, scene.pick((0, 1, 2, 9))))
        offer = Offer(tuple(SCHEMAS[name] for name in sorted(names)), tuple(tasks))
    else:
        offer = _offer(scene, scene.pick((2, 2, 2, 2, 2, 3)))
        text = _joined_questions(scene, offer.tasks)
    question = _user(_spoken(scene, text))
    if scene.chance(0.45):
        return _conversation(scene, family, offer, question, _calls(offer.tasks))
    keep = tuple(word for task in offer.tasks for word in task.keep)
    return _conversation(scene, family, offer, question, *_answered(scene, offer.tasks), keep=keep)


def _answer(scene: Desk, family: str) -> Example:
    offer = _offer(scene, 1)
    task = offer.tasks[0]
    messages = [_user(_spoken(scene, task.question)), *_answered(scene, offer.tasks)]
    if scene.chance(0.15):
        thanks, welcome = wording(scene, _THANKS)
        messages += [_user(thanks), _assistant(welcome)]
        return _conversation(scene, family, offer, *messages)
    return _conversation(scene, family, offer, *messages, keep=task.keep)


def _turns(scene: Desk, family: str) -> Example:
    """A second question in the same conversation."""
    offer = _offer(scene, 2)
    first, second = offer.tasks
    question = second.question
    if scene.chance(0.15):
        first, question, second = draw_shipped_follow_up(scene)
        offer = Offer(tuple(SCHEMAS[name] for name in PURE), (first, second))
    elif scene.chance(0.3):
        question = scene.pick(("And ", "Now ", "Okay, ")) + second.wish
        question += "?" if second.is_question else "."
    messages = [_user(_spoken(scene, first.question)), *_answered(scene, [first]), _user(question)]
    messages += _answered(scene, [second])
    return _conversation(scene, family, offer, *messages, keep=second.keep)


def _plain_answer(scene: Desk, family: str) -> Example:
    tasks = _offer(scene, scene.pick((1, 1, 1, 2, 2, 3))).tasks
    question = tasks[0].question if len(tasks) == 1 else _joined_questions(scene, tasks)
    question = _spoken(scene, question)
    text = plain_answer_text(question, [(task.name, task.result) for task in tasks])
    keep = tuple(word for task in tasks for word in task.keep)
    return Example(family, (_user(text), _assistant(_joined_answers(tasks))), keep)


def _refuse(scene: Desk, family: str) -> Example:
    offer = _offer(scene, 0)
    question = wording(scene, _OUTSIDE) if scene.chance(0.25) else ""
    if question:
        question = capitalized(scene.fill(question))
    else:
        question = _unoffered_task(scene, offer).question
    return _conversation(scene, family, offer, _user(_spoken(scene, question)), _assistant(NO_TOOL))


def _missing(scene: Desk, family: str) -> Example:
    if scene.is_shipped:
        names = scene.shipped_names
        lacking = [draw_shipped_incomplete(scene, name) for name in names]
        questions = [question for question in lacking if question]
        if questions:
            offer = Offer(tuple(SCHEMAS[name] for name in names), ())
            question = _user(_spoken(scene, scene.pick(questions)))
            return _conversation(scene, family, offer, question, _assistant(NO_PARAMETERS))
    tools = scene.invented
    demanding = [each for each in tools if any(part.required for part in each.parameters)]
    if not demanding:
        return _refuse(scene, "tools/refuse")
    tool = scene.pick(demanding)
    offer = Offer(tuple(each.schema for each in tools), ())
    question = _user(_spoken(scene, draw_incomplete_wish(scene, tool).question))
    return _conversation(scene, family, offer, question, _assistant(NO_PARAMETERS))


def _chain(scene: Desk, family: str) -> Example:
    """What the first call finds is an argument of the second."""
    draw = _shipped_chain if scene.chance(0.35) else _invented_chain
    question, first, second, schemas = draw(scene)
    messages = (
        _user(question),
        _calls([first]),
        _response([(first.name, first.result)]),
        _calls([second]),
        _response([(second.name, second.result)]),
        _assistant(second.sentence),
    )
    offer = Offer(tuple(schemas), (first, second))
    return _conversation(scene, family, offer, *messages, keep=second.keep)


def _shipped_chain(scene: Scene) -> tuple[str, Task, Task, list[Schema]]:
    question, first, second = draw_shipped_chain(scene)
    names = {first.name, second.name}
    if names <= set(PURE) and scene.chance(0.4):
        names |= set(PURE)
    elif scene.chance(0.5):
        names.add(scene.pick(PURE))
    return question, first, second, [SCHEMAS[name] for name in sorted(names)]


def _invented_chain(scene: Scene) -> tuple[str, Task, Task, list[Schema]]:
    source, target, first, second = draw_chain(scene)
    then = scene.pick((" Then ", " After that, ", " Then please ", " With the result, "))
    others = offer_beside(scene, source, scene.pick((0, 0, 1)))
    others = [each for each in others if each.noun != target.noun]
    schemas = [each.schema for each in _shuffled(scene, [source, target, *others])]
    return first.question + then + second.wish + ".", first, second, schemas


def _chat(scene: Desk, family: str) -> Example:
    offer = _offer(scene, 0)
    if scene.chance(0.2):
        names = [schema["function"]["name"] for schema in offer.schemas]
        reply = "I can use {0}."
        if len(names) > 1:
            reply = scene.pick(("I can use {0}.", "My tools are {0}.", "I can call {0} for you."))
        question = wording(scene, _ABILITIES)
        return _conversation(
            scene, family, offer, _user(question), _assistant(reply.format(listed(names)))
        )
    greeting, reply = wording(scene, _GREETINGS)
    return _conversation(scene, family, offer, _user(greeting), _assistant(reply))


def _conversation(
    scene: Scene, family: str, offer: Offer, *messages: Message, keep: tuple[str, ...] = ()
) -> Example:
    system = scene.fill(wording(scene, _SYSTEM_PROMPTS)) if scene.chance(0.03) else None
    prompt = {"role": "system", "content": tool_system_prompt(offer.schemas, system)}
    return Example(family, (prompt, *messages), keep)


def _offer(scene: Desk, task_count: int) -> Offer:
    """Shipped, invented or both kinds of tools, with distinct tasks for them."""
    if scene.chance(0.03):
        return _mixed_offer(scene, task_count)
    if not scene.is_shipped:
        return _invented_offer(scene, task_count)
    names = scene.shipped_names if len(scene.shipped_names) >= task_count else PURE
    return _shipped_offer(scene, names, task_count)


def _shipped_names(scene: Scene) -> tuple[str, ...]:
    """Names in the order in which smolchat offers them."""
    if scene.chance(0.5):
        return PURE
    return tuple(sorted(scene.rng.sample(tuple(SCHEMAS), scene.pick((1, 1, 2, 2, 3, 4)))))


def _shipped_offer(scene: Scene, names: Sequence[str], task_count: int) -> Offer:
    wanted = pick_shipped(scene, names, task_count)
    tasks = tuple(draw_shipped_task(scene, name) for name in wanted)
    return Offer(tuple(SCHEMAS[name] for name in names), tasks)


def _mixed_offer(scene: Desk, task_count: int) -> Offer:
    names = scene.rng.sample(tuple(SCHEMAS), scene.pick((1, 2, 3)))
    shipped = _shipped_offer(scene, names, (task_count + 1) // 2)
    invented = _invented_offer(scene, task_count // 2)
    schemas = _shuffled(scene, [*shipped.schemas, *invented.schemas])
    return Offer(tuple(schemas), (*shipped.tasks, *invented.tasks))


def _invented_offer(scene: Desk, task_count: int) -> Offer:
    tools = scene.invented
    if task_count > len(tools):
        tools = [tools[0], *offer_beside(scene, tools[0], task_count - 1)]
    wanted = scene.rng.sample(tools, task_count)
    if task_count > 1 and wanted[0].parameters and scene.chance(0.25):
        wanted = wanted[:1] * task_count
    tasks = tuple(draw_task(scene, in_other_words(scene, each, tools)) for each in wanted)
    return Offer(tuple(each.schema for each in tools), tasks)


def _others(scene: Scene) -> int:
    return scene.pick((0, 0, 1, 1, 1, 2, 2, 3))


def _shuffled(scene: Scene, items: list[Item]) -> list[Item]:
    scene.rng.shuffle(items)
    return items


def _unoffered_task(scene: Scene, offer: Offer) -> Task:
    """A wish that no offered tool fulfils, though it may sound near."""
    described = str([schema["function"] for schema in offer.schemas]).lower().replace("_", " ")
    while True:
        if scene.chance(0.2):
            name = scene.pick(tuple(SCHEMAS))
            if SCHEMAS[name] not in offer.schemas and not _covered(name, offer):
                return draw_shipped_task(scene, name)
            continue
        tool = invent_tool(scene)
        topic = tool.noun or tool.attribute
        if topic not in described or (tool.verb not in described and not tool.attribute):
            return draw_task(scene, tool)


def _covered(name: str, offer: Offer) -> bool:
    """Whether another date tool might answer as well."""
    dates = {"add_days", "current_time", "days_between", "weekday"}
    offered = {schema["function"]["name"] for schema in offer.schemas}
    return name in dates and bool(dates & offered)


def _spoken(scene: Scene, question: str) -> str:
    """The question as typed: with a word before or after it, or carelessly."""
    if scene.chance(0.4):
        question = re.sub(r", (how|what|when|which) ", _new_sentence, question, count=1)
    draw = scene.rng.random()
    if draw < 0.1:
        return _aside(scene, _OPENINGS) + " " + question
    if draw < 0.14:
        return _aside(scene, _OPENERS) + " " + _uncapitalized(question)
    if draw < 0.18:
        return question + " " + _aside(scene, _CLOSINGS)
    if draw < 0.24:
        return _uncapitalized(question)[:-1]
    return question[:-1] if draw < 0.28 else question


def _aside(scene: Scene, options: Sequence[str]) -> str:
    """Words beside the question; they have names of their own, which no answer has to keep.

    None may say what could be taken for an argument.
    """
    return Scene(scene.rng, scene.split).fill(wording(scene, options))


def _new_sentence(match: re.Match[str]) -> str:
    return f". {match[1].capitalize()} "


def _uncapitalized(question: str) -> str:
    return question if question.startswith("I") else question[:1].lower() + question[1:]


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _calls(tasks: Sequence[Task]) -> Message:
    return _assistant(tool_calls_text([task.call for task in tasks]))


def _response(results: Sequence[tuple[str, str]]) -> Message:
    return _user(tool_response_text(results))


def _answered(scene: Scene, tasks: Sequence[Task]) -> list[Message]:
    """The calls, their results and the answer."""
    response = _response([(task.name, task.result) for task in tasks])
    return [_calls(tasks), response, _assistant(_joined_answers(tasks))]


def _joined_questions(scene: Scene, tasks: Sequence[Task]) -> str:
    if len(tasks) > 2 or scene.chance(0.35):
        return " ".join(task.question for task in tasks)
    last = tasks[-1]
    joint = scene.pick((", and ", " and ", ", and ", ", also ", ", then ", " and also "))
    wishes = joint.join(task.wish for task in tasks)
    return capitalized(wishes) + ("?" if last.is_question else ".")


def _joined_answers(tasks: Sequence[Task]) -> str:
    return " ".join(task.sentence for task in tasks)


_OPENINGS = (
    "Hi!",
    "Hello.",
    "Quick question:",
    "I have a question.",
    "Good morning!",
    "I am curious.",
    "Hey!",
    "My friend wants to know this.",
    "This is for my homework.",
    "Help, please.",
    "Hello there!",
    "Next one:",
    "I am at work.",
    "I am planning a trip.",
    "One more thing.",
    "It is urgent.",
    "We are cooking dinner.",
    "I am reading a book.",
    "I am cleaning the house.",
    "I am in the kitchen.",
    "I am on my way home.",
    "I am waiting for {name}.",
    "I am talking to {name} from {company}.",
    "I am writing a report about {project}.",
    "I work with {name} and {name:b}.",
    "I am learning a lot these days.",
    "I just came home.",
    "I have a meeting soon.",
    "I have to leave soon.",
    "I have a small problem.",
    "I have been thinking.",
    "I could not find it myself.",
    "I would like some help.",
    "I met {person} yesterday.",
    "I bought a new lamp.",
    "We are in the car at the moment.",
    "We are building a house.",
    "We are having a party.",
    "We are going on a long walk.",
    "We had a nice dinner with {name}.",
    "We are a small team.",
    "My brother {name} asked me this.",
    "My neighbour wants to know.",
    "My garden looks nice today.",
    "My son is doing his maths.",
    "My teacher asked us.",
    "The weather is nice here.",
    "The children are asleep.",
    "The train is late again.",
    "The trip was great.",
    "The report is nearly due.",
    "This is a question from {name}.",
    "This is about {project}.",
    "This one is easy.",
    "It is raining here.",
    "It is a long story.",
    "It is late already.",
    "{name} wants to know this.",
    "{name} told me to ask you.",
    "{name} and I are at lunch.",
    "{person} from {company} is here.",
    "Here is a question for you.",
    "Here comes the next question.",
    "Good evening!",
    "Good afternoon.",
    "Hi there!",
    "This is important to me.",
    "Sorry to bother you.",
    "Sorry, me again.",
    "Now something else.",
    "Something different:",
    "A question about work.",
    "A quick one:",
    "Let us begin.",
    "Let me ask you something.",
    "Listen.",
    "Look at this.",
    "Task:",
    "To do:",
    "Question one:",
    "Excuse me.",
)
_OPENERS = (
    "Please,",
    "Hey,",
    "Okay,",
    "So,",
    "Well,",
    "Hi,",
    "Now",
    "And",
    "Tell me,",
    "Sorry,",
    "By the way,",
    "Also,",
    "Alright,",
    "Right,",
    "Oh,",
    "Ah,",
    "Um,",
    "Then",
    "Next,",
    "First,",
    "Again,",
    "Listen,",
    "Friend,",
    "Actually,",
    "Just curious,",
    "If you can,",
    "When you have time,",
    "For my work,",
    "For my files,",
    "Excuse me,",
    "Dear assistant,",
    "As a test,",
)
_CLOSINGS = (
    "Thanks!",
    "Thank you.",
    "Please be quick.",
    "I am in a hurry.",
    "Thanks in advance.",
    "Please.",
    "I forgot.",
    "It matters to me.",
    "Many thanks.",
    "Thank you so much!",
    "Thanks a lot.",
    "Thx",
    "Take your time.",
    "I need it soon.",
    "I need it for later.",
    "{name} wants to know.",
    "It is for my boss.",
    "It is for a meeting.",
    "That is all.",
    "That's it for now.",
    "Nothing else.",
    "Be careful.",
    "Please and thank you.",
    "As soon as possible.",
    "Then we can go home.",
    "I will tell {name}.",
    "Bye.",
    "You are great.",
)
_SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are {name}, an assistant at {company}.",
    "Today is {date}.",
    "Always be polite.",
    "You help the customers of {company}.",
    "The user's name is {name}.",
    "You are a friendly assistant. Keep answers short.",
    "You work for {company} in {city}.",
    "Be precise with numbers.",
)
_GREETINGS = (
    ("Hello!", "Hello! What can I do for you?"),
    ("Hi", "Hi! How can I help you?"),
    ("Good morning", "Good morning! What can I do for you?"),
    ("Hello there", "Hello! How can I help you?"),
    ("Thank you!", "You're welcome!"),
    ("Hey there!", "Hello! How can I help you?"),
    ("Thanks a lot", "You're welcome!"),
    ("Good evening", "Good evening! How can I help you?"),
    ("Hey", "Hey! What can I do for you?"),
    ("Thanks", "You're welcome!"),
    ("Goodbye", "Goodbye! Have a nice day."),
    ("Bye", "Goodbye! Have a nice day."),
    ("How are you?", "I am fine, thank you. What can I do for you?"),
    ("Thank you so much!", "You're welcome!"),
    ("Hi there!", "Hi! How can I help you?"),
    ("Great, thanks!", "You're welcome!"),
    ("Who are you?", "I am SmolLM, a helpful AI assistant. What can I do for you?"),
    ("What is your name?", "My name is SmolLM. How can I help you?"),
    ("Hi, I'm new here", "Hello! What can I do for you?"),
    ("Are you there?", "Yes, I am here. What can I do for you?"),
    ("Ok", "Is there anything else I can do for you?"),
    ("Nice to meet you", "Nice to meet you too! How can I help you?"),
    ("See you later", "Goodbye! Have a nice day."),
    ("Hello, can you help me?", "Yes, of course. What do you need?"),
)
_THANKS = (
    ("Thank you!", "You're welcome!"),
    ("Thanks", "You're welcome!"),
    ("Great, thanks!", "You're welcome!"),
    ("Perfect.", "Glad I could help."),
    ("Thanks a lot!", "You're welcome!"),
    ("Many thanks", "You're welcome!"),
    ("Good, thank you.", "You're welcome!"),
)
_ABILITIES = (
    "What can you do?",
    "Which tools do you have?",
    "What tools can you use?",
    "How can you help me?",
    "What are your tools?",
    "Which functions can you call?",
    "List your tools.",
)
_OUTSIDE = (
    "write a poem about {city}.",
    "who is the president of the {company}?",
    "tell me a joke.",
    "what is the capital of {city}?",
    "what is the weather in {city}?",
    "who wrote that book?",
    "play some music.",
    "send an email to {name}.",
    "turn on the light.",
    "book a flight to {city}.",
    "translate good morning into French.",
    "what is the meaning of life?",
    "call {name}.",
    "who is {person}?",
    "how tall is {name}?",
    "order a pizza to {place}.",
    "remind me to call {name} at {time}.",
    "what is the stock price of {company}?",
    "sing a song for {name}.",
    "explain how a car works.",
    "find a hotel in {city}.",
    "how do I get to {city}?",
    "what is the news today?",
    "recommend a good film.",
    "set an alarm for {time}.",
    "will it rain in {city} on {weekday}?",
    "how old is {person}?",
    "post a picture of {city}.",
    "why is the sky blue?",
    "open the door.",
    "convert {number} euros to dollars.",
    "how many dollars are {number} euros?",
    "what is the exchange rate of the euro?",
    "how far is it from {city} to {city:b}?",
    "how many people live in {city}?",
    "when was {person} born?",
    "who invented the telephone?",
    "set a timer for {number} minutes.",
    "please reserve a table for {name} at {time}.",
    "delete the file {file}.",
    "send the report to {name}.",
    "buy a ticket to {city}.",
    "cancel my appointment on {date}.",
    "show me a map of {city}.",
    "how do I cook rice?",
    "what should I wear today?",
    "call a taxi to {place}.",
    "is {name} at home?",
    "read my emails.",
    "write a letter to {person}.",
    "what does this word mean?",
    "how was your day at {company}?",
    "tell me about {person}.",
    "find a doctor in {city}.",
    "print {file}.",
    "summarize the meeting about {project}.",
    "what is the phone number of {person}?",
    "add a meeting with {name} on {date}.",
    "rent a car in {city} from {date}.",
    "how much does {company} earn?",
    "give me a recipe for soup.",
    "which team won the match?",
    "when does the train to {city} leave?",
    "water the plants at {time}.",
    "upload {file} to the server.",
    "draw a picture of a cat.",
    "recommend a restaurant in {city}.",
    "what is the best phone?",
    "turn off the heating at {time}.",
    "who won the election?",
)

_FAMILIES: dict[str, Callable[[Desk, str], Example]] = {
    "call": _call,
    "parallel": _parallel,
    "answer": _answer,
    "turns": _turns,
    "plain_answer": _plain_answer,
    "refuse": _refuse,
    "missing": _missing,
    "chain": _chain,
    "chat": _chat,
}
_CHANCES: dict[Split, tuple[int, ...]] = {
    "train": (42, 20, 9, 4, 5, 10, 7, 4, 1),
    "heldout": (40, 17, 10, 4, 6, 10, 8, 4, 1),
}
