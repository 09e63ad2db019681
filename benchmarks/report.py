"""Measured parts to RESULTS.md: each goal with what was reached, and the speeds themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

Part = Mapping[str, Any]
Round = Mapping[str, Any]

SHAPES = ("135m", "360m", "1.7b")


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that a part gives, and what it is to reach for each shape."""

    name: str
    part: str
    of_round: Callable[[Round], float]
    goals: Mapping[str, float]
    is_limit: bool = False
    """To be at most the goal rather than at least."""


def ratio(ours: str, theirs: str, what: str = "decode") -> Callable[[Round], float]:
    return lambda taken: float(taken[ours][what] / taken[theirs][what])


def bandwidth_share(taken: Round) -> float:
    speed = taken["smolchat none"]["decode"]
    return float(taken["weight_bytes"] * speed / taken["bandwidth"])


def each(*goals: float) -> dict[str, float]:
    return dict(zip(SHAPES, goals, strict=False))


GOALS = (
    Goal(
        "decode int8 over llama.cpp Q8_0",
        "int8",
        ratio("smolchat int8", "llama.cpp Q8_0"),
        each(1.3, 1.2, 1.05),
    ),
    Goal(
        "decode int4 over llama.cpp Q4_0",
        "int4",
        ratio("smolchat int4", "llama.cpp Q4_0"),
        each(1.1, 1.1, 1.0),
    ),
    Goal(
        "decode bf16 over llama.cpp F16",
        "bf16",
        ratio("smolchat none", "llama.cpp F16"),
        each(1.1, 1.1, 1.0),
    ),
    Goal(
        "prefill over llama.cpp Q8_0",
        "int8",
        ratio("smolchat int8", "llama.cpp Q8_0", "prefill"),
        each(1.3, 1.3, 1.3),
    ),
    Goal(
        "decode int8 over transformers bf16",
        "int8",
        ratio("smolchat int8", "transformers bf16"),
        each(5, 5, 3),
    ),
    Goal(
        "share of the read bandwidth, bf16 decode", "bf16", bandwidth_share, each(0.85, 0.85, 0.9)
    ),
    Goal(
        "decode at 4,000 tokens of context over that at 100",
        "context",
        lambda taken: float(taken["4000"] / taken["100"]),
        each(0.7, 0.7, 0.7),
    ),
    Goal(
        "first token of a new process, seconds",
        "start",
        lambda taken: float(taken["smolchat"]),
        each(1.0),
        is_limit=True,
    ),
    Goal(
        "first token of a new process over transformers'",
        "start",
        lambda taken: float(taken["smolchat"] / taken["transformers"]),
        each(0.25),
        is_limit=True,
    ),
    Goal(
        "first token of a new process over llama-cpp-python's",
        "start",
        lambda taken: float(taken["smolchat"] / taken["llama.cpp"]),
        each(1.0),
        is_limit=True,
    ),
    Goal(
        "`smolchat --help`, seconds",
        "start",
        lambda taken: float(taken["smolchat --help"]),
        each(0.15),
        is_limit=True,
    ),
)


def report(parts: Iterable[Part]) -> str:
    """The whole of RESULTS.md; what was not measured is a dash."""
    found = {(part["shape"], part["part"]): part for part in parts}
    shapes = [shape for shape in SHAPES if any(shape == key[0] for key in found)]
    lines = [
        "# Results",
        "",
        "Written by `python -m benchmarks.compare`. The programs take turns in every round, on the"
        " same random checkpoint, prompt and lengths; a ratio is the median of the rounds' ratios."
        " In brackets the goal.",
        "",
        *_table(
            ["", *shapes], [[goal.name, *(_cell(goal, found, s) for s in shapes)] for goal in GOALS]
        ),
        "",
        "## Speeds",
        "",
        "Medians; tokens per second, of a prompt and of the tokens after it. The spread is that of"
        " decoding, slowest to fastest round.",
        "",
        *_table(
            ["shape", "program", "prefill", "decode", "spread", "prompt + new", "rounds"],
            [row for shape in shapes for row in _speeds(found, shape)],
        ),
        "",
        "## Machines",
        "",
        *_machines(found.values()),
        "",
    ]
    return "\n".join(lines)


def _cell(goal: Goal, found: Mapping[tuple[str, str], Part], shape: str) -> str:
    part = found.get((shape, goal.part))
    if part is None:
        return "-"
    reached = median(goal.of_round(taken) for taken in part["rounds"])
    if shape not in goal.goals:
        return f"{reached:.2f}"
    wanted = goal.goals[shape]
    is_met = reached <= wanted if goal.is_limit else reached >= wanted
    return f"{f'**{reached:.2f}**' if is_met else f'{reached:.2f}'} ({wanted:g})"


def _speeds(found: Mapping[tuple[str, str], Part], shape: str) -> Iterable[list[str]]:
    for name in ("int8", "int4", "bf16"):
        if (part := found.get((shape, name))) is None:
            continue
        rounds = part["rounds"]
        for program in (key for key, value in rounds[0].items() if isinstance(value, dict)):
            prefill = median(taken[program]["prefill"] for taken in rounds)
            decode = sorted(taken[program]["decode"] for taken in rounds)
            yield [
                shape,
                program,
                f"{prefill:.0f}",
                f"{median(decode):.1f}",
                f"{decode[0]:.1f} to {decode[-1]:.1f}",
                f"{part['prompt_tokens']} + {part['new_tokens']}",
                str(len(rounds)),
            ]


def _machines(parts: Iterable[Part]) -> list[str]:
    """Parts that were measured under the same conditions in one line."""
    places: dict[str, list[str]] = {}
    for part in parts:
        said = ", ".join(
            f"{name} {value}" for name, value in part["machine"].items() if name != "load before"
        )
        load = part["machine"]["load before"]
        places.setdefault(said, []).append(
            f"{part['shape']} {part['part']} ({part['date']}, load before it {load})"
        )
    return [f"- {said}: {'; '.join(measured)}" for said, measured in places.items()]


def _table(heading: list[str], rows: Iterable[list[str]]) -> list[str]:
    cells = [heading, ["---"] * len(heading), *rows]
    return [f"| {' | '.join(row)} |" for row in cells]
