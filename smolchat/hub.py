"""Fetches a checkpoint from the Hugging Face Hub into the cache that other programs share.

Going on with what was broken off is why files are fetched here: huggingface_hub begins them anew.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import logging
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from smolchat.catalog import (
    EMBEDDED,
    FAMILY,
    INDEX,
    REQUIRED,
    WEIGHTS,
    cached_names,
    checked_folder,
    counted,
    file_bytes,
    find,
    find_tokenizer,
    hub_cache,
    is_there,
    pickle_refused,
    repo_folder,
    resolve,
    spellings,
)
from smolchat.errors import CheckpointError

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes in all."""

_SHARD = re.compile(r"model-[\w-]+\.safetensors")
_OPTIONAL = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    INDEX,
)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CHUNK_BYTES = 256 * 1024
_RETRIES = 3


def download(
    name: str, progress: Progress = lambda here, total: None, with_weights: bool = True
) -> Path:
    """The folder of `name`, fetched from the Hub if it is not on disk.

    Without weights a few megabytes are enough to render prompts. What an earlier try has left is
    kept and continued. Raises CheckpointError.
    """
    if path := find(name) if with_weights else find_tokenizer(name):
        return path
    repo_id = resolve(name)
    _check_endpoint()
    with _muted():
        try:
            return _fetch(repo_id, progress, with_weights)
        except (OSError, _connection_error()) as error:
            raise _explained(error, repo_id) from error


@dataclass(frozen=True, slots=True)
class _RemoteFile:
    name: str
    bytes: int
    digest: str
    """SHA-256 of a large file, git's blob id of a small one; the file's name among the blobs."""


def _check_endpoint() -> None:
    """With an HF_ENDPOINT that is no address huggingface_hub could not even be imported."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        address = urlsplit(endpoint)
        is_address = (
            address.scheme in {"http", "https"} and bool(address.netloc) and address.port != 0
        )
    except ValueError:
        is_address = False
    if not is_address:
        raise CheckpointError(
            f"HF_ENDPOINT is no web address: {endpoint!r}", "Unset it, or begin it with https://."
        )


def _fetch(repo_id: str, progress: Progress, with_weights: bool) -> Path:
    commit, files = _listing(repo_id)
    if not with_weights:
        files = [file for file in files if not file.name.endswith(".safetensors")]
    repo = repo_folder(repo_id)
    snapshot = repo / "snapshots" / commit
    lacking = [file for file in files if file_bytes(snapshot / file.name) != file.bytes]
    total = sum(file.bytes for file in files)
    here = total - sum(file.bytes for file in lacking)
    _require_space(repo_id, repo, lacking)
    for file in lacking:
        for fetched in _fetch_file(repo_id, commit, repo, file):
            progress(here + fetched, total)
        here += file.bytes
    _with_folder(repo / "refs" / "main").write_text(commit, encoding="utf-8")
    return checked_folder(snapshot) if with_weights else snapshot


def _listing(repo_id: str) -> tuple[str, list[_RemoteFile]]:
    """The commit of `main`, and the files of it that a checkpoint needs, smallest first."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError

    try:
        timeout = constants.HF_HUB_ETAG_TIMEOUT
        model = HfApi().model_info(repo_id, files_metadata=True, timeout=timeout)
        files = [_remote_file(sibling) for sibling in model.siblings or []]
        commit = _hex(model.sha or "")
    except HFValidationError as error:
        raise CheckpointError(
            f"{repo_id!r} is not the name of a checkpoint",
            "Name an alias (tiny, 135m, 360m, 1.7b), a Hub id (organisation/name), or a folder.",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{constants.ENDPOINT} does not answer like the Hugging Face Hub",
            "Check HF_ENDPOINT, and whether a proxy or a login page is in between.",
        ) from error
    return commit, _needed(repo_id, files)


def _remote_file(sibling: Any) -> _RemoteFile:
    lfs = sibling.lfs
    digest = _hex(lfs.sha256 if lfs else sibling.blob_id)
    return _RemoteFile(sibling.rfilename, int(lfs.size if lfs else sibling.size), digest)


def _hex(text: str) -> str:
    """`text` if it is hexadecimal and so safe as a file name. Raises ValueError or TypeError."""
    return bytes.fromhex(text).hex()


def _needed(repo_id: str, files: list[_RemoteFile]) -> list[_RemoteFile]:
    names = {file.name for file in files}
    weights = (
        {WEIGHTS} if INDEX not in names else {name for name in names if _SHARD.fullmatch(name)}
    )
    if not weights <= names and any(name.endswith(".bin") for name in names):
        raise pickle_refused(repo_id)
    if missing := [name for name in (*REQUIRED, *weights) if name not in names]:
        raise CheckpointError(
            f"{repo_id} cannot run here: {counted(missing)} missing",
            "Choose a language model in Hugging Face layout, such as 360m.",
        )
    wanted = {*REQUIRED, *_OPTIONAL, *weights}
    return sorted((file for file in files if file.name in wanted), key=lambda file: file.bytes)


def _require_space(repo_id: str, repo: Path, files: list[_RemoteFile]) -> None:
    blobs = repo / "blobs"
    parts = sum(file_bytes(_part(blobs / file.digest)) for file in files)
    required = sum(file.bytes for file in files) - parts
    nearest = next(folder for folder in (repo, *repo.parents) if is_there(folder))
    free = shutil.disk_usage(nearest).free
    if required > free:
        raise CheckpointError(
            f"{repo_id} needs {_amount(required)} more, and {nearest} has {_amount(free)} free",
            "Free some space, or set HF_HOME to a folder on another disk.",
        )


def _fetch_file(repo_id: str, commit: str, repo: Path, file: _RemoteFile) -> Iterator[int]:
    """Puts one file into the snapshot; yields the bytes of it that are here."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    blob = repo / "blobs" / file.digest
    lock = repo.parent / ".locks" / repo.name / f"{file.digest}.lock"
    with WeakFileLock(_with_folder(lock)):
        if file_bytes(blob) != file.bytes:
            part = _with_folder(_part(blob))
            yield from _fill(part, hf_hub_url(repo_id, file.name, revision=commit), file.bytes)
            _verify(part, file)
            part.replace(blob)
        _link(blob, _with_folder(repo / "snapshots" / commit / file.name))
    yield file.bytes


def _fill(part: Path, url: str, size: int) -> Iterator[int]:
    """Continues `part`, also over broken connections, as long as each try brings something."""
    stalls = 0
    while (here := file_bytes(part)) < size:
        try:
            yield from _append(part, url)
            break
        except _connection_error():
            stalls = 0 if file_bytes(part) > here else stalls + 1
            if stalls > _RETRIES:
                raise
            time.sleep(stalls / 2)


def _append(part: Path, url: str) -> Iterator[int]:
    """Requests what `part` still lacks of `url`; yields its size as it grows."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        hf_raise_for_status,
    )

    here = file_bytes(part)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        continues = response.status_code == 206
        with part.open("ab" if continues else "wb") as file:
            here = here if continues else 0
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                here += file.write(chunk)
                yield here


def _verify(part: Path, file: _RemoteFile) -> None:
    """Raises CheckpointError, and forgets the part, if it is not what the Hub has listed."""
    sha256 = hashlib.sha256()
    git = hashlib.sha1(f"blob {file.bytes}\0".encode(), usedforsecurity=False)
    digest = sha256 if len(file.digest) == sha256.digest_size * 2 else git
    with part.open("rb") as content:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != file.digest:
        part.unlink()
        raise CheckpointError(
            f"{file.name} arrived damaged", "Try again; check the proxy if it stays like this."
        )


def _link(blob: Path, pointer: Path) -> None:
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # no symbolic links here, as on Windows without developer mode
        blob.replace(pointer)


def _part(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


def _with_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


@contextmanager
def _muted() -> Iterator[None]:
    """Keeps huggingface_hub's log lines and warnings off the terminal; errors carry the news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub.utils import logging as hub_logging

        verbosity = hub_logging.get_verbosity()
        hub_logging.set_verbosity(logging.CRITICAL)
        try:
            yield
        finally:
            hub_logging.set_verbosity(verbosity)


def _connection_error() -> type[Exception]:
    """What the HTTP library raises; it is httpx, or httpx2 from huggingface_hub 2 on."""
    from huggingface_hub.errors import HfHubHTTPError

    library = import_module(HfHubHTTPError.__mro__[1].__module__)
    error: type[Exception] = library.RequestError
    return error


def _explained(error: Exception, repo_id: str) -> CheckpointError:
    from huggingface_hub import constants, errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return CheckpointError(
            f"{repo_id} is not on disk, and HF_HUB_OFFLINE forbids fetching it",
            _misspelt(repo_id) or "Unset HF_HUB_OFFLINE, or choose from `smolchat models`.",
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(error, repo_id)
    if isinstance(error, OSError):
        return _not_stored(error, repo_id)
    return CheckpointError(
        f"{repo_id} is not on disk, or not all of it, and {constants.ENDPOINT} cannot be reached",
        _misspelt(repo_id)
        or "Check the connection and try again (what has arrived is kept), "
        "or choose from `smolchat models`.",
    )


def _refused(error: Any, repo_id: str) -> CheckpointError:
    from huggingface_hub import constants, errors

    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        return CheckpointError(
            f"{repo_id} is gated: access is given on request",
            f"Ask for it at {constants.ENDPOINT}/{repo_id}, then set HF_TOKEN to your token.",
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return CheckpointError(
            f"there is no checkpoint {repo_id} at {constants.ENDPOINT}, or it is private",
            _suggestion(repo_id),
        )
    if status in (401, 403):
        return CheckpointError(
            f"{constants.ENDPOINT} refuses access to {repo_id} ({status})",
            "Check that HF_TOKEN holds a valid token with access to it, or unset it.",
        )
    return CheckpointError(
        f"{constants.ENDPOINT} answered {status} when asked for {repo_id}",
        "Try again later: what has arrived is kept.",
    )


def _suggestion(name: str) -> str:
    return _misspelt(name) or (
        "Check the spelling; a private one needs HF_TOKEN. `smolchat models` lists what is here."
    )


def _misspelt(name: str) -> str:
    """Which known name was probably meant; empty for a known one and for an unlike one."""
    known = {alias: alias for alias in (EMBEDDED, *FAMILY)}
    for full_name in (*FAMILY.values(), *cached_names()):
        known |= dict.fromkeys(spellings(full_name), full_name)
    nearest = difflib.get_close_matches(name.lower(), known, n=1)
    meant = known[nearest[0]] if nearest else name
    return f"Did you mean {meant}?" if meant != name else ""


def _not_stored(error: OSError, repo_id: str) -> CheckpointError:
    if error.errno in _FULL:
        return CheckpointError(
            f"no space left in {hub_cache()} while fetching {repo_id}",
            "Free some space and try again: what has arrived is kept. "
            "Or set HF_HOME to a folder on another disk.",
        )
    return CheckpointError(
        f"cannot store {repo_id} in {hub_cache()}: {error.strerror or error}",
        "Check the folder's permissions, or set HF_HOME to another folder.",
    )
