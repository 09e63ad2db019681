"""Which checkpoints exist, which of them are on disk, and how a missing one is fetched.

Knows files, not models; only `download` touches the network. The Hugging Face cache is read and
written in its own layout (models--org--name/{blobs,refs,snapshots/<commit>}) and so shared with
other programs; files are fetched here because huggingface_hub begins a broken-off one anew.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import json
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
from typing import Any, Literal

from smolchat.errors import CheckpointError
from smolchat.paths import shipped

EMBEDDED = "tiny"

FAMILY = {
    "135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "360m": "HuggingFaceTB/SmolLM2-360M-Instruct",
    "1.7b": "HuggingFaceTB/SmolLM2-1.7B-Instruct",
}
"""Alias to Hub id, smallest first."""

DRAFTS = {FAMILY["360m"]: FAMILY["135m"], FAMILY["1.7b"]: FAMILY["135m"]}
"""Checkpoint to the one that drafts for it; the family shares one tokenizer."""

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes in all."""

_WEIGHTS = "model.safetensors"
_SHARD = re.compile(r"model-[\w-]+\.safetensors")
_INDEX = "model.safetensors.index.json"
_REQUIRED = ("config.json", "tokenizer.json")
_OPTIONAL = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    _INDEX,
)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CHUNK_BYTES = 256 * 1024
_HEADER_BYTES = 100_000_000  # the limit that the safetensors format sets for its header
_RETRIES = 3
_FOLDER_HINT = "Name a folder in Hugging Face layout, or an alias such as 360m."


@dataclass(frozen=True, slots=True)
class Choice:
    """The checkpoint to run, and why it was chosen."""

    path: Path | None
    """None while it is not on disk: `download(name)` fetches it."""
    name: str
    reason: Literal["named", "profile", "cached", "embedded"]


@dataclass(frozen=True, slots=True)
class Located:
    """A checkpoint that is on disk, ready to be loaded."""

    name: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Installed:
    """A checkpoint on disk."""

    name: str
    path: Path
    bytes: int
    kind: Literal["embedded", "cached"]


def resolve(name: str) -> str:
    """The full name behind an alias or a family member's name, in any case; others stay."""
    lowered = name.lower()
    if alias := {EMBEDDED: EMBEDDED, **FAMILY}.get(lowered):
        return alias
    if folder := _as_folder(name):
        return str(folder)
    return next((known for known in FAMILY.values() if lowered in _spellings(known)), name)


def draft_for(name: str) -> str | None:
    """The checkpoint that drafts for `name`, if there is one."""
    return DRAFTS.get(resolve(name))


def find(name: str) -> Path | None:
    """The folder of an alias, Hub id or folder name; None if it must be downloaded first.

    Raises CheckpointError if `name` is a folder without a whole checkpoint.
    """
    folder = _as_folder(name)
    return _checked(folder) if folder else _cached(resolve(name))


def choose(named: str | None, from_profile: str | None = None) -> Choice:
    """The checkpoint named; else the profile's; else the largest cached one; else the embedded."""
    if named:
        return Choice(find(named), resolve(named), "named")
    if from_profile:
        return Choice(find(from_profile), resolve(from_profile), "profile")
    for repo_id in reversed(FAMILY.values()):
        if path := _cached(repo_id):
            return Choice(path, repo_id, "cached")
    return Choice(find(EMBEDDED), EMBEDDED, "embedded")


def installed() -> list[Installed]:
    """Every checkpoint on disk that can be named: the embedded one, the family, then others."""
    embedded = shipped("checkpoints") / EMBEDDED
    found = [_installed(EMBEDDED, embedded, "embedded")] if _is_whole(embedded) else []
    names = sorted(_cached_names(), key=lambda name: (_family_rank(name), name))
    paths = {name: path for name in names if (path := _cached(name)) and _is_language_model(path)}
    return found + [_installed(name, path, "cached") for name, path in paths.items()]


def download(name: str, progress: Progress = lambda here, total: None) -> Path:
    """The folder of `name`, fetched from the Hub if it is not on disk.

    What an earlier try has left is kept and continued. Raises CheckpointError.
    """
    if path := find(name):
        return path
    repo_id = resolve(name)
    with _muted():
        expected: tuple[type[Exception], ...] = (OSError, *_connection_errors())
        try:
            return _fetch(repo_id, progress)
        except expected as error:
            raise _explained(error, repo_id) from error


def _spellings(repo_id: str) -> tuple[str, str]:
    lowered = repo_id.lower()
    return lowered, lowered.partition("/")[2]


def _as_folder(name: str) -> Path | None:
    """The folder that `name` means, whether it exists or not; None for what the Hub knows."""
    if name.lower() == EMBEDDED:
        return shipped("checkpoints") / EMBEDDED
    if name.lower() in FAMILY:
        return None
    path = _expanded(name)
    is_folder = name.startswith((".", "/", "~")) or path.is_absolute() or _exists(path)
    return path if is_folder else None


def _expanded(text: str) -> Path:
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or a user without a home
        return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for a file name, or behind a folder that may not be entered
        return False


def _checked(folder: Path) -> Path:
    """`folder`, if it holds a whole checkpoint. Raises CheckpointError."""
    try:
        _check_files(folder)
    except OSError as error:
        raise CheckpointError(
            f"cannot read {folder}: {error.strerror}", "Check the folder's permissions."
        ) from error
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        _checked(folder)
    except CheckpointError:
        return False
    return True


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}", _FOLDER_HINT)
    weights = _weight_names(folder)
    missing = [name for name in (*_REQUIRED, *weights) if not (folder / name).is_file()]
    if _WEIGHTS in missing and any(folder.glob("*.bin")):
        raise _pickled(str(folder))
    if missing:
        raise CheckpointError(
            f"{folder} is not a whole checkpoint: {_joined(missing)} missing", _FOLDER_HINT
        )
    for name in weights:
        if not _is_whole_safetensors(folder / name):
            raise CheckpointError(
                f"{folder / name} is cut short or damaged",
                "Fetch it again; in a git clone, git lfs pull does that.",
            )


def _weight_names(folder: Path) -> list[str]:
    """The weight files that the folder ought to hold: one, or those that its index lists."""
    index = folder / _INDEX
    if (folder / _WEIGHTS).is_file() or not index.is_file():
        return [_WEIGHTS]
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return sorted({str(name) for name in weight_map.values()}) or [_WEIGHTS]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{index} is damaged", "Fetch the checkpoint again.") from None


def _is_whole_safetensors(path: Path) -> bool:
    """Whether the file is as long as its header says: 8 bytes of length, header, tensors."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > _HEADER_BYTES:
            return False
        try:
            header = json.loads(file.read(header_bytes))
            header.pop("__metadata__", None)
            ends = [tensor["data_offsets"][1] for tensor in header.values()]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return False
    return path.stat().st_size >= 8 + header_bytes + max(ends, default=0)


def _pickled(where: str) -> CheckpointError:
    return CheckpointError(
        f"{where} has its weights as pickles only, and those can run code: "
        "weights are read from safetensors only",
        "Choose a checkpoint with model.safetensors; save_pretrained in transformers writes one.",
    )


def _joined(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{' ...' if names[3:] else ''} {'are' if names[1:] else 'is'}"


def _hub_cache() -> Path:
    """The folder that huggingface_hub would use, by the same variables."""
    env = os.environ
    home = env.get("HF_HOME") or str(Path(env.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    cache = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE") or str(Path(home, "hub"))
    return _expanded(os.path.expandvars(cache))


def _repo_folder(repo_id: str) -> Path:
    return _hub_cache() / f"models--{repo_id.replace('/', '--')}"


def _cached_names() -> list[str]:
    folders = _listed(_hub_cache(), "models--*")
    return [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]


def _cached(repo_id: str) -> Path | None:
    """The snapshot to use; one that was broken off does not count."""
    return next((path for path in _snapshots(_repo_folder(repo_id)) if _is_whole(path)), None)


def _snapshots(repo: Path) -> list[Path]:
    """The snapshot of `main`, then the others, newest first."""
    try:
        commit = (repo / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:  # fetched by its commit, or not at all
        commit = ""
    snapshots = _listed(repo / "snapshots", "*")
    return sorted(snapshots, key=lambda path: (path.name != commit, -path.stat().st_mtime))


def _listed(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:  # may not be entered
        return []


def _installed(name: str, path: Path, kind: Literal["embedded", "cached"]) -> Installed:
    return Installed(name, path, sum(_size(file) for file in path.iterdir()), kind)


def _family_rank(name: str) -> int:
    members = list(FAMILY.values())
    return members.index(name) if name in members else len(members)


def _is_language_model(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return any(name.endswith("ForCausalLM") for name in config["architectures"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


@dataclass(frozen=True, slots=True)
class _RemoteFile:
    name: str
    bytes: int
    digest: str
    """SHA-256 of a large file, git's blob id of a small one; the file's name among the blobs."""


def _fetch(repo_id: str, progress: Progress) -> Path:
    commit, files = _listing(repo_id)
    repo = _repo_folder(repo_id)
    snapshot = repo / "snapshots" / commit
    lacking = [file for file in files if _size(snapshot / file.name) != file.bytes]
    total = sum(file.bytes for file in files)
    here = total - sum(file.bytes for file in lacking)
    _require_space(repo_id, repo, lacking)
    for file in lacking:
        for fetched in _fetch_file(repo_id, commit, repo, file):
            progress(here + fetched, total)
        here += file.bytes
    _with_folder(repo / "refs" / "main").write_text(commit, encoding="utf-8")
    return _checked(snapshot)


def _listing(repo_id: str) -> tuple[str, list[_RemoteFile]]:
    """The commit of `main`, and the files of it that a checkpoint needs, smallest first."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

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
    except HfHubHTTPError:
        raise
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
        {_WEIGHTS} if _INDEX not in names else {name for name in names if _SHARD.fullmatch(name)}
    )
    if not weights <= names and any(name.endswith(".bin") for name in names):
        raise _pickled(repo_id)
    if missing := [name for name in (*_REQUIRED, *weights) if name not in names]:
        raise CheckpointError(
            f"{repo_id} cannot run here: {_joined(missing)} missing",
            "Choose a language model in Hugging Face layout, such as 360m.",
        )
    wanted = {*_REQUIRED, *_OPTIONAL, *weights}
    return sorted((file for file in files if file.name in wanted), key=lambda file: file.bytes)


def _require_space(repo_id: str, repo: Path, files: list[_RemoteFile]) -> None:
    blobs = repo / "blobs"
    parts = sum(_size(_part(blobs / file.digest)) for file in files)
    required = sum(file.bytes for file in files) - parts
    nearest = next(folder for folder in (repo, *repo.parents) if _exists(folder))
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
        if _size(blob) != file.bytes:
            part = _with_folder(_part(blob))
            yield from _fill(part, hf_hub_url(repo_id, file.name, revision=commit), file.bytes)
            _verify(part, file)
            part.replace(blob)
        _link(blob, _with_folder(repo / "snapshots" / commit / file.name))
    yield file.bytes


def _fill(part: Path, url: str, size: int) -> Iterator[int]:
    """Continues `part`, also over broken connections, as long as each try brings something."""
    stalls = 0
    while (here := _size(part)) < size:
        try:
            yield from _append(part, url)
            break
        except _connection_errors():
            stalls = 0 if _size(part) > here else stalls + 1
            if stalls > _RETRIES:
                raise
            time.sleep(stalls)


def _append(part: Path, url: str) -> Iterator[int]:
    """Requests what `part` still lacks of `url`; yields its size as it grows."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        hf_raise_for_status,
    )

    here = _size(part)
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


def _connection_errors() -> tuple[type[Exception], ...]:
    """What the HTTP library raises; it is httpx, or httpx2 from huggingface_hub 2 on."""
    from huggingface_hub.errors import HfHubHTTPError

    library = import_module(HfHubHTTPError.__mro__[1].__module__)
    return library.RequestError, library.InvalidURL


def _explained(error: Exception, repo_id: str) -> CheckpointError:
    from huggingface_hub import constants, errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return CheckpointError(
            f"{repo_id} is not on disk, and HF_HUB_OFFLINE forbids fetching it",
            "Unset HF_HUB_OFFLINE, or choose from `smolchat models`.",
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(error, repo_id)
    if isinstance(error, OSError):
        return _not_stored(error, repo_id)
    return CheckpointError(
        f"{repo_id} is not on disk whole, and {constants.ENDPOINT} cannot be reached",
        "Check the connection and try again (what has arrived is kept), "
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
    spellings = {alias: alias for alias in (EMBEDDED, *FAMILY)}
    for known in (*FAMILY.values(), *_cached_names()):
        spellings |= dict.fromkeys(_spellings(known), known)
    nearest = difflib.get_close_matches(name.lower(), spellings, n=1)
    if nearest:
        return f"Did you mean {spellings[nearest[0]]}?"
    return "Check the spelling; a private one needs HF_TOKEN. `smolchat models` lists what is here."


def _not_stored(error: OSError, repo_id: str) -> CheckpointError:
    if error.errno in _FULL:
        return CheckpointError(
            f"no space left in {_hub_cache()} while fetching {repo_id}",
            "Free some space and try again: what has arrived is kept. "
            "Or set HF_HOME to a folder on another disk.",
        )
    return CheckpointError(
        f"cannot store {repo_id} in {_hub_cache()}: {error.strerror or error}",
        "Check the folder's permissions, or set HF_HOME to another folder.",
    )
