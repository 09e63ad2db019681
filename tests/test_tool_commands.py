"""Tools on the command line: which are offered, what they are told, and who is asked."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from conftest import Command, Smolchat

FILE = '''
from smolchat import tool

@tool(effect="write")
def wipe() -> str:
    """Wipe the board."""
    print("noise")
    return "wiped"

@tool(effect="pure")
def ping(count: int = 1) -> str:
    """Answer.

    Args:
        count: How often
    """
    return "pong " * count
'''


@pytest.fixture
def tool_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_list_names_each_shipped_tool_with_its_effect(command: Command) -> None:
    lines = command("tools", "list").stdout.splitlines()
    assert any(line.split()[:2] == ["calculate", "pure"] for line in lines)
    assert any(line.split()[:2] == ["read_file", "read"] for line in lines)


def test_a_file_in_the_configuration_folder_is_always_there(
    command: Command, config_folder: Path
) -> None:
    (config_folder / "tools").mkdir()
    (config_folder / "tools" / "mine.py").write_text(FILE)
    assert "ping" in command("tools", "list").stdout


def test_the_current_folder_is_never_searched(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "mine.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    assert "ping" not in command("tools", "list").stdout


def test_show_prints_the_schema(command: Command, tool_file: Path) -> None:
    shown = json.loads(command("tools", "show", "ping", "--tool-file", str(tool_file)).stdout)
    assert shown["function"]["name"] == "ping"
    assert shown["function"]["parameters"]["properties"]["count"]["type"] == "integer"


def test_call_coerces_runs_and_prints_the_result(command: Command, tool_file: Path) -> None:
    mine = ("--tool-file", str(tool_file))
    assert command("tools", "call", "ping", "count=2", *mine).stdout == "pong pong \n"
    assert command("tools", "call", "ping", 'count="2"', *mine).stdout == "pong pong \n"
    assert command("tools", "call", "calculate", "expression=2+3").stdout == "5\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("show", "calculat"), 2, "did you mean 'calculate'?"),
        (("call", "calculate"), 2, "the argument expression is missing"),
        (("call", "calculate", "3"), 2, "not of the form key=value"),
        (("check", "/nowhere.py"), 2, "there is no such file"),
    ],
)
def test_a_mistake_is_told(
    command: Command, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    result = command("tools", *arguments)
    assert result.exit_code == exit_code
    assert said in result.output


def test_check_prints_schemas_and_every_problem(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        FILE + "\n@tool\ndef one(x):\n    '''One.'''\n@tool\ndef two(*x: int):\n    '''Two.'''\n"
    )
    result = command("tools", "check", str(path))
    assert result.exit_code == 2
    assert '"name": "ping"' in result.stdout
    assert "argument x has no type annotation" in result.stderr
    assert "the tool two" in result.stderr


def test_named_tools_stand_in_the_prompt_in_the_order_of_their_names(
    command: Command, tiny_folder: Path
) -> None:
    result = command(
        "run", "Hi", "-m", str(tiny_folder), "-T", "weekday", "-T", "calculate", "--show-prompt"
    )
    assert result.stdout.index('"calculate"') < result.stdout.index('"weekday"')
    assert '"read_file"' not in result.stdout


def test_all_means_every_pure_tool(command: Command, tiny_folder: Path) -> None:
    shown = command("run", "Hi", "-m", str(tiny_folder), "-T", "all", "--show-prompt").stdout
    assert '"calculate"' in shown
    assert '"read_file"' not in shown


def test_choosing_none_offers_nothing(command: Command, tiny_folder: Path) -> None:
    tools = ("-T", "all", "--tool-choice", "none")
    shown = command("run", "Hi", "-m", str(tiny_folder), *tools, "--show-prompt").stdout
    assert "<tools>" not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-T", "nothing"), "there is no tool 'nothing'"),
        (("-T", "weekday", "--tool-choice", "calculate"), "no such tool is offered"),
        (("-T", "weekday", "--schema", "{}"), "--schema and tools exclude each other"),
        (("--schema", "{"), "--schema is not JSON"),
        (("--schema", "/nowhere.json"), "cannot read /nowhere.json"),
        (("--tool-schemas", "/nowhere.json"), "cannot read /nowhere.json"),
        (("--approve", "some"), "--approve some"),
        (("--tool-choice", "calculate"), "no tools are offered"),
        (("--schema", ""), "--schema is empty"),
        (("--schema", '{"type": "text"}'), "its JSON schema is none at type"),
    ],
)
def test_options_that_make_no_sense_exit_with_2(
    command: Command, arguments: tuple[str, ...], said: str
) -> None:
    result = command("run", "Hi", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_call_beyond_the_allowed_effect_is_denied_without_a_terminal(
    smolchat: Smolchat, tiny_folder: Path, tool_file: Path
) -> None:
    wipe = ("--tool-file", str(tool_file), "--tool-choice", "wipe", "--max-rounds", "1", "--json")
    limits = ("--max-new-tokens", "60", "-m", str(tiny_folder))
    denied, allowed = (
        json.loads(smolchat("run", "Go", *wipe, *limits, "--approve", level).stdout)["tool_calls"]
        for level in ("read", "all")
    )
    assert [call["status"] for call in denied] == ["denied"] * len(denied) != []
    assert allowed[0]["status"] == "ok"
    assert allowed[0]["result"].startswith("wiped")
    assert set(allowed[0]) == {"name", "arguments", "changes", "status", "result", "seconds"}


def test_offered_schemas_give_a_list_of_calls(
    smolchat: Smolchat, tiny_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "functions.json"
    state = {"type": "string", "enum": ["on", "off"]}
    parameters = {"type": "object", "properties": {"state": state}, "required": ["state"]}
    path.write_text(json.dumps([{"name": "light", "description": "d", "parameters": parameters}]))
    result = smolchat(
        "run",
        "Light!",
        "--tool-schemas",
        str(path),
        "--tool-choice",
        "light",
        "--max-new-tokens",
        "600",
        "-m",
        str(tiny_folder),
    )
    calls = json.loads(result.stdout)
    assert {call["name"] for call in calls} == {"light"}
    assert all(call["arguments"]["state"] in ("on", "off") for call in calls)


def test_a_schema_is_described_in_the_prompt_and_satisfied(
    smolchat: Smolchat, tiny_folder: Path
) -> None:
    schema = '{"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}'
    arguments = ("run", "Well?", "--schema", schema, "-m", str(tiny_folder))
    result = smolchat(*arguments)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["yes"] in (True, False)
    assert smolchat(*arguments, "--max-new-tokens", "3").returncode == 3
    assert schema in smolchat(*arguments, "--show-prompt").stdout.decode()


Dialog = Callable[..., str]


@pytest.fixture
def dialog(
    tiny_folder: Path, tool_file: Path, environment: dict[str, str], tmp_path: Path
) -> Dialog:
    """Runs the program on a terminal and answers its questions; returns all that was shown."""

    def run(*answers: str) -> str:
        arguments = ["-m", "smolchat", "run", "Go", "--tool-file", str(tool_file)]
        arguments += ["--tool-choice", "wipe", "--max-rounds", "1", "--max-new-tokens", "60"]
        child = pexpect.spawn(
            sys.executable,
            [*arguments, "-m", str(tiny_folder)],
            env=environment | {"TERM": "dumb", "NO_COLOR": "1"},
            cwd=str(tmp_path),
            encoding="utf-8",
            timeout=60,
        )
        shown = ""
        for answer in answers:
            child.expect(r"\[n\]|arguments:")
            shown += child.before + child.after
            child.send(f"{answer}\r")
        child.expect(pexpect.EOF)
        return shown + child.before

    return run


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [(("y",), "← wiped"), (("",), "← denied"), (("a",), "← wiped"), (("e", ""), "← wiped")],
)
def test_the_terminal_asks_before_a_tool_that_writes(
    dialog: Dialog, answers: tuple[str, ...], outcome: str
) -> None:
    shown = dialog(*answers)
    assert "May wipe run?" in shown
    assert "wipe({})" in shown
    assert outcome in shown


def offered(folder: Path, *functions: object) -> str:
    path = folder / "functions.json"
    path.write_text(json.dumps(functions))
    return str(path)


STATE = {"type": "object", "properties": {"state": {"enum": ["on", "off"]}}, "required": ["state"]}
LIGHT = {"name": "light", "description": None, "parameters": STATE}


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ([{"type": "function", "function": None}], "entry 1: not a function schema"),
        ([{"type": "function", "function": "x"}], "entry 1: not a function schema"),
        ([{"name": " pad "}], "' pad ' is no name"),
        ([{"name": "f", "parameters": {"type": "string"}}], "the parameters of f are no object"),
        ([{"name": "f", "parameters": {"properties": []}}], "its JSON schema is none"),
        ([{"name": "f"}, {"name": "f", "parameters": None}], "entry 2: there are two functions"),
        (
            [{"name": "f", "parameters": {"properties": {"a": {"type": "string", "enum": [1]}}}}],
            "allows no value",
        ),
    ],
)
@pytest.mark.parametrize("free", [(), ("--free",)])
def test_functions_that_cannot_be_offered_exit_with_2(
    command: Command, tmp_path: Path, functions: list[object], said: str, free: tuple[str, ...]
) -> None:
    result = command("run", "Hi", "--tool-schemas", offered(tmp_path, *functions), *free)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_calls_that_are_cut_or_missing_exit_with_3_and_print_nothing(
    smolchat: Smolchat, tiny_folder: Path, tmp_path: Path
) -> None:
    functions = offered(tmp_path, LIGHT)
    run = ("run", "Light!", "--tool-schemas", functions, "-m", str(tiny_folder), "-q")
    for choice, limit in (("light", "12"), ("required", "3")):
        cut = smolchat(*run, "--tool-choice", choice, "--max-new-tokens", limit)
        assert (cut.returncode, cut.stdout) == (3, b"")
        assert b"Allow more tokens" in cut.stderr
    free = smolchat(*run, "--tool-choice", "light", "--free", "--max-new-tokens", "20")
    assert (free.returncode, free.stdout) == (3, b"")
    assert b"makes no call" in free.stderr


def test_calls_are_printed_with_the_rest_of_the_outcome_as_json(
    smolchat: Smolchat, tiny_folder: Path, tmp_path: Path
) -> None:
    run = ("run", "Light!", "--tool-schemas", offered(tmp_path, LIGHT), "-m", str(tiny_folder))
    told = json.loads(smolchat(*run, "--tool-choice", "light", "--json").stdout)
    assert told["finish_reason"] == "stop"
    assert [call["name"] for call in told["tool_calls"]] == ["light"] * len(told["tool_calls"])
    assert told["tool_calls"][0]["changes"] == []


def test_a_schema_is_read_once_for_it_may_be_a_pipe(
    smolchat: Smolchat, tiny_folder: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "schema"
    os.mkfifo(pipe)
    schema = '{"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}'
    writer = threading.Thread(target=pipe.write_text, args=(schema,), daemon=True)
    writer.start()
    result = smolchat("run", "Well?", "--schema", str(pipe), "-m", str(tiny_folder))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["yes"] in (True, False)


def test_an_answer_that_no_grammar_can_hold_to_its_schema_exits_with_3(
    smolchat: Smolchat, tiny_folder: Path
) -> None:
    schema = '{"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": true}'
    result = smolchat("run", "Well?", "--schema", schema, "-m", str(tiny_folder))
    assert result.returncode == 3
    assert b"does not satisfy the schema" in result.stderr


@pytest.mark.parametrize(
    ("assignment", "characters"),
    [
        *(
            ('text={"a": 1}', 8),
            ("text=1.10", 4),
            ("text=1e5", 3),
            ("text=null", 4),
            ("text=NaN", 3),
        ),
        *(('text="ab"', 2), ("text=[1]", 3), ("text=" + "[" * 5000, 5000), ("text=a=b", 3)),
    ],
    ids=lambda each: str(each)[:12],
)
def test_call_takes_a_text_as_it_is(command: Command, assignment: str, characters: int) -> None:
    result = command("tools", "call", "text_statistics", assignment)
    assert f"{characters} character" in result.stdout, result


def test_call_takes_every_argument_once(command: Command) -> None:
    result = command("tools", "call", "text_statistics", "text=a", "text=b")
    assert result.exit_code == 2
    assert "text is given twice" in result.stderr


def test_a_folder_of_tool_files_is_offered_whole(
    command: Command, tiny_folder: Path, tool_file: Path
) -> None:
    shown = command(
        *("run", "Hi", "-m", str(tiny_folder), "--show-prompt"),
        *("--tool-file", str(tool_file.parent)),
    ).stdout
    assert '"name": "wipe"' in shown


def test_two_tools_of_one_name_in_the_files_given_are_an_error(
    command: Command, tool_file: Path
) -> None:
    other = tool_file.with_name("other.py")
    other.write_text(FILE)
    files = ("--tool-file", str(tool_file), "--tool-file", str(other))
    result = command("run", "Hi", *files)
    assert result.exit_code == 2
    assert "two tools are named" in result.stderr
