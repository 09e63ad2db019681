"""Prompts from JSON lines: what a line may say, and going on where a run stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smolchat.batch import Answers, Asked, error_object, read_lines
from smolchat.errors import ContextOverflow, UsageError

CONDITIONS = "tiny, greedy"


def asked(*lines: bytes) -> list[Asked]:
    return [Asked(number, line) for number, line in enumerate(lines, 1)]


def answer(line: Asked, **more: Any) -> dict[str, Any]:
    return {"line": line.number, "asked": line.digest(CONDITIONS), **more}


def test_lines_are_numbered_and_blank_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "a"}\r\n\n  \n{"prompt": "b"}')
    assert read_lines(path) == [Asked(1, b'{"prompt": "a"}'), Asked(4, b'{"prompt": "b"}')]
    with pytest.raises(UsageError, match="cannot read"):
        read_lines(tmp_path / "absent")


def test_a_line_may_override_settings() -> None:
    line = b'{"prompt": "Hi", "system": "S", "temperature": 0, "max_new_tokens": 5, "id": 7}'
    read = Asked(1, line).read()
    assert (read.prompt, read.id) == ("Hi", 7)
    assert read.settings() == {"system": "S", "temperature": 0, "max_new_tokens": 5}
    assert Asked(1, b'{"prompt": "Hi", "profile": "rewrite"}').read().settings() == {
        "profile": "rewrite"
    }


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "line 3 is not JSON"),
        (b"[" * 100_000, "line 3 is not JSON"),
        (b'{"prompt": "\xff"}', "line 3 is not UTF-8"),
        (b'"Hello"', "line 3: "),
        (b"{}", "line 3: prompt: field required"),
        (b'{"prompt": 5}', "line 3: prompt: input should be a valid string"),
        (b'{"prompt": "a", "top_p": 2}', "line 3: top_p: "),
        (b'{"promt": "a"}', "there is no field 'promt'; did you mean 'prompt'?"),
        (b'{"prompt": "a", "sytem": "b"}', "there is no field 'sytem'; did you mean 'system'?"),
    ],
)
def test_a_bad_line_is_named(line: bytes, problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        Asked(3, line).read()
    assert problem in refused.value.message


def test_an_error_is_an_object() -> None:
    assert error_object(ContextOverflow("too long", "Shorten it.")) == {
        "error": {"message": "too long", "hint": "Shorten it.", "exit_code": 4}
    }


def test_a_second_run_goes_on_and_cuts_away_what_is_half_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    first, second, third = asked(b"a", b"b", b"c")
    answers = Answers(path)
    answers.require_answers_to([first, second, third], CONDITIONS)
    answers.add(answer(first, text="é"))
    answers.add(answer(second))
    answers.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"line": 3, "as')
    answers = Answers(path)
    answers.require_answers_to([first, second, third], CONDITIONS)
    assert [each["line"] for each in answers.written] == [1, 2]
    answers.add(answer(third))
    answers.close()
    assert path.read_bytes().startswith(whole)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["line"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(
    ("lines", "conditions"),
    [((b"a", b"x"), CONDITIONS), ((b"a", b"b"), "other settings"), ((b"a",), CONDITIONS)],
)
def test_answers_to_something_else_are_not_gone_on_with(
    lines: tuple[bytes, ...], conditions: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    answers = Answers(path)
    for each in asked(b"a", b"b"):
        answers.add(answer(each))
    answers.close()
    before = path.read_bytes()
    answers = Answers(path)
    with pytest.raises(UsageError, match="answers another prompt or other settings"):
        answers.require_answers_to(asked(*lines), conditions)
    answers.close()
    assert path.read_bytes() == before


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear all,\nhello")
    with pytest.raises(UsageError, match=r"letter.txt: line 1 is no answer"):
        Answers(path)
    assert path.read_text() == "Dear all,\nhello"
    path.write_text("one line without an end")
    with pytest.raises(UsageError, match="no answer"):
        Answers(path)
    assert path.read_text() == "one line without an end"


def test_two_runs_do_not_write_the_same_file(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "out.jsonl")
    with pytest.raises(UsageError, match="another run is writing"):
        Answers(tmp_path / "out.jsonl")
    answers.close()
    Answers(tmp_path / "out.jsonl").close()


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        Answers(tmp_path)
