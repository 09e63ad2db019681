"""The training text is tokenized exactly as the program tokenizes what it sends."""

from __future__ import annotations

from conftest import EMBEDDED

from smolchat.loading import load_chat_format
from smolchat.messages import Message
from training.encoding import ChatEncoder, load_tokenizer
from training.make_data import examples


def test_training_and_chatting_encode_alike() -> None:
    encoder = ChatEncoder(load_tokenizer(EMBEDDED))
    _, chat_format = load_chat_format(EMBEDDED)
    for example in examples("encoding", "train", 200):
        transcript = [Message(each["role"], each["content"]) for each in example.messages[:-1]]
        assert tuple(encoder.prompt(example.messages[:-1])) == chat_format.prompt_ids(transcript)
