"""A conversation as the token ids a checkpoint sees, in SmolLM2's chat format.

Knows the format only: not where conversations come from, nor what is learnt from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from random import Random

from tokenizers import Token, Tokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from smolchat.chatml import tool_system_prompt
from training.links import Link, find_links

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
    links: list[Link]
    """Where the words of its calls come from."""


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """What each token of a byte-level vocabulary stands for."""
    added = {index: token.content for index, token in tokenizer.get_added_tokens_decoder().items()}
    decode = {spelt: byte for byte, spelt in bytes_to_unicode().items()}
    return [
        added[index].encode()
        if index in added
        else bytes(decode[character] for character in tokenizer.id_to_token(index))
        for index in range(tokenizer.get_vocab_size())
    ]


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read `tokenizer.json` so that control tokens in a text stay text."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


WHOLE_WORDS = frozenset(
    re.findall(
        r"\w+",
        tool_system_prompt(()).lower()
        + " type properties required object string integer number boolean array items enum return"
        + " true false null",
    )
)
"""What stands in every list of tools."""


SPACE = "\u0121"
"""How byte-level tokens spell a space, in lower case."""
Cut = tuple[list[int], frozenset[str]]


class Cuts:
    """Some words are cut in two, always at the same place for one seed.

    So a reader learns to copy words piece by piece, as it must with words it has never seen, and
    every piece is copied at one time or another.
    """

    def __init__(self, tokenizer: Tokenizer, seed: str, share: float) -> None:
        self._tokenizer, self._seed, self._share = tokenizer, seed, share
        self._ids: dict[tuple[str, bool], list[int]] = {}

    def encode(self, text: str, known: frozenset[str] | None = None) -> Cut:
        """The ids of a text, and its words; of those only `known` ones are cut, if given."""
        ids: list[int] = []
        words: set[str] = set()
        for piece, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(text):
            word = piece.lower()
            is_whole = known is not None and word not in known
            words.add(word)
            ids += self._of(piece, is_whole)
        return ids, frozenset(words)

    def _of(self, piece: str, is_whole: bool) -> list[int]:
        key = piece, is_whole
        if key not in self._ids:
            parts = [piece] if is_whole else self._parts(piece)
            self._ids[key] = [token.id for part in parts for token in self._tokens(part)]
        return self._ids[key]

    def _parts(self, piece: str) -> list[str]:
        word = piece.lower()
        rng = Random(f"{self._seed}/{word}")
        is_long = word.isalpha() and len(word) > 3 and not word.startswith(SPACE)
        if not is_long or word in WHOLE_WORDS or rng.random() > self._share:
            return [piece]
        place = rng.randrange(1, len(piece))
        return [piece[:place], piece[place:]]

    def _tokens(self, part: str) -> list[Token]:
        tokens: list[Token] = self._tokenizer.model.tokenize(part)
        return tokens


class ChatEncoder:
    """Turns messages into ids; short fixed texts (roles, system prompts) are remembered."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._remembered = lru_cache(maxsize=256)(self._encode)
        self._cuts: tuple[Cuts, Cuts] | None = None
        self._bytes = token_bytes(tokenizer)

    def cut_words(self, seed: str, share: float, share_with_tools: float | None = None) -> None:
        """From now on cut some words in two, other ones for every seed.

        Conversations in which tools are offered can have a share of their own.
        """
        shares = share, share if share_with_tools is None else share_with_tools
        plain, with_tools = (Cuts(self.tokenizer, seed, each) for each in shares)
        self._cuts = plain, with_tools
        self._remembered_with_cuts = lru_cache(maxsize=256)(with_tools.encode)

    def conversation(self, messages: Messages) -> Encoded:
        """Encode a conversation that ends with a reply."""
        ids: list[int] = []
        is_reply: list[bool] = []
        words: frozenset[str] = frozenset()
        cuts = self._cuts and self._cuts[offers_tools(messages[0])]
        for message in with_system(messages):
            says = message["role"] == "assistant"
            content, words = self._content(message, words, cuts)
            head, body = self._head(message["role"]), [*content, END]
            tail = self._remembered("\n")
            ids += [*head, *body, *tail]
            is_reply += [False] * len(head) + [says] * len(body) + [False] * len(tail)
        pieces = [self._bytes[index] for index in ids]
        starts = list(accumulate(map(len, pieces), initial=0))
        return Encoded(ids[:-1], is_reply[:-1], find_links(b"".join(pieces), starts[:-1]))

    def prompt(self, messages: Messages) -> list[int]:
        """Encode what comes before a reply, in whole words, up to where the reply begins."""
        ids: list[int] = []
        for message in with_system(messages):
            content, _ = self._content(message, frozenset(), None)
            ids += [*self._head(message["role"]), *content, END]
            ids += self._remembered("\n")
        return ids + self._head("assistant")

    def _head(self, role: str) -> list[int]:
        return [START, *self._remembered(role + "\n")]

    def _content(self, message: dict[str, str], words: frozenset[str], cuts: Cuts | None) -> Cut:
        """The ids of a message, and the words that may be cut after it, among them `words`.

        A reply is cut only where the prompt is: what is not copied has one spelling.
        """
        content, role = message["content"], message["role"]
        if cuts is None or (role == "system" and not offers_tools(message)):
            return (self._remembered if role == "system" else self._encode)(content), words
        if role == "system":
            return self._remembered_with_cuts(content)
        ids, said = cuts.encode(content, words if role == "assistant" else None)
        return ids, words if role == "assistant" else words | said

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def offers_tools(message: dict[str, str]) -> bool:
    """Whether a message has a list of tools."""
    return message["role"] == "system" and "<tools>" in message["content"]


def with_system(messages: Messages) -> Messages:
    """Insert SmolLM2's own system message where a conversation has none."""
    if messages[0]["role"] == "system":
        return messages
    return ({"role": "system", "content": DEFAULT_SYSTEM}, *messages)
