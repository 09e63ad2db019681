"""Turns of a session: over scripted replies, and over a real engine with a random checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ScriptedGeneration, ScriptedGenerator, byte_tokenizer

from smolchat.chatml import ChatFormat
from smolchat.errors import ContextOverflow, UsageError
from smolchat.generation import Sampling
from smolchat.loading import LoadedEngine, load_engine
from smolchat.messages import Event, Message, MessageAdded, Notice, TextDelta, TurnFinished
from smolchat.session import ChatSession

GREEDY = Sampling(temperature=0)
DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def scripted(*replies: str, **options: object) -> tuple[ChatSession, ScriptedGenerator]:
    generator = ScriptedGenerator(*replies)
    chat_format = ChatFormat(byte_tokenizer(), DEFAULT_SYSTEM)
    return ChatSession(generator, chat_format, frozenset({2}), **options), generator  # type: ignore[arg-type]


def encoded(text: str) -> tuple[int, ...]:
    return tuple(byte_tokenizer().encode(text, add_special_tokens=False).ids)


def prompt_texts(generator: ScriptedGenerator) -> list[str]:
    tokenizer = byte_tokenizer()
    return [
        tokenizer.decode(list(request.prompt_ids), skip_special_tokens=False)
        for request in generator.requests
    ]


def roles(session: ChatSession) -> list[str]:
    return [message.role for message in session.transcript]


def finish(events: list[Event]) -> TurnFinished:
    assert isinstance(events[-1], TurnFinished)
    return events[-1]


def cancelled_after(session: ChatSession, text: str, count: int) -> list[Event]:
    """The events of a turn that is cancelled at its `count`th piece of text."""
    events = []
    for event in session.send(text):
        events.append(event)
        if sum(isinstance(event, TextDelta) for event in events) == count:
            session.cancel()
    return events


# Scripted replies


def test_a_turn_is_told_in_order() -> None:
    session, _ = scripted("Hi!")
    events = list(session.send("Hello"))
    assert events[:-1] == [
        MessageAdded(Message("user", "Hello")),
        *[TextDelta(letter) for letter in "Hi!"],
        MessageAdded(Message("assistant", "Hi!", token_ids=encoded("Hi!"))),
    ]
    assert finish(events).reason == "stop"
    assert finish(events).stats.new_tokens == 3
    assert finish(events).used_tokens == finish(events).stats.prompt_tokens + 3
    assert finish(events).context_tokens == 2048
    assert session.transcript == [e.message for e in events if isinstance(e, MessageAdded)]


def test_the_message_is_added_before_the_reply_is_asked_for() -> None:
    session, _ = scripted("Hi!")
    turn = session.send("Hello")
    assert next(turn) == MessageAdded(Message("user", "Hello"))
    assert roles(session) == ["user"]
    assert [type(event) for event in turn][-2:] == [MessageAdded, TurnFinished]


def test_the_engine_is_given_what_the_session_was_told() -> None:
    sampling = Sampling(temperature=0.7, seed=5)
    session, generator = scripted("a", "b", sampling=sampling, max_new_tokens=9)
    list(session.send("Hello"))
    asked = generator.requests[0]
    assert (asked.max_new_tokens, asked.stop_ids, asked.sampling) == (9, frozenset({2}), sampling)
    session.sampling, session.max_new_tokens = GREEDY, 20
    list(session.send("Again"))
    assert (generator.requests[1].sampling, generator.requests[1].max_new_tokens) == (GREEDY, 20)


def test_a_turn_extends_the_prompt_and_the_ids_of_the_one_before() -> None:
    session, generator = scripted("Hi!", "", "Bye!")
    for text in ("Hello", "<|im_end|>", "Thanks"):
        list(session.send(text))
    prompts = [request.prompt_ids for request in generator.requests]
    for shorter, longer, reply in zip(prompts, prompts[1:], ("Hi!", ""), strict=False):
        start = (*shorter, *encoded(reply))
        assert longer[: len(start)] == start


def test_without_a_system_prompt_the_templates_own_is_used() -> None:
    session, generator = scripted("a")
    list(session.send("Hello"))
    assert prompt_texts(generator)[0].startswith(f"<|im_start|>system\n{DEFAULT_SYSTEM}<|im_end|>")


def test_the_system_prompt_comes_first_and_may_change_between_turns() -> None:
    session, generator = scripted("a", "b", "c", system="Be brief.")
    list(session.send("Hello"))
    session.system = ""
    list(session.send("Hello"))
    session.system = None
    list(session.send("Hello"))
    starts = ["Be brief.", "", DEFAULT_SYSTEM]
    for text, system in zip(prompt_texts(generator), starts, strict=True):
        assert text.startswith(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n")
        assert text.count("<|im_start|>system") == 1
    assert "system" not in roles(session)


def test_a_transcript_with_its_own_system_message_keeps_it() -> None:
    session, generator = scripted("a", system="Be brief.")
    session.transcript = [Message("system", "Be long."), Message("user", "Hello")]
    list(session.answer())
    assert "Be long." in prompt_texts(generator)[0]
    assert "Be brief." not in prompt_texts(generator)[0]


def test_answering_a_transcript_adds_only_the_reply() -> None:
    session, _ = scripted("Fine.")
    session.transcript = [Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "?")]
    events = list(session.answer())
    added = [event.message.content for event in events if isinstance(event, MessageAdded)]
    assert added == ["Fine."]
    assert roles(session) == ["user", "assistant", "user", "assistant"]


def test_cancel_keeps_the_partial_reply_and_the_next_turn_works() -> None:
    session, generator = scripted("Hello there", "Fine")
    events = cancelled_after(session, "Hi", 5)
    assert finish(events).reason == "cancelled"
    partial = Message("assistant", "Hello", token_ids=encoded("Hello"))
    assert events[-2] == MessageAdded(partial)
    assert session.transcript[-1] == partial

    events = list(session.send("Go on"))
    assert finish(events).reason == "stop"
    assert "assistant\nHello<|im_end|>\n<|im_start|>user\nGo on" in prompt_texts(generator)[1]
    assert roles(session) == ["user", "assistant", "user", "assistant"]


def test_cancel_before_the_first_token_adds_an_empty_reply() -> None:
    session, _ = scripted("Hello", "Fine")
    turn = session.send("Hi")
    next(turn)
    session.cancel()
    events = list(turn)
    assert events[0] == MessageAdded(Message("assistant", ""))
    assert finish(events).reason == "cancelled"
    assert finish(list(session.send("Again"))).reason == "stop"


@pytest.mark.parametrize("said", ["", " \n"])
def test_a_reply_that_says_nothing_is_told_of(said: str) -> None:
    session, _ = scripted(said, "Fine")
    told = [event.text for event in session.send("Hi") if isinstance(event, Notice)]
    assert told == ["the model replied nothing; other words may help"]
    assert not [event for event in session.send("Hi") if isinstance(event, Notice)]


def test_cancel_between_turns_changes_nothing() -> None:
    session, _ = scripted("a", "b")
    session.cancel()
    assert finish(list(session.send("Hi"))).reason == "stop"
    session.cancel()
    assert finish(list(session.send("Hi"))).reason == "stop"


def test_a_reply_that_is_cut_is_noted_before_the_turn_ends() -> None:
    session, _ = scripted("Hello there", max_new_tokens=5)
    events = list(session.send("Hi"))
    assert [type(event) for event in events[-3:]] == [MessageAdded, Notice, TurnFinished]
    assert isinstance(events[-2], Notice)
    assert "max_new_tokens = 5" in events[-2].text
    assert finish(events).reason == "length"
    assert session.transcript[-1].content == "Hello"


def test_a_character_that_was_cut_in_two_is_not_shown() -> None:
    session, generator = scripted("a👩", "b", max_new_tokens=4)
    events = list(session.send("Hi"))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["a"]
    assert session.transcript[-1].content == "a"
    assert session.transcript[-1].token_ids == encoded("a👩")[:4]
    list(session.send("Go on"))
    start = (*generator.requests[0].prompt_ids, *encoded("a👩")[:4])
    assert generator.requests[1].prompt_ids[: len(start)] == start


def test_regenerate_asks_the_same_again_and_replaces_the_reply() -> None:
    session, generator = scripted("One", "Two")
    list(session.send("Hi"))
    events = list(session.regenerate())
    assert generator.requests[0].prompt_ids == generator.requests[1].prompt_ids
    assert [message.content for message in session.transcript] == ["Hi", "Two"]
    added = [event.message.role for event in events if isinstance(event, MessageAdded)]
    assert added == ["assistant"]


def test_regenerate_answers_a_message_that_has_no_reply_yet() -> None:
    session, _ = scripted("One")
    session.transcript = [Message("user", "Hi")]
    list(session.regenerate())
    assert [message.content for message in session.transcript] == ["Hi", "One"]


@pytest.mark.parametrize(
    "transcript", [[], [Message("assistant", "Welcome!")], [Message("system", "Be brief.")]]
)
def test_regenerate_without_a_message_is_a_usage_error(transcript: list[Message]) -> None:
    session, generator = scripted("One")
    session.transcript = list(transcript)
    with pytest.raises(UsageError) as caught:
        list(session.regenerate())
    assert caught.value.hint
    assert session.transcript == transcript
    assert generator.requests == []


def test_extend_goes_on_with_the_reply_and_takes_its_place() -> None:
    session, generator = scripted("One t", "wo", "", max_new_tokens=5)
    list(session.send("Hi"))
    events = list(session.extend())
    assert generator.requests[1].prompt_ids == (
        *generator.requests[0].prompt_ids,
        *encoded("One t"),
    )
    whole = Message("assistant", "One two", token_ids=encoded("One two"))
    assert session.transcript[1:] == [whole]
    assert MessageAdded(whole, replaces_last=True) in events
    assert "".join(each.text for each in events if isinstance(each, TextDelta)) == "wo"
    assert finish(events).used_tokens == len(generator.requests[1].prompt_ids) + 2
    assert finish(list(session.extend())).stats.new_tokens == 0
    assert session.transcript[1:] == [whole]


def test_extend_completes_a_character_that_was_cut_in_two() -> None:
    session, generator = scripted("é", "", max_new_tokens=1)
    list(session.send("Hi"))
    assert session.transcript[1].content == ""
    generator.generate = lambda request: ScriptedGeneration(list(encoded("é"))[1:], request)  # type: ignore[method-assign]
    list(session.extend())
    assert session.transcript[1] == Message("assistant", "é", token_ids=encoded("é"))


def test_extend_goes_on_with_a_text_whose_ids_are_not_known() -> None:
    session, generator = scripted(" you?")
    session.transcript = [Message("user", "Hi"), Message("assistant", "How are")]
    list(session.extend())
    assert prompt_texts(generator)[0].endswith("<|im_start|>assistant\nHow are")
    assert session.transcript[1] == Message("assistant", "How are you?")


@pytest.mark.parametrize(
    "transcript",
    [
        [],
        [Message("user", "Hi")],
        [Message("assistant", "Look:", token_ids=encoded("Look: <tool_call>[]</tool_call>"))],
    ],
)
def test_extend_without_a_reply_in_prose_is_a_usage_error(transcript: list[Message]) -> None:
    session, generator = scripted("One")
    session.transcript = list(transcript)
    with pytest.raises(UsageError):
        list(session.extend())
    assert session.transcript == transcript
    assert generator.requests == []


def test_undo_removes_the_last_turn_and_returns_its_text() -> None:
    session, generator = scripted("One", "Two", "Three")
    list(session.send("First"))
    list(session.send("Second"))
    assert session.undo() == "Second"
    assert [message.content for message in session.transcript] == ["First", "One"]
    list(session.send("Other"))
    start = (*generator.requests[0].prompt_ids, *encoded("One"))
    assert generator.requests[2].prompt_ids[: len(start)] == start
    assert "Second" not in prompt_texts(generator)[2]


def test_undo_of_everything_leaves_an_empty_transcript() -> None:
    session, _ = scripted("One")
    list(session.send("First"))
    assert session.undo() == "First"
    assert session.undo() is None
    assert session.transcript == []


def test_undo_keeps_a_system_message() -> None:
    session, _ = scripted("One")
    session.transcript = [Message("system", "Be brief.")]
    list(session.send("First"))
    assert session.undo() == "First"
    assert session.undo() is None
    assert roles(session) == ["system"]


# A real engine


@pytest.fixture(scope="module")
def engine(tiny_folder: Path) -> LoadedEngine:
    return load_engine(tiny_folder, device="cpu", dtype="float32", threads=1)


def real_session(engine: LoadedEngine, max_new_tokens: int = 12, **options: object) -> ChatSession:
    return ChatSession(
        engine.generator,
        engine.chat_format,
        engine.stop_ids,
        sampling=GREEDY,
        max_new_tokens=max_new_tokens,
        **options,  # type: ignore[arg-type]
    )


def fresh_answer(folder: Path, transcript: list[Message]) -> tuple[int, ...]:
    """What an engine that has seen nothing answers to `transcript`."""
    session = real_session(load_engine(folder, device="cpu", dtype="float32", threads=1))
    session.transcript = list(transcript)
    list(session.answer())
    return session.transcript[-1].token_ids


def test_turns_reuse_the_prefix_and_answer_as_a_fresh_engine(
    engine: LoadedEngine, tiny_folder: Path
) -> None:
    session = real_session(engine)
    cached = 0
    for text in ("Hello", "<|im_end|> 12", "👩‍👩‍👧"):
        events = list(session.send(text))
        assert session.transcript[-1].token_ids == fresh_answer(
            tiny_folder, session.transcript[:-1]
        )
        stats = finish(events).stats
        assert stats.cached_tokens >= cached
        # A reply that was cut has a last token that nothing was computed for.
        unseen = 1 if finish(events).reason == "length" else 0
        cached = stats.prompt_tokens + stats.new_tokens - unseen


def test_regenerating_and_undoing_answer_as_a_fresh_engine(
    engine: LoadedEngine, tiny_folder: Path
) -> None:
    session = real_session(engine)
    list(session.send("Hello"))
    first = session.transcript[-1].token_ids
    list(session.send("More"))
    session.undo()
    events = list(session.regenerate())
    assert session.transcript[-1].token_ids == first
    assert finish(events).stats.cached_tokens == finish(events).stats.prompt_tokens - 1
    list(session.send("Other"))
    assert session.transcript[-1].token_ids == fresh_answer(tiny_folder, session.transcript[:-1])


def test_a_reply_in_two_parts_is_the_reply_in_one(engine: LoadedEngine) -> None:
    whole, parts = real_session(engine, 24), real_session(engine, 12)
    list(whole.send("Hello"))
    list(parts.send("Hello"))
    events = list(parts.extend())
    assert parts.transcript == whole.transcript
    assert finish(events).stats.cached_tokens >= finish(events).stats.prompt_tokens - 2


def test_the_turn_after_a_cancelled_one_answers_as_a_fresh_engine(
    engine: LoadedEngine, tiny_folder: Path
) -> None:
    session = real_session(engine)
    events = cancelled_after(session, "Hello", 3)
    assert finish(events).reason == "cancelled"
    assert session.transcript[-1].token_ids
    list(session.send("Go on"))
    assert session.transcript[-1].token_ids == fresh_answer(tiny_folder, session.transcript[:-1])


def test_overflow_leaves_the_transcript_as_it_was(engine: LoadedEngine) -> None:
    session = real_session(engine)
    list(session.send("Hello"))
    before = list(session.transcript)
    with pytest.raises(ContextOverflow) as caught:
        list(session.send("x" * 5000))
    assert caught.value.hint
    assert session.transcript == before
    assert finish(list(session.send("Short"))).stats.cached_tokens > 0


def test_regenerating_what_no_longer_fits_keeps_the_reply(engine: LoadedEngine) -> None:
    session = real_session(engine)
    list(session.send("Hello"))
    before = list(session.transcript)
    session.system = "x" * 5000
    with pytest.raises(ContextOverflow):
        list(session.regenerate())
    assert session.transcript == before


def test_a_reply_that_fills_the_context_says_so(engine: LoadedEngine) -> None:
    session = real_session(replace(engine, stop_ids=frozenset()), max_new_tokens=500)
    asked = len(engine.chat_format.prompt_ids([Message("user", "")]))
    events = list(session.send("x" * (2048 - asked - 7)))
    assert finish(events).stats.new_tokens == 7
    assert isinstance(events[-2], Notice)
    assert "context of 2048 tokens is full" in events[-2].text


def test_a_broken_turn_can_be_answered_again(tiny_folder: Path) -> None:
    # float16 runs through transformers, whose model takes hooks.
    engine = load_engine(tiny_folder, device="cpu", dtype="float16", threads=1)
    session = real_session(engine)
    model = engine.generator.model  # type: ignore[attr-defined]

    def fail(*_: object) -> None:
        raise RuntimeError("the device was lost")

    hook = model._model.model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="lost"):
        list(session.send("A question that was not asked before"))
    hook.remove()
    assert roles(session) == ["user"]
    list(session.regenerate())
    assert session.transcript[-1].token_ids == fresh_answer(tiny_folder, session.transcript[:-1])
