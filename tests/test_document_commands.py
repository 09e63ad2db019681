"""`rewrite` and `summarize` from the outside: files, parts, guards, differences, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Smolchat

from smolchat.generation import Sampling
from smolchat.loading import load_engine
from smolchat.profiles import load_profile
from smolchat.session import ChatSession

MAIL = "Pay 40 euros by May 3, and write to bob@example.org."
LONG = "\n\n".join(f"Paragraph {number} tells of nothing much. " * 4 for number in range(24))
FEW = ("--temperature", "0", "--max-new-tokens", "16")


@pytest.fixture
def run(command: Command, tiny_folder: Path) -> Callable[..., Any]:
    """Runs a command on the random checkpoint."""

    def run(name: str, *arguments: str, stdin: str = "") -> Any:
        return command(name, "-m", str(tiny_folder), *FEW, *arguments, stdin=stdin.encode())

    return run


def test_a_long_text_is_summarized_whole(run: Callable[..., Any]) -> None:
    result = run("summarize", "--json", stdin=LONG)
    report = json.loads(result.stdout)
    coverage = report["coverage"]
    assert coverage["parts"] > 1
    assert coverage["parts_done"] == coverage["parts"]
    assert coverage["source_tokens"] > 3000
    assert coverage["skipped_tokens"] == 0
    assert report["usage"]["prompt_tokens"] > coverage["source_tokens"]
    assert report["text"]
    assert result.exit_code == 0


def test_verbose_tells_the_coverage(run: Callable[..., Any]) -> None:
    result = run("summarize", "--verbose", stdin=LONG)
    assert "coverage 1.000 · " in result.stderr
    assert " parts done · 0 of " in result.stderr


def test_what_is_not_rewritten_whole_exits_with_1_and_counts(run: Callable[..., Any]) -> None:
    """The random checkpoint never ends by itself, so every reply is cut."""
    result = run("rewrite", "where is my mail")
    assert result.exit_code == 1
    assert result.stdout
    assert result.stderr.splitlines() == [
        "smolchat: the reply was cut at max_new_tokens = 16",
        "smolchat: the result is not of the whole text: 0 of 1 parts done, 16 of 16 tokens skipped",
    ]


def test_a_lossy_rewrite_is_printed_with_a_warning(run: Callable[..., Any]) -> None:
    result = run("rewrite", MAIL)
    assert result.stdout
    assert "smolchat: missing from the rewrite: 40, May 3, bob@example.org\n" in result.stderr
    report = json.loads(run("rewrite", "--json", MAIL).stdout)
    assert report["missing"] == ["40", "May 3", "bob@example.org"]
    assert report["coverage"]["parts"] == 1


def test_strict_makes_a_lossy_rewrite_fail(
    command: Command, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = ending_after(tiny_folder, MAIL, tmp_path / "ending")
    arguments = ("rewrite", "-m", str(folder), *FEW, MAIL)
    plain, strict = command(*arguments), command(*arguments, "--strict")
    assert (plain.exit_code, strict.exit_code) == (0, 1), plain.stderr
    assert plain.stdout == strict.stdout != ""
    assert plain.stderr == "smolchat: missing from the rewrite: 40, May 3, bob@example.org\n"
    assert command(*arguments, "--strict", "-q").stderr == ""


def ending_after(checkpoint: Path, text: str, folder: Path) -> Path:
    """The random checkpoint, made to stop where its rewrite of `text` has a few tokens."""
    engine = load_engine(checkpoint)
    session = ChatSession(
        engine.generator, engine.chat_format, engine.stop_ids, sampling=Sampling(temperature=0)
    )
    profile = load_profile("rewrite")
    session.system, session.max_new_tokens = profile.system_prompt, 16
    list(session.send(profile.user_text(text)))
    ids = session.transcript[-1].token_ids
    stop = next(ids[index] for index in range(6, 16) if ids[index] not in ids[:index])
    shutil.copytree(checkpoint, folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, stop]}))
    return folder


def test_each_file_has_a_result_of_its_own(run: Callable[..., Any], tmp_path: Path) -> None:
    paths = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for path in paths:
        path.write_text(f"the text called {path.stem}\n")
    names = [str(path) for path in paths]
    apart = [run("summarize", name).stdout for name in names]
    printed = run("summarize", "--each", *names).stdout
    assert printed == f"==> {names[0]} <==\n{apart[0]}\n\n==> {names[1]} <==\n{apart[1]}"
    lines = run("summarize", "--each", "--json", *names).stdout.splitlines()
    reports = [json.loads(line) for line in lines]
    assert [report["file"] for report in reports] == names
    assert [report["text"] for report in reports] == apart
    together = json.loads(run("summarize", "--json", *names).stdout)
    assert "file" not in together
    rewritten = run("rewrite", "--each", "--json", "-f", names[0], "-f", names[1]).stdout
    assert [json.loads(line)["file"] for line in rewritten.splitlines()] == names


def test_a_difference_is_plain_in_a_pipe(run: Callable[..., Any]) -> None:
    result = run("rewrite", "--diff", "where is my mail")
    assert result.stdout.startswith("[-where is my mail-]{+")
    report = json.loads(run("rewrite", "--diff", "--json", "where is my mail").stdout)
    assert report["changes"][0] == ["removed", "where is my mail"]
    assert report["changes"][1] == ["added", report["text"]]


def test_a_bar_shows_the_parts_on_a_terminal_only(
    environment: dict[str, str], tiny_folder: Path, tmp_path: Path, smolchat: Smolchat
) -> None:
    path = tmp_path / "long.txt"
    path.write_text(LONG)
    arguments = ["summarize", "-m", str(tiny_folder), *FEW, str(path)]
    shown = in_terminal(arguments, environment)
    assert "summarize" in shown
    assert re.search(r"[0-3]/3", shown)
    piped = smolchat(*arguments)
    assert piped.returncode == 0
    assert b"\x1b" not in piped.stdout + piped.stderr
    assert b"summarize" not in piped.stderr


def in_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """What the real program shows in a terminal that its output and errors share."""
    near, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "smolchat", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=far,
        stderr=far,
        env=environment,
    )
    os.close(far)
    shown = b""
    while True:
        try:
            piece = os.read(near, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    process.wait(60)
    os.close(near)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("name", "content", "command_named"),
    [
        ("report.pdf", b"%PDF-1.4 ...", "pdftotext report.pdf -"),
        ("page.html", b"<!doctype html><p>Hi", "pandoc -f html -t plain page.html"),
    ],
)
def test_other_formats_are_refused_with_the_command_that_converts_them(
    name: str, content: bytes, command_named: str, smolchat: Smolchat, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    for arguments in (("summarize", name), ("rewrite", "-f", name)):
        result = smolchat(*arguments)
        assert (result.returncode, result.stdout) == (2, b"")
        assert command_named in result.stderr.decode()


def test_the_prompts_of_all_parts_are_shown(run: Callable[..., Any]) -> None:
    result = run("summarize", "--show-prompt", "--json", stdin=LONG)
    shown = [json.loads(line)["prompt"] for line in result.stdout.splitlines()]
    assert len(shown) > 1
    assert all("Provide a concise, objective summary" in prompt for prompt in shown)
    assert sum(prompt.count("tells of nothing much") for prompt in shown) == 24 * 4
