"""Who may import whom, held as a table; and what a command may load before it has to."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "smolchat"
MODULES = sorted(PACKAGE.rglob("*.py"))
module_names = pytest.mark.parametrize(
    "path", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES]
)

FRAMEWORKS = "torch transformers numba llvmlite llguidance"
SCREEN = "rich typer prompt_toolkit"


@dataclass(frozen=True)
class Row:
    """What some parts of the package must not import; a part is a module or a folder of it."""

    parts: str
    never: str = ""
    """At any level, also for type checking."""
    late: str = ""
    """Inside a function only, so that importing the part stays quick."""
    only: str = ""
    """If given, nothing but these and the standard library."""


TABLE = [
    Row("messages generation errors", only="messages generation errors"),
    Row("documents fidelity difference", only="errors"),
    Row("window", only="messages"),
    Row(
        "writing",
        only="documents fidelity messages generation errors session chatml",
    ),
    Row("engine", never=f"{SCREEN} session chatml toolbox store profiles terminal"),
    Row("session", never=f"{FRAMEWORKS} {SCREEN} sqlite3 engine store terminal"),
    Row(
        "chatml reply grammar_text",
        never=f"{FRAMEWORKS} {SCREEN} toolbox store profiles catalog hub",
    ),
    Row("toolbox", never=f"{FRAMEWORKS} {SCREEN} chatml store profiles catalog hub"),
    Row("store", never=f"{FRAMEWORKS} {SCREEN} chatml toolbox profiles catalog hub"),
    Row("profiles", never=f"{FRAMEWORKS} {SCREEN} chatml toolbox store catalog hub"),
    Row("catalog hub", never=f"{FRAMEWORKS} {SCREEN} chatml toolbox store profiles"),
    Row("terminal", never=f"{FRAMEWORKS} typer engine store"),
    Row(
        "tool_commands",
        never=f"{FRAMEWORKS} rich prompt_toolkit engine session store",
        late="terminal",
    ),
    Row(
        "cli assembly document_commands batch_command bench_command",
        never=FRAMEWORKS,
        late="engine rich prompt_toolkit terminal session store",
    ),
    Row(
        "history_commands",
        never=f"{FRAMEWORKS} rich prompt_toolkit engine session chatml toolbox",
        late="store terminal",
    ),
    Row("replay", never=f"{FRAMEWORKS} {SCREEN} engine terminal"),
    Row("export", never=f"{FRAMEWORKS} {SCREEN} engine session chatml toolbox terminal"),
    Row("options", never=f"{FRAMEWORKS} rich prompt_toolkit engine session store terminal"),
    Row(
        "settings inputs outcome paths batch json_schema",
        never=f"{FRAMEWORKS} {SCREEN} engine session chatml toolbox store terminal",
    ),
    Row("loading", never=f"{FRAMEWORKS} {SCREEN} session toolbox store terminal", late="engine"),
    Row("chat", never=f"{FRAMEWORKS} {SCREEN} engine terminal"),
    Row("doctor bench chart", never=f"{SCREEN} session terminal", late=f"{FRAMEWORKS} engine"),
    Row("__init__ __main__", never=f"{FRAMEWORKS} {SCREEN} engine store terminal"),
]

ONLY_IN = {
    "torch": "engine",
    "transformers": "engine",
    "numba": "engine",
    "llvmlite": "engine",
    "llguidance": "engine",
    "rich": "terminal",
    "prompt_toolkit": "terminal",
    "typer": "cli options history_commands tool_commands document_commands bench_command",
    "sqlite3": "store",
    "jsonschema": "json_schema",
    "jinja2": "",
    "pickle": "",
}
"""Packages that are at home in few parts, or nowhere."""


@dataclass(frozen=True)
class Import:
    name: str
    """The package, or for a module of smolchat its part."""
    is_late: bool
    """Not run when the importing module is imported."""


def imports_of(source: str) -> list[Import]:
    return [
        Import(name, is_late)
        for node, is_late in statements(ast.parse(source), is_late=False)
        for name in imported_names(node)
    ]


def statements(node: ast.AST, is_late: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        late = is_late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            late = True
        yield child, late
        yield from statements(child, late)


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [part_of(alias.name) for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    assert node.level == 0, "imports are absolute"
    if node.module == "smolchat":
        return [part_of(f"smolchat.{alias.name}") for alias in node.names]
    return [part_of(node.module or "")]


def part_of(dotted: str) -> str:
    package, _, rest = dotted.partition(".")
    if package != "smolchat":
        return package
    part = rest.partition(".")[0]
    is_module = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()
    return part if part and is_module else "__init__"


def owner(path: Path) -> str:
    """The part that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def row_of(part: str) -> Row:
    rows = [row for row in TABLE if part in row.parts.split()]
    assert len(rows) == 1, f"give {part} one row of the table"
    return rows[0]


def test_imports_are_read_at_every_level() -> None:
    source = """
import torch.nn
from smolchat.engine import engine
from smolchat import catalog, __version__
if TYPE_CHECKING:
    from smolchat.session import ChatSession
class A:
    import rich
    def f(self):
        try:
            import typer, numba
        except ImportError:
            from prompt_toolkit.keys import Keys
"""
    assert imports_of(source) == [
        Import("torch", False),
        Import("engine", False),
        Import("catalog", False),
        Import("__init__", False),
        Import("session", True),
        Import("rich", False),
        Import("typer", True),
        Import("numba", True),
        Import("prompt_toolkit", True),
    ]


@module_names
def test_nobody_imports_what_the_table_forbids(path: Path) -> None:
    row = row_of(owner(path))
    found = imports_of(path.read_text(encoding="utf-8"))
    names = {entry.name for entry in found}
    assert not names & set(row.never.split())
    assert not row.only or names <= {*row.only.split(), *sys.stdlib_module_names}
    assert not {entry.name for entry in found if not entry.is_late} & set(row.late.split())


@module_names
def test_packages_stay_in_the_parts_that_they_belong_to(path: Path) -> None:
    names = {entry.name for entry in imports_of(path.read_text(encoding="utf-8"))}
    strays = {name for name in names & set(ONLY_IN) if owner(path) not in ONLY_IN[name].split()}
    assert not strays


@pytest.mark.parametrize("name", ["os.system", "eval", "exec"])
def test_no_module_runs_text_as_code_outside_the_toolbox(name: str) -> None:
    for path in MODULES:
        if owner(path) == "toolbox":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert name not in called, path


# Names and docstrings


@module_names
def test_every_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert docstring[-1] in ".:`"


EMPTY_MODULE_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "core", "misc"}
EMPTY_WORDS = {"manager", "handler", "helper", "util", "utils", "impl", "info", "misc"}
EMPTY_CLASS_WORDS = EMPTY_WORDS | {"base", "data"}
EMPTY_VERBS = {"process", "do"}


def words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def empty_names(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and EMPTY_CLASS_WORDS & set(words(node.name)):
            found.append(node.name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            EMPTY_WORDS & set(words(node.name)) or words(node.name)[:1][0] in EMPTY_VERBS
        ):
            found.append(node.name)
    return found


def test_empty_names_are_found() -> None:
    source = (
        "class ChatManager: pass\nclass ToolData: pass\ndef process_line(): pass\ndef done(): pass"
    )
    assert empty_names(source) == ["ChatManager", "ToolData", "process_line"]


@module_names
def test_names_say_something(path: Path) -> None:
    assert not EMPTY_MODULE_NAMES & set(path.relative_to(PACKAGE).with_suffix("").parts)
    assert empty_names(path.read_text(encoding="utf-8")) == []


# What is loaded when

REPORT = """
import sys
from smolchat.cli import main

names = sys.argv.pop(1).split()
try:
    if len(sys.argv) > 1:
        main()
finally:
    print(*[name for name in names if name in sys.modules], file=sys.stderr, end="")
"""


def loaded_by(arguments: list[str], names: str, environment: dict[str, str]) -> str:
    """Which of `names` a fresh interpreter has loaded after a command; without one, by import."""
    ended = subprocess.run(
        [sys.executable, "-c", REPORT, names, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr.splitlines()[-1] if ended.stderr else ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["run", "--help"],
        ["--version"],
        ["profiles", "list"],
        ["models"],
        ["history", "list"],
    ],
)
def test_the_engine_is_not_loaded_by(arguments: list[str], environment: dict[str, str]) -> None:
    names = f"{FRAMEWORKS} tokenizers numpy smolchat.engine smolchat.session"
    assert loaded_by(arguments, names, environment) == ""


def test_what_is_loaded_is_noticed(environment: dict[str, str]) -> None:
    assert loaded_by(["doctor"], "torch transformers yaml", environment) == "yaml"


def test_showing_a_prompt_loads_the_tokenizer_only(
    environment: dict[str, str], tiny_folder: Path
) -> None:
    arguments = ["run", "-q", "-m", str(tiny_folder), "--show-prompt", "Hello"]
    loaded = loaded_by(arguments, f"{FRAMEWORKS} tokenizers", environment)
    assert loaded == "tokenizers"


def test_a_reply_in_a_pipe_waits_for_little(environment: dict[str, str], tiny_folder: Path) -> None:
    arguments = ["run", "-q", "-m", str(tiny_folder), "--max-new-tokens", "2", "Hello"]
    loaded = loaded_by(arguments, f"{FRAMEWORKS} rich prompt_toolkit numpy", environment)
    assert loaded == "llvmlite numpy"


def test_importing_creates_no_files(environment: dict[str, str], home: Path) -> None:
    dotted = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in MODULES
        if owner(path) not in {"engine", "__main__"}
    ]
    subprocess.run(
        [sys.executable, "-c", "".join(f"import {name}\n" for name in dotted)],
        env=environment,
        timeout=60,
        check=True,
    )
    assert not home.exists()
