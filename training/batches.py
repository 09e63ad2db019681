"""Examples to batches: rows of like length that share as long a prefix as possible.

Many prompts begin alike (the same system message, the same list of tools). Such examples are put
into one batch, and the network reads what they share once.
"""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from random import Random

import torch
from torch import Tensor

from training.encoding import END, ChatEncoder, Encoded
from training.example import Example, Split
from training.network import Links

IGNORED = -100
"""The target where nothing is to be predicted."""
PROMPT_SHARE = 0.25
"""The share of a prompt's tokens that is predicted: scores of the vocabulary are costly."""
OPENING_TOKENS = 24
"""Examples whose first so many ids agree are batched together."""
CUT_SHARE, CUT_SHARE_WITH_TOOLS = 0.35, 0.8
"""The share of longer words that are cut in two, others in every chunk.

Where tools are offered it is larger, for words that a tokenizer does not know are in pieces.
"""
FEW = 2
"""Fewer examples than this that begin alike are not worth a batch of their own."""
LONGEST_ROW = 420
"""Ids of a row after what it shares; the few longer ones cost more than they teach."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B rows that share P ids; what is predicted are the ids after each row position."""

    prefix: Tensor
    """Ids [P]."""
    rows: Tensor
    """Ids [B, L], padded on the right."""
    lengths: Tensor
    """How many ids of each row [B] are its own."""
    targets: Tensor
    """Ids [B, L], each the one that follows, or `IGNORED`."""
    is_reply: Tensor
    """Booleans [B, L]: the target is part of a reply."""
    groups: tuple[str, ...]
    """The first part of each row's family."""
    links: Links
    """Where its tokens should look."""

    @property
    def tokens(self) -> int:
        return self.prefix.numel() + self.rows.numel()


Row = tuple[Example, Encoded]
_make: Callable[[int], list[Batch]]


def make_batches(
    examples: list[Example], encoder: ChatEncoder, limit: int, rng: Random
) -> list[Batch]:
    """Batches of about `limit` tokens each, in random order."""
    rows = [(example, encoder.conversation(example.messages)) for example in examples]
    batches = [collate(part, rng) for alike in sort_out(rows) for part in cut(alike, limit)]
    rng.shuffle(batches)
    return batches


def sort_out(rows: list[Row]) -> list[list[Row]]:
    """Rows that begin alike, by their system message or its first words, and the rest."""
    rest = rows
    found: list[list[Row]] = []
    for opening in (opening_message, opening_ids, group):
        alike: dict[object, list[Row]] = defaultdict(list)
        for row in rest:
            alike[opening(row)].append(row)
        found += [part for part in alike.values() if len(part) >= FEW or opening is group]
        rest = [row for part in alike.values() if len(part) < FEW for row in part]
    return found


def opening_message(row: Row) -> str:
    """The system message, or nothing where SmolLM2's own stands."""
    first = row[0].messages[0]
    return first["content"] if first["role"] == "system" else ""


def opening_ids(row: Row) -> tuple[int, ...]:
    return tuple(row[1].ids[:OPENING_TOKENS])


def group(row: Row) -> str:
    """The first part of a row's family."""
    return row[0].family.partition("/")[0]


def cut(rows: list[Row], limit: int) -> Iterator[list[Row]]:
    """Cut rows, sorted by length, into lists of about `limit` tokens with their prefix once."""
    taken: list[Row] = []
    shared = 0
    for row in sorted(rows, key=lambda row: len(row[1].ids)):
        still_shared = min(shared, shared_length(taken[0], row)) if taken else own_length(row)
        own = len(row[1].ids) - still_shared
        if taken and own > LONGEST_ROW:
            continue
        if taken and still_shared + (len(taken) + 1) * own > limit:
            yield taken
            taken, still_shared = [], own_length(row)
        taken.append(row)
        shared = still_shared
    if taken:
        yield taken


def own_length(row: Row) -> int:
    """How long a prefix of this row may be: it ends two ids before the first reply."""
    return row[1].is_reply.index(True) - 2


def shared_length(first: Row, second: Row) -> int:
    """How many ids two rows begin with alike."""
    longest = min(own_length(first), own_length(second))
    pairs = zip(first[1].ids[:longest], second[1].ids, strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), longest)


def collate(rows: list[Row], rng: Random) -> Batch:
    """Put rows into one batch."""
    start = min(shared_length(rows[0], row) for row in rows)
    length = max(len(encoded.ids) for _, encoded in rows) - start - 1
    lengths = torch.tensor([len(encoded.ids) - start - 1 for _, encoded in rows])
    ids = torch.full((len(rows), length), END)
    targets = torch.full((len(rows), length), IGNORED)
    is_reply = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, (_, encoded) in enumerate(rows):
        size = int(lengths[index])
        ids[index, :size] = torch.tensor(encoded.ids[start:-1])
        is_target = [said or rng.random() < PROMPT_SHARE for said in encoded.is_reply[start + 1 :]]
        following = torch.tensor(encoded.ids[start + 1 :])
        targets[index, :size] = following.where(torch.tensor(is_target), IGNORED)
        is_reply[index, :size] = torch.tensor(encoded.is_reply[start + 1 :])
    groups = tuple(group(row) for row in rows)
    prefix = torch.tensor(rows[0][1].ids[:start], dtype=torch.long)
    return Batch(prefix, ids, lengths, targets, is_reply, groups, batch_links(rows, start))


def batch_links(rows: list[Row], start: int) -> Links:
    """The links of all rows; those of the prefix that they share once."""
    kinds: list[int] = []
    ends: list[tuple[int, int, int, int]] = []
    for index, (_, encoded) in enumerate(rows):
        for kind, query, sources in encoded.links:
            if query >= start or index == 0:
                row = index if query >= start else -1
                ends += [(len(kinds), row, query, source) for source in sources]
                kinds.append(kind)
    return Links(torch.tensor(kinds, dtype=torch.long), torch.tensor(ends).view(-1, 4).long())


class Batches:
    """An endless stream of training steps, each a few batches; its place is two numbers."""

    def __init__(
        self,
        draw: Callable[[int | str, Split, int], list[Example]],
        encoder: ChatEncoder,
        seed: int,
        batch_tokens: int,
        step_tokens: int,
        chunk_examples: int = 1536,
        has_helper: bool = False,
    ) -> None:
        """With a helper, a process of its own draws the next chunk while this one is learnt."""
        self.draw, self.encoder, self.seed = draw, encoder, seed
        self.batch_tokens, self.step_tokens = batch_tokens, step_tokens
        self.chunk_examples = chunk_examples
        self.chunk, self.position = 0, 0
        self._helper = start_helper(self.chunk_batches) if has_helper else None
        self._ahead: dict[int, Future[bytes]] = {}
        self._batches = self._chunk()

    def place(self) -> tuple[int, int]:
        """Which chunk of examples is being read, and how many of its batches were taken."""
        return self.chunk, self.position

    def go_to(self, place: tuple[int, int]) -> None:
        """Continue where an earlier stream of the same seed stood."""
        self.chunk, self.position = place
        self._batches = self._chunk()

    def step(self) -> list[Batch]:
        """The batches of the next step."""
        taken: list[Batch] = []
        while sum(batch.tokens for batch in taken) < self.step_tokens:
            if self.position >= len(self._batches):
                self.go_to((self.chunk + 1, 0))
            taken.append(self._batches[self.position])
            self.position += 1
        return taken

    def chunk_batches(self, chunk: int) -> list[Batch]:
        """The batches of one chunk, always the same."""
        name = f"{self.seed}/{chunk}"
        self.encoder.cut_words(name, CUT_SHARE, CUT_SHARE_WITH_TOOLS)
        examples = self.draw(name, "train", self.chunk_examples)
        return make_batches(examples, self.encoder, self.batch_tokens, Random(name))

    def _chunk(self) -> list[Batch]:
        drawn = self._ahead.pop(self.chunk, None)
        batches = pickle.loads(drawn.result()) if drawn else self.chunk_batches(self.chunk)
        if self._helper:
            self._ahead = {self.chunk + 1: self._helper.submit(pickled_chunk, self.chunk + 1)}
        return batches


def start_helper(make: Callable[[int], list[Batch]]) -> ProcessPoolExecutor:
    """A process that makes chunks; it is forked, so that nothing of this one must be pickled."""
    return ProcessPoolExecutor(1, get_context("fork"), initializer=_remember, initargs=(make,))


def _remember(make: Callable[[int], list[Batch]]) -> None:
    global _make
    _make = make


def pickled_chunk(chunk: int) -> bytes:
    """A chunk as the helper sends it: whole tensors, not a file descriptor for each."""
    return pickle.dumps(_make(chunk))
