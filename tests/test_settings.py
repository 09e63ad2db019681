"""Settings: which source wins, what is reported as the source, and how bad values are refused."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

from smolchat.errors import ProfileError, SmolchatError, UsageError
from smolchat.generation import Sampling
from smolchat.settings import DEFAULTS, SettingFields, Settings, parse_assignment, resolve

SOURCES = ["command line", "environment", "profile mine", "config.yaml", "default"]
"""The strongest first."""

VALUES = {
    "temperature": ["0.1", "0.3", "0.4", "0.5"],
    "max_new_tokens": ["11", "22", "33", "44"],
    "system": ["Sing.", "Whistle.", "Hum.", "Clap."],
    "model": ["tiny", "135m", "360m", "1.7b"],
}
"""Settings that every source can decide, with a value for each source but the default."""


def settle(folder: Path, setting: str, sources: tuple[str, ...]) -> Settings:
    """The settings when exactly `sources` say something about `setting`."""
    said = dict(zip(SOURCES, VALUES[setting], strict=False))
    given = {source: said[source] for source in sources if source in said}
    profile = "system_prompt" if setting == "system" else setting
    if setting == "temperature":
        profile = "sampling:\n  temperature"
    write(folder, "profiles/mine.yaml", "name: mine\n", profile, given.get("profile mine"))
    write(folder, "config.yaml", "profile: mine\n", setting, given.get("config.yaml"))
    named = {setting: given["command line"]} if "command line" in given else {}
    environment = {}
    if "environment" in given:
        environment[f"SMOLCHAT_{setting.upper()}"] = given["environment"]
    return resolve(named, environment=environment)


def write(folder: Path, name: str, start: str, key: str, value: str | None) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(start if value is None else f"{start}{key}: {value}\n")


@pytest.mark.parametrize("setting", VALUES)
@pytest.mark.parametrize(("stronger", "weaker"), list(itertools.combinations(SOURCES, 2)))
def test_the_stronger_source_wins(
    stronger: str, weaker: str, setting: str, config_folder: Path
) -> None:
    decided = settle(config_folder, setting, (stronger, weaker)).table[setting]
    value = VALUES[setting][SOURCES.index(stronger)]
    assert decided.value == type(DEFAULTS[setting] or "")(value)
    assert decided.source.endswith(stronger)


def test_without_any_source_the_default_holds(config_folder: Path) -> None:
    settings = resolve({}, environment={})
    assert {name: setting.value for name, setting in settings.table.items()} == DEFAULTS
    assert {setting.source for setting in settings.table.values()} == {"default"}
    assert settings.sampling() == Sampling()
    assert DEFAULTS.keys() == SettingFields.model_fields.keys()


@pytest.mark.parametrize(
    ("said", "implied", "variable", "configured", "name"),
    [
        ("summarize", "rewrite", "chat", "chat", "summarize"),
        (None, "rewrite", "chat", "summarize", "rewrite"),
        (None, None, "rewrite", "summarize", "rewrite"),
        (None, None, None, "rewrite", "rewrite"),
        (None, None, None, None, "chat"),
    ],
)
def test_the_profile_is_the_options_then_the_commands_then_as_any_setting(
    said: str | None,
    implied: str | None,
    variable: str | None,
    configured: str | None,
    name: str,
    config_folder: Path,
) -> None:
    if configured:
        write(config_folder, "config.yaml", "", "profile", configured)
    settings = resolve(
        {"profile": said} if said else {},
        profile=implied,
        environment={"SMOLCHAT_PROFILE": variable} if variable else {},
    )
    assert (settings.profile.name, settings["profile"]) == (name, name)


def test_an_empty_variable_says_nothing(config_folder: Path) -> None:
    assert resolve({}, environment={"SMOLCHAT_SEED": ""}).table["seed"].source == "default"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("0", False)])
def test_switches_can_be_variables(text: str, value: bool, config_folder: Path) -> None:
    settings = resolve({}, environment={"SMOLCHAT_QUIET": text, "SMOLCHAT_NO_STREAM": text})
    assert (settings["quiet"], settings["no_stream"]) == (value, value)


REFUSED: dict[str, list[Any]] = {
    "temperature": [-1, "hot", "nan", "inf"],
    "top_p": [0, 1.1],
    "top_k": [-1, 1.5],
    "min_p": [-0.1, 2],
    "repetition_penalty": [0, "inf"],
    "seed": [-1, "x"],
    "max_new_tokens": [0, "many"],
    "device": ["gpu", "cuda:", "cuda:x", "xcpu", "cpu0", ""],
    "dtype": ["int8", "float"],
    "threads": [0, "all"],
    "quantize": ["int3"],
    "model": [""],
    "no_stream": ["perhaps"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in REFUSED for value in REFUSED[name]]
)
def test_bad_values_are_refused_naming_option_or_variable(
    name: str, value: Any, config_folder: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve({name: value}, environment={})
    written = f"--{name.replace('_', '-')}"
    assert re.match(rf"{written} {value}: (input|string) should ", caught.value.message)
    if value != "":
        with pytest.raises(UsageError) as caught:
            resolve({}, environment={f"SMOLCHAT_{name.upper()}": str(value)})
        written = f"SMOLCHAT_{name.upper()}"
        assert caught.value.message.startswith(f"{written} {value}: input should ")
        assert "smolchat doctor" in caught.value.hint


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps", "all"])
def test_every_device_of_the_help_can_be_named(device: str, config_folder: Path) -> None:
    assert resolve({"device": device}, environment={})["device"] == device


def test_a_refused_device_is_answered_with_those_there_are(config_folder: Path) -> None:
    with pytest.raises(UsageError, match="should be auto, cpu, cuda, cuda:N, mps or all"):
        resolve({"device": "gpu"}, environment={})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("temprature: 1\n", "line 1: there is no key 'temprature'; did you mean 'temperature'?"),
        ("seed: 1\ntop_p: 2\n", "line 2: top_p: input should be less than or equal to 1, not 2"),
        ("seed: '1'\n", "line 1: seed: input should be a valid integer, not '1'"),
        ("device: gpu\n", "line 1: device: input should be auto, cpu, cuda, cuda:N, mps or all"),
        ("profile: absent\n", "there is no profile 'absent'"),
    ],
)
def test_mistakes_in_the_configuration_file_are_reported(
    content: str, problem: str, config_folder: Path
) -> None:
    path = config_folder / "config.yaml"
    path.write_text(content)
    with pytest.raises(ProfileError) as caught:
        resolve({}, environment={})
    assert problem in caught.value.message
    assert "absent" in content or caught.value.message.startswith(str(path))


def test_an_empty_configuration_file_is_fine(config_folder: Path) -> None:
    (config_folder / "config.yaml").write_text("# temperature: 1\n")
    assert resolve({}, environment={})["temperature"] == DEFAULTS["temperature"]


@pytest.mark.parametrize(
    ("text", "assignment"),
    [
        ("top_k=40", ("top_k", "40")),
        ("top-k = 40", ("top_k", "40")),
        ("system=a=b", ("system", "a=b")),
        ("system=", ("system", "")),
    ],
)
def test_an_assignment_is_key_and_value(text: str, assignment: tuple[str, str]) -> None:
    assert parse_assignment(text) == assignment


def test_an_assignment_without_value_is_refused() -> None:
    with pytest.raises(UsageError, match="-o top_k: not of the form key=value"):
        parse_assignment("top_k")


def test_a_changed_setting_is_checked_like_any_other(config_folder: Path) -> None:
    settings = resolve({}, environment={})
    changed = settings.with_option("top_k", "40")
    assert (changed["top_k"], changed.table["top_k"].source) == (40, "set in this chat")
    assert settings["top_k"] == 0
    for name, value in (("top_k", "-1"), ("topk", "1")):
        with pytest.raises(SmolchatError, match=name):
            settings.with_option(name, value)


def test_the_command_line_reaches_every_setting(command: Command) -> None:
    options = {
        "model": "/nowhere",
        "profile": "rewrite",
        "system": "Sing.",
        "max_new_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.6,
        "top_k": 8,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "seed": 3,
        "device": "cpu",
        "dtype": "float32",
        "threads": 1,
        "quantize": "none",
        "draft": "135m",
        "approve": "read",
        "on_overflow": "trim",
        "no_history": True,
        "no_stream": True,
        "raw": True,
        "keys": "vi",
        "verbose": True,
        "quiet": True,
    }
    assert options.keys() == DEFAULTS.keys()
    named, assigned = [], []
    for name, value in options.items():
        named += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        assigned += ["-o", f"{name}={value}"]
    expected = {name: f"{value}  (command line)" for name, value in options.items()}
    for arguments in (named, assigned):
        result = command("doctor", "--json", *arguments)
        assert json.loads(result.stdout)["settings"] == expected


def test_a_named_option_wins_over_an_assignment(command: Command) -> None:
    result = command("doctor", "--json", "--seed", "1", "-o", "seed=2")
    assert json.loads(result.stdout)["settings"]["seed"] == "1  (command line)"


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("topp=1", "there is no setting 'topp'; did you mean 'top_p'?"),
        ("json=1", "there is no setting 'json'"),
        ("top_p=2", "--top-p 2: input should be less than or equal to 1"),
        ("top_p", "-o top_p: not of the form key=value"),
    ],
)
def test_bad_assignments_are_refused(assignment: str, problem: str, command: Command) -> None:
    result = command("run", "-o", assignment, "hi")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == f"smolchat: {problem}"
