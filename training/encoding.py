"""A conversation as the token ids a checkpoint sees, in SmolLM2's chat format.

Knows the format only: not where conversations come from, nor what is learnt from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

START, END = 1, 2
"""Ids of `<|im_start|>` and `<|im_end|>`."""

DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n" + DEFAULT_SYSTEM + "<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

Messages = tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a whole conversation, and which of them the assistant says."""

    ids: list[int]
    is_reply: list[bool]
    """True for the tokens of a reply and the `<|im_end|>` that closes it."""


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read `tokenizer.json` so that control tokens in a text stay text."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


class ChatEncoder:
    """Turns messages into ids; short fixed texts (roles, system prompts) are remembered."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._remembered = lru_cache(maxsize=256)(self._encode)

    def conversation(self, messages: Messages) -> Encoded:
        """Encode a conversation that ends with a reply."""
        ids: list[int] = []
        is_reply: list[bool] = []
        for message in with_system(messages):
            says = message["role"] == "assistant"
            head, body = self._head(message["role"]), [*self._body(message), END]
            tail = self._remembered("\n")
            ids += [*head, *body, *tail]
            is_reply += [False] * len(head) + [says] * len(body) + [False] * len(tail)
        return Encoded(ids[:-1], is_reply[:-1])

    def prompt(self, messages: Messages) -> list[int]:
        """Encode what comes before a reply, up to where the reply begins."""
        ids: list[int] = []
        for message in with_system(messages):
            ids += [*self._head(message["role"]), *self._body(message), END]
            ids += self._remembered("\n")
        return ids + self._head("assistant")

    def _head(self, role: str) -> list[int]:
        return [START, *self._remembered(role + "\n")]

    def _body(self, message: dict[str, str]) -> list[int]:
        encode = self._remembered if message["role"] == "system" else self._encode
        return encode(message["content"])

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def with_system(messages: Messages) -> Messages:
    """Insert SmolLM2's own system message where a conversation has none."""
    if messages[0]["role"] == "system":
        return messages
    return ({"role": "system", "content": DEFAULT_SYSTEM}, *messages)
