from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from smolchat.toolbox import coerce
from training import tool_pools
from training.example import Example
from training.invented_tools import (
    ACTION_FRAMES,
    FIRST_WORDS,
    VERBS,
    draw_task,
    heldout,
    in_other_words,
    invent_tool,
    loose_frame,
    loose_phrase,
    loose_switch,
)
from training.shipped_tools import FUNCTIONS, PURE, SCHEMAS
from training.tool_calls import NO_PARAMETERS, NO_TOOL, Desk, generate
from training.words import Scene, part

QUESTIONS = Path(__file__).parents[2] / "training" / "questions.yaml"
CALLS = re.compile(r"<tool_call>(.*)</tool_call>")


@pytest.fixture(scope="module")
def examples() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = defaultdict(list)
    for split in ("train", "heldout"):
        rng = Random(f"test {split}")
        for _ in range(3000):
            example = generate(rng, split)
            found[example.family].append(example)
    return found


def offered(example: Example) -> dict[str, Any]:
    tools = re.search(r"<tools>(.*)</tools>\n", example.messages[0]["content"])
    assert tools, example
    return {tool["function"]["name"]: tool["function"] for tool in json.loads(tools[1])}


def calls(example: Example) -> list[dict[str, Any]]:
    replies = [each["content"] for each in example.messages if each["role"] == "assistant"]
    return [call for reply in replies if (m := CALLS.fullmatch(reply)) for call in json.loads(m[1])]


def values(argument: Any) -> list[Any]:
    return argument if isinstance(argument, list) else [argument]


def test_half_of_the_lists_of_tools_have_a_tenth_of_the_words() -> None:
    desks = [Desk(Random(0), "train", f"list {number}") for number in range(200)]
    narrow = [desk for desk in desks if desk.narrow]
    assert 70 < len(narrow) < 130
    for desk in narrow[:3]:
        words = {desk.own(tool_pools.NOUNS) for _ in range(400)}
        assert len(words) <= len(tool_pools.NOUNS) / 10
        assert words == {desk.inner().own(tool_pools.NOUNS) for _ in range(400)}
    assert len({desk.own(tool_pools.NOUNS) for desk in narrow for _ in range(20)}) > len(words) * 5
    assert not any(Desk(Random(0), "heldout", f"list {number}").narrow for number in range(50))


def test_the_same_state_gives_the_same_example():
    for seed in range(200):
        assert generate(Random(seed), "train") == generate(Random(seed), "train")


def test_every_family_is_drawn_in_both_splits(examples):
    families = "call parallel answer turns plain_answer refuse missing chain chat"
    assert set(examples) == {f"tools/{name}" for name in families.split()}
    assert min(len(drawn) for drawn in examples.values()) > 50


def test_every_call_satisfies_the_schema_of_an_offered_tool(examples):
    for family in ("call", "parallel", "answer", "turns", "chain"):
        for example in examples[f"tools/{family}"]:
            tools = offered(example)
            assert calls(example), example
            for call in calls(example):
                schema = tools[call["name"]]["parameters"]
                assert coerce(schema, call["arguments"]) == call["arguments"], example


def test_arguments_of_invented_tools_stand_word_for_word_in_the_question(examples):
    for example in examples["tools/call"]:
        call, question = calls(example)[0], example.messages[1]["content"]
        if call["name"] in SCHEMAS:
            continue
        for argument in call["arguments"].values():
            if not isinstance(argument, bool):
                assert all(str(value) in question for value in values(argument)), example


def test_refusals_are_the_fixed_sentences(examples):
    for family, sentence in (("refuse", NO_TOOL), ("missing", NO_PARAMETERS)):
        for example in examples[f"tools/{family}"]:
            assert example.messages[-1]["content"] == sentence


def test_a_question_that_lacks_something_is_about_a_tool_that_requires_something(examples):
    for example in examples["tools/missing"]:
        assert any(tool["parameters"].get("required") for tool in offered(example).values())


def test_answers_contain_what_they_must_keep(examples):
    for family in examples.values():
        for example in family:
            assert all(kept in example.messages[-1]["content"] for kept in example.keep), example


def test_what_an_answer_keeps_stands_in_a_result(examples):
    for example in examples["tools/plain_answer"]:
        given = example.messages[0]["content"].replace('\\"', '"').replace("\\n", "\n")
        assert all(kept in given for kept in example.keep), example


def test_heldout_tools_share_no_name_with_those_of_training():
    names = {
        split: {invent_tool(Scene(Random(seed), split)).name for seed in range(4000)}
        for split in ("train", "heldout")
    }
    assert len(names["heldout"] & names["train"]) < 5


def test_names_that_look_something_up_begin_with_any_word():
    tools = [invent_tool(Scene(Random(seed), "train")) for seed in range(500)]
    firsts = {tool.name.split("_")[0] for tool in tools if tool.attribute}
    said = {*tool_pools.ATTRIBUTES, *tool_pools.SUBJECTS, *tool_pools.NOUNS}
    assert len(firsts - {word.split()[0] for word in said}) > 50
    assert not set(part(VERBS, "heldout")) & set(FIRST_WORDS)


def test_a_verb_that_nobody_knows_asks_only_for_a_noun_that_one_tool_has():
    scene = Scene(Random(0), "train")
    actions = (tool for _ in range(500) if not (tool := invent_tool(scene)).attribute)
    for one, other in zip(actions, actions, strict=False):
        same = replace(other, noun=one.noun)
        asked = [in_other_words(scene, one, [one, other]) for _ in range(100)]
        renamed = [tool for tool in asked if tool.verb != one.verb]
        assert 0 < len(renamed) < 50
        assert all(tool.verb in draw_task(scene, tool).wish for tool in renamed)
        assert {in_other_words(scene, one, [one, same]).verb for _ in range(100)} == {one.verb}
    scene = Scene(Random(0), "heldout")
    tool = invent_tool(scene)
    assert {in_other_words(scene, tool, [tool]).verb for _ in range(100)} == {tool.verb}


@pytest.mark.parametrize(("split", "least", "most"), [("train", 0.08, 0.3), ("heldout", 0, 0)])
def test_some_questions_of_training_have_another_verb_than_the_call(split, least, most):
    rng = Random("verbs")
    says = []
    for example in (generate(rng, split) for _ in range(3000)):
        if example.family == "tools/call":
            name = calls(example)[0]["name"]
            verb = name.split("_")[0]
            words = (verb, *tool_pools.VERBS.get(verb, ()))
            if verb in VERBS and name not in SCHEMAS and verb not in FIRST_WORDS:
                question = example.messages[-2]["content"].lower()
                says.append(any(word in question for word in words))
    assert len(says) > 50
    assert least <= says.count(False) / len(says) <= most


def test_words_at_random_never_make_a_heldout_wording(monkeypatch):
    monkeypatch.setattr(tool_pools, "FILLERS", ("of", "as", "and", "should", "we"))
    scene = Scene(Random(0), "train")
    phrases = {loose_phrase(scene, tool_pools.GENERIC_PHRASES) for _ in range(3000)}
    switches = {loose_switch(scene, is_on).format(bare="tax") for is_on in [True, False] * 1500}
    frames = {loose_frame(scene, ACTION_FRAMES, "{act}") for _ in range(3000)}
    unseen = {pair[is_off] for pair in heldout(tool_pools.SWITCH_PHRASES) for is_off in (0, 1)}
    assert phrases & set(tool_pools.GENERIC_PHRASES)
    assert frames & {frame for frame, _ in ACTION_FRAMES}
    assert not phrases & set(heldout(tool_pools.GENERIC_PHRASES))
    assert not frames & {frame for frame, _ in heldout(ACTION_FRAMES)}
    assert not switches & {each.format(v="tax", bare="tax") for each in unseen}


def test_prompts_stay_short(examples):
    lengths = sorted(
        sum(len(message["content"]) for message in example.messages)
        for drawn in examples.values()
        for example in drawn
    )
    assert lengths[-1] < 6000


def test_invented_schemas_are_what_transformers_makes_of_such_a_function():
    from transformers.utils import get_json_schema

    for seed in range(150):
        tool = invent_tool(Scene(Random(seed), "train"))
        if tool.returns is None:
            function = defined(tool.schema["function"])
            assert json.dumps(get_json_schema(function)) == json.dumps(tool.schema)


def defined(schema: dict[str, Any]) -> Any:
    """A Python function with the signature and docstring that a schema describes."""
    required = schema["parameters"].get("required", [])
    properties = schema["parameters"]["properties"]
    signature = ", ".join(
        f"{name}: {annotation(each)}" + ("" if name in required else " = None")
        for name, each in properties.items()
    )
    lines = [f"    {name}: {each['description']}" for name, each in properties.items()]
    docstring = "\n".join([schema["description"], "", "Args:", *lines])
    namespace: dict[str, Any] = {}
    source = f"from typing import Literal\ndef {schema['name']}({signature}): pass"
    exec(source, namespace)
    function = namespace[schema["name"]]
    function.__doc__ = docstring if lines else schema["description"]
    return function


def annotation(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    types = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
    if schema["type"] == "array":
        return f"list[{types[schema['items']['type']]}]"
    return types[schema["type"]]


def test_the_everyday_questions_can_be_answered_with_their_calls():
    questions = yaml.safe_load(QUESTIONS.read_text())
    assert len(questions) >= 40
    for question in questions:
        assert {call["name"] for call in question["calls"]} <= set(PURE)
        results = [FUNCTIONS[call["name"]](**call["arguments"]) for call in question["calls"]]
        said = " and ".join(str(result) for result in results) or f"Hello. {NO_TOOL}"
        assert all(part in said for part in question.get("contains", ())), question
        assert all(re.search(each, said) for each in question.get("matches", ())), question


def test_the_everyday_questions_are_not_trained_on(examples):
    asked = {
        message["content"].lower().rstrip(".?")
        for drawn in examples.values()
        for example in drawn
        for message in example.messages
    }
    for question in yaml.safe_load(QUESTIONS.read_text()):
        assert question["question"].lower().rstrip(".?") not in asked
