"""How many forwards a token takes with drafts: rewriting, summaries and tool calls.

`python -m benchmarks.drafting checkpoints/tiny --items 40` asks held-out examples of the embedded
checkpoint's training, greedily, with drafts and without, and prints a line for each kind of task.
The first token of a reply comes from its prompt; the one that ends it is not counted as a token.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smolchat.engine.engine import Engine
from smolchat.engine.model import Logits, Model
from smolchat.generation import GenerationStats, Sampling
from smolchat.grammar_text import tool_grammar
from smolchat.loading import LoadedEngine, load_engine
from smolchat.messages import Message, TurnFinished
from smolchat.session import ChatSession
from training.evaluate import offered
from training.example import Example
from training.make_data import examples

GROUPS = ("rewrite", "summarize", "tools")


class CountedModel:
    """A model that counts the forwards that follow a prompt."""

    def __init__(self, model: Model) -> None:
        self.context_tokens = model.context_tokens
        self.vocab_size = model.vocab_size
        self.prompt_tokens = 0
        self.forwards = 0
        self._model = model

    def forward(self, ids: Sequence[int], start: int, last: int = 1) -> Logits:
        self.forwards += start >= self.prompt_tokens
        return self._model.forward(ids, start, last)

    def truncate(self, length: int) -> None:
        self._model.truncate(length)


@dataclass
class Account:
    """What some replies took."""

    forwards: int = 0
    stats: GenerationStats = field(default_factory=GenerationStats)
    replies: list[str] = field(default_factory=list)

    def row(self) -> str:
        tokens = self.stats.new_tokens
        return (
            f"{tokens:7} {self.forwards / tokens:9.2f} {tokens / self.stats.decode_seconds:8.0f} "
            f"{self.stats.drafted_tokens:8} {self.stats.accepted_tokens:8} "
            f"{self.stats.forced_tokens:7}"
        )


def answered(engine: Engine, loaded: LoadedEngine, items: Iterable[Example]) -> Account:
    """Replies to each item's messages before its last."""
    model = engine.model
    assert isinstance(model, CountedModel)
    model.forwards = 0
    account = Account()
    for item in items:
        session = ChatSession(
            engine,
            loaded.chat_format,
            loaded.stop_ids,
            sampling=Sampling(temperature=0),
            max_new_tokens=300,
        )
        session.transcript = [Message(each["role"], each["content"]) for each in item.messages[:-1]]
        if schemas := offered(item):
            session.grammar = tool_grammar(
                [{"name": name, "parameters": each} for name, each in schemas.items()]
            )
        model.prompt_tokens = len(session.chat_format.prompt_ids(session.transcript))
        for event in session.answer():
            if isinstance(event, TurnFinished):
                account.stats += event.stats
        account.replies.append(session.transcript[-1].content)
    account.forwards = model.forwards
    return account


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="checkpoints/tiny", type=Path)
    parser.add_argument("--items", type=int, default=40, help="examples of each kind")
    parser.add_argument("--quantize", default="none")
    options = parser.parse_args()
    loaded = load_engine(options.checkpoint, quantize=options.quantize)
    base = loaded.generator
    assert isinstance(base, Engine)
    print(f"{'task':10} {'drafts':>6} {'tokens':>7} {'forwards':>9} {'tok/s':>8} ", end="")
    print(f"{'drafted':>8} {'accepted':>8} {'forced':>7}")
    for group in GROUPS:
        items = examples("evaluation", "heldout", options.items, group)
        accounts = []
        for drafts in (True, False):
            engine = Engine(CountedModel(base.model), base._compile_grammar, drafts=drafts)
            accounts.append(answered(engine, loaded, items))
            print(f"{group:10} {'yes' if drafts else 'no':>6} {accounts[-1].row()}")
        if accounts[0].replies != accounts[1].replies:
            print(f"{group}: the replies differ")


if __name__ == "__main__":
    main()
