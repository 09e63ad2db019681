"""Tools that hang, flood, fork, break out, eat memory: real processes, in a file and in a fork."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smolchat.messages import ToolCall, ToolResult
from smolchat.toolbox import Toolbox, load_tools
from smolchat.toolbox.child import KEPT_BYTES
from smolchat.toolbox.worker import LONGEST_TEXT

TOOLS = """
import ctypes, os, signal, subprocess, sys, threading, time
from smolchat import tool

@tool(effect="pure", timeout_seconds=20)
def run(code: str) -> str:
    "Run code."
    scope = dict(globals())
    exec(code, scope)
    return scope.get("result")

@tool(effect="pure", timeout_seconds=0.4)
def run_briefly(code: str) -> str:
    "Run code."
    scope = dict(globals())
    exec(code, scope)
    return scope.get("result")
"""

Run = Callable[..., ToolResult]


@pytest.fixture(scope="module", params=["file", "fork"])
def toolbox(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Toolbox]:
    path = tmp_path_factory.mktemp("tools") / "danger.py"
    path.write_text(TOOLS)
    tools: list[Any] = load_tools(path)
    if request.param == "fork":
        scope: dict[str, Any] = {"__name__": "danger"}
        exec(compile(TOOLS, str(path), "exec"), scope)
        tools = [scope["run"], scope["run_briefly"]]
    os.environ["WORKER_TEST_API_KEY"] = "hidden"
    os.environ["worker_test_github_token_name"] = "hidden"  # noqa: SIM112
    os.environ["WORKER_TEST_PLAIN"] = "seen"
    with Toolbox(tools, memory_bytes=512 * 1024**2) as opened:
        yield opened
    for name in [name for name in os.environ if name.upper().startswith("WORKER_TEST")]:
        del os.environ[name]


@pytest.fixture
def run(toolbox: Toolbox) -> Run:
    def run_code(code: str, name: str = "run") -> ToolResult:
        return toolbox.run(ToolCall("1", name, {"code": textwrap.dedent(code)}))

    return run_code


def states(column: str) -> dict[int, list[str]]:
    """The states of all processes by their pid or pgid, but for those that ended (Z)."""
    listed = subprocess.run(
        ["ps", "-e", "-o", f"{column}=,stat="], capture_output=True, text=True, check=True
    )
    found: dict[int, list[str]] = {}
    for line in listed.stdout.splitlines():
        number, state = line.split()
        if not state.startswith("Z"):
            found.setdefault(int(number), []).append(state)
    return found


def has_ended(number: int, column: str = "pid") -> bool:
    """Whether a process, or all of a group, ends within a moment."""
    for _ in range(50):
        if number not in states(column):
            return True
        time.sleep(0.05)
    return False


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def test_the_worker_stays_warm(run: Run) -> None:
    first = run("result = str(os.getpid())").content
    assert first == run("result = str(os.getpid())").content
    assert int(first) != os.getpid()


def test_it_has_its_own_session_and_no_stdin(run: Run) -> None:
    assert run("result = str(os.getsid(0) == os.getpid() == os.getpgid(0))").content == "True"
    assert run("result = repr(sys.stdin.read())").content == "''"
    assert run("result = repr(os.read(0, 5))").content == "b''"
    assert "EOFError" in run("input('name? ')").content
    assert "OSError" in run("open('/dev/tty')").content


def test_secrets_are_not_in_its_environment(run: Run) -> None:
    found = run("result = ' '.join(os.environ)").content.split()
    assert "WORKER_TEST_PLAIN" in found
    assert "PATH" in found
    assert not [name for name in found if "WORKER_TEST_API_KEY" in name or "token" in name.lower()]
    shell = run("result = subprocess.run('env', capture_output=True, text=True).stdout").content
    assert "WORKER_TEST_PLAIN" in shell
    assert "hidden" not in shell


def test_nothing_reaches_our_streams(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    result = run(
        """
        print("by print")
        print("on stderr", file=sys.stderr)
        os.write(1, b"by write\\n")
        subprocess.run("echo by shell; echo shell error >&2", shell=True)
        result = "returned"
        """
    )
    assert result.content.splitlines() == [
        "returned",
        "[printed]",
        "by print",
        "on stderr",
        "by write",
        "by shell",
        "shell error",
    ]
    assert capfd.readouterr() == ("", "")


def test_prints_belong_to_their_own_call(run: Run) -> None:
    assert "first" in run("print('first')").content
    assert run("result = 'x'").content == "x"
    run("threading.Timer(0.1, print, ['late']).start(); result = 'x'")
    time.sleep(0.3)
    assert run("result = 'x'").content == "x"


def test_a_hanging_tool_is_stopped_and_its_prints_are_kept(run: Run) -> None:
    pid = run("result = str(os.getpid())").content
    start = time.monotonic()
    result = run("print('step 1', end=''); time.sleep(60)", "run_briefly")
    assert time.monotonic() - start < 3
    assert result.status == "timeout"
    assert "longer than 0.4 seconds" in result.content
    assert result.content.endswith("step 1")
    assert has_ended(int(pid))
    assert run("result = 'again'").content == "again"


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(60)",
        "for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)\ntime.sleep(60)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "ctypes.CDLL(None).sleep(60)",
        "ctypes.PyDLL(None).sleep(60)",
        "os.kill(0, 0); os.read(os.pipe()[0], 1)",
        "lock = threading.Lock(); lock.acquire(); lock.acquire()",
        "while True:\n    try: time.sleep(60)\n    except BaseException: pass",
    ],
)
def test_no_way_to_hang_outlasts_the_time_limit(run: Run, code: str) -> None:
    start = time.monotonic()
    assert run(code, "run_briefly").status == "timeout"
    assert time.monotonic() - start < 3


def test_what_a_tool_started_dies_with_it(run: Run) -> None:
    result = run(
        """
        child = subprocess.Popen(["sleep", "60"])
        print(child.pid, flush=True)
        time.sleep(60)
        """,
        "run_briefly",
    )
    assert result.status == "timeout"
    assert has_ended(int(result.content.split()[-1]))


def test_closing_the_toolbox_ends_what_tools_left_running(run: Run, toolbox: Toolbox) -> None:
    result = run("result = str(subprocess.Popen(['sleep', '60']).pid)")
    assert int(result.content) in states("pid")
    toolbox.close()
    assert has_ended(int(result.content))
    assert run("result = 'again'").content == "again"


def test_a_forked_copy_cannot_answer(run: Run) -> None:
    assert run("os.fork(); os.fork(); result = 'one'").content == "one"
    for number in range(5):
        assert run(f"result = 'call {number}'").content == f"call {number}"


def test_a_fork_bomb_ends_with_the_time_limit(run: Run) -> None:
    code = """
    print(os.getpgid(0), flush=True)
    while len(os.listdir('/proc')) < 1200:
        os.fork()
    time.sleep(60)
    """
    result = run(code, "run_briefly")
    assert result.status == "timeout"
    assert has_ended(int(result.content.split()[-1]), "pgid")


def test_a_flood_of_prints_is_cut(run: Run) -> None:
    peak = peak_bytes()
    result = run(
        """
        block = "x" * 1_000_000
        for _ in range(1000):
            print(block)
        result = "done"
        """
    )
    assert result.status == "ok"
    assert result.content.startswith("done\n[printed]\nxxx")
    assert len(result.content) < KEPT_BYTES
    assert "characters of printing left out" in result.content
    assert peak_bytes() - peak < 50 * 1024**2


def test_an_endless_flood_ends_with_the_time_limit(run: Run) -> None:
    result = run("subprocess.run('yes')", "run_briefly")
    assert result.status == "timeout"
    assert "y\ny\n" in result.content
    assert len(result.content) < KEPT_BYTES


def test_a_huge_result_is_cut_at_the_worker(run: Run) -> None:
    result = run("result = 'head' + 'x' * 100_000_000 + 'tail'")
    assert result.status == "ok"
    assert result.content.startswith("head")
    assert result.content.endswith("tail")
    assert "[99950008 characters left out]" in result.content
    assert len(result.content) < LONGEST_TEXT + 100


def test_a_result_of_a_gigabyte_does_not_fill_our_memory(tmp_path: Path) -> None:
    path = tmp_path / "danger.py"
    path.write_text(TOOLS)
    peak = peak_bytes()
    with Toolbox(load_tools(path)) as toolbox:
        result = toolbox.run(ToolCall("1", "run", {"code": "result = 'x' * 10**9"}))
    assert result.status == "ok"
    assert len(result.content) < LONGEST_TEXT + 100
    assert peak_bytes() - peak < 50 * 1024**2


@pytest.mark.parametrize(
    "code", ["result = 'x' * 1_000_000_000", "result = list(range(10**9))", "bytearray(10**12)"]
)
def test_memory_is_limited(run: Run, code: str) -> None:
    result = run(code)
    assert result.status == "error"
    assert "MemoryError" in result.content
    assert run("result = 'again'").content == "again"


def test_limits_cannot_be_raised_and_no_core_is_written(run: Run) -> None:
    limits = "import resource; result = str(resource.getrlimit(resource.RLIMIT_{}))"
    soft, hard = map(int, run(limits.format("AS")).content.strip("()").split(","))
    assert soft == hard
    assert run(limits.format("CORE")).content == "(0, 0)"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("os._exit(7)", "ended with status 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
        ("ctypes.string_at(0)", "killed by signal 11"),
        ("os.killpg(0, signal.SIGTERM)", "killed by signal 15"),
        ("os.closerange(0, 100)", "ended with status"),
    ],
)
def test_a_process_that_ends_is_an_error_and_is_started_again(
    run: Run, code: str, said: str
) -> None:
    result = run(f"print('before')\n{code}")
    assert result.status == "error"
    assert said in result.content
    assert result.content.endswith("before")
    assert run("result = 'again'").content == "again"


@pytest.mark.parametrize(
    "line",
    [
        '{"id": 0, "status": "ok", "content": "forged"}',
        "no json",
        "[1]",
        "{}",
        "[" * 100_000,
        "\\xff",
    ],
)
def test_a_forged_answer_ends_the_worker(run: Run, line: str) -> None:
    code = f"""
    for fd in range(3, 40):
        try: os.write(fd, b'''{line}\\n''')
        except OSError: pass
    """
    result = run(code)
    assert result.status == "error"
    assert "answered what nobody asked" in result.content
    assert run("result = 'again'").content == "again"


def test_an_answer_without_end_ends_the_worker(run: Run) -> None:
    code = """
    os.set_blocking(1, True)
    for fd in range(3, 40):
        try:
            while True: os.write(fd, b'x' * 65536)
        except OSError: pass
    """
    result = run(code)
    assert result.status == "error"
    assert "without end" in result.content


def test_later_calls_find_their_streams_and_folder_again(run: Run) -> None:
    before = run("result = os.getcwd()").content
    run("os.chdir('/'); sys.stdout.close(); sys.stderr = None; sys.stdin = None")
    result = run("print('heard'); result = os.getcwd()")
    assert result.content == f"{before}\n[printed]\nheard"


def test_a_closed_stdin_pipe_of_ours_is_out_of_reach(run: Run) -> None:
    """A process that a tool starts holds none of the worker's pipes."""
    listed = run(
        "result = subprocess.run(['ls', '/proc/self/fd'], capture_output=True, text=True,"
        " close_fds=False, stdin=0).stdout"
    ).content
    assert len(listed.split()) <= 4


def test_a_call_can_be_cancelled(run: Run, toolbox: Toolbox) -> None:
    threading.Timer(0.3, toolbox.cancel).start()
    start = time.monotonic()
    result = run("print('begun'); time.sleep(60)")
    assert time.monotonic() - start < 3
    assert result.status == "error"
    assert "cancelled" in result.content
    assert result.content.endswith("begun")


def test_an_interrupt_ends_the_worker_and_passes_through(run: Run) -> None:
    pid = int(run("result = str(os.getpid())").content)
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        run("time.sleep(60)")
    assert has_ended(pid)


def test_a_call_from_another_thread_works(run: Run, toolbox: Toolbox) -> None:
    toolbox.close()
    found: list[str] = []
    code = "import asyncio; asyncio.run(asyncio.sleep(0)); result = 'from a thread'"
    thread = threading.Thread(target=lambda: found.append(run(code).content))
    thread.start()
    thread.join()
    assert found == ["from a thread"]


def test_large_arguments_arrive(run: Run) -> None:
    text = "x" * 500_000
    assert run(f"result = str(len({text!r}))").content == "500000"


@pytest.mark.parametrize("how", ["killed", "left open"])
def test_the_worker_ends_when_its_parent_does(tmp_path: Path, how: str) -> None:
    path = tmp_path / "danger.py"
    path.write_text(TOOLS)
    script = f"""
    import os, signal, sys, threading
    from smolchat.messages import ToolCall
    from smolchat.toolbox import Toolbox, load_tools
    toolbox = Toolbox(load_tools({str(path)!r}))
    def run(code): return toolbox.run(ToolCall("1", "run", {{"code": code}})).content
    print(run("result = str(os.getpid())"))
    print(run("result = str(subprocess.Popen(['sleep', '60']).pid)"))
    sys.stdout.flush()
    if {how!r} == "killed":
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGKILL]).start()
        run("while True: pass")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stderr == ""
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    assert all(has_ended(pid) for pid in pids)


def test_a_toolbox_that_is_forgotten_ends_its_worker(tmp_path: Path) -> None:
    path = tmp_path / "danger.py"
    path.write_text(TOOLS)
    toolbox = Toolbox(load_tools(path))
    pid = toolbox.run(ToolCall("1", "run", {"code": "result = str(os.getpid())"})).content
    del toolbox
    assert has_ended(int(pid))


@pytest.mark.parametrize(
    "stream", ["None", "object()", "type('S', (), {'flush': lambda self: 1 / 0})()"]
)
def test_a_tool_that_replaces_its_output_still_answers(run: Run, stream: str) -> None:
    code = f"sys.stdout = sys.stderr = {stream}; result = 'here'"
    assert run(code) == ToolResult("1", "here")


def test_an_exception_that_cannot_be_shown_is_named(run: Run) -> None:
    code = """
class Mean(Exception):
    def __str__(self):
        raise KeyboardInterrupt
raise Mean
"""
    assert run(code) == ToolResult("1", "Mean", "error")
