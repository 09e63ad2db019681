"""`run --jsonl` from the outside, on the random checkpoint."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

GREEDY = ("--temperature", "0", "--max-new-tokens", "8")


@pytest.fixture
def batch(command: Command, tiny_folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """Runs a batch; returns the result and its answers."""

    def run(lines: list[Any], *arguments: str) -> Any:
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path = tmp_path / "in.jsonl"
        path.write_text("\n".join(texts))
        result = command("run", "-m", str(tiny_folder), "--jsonl", str(path), *GREEDY, *arguments)
        return result, [json.loads(line) for line in result.stdout.splitlines()]

    return run


def test_every_line_is_answered_in_order(
    batch: Callable[..., Any], command: Command, tiny_folder: Path
) -> None:
    result, answers = batch([{"prompt": "Hello"}, "", {"prompt": "Bye", "id": "b"}])
    assert result.exit_code == 0
    assert [answer["line"] for answer in answers] == [1, 3]
    assert answers[1]["id"] == "b"
    alone = command("run", "-m", str(tiny_folder), "--json", *GREEDY, "Bye")
    expected = json.loads(alone.stdout)
    assert answers[1]["text"] == expected["text"]
    assert answers[1].keys() - expected.keys() == {"line", "asked", "id", "notices"}
    assert answers[1]["notices"] == ["the reply was cut at max_new_tokens = 8"]
    assert answers[1]["usage"]["cached_tokens"] > 40


def test_lines_have_settings_of_their_own(batch: Callable[..., Any]) -> None:
    _, answers = batch(
        [
            {"prompt": "Hello", "max_new_tokens": 3},
            {"prompt": "Hello", "system": ""},
            {"prompt": "Hello", "profile": "rewrite"},
            {"prompt": "Hello"},
        ]
    )
    usage = [answer["usage"] for answer in answers]
    assert [each["new_tokens"] for each in usage] == [3, 8, 8, 8]
    prompts = [each["prompt_tokens"] for each in usage]
    assert prompts[1] < prompts[0] == prompts[3] < prompts[2]


def test_a_bad_line_does_not_stop_the_others(batch: Callable[..., Any]) -> None:
    result, answers = batch(
        [{"promt": "a"}, "{", {"prompt": " "}, {"prompt": "x" * 3000}, {"prompt": "Hello"}]
    )
    assert result.exit_code == 1
    errors = [answer["error"] for answer in answers[:4]]
    assert [error["exit_code"] for error in errors] == [2, 2, 2, 4]
    assert "line 1: there is no field 'promt'; did you mean 'prompt'?" in errors[0]["message"]
    assert answers[4]["text"]


def test_a_stopped_batch_is_gone_on_with(batch: Callable[..., Any], tmp_path: Path) -> None:
    lines = [{"prompt": "Hello"}, "{", {"prompt": "Bye"}]
    output = tmp_path / "out.jsonl"
    assert batch(lines, "--output", str(output))[0].exit_code == 1
    whole = output.read_text(encoding="utf-8").splitlines()
    output.write_text(whole[0] + "\n" + whole[1] + "\n" + whole[2][:20], encoding="utf-8")
    result, printed = batch(lines, "--output", str(output))
    assert (result.exit_code, printed) == (1, [])
    assert "going on after 2 of 3 lines" in result.stderr
    again = output.read_text(encoding="utf-8").splitlines()
    assert again[:2] == whole[:2]
    texts = [json.loads(lines[2])["text"] for lines in (whole, again)]
    assert texts[0] == texts[1]
    refused, _ = batch([{"prompt": "Other"}, *lines[1:]], "--output", str(output))
    assert refused.exit_code == 2
    assert "line 1 answers another prompt or other settings" in refused.stderr
    assert batch(lines, "--output", str(output), "--seed", "9")[0].exit_code == 2
    assert output.read_text(encoding="utf-8").splitlines() == again


def test_a_schema_holds_for_every_line(batch: Callable[..., Any]) -> None:
    schema = '{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}'
    arguments = ("--schema", schema, "--max-new-tokens", "40")
    result, answers = batch([{"prompt": "Hi"}, {"prompt": "Yes?"}], *arguments)
    assert result.exit_code == 0
    assert all(isinstance(json.loads(answer["text"])["a"], bool) for answer in answers)
    result, answers = batch([{"prompt": "Hi", "max_new_tokens": 2}], *arguments)
    assert (result.exit_code, answers[0]["error"]["exit_code"]) == (1, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--jsonl", "in.jsonl", "Hello"),
        ("run", "--jsonl", "in.jsonl", "--show-prompt"),
        ("run", "--output", "out.jsonl", "Hello"),
        ("run", "--jsonl", "absent.jsonl"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], command: Command) -> None:
    result = command(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_ctrl_c_writes_whole_lines_only(
    environment: dict[str, str], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "Hello"}\n' * 500)
    output = tmp_path / "out.jsonl"
    arguments = ["-m", str(tiny_folder), "--jsonl", "in.jsonl", "--output", str(output)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "smolchat", "run", *arguments, "--max-new-tokens", "40"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=tmp_path,
    )
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    while not (output.exists() and output.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    content = output.read_bytes()
    assert content.endswith(b"\n")
    assert 0 < len([json.loads(line) for line in content.splitlines()]) < 500


def test_lines_answered_at_the_same_time_are_those_of_each_alone(
    batch: Callable[..., Any], command: Command, tiny_folder: Path
) -> None:
    prompts = [f"Say {number}" for number in range(10)]
    result, answers = batch([{"prompt": prompt} for prompt in prompts])
    assert result.exit_code == 0
    for prompt, answer in zip(prompts, answers, strict=True):
        alone = command("run", "-m", str(tiny_folder), "--json", *GREEDY, prompt)
        assert answer["text"] == json.loads(alone.stdout)["text"]
    assert min(answer["usage"]["cached_tokens"] for answer in answers[1:]) > 40
