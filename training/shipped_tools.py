"""Everyday wishes for the tools that smolchat ships, with real schemas and real results."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from smolchat.toolbox.schema import tool_of
from smolchat.toolbox.tool import settings_of
from training import shipped_wordings as spoken
from training import tool_pools as pools
from training.invented_tools import free_text, quoted, wording
from training.tool_task import Schema, Task, listed
from training.words import Scene, capitalized, invented


def _shipped_functions() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for path in sorted((Path(__file__).parent.parent / "tools").glob("*.py")):
        members = runpy.run_path(str(path)).items()
        found |= {name: member for name, member in members if settings_of(member)}
    return dict(sorted(found.items()))


FUNCTIONS = _shipped_functions()
SCHEMAS: dict[str, Schema] = {name: tool_of(each).schema for name, each in FUNCTIONS.items()}
PURE = tuple(name for name, each in FUNCTIONS.items() if tool_of(each).effect == "pure")
"""What `-T all` offers, in its order."""


def draw_shipped_task(scene: Scene, name: str) -> Task:
    """An everyday wish for one shipped tool."""
    return _TASKS[name](scene)


def pick_shipped(scene: Scene, names: Sequence[str], count: int) -> list[str]:
    """Names of tools for some tasks, those with the widest use most often."""
    picked: list[str] = []
    while len(picked) < count:
        name = scene.rng.choices(names, [_USES.get(name, 3) for name in names])[0]
        if name not in picked or len(picked) >= len(names) or scene.chance(0.1):
            picked.append(name)
    return picked


_USES = {"calculate": 8, "convert_units": 6, "current_time": 5, "days_between": 4, "json_query": 1}


def draw_shipped_incomplete(scene: Scene, name: str) -> str | None:
    """A wish that lacks what the tool needs; None for a tool that needs nothing."""
    if name not in spoken.INCOMPLETE:
        return None
    template = wording(scene, spoken.INCOMPLETE[name])
    unit, other = _unit_pair(scene)
    filled = template.format(v=_number(scene), u=unit, w=other, d=_date(scene))
    return capitalized(filled)


def draw_shipped_pair(scene: Scene) -> tuple[str, list[Task]]:
    """A question that needs the same tool twice, and its two tasks."""
    return scene.pick((_two_times, _two_times, _two_units, _two_percentages))(scene)


def _two_times(scene: Scene) -> tuple[str, list[Task]]:
    tasks = [_current_time(scene), _current_time(scene)]
    while not all(task.arguments for task in tasks):
        tasks = [_current_time(scene), _current_time(scene)]
    first, second = (task.arguments["place"] for task in tasks)
    templates = (
        "What time is it in {0} and {1}?",
        "What time is it in {0} and in {1}?",
        "Tell me the time in {0} and {1}.",
        "What are the current times in {0} and {1}?",
        "Compare the time in {0} with the time in {1}.",
        "I need the time in {0} and also in {1}.",
        "How late is it in {0}, and how late in {1}?",
    )
    return wording(scene, templates).format(first, second), tasks


def _two_units(scene: Scene) -> tuple[str, list[Task]]:
    quantity, number = _quantity(scene), _number(scene).replace(",", "")
    source, *targets = (
        _spelling(scene, unit) for unit in scene.rng.sample(spoken.UNITS[quantity].split(";"), 3)
    )
    tasks = [
        _task(
            "convert_units",
            ("", False),
            {"value": json.loads(number), "from_unit": source, "to_unit": target},
            f"{number} {source} is {{r}}",
        )
        for target in targets
    ]
    templates = (
        "Convert {v} {u} to {0} and {1}.",
        "What is {v} {u} in {0} and in {1}?",
        "How much is {v} {u} in {0} and {1}?",
        "I need {v} {u} in {0} and also in {1}.",
    )
    return scene.pick(templates).format(*targets, v=number, u=source), tasks


def _two_percentages(scene: Scene) -> tuple[str, list[Task]]:
    percent, numbers = scene.rng.randint(1, 99), [str(scene.rng.randint(10, 9999)) for _ in "ab"]
    tasks = [
        _task("calculate", ("", False), {"expression": said}, f"{said} is {{r}}")
        for said in (f"{percent}% of {number}" for number in numbers)
    ]
    templates = (
        "What is {p}% of {0} and of {1}?",
        "Calculate {p}% of {0} and of {1}.",
        "How much is {p}% of {0}, and of {1}?",
    )
    return scene.pick(templates).format(*numbers, p=percent), tasks


def draw_shipped_follow_up(scene: Scene) -> tuple[Task, str, Task]:
    """A task, and a question that only makes sense after it, with its own task."""
    draw = scene.pick((_current_time, _current_time, _weekday))
    first, second = draw(scene), draw(scene)
    while not _is_said(first) or not _is_said(second):
        first, second = draw(scene), draw(scene)
    value = next(iter(second.arguments.values()))
    frames = ("And {0}?", "What about {0}?", "How about {0}?", "And what about {0}?")
    if draw is _current_time:
        frames += ("And in {0}?", "And the time in {0}?", "Now in {0}, please.")
    return first, scene.pick(frames).format(value), second


def _is_said(task: Task) -> bool:
    return bool(task.arguments) and all(
        value in task.wish for value in map(str, task.arguments.values())
    )


def draw_shipped_chain(scene: Scene) -> tuple[str, Task, Task]:
    """A question, and two tasks of which the second uses the first one's result."""
    return scene.pick((_count_of_file, _random_times, _sum_in_units, _days_times))(scene)


def _count_of_file(scene: Scene) -> tuple[str, Task, Task]:
    first, second = _read_file(scene), _text_statistics(scene)
    while first.result.startswith("ValueError"):
        first = _read_file(scene)
    text = first.result
    statistics = str(FUNCTIONS["text_statistics"](text))
    counted, noun = scene.pick([(each, each.split()[1]) for each in statistics.split(", ")])
    plural = noun if noun.endswith("s") else noun + "s"
    file = first.arguments["path"]
    question = scene.pick(
        (
            "How many {n} are in the file {f}?",
            "Count the {n} in {f}.",
            "How many {n} does {f} have?",
        )
    )
    answer = f"the file {file} has {counted}"
    second = replace(
        second, arguments={"text": text}, result=statistics, answer=answer, keep=(counted,)
    )
    return question.format(n=plural, f=file), first, second


def _random_times(scene: Scene) -> tuple[str, Task, Task]:
    first = _random_number(scene)
    factor = str(scene.rng.randint(2, 20))
    wish, sign = scene.pick((("multiply it by {0}", "*"), ("add {0} to it", "+")))
    expression = f"{first.result} {sign} {factor}"
    second = _task("calculate", ("", False), {"expression": expression}, expression + " is {r}")
    joint = scene.pick((" and ", " and then ", ", then "))
    return capitalized(first.wish) + joint + wish.format(factor) + ".", first, second


def _sum_in_units(scene: Scene) -> tuple[str, Task, Task]:
    a, b = scene.rng.randint(2, 99), scene.rng.randint(2, 20)
    source, target = _unit_pair(scene)
    first = _task("calculate", ("", False), {"expression": f"{a} * {b}"}, "")
    arguments = {"value": json.loads(first.result), "from_unit": source, "to_unit": target}
    second = _task("convert_units", ("", False), arguments, f"{first.result} {source} is {{r}}")
    question = scene.pick(
        (
            "Multiply {a} by {b} and convert that from {s} to {t}.",
            "What is {a} times {b} {s} in {t}?",
        )
    )
    return question.format(a=a, b=b, s=source, t=target), first, second


def _days_times(scene: Scene) -> tuple[str, Task, Task]:
    first = _days_between(scene)
    days, factor = first.result.split()[0], scene.rng.randint(2, 50)
    expression = f"{days} * {factor}"
    second = _task("calculate", ("", False), {"expression": expression}, expression + " is {r}")
    tail = scene.pick((" Multiply that by {0}.", " And what is that times {0}?"))
    return first.question + tail.format(factor), first, second


def _task(
    name: str,
    asked: spoken.Wording,
    arguments: dict[str, Any],
    answer: str,
    result: str | None = None,
    keep: tuple[str, ...] = (),
) -> Task:
    """`{r}` in the answer is the result; without one the tool itself is called."""
    if result is None:
        try:
            result = str(FUNCTIONS[name](**arguments))
        except ValueError as error:
            result = f"ValueError: {error}"
            answer = f"sorry, that did not work: {error}"
    if not keep and "{r}" in answer:
        keep = (result,)
    return Task(SCHEMAS[name], *asked, arguments, result, answer.replace("{r}", result), keep)


def _filled(asked: spoken.Wording, **words: str) -> spoken.Wording:
    template, is_question = asked
    return template.format(**words), is_question


def _number(scene: Scene) -> str:
    digits = scene.pick((1, 2, 2, 2, 3, 3, 4, 5))
    whole = scene.rng.randint(2 if digits == 1 else 10 ** (digits - 1), 10**digits - 1)
    if scene.chance(0.18) and digits < 4:
        tenths = scene.pick(("", "", str(scene.rng.randint(0, 9))))
        return f"{whole}.{tenths}{scene.rng.randint(1, 9)}"
    if digits > 3 and scene.chance(0.15):
        return f"{whole:,}"
    return str(whole)


def _calculate(scene: Scene) -> Task:
    expression, wordings, said = scene.rng.choices(spoken.SUMS, spoken.SUM_CHANCES)[0]
    template, is_question = wording(scene, wordings)
    words = _operands(scene, is_counted="{o}" in template)
    words["x"] = scene.pick(spoken.EXPRESSIONS).format(**words)
    arguments = {"expression": expression.format(**words)}
    if scene.chance(0.1) and not re.search(r"[-+*/%^]", template):
        words |= {key: spoken.NUMBER_NAMES.get(words[key], words[key]) for key in "abc"}
    answer = scene.pick(spoken.SUM_ANSWERS).replace("{said}", said.format(**words))
    return _task("calculate", (template.format(**words), is_question), arguments, answer)


def _operands(scene: Scene, is_counted: bool) -> dict[str, str]:
    """What the slots of a sum may hold: a, b, c, a percentage, a small base and exponent."""
    drawn = [_number(scene) for _ in "abc"]
    if is_counted:
        drawn[0] = str(scene.rng.randint(2, 10 ** scene.pick((1, 2, 3))))
    if scene.chance(0.15):
        drawn[1] = f"{scene.rng.randint(0, 60)}.{scene.pick(('99', '50', '20', '95', '05', '80'))}"
    if not scene.chance(0.2):
        drawn = [number.replace(",", "") for number in drawn]
    words = dict(zip("abc", drawn, strict=True))
    words["p"] = str(scene.rng.randint(1, 99)) + (".5" if scene.chance(0.1) else "")
    words["s"], words["k"] = str(scene.rng.randint(2, 20)), str(scene.rng.randint(2, 10))
    words["o"] = invented(scene.rng) + "s" if scene.chance(0.2) else scene.own(pools.ITEMS)
    return words


def _current_time(scene: Scene) -> Task:
    clock = f"{scene.rng.randint(0, 23):02}:{scene.rng.randint(0, 59):02}"
    day = _written(_random_day(scene))
    result, keep = f"{clock} on {day}", (clock,)
    if scene.chance(0.15):
        asked = wording(scene, spoken.LOCAL_TIME)
        answer = scene.pick(("it is {t}", "it is {t} on {d}"))
        answer = answer.format(t=clock, d=day)
        return _task("current_time", asked, {}, answer, result, keep)
    place = scene.own(spoken.CITIES)
    if scene.chance(0.3):
        place = invented(scene.rng).capitalize()
    asked = _filled(wording(scene, spoken.TIME), p=place)
    answer = scene.pick(spoken.TIME_ANSWERS).format(p=place, t=clock, d=day)
    if place not in spoken.CITIES and scene.chance(0.25):
        answer = "{r}"
        return _task("current_time", asked, {"place": place}, answer)
    return _task("current_time", asked, {"place": place}, answer, result, keep)


def _random_day(scene: Scene) -> date:
    """Never 29 February, which a date without a year could not be sure to have."""
    day = date(2020, 1, 1) + timedelta(days=scene.rng.randint(0, 5000))
    return day if (day.month, day.day) != (2, 29) else date(day.year, 3, 1)


def _written(day: date) -> str:
    return f"{day:%A}, {day.day} {day:%B} {day.year}"


def _date(scene: Scene) -> str:
    """A date as people write it."""
    day = _random_day(scene)
    suffix = "th" if 10 < day.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    forms = (
        f"{day.day} {day:%B} {day.year}",
        f"{day:%B} {day.day}, {day.year}",
        f"{day.isoformat()}",
        f"{day.day} {day:%B}",
        f"{day:%B} {day.day}",
        f"{day:%B} {day.day}{suffix}",
        f"{day:%B} {day.day}{suffix}, {day.year}",
        f"{day.day}{suffix} of {day:%B} {day.year}",
        f"{day.day} {day:%b} {day.year}",
        f"{day.day:02}.{day.month:02}.{day.year}",
    )
    return scene.pick(forms)


def _with_year(scene: Scene, day: str) -> str:
    """A date without a year would make an example depend on the day it is drawn."""
    return day if re.search(r"\d{4}", day) else f"{day} {scene.rng.randint(2024, 2032)}"


def _days_between(scene: Scene) -> Task:
    start, end = _date(scene), _date(scene)
    draw = scene.rng.random()
    if draw < 0.5:
        asked = _filled(wording(scene, spoken.BETWEEN), s=start, e=end)
        answers = ("it is {r} from {s} to {e}",)
        answer = scene.pick(answers).replace("{s}", start).replace("{e}", end)
        days = FUNCTIONS["days_between"](_with_year(scene, start), _with_year(scene, end))
        return _task("days_between", asked, {"start": start, "end": end}, answer, str(days))
    result = f"{scene.rng.randint(2, 700)} days"
    if draw < 0.85:
        end = scene.pick(tuple(spoken.FEASTS)) if scene.chance(0.4) else end
        asked = _filled(wording(scene, spoken.UNTIL), e=end)
        answer = scene.pick(("it is {r} until {e}",))
        arguments = {"start": "today", "end": end}
        return _task("days_between", asked, arguments, answer.replace("{e}", end), result)
    asked = _filled(wording(scene, spoken.SINCE), s=start)
    answer = scene.pick(("it is {r} since {s}",))
    arguments = {"start": start, "end": "today"}
    return _task("days_between", asked, arguments, answer.replace("{s}", start), result)


def _span(scene: Scene) -> tuple[str, int]:
    if scene.chance(0.2):
        weeks = scene.rng.randint(1, 6)
        word = spoken.WEEK_WORDS[weeks - 1]
        return (f"{weeks} weeks" if weeks > 1 and scene.chance(0.5) else word), 7 * weeks
    days = scene.rng.randint(2, 10 ** scene.pick((1, 2, 2, 3)))
    return f"{days} days", days


def _add_days(scene: Scene) -> Task:
    span, days = _span(scene)
    sign = 1 if scene.chance(0.65) else -1
    if scene.chance(0.5):
        start = _date(scene)
        wordings = spoken.LATER if sign > 0 else spoken.EARLIER
        asked = _filled(wording(scene, wordings), n=span, d=start)
        said = f"{span} {'after' if sign > 0 else 'before'} {start}"
        answer = scene.pick(("{said} is {r}", "the date is {r}"))
        arguments = {"date": start, "days": sign * days}
        result = str(FUNCTIONS["add_days"](_with_year(scene, start), sign * days))
        return _task("add_days", asked, arguments, answer.replace("{said}", said), result)
    asked = _filled(wording(scene, spoken.FROM_NOW if sign > 0 else spoken.AGO), n=span)
    answers = ("in {n} it is {r}",)
    if sign < 0:
        answers = ("{n} ago it was {r}",)
    answer = scene.pick(answers).replace("{n}", span)
    result = _written(_random_day(scene))
    return _task("add_days", asked, {"date": "today", "days": sign * days}, answer, result)


def _weekday(scene: Scene) -> Task:
    if scene.chance(0.3):
        clause, is_question, day = wording(scene, spoken.TODAY)
        verb = "was" if day == "yesterday" else "is"
        result = _written(_random_day(scene))
        answer = f"{day} {verb} {{r}}"
        return _task("weekday", (clause, is_question), {"date": day}, answer, result)
    day = scene.pick(tuple(spoken.FEASTS)) if scene.chance(0.12) else _date(scene)
    asked = _filled(wording(scene, spoken.WEEKDAY), d=day)
    if day in spoken.FEASTS:
        result = _written(date(scene.rng.randint(2024, 2032), *spoken.FEASTS[day]))
    else:
        result = str(FUNCTIONS["weekday"](_with_year(scene, day)))
    name = result.split(",")[0]
    answer = scene.pick(("{d} is a {w}",))
    answer = answer.replace("{d}", day).replace("{w}", name)
    return _task("weekday", asked, {"date": day}, answer, result, (name,))


def _random_number(scene: Scene) -> Task:
    low = scene.pick((0, 1, 1, 1, 10, scene.rng.randint(2, 500)))
    high = low + scene.rng.randint(2, 10 ** scene.pick((1, 2, 3)))
    arguments = {"minimum": low, "maximum": high}
    draw = scene.rng.random()
    answer = scene.pick(("the number is {r}",))
    if draw < 0.7:
        asked = _filled(wording(scene, spoken.RANGE), a=str(low), b=str(high))
    elif draw < 0.9:
        high = 6 if draw < 0.82 else scene.pick((4, 8, 10, 12, 20, 30, 100))
        wordings = spoken.DIE if high == 6 else spoken.SIDES
        asked = _filled(wording(scene, wordings), b=str(high))
        low, arguments = 1, {"minimum": 1, "maximum": high}
        answer = scene.pick(("the die shows {r}",))
    else:
        asked, arguments, low, high = wording(scene, spoken.ANY_NUMBER), {}, 1, 100
    return _task("random_number", asked, arguments, answer, str(scene.rng.randint(low, high)))


def _unit_pair(scene: Scene) -> tuple[str, str]:
    return _units_of(scene, _quantity(scene))


def _quantity(scene: Scene) -> int:
    return scene.rng.choices(range(len(spoken.UNITS)), spoken.UNIT_CHANCES)[0]


def _units_of(scene: Scene, quantity: int) -> tuple[str, str]:
    source, target = scene.rng.sample(spoken.UNITS[quantity].split(";"), 2)
    return _spelling(scene, source), _spelling(scene, target)


def _spelling(scene: Scene, unit: str) -> str:
    return scene.pick(unit.split("|"))


def _convert_units(scene: Scene) -> Task:
    if scene.chance(0.12):
        said, targets = scene.pick(spoken.ONE_UNITS)
        source, target = said.partition(" ")[2], scene.pick(targets)
        asked = _filled(wording(scene, spoken.ONE), u=said, w=target)
        arguments = {"value": 1, "from_unit": source, "to_unit": target}
        answer = scene.pick(("{u} is {r}",)).replace("{u}", said)
        return _task("convert_units", asked, arguments, answer)
    quantity = _quantity(scene)
    source, target = _units_of(scene, quantity)
    number = said = _number(scene).replace(",", "")
    if scene.chance(0.06):
        number, said = scene.pick(tuple(spoken.NUMBER_NAMES.items()))
    wordings = spoken.MEASURE[quantity] if scene.chance(0.3) else spoken.CONVERT
    asked = _filled(wording(scene, wordings), v=said, u=source, w=target)
    arguments = {"value": json.loads(number), "from_unit": source, "to_unit": target}
    answer = scene.pick(("{v} {u} is {r}",))
    answer = answer.replace("{v}", said).replace("{u}", source)
    return _task("convert_units", asked, arguments, answer)


def _text_statistics(scene: Scene) -> Task:
    sentences = []
    for _ in range(scene.pick((1, 1, 1, 2, 3))):
        phrase = free_text(scene)
        if scene.chance(0.2):
            phrase += scene.inner().fill(" [for|with|from] {name}")
        sentences.append(phrase)
    text = sentences[0]
    if len(sentences) > 1 or scene.chance(0.3):
        text = " ".join(capitalized(each) + "." for each in sentences)
    template, is_question, noun = wording(scene, spoken.COUNT)
    result = str(FUNCTIONS["text_statistics"](text))
    counted = next((count for count in result.split(", ") if noun and noun in count), result)
    answer = scene.pick(("the text has {c}",))
    asked = (quoted(scene, template).replace("{t}", text), is_question)
    answer = answer.replace("{c}", counted)
    return _task("text_statistics", asked, {"text": text}, answer, result, (counted,))


def _json_query(scene: Scene) -> Task:
    keys = [invented(scene.rng) if scene.chance(0.3) else scene.own(pools.LABELS) for _ in "ab"]
    value: Any = scene.pick((scene.rng.randint(1, 999), scene.inner().fill("[{name}|{city}]")))
    path, tree = keys[0], {keys[0]: value}
    if scene.chance(0.4):
        path, tree = f"{keys[1]}.{keys[0]}", {keys[1]: tree}
    elif scene.chance(0.5):
        tree = dict(scene.rng.sample([*tree.items(), (keys[1] + "s", scene.rng.randint(1, 9))], 2))
    text = json.dumps(tree, ensure_ascii=False)
    template, is_question = wording(scene, spoken.QUERY)
    asked = (template.replace("{p}", path).replace("{j}", text), is_question)
    answer = scene.pick(("{p} is {r}",)).replace("{p}", path)
    return _task("json_query", asked, {"text": text, "path": path}, answer)


def _read_file(scene: Scene) -> Task:
    file = scene.inner().fill("{file}")
    if scene.chance(0.3):
        file = f"{invented(scene.rng)}/{file}"
    asked = _filled(wording(scene, spoken.READ), f=file)
    if scene.chance(0.15):
        result = f"ValueError: '{file}' does not exist"
        answer = f"sorry, that did not work: '{file}' does not exist"
        return _task("read_file", asked, {"path": file}, answer, result)
    text = capitalized(free_text(scene)) + "."
    answer = scene.pick(("{f} says: {t}",))
    answer = answer.replace("{f}", file).replace("{t}", text.rstrip("."))
    return _task("read_file", asked, {"path": file}, answer, text, (text.rstrip("."),))


def _list_files(scene: Scene) -> Task:
    names = sorted({scene.inner().fill("{file}") for _ in range(scene.rng.randint(1, 4))})
    joined = listed(names)
    folder = invented(scene.rng) if scene.chance(0.5) else scene.own(pools.LABELS)
    if scene.chance(0.3):
        asked, arguments, said = wording(scene, spoken.LIST_HERE), {}, "the folder"
    else:
        asked, arguments = _filled(wording(scene, spoken.LIST), f=folder), {"folder": folder}
        said = f"the folder {folder}"
    answer = f"{said} holds {joined}"
    return _task("list_files", asked, arguments, answer, "\n".join(names), tuple(names))


_TASKS: dict[str, Callable[[Scene], Task]] = {
    "add_days": _add_days,
    "calculate": _calculate,
    "convert_units": _convert_units,
    "current_time": _current_time,
    "days_between": _days_between,
    "json_query": _json_query,
    "list_files": _list_files,
    "random_number": _random_number,
    "read_file": _read_file,
    "text_statistics": _text_statistics,
    "weekday": _weekday,
}
