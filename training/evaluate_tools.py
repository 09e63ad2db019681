"""Measure tool use through smolchat itself: with and without the grammar, and end to end.

`python -m training.evaluate_tools checkpoints/tiny --items 100` compares the calls to held-out
generated tools without the grammar, with it, and with `--tool-choice required`; `--questions`
asks the everyday questions of `questions.yaml` with the shipped tools and tells how many are
answered.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from smolchat.generation import Sampling
from smolchat.grammar_text import tool_grammar
from smolchat.loading import LoadedEngine, load_engine
from smolchat.messages import Message, TextDelta, ToolStarted
from smolchat.session import ChatSession, ToolUse
from smolchat.tool_commands import chosen_tools
from smolchat.toolbox import Toolbox
from training.evaluate import offered, scores, share
from training.example import Example
from training.make_data import examples

GREEDY = Sampling(temperature=0)
QUESTIONS = Path(__file__).with_name("questions.yaml")
KINDS = {"free": None, "grammar": "auto", "required": "required"}
"""Without the grammar, with it, and with it where the user demands a call."""
REFUSED = ("tools/refuse", "tools/missing")


def reply(engine: LoadedEngine, item: Example, choice: str | None) -> str:
    """The reply to an item's messages before its last, call block and all.

    With a `choice` of tools it is constrained by the grammar.
    """
    session = ChatSession(
        engine.generator, engine.chat_format, engine.stop_ids, sampling=GREEDY, max_new_tokens=400
    )
    session.transcript = [Message(each["role"], each["content"]) for each in item.messages[:-1]]
    if choice:
        schemas = [
            {"name": name, "parameters": parameters} for name, parameters in offered(item).items()
        ]
        session.grammar = tool_grammar(schemas, choice)
    return "".join(each.text for each in session.answer() if isinstance(each, TextDelta))


def compare(engine: LoadedEngine, count: int) -> None:
    """A line per family: the share of valid and exact calls, and of right refusals."""
    items = [
        item
        for item in examples("evaluation", "heldout", 3 * count, "tools")
        if "<tool_call>" in item.messages[-1]["content"] or item.family in REFUSED
    ][:count]
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for item in items:
        for kind, choice in KINDS.items():
            if choice == "required" and item.family in REFUSED:
                continue
            text = reply(engine, item, choice)
            for name, is_good in measures(item, text).items():
                found[item.family, f"{kind} {name}"].append(is_good)
                found["all", f"{kind} {name}"].append(is_good)
    for (family, name), good in sorted(found.items()):
        print(f"{family:20} {name:16} {len(good):5} {share(good)}")


def measures(item: Example, text: str) -> dict[str, bool]:
    """What counts of a reply, for an item that wants calls or one that wants a refusal."""
    found = scores(item, text)
    if item.family in REFUSED:
        return {"refused": found["same"]}
    measured = {"valid": found["valid"], "exact": found["exact"]}
    return measured | ({"valid if called": found["valid"]} if "<tool_call>" in text else {})


def ask(engine: LoadedEngine) -> None:
    """Asks every question; prints each miss, then the share answered."""
    questions = yaml.safe_load(QUESTIONS.read_text(encoding="utf-8"))
    right = 0
    with Toolbox(chosen_tools(["all"])) as toolbox:
        for entry in questions:
            session = ChatSession(
                engine.generator,
                engine.chat_format,
                engine.stop_ids,
                sampling=GREEDY,
                max_new_tokens=400,
                tool_use=ToolUse(toolbox),
            )
            events = list(session.send(entry["question"]))
            calls = [each.call for each in events if isinstance(each, ToolStarted)]
            answer = "".join(each.text for each in events if isinstance(each, TextDelta))
            names = sorted(call.name for call in calls)
            is_right = names == sorted(call["name"] for call in entry["calls"])
            is_right = is_right and answers(entry, answer)
            right += is_right
            if not is_right:
                made = "; ".join(f"{call.name}{call.arguments}" for call in calls)
                print(f"- {entry['question']}\n  {made}\n  {answer}")
    print(f"answered {right} of {len(questions)}: {right / len(questions):.2f}")


def answers(entry: dict[str, Any], answer: str) -> bool:
    """Whether the answer says what the question's entry asks for."""
    has_all = all(part in answer for part in entry.get("contains", ()))
    return has_all and all(re.search(each, answer) for each in entry.get("matches", ()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("checkpoints/tiny"))
    parser.add_argument("--items", type=int, default=0, help="held-out tool examples to compare")
    parser.add_argument("--questions", action="store_true", help="ask the everyday questions")
    options = parser.parse_args()
    engine = load_engine(options.folder)
    if options.items:
        compare(engine, options.items)
    if options.questions:
        ask(engine)


if __name__ == "__main__":
    main()
