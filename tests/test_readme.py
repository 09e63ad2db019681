"""The README says what the program does: commands, files and the command that tests it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from conftest import REPOSITORY, SHARED, Command

from smolchat.cli import app

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
MODULES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (REPOSITORY / "smolchat").rglob("*.py")
    if path.name != "__init__.py"
)


def between(start: str, end: str) -> str:
    match = re.search(rf"{re.escape(start)}\n(.*?)\n{re.escape(end)}", README, re.DOTALL)
    assert match, f"{start} is missing"
    return match[1]


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return {name: entry for name, entry in group.commands.items() if not entry.hidden}


def tree() -> list[str]:
    """The paths of the file tree, folders with a slash at their end; every file has a clause."""
    lines = between("<!-- tree -->\n```", "```\n<!-- /tree -->").splitlines()
    paths: list[str] = []
    folders: dict[int, str] = {}
    for line in lines:
        match = re.fullmatch(r"( *)(\S+/|\S+(?= {2,}\S))(?: {2,}\S.*)?", line)
        assert match, f"no path with a clause: {line!r}"
        depth = len(match[1])
        folders = {other: name for other, name in folders.items() if other < depth}
        paths.append("".join(folders.values()) + match[2])
        if match[2].endswith("/"):
            folders[depth] = match[2]
    return paths


def test_the_command_table_is_that_of_the_program() -> None:
    rows = re.findall(
        r"^\| `smolchat (\w+)[^`]*` \| (.+) \|$",
        between("<!-- commands -->", "<!-- /commands -->"),
        re.MULTILINE,
    )
    assert rows == [(name, entry.help) for name, entry in commands().items()]


def test_help_shows_every_command_with_its_whole_text(command: Command) -> None:
    shown = command("--help", COLUMNS="80").stdout
    for name, entry in commands().items():
        assert re.search(rf"^  {name} +{re.escape(entry.help)}$", shown, re.MULTILINE), name


def test_every_path_of_the_file_tree_exists() -> None:
    for path in tree():
        place = REPOSITORY / path
        assert place.is_dir() if path.endswith("/") else place.is_file(), path


def test_every_module_is_in_the_file_tree() -> None:
    assert sorted(path for path in tree() if re.match(r"smolchat/.*\.py$", path)) == MODULES


def test_every_folder_is_in_the_file_tree() -> None:
    listed = {path.split("/")[0] for path in tree()}
    ignored = (REPOSITORY / ".gitignore").read_text().split()
    for folder in REPOSITORY.iterdir():
        is_shown = folder.is_dir() and not folder.name.startswith(".")
        if is_shown and f"{folder.name}/" not in ignored:
            assert folder.name in listed


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    commands = re.findall(r"^(make \w+)", between("## Start\n\n```sh", "```"), re.MULTILINE)
    assert commands == ["make demo", "make test"]
    ci = (REPOSITORY / ".ci" / "run").read_text().splitlines()
    assert ci[-2:] == ["rm -rf .venv", "make test"]
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in ("demo", "test"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def examples() -> list[list[str]]:
    """What follows `smolchat` in the shell blocks."""
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE))
    words = [shlex.split(line, comments=True) for line in lines.splitlines()]
    return [line[line.index("smolchat") + 1 :] for line in words if "smolchat" in line]


def test_the_examples_are_understood() -> None:
    assert len(examples()) > 5
    for example in filter(None, examples()):
        name, *arguments = ["chat", *example] if example[0].startswith("-") else example
        commands()[name].make_context(name, arguments)


@pytest.mark.parametrize("path", re.findall(r"\]\((?!https?:)([^)#]+)", README))
def test_every_link_leads_somewhere(path: str) -> None:
    assert (REPOSITORY / path).exists()


@pytest.mark.skipif(not (SHARED / "model_card.md").exists(), reason="the model card is not here")
def test_the_limits_are_those_of_the_model_card() -> None:
    card = (SHARED / "model_card.md").read_text(encoding="utf-8")
    stated = "factually accurate, logically consistent, or free from biases"
    assert stated in card
    assert stated in README
    assert "in English" in card
    assert "English" in README


def test_the_library_example_runs(environment: dict[str, str], tmp_path: Path) -> None:
    example = re.search(r"## In Python\n\n```python\n(.*?)```", README, re.DOTALL)
    assert example
    path = tmp_path / "example.py"
    path.write_text(example[1])
    done = subprocess.run(
        [sys.executable, str(path)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if "compiling the kernels" not in line]
    assert (done.returncode, told) == (0, [])
    assert done.stdout
