"""The prose generators: what they promise to the training and to held-out scores."""

from __future__ import annotations

import re
from random import Random

import pytest

from training import chat, rewrite, summarize, words
from training.example import Example, Generator, Split
from training.phrases import PHRASES, new_scene

GENERATORS: tuple[Generator, ...] = (rewrite.generate, summarize.generate, chat.generate)
generators = pytest.mark.parametrize(
    "generate", list(GENERATORS), ids=("rewrite", "summarize", "chat")
)
splits = pytest.mark.parametrize("split", ["train", "heldout"])


def draw(generate: Generator, split: Split, count: int = 400) -> list[Example]:
    rng = Random(7)
    return [generate(rng, split) for _ in range(count)]


def reply(example: Example) -> str:
    return example.messages[-1]["content"]


@generators
@splits
def test_every_kept_word_is_in_the_source_and_in_the_reply(
    generate: Generator, split: Split
) -> None:
    for example in draw(generate, split):
        source = " ".join(message["content"] for message in example.messages[:-1])
        assert all(word in source and word in reply(example) for word in example.keep), example


@generators
@splits
def test_no_template_mark_is_left(generate: Generator, split: Split) -> None:
    for example in draw(generate, split):
        text = " ".join(message["content"] for message in example.messages)
        assert not re.search(r"[{}\[\]|~<>]|\(n\)|  ", text), text


@generators
def test_the_same_seed_gives_the_same_examples(generate: Generator) -> None:
    assert draw(generate, "train", 50) == draw(generate, "train", 50)


@generators
def test_turns_alternate_and_end_with_the_assistant(generate: Generator) -> None:
    for example in draw(generate, "train"):
        roles = [message["role"] for message in example.messages if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


@generators
def test_no_message_is_empty_or_padded(generate: Generator) -> None:
    for example in draw(generate, "train"):
        for message in example.messages:
            assert message["content"] == message["content"].strip() != ""


@pytest.mark.parametrize("kind", sorted(set(words.KEPT) - words.SHARED_KINDS))
def test_held_out_words_are_never_trained(kind: str) -> None:
    rng = Random(3)
    trained = {new_scene(rng, "train").fill(f"{{{kind}}}") for _ in range(300)}
    held_out = {new_scene(rng, "heldout").fill(f"{{{kind}}}") for _ in range(300)}
    assert not trained & held_out


@pytest.mark.parametrize("phrase", sorted(PHRASES))
def test_phrases_start_in_lower_case_and_carry_no_full_stop(phrase: str) -> None:
    rng = Random(5)
    for _ in range(200):
        text = new_scene(rng, "train").fill(f"{{{phrase}}}")
        assert text == text.strip(" .")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("a(n) apple", "an apple"),
        ("a(n) user", "a user"),
        ("A(n) old hat and a(n) new one", "An old hat and a new one"),
        ("a(n) 8-day trip", "an 8-day trip"),
        ("[x|x] and [y|y]", "x and y"),
    ],
)
def test_templates_know_choices_and_articles(template: str, text: str) -> None:
    assert new_scene(Random(1), "train").fill(template) == text


def test_a_slot_keeps_its_value_within_a_scene() -> None:
    scene = new_scene(Random(2), "train")
    first, again = scene.fill("{name} {name}").split()
    assert first == again == scene.fill("{name}")


def test_friendly_rewrites_use_the_profile_word_for_word() -> None:
    system, template = rewrite.prompts("friendly")
    assert "more professional and approachable" in system
    assert "more friendly and approachable" in template
    assert template.endswith("{text}")


@pytest.mark.parametrize("tone", ["professional", "concise"])
def test_other_tones_replace_the_wish_in_both_prompts(tone: str) -> None:
    for prompt in rewrite.prompts(tone):
        assert f"more {tone} while" in prompt
        assert "approachable" not in prompt


@pytest.mark.parametrize(("limit", "words_"), [(1, "one sentence,"), (2, "two sentences,")])
def test_the_length_replaces_three_sentences_in_the_system_prompt(limit: int, words_: str) -> None:
    assert f"up to {words_}" in summarize.system_prompt(limit)
    assert "three" not in summarize.system_prompt(limit)


def test_summaries_speak_of_no_first_or_second_person() -> None:
    for example in draw(summarize.generate, "train"):
        assert not re.search(r"\b(I|we|We|you|You|my|our|your|me|us)\b", reply(example)), example


def test_summaries_keep_to_their_number_of_sentences() -> None:
    for example in draw(summarize.generate, "train"):
        limit = int(example.family.removeprefix("summarize/"))
        assert len(re.findall(r"\.(?= [A-Z]|$)", reply(example))) <= limit, example


def test_a_name_that_was_told_is_recalled() -> None:
    recalled = [e for e in draw(chat.generate, "train") if e.family == "chat/memory" and e.keep]
    assert recalled
    assert all(e.keep[0] in reply(e) for e in recalled)


def test_echoes_are_verbatim() -> None:
    echoes = [e for e in draw(chat.generate, "train", 2000) if e.family == "chat/copy"]
    assert echoes
    for example in echoes:
        said = reply(example).removeprefix("Hello ").split("! ")[0]
        assert said in example.messages[-2]["content"], example


def test_the_model_mirrors_who_speaks() -> None:
    assert chat.mirrored("if you are at my desk") == "if I am at your desk"
    assert chat.mirrored("why I was not invited") == "why you were not invited"
