"""The child process in which tools run. Reads requests and writes answers, JSON line by line.

What the containment does: the process has its own session and group, so that it and what it starts
can be killed together; no terminal and an empty stdin; no environment variable whose name looks
like a secret; a limit on the memory of each process, and on the number of processes; stdout and
stderr are pipes of which the parent keeps the head; results are cut before they travel; it ends
when the parent does.

What it does not stop: a tool runs with the user's own rights. It can read and write the user's
files, secrets in files and in /proc included, use the network, end other programs of the user,
start a process in a session of its own that outlives the kill, fill the disk, and use the
processors until its time is up. What a tool leaves behind (globals, changed modules, a process in
the background) is there for the calls after it until the worker ends, and a tool that means harm
can forge their answers. Running a tool file at all runs what stands at its top, before any call is
approved. Functions handed over by a program itself, not loaded from a file, run in a fork that
holds a copy of that program's memory. The mark `effect` is a claim of the tool's author, not
enforced here. Load only tool files that you would run as scripts.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smolchat.toolbox.tool import Tool

Function = Callable[..., Any]
Reply = dict[str, Any]

LONGEST_TEXT = 50_000
"""Characters of a result that travel to the parent."""


def serve(
    request_fd: int, reply_fd: int, memory_bytes: int, functions: Mapping[str, Function]
) -> None:
    """Answer requests until the parent closes its end; then the whole group ends.

    `functions` are those that the parent had at hand; others come from tool files.
    """
    _settle(memory_bytes)
    for fd in (request_fd, reply_fd):
        os.set_inheritable(fd, False)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(request_fd, requests), daemon=True).start()
    own_pid, folder = os.getpid(), Path.cwd()
    workshop = Workshop(functions)
    while True:
        request = json.loads(requests.get())
        _refresh(folder)
        reply = workshop.answer(request)
        with contextlib.suppress(Exception):  # a tool may have closed or replaced them
            sys.stdout.flush()
            sys.stderr.flush()
        if os.getpid() != own_pid:  # a copy that a tool forked came out of the tool's function
            os._exit(0)
        _write(reply_fd, json.dumps({"id": request["id"], **reply}).encode() + b"\n")


def _listen(request_fd: int, requests: queue.SimpleQueue[str]) -> None:
    with open(request_fd, encoding="utf-8", closefd=False) as lines:
        for line in lines:
            requests.put(line)
    # The parent is gone: a tool that still runs would run for ever.
    os.killpg(0, signal.SIGKILL)


def _write(fd: int, line: bytes) -> None:
    while line:
        line = line[os.write(fd, line) :]


def _settle(memory_bytes: int) -> None:
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _limit_resources(memory_bytes)


def _limit_resources(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return
    limits = {"RLIMIT_AS": _used_bytes() + memory_bytes, "RLIMIT_CORE": 0}
    running = _running_threads()
    if running:
        limits["RLIMIT_NPROC"] = running + 256
    for name, limit in limits.items():
        # A limit that this system does not have, or that is already lower, stays as it is.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            hard = resource.getrlimit(getattr(resource, name))[1]
            if hard == resource.RLIM_INFINITY or limit < hard:
                resource.setrlimit(getattr(resource, name), (limit, limit))


def _used_bytes() -> int:
    """Address space in use now: large in a fork of a program that holds a model."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[0]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _running_threads() -> int:
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


def _refresh(folder: Path) -> None:
    """Undo what an earlier tool may have done to the streams and the current folder."""
    with contextlib.suppress(OSError):
        os.chdir(folder)
    sys.stdin, sys.stdout, sys.stderr = _stream(0, "r"), _stream(1, "w"), _stream(2, "w")


def _stream(fd: int, mode: str) -> io.TextIOWrapper:
    # Unbuffered, so that what was printed is there when the process is killed.
    raw: Any = io.FileIO(fd, mode, closefd=False)
    buffer = io.BufferedReader(raw) if mode == "r" else raw
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="replace", write_through=True)


class Workshop:
    """The functions known to this process, and the answers to requests about them."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = dict(functions)
        self._tools: dict[tuple[str, str], Tool] = {}

    def answer(self, request: Mapping[str, Any]) -> Reply:
        """The reply to `{"load": path}` or to `{"call": name, "path", "effect", "arguments"}`."""
        try:
            if "load" in request:
                return self._load(request["load"])
            return {"status": "ok", "content": _cut(_text(_finished(self._call(request))))}
        except BaseException as error:  # whatever a tool raises is its result, SystemExit included
            return {"status": "error", "content": _cut(_complaint(error))}

    def _load(self, path: str) -> Reply:
        from smolchat.toolbox.tool_file import read_tool_file

        found = read_tool_file(Path(path))
        self._tools |= {(path, tool.name): tool for tool in found.tools}
        return {
            "tools": [[tool.schema, tool.effect, tool.timeout_seconds] for tool in found.tools],
            "problems": [[problem.message, problem.hint] for problem in found.problems],
            "notes": found.notes,
        }

    def _call(self, request: Mapping[str, Any]) -> Any:
        from smolchat.toolbox.schema import hints_of
        from smolchat.toolbox.values import value_of

        function = self._function(request["call"], request["path"], request["effect"])
        hints = hints_of(function)
        given: dict[str, Any] = request["arguments"]
        return function(**{name: value_of(hints[name], value) for name, value in given.items()})

    def _function(self, name: str, path: str | None, effect: str) -> Function:
        if path is None:
            return self._functions[name]
        tool = self._tools.get((path, name))
        # The approval was for what the file said when it was loaded.
        if tool is None or tool.function is None or tool.effect != effect:
            raise LookupError(f"{path} has changed, and {name} is not the tool it was")
        return tool.function


def _finished(result: Any) -> Any:
    """What a coroutine returns, or all that a generator yields."""
    import inspect

    if inspect.isawaitable(result) or inspect.isasyncgen(result):
        import asyncio

        return _finished(asyncio.run(_awaited(result)))
    return list(result) if inspect.isgenerator(result) else result


async def _awaited(result: Any) -> Any:
    if hasattr(result, "__aiter__"):
        return [item async for item in result]
    return await result


def _text(result: Any) -> str | None:
    if result is None or isinstance(result, str):
        return result
    if isinstance(result, bytes):
        return result.decode("utf-8", errors="replace")
    try:
        return json.dumps(result, ensure_ascii=False, default=_json_or_text)
    except (TypeError, ValueError, RecursionError):
        return str(result)


def _json_or_text(value: Any) -> Any:
    from smolchat.toolbox.hints import json_of

    try:
        return json_of(value)
    except TypeError:
        return str(value)


def _cut(text: str | None) -> str | None:
    """The head and the tail of a long text, with a note of how much is missing between them."""
    if text is None or len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[{left_out} characters left out]\n{text[-half:]}"


def _complaint(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "MemoryError: the tool needed more memory than it may use"
    try:
        text = str(error)
    except BaseException:  # an exception class of the tool's own
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def main() -> None:
    """Started by path: the smolchat beside this file is used, whatever else is installed."""
    request_fd, reply_fd, memory_bytes = map(int, sys.argv[1:4])
    root = str(Path(__file__).resolve().parents[2])
    sys.path.insert(0, root)

    sys.path.remove(root)
    sys.path += [root, *(path for path in sys.argv[4:] if path not in sys.path)]
    serve(request_fd, reply_fd, memory_bytes, {})


if __name__ == "__main__":
    main()
