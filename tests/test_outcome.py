"""The JSON that a one-shot command reports, from the events of its turn."""

from __future__ import annotations

import json
import time

import pytest
from conftest import ScriptedGenerator, byte_tokenizer

from smolchat.chatml import ChatFormat
from smolchat.generation import FinishReason, GenerationStats
from smolchat.messages import Message, MessageAdded, Notice, TextDelta, TurnFinished
from smolchat.outcome import Outcome
from smolchat.session import ChatSession

STATS = GenerationStats(
    prompt_tokens=20, cached_tokens=5, new_tokens=3, prefill_seconds=0.25, decode_seconds=0.125
)


def outcome() -> Outcome:
    return Outcome("tiny", time.perf_counter(), load_seconds=1.5)


def test_a_turn_becomes_one_object() -> None:
    recorded = outcome()
    for event in (
        MessageAdded(Message("user", "Hi")),
        TextDelta("He"),
        Notice("not part of the answer"),
        TextDelta("llo"),
        MessageAdded(Message("assistant", "Hello")),
        TurnFinished("length", STATS, 20, 2048),
    ):
        recorded.record(event)
    report = recorded.as_json()
    timings = report.pop("timings")
    assert report == {
        "text": "Hello",
        "finish_reason": "length",
        "model": "tiny",
        "usage": {
            "prompt_tokens": 20,
            "cached_tokens": 5,
            "new_tokens": 3,
            "drafted_tokens": 0,
            "accepted_tokens": 0,
            "forced_tokens": 0,
        },
        "tool_calls": [],
    }
    assert list(timings) == [
        "load_seconds",
        "first_token_seconds",
        "prefill_seconds",
        "decode_seconds",
        "total_seconds",
    ]
    assert (timings["load_seconds"], timings["prefill_seconds"]) == (1.5, 0.25)
    assert timings["decode_seconds"] == 0.125
    assert 0 <= timings["first_token_seconds"] <= timings["total_seconds"]


def test_the_first_token_is_timed_from_the_start_of_the_command_and_only_once() -> None:
    recorded = Outcome("tiny", time.perf_counter() - 10, load_seconds=0)
    recorded.record(TextDelta("a"))
    first = recorded.as_json()["timings"]["first_token_seconds"]
    time.sleep(0.01)
    recorded.record(TextDelta("b"))
    timings = recorded.as_json()["timings"]
    assert timings["first_token_seconds"] == first >= 10
    assert timings["total_seconds"] > first


def test_a_reply_without_text_has_no_first_token() -> None:
    recorded = outcome()
    recorded.record(MessageAdded(Message("assistant", "")))
    recorded.record(TurnFinished("stop", GenerationStats(prompt_tokens=4), 4, 2048))
    report = recorded.as_json()
    assert report["text"] == ""
    assert report["timings"]["first_token_seconds"] is None
    assert report["usage"] == dict.fromkeys(report["usage"], 0) | {"prompt_tokens": 4}


def test_a_turn_that_never_finished_counts_as_cancelled() -> None:
    assert outcome().as_json()["finish_reason"] == "cancelled"


@pytest.mark.parametrize("reason", ["stop", "length", "cancelled"])
def test_the_finish_reason_is_that_of_the_turn(reason: FinishReason) -> None:
    recorded = outcome()
    recorded.record(TurnFinished(reason, STATS, 20, 2048))
    assert recorded.finish_reason == recorded.as_json()["finish_reason"] == reason


def test_the_events_of_a_real_turn_are_enough() -> None:
    session = ChatSession(
        ScriptedGenerator("Grüße 👩"), ChatFormat(byte_tokenizer(), None), frozenset({2})
    )
    recorded = outcome()
    for event in session.send("Hi"):
        recorded.record(event)
    report = json.loads(json.dumps(recorded.as_json()))
    assert report["text"] == "Grüße 👩"
    assert report["finish_reason"] == "stop"
    assert report["usage"]["new_tokens"] == 12
