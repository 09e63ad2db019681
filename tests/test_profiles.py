"""Profiles: what the shipped ones say, whose wins, and how a mistake in a file is reported."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from conftest import REPOSITORY, SHARED, Command

from smolchat.errors import ProfileError
from smolchat.profiles import Profile, load_profile, profile_paths, read_yaml

CARD = SHARED / "model_card.md"
SHIPPED = sorted(path.stem for path in (REPOSITORY / "profiles").glob("*.yaml"))


@pytest.fixture
def profiles_folder(config_folder: Path) -> Path:
    folder = config_folder / "profiles"
    folder.mkdir()
    return folder


def card_prompt(name: str) -> str:
    match = re.search(rf'^{name} = "(.*)"$', CARD.read_text(encoding="utf-8"), re.MULTILINE)
    assert match
    return str(ast.literal_eval(f'"{match[1]}"'))


@pytest.mark.skipif(not CARD.exists(), reason="the model card is not here")
def test_rewrite_and_summarize_say_what_the_model_card_says() -> None:
    rewrite, summarize = load_profile("rewrite"), load_profile("summarize")
    message = "The CI is failing after your last commit!"
    assert rewrite.system_prompt == card_prompt("system_prompt_rewrite")
    assert rewrite.user_text(message) == f"{card_prompt('user_prompt_rewrite')} {message}"
    assert summarize.system_prompt == card_prompt("system_prompt_summarize")
    assert summarize.user_text(message) == message


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profiles_are_valid_and_described(name: str) -> None:
    assert load_profile(name).description


@pytest.mark.parametrize("name", ["rewrite", "summarize"])
def test_presets_sample_as_the_model_card_does(name: str) -> None:
    decided = load_profile(name).settings()
    assert (decided["temperature"], decided["top_p"]) == (0.2, 0.9)
    assert not decided.keys() & {"top_k", "min_p", "repetition_penalty", "seed", "model"}


def test_only_the_place_for_the_text_is_special_in_a_template() -> None:
    profile = Profile(name="x", user_template='{"a": {0}} <{text}> {{text}}')
    assert profile.user_text("{text} {b}") == '{"a": {0}} <{text} {b}> {{text} {b}}'


def test_every_field_can_be_written_in_yaml(profiles_folder: Path) -> None:
    (profiles_folder / "full.yaml").write_text(
        "name: full\n"
        "description: All there is.\n"
        "model: 360m\n"
        "draft_model: 135m\n"
        "system_prompt: |\n  Two\n  lines.\n"
        'user_template: "Say: {text}"\n'
        "sampling: {temperature: 1, top_p: 0.5, top_k: 3, min_p: 0.1, repetition_penalty: 1.2,"
        " seed: 7}\n"
        "max_new_tokens: 9\n"
        "tools: [calculator, clock]\n"
        "approve: none\n"
        "quantize: int8\n"
    )
    profile = load_profile("full")
    assert set(Profile.model_fields) == profile.model_fields_set
    assert profile.tools == ["calculator", "clock"]
    assert profile.settings() == {
        "model": "360m",
        "system": "Two\nlines.\n",
        "max_new_tokens": 9,
        "temperature": 1.0,
        "top_p": 0.5,
        "top_k": 3,
        "min_p": 0.1,
        "repetition_penalty": 1.2,
        "seed": 7,
        "approve": "none",
        "quantize": "int8",
        "draft": "135m",
    }


def test_a_users_profile_wins_over_the_shipped_one(profiles_folder: Path) -> None:
    own = profiles_folder / "rewrite.yaml"
    own.write_text("name: rewrite\ndescription: My own.\n")
    assert load_profile("rewrite").description == "My own."
    assert profile_paths()["rewrite"] == own
    assert list(profile_paths()) == SHIPPED


MISTAKES = {
    "unknown key": (
        "name: mine\nsystem_promt: Hi.\n",
        "line 2: there is no key 'system_promt'; did you mean 'system_prompt'?",
    ),
    "unknown key that leaves another missing": (
        "nme: mine\n",
        "line 1: there is no key 'nme'; did you mean 'name'?",
    ),
    "unknown key in sampling": (
        "name: mine\nsampling:\n  top_p: 1\n  temprature: 0.3\n",
        "line 4: there is no key 'sampling.temprature'; did you mean 'temperature'?",
    ),
    "unknown key like no other": ("name: mine\nxyzzy: 1\n", "line 2: there is no key 'xyzzy'"),
    "key that is no text": ("name: mine\n7: x\n", "line 2: 7: keys should be strings"),
    "wrong type": (
        "name: mine\ndescription: 3\n",
        "line 2: description: input should be a valid string, not 3",
    ),
    "date for a text": (
        "name: mine\ndescription: 2020-01-01\n",
        "line 2: description: input should be a valid string, not datetime.date(2020, 1, 1)",
    ),
    "text for a number": (
        'name: mine\n\nsampling: {temperature: "0.2"}\n',
        "line 3: sampling.temperature: input should be a valid number, not '0.2'",
    ),
    "truth for a number": (
        "name: mine\nmax_new_tokens: yes\n",
        "line 2: max_new_tokens: input should be a valid integer, not True",
    ),
    "value for a section": (
        "name: mine\nsampling:\n",
        "line 2: sampling: input should be a list of `key: value`, not None",
    ),
    "wrong type in a list": (
        "name: mine\ntools:\n- clock\n- 3\n",
        "line 4: tools.1: input should be a valid string, not 3",
    ),
    "value out of range": (
        "name: mine\nsampling:\n  top_p: 7\n",
        "line 3: sampling.top_p: input should be less than or equal to 1, not 7",
    ),
    "not a number": (
        "name: mine\nsampling: {temperature: .nan}\n",
        "line 2: sampling.temperature: input should be a finite number, not nan",
    ),
    "none of the choices": (
        "name: mine\napprove: some\n",
        "line 2: approve: input should be 'none', 'pure', 'read' or 'all', not 'some'",
    ),
    "template without place": (
        "name: mine\nuser_template: Translate!\n",
        "line 2: user_template: input should contain {text}, not 'Translate!'",
    ),
    "missing key": ("description: x\n", "line 1: name: the key is missing"),
    "empty file": ("", "line 1: name: the key is missing"),
    "repeated key": (
        "name: mine\n\nname: mine\n",
        "line 3: 'name' stands here a second time (first in line 1)",
    ),
    "repeated key in sampling": (
        "name: mine\nsampling:\n  top_k: 1\n  top_k: 1\n",
        "line 4: 'top_k' stands here a second time (first in line 3)",
    ),
    "list": ("- name: mine\n", "line 1: not a list of `key: value`"),
    "text": ("mine\n", "line 1: not a list of `key: value`"),
    "broken YAML": ("name: mine\ntools: [\n", "line 3: expected the node content"),
    "tab": ("name: mine\nsampling:\n\ttop_k: 1\n", "line 3: found character"),
    "two documents": ("name: mine\n---\nname: mine\n", "line 2: but found another document"),
    "scalar that is none": (
        "name: mine\ndescription: 2020-13-45\n",
        "line 2: '2020-13-45' is no timestamp",
    ),
    "key that is a list": ("? [a]\n: 1\n", "line 1: found unhashable key"),
    "code": (
        'name: mine\ndescription: !!python/object/apply:os.system ["touch ran"]\n',
        "line 2: could not determine a constructor",
    ),
    "loop": ("name: &a [*a]\n", "is not valid YAML: maximum recursion depth"),
    "depth": ("name: " + "[" * 3000, "is not valid YAML: maximum recursion depth"),
    "control character": ("name: a\x01b\n", "is not valid YAML: unacceptable character #x0001"),
    "another name than the file's": (
        "name: yours\n",
        "the name is 'yours' and the file is called mine.yaml",
    ),
}


@pytest.mark.parametrize(("content", "problem"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_reported_with_file_and_line(
    content: str, problem: str, profiles_folder: Path
) -> None:
    path = profiles_folder / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ProfileError) as caught:
        load_profile("mine")
    assert caught.value.message.startswith(str(path))
    assert problem in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_an_unknown_key_is_answered_with_all_valid_ones(profiles_folder: Path) -> None:
    (profiles_folder / "mine.yaml").write_text("name: mine\nsampling: {xyzzy: 1}\n")
    with pytest.raises(ProfileError) as caught:
        load_profile("mine")
    assert caught.value.hint == (
        "Valid keys are: temperature, top_p, top_k, min_p, repetition_penalty, seed."
    )


def test_a_file_in_another_encoding_is_reported_with_its_line(profiles_folder: Path) -> None:
    path = profiles_folder / "mine.yaml"
    path.write_bytes("name: mine\ndescription: café\n".encode("latin-1"))
    with pytest.raises(ProfileError) as caught:
        load_profile("mine")
    assert caught.value.message == f"{path}, line 2: not UTF-8"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"cannot read .*: Is a directory"):
        read_yaml(tmp_path, Profile)


def test_an_unknown_profile_is_answered_with_the_nearest(config_folder: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile("rewite")
    assert caught.value.message == "there is no profile 'rewite'; did you mean 'rewrite'?"
    assert ", ".join(SHIPPED) in caught.value.hint


def test_list_names_every_profile_once_with_its_description(
    profiles_folder: Path, command: Command
) -> None:
    (profiles_folder / "rewrite.yaml").write_text("name: rewrite\ndescription: My own.\n")
    lines = command("profiles", "list").stdout.splitlines()
    assert [line[2:].split()[0] for line in lines] == SHIPPED
    assert [line[2:].split()[0] for line in lines if line.startswith("*")] == ["rewrite"]
    assert re.fullmatch(r"\* rewrite +My own\.", lines[SHIPPED.index("rewrite")])


def test_show_prints_the_file_and_where_it_is(command: Command) -> None:
    path = REPOSITORY / "profiles" / "rewrite.yaml"
    assert command("profiles", "show", "rewrite").stdout == f"# {path}\n{path.read_text()}"


def test_show_and_list_report_a_mistake(profiles_folder: Path, command: Command) -> None:
    (profiles_folder / "mine.yaml").write_text("name: mine\nmodle: 360m\n")
    mistake = "line 2: there is no key 'modle'; did you mean 'model'?"
    shown = command("profiles", "show", "mine")
    assert shown.exit_code == 2
    assert mistake in shown.stderr
    listed = command("profiles", "list")
    assert listed.exit_code == 0
    assert mistake in listed.stdout
    assert all(name in listed.stdout for name in SHIPPED)
