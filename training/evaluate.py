"""Measure a checkpoint on held-out examples: greedy replies, one table line per family.

`python -m training.evaluate checkpoints/tiny --items 150` prints the table; with `--show N`
prints prompts with their replies for a person to read.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from training.encoding import END, ChatEncoder, load_tokenizer
from training.example import Example
from training.make_data import MIXTURE, examples
from training.tool_task import fits_type

CALL = re.compile(r"<tool_call>(.*)</tool_call>", re.DOTALL)


class Replier:
    """Greedy replies of a checkpoint, several at a time."""

    def __init__(self, folder: Path, rows: int = 16) -> None:
        self.tokenizer = load_tokenizer(folder)
        self.encoder = ChatEncoder(self.tokenizer)
        self.model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.rows = rows

    def replies(self, items: list[Example], limit: int = 240) -> list[str]:
        """The reply to each item's messages before its last, in the order of the items."""
        prompts = [self.encoder.prompt(item.messages[:-1]) for item in items]
        order = sorted(range(len(items)), key=lambda index: len(prompts[index]))
        found: dict[int, str] = {}
        for start in range(0, len(order), self.rows):
            taken = order[start : start + self.rows]
            texts = self._generate([prompts[index] for index in taken], limit)
            found.update(zip(taken, texts, strict=True))
        return [found[index] for index in range(len(items))]

    def _generate(self, prompts: list[list[int]], limit: int) -> list[str]:
        longest = max(map(len, prompts))
        ids = torch.tensor([[END] * (longest - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        with torch.inference_mode():
            out = self.model.generate(
                ids, attention_mask=mask, do_sample=False, max_new_tokens=limit
            )
        return [self._text(row) for row in out[:, longest:].tolist()]

    def _text(self, ids: list[int]) -> str:
        ids = ids[: ids.index(END)] if END in ids else ids
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False)
        return text


def scores(item: Example, reply: str) -> dict[str, bool]:
    """What can be measured of a reply without reading it."""
    wanted = item.messages[-1]["content"]
    found = {"same": reply == wanted}
    if item.keep:
        found["kept"] = all(part in reply for part in item.keep)
    if "<tool_call>" in wanted:
        calls = read_calls(reply)
        found["valid"] = calls is not None and valid(calls, offered(item))
        found["exact"] = calls is not None and calls == read_calls(wanted)
    return found


def read_calls(reply: str) -> list[Any] | None:
    """The calls of a reply that is one `<tool_call>` block with a JSON list, else None."""
    block = CALL.fullmatch(reply.strip())
    if not block:
        return None
    try:
        calls = json.loads(block[1])
    except ValueError:
        return None
    return calls if isinstance(calls, list) else None


def offered(item: Example) -> dict[str, Any]:
    """The parameter schemas of an example's tools, by function name."""
    listed = re.search(r"<tools>(.*)</tools>", item.messages[0]["content"], re.DOTALL)
    tools = json.loads(listed[1]) if listed else []
    return {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}


def valid(calls: list[Any], schemas: dict[str, Any]) -> bool:
    """All calls name an offered function and give it arguments of the right names and types."""
    return bool(calls) and all(
        isinstance(call, dict)
        and call.get("name") in schemas
        and isinstance(call.get("arguments"), dict)
        and fits(call["arguments"], schemas[call["name"]])
        for call in calls
    )


def fits(arguments: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Every required argument is there, and each given one is known and of its type."""
    properties = schema.get("properties", {})
    return set(schema.get("required", ())) <= set(arguments) <= set(properties) and all(
        fits_type(value, properties[name]) for name, value in arguments.items()
    )


def table(items: Iterable[Example], replies: Iterable[str]) -> Iterator[str]:
    """A line per family: how many items, and the share of each measure."""
    counts: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for item, reply in zip(items, replies, strict=True):
        group = item.family.partition("/")[0]
        for name, good in scores(item, reply).items():
            counts[item.family][name].append(good)
            counts[f"{group} (all)"][name].append(good)
    yield f"{'family':28} {'items':>5}  same  kept valid exact"
    for family in sorted(counts):
        found = counts[family]
        cells = (share(found.get(name)) for name in ("same", "kept", "valid", "exact"))
        yield f"{family:28} {len(found['same']):5} {' '.join(cells)}"


def share(found: list[bool] | None) -> str:
    return f"{sum(found) / len(found):5.2f}" if found else "    -"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("checkpoints/tiny"))
    parser.add_argument("--items", type=int, default=150, help="held-out examples of each group")
    parser.add_argument("--group", choices=tuple(MIXTURE), help="this group only")
    parser.add_argument("--show", type=int, default=0, help="replies of each group to print")
    parser.add_argument("--seed", default="evaluation")
    parser.add_argument(
        "--split",
        choices=("heldout", "train"),
        default="heldout",
        help="train: new examples in the words and wordings of training",
    )
    options = parser.parse_args()
    replier = Replier(options.folder)
    every: list[Example] = []
    replies: list[str] = []
    for group in [options.group] if options.group else MIXTURE:
        items = examples(options.seed, options.split, options.items, group)
        every += items
        replies += replier.replies(items)
        for item, reply in list(zip(items, replies[-len(items) :], strict=True))[: options.show]:
            print(f"\n=== {item.family}\n> {item.messages[-2]['content']}\n< {reply}")
            print(f"  {item.messages[-1]['content']}")
    print("\n".join(["", *table(every, replies)]))


if __name__ == "__main__":
    main()
