"""The commands, mostly through real processes: prompts, streams, exit codes, interrupts.

What needs no pipe, signal or exit of its own runs in this process, where the engine loads faster.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, ScriptedGenerator, Smolchat
from hub_server import Repository, serving

from smolchat import __version__
from smolchat.catalog import EMBEDDED, FAMILY
from smolchat.loading import load_chat_format
from smolchat.session import ChatSession
from smolchat.terminal.escape import escape_controls

GREEDY = ("--temperature", "0", "--max-new-tokens", "24")
ENDLESS = ("--temperature", "0", "--max-new-tokens", "1900")
MAIL = "The CI is failing after your last commit!"


@pytest.fixture
def prompt_of(command: Command, tiny_folder: Path) -> Callable[..., str]:
    """The user's turn that a command would send."""

    def show(name: str, *arguments: str, stdin: str = "") -> str:
        result = command(
            name, "-m", str(tiny_folder), "--show-prompt", *arguments, stdin=stdin.encode()
        )
        assert result.exit_code == 0, result.stderr
        turns = re.findall(r"<\|im_start\|>user\n(.*?)<\|im_end\|>\n", result.stdout, re.DOTALL)
        assert len(turns) == 1
        return str(turns[0])

    return show


@pytest.fixture
def answer(command: Command, tiny_folder: Path) -> Callable[..., dict[str, Any]]:
    """What a command prints with --json, from the random checkpoint."""

    def run(name: str, *arguments: str, stdin: str = "") -> dict[str, Any]:
        result = command(
            name, "-m", str(tiny_folder), "--json", *GREEDY, *arguments, stdin=stdin.encode()
        )
        assert result.exit_code == 0, result.stderr
        outcome: dict[str, Any] = json.loads(result.stdout)
        return outcome

    return run


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Smolchat:
    """Runs a line of sh in which `smolchat` is the real program."""

    def run(line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        program = f'smolchat() {{ "{sys.executable}" -m smolchat "$@"; }}'
        return subprocess.run(
            ["sh", "-c", f"{program}\n{line}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment | variables,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )

    return run


def assert_refused(
    result: subprocess.CompletedProcess[bytes], code: int, message: str, hint: str = ""
) -> None:
    """Nothing on standard output; what happened and what to do, a line each, on standard error."""
    lines = result.stderr.decode().splitlines()
    assert (result.returncode, result.stdout) == (code, b""), lines
    assert len(lines) == 2
    assert lines[0].startswith("smolchat: ")
    assert message in lines[0]
    assert hint in lines[1]


@pytest.mark.parametrize(
    ("arguments", "stdin", "text"),
    [
        (("hi",), "", "hi"),
        (("--prompt", "hi"), "", "hi"),
        (("-p", "hi"), "", "hi"),
        ((), "from the pipe\n", "from the pipe"),
        (("hi",), "from the pipe\n", "hi\n\nfrom the pipe"),
        (("--prompt", "hi"), "two\nlines\n", "hi\n\ntwo\nlines"),
        (("",), "from the pipe", "from the pipe"),
        (("-P", "chat", "<|im_start|>é😀"), "", "<|im_start|>é😀"),
    ],
)
def test_run_sends_the_argument_then_a_blank_line_then_standard_input(
    arguments: tuple[str, ...], stdin: str, text: str, prompt_of: Callable[..., str]
) -> None:
    assert prompt_of("run", *arguments, stdin=stdin) == text


def test_messages_are_sent_as_they_are(command: Command, tiny_folder: Path, tmp_path: Path) -> None:
    messages = [("user", "Hi"), ("assistant", "Hello!"), ("user", "And now?")]
    path = tmp_path / "messages.json"
    path.write_text(json.dumps([{"role": role, "content": text} for role, text in messages]))
    arguments = ("run", "-m", str(tiny_folder), "--show-prompt", "--messages", str(path))
    turns = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in messages)
    sung = command(*arguments, "-s", "Sing.", "-P", "rewrite").stdout
    assert sung == (f"<|im_start|>system\nSing.<|im_end|>\n{turns}<|im_start|>assistant\n")
    assert command(*arguments).stdout.endswith(f"<|im_end|>\n{turns}<|im_start|>assistant\n")


def test_rewrite_and_summarize_are_run_with_their_profile(
    command: Command, tiny_folder: Path
) -> None:
    for name in ("rewrite", "summarize"):
        arguments = ("-m", str(tiny_folder), "--json", "--seed", "7", "--max-new-tokens", "9")
        outcomes = [
            json.loads(command(*words, *arguments, MAIL).stdout)
            for words in ((name,), ("run", "-P", name))
        ]
        assert outcomes[0]["text"] == outcomes[1]["text"]
        for count in ("prompt_tokens", "new_tokens"):
            assert outcomes[0]["usage"][count] == outcomes[1]["usage"][count]
        shown = [
            command(*words, "-m", str(tiny_folder), "--show-prompt", MAIL).stdout
            for words in ((name,), ("run", "-P", name))
        ]
        assert shown[0] == shown[1]


def test_rewrite_reads_argument_pipe_or_file(prompt_of: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "mail.txt"
    path.write_text(f"{MAIL}\n")
    from_argument = prompt_of("rewrite", MAIL)
    assert from_argument.endswith(f"\nThe message: {MAIL}")
    assert prompt_of("rewrite", stdin=f"{MAIL}\n") == from_argument
    assert prompt_of("rewrite", "--file", str(path)) == from_argument


def test_summarize_reads_text_pipe_or_files(prompt_of: Callable[..., str], tmp_path: Path) -> None:
    paths = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for path in paths:
        path.write_text(f"{path.stem}\n")
    assert prompt_of("summarize", MAIL) == MAIL
    assert prompt_of("summarize", stdin=f"{MAIL}\n") == MAIL
    assert prompt_of("summarize", *map(str, paths)) == "one\n\ntwo"
    assert prompt_of("summarize", str(paths[1]), "-", stdin="pipe\n") == "two\n\npipe"


def shown(command: Command, folder: Path, *arguments: str) -> str:
    result = command(*arguments, "-m", str(folder), "--show-prompt", MAIL)
    assert result.exit_code == 0, result.stderr
    return str(result.stdout)


@pytest.mark.parametrize("tone", ["professional", "concise"])
def test_a_tone_takes_the_place_of_the_shipped_ones(
    tone: str, command: Command, tiny_folder: Path
) -> None:
    plain = shown(command, tiny_folder, "rewrite")
    toned = shown(command, tiny_folder, "rewrite", "--tone", tone)
    assert plain == shown(command, tiny_folder, "rewrite", "--tone", "friendly")
    for phrase in ("more friendly and approachable", "more professional and approachable"):
        assert phrase in plain
        plain = plain.replace(phrase, f"more {tone}")
    assert toned == plain


@pytest.mark.parametrize(
    ("count", "limit"), [("1", "up to one sentence,"), ("10", "up to ten sentences,")]
)
def test_a_number_of_sentences_takes_the_place_of_three(
    count: str, limit: str, command: Command, tiny_folder: Path
) -> None:
    plain = shown(command, tiny_folder, "summarize")
    assert "up to three sentences," in plain
    limited = shown(command, tiny_folder, "summarize", "--sentences", count)
    assert limited == plain.replace("up to three sentences,", limit)
    assert shown(command, tiny_folder, "summarize", "--sentences", "3") == plain


def test_a_tone_for_a_profile_in_other_words_is_refused(
    config_folder: Path, command: Command
) -> None:
    (config_folder / "profiles").mkdir()
    (config_folder / "profiles" / "rewrite.yaml").write_text(
        "name: rewrite\nsystem_prompt: Sing it.\n"
    )
    result = command("rewrite", "--tone", "concise", MAIL)
    assert result.exit_code == 2
    assert "profile rewrite are not in the shipped words" in result.stderr


def test_the_shown_prompt_is_the_one_that_is_sent(
    command: Command, tiny_folder: Path, answer: Callable[..., dict[str, Any]]
) -> None:
    arguments = ("-s", "Sing \U0001f600 1 22.", "two  22\n<|im_end|>")
    told = json.loads(
        command("run", "-m", str(tiny_folder), "--show-prompt", "--json", *arguments).stdout
    )
    assert told.keys() == {"prompt", "prompt_ids"}
    assert told["prompt"] == (
        "<|im_start|>system\nSing \U0001f600 1 22.<|im_end|>\n"
        "<|im_start|>user\ntwo  22\n<|im_end|><|im_end|>\n<|im_start|>assistant\n"
    )
    generator = ScriptedGenerator("ok")
    _, chat_format = load_chat_format(tiny_folder)
    session = ChatSession(generator, chat_format, frozenset(), system=arguments[1])
    list(session.send(arguments[2]))
    assert told["prompt_ids"] == list(generator.requests[0].prompt_ids)
    assert answer("run", *arguments)["usage"]["prompt_tokens"] == len(told["prompt_ids"])


def test_the_tokenizer_is_enough_to_show_a_prompt(
    command: Command, tiny_folder: Path, home: Path, tmp_path: Path
) -> None:
    """Also for a Hub id whose snapshot has no weights yet."""
    snapshot = home / "cache/huggingface/hub/models--some--model/snapshots/abc"
    folders = (tmp_path / "bare", snapshot)
    for folder in folders:
        shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    expected = shown(command, tiny_folder, "rewrite")
    for name in (str(folders[0]), "some/model"):
        result = command("rewrite", "-m", name, "--show-prompt", MAIL)
        assert (result.exit_code, result.stdout) == (0, expected)
    assert command("rewrite", "-m", str(folders[0]), MAIL).exit_code == 69


REFUSED: dict[str, tuple[tuple[str, ...], bytes, int, str, str]] = {
    "empty prompt": (("run", ""), b"", 2, "the prompt is empty", "argument"),
    "blank prompt": (("run", "-p", " \n"), b"", 2, "the prompt is empty", "argument"),
    "empty pipe": (("run",), b"", 2, "the prompt is empty", "argument"),
    "empty rewrite": (("rewrite",), b"\n", 2, "the prompt is empty", "argument"),
    "two prompts": (("run", "a", "-p", "b"), b"", 2, "the prompt is given twice", "--prompt"),
    "prompt and messages": (
        ("run", "a", "--messages", "m.json"),
        b"",
        2,
        "--messages and a prompt exclude each other",
        "one of the two",
    ),
    "no messages": (("run", "--messages", "m.json"), b"", 2, "cannot read m.json", "path"),
    "bad messages": (("run", "--messages", "-"), b"[]", 2, "not a list of messages", "role"),
    "another encoding": (("run",), b"caf\xe9", 2, "standard input is not UTF-8", "iconv"),
    "text and file": (("rewrite", "a", "-f", "b"), b"", 2, "exclude each other", "one of the two"),
    "absent file": (("summarize", "absent.txt"), b"", 2, "cannot read absent.txt", "path"),
    "unknown profile": (
        ("run", "-P", "rewite", "hi"),
        b"",
        2,
        "there is no profile 'rewite'; did you mean 'rewrite'?",
        "summarize",
    ),
    "value out of range": (("run", "--top-p", "2", "hi"), b"", 2, "--top-p 2.0", "--help"),
    "unknown device": (("run", "--device", "gpu", "hi"), b"", 2, "--device gpu", "--help"),
    "unknown dtype": (("run", "--dtype", "int8", "hi"), b"", 2, "--dtype int8", "--help"),
    "chat without a terminal": (
        ("chat",),
        b"hello",
        2,
        "chat needs a terminal",
        'smolchat run --prompt "..."',
    ),
    "no command and no terminal": ((), b"hello", 2, "chat needs a terminal", "smolchat run"),
    "a text without a command": (
        ("Why is the sky blue?",),
        b"",
        2,
        "there is no command 'Why is the sky blue?'",
        "smolchat run 'Why is the sky blue?'",
    ),
    "absent folder": (("run", "-m", "./absent", "hi"), b"", 69, "no folder absent", "360m"),
    "misspelt id": (
        ("run", "-m", "HuggingFaceTB/SmolLM2-360M-Instrct", "hi"),
        b"",
        69,
        "HuggingFaceTB/SmolLM2-360M-Instrct is not on disk, and HF_HUB_OFFLINE forbids",
        "Did you mean HuggingFaceTB/SmolLM2-360M-Instruct?",
    ),
    "absent alias": (
        ("pull", "360m"),
        b"",
        69,
        "HuggingFaceTB/SmolLM2-360M-Instruct is not on disk, and HF_HUB_OFFLINE forbids",
        "HF_HUB_OFFLINE",
    ),
    "no name": (("run", "-m", "a b", "hi"), b"", 69, "'a b' is not the name", "360m"),
}


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "message", "hint"), REFUSED.values(), ids=REFUSED.keys()
)
def test_what_cannot_be_done_is_told_in_two_lines(
    arguments: tuple[str, ...],
    stdin: bytes,
    code: int,
    message: str,
    hint: str,
    smolchat: Smolchat,
) -> None:
    assert_refused(smolchat(*arguments, stdin=stdin), code, message, hint)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("run", "--top-p", "x", "hi"), "'--top-p'"),
        (("run", "--temprature", "1", "hi"), "--temprature"),
        (("rum", "hi"), "there is no command 'rum'; did you mean 'run'?"),
        (("rewrite", "--tone", "angry", "hi"), "'friendly', 'professional', 'concise'"),
        (("summarize", "--sentences", "0", "hi"), "'--sentences'"),
        (("pull",), "Missing argument 'NAME'"),
    ],
)
def test_mistakes_on_the_command_line_exit_with_2(
    arguments: tuple[str, ...], problem: str, command: Command
) -> None:
    result = command(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr
    assert "Traceback" not in result.stderr


def test_a_prompt_that_does_not_fit_exits_with_4_and_counts(
    command: Command, tiny_folder: Path
) -> None:
    lines = "".join(f"{number}\n" for number in range(10_000))
    result = command("run", "-m", str(tiny_folder), stdin=lines)
    assert (result.exit_code, result.stdout) == (4, "")
    assert re.search(r"the prompt has \d{5} tokens and the context .* 2048", result.stderr)
    assert "Shorten" in result.stderr


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json is damaged"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json is damaged"),
        (lambda folder: cut(folder / "model.safetensors"), "is cut short or damaged"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "has no chat template"),
    ],
)
def test_a_folder_without_a_whole_checkpoint_exits_with_69(
    spoil: Callable[[Path], None],
    message: str,
    command: Command,
    tiny_folder: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(tiny_folder, folder)
    spoil(folder)
    result = command("run", "-m", str(folder), "hi")
    assert (result.exit_code, result.stdout) == (69, "")
    assert message in result.stderr.splitlines()[0]
    assert len(result.stderr.splitlines()) == 2


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "all"])
def test_a_device_that_is_not_here_exits_with_2(
    device: str, command: Command, tiny_folder: Path
) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("a device is here")
    result = command("run", "-m", str(tiny_folder), "--device", device, "hi")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "on this machine" in result.stderr
    assert "--device cpu" in result.stderr


def test_json_holds_the_promised_keys_and_plausible_values(
    smolchat: Smolchat, tiny_folder: Path
) -> None:
    started = time.perf_counter()
    result = smolchat("run", "-m", str(tiny_folder), "--json", "-q", *GREEDY, "hi")
    elapsed = time.perf_counter() - started
    assert (result.returncode, result.stderr) == (0, b"")
    outcome = json.loads(result.stdout)
    assert result.stdout.count(b"\n") == 1
    assert list(outcome) == ["text", "finish_reason", "model", "usage", "timings", "tool_calls"]
    assert outcome["finish_reason"] == "length"
    assert outcome["model"] == str(tiny_folder)
    assert outcome["tool_calls"] == []
    usage = outcome["usage"]
    counts = ["drafted_tokens", "accepted_tokens", "forced_tokens"]
    assert list(usage) == ["prompt_tokens", "cached_tokens", "new_tokens", *counts]
    assert usage["prompt_tokens"] > 50
    assert (usage["cached_tokens"], usage["new_tokens"]) == (0, 24)
    timings = outcome["timings"]
    load, first, prefill, decode, total = timings.values()
    assert list(timings) == [
        f"{name}_seconds" for name in ("load", "first_token", "prefill", "decode", "total")
    ]
    assert 0 < prefill < load + prefill <= first <= total <= elapsed
    assert 0 < decode <= total - load


def test_piped_output_is_the_reply_byte_for_byte(
    smolchat: Smolchat,
    command: Command,
    tiny_folder: Path,
    answer: Callable[..., dict[str, Any]],
) -> None:
    """Whatever Rich thinks of FORCE_COLOR, and whatever the locale."""
    arguments = ("run", "-m", str(tiny_folder), *GREEDY, "hi")
    result = smolchat(*arguments, FORCE_COLOR="1", LC_ALL="C")
    text = answer("run", "hi")["text"]
    assert text
    assert (result.returncode, result.stdout) == (0, text.encode())
    assert result.stderr == b"smolchat: the reply was cut at max_new_tokens = 24\n"
    assert command(*arguments, "--no-stream").stdout_bytes == text.encode()


def test_verbose_adds_one_line_and_quiet_takes_the_notices(
    command: Command, tiny_folder: Path
) -> None:
    arguments = ("run", "-m", str(tiny_folder), *GREEDY, "hi")
    plain, verbose = command(*arguments), command(*arguments, "--verbose", "-q")
    assert verbose.stdout == plain.stdout
    assert plain.stderr.startswith("smolchat: the reply was cut")
    assert re.fullmatch(
        r"first token \d+\.\d\d s · prefill \d+ · decode \d+ tok/s · "
        r"drafts \d+/\d+ · cached \d+/\d+ · context \d+/2048\n",
        verbose.stderr,
    )


def test_the_next_process_begins_where_the_users_text_does(
    answer: Callable[..., dict[str, Any]], home: Path
) -> None:
    kept = home / "cache" / "smolchat" / "prefixes"
    answer("run", "--quantize", "none", "--no-history", "hi")
    assert not kept.exists()
    first, second = (answer("run", "--quantize", "none", text) for text in ("hi", "hi"))
    other = answer("run", "--quantize", "none", "Something else.")
    assert first["usage"]["cached_tokens"] == 0
    assert second["usage"]["cached_tokens"] == other["usage"]["cached_tokens"] > 50
    assert second["text"] == first["text"]
    assert len(list(kept.iterdir())) == 1


def test_a_draft_changes_the_counts_and_not_the_reply(
    answer: Callable[..., dict[str, Any]], tiny_folder: Path
) -> None:
    plain = answer("run", "--quantize", "none", "hi")
    drafted = answer("run", "--quantize", "none", "--draft", str(tiny_folder), "hi")
    assert drafted["text"] == plain["text"]
    assert drafted["usage"]["drafted_tokens"] >= drafted["usage"]["accepted_tokens"]


def test_the_same_seed_gives_the_same_text(answer: Callable[..., dict[str, Any]]) -> None:
    def drawn(seed: str) -> str:
        return str(answer("run", "--temperature", "1", "--seed", seed, "hi")["text"])

    assert drawn("1") == drawn("1") != drawn("2")


def test_the_profiles_checkpoint_is_used_unless_one_is_named(
    config_folder: Path, command: Command, tiny_folder: Path
) -> None:
    (config_folder / "profiles").mkdir()
    (config_folder / "profiles" / "mine.yaml").write_text(f"name: mine\nmodel: {tiny_folder}\n")
    result = command("run", "-P", "mine", "--json", *GREEDY, "hi")
    assert json.loads(result.stdout)["model"] == str(tiny_folder)
    assert command("run", "-P", "mine", "-m", "./absent", "hi").exit_code == 69


def cache(checkpoint: Path, home: Path, name: str) -> Path:
    """Puts a checkpoint into the Hugging Face cache under the name of a family member."""
    repository = home / "cache" / "huggingface" / "hub" / f"models--{name.replace('/', '--')}"
    return Path(shutil.copytree(checkpoint, repository / "snapshots" / "abc"))


def test_without_a_name_the_largest_cached_member_of_the_family_answers(
    command: Command, tiny_folder: Path, home: Path
) -> None:
    for alias in ("360m", "135m"):
        cache(tiny_folder, home, FAMILY[alias])
    result = command("run", "--json", *GREEDY, "hi")
    assert json.loads(result.stdout)["model"] == FAMILY["360m"]
    assert "demonstration" not in result.stderr


def test_models_lists_what_is_here_and_how_to_get_the_rest(
    command: Command, tiny_folder: Path, home: Path
) -> None:
    path = cache(tiny_folder, home, FAMILY["135m"])
    rows = {line.split()[0]: line for line in command("models").stdout.splitlines()}
    assert rows[FAMILY["135m"]].endswith(f"0.2 MB  {path}")
    assert rows[FAMILY["1.7b"]].endswith("not here      smolchat pull 1.7b")
    listed = json.loads(command("models", "--json").stdout)
    assert listed[-1].keys() == {"name", "bytes", "path"}
    assert [row["name"] for row in listed if row["name"] != EMBEDDED] == [FAMILY["135m"]]


def test_what_is_named_and_not_here_is_fetched_once(smolchat: Smolchat, tiny_folder: Path) -> None:
    files = {path.name: path.read_bytes() for path in tiny_folder.iterdir()}
    with serving() as hub:
        hub.repositories[FAMILY["135m"]] = Repository(files)
        variables = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
        pulled = smolchat("pull", "135m", **variables)
        assert pulled.returncode == 0, pulled.stderr
        assert pulled.stderr == b"smolchat: fetching 135m\n"
        folder = Path(pulled.stdout.decode().removesuffix("\n"))
        assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]
        assert_refused(smolchat("pull", "135n", **variables), 69, "135n", "Did you mean 135m?")
        hub.requests.clear()
        again = smolchat("run", "-m", "135m", "--show-prompt", "hi", **variables)
        assert (again.returncode, again.stderr, hub.requests) == (0, b"", [])


def test_a_closed_stdin_is_no_input(shell: Smolchat, tiny_folder: Path) -> None:
    result = shell(f"smolchat run -m {tiny_folder} --show-prompt hi <&-")
    assert result.returncode == 0
    assert b"user\nhi<|im_end|>" in result.stdout
    assert_refused(shell("smolchat rewrite <&-"), 2, "there is no text", "standard input")


@pytest.mark.parametrize("arguments", ["--help", "profiles list", "run hi"])
def test_a_closed_stdout_is_told(arguments: str, shell: Smolchat) -> None:
    assert_refused(shell(f"smolchat {arguments} >&-"), 1, "standard output is closed", "file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", ["--help", "--version", "profiles list", "doctor"])
def test_a_full_disk_is_told_in_one_line(arguments: str, shell: Smolchat) -> None:
    result = shell(f"smolchat {arguments} >/dev/full")
    assert result.returncode == 1
    assert result.stderr == b"smolchat: cannot use the output: No space left on device\n"


def test_a_reply_to_a_full_disk_or_a_closed_pipe_ends_at_once(
    shell: Smolchat, tiny_folder: Path
) -> None:
    run = f"smolchat run -q -m {tiny_folder} {' '.join(ENDLESS)} hi"
    result = shell(f"{{ {run}; echo $? >&2; }} | head -c 1")
    assert len(result.stdout) == 1
    assert result.stderr == b"0\n"
    if Path("/dev/full").exists():
        result = shell(f"{run} >/dev/full")
        assert result.returncode == 1
        assert result.stderr == b"smolchat: cannot use the output: No space left on device\n"


def test_a_closed_stderr_leaves_stdout_alone(shell: Smolchat, tiny_folder: Path) -> None:
    result = shell(
        f"smolchat run -m {tiny_folder} --show-prompt hi 2>&-; smolchat run -m ./absent hi 2>&-"
    )
    assert result.returncode == 69
    assert result.stdout.endswith(b"<|im_start|>assistant\n")


def test_a_notice_that_nobody_reads_does_not_end_a_reply(
    smolchat: Smolchat, environment: dict[str, str], tiny_folder: Path
) -> None:
    limits = ("--max-new-tokens", "3", "--temperature", "0")
    run = ("run", "--verbose", "-m", str(tiny_folder), *limits, "hi")
    expected = smolchat(*run).stdout
    near, far = os.pipe()
    os.close(near)
    command = [sys.executable, "-m", "smolchat", *run]
    ended = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=far
    )
    os.close(far)
    assert (ended.returncode, ended.stdout) == (0, expected)
    assert expected


class Screen:
    """A pseudo-terminal that a process writes to."""

    def __init__(self) -> None:
        self.shown = b""
        self._near, self.far = pty.openpty()
        settings = termios.tcgetattr(self.far)
        settings[1] &= ~termios.OPOST
        termios.tcsetattr(self.far, termios.TCSANOW, settings)

    def wait_for(self, mark: bytes, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while mark not in self.shown:
            readable, _, _ = select.select([self._near], [], [], deadline - time.monotonic())
            assert readable, self.shown
            self.shown += os.read(self._near, 4096)

    def close(self) -> None:
        """Reads what is left; every process has to have ended."""
        while select.select([self._near], [], [], 0)[0]:
            self.shown += os.read(self._near, 4096)
        os.close(self._near)
        os.close(self.far)


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def start(
    environment: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the real program so that it can be interrupted."""
    # A process started in the background may have to ignore SIGINT, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started: list[subprocess.Popen[bytes]] = []

    def begin(
        *arguments: str, out: int, err: int, stdin: int = subprocess.DEVNULL, **variables: str
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "smolchat", *arguments],
            stdin=stdin,
            stdout=out,
            stderr=err,
            env=environment | variables,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield begin
    signal.signal(signal.SIGINT, before)
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


SPINNER_GONE = b"\x1b[?25h"
"""The cursor is shown again: the first token is there."""


def test_nobody_is_waited_for_at_a_terminal(
    start: Callable[..., subprocess.Popen[bytes]], screen: Screen, tiny_folder: Path
) -> None:
    pipes = {"out": subprocess.PIPE, "err": subprocess.PIPE, "stdin": screen.far}
    given = start("run", "-m", str(tiny_folder), "--show-prompt", "hi", **pipes)
    out, err = given.communicate(timeout=60)
    assert (given.returncode, b"user\nhi<|im_end|>" in out, err) == (0, True, b"")
    for name in ("run", "rewrite", "summarize"):
        process = start(name, **pipes)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, b"")
        assert err.startswith(b"smolchat: there is no text\n")
    screen.close()


def test_a_terminal_gets_the_escaped_reply_on_a_line_of_its_own(
    start: Callable[..., subprocess.Popen[bytes]],
    screen: Screen,
    tiny_folder: Path,
    answer: Callable[..., dict[str, Any]],
) -> None:
    """Without colour and cursor on a dumb terminal, which here is standard error as well."""
    arguments = ("run", "-m", str(tiny_folder), *GREEDY, "--verbose", "hi")
    assert start(*arguments, out=screen.far, err=screen.far, TERM="dumb").wait(60) == 0
    screen.close()
    shown = screen.shown.decode()
    reply = escape_controls(answer("run", "hi")["text"])
    assert shown.startswith(f"{reply}\nsmolchat: the reply was cut")
    assert shown.splitlines()[-1].startswith("first token")
    assert "\x1b" not in shown


@pytest.mark.parametrize("no_color", ["", "1"])
def test_errors_are_red_on_a_terminal_unless_colour_is_unwanted(
    no_color: str,
    start: Callable[..., subprocess.Popen[bytes]],
    screen: Screen,
) -> None:
    process = start("rewrite", out=subprocess.DEVNULL, err=screen.far, NO_COLOR=no_color)
    assert process.wait(60) == 2
    screen.close()
    start_of_red = b"" if no_color else b"\x1b[1;31m"
    assert screen.shown.startswith(start_of_red + b"smolchat: the prompt is empty")
    assert (b"\x1b" in screen.shown) == (no_color == "")


def test_an_interrupt_while_loading_exits_with_130(
    start: Callable[..., subprocess.Popen[bytes]], screen: Screen, tiny_folder: Path
) -> None:
    slow_to_load = ("-m", str(tiny_folder), "--dtype", "float16")
    arguments = ("run", *slow_to_load, *ENDLESS, "hi")
    process = start(*arguments, out=subprocess.PIPE, err=screen.far)
    screen.wait_for(b"loading")
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    screen.close()
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in screen.shown


def test_an_interrupt_that_was_caught_leaves_the_exit_code_alone(
    environment: dict[str, str],
) -> None:
    """One that went through `exec` of a text makes CPython kill itself at the end."""
    script = """
try:
    exec("raise KeyboardInterrupt")
except KeyboardInterrupt:
    pass
from smolchat.__main__ import main
main()
"""
    result = subprocess.run(
        [sys.executable, "-c", script, "--version"],
        capture_output=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(b"smolchat ")


def test_an_interrupt_keeps_the_partial_reply_and_exits_with_130(
    start: Callable[..., subprocess.Popen[bytes]],
    tiny_folder: Path,
    answer: Callable[..., dict[str, Any]],
) -> None:
    arguments = ("run", "-m", str(tiny_folder), *ENDLESS, "hi")
    process = start(*arguments, out=subprocess.PIPE, err=subprocess.PIPE)
    assert process.stdout
    part = os.read(process.stdout.fileno(), 1)
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    part += rest
    whole = answer("run", "hi")["text"].encode()
    shorter = min(len(part), len(whole))
    assert part[:shorter] == whole[:shorter]
    assert (process.returncode, err) == (130, b"")


def test_an_interrupted_reply_is_cancelled_in_json(
    start: Callable[..., subprocess.Popen[bytes]], screen: Screen, tiny_folder: Path
) -> None:
    arguments = ("run", "-m", str(tiny_folder), "--json", *ENDLESS, "hi")
    process = start(*arguments, out=subprocess.PIPE, err=screen.far)
    screen.wait_for(SPINNER_GONE)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    screen.close()
    outcome = json.loads(out)
    assert process.returncode == 130
    assert outcome["finish_reason"] == "cancelled"
    assert 0 < outcome["usage"]["new_tokens"] < 1900
    assert outcome["text"]


def test_version_is_printed_alone(smolchat: Smolchat) -> None:
    result = smolchat("--version")
    assert (result.returncode, result.stdout) == (0, f"smolchat {__version__}\n".encode())


GENERATING = ["chat", "run", "rewrite", "summarize"]
SHARED = [
    *("--model", "--profile", "--system", "--max-new-tokens", "--temperature", "--top-p"),
    *("--top-k", "--min-p", "--repetition-penalty", "--seed", "--device", "--dtype"),
    *(
        "--threads",
        "--no-stream",
        "--no-history",
        "--raw",
        "--keys",
        "--json",
        "--verbose",
        "--quiet",
    ),
    *("-m", "-P", "-s", "-o", "-q"),
]


@pytest.mark.parametrize("name", GENERATING)
def test_generating_commands_share_their_options(name: str, command: Command) -> None:
    words = re.findall(r"(?<![\w-])-{1,2}[a-zA-Z][\w-]*", command(name, "--help").stdout)
    assert set(SHARED) <= set(words)


def test_without_numba_the_reference_model_answers_with_one_notice(
    smolchat: Smolchat, tiny_folder: Path, tmp_path: Path
) -> None:
    asked = ("run", "-m", str(tiny_folder), "--quantize", "none", *GREEDY, "hi")
    expected = smolchat(*asked)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "numba.py").write_text("raise ImportError('it is broken here')")
    result = smolchat(*asked, PYTHONPATH=str(broken))
    assert (result.returncode, result.stdout) == (0, expected.stdout)
    assert result.stderr.count(b"Numba cannot be used (it is broken here)") == 1
