"""What follows a given wrong name is learnt: the call as that tool wants it; the name is not."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

import pytest
from conftest import EMBEDDED

from smolchat.chatml import read_reply, tool_calls_text, tool_system_prompt
from smolchat.toolbox import coerce
from training.encoding import ChatEncoder, load_tokenizer, token_bytes
from training.example import Example
from training.links import Kind, find_links
from training.make_data import examples
from training.slips import fits, makeshift, own_opening, slipped
from training.tool_task import Schema, Task, function_schema

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer"}
SWITCH: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
ASKED = function_schema("book_hall", "Book.", {"town": TEXT, "seats": COUNT}, ["town"])
TASK = Task(ASKED, "book the hall in Oslo for 12", False, {"town": "Oslo", "seats": 12}, "", "")


@pytest.fixture(scope="module")
def slips() -> list[Example]:
    drawn = examples("slips", "train", 600, "tools")
    return [example for example in drawn if example.given]


def tool(**required: Schema) -> Schema:
    return function_schema("warm_room", "Warm.", {**required, "extra": TEXT}, list(required))


@pytest.mark.parametrize(
    ("required", "expected"),
    [
        ({}, {}),
        ({"place": TEXT}, {"place": "Oslo"}),
        ({"level": COUNT}, {"level": 12}),
        ({"level": {"type": "number"}, "step": COUNT}, {"level": 12, "step": 1}),
        ({"place": TEXT, "note": TEXT}, {"place": "Oslo", "note": "Oslo"}),
        ({"is_on": SWITCH, "rooms": TEXTS}, {"is_on": True, "rooms": ["Oslo"]}),
        ({"mode": {"type": "string", "enum": ["eco", "fast"]}}, {"mode": "eco"}),
        ({"mode": {"type": "string", "enum": ["Bern", "Oslo"]}}, {"mode": "Oslo"}),
    ],
)
def test_what_the_question_states_is_given_where_it_fits(
    required: dict[str, Schema], expected: dict[str, Any]
) -> None:
    call = slipped(TASK, tool(**required)).call
    assert call == {"name": "warm_room", "arguments": expected}
    assert [type(value) for value in call["arguments"].values()] == [
        type(value) for value in expected.values()
    ]


def test_a_switch_is_no_number_and_a_list_fits_by_its_items() -> None:
    assert not fits(True, COUNT)
    assert fits(["a"], TEXTS)
    assert not fits([1], TEXTS)


@pytest.mark.parametrize(("wish", "lent"), [("close my order", "order"), ("", "")])
def test_a_question_that_states_nothing_lends_its_last_word(wish: str, lent: str) -> None:
    assert makeshift(Task(ASKED, wish, False, {}, "", ""), TEXT) == lent


def test_a_name_is_told_from_others_as_soon_as_it_differs() -> None:
    names = ["get_wind", "get_rain", "rain", "get_rain_today"]
    assert [own_opening(name, names) for name in names] == [5, 9, 1, 9]


def test_slips_are_calls_that_the_grammar_allows(slips: list[Example]) -> None:
    assert len(slips) > 30
    for example in slips:
        prompt = example.messages[0]["content"]
        listed = re.search(r"<tools>(.*)</tools>\n", prompt)
        assert listed
        schemas = [each["function"] for each in json.loads(listed[1])]
        parameters = {each["name"]: each["parameters"] for each in schemas}
        reply = read_reply(example.messages[-1]["content"])
        assert reply.error is None
        for call in reply.tool_calls:
            assert coerce(parameters[call.name], call.arguments) == call.arguments
        assert example.given
        start, end = example.given
        opening = example.messages[-1]["content"][start:end]
        assert sum(f'{name}"'.startswith(opening) for name in parameters) == 1


def test_what_is_given_is_not_learnt_and_the_rest_is(slips: list[Example]) -> None:
    encoder = ChatEncoder(load_tokenizer(EMBEDDED))
    spelt = token_bytes(encoder.tokenizer)
    for example in slips:
        assert example.given
        reply = example.messages[-1]["content"]
        start, end = (len(reply[:place].encode()) for place in example.given)
        encoded = encoder.conversation(example.messages, example.given)
        plain = encoder.conversation(example.messages)
        assert encoded.ids == plain.ids
        learnt = [place for place, said in enumerate(plain.is_reply) if said]
        pieces = [spelt[plain.ids[place]] for place in learnt]
        assert b"".join(pieces) == reply.encode() + b"<|im_end|>"
        stops = accumulate(map(len, pieces))
        given = {
            place
            for place, piece, stop in zip(learnt, pieces, stops, strict=True)
            if stop > start and stop - len(piece) < end
        }
        assert given
        assert [p for p, said in enumerate(encoded.is_reply) if said] == sorted({*learnt} - given)


def test_nothing_leads_to_a_name_that_is_given() -> None:
    heat = function_schema("heat_hall", "Heat.", {"level": COUNT}, ["level"])
    call = tool_calls_text([{"name": "heat_hall", "arguments": {"level": 12}}])
    text = (
        f"<|im_start|>system\n{tool_system_prompt([ASKED, heat])}<|im_end|>\n"
        "<|im_start|>user\nBook the hall, level 12<|im_end|>\n"
        f"<|im_start|>assistant\n{call}<|im_end|>"
    )
    called = text.rindex("heat_hall")
    by_name = {
        is_given: find_links(
            text.encode(), range(len(text)), (called, called + 1) if is_given else None
        )
        for is_given in (False, True)
    }
    dropped = [link for link in by_name[False] if link not in by_name[True]]
    assert {link.kind for link in dropped} == {Kind.NAME, Kind.FIRST, Kind.FITTING_KEY}
    assert [link.query for link in dropped if link.kind == Kind.NAME] == [called - 1]
    assert all(link in by_name[False] for link in by_name[True])
    kept = {link.kind for link in by_name[True] if link.query >= called}
    assert kept == {Kind.NAME, Kind.KEY, Kind.LAST_KEY, Kind.OWN_TOOL, Kind.VALUE}


def test_held_out_examples_never_slip() -> None:
    assert not any(example.given for example in examples("slips", "heldout", 600, "tools"))
