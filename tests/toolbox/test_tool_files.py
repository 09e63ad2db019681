"""Tool files: what is found in them, and what is said of files that cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from smolchat.errors import ToolLoadError
from smolchat.messages import ToolCall
from smolchat.toolbox import Toolbox, check_tools, load_tools, loading

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write_file


def test_marked_functions_are_tools_and_the_rest_is_noted(write: Write) -> None:
    path = write(
        "marked.py",
        '''
        from os.path import join
        from smolchat import tool

        def helper(a):
            """Not a tool."""

        @tool(effect="pure", timeout_seconds=3)
        def double(n: int) -> int:
            """Double a number.

            Args:
                n: the number
            """
            return 2 * n

        @tool
        def anything(text: str) -> str:
            """Do anything."""
            return text
        ''',
    )
    (found,) = check_tools(path)
    assert [(tool.name, tool.effect, tool.timeout_seconds) for tool in found.tools] == [
        ("double", "pure", 3.0),
        ("anything", "write", 30.0),
    ]
    assert found.tools[0].path == path
    assert found.problems == []
    assert found.notes == ["helper is not offered: it is not marked with @tool"]


def test_without_a_mark_documented_functions_are_tools_that_may_write(write: Write) -> None:
    path = write(
        "bare.py",
        '''
        def double(n: int) -> int:
            """Double a number."""
            return 2 * n

        def undocumented(n): ...

        def _private(n):
            """Not a tool."""
        ''',
    )
    (tool,) = load_tools(path)
    assert (tool.name, tool.effect) == ("double", "write")


def test_every_problem_of_a_file_is_told_and_the_good_tools_stay(write: Write) -> None:
    path = write(
        "half.py",
        '''
        from smolchat import tool

        @tool
        def good(n: int) -> int:
            """Good."""

        @tool
        def bad(
            n,
        ) -> int:
            """Bad."""

        @tool
        def worse(*words: str) -> int:
            """Worse."""
        ''',
    )
    (found,) = check_tools(path)
    assert [tool.name for tool in found.tools] == ["good"]
    assert [problem.message for problem in found.problems] == [
        f"{path}:10: the tool bad: argument n has no type annotation",
        f"{path}:15: the tool worse: argument words collects further values",
    ]
    assert found.problems[0].hint == "Say what it takes, e.g. n: str."
    with pytest.raises(ToolLoadError, match="the tool bad"):
        load_tools(path)


def test_every_argument_that_cannot_be_offered_is_told(write: Write) -> None:
    path = write(
        "many.py",
        '''
        import inspect
        from smolchat import tool

        @tool
        def many(a, b: "Unknown", c: complex, d: int, *rest) -> None:
            """Does."""

        @tool
        def forged(n: int) -> None:
            """Does."""

        forged.__signature__ = inspect.Signature(
            [inspect.Parameter("m", inspect.Parameter.KEYWORD_ONLY, annotation=int)]
        )

        @tool
        def nameless(n: int) -> None:
            """Does."""

        nameless.__signature__ = "n"
        ''',
    )
    (found,) = check_tools(path)
    assert found.tools == []
    told = [problem.message.partition(": the tool ")[2] for problem in found.problems]
    assert told == [
        "many: argument a has no type annotation",
        "many: the annotation of argument b cannot be read (name 'Unknown' is not defined)",
        "many: argument c: the type complex cannot be written in JSON",
        "many: argument rest collects further values",
        "forged: the annotation of argument m cannot be read ('m')",
        "nameless: Python does not tell its arguments",
    ]


BROKEN = {
    "syntax": ("def f(:\n", ":1: "),
    "raises": ("x = 1\nx / 0\n", ":2: the file could not be run (ZeroDivisionError"),
    "exits": ("raise SystemExit(3)\n", "could not be run (SystemExit: 3)"),
    "dies": ("import os\nos._exit(3)\n", "its process ended with status 3"),
    "crashes": ("import ctypes\nctypes.string_at(0)\n", "was killed by signal 11"),
    "imports": ("import no_such_module\n", "No module named 'no_such_module'"),
    "empty": ("x = 1\n", "no tool in this file"),
    "wrong_mark": (
        "from smolchat import tool\n@tool(effect='Pure')\ndef f(): ...\n",
        "the effect 'Pure'",
    ),
    "wrong_time": (
        "from smolchat import tool\n@tool(timeout_seconds=0)\ndef f(): ...\n",
        "timeout_seconds=0",
    ),
    "forges": (
        """
import os
for reply in (b'{"id": 1, "tools": [[{}, 1, 2]]}', b'{"id": 1, "problems": 3}'):
    for fd in range(3, 40):
        try: os.write(fd, reply + b"\\n")
        except OSError: pass
""",
        "could not be run",
    ),
    "null": ("\0", "null bytes"),
}


@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_one_clear_error(write: Write, text: str, expected: str) -> None:
    path = write("broken.py", text)
    good = write("good.py", 'def f(a: int) -> int:\n    """F."""\n')
    broken, fine = check_tools(path, good)
    (problem,) = broken.problems
    assert str(path) in problem.message
    assert expected in problem.message
    assert problem.hint
    assert "\n" not in problem.message
    assert [tool.name for tool in fine.tools] == ["f"]


def test_a_file_that_never_ends_is_stopped(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LOAD_SECONDS", 0.5)
    with pytest.raises(ToolLoadError, match="took longer"):
        load_tools(write("endless.py", "while True: pass\n"))


def test_missing_files_and_other_files_are_errors(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ToolLoadError, match="no such file"):
        load_tools(tmp_path / "none.py")
    with pytest.raises(ToolLoadError, match=r"must end in \.py"):
        load_tools(write("tools.txt", "x = 1"))


def test_a_folder_gives_the_tools_of_all_its_files(tmp_path: Path, write: Write) -> None:
    for name in ("b", "a", "_c"):
        write(f"{name}.py", f'def tool_{name}(n: int) -> int:\n    """T."""\n')
    assert [tool.name for tool in load_tools(tmp_path)] == ["tool_a", "tool_b"]


def test_a_file_can_import_the_files_beside_it_but_not_shadow_modules(write: Write) -> None:
    write("beside.py", "NUMBER = 7\n")
    write("json.py", "raise RuntimeError('shadowed')\n")
    path = write(
        "main.py",
        '''
        import json
        from beside import NUMBER

        def number() -> int:
            """Tell the number."""
            return json.loads(str(NUMBER))
        ''',
    )
    with Toolbox(load_tools(path), approve="all") as toolbox:
        assert toolbox.run(ToolCall("1", "number", {})).content == "7"


def test_loading_runs_nothing_in_this_process_and_prints_nothing(
    write: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(
        "loud.py",
        '''
        import os, sys
        print("loud")
        os.system("echo louder")
        os.environ["LOUD"] = "1"
        sys.modules["loud_module"] = sys

        def f(a: int) -> int:
            """F."""
        ''',
    )
    (tool,) = load_tools(path)
    assert tool.function is None
    assert "LOUD" not in os.environ
    assert "loud_module" not in sys.modules
    assert capfd.readouterr() == ("", "")


def test_the_current_folder_is_no_source_of_modules(write: Write, tmp_path: Path) -> None:
    write("wave.py", "raise RuntimeError('from the current folder')\n")
    (tmp_path / "tools").mkdir()
    path = write("tools/waves.py", 'import wave\ndef f(a: int) -> int:\n    """F."""\n')
    script = f"from smolchat.toolbox import load_tools; print(load_tools({str(path)!r})[0].name)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "f\n"


def test_the_mark_is_cheap_to_import() -> None:
    script = (
        "import sys; from smolchat import tool; print(*(set(sys.modules) & "
        "{'subprocess', 'multiprocessing', 'selectors', 'json', 'asyncio', 'signal',"
        " 'pydantic', 'torch', 'transformers', 'rich', 'typer'}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {ROOT!r}; {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


ROOT = [str(Path(__file__).parents[2])]


def test_what_is_marked_and_cannot_be_offered_is_told(write: Write) -> None:
    write("neighbour.py", 'from smolchat import tool\n@tool\ndef far() -> str:\n    "Far."\n')
    path = write(
        "marked.py",
        """
        import functools
        from smolchat import tool
        from neighbour import far

        @tool
        @functools.lru_cache
        def kept(n: int) -> int:
            "Keep."
            return n

        class Odd:
            def __getattr__(self, name):
                raise RuntimeError(name)
            def __call__(self):
                pass

        odd = Odd()

        @tool
        def near() -> str:
            "Near."
        """,
    )
    (found,) = check_tools(path)
    assert [tool.name for tool in found.tools] == ["near"]
    assert [problem.message for problem in found.problems] == [
        f"{path}: kept is marked with @tool and is no plain function"
    ]
    assert found.notes == ["far is not offered: it is a tool of neighbour"]


def test_settings_without_a_name_say_how_to_write_them(write: Write) -> None:
    path = write("named.py", 'from smolchat import tool\n@tool("pure")\ndef f(): pass\n')
    (problem,) = check_tools(path)[0].problems
    assert "@tool got 'pure' in the place of a function" in problem.message
