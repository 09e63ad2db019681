"""Many prompts from JSON lines, answered in order into JSON lines that can be gone on with.

Knows neither engine nor screen. An answer carries the number of its line and a digest of what was
asked, by which a second run knows what is done and notices when the question has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import Field, ValidationError

from smolchat.errors import SmolchatError, UsageError, did_you_mean
from smolchat.profiles import SamplingFields


class PromptLine(SamplingFields):
    """What a line may say: a prompt, and settings that hold for it alone."""

    prompt: str
    id: str | int | None = None
    """Comes back with the answer."""
    profile: str | None = Field(default=None, min_length=1)
    system: str | None = None
    max_new_tokens: int | None = Field(default=None, ge=1)

    def settings(self) -> dict[str, Any]:
        """The settings that this line decides."""
        return self.model_dump(exclude={"prompt", "id"}, exclude_none=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """A line of the input that is not blank."""

    number: int
    """From 1, blank lines counted."""
    content: bytes

    def digest(self, conditions: str) -> str:
        """Of the line and of everything else that decides its answer."""
        return hashlib.sha256(self.content + b"\0" + conditions.encode()).hexdigest()[:16]

    def read(self) -> PromptLine:
        """Raises UsageError naming the line and what is wrong with it."""
        where = f"line {self.number}"
        try:
            return PromptLine.model_validate(json.loads(self.content), strict=True)
        except UnicodeDecodeError as error:
            raise UsageError(f"{where} is not UTF-8", _EXAMPLE) from error
        except ValidationError as error:
            raise _mistake(where, error) from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{where} is not JSON: {error}", _EXAMPLE) from error


BEGIN = b'{"line": '
"""How every answer begins; what begins otherwise is somebody else's."""

_EXAMPLE = 'For example: {"prompt": "Hello", "temperature": 0}'


def read_lines(path: Path) -> list[Asked]:
    """The lines of a file, `-` for standard input. Raises UsageError when it cannot be read."""
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "Check the path.") from error
    numbered = enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
    return [Asked(number, line.strip()) for number, line in numbered if line.strip()]


def error_object(error: SmolchatError) -> dict[str, Any]:
    """What stands in the place of an answer."""
    told = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
    return {"error": told}


class Answers:
    """The lines written so far, to a file that is gone on with or to standard output.

    An answer is on disk when `add` returns. What an earlier run left half written is cut away.
    """

    def __init__(self, path: Path | None) -> None:
        """Raises UsageError when the file cannot be written or another run is writing it."""
        self.written: list[dict[str, Any]] = []
        self._path = path
        self._file: IO[bytes] | None = None
        if path is not None:
            self._file = _opened(path)
            try:
                self.written = list(self._kept(self._file))
            except UsageError:
                self.close()
                raise

    def require_answers_to(self, asked: list[Asked], conditions: str) -> None:
        """Raises UsageError when what is written answers anything but the first of `asked`."""
        for number, answer in enumerate(self.written):
            expected = asked[number] if number < len(asked) else None
            if (
                expected is None
                or answer.get("line") != expected.number
                or answer.get("asked") != expected.digest(conditions)
            ):
                raise UsageError(
                    f"{self._path}: line {number + 1} answers another prompt or other settings",
                    "Give the same ones to go on, or another --output.",
                )

    def add(self, answer: dict[str, Any]) -> None:
        line = json.dumps(answer, ensure_ascii=False)
        self.written.append(answer)
        if self._file is None:
            print(line, flush=True)
            return
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _kept(self, file: IO[bytes]) -> Iterator[dict[str, Any]]:
        """The complete lines of an earlier run; what is behind them goes."""
        end = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") and (line.startswith(BEGIN) or BEGIN.startswith(line)):
                break
            yield self._answer(line, number)
            end += len(line)
        file.truncate(end)
        file.seek(end)

    def _answer(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "asked" not in answer:
            raise UsageError(
                f"{self._path}: line {number} is no answer of an earlier run",
                "Nothing was changed; give another --output.",
            )
        return answer


def _opened(path: Path) -> IO[bytes]:
    try:
        file = path.open("a+b")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "Check the path.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UsageError(f"another run is writing {path}", "Wait for it to end.") from error
    except OSError:
        pass  # a file system or a device without locks
    if file.seekable():
        file.seek(0)
    return file


def _mistake(where: str, error: ValidationError) -> UsageError:
    # A misspelt field comes before the one that is missing because of it.
    mistake = min(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in mistake["loc"])
    fields = list(PromptLine.model_fields)
    if mistake["type"] == "extra_forbidden":
        hint = f"Fields are: {', '.join(fields)}."
        return UsageError(f"{where}: there is no field {key!r}{did_you_mean(key, fields)}", hint)
    said = str(mistake["msg"])
    about = f"{key}: " if key else ""
    return UsageError(f"{where}: {about}{said[0].lower()}{said[1:]}", _EXAMPLE)
