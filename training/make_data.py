"""The mixture: which generators an example comes from, and how often.

`python -m training.make_data --items 3` prints examples for reading.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from random import Random

from training import chat, rewrite, summarize, tool_calls
from training.example import Example, Generator, Split

MIXTURE: dict[str, tuple[Generator, float]] = {
    "chat": (chat.generate, 0.04),
    "rewrite": (rewrite.generate, 0.13),
    "summarize": (summarize.generate, 0.07),
    "tools": (tool_calls.generate, 0.76),
}
"""Each group's generator and its share of the examples."""


NEIGHBOURS = 12
"""So many examples in a row are of one group; with tools, they mostly offer the same ones."""


def examples(seed: int | str, split: Split, count: int, group: str | None = None) -> list[Example]:
    """`count` examples, always the same for a seed; of one group of the mixture if named."""
    return [example(f"{split}/{seed}", split, index, group) for index in range(count)]


def example(seed: str, split: Split, index: int, group: str | None) -> Example:
    """The example at a place of the endless row that a seed stands for."""
    rng, neighbourhood = Random(f"{seed}/{index}"), f"{seed}/{index // NEIGHBOURS}"
    if group is None:
        shares = [share for _, share in MIXTURE.values()]
        group = Random(f"{neighbourhood}/group").choices(list(MIXTURE), shares)[0]
    if group == "tools":
        return tool_calls.generate(rng, split, neighbourhood)
    return MIXTURE[group][0](rng, split)


def show(example: Example) -> Iterator[str]:
    """The lines of a conversation as a person reads them."""
    yield f"=== {example.family}  keep: {', '.join(example.keep) or '-'}"
    for message in example.messages:
        yield f"[{message['role']}] {message['content']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--items", type=int, default=3, help="examples of each group")
    parser.add_argument("--split", choices=("train", "heldout"), default="train")
    options = parser.parse_args()
    for group in MIXTURE:
        for example in examples(options.seed, options.split, options.items, group):
            print("\n".join(show(example)), end="\n\n")


if __name__ == "__main__":
    main()
