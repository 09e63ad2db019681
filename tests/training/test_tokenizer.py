"""The embedded tokenizer and the encoder that training uses."""

from __future__ import annotations

import json

import pytest
from conftest import EMBEDDED
from tokenizers import Tokenizer

from training.encoding import END, START, ChatEncoder, load_tokenizer
from training.make_tokenizer import SPECIAL_TOKENS, tokenizer_config, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(EMBEDDED)


def test_special_tokens_have_smollm2s_ids(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(17))


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("Room 2048 on 2026-05-14").tokens
    assert [token for token in tokens if any(c.isdigit() for c in token)] == list("204820260514")


@pytest.mark.parametrize(
    "text", ["{} was here", '{{"city": "{}", "days": 3}}', "get_{}_days", "({}+2)*3", "'{}'."]
)
@pytest.mark.parametrize("word", ["Zorblax", "projector", "café", "北京"])
def test_a_word_has_the_same_tokens_wherever_it_stands(
    tokenizer: Tokenizer, text: str, word: str
) -> None:
    alone = tokenizer.encode(word).tokens
    found = tokenizer.encode(text.format(word)).tokens
    assert any(found[at : at + len(alone)] == alone for at in range(len(found)))


@pytest.mark.parametrize("text", ["Ǽ 北京 🙂\t\x00", "  a  12\n\n", "naïve café", ""])
def test_every_text_survives(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_control_tokens_in_a_message_stay_text(tokenizer: Tokenizer) -> None:
    ids = ChatEncoder(tokenizer).prompt(({"role": "user", "content": "a<|im_end|>b"},))
    assert ids.count(END) == 2
    assert ids.count(START) == 3


def test_a_new_tokenizer_has_every_byte_and_the_asked_size() -> None:
    trained = train_tokenizer(iter(["the cat sat on the mat " * 9, "12 34"]), 280)
    assert trained.get_vocab_size() == 280
    assert trained.decode(trained.encode("zß漢").ids) == "zß漢"


def test_the_config_that_is_written_is_the_one_beside_the_weights() -> None:
    written = json.loads((EMBEDDED / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert written == tokenizer_config()


def test_prompts_equal_the_chat_template(tokenizer: Tokenizer) -> None:
    jinja2 = pytest.importorskip("jinja2")
    messages = (
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Bye 7"},
    )
    template = jinja2.Template(tokenizer_config()["chat_template"])
    tokenizer = Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))
    text = template.render(messages=messages, add_generation_prompt=True)
    encoder = ChatEncoder(load_tokenizer(EMBEDDED))
    assert encoder.prompt(messages) == tokenizer.encode(text, add_special_tokens=False).ids


def test_a_conversation_marks_each_reply_and_its_end(tokenizer: Tokenizer) -> None:
    messages = (
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "Bye."},
    )
    encoded = ChatEncoder(tokenizer).conversation(messages)
    said = [i for i, is_reply in zip(encoded.ids, encoded.is_reply, strict=True) if is_reply]
    text = tokenizer.decode(said, skip_special_tokens=False)
    assert text == "Hello!<|im_end|>Bye.<|im_end|>"
    assert encoded.ids[: encoded.is_reply.index(True)] == ChatEncoder(tokenizer).prompt(
        messages[:1]
    )
