"""The parent's end of the worker: starts it, asks it, keeps the head of what it prints, kills it.

Knows processes and pipes; knows neither schemas nor approval.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from smolchat.toolbox import worker

SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
KEPT_BYTES = 16_000
"""How much of a call's printing is kept."""
MEMORY_BYTES = 2 * 1024**3
"""How much memory each process of a tool may use."""

_LONGEST_REPLY = 8_000_000
_CHUNK = 65_536
_PATIENCE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """What the worker replied, and what was printed meanwhile."""

    reply: dict[str, Any]
    printed: str
    dropped_bytes: int


class Unanswered(Exception):
    """No answer came, and the worker was killed. `printed` is what came before that."""

    def __init__(self, reason: Literal["timeout", "ended", "cancelled"], detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.printed = ""
        self.dropped_bytes = 0


class _Process(Protocol):
    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self) -> int: ...


class _Fork:
    """A forked process, with as much of Popen's interface as is needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        return self._reap(os.WNOHANG)

    def wait(self) -> int:
        status = self._reap(0)
        assert status is not None
        return status

    def _reap(self, options: int) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, options)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status


class Child:
    """One warm worker, started when first asked and again after it was killed.

    With `functions` it is a fork of this process, which alone has them; without, a new interpreter.
    """

    def __init__(
        self, functions: Mapping[str, Callable[..., Any]], memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._functions = dict(functions)
        self._memory_bytes = memory_bytes
        self._worker: _Worker | None = None
        self._end: Callable[[], Any] = lambda: None
        self._is_cancelled = False
        self._asked = 0

    @property
    def is_running(self) -> bool:
        return self._worker is not None and self._worker.process.poll() is None

    def ask(self, request: Mapping[str, Any], timeout_seconds: float) -> Answer:
        """The answer to one request. Raises Unanswered."""
        self._is_cancelled = False
        asked = self._started()
        self._asked += 1
        deadline = time.monotonic() + timeout_seconds
        try:
            reply = asked.exchange({"id": self._asked, **request}, lambda: self._check(deadline))
        except Unanswered as failure:
            self.close()
            failure.printed, failure.dropped_bytes = asked.printed()
            raise
        except BaseException:
            self.close()
            raise
        return Answer(reply, *asked.printed())

    def cancel(self) -> None:
        """End the request that is running; safe in a signal handler or another thread."""
        self._is_cancelled = True

    def close(self) -> None:
        """Kill the worker and everything in its group."""
        self._end()
        self._worker = None

    def _check(self, deadline: float) -> float:
        """How long to wait at most, now. Raises Unanswered when waiting is over."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise Unanswered("timeout", "the time limit was reached")
        if self._is_cancelled:
            raise Unanswered("cancelled", "the call was cancelled")
        return min(left, _PATIENCE_SECONDS)

    def _started(self) -> _Worker:
        if self._worker is None or not self.is_running:
            self.close()
            self._worker = _start(self._functions, self._memory_bytes)
            # Also when the owner forgets to close, and when the interpreter exits.
            self._end = weakref.finalize(self, _Worker.kill, self._worker)
        return self._worker


class _Worker:
    """A running worker and the three pipes to it."""

    def __init__(self, process: _Process, requests: int, replies: int, prints: int) -> None:
        self.process = process
        self._owner_pid = os.getpid()
        self._requests, self._replies, self._prints = requests, replies, prints
        for fd in (requests, replies, prints):
            os.set_blocking(fd, False)
        self._outgoing = b""
        self._incoming = bytearray()
        self._kept = bytearray()
        self._dropped_bytes = 0

    def exchange(self, request: Mapping[str, Any], patience: Callable[[], float]) -> dict[str, Any]:
        self._forget()
        self._outgoing = json.dumps(request).encode() + b"\n"
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ, self._read_reply)
            selector.register(self._prints, selectors.EVENT_READ, self._read_prints)
            selector.register(self._requests, selectors.EVENT_WRITE, self._send)
            while b"\n" not in self._incoming:
                for key, _ in selector.select(patience()):
                    if not key.data():
                        selector.unregister(key.fileobj)
                self._check_alive()
        self._drain()
        return self._reply(request["id"])

    def _forget(self) -> None:
        """What came after the last answer belongs to no request."""
        self._drain()
        self._kept.clear()
        self._dropped_bytes = 0
        self._read_reply()
        self._incoming.clear()

    def printed(self) -> tuple[str, int]:
        return self._kept.decode(errors="replace"), self._dropped_bytes

    def kill(self) -> None:
        """Ends the group and closes the pipes, once what is left in them was read."""
        if os.getpid() != self._owner_pid:  # a fork of the owner owns nothing
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.poll() is None:  # a fork that has not made its own group yet
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._drain()
        _close((self._requests, self._replies, self._prints))

    def _send(self) -> bool:
        """Writes on; whether there is more."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._outgoing = self._outgoing[os.write(self._requests, self._outgoing) :]
        return bool(self._outgoing)

    def _read_reply(self) -> bool:
        chunk = _read(self._replies)
        self._incoming += chunk or b""
        if len(self._incoming) > _LONGEST_REPLY:
            raise Unanswered("ended", "it answered without end")
        return chunk != b""

    def _read_prints(self) -> bool:
        chunk = _read(self._prints)
        room = KEPT_BYTES - len(self._kept)
        self._kept += (chunk or b"")[:room]
        self._dropped_bytes += max(0, len(chunk or b"") - room)
        return chunk != b""

    def _drain(self) -> None:
        # Bounded: a process that was left behind may print faster than this reads.
        for _ in range(64):
            before = len(self._kept) + self._dropped_bytes
            self._read_prints()
            if len(self._kept) + self._dropped_bytes == before:
                return

    def _check_alive(self) -> None:
        status = self.process.poll()
        if status is None:
            return
        self._read_reply()
        if b"\n" not in self._incoming:
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise Unanswered("ended", f"its process {how}")

    def _reply(self, request_id: int) -> dict[str, Any]:
        line = bytes(self._incoming).partition(b"\n")[0]
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict) or reply.get("id") != request_id:
            raise Unanswered("ended", "it answered what nobody asked")
        return reply


def _read(fd: int) -> bytes | None:
    """Bytes that are there, None for none yet, empty at the end."""
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return None


def environment_without_secrets() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not SECRET.search(name)}


def _start(functions: Mapping[str, Callable[..., Any]], memory_bytes: int) -> _Worker:
    """Raises Unanswered when the system starts no further process."""
    requests, replies, prints = os.pipe(), os.pipe(), os.pipe()
    ours, theirs = (requests[1], replies[0], prints[0]), (requests[0], replies[1], prints[1])
    process: _Process
    try:
        if functions:
            process = _forked(theirs, functions, memory_bytes)
        else:
            process = _spawned(theirs, memory_bytes)
    except OSError as error:
        _close(ours)
        raise Unanswered("ended", f"its process could not be started ({error})") from None
    finally:
        _close(theirs)
    return _Worker(process, *ours)


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def _spawned(fds: tuple[int, int, int], memory_bytes: int) -> subprocess.Popen[bytes]:
    requests, replies, prints = fds
    program = [sys.executable, "-I", str(Path(worker.__file__).resolve())]
    paths = [path for path in sys.path if path]
    return subprocess.Popen(
        [*program, str(requests), str(replies), str(memory_bytes), *paths],
        stdin=subprocess.DEVNULL,
        stdout=prints,
        stderr=prints,
        pass_fds=(requests, replies),
        env=environment_without_secrets(),
        start_new_session=True,
    )


def _forked(
    fds: tuple[int, int, int], functions: Mapping[str, Callable[..., Any]], memory_bytes: int
) -> _Fork:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    with warnings.catch_warnings():
        # Python warns of threads. The fork runs none of theirs, and is killed if it hangs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return _Fork(pid)
    try:
        _become_worker(fds, functions, memory_bytes)
    finally:
        os._exit(1)


def _become_worker(
    fds: tuple[int, int, int], functions: Mapping[str, Callable[..., Any]], memory_bytes: int
) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for standard in (1, 2):
        os.dup2(fds[2], standard)
    kept = sorted(fds[:2])
    os.closerange(3, kept[0])
    os.closerange(kept[0] + 1, kept[1])
    os.closerange(kept[1] + 1, os.sysconf("SC_OPEN_MAX"))
    for name in [name for name in os.environ if SECRET.search(name)]:
        del os.environ[name]
    worker.serve(fds[0], fds[1], memory_bytes, functions)
