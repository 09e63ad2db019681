"""Conversations that outgrow the context: refused, trimmed by whole turns, or summarized."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Command, ScriptedGeneration, ScriptedGenerator, byte_tokenizer

from smolchat.catalog import Located
from smolchat.chat import Chat
from smolchat.chatml import ChatFormat
from smolchat.errors import ContextOverflow
from smolchat.generation import GenerationRequest
from smolchat.loading import load_engine
from smolchat.messages import Event, Message, Notice, TextDelta, TurnFinished
from smolchat.session import SUMMARY_PROMPT, ChatSession, OnOverflow, ToolUse
from smolchat.settings import resolve
from smolchat.toolbox import Toolbox, tool
from smolchat.window import SUMMARY_QUESTION

LONG = "x" * 150


def talk(
    on_overflow: OnOverflow, *replies: str, context: int = 900, **options: object
) -> tuple[ChatSession, ScriptedGenerator]:
    generator = ScriptedGenerator(*replies, context_tokens=context)
    chat_format = ChatFormat(byte_tokenizer(), None)
    session = ChatSession(
        generator,
        chat_format,
        frozenset({2}),
        system="Be brief.",
        on_overflow=on_overflow,
        **options,  # type: ignore[arg-type]
    )
    return session, generator


def prompts(generator: ScriptedGenerator) -> list[str]:
    decode = byte_tokenizer().decode
    return [
        decode(list(request.prompt_ids), skip_special_tokens=False)
        for request in generator.requests
    ]


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def sent_all(session: ChatSession, count: int) -> list[list[Event]]:
    """The events of so many turns, each with a question of 150 tokens."""
    return [list(session.send(f"{number}. {LONG}")) for number in range(1, count + 1)]


def test_a_prompt_is_counted_before_it_is_sent() -> None:
    session, generator = talk("refuse", "a", "b", "c")
    sent_all(session, 1)
    with pytest.raises(ContextOverflow) as refused:
        list(session.send("y" * 1000))
    assert "1213 tokens" in refused.value.message
    assert "holds 900; the last message takes 1000 of them" in refused.value.message
    assert "--on-overflow trim" in refused.value.hint
    assert len(generator.requests) == 1
    assert len(session.transcript) == 2


def test_the_oldest_whole_turns_are_trimmed_and_named() -> None:
    session, generator = talk("trim", *"abcdefgh")
    events = sent_all(session, 5)
    told = [notices(each) for each in events]
    assert told[:3] == [[], [], []]
    assert told[3] == [
        "the context of 900 tokens is full: turns 1 to 2 "
        f"(“1. {'x' * 36}…” to “2. {'x' * 36}…”) are no longer sent"
    ]
    assert told[4] == []
    last = prompts(generator)[-1]
    assert last.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n3. ")
    assert last.count("<|im_start|>user") == 3
    assert len(session.transcript) == 10


def test_the_next_prompt_extends_a_trimmed_one() -> None:
    """So the prefix is computed once, and not anew at every turn of a full context."""
    session, generator = talk("trim", *"abcdefgh")
    sent_all(session, 5)
    shorter, longer = (request.prompt_ids for request in generator.requests[-2:])
    assert longer[: len(shorter)] == shorter


def test_a_message_that_fits_with_no_others_is_refused_and_nothing_is_forgotten() -> None:
    session, generator = talk("trim", *"abc")
    sent_all(session, 2)
    with pytest.raises(ContextOverflow) as refused:
        list(session.send("y" * 1000))
    assert "1038 tokens" in refused.value.message
    assert "summarize" in refused.value.hint
    assert len(session.transcript) == 4
    list(session.send("z"))
    assert "1. x" in prompts(generator)[-1]


def test_a_message_that_needs_the_whole_context_gets_it() -> None:
    session, generator = talk("trim", *"abc")
    sent_all(session, 2)
    assert "turns 1 to 2" in notices(list(session.send("y" * 800)))[0]
    assert "1. x" not in prompts(generator)[-1]


def test_tools_and_system_prompt_are_never_trimmed() -> None:
    @tool(effect="pure")
    def ring() -> str:
        """Ring."""
        return "ding"

    with Toolbox([ring]) as toolbox:
        session, generator = talk("trim", *"abcdef", context=2400, tool_use=ToolUse(toolbox))
        for number in range(6):
            list(session.send(f"{number}. {LONG}{LONG}"))
        last = prompts(generator)[-1]
    assert "Be brief." in last
    assert '"name": "ring"' in last
    assert "0. x" not in last
    assert "5. x" in last


def test_undo_and_a_new_transcript_open_the_window_again() -> None:
    session, generator = talk("trim", *"abcdefgh")
    sent_all(session, 4)
    for _ in range(2):
        session.undo()
    list(session.send("hi"))
    assert "1. x" in prompts(generator)[-1]
    assert session.window.hidden_turns(session.transcript) == []


def test_an_unlimited_past_is_trimmed_at_once() -> None:
    session, generator = talk("trim", "ok")
    session.transcript = [
        Message(role, f"{number} {LONG}") for number in range(50) for role in ("user", "assistant")
    ]
    session.transcript.append(Message("user", "And now?"))
    events = list(session.answer())
    assert "turns 1 to 49" in notices(events)[0]
    assert "And now?" in prompts(generator)[0]


def test_a_summary_stands_for_the_oldest_turns() -> None:
    session, generator = talk("summarize", *"abc", "We said x.", "d", "e")
    events = sent_all(session, 4)
    said, summarizing, answering = events[3], *prompts(generator)[3:]
    assert notices(said)[0].endswith("are sent as a summary from now on:\nWe said x.")
    assert SUMMARY_PROMPT in summarizing
    assert f"User: 1. {LONG}\n\nAssistant: a\n\nUser: 2. " in summarizing
    assert "3. x" not in summarizing
    assert (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{SUMMARY_QUESTION}<|im_end|>\n"
        "<|im_start|>assistant\nWe said x.<|im_end|>\n<|im_start|>user\n3. x"
    ) in answering
    assert session.window.summary == "We said x."
    assert [event.text for event in said if isinstance(event, TextDelta)] == ["d"]
    finished = said[-1]
    assert isinstance(finished, TurnFinished)
    assert finished.stats.new_tokens == len("We said x.") + 1


def test_a_later_summary_takes_in_the_earlier_one() -> None:
    session, generator = talk("summarize", *"abc", "First.", "d", "e", "Second.", "f", "g")
    sent_all(session, 6)
    assert "First.\n\nUser: 3. x" in prompts(generator)[-2]
    assert "First." not in prompts(generator)[-1]
    assert "assistant\nSecond." in prompts(generator)[-1]


def test_an_empty_summary_leaves_the_turns_out() -> None:
    session, _ = talk("summarize", *"abc", " ", "d")
    assert notices(sent_all(session, 4)[3])[0].endswith("are no longer sent")


def test_a_past_too_long_to_be_read_at_once_is_summarized_in_parts() -> None:
    session, generator = talk("summarize", *[f"Summary {n}." for n in range(1, 40)])
    session.transcript = [
        Message(role, f"{number}. {LONG}") for number in range(9) for role in ("user", "assistant")
    ]
    list(session.send("And now?"))
    asked = prompts(generator)
    assert len(asked) > 3
    assert "Summary 1.\n\n" in asked[1]
    for number in range(8):
        assert any(f"User: {number}. x" in prompt for prompt in asked[:-1])
    assert f"assistant\nSummary {len(asked) - 1}." in asked[-1]


class InterruptedGenerator(ScriptedGenerator):
    """Ctrl-C comes as soon as the model is asked for anything."""

    def generate(self, request: GenerationRequest) -> ScriptedGeneration:
        generation = super().generate(request)
        self.session.cancel()
        return generation

    session: ChatSession


def test_cancelling_a_summary_ends_the_turn_and_forgets_nothing() -> None:
    session, _ = talk("summarize", *"abc")
    sent_all(session, 3)
    generator = InterruptedGenerator("Half a summary", "d", context_tokens=900)
    generator.session, session.generator = session, generator
    finished = list(session.send(f"4. {LONG}"))[-1]
    assert isinstance(finished, TurnFinished)
    assert finished.reason == "cancelled"
    assert session.window.summary == ""
    assert session.window.hidden_turns(session.transcript) == []


def test_a_chat_trims_and_run_refuses_unless_told_otherwise(
    command: Command, tiny_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "messages.json"
    said = [("user", LONG), ("assistant", LONG)] * 10 + [("user", "And now?")]
    path.write_text(json.dumps([{"role": role, "content": text} for role, text in said]))
    arguments = ("run", "-m", str(tiny_folder), "--messages", str(path), "--max-new-tokens", "4")
    arguments += ("--seed", "1")
    refused = command(*arguments)
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert "tokens and the context of this checkpoint holds 2048" in refused.stderr
    assert "--on-overflow trim or summarize" in refused.stderr
    trimmed = command(*arguments, "--on-overflow", "trim")
    assert trimmed.exit_code == 0
    assert "turns 1 to " in trimmed.stderr
    assert trimmed.stdout
    by_variable = command(*arguments, SMOLCHAT_ON_OVERFLOW="summarize")
    assert by_variable.exit_code == 0
    assert "sent as a summary from now on:" in by_variable.stderr
    engine = load_engine(tiny_folder)
    loaded = Located("tiny", tiny_folder)
    chat = Chat(resolve({}), loaded, lambda name: loaded, lambda *_, **__: engine)
    chat.set_option("max_new_tokens", "4")
    events = [event for number in range(12) for event in chat.send(f"{number} {LONG}")]
    assert any("are no longer sent" in text for text in notices(events))
    assert len(chat.transcript) == 24
    chat.set_option("on_overflow", "refuse")
    with pytest.raises(ContextOverflow):
        list(chat.send("y" * 1500))
