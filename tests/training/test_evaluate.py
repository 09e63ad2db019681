"""What the evaluation counts as a valid, an exact and a kept reply."""

from __future__ import annotations

import json

import pytest

from training.evaluate import scores, table
from training.example import Example
from training.make_data import MIXTURE, examples

TOOL = {
    "type": "function",
    "function": {
        "name": "book",
        "description": "Book a room.",
        "parameters": {
            "type": "object",
            "properties": {
                "room": {"type": "string", "description": "The room"},
                "seats": {"type": "integer", "description": "How many"},
                "size": {"type": "string", "enum": ["S", "L"], "description": "The size"},
            },
            "required": ["room"],
        },
    },
}
WANTED = '<tool_call>[{"name": "book", "arguments": {"room": "B", "seats": 3}}]</tool_call>'


def item(wanted: str, keep: tuple[str, ...] = ()) -> Example:
    messages = (
        {"role": "system", "content": f"<tools>{json.dumps([TOOL])}</tools>"},
        {"role": "user", "content": "Book room B for 3."},
        {"role": "assistant", "content": wanted},
    )
    return Example("tools/call", messages, keep)


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>{json.dumps([{'name': name, 'arguments': arguments}])}</tool_call>"


@pytest.mark.parametrize(
    ("reply", "valid", "exact"),
    [
        (call("book", seats=3, room="B"), True, True),
        (call("book", room="B"), True, False),
        (call("book", room="B", size="S"), True, False),
        (call("book", seats=3), False, False),
        (call("book", room="B", floor=1), False, False),
        (call("book", room="B", seats="3"), False, False),
        (call("book", room="B", seats=True), False, False),
        (call("book", room="B", size="M"), False, False),
        (call("look", room="B"), False, False),
        ("<tool_call>[]</tool_call>", False, False),
        ("<tool_call>[{]</tool_call>", False, False),
        ("Sure! " + WANTED, False, False),
        ("", False, False),
    ],
)
def test_calls_are_checked_against_the_offered_schema(reply: str, valid: bool, exact: bool) -> None:
    found = scores(item(WANTED), reply)
    assert (found["valid"], found["exact"]) == (valid, exact)


def test_a_reply_keeps_all_or_it_does_not_count() -> None:
    example = item("Ann comes at 5.", keep=("Ann", "5"))
    assert scores(example, "At 5, Ann comes.")["kept"]
    assert not scores(example, "Ann comes at 6.")["kept"]


def test_the_wanted_reply_is_counted_as_right() -> None:
    lines = list(table([item(WANTED), item(WANTED)], [WANTED, ""]))
    assert lines[1].split() == ["tools", "(all)", "2", "0.50", "-", "0.50", "0.50"]


@pytest.mark.parametrize("group", MIXTURE)
def test_generated_replies_score_full_marks(group: str) -> None:
    for example in examples("marks", "heldout", 60, group):
        found = scores(example, example.messages[-1]["content"])
        assert all(found.values()), example


def test_the_mixture_depends_on_seed_and_split_alone() -> None:
    drawn = [
        [example.messages for example in examples(seed, split, 40)]
        for seed, split in ((1, "train"), (1, "train"), (2, "train"), (1, "heldout"))
    ]
    assert drawn[0] == drawn[1]
    assert all(message not in drawn[0] for message in (*drawn[2], *drawn[3]))
