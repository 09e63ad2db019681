"""A small Hugging Face Hub on this machine: model listings, files, ranges, tokens and mishaps.

Speaks what huggingface_hub asks for when a model is fetched; knows nothing of smolchat.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE_BYTES = 100_000
"""Files from this size on are stored apart, as with git-lfs, and served by another host."""


@dataclass
class Repository:
    files: dict[str, bytes]
    needs_token: str | None = None
    """Gated: the listing is public, the files are for this token only."""
    error: int | None = None
    """Answered to whoever asks for the listing."""
    page: bytes | None = None
    """Answered in place of the listing."""
    announced_bytes: dict[str, int] = field(default_factory=dict)
    """Sizes in the listing that differ from the truth."""
    spoiled: set[str] = field(default_factory=set)
    """Files of which the next answer has the right length and the wrong content."""


@dataclass(frozen=True)
class Request:
    host: str
    path: str
    token: str | None
    start: int
    """First byte asked for; 0 without a Range header."""


class HubServer(ThreadingHTTPServer):
    """Keeps every request. The mishaps concern large files only."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.cuts: list[int] = []
        """How many bytes each of the next answers brings before its connection breaks."""
        self.stall_after: int | None = None
        """After so many bytes nothing more comes, over a connection that stays open."""
        self.released = threading.Event()
        """Ends the stalled connections."""
        self.ignores_ranges = False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage(self) -> str:
        """Where large files are: the same server under another name, and so another origin."""
        return f"http://localhost:{self.server_port}"

    def requested(self, file: str) -> list[Request]:
        """The requests for the content of `file`."""
        return [request for request in self.requests if request.path.endswith(f"/-/{file}")]

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients that hang up are part of the tests."""


@contextmanager
def serving() -> Iterator[HubServer]:
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Answer(BaseHTTPRequestHandler):
    server: HubServer
    asked: Request

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.asked = self._request(path)
        self.server.requests.append(self.asked)
        if listing := re.fullmatch(r"/api/models/(.+)", path):
            self._send_listing(listing[1])
        elif file := re.fullmatch(rf"/(.+)/resolve/{COMMIT}/(.+)", path):
            self._send_file(file[1], file[2])
        elif large := re.fullmatch(r"/large/(.+)/-/(.+)", path):
            self._send_large(self.server.repositories[large[1]], large[2])
        else:
            self._send_error(404, "EntryNotFound")

    def log_message(self, *arguments: object) -> None:
        """Nothing: `HubServer.requests` has it all."""

    def _request(self, path: str) -> Request:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
        host = (self.headers.get("Host") or "").partition(":")[0]
        return Request(host, path, token, int(start[1]) if start else 0)

    def _send_listing(self, name: str) -> None:
        repository = self.server.repositories.get(name)
        if repository is None:
            self._send_error(404, "RepoNotFound")
        elif repository.error:
            self._send_error(repository.error)
        else:
            body = repository.page or _listing(name, repository)
            self._send(body, {"X-HF-Warning": "; the Hub would like a word with you"})

    def _send_file(self, name: str, file: str) -> None:
        repository = self.server.repositories[name]
        wanted = repository.needs_token
        if wanted and self.asked.token != wanted:
            self._send_error(403 if self.asked.token else 401, "GatedRepo")
        elif len(repository.files[file]) < LARGE_BYTES:
            self._send(_content(repository, file))
        else:
            location = f"{self.server.storage}/large/{name}/-/{file}"
            self._send(b"", {"Location": location}, HTTPStatus.FOUND)

    def _send_large(self, repository: Repository, file: str) -> None:
        content = _content(repository, file)
        # As some storage does: what is compressed on its way has no ranges.
        has_ranges = not self.server.ignores_ranges and not self._accepts_gzip()
        start = self.asked.start if has_ranges else 0
        body = content[start:]
        if start:
            span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self._begin(HTTPStatus.PARTIAL_CONTENT, len(body), span)
        else:
            self._begin(HTTPStatus.OK, len(body), {})
        if self.server.stall_after is not None:
            self.wfile.write(body[: self.server.stall_after])
            self.server.released.wait()
        else:
            self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def _accepts_gzip(self) -> bool:
        return "gzip" in (self.headers.get("Accept-Encoding") or "")

    def _send_error(self, status: int, code: str = "") -> None:
        self._send(b'{"error": "no"}', {"X-Error-Code": code} if code else {}, HTTPStatus(status))

    def _send(
        self, body: bytes, headers: dict[str, str] | None = None, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self._begin(status, len(body), headers or {})
        self.wfile.write(body)

    def _begin(self, status: HTTPStatus, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()


def _content(repository: Repository, file: str) -> bytes:
    content = repository.files[file]
    if file not in repository.spoiled:
        return content
    repository.spoiled.remove(file)
    return bytes(len(content))


def _listing(name: str, repository: Repository) -> bytes:
    siblings = [_sibling(repository, file) for file in repository.files]
    return json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode()


def _sibling(repository: Repository, file: str) -> dict[str, object]:
    content = repository.files[file]
    size = repository.announced_bytes.get(file, len(content))
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    sibling: dict[str, object] = {"rfilename": file, "size": size, "blobId": blob}
    if size >= LARGE_BYTES:
        sha256 = hashlib.sha256(content).hexdigest()
        sibling["lfs"] = {"size": size, "sha256": sha256, "pointerSize": 134}
    return sibling
