"""Rewriting and summarizing over scripted replies: parts, retries, coverage, Ctrl-C."""

from __future__ import annotations

import pytest
from conftest import ScriptedGeneration, ScriptedGenerator, byte_tokenizer

from smolchat.chatml import ChatFormat
from smolchat.errors import ContextOverflow
from smolchat.generation import GenerationRequest, Sampling
from smolchat.messages import Event, MessageAdded, Notice, TextDelta, TurnFinished
from smolchat.session import ChatSession
from smolchat.writing import Writer

SAMPLED = Sampling(temperature=0.5, seed=7)


def desk(*replies: str, **options: object) -> tuple[Writer, ScriptedGenerator]:
    context = options.pop("context", 600)
    generator = ScriptedGenerator(*replies, context_tokens=context)  # type: ignore[arg-type]
    session = ChatSession(
        generator,
        ChatFormat(byte_tokenizer(), None),
        frozenset({2}),
        system="Do it.",
        **{"sampling": SAMPLED, "max_new_tokens": 200, **options},  # type: ignore[arg-type]
    )
    return Writer(session, "Text: {}".format), generator


def asked(generator: ScriptedGenerator) -> list[str]:
    decode = byte_tokenizer().decode
    prompts = [
        decode(list(each.prompt_ids), skip_special_tokens=False) for each in generator.requests
    ]
    return [prompt.rpartition("Text: ")[2].partition("<|im_end|>")[0] for prompt in prompts]


def told(events: list[Event]) -> str:
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    added = [event.message.content for event in events if isinstance(event, MessageAdded)]
    assert added == [text]
    assert isinstance(events[-1], TurnFinished)
    return text


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def paragraphs(count: int, words: int = 20) -> list[str]:
    return [f"{chr(97 + index)} " + "word " * words + "end." for index in range(count)]


# Rewriting


def test_a_short_text_is_rewritten_at_once_and_streams() -> None:
    writer, generator = desk("Hello there.")
    events = list(writer.rewrite("hi"))
    assert [type(event) for event in events][:3] == [TextDelta] * 3
    assert told(events) == "Hello there."
    assert asked(generator) == ["hi"]
    assert writer.coverage.as_json() == {
        "parts": 1,
        "parts_done": 1,
        "source_tokens": 2,
        "skipped_tokens": 0,
    }
    finished = events[-1]
    assert isinstance(finished, TurnFinished)
    assert (finished.reason, finished.stats.new_tokens) == ("stop", 12)


def test_the_parts_of_a_long_text_are_joined_by_the_blanks_of_the_source() -> None:
    source = paragraphs(4)
    writer, generator = desk("A.", "B.", "C.", "D.")
    seen: list[tuple[int, int]] = []
    writer._progress = lambda done, total: seen.append((done, total))
    events = list(writer.rewrite("\n\n\n".join(source)))
    assert asked(generator) == source
    assert told(events) == "A.\n\n\nB.\n\n\nC.\n\n\nD."
    assert writer.coverage.is_complete
    assert writer.coverage.parts == 4
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_a_lossy_rewrite_is_tried_with_another_seed_and_then_greedily() -> None:
    writer, generator = desk("Pay soon.", "Pay it.", "Please pay 40.")
    events = list(writer.rewrite("pay 40"))
    assert [request.sampling for request in generator.requests] == [
        SAMPLED,
        Sampling(temperature=0.5, seed=8),
        Sampling(temperature=0, seed=7),
    ]
    assert told(events) == "Please pay 40."
    assert (writer.missing, notices(events)) == ([], [])


def test_a_rewrite_that_keeps_everything_is_not_tried_again() -> None:
    writer, generator = desk("Please pay 40.")
    assert told(list(writer.rewrite("pay 40"))) == "Please pay 40."
    assert len(generator.requests) == 1


def test_the_least_lossy_rewrite_is_told_and_what_it_lacks_named() -> None:
    writer, _ = desk("Pay soon.", "Pay 40 soon.", "Pay.")
    events = list(writer.rewrite("Pay 40 by May 3 to a@b.org"))
    assert told(events) == "Pay 40 soon."
    assert writer.missing == ["May 3", "a@b.org"]
    assert notices(events) == ["missing from the rewrite: May 3, a@b.org"]
    assert writer.coverage.is_complete


def test_greedy_decoding_has_nothing_else_to_try() -> None:
    writer, generator = desk("Pay.", sampling=Sampling(temperature=0))
    list(writer.rewrite("Pay 40"))
    assert (len(generator.requests), writer.missing) == (1, ["40"])


def test_a_loss_in_a_part_names_the_part() -> None:
    first, second = paragraphs(2)
    writer, _ = desk("A.", "B.", "B.", "B.")
    events = list(writer.rewrite(f"{first}\n\n{second} 40"))
    assert notices(events) == ["part 2 of 2: missing from the rewrite: 40"]


def test_a_part_without_a_rewrite_stands_as_it_was_and_counts_as_skipped() -> None:
    source = paragraphs(3)
    writer, _ = desk("A.", " ", "C.")
    events = list(writer.rewrite("\n\n".join(source)))
    assert told(events).count("\n\n") == 2
    assert source[1] in told(events)
    assert notices(events) == [
        "part 2 of 3: the model replied nothing; other words may help",
        "part 2 of 3 could not be rewritten and stands as it was",
    ]
    assert writer.coverage.parts_done == 2
    assert writer.coverage.skipped_tokens == len(source[1])


@pytest.mark.parametrize("source", ["pay", "pay 40"])
def test_a_cut_rewrite_is_not_complete(source: str) -> None:
    writer, _ = desk("40 " * 50, "40 " * 50, "40 " * 50, max_new_tokens=9)
    events = list(writer.rewrite(source))
    assert told(events) == "40 40 40 "
    assert notices(events) == ["the reply was cut at max_new_tokens = 9"]
    assert not writer.coverage.is_complete


def test_a_rewrite_longer_than_the_limit_is_made_in_parts_that_are_not_cut() -> None:
    """What would be cut at once is not, part by part."""
    writer, generator = desk(*"abcdefgh", context=4000, max_new_tokens=200)
    list(writer.rewrite("\n\n".join(paragraphs(8))))
    assert len(generator.requests) == 8


def test_a_frame_that_leaves_no_room_is_an_overflow() -> None:
    writer, _ = desk("a", context=100)
    with pytest.raises(ContextOverflow, match="the prompts of the profile take"):
        list(writer.rewrite("hi"))


class InterruptedGenerator(ScriptedGenerator):
    """Ctrl-C comes while the model answers for the last time."""

    writer: Writer

    def generate(self, request: GenerationRequest) -> ScriptedGeneration:
        generation = super().generate(request)
        if not self._replies:
            self.writer.cancel()
        return generation


def interrupted_desk(*replies: str) -> Writer:
    writer, _ = desk()
    generator = InterruptedGenerator(*replies, context_tokens=600)
    generator.writer, writer._session.generator = writer, generator
    return writer


def test_ctrl_c_keeps_the_parts_that_are_done() -> None:
    writer = interrupted_desk("A.", "B.")
    events = list(writer.rewrite("\n\n".join(paragraphs(4))))
    assert told(events).startswith("A.")
    finished = events[-1]
    assert isinstance(finished, TurnFinished)
    assert finished.reason == "cancelled"
    assert (writer.coverage.parts, writer.coverage.parts_done) == (4, 1)


# Summarizing


def test_a_text_that_fits_is_summarized_at_once() -> None:
    writer, generator = desk("It is short.")
    assert told(list(writer.summarize("A text."))) == "It is short."
    assert asked(generator) == ["A text."]
    assert writer.coverage.is_complete


def test_a_long_text_is_summarized_by_the_summaries_of_its_parts() -> None:
    source = paragraphs(12)
    writer, generator = desk("One.", "Two.", "Three.", "Four.", "All.", context=600)
    seen: list[tuple[int, int]] = []
    writer._progress = lambda done, total: seen.append((done, total))
    events = list(writer.summarize("\n\n".join(source)))
    assert told(events) == "All."
    assert "\n\n".join(asked(generator)[:-1]) == "\n\n".join(source)
    assert asked(generator)[-1] == "One.\n\nTwo.\n\nThree.\n\nFour."
    assert writer.coverage.as_json()["parts_done"] == 4
    assert writer.coverage.is_complete
    assert seen == [(number, 5) for number in range(4)]


def test_too_many_summaries_are_summarized_by_groups() -> None:
    source = paragraphs(60)
    writer, generator = desk(*["Z" * 70] * 60, context=600)
    events = list(writer.summarize("\n\n".join(source)))
    assert told(events) == "Z" * 70
    levels = [text.startswith("Z") for text in asked(generator)]
    assert levels.index(True) == writer.coverage.parts
    assert sum(levels) > 3
    assert writer.coverage.is_complete


class GarbledGenerator(ScriptedGenerator):
    """Bytes that are no text, as random weights write them: each reads as a character of three."""

    def generate(self, request: GenerationRequest) -> ScriptedGeneration:
        self.requests.append(request)
        byte = byte_tokenizer().token_to_id("ÿ")
        return ScriptedGeneration([byte] * 1000, request)


def test_summaries_that_do_not_get_shorter_are_all_told() -> None:
    writer, _ = desk()
    writer._session.generator = GarbledGenerator(context_tokens=600)
    events = list(writer.summarize("\n\n".join(paragraphs(12))))
    assert notices(events) == [
        "the summaries of the parts do not get shorter; here are all of them"
    ]
    assert told(events).count("\n\n") == 3
    assert writer.coverage.is_complete


def test_a_part_without_a_summary_is_told_of_and_counts_as_skipped() -> None:
    source = paragraphs(12)
    writer, generator = desk("One.", "", "", "", "Three.", "Four.", "All.", context=600)
    events = list(writer.summarize("\n\n".join(source)))
    assert notices(events) == ["part 2 of 4 gave no summary and is left out"]
    assert asked(generator)[-1] == "One.\n\nThree.\n\nFour."
    assert (writer.coverage.parts_done, writer.coverage.is_complete) == (3, False)
    assert writer.coverage.skipped_tokens == len("\n\n".join(source[3:6]))


def test_numbers_and_names_that_the_source_lacks_are_named() -> None:
    writer, _ = desk("In 2019 the dog of Anna ran.")
    events = list(writer.summarize("The dog of Anna ran."))
    assert writer.invented == ["2019"]
    assert notices(events) == ["not in the source: 2019"]


def test_ctrl_c_tells_the_summaries_so_far() -> None:
    writer = interrupted_desk("One.", "Two.", "Three.")
    events = list(writer.summarize("\n\n".join(paragraphs(12))))
    assert told(events) == "One.\n\nTwo."
    assert "stopped after 2 of 4 parts" in notices(events)[0]
    assert not writer.coverage.is_complete


def test_two_hundred_pages_are_covered_whole() -> None:
    """500 words a page and one token per letter, through a context of 8,192 tokens."""
    page = "\n\n".join("The committee met again and talked at length. " * 9 for _ in range(7))
    source = "\n\n".join([page] * 200)
    assert len(source.split()) > 100_000
    writer, generator = desk(*["They met and talked."] * 600, context=8192, max_new_tokens=512)
    events = list(writer.summarize(source))
    assert told(events) == "They met and talked."
    assert writer.coverage.share == 1.0
    assert writer.coverage.is_complete
    assert writer.coverage.source_tokens > 500_000
    read = asked(generator)[: writer.coverage.parts]
    assert sum(len(part.split()) for part in read) == len(source.split())
