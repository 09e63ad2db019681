"""Which checkpoints exist, and which of them are on disk.

Knows files, not models, and no network. The Hugging Face cache is read in its own layout:
models--org--name/{blobs,refs,snapshots/<commit>}.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smolchat.errors import CheckpointError
from smolchat.paths import packed_dir, prefix_dir, shipped

EMBEDDED = "tiny"

FAMILY = {
    "135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "360m": "HuggingFaceTB/SmolLM2-360M-Instruct",
    "1.7b": "HuggingFaceTB/SmolLM2-1.7B-Instruct",
}
"""Alias to Hub id, smallest first."""

DRAFTS = {FAMILY["360m"]: FAMILY["135m"], FAMILY["1.7b"]: FAMILY["135m"]}
"""Checkpoint to the one that drafts for it; the family shares one tokenizer."""

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
REQUIRED = ("config.json", "tokenizer.json")
_HEADER_BYTES = 100_000_000  # the limit that the safetensors format sets for its header
_FOLDER_HINT = "Name a folder in Hugging Face layout, or an alias such as 360m."


@dataclass(frozen=True, slots=True)
class Choice:
    """The checkpoint to run, and why it was chosen."""

    path: Path | None
    """None while it is not on disk: `download(name)` fetches it."""
    name: str
    reason: Literal["named", "cached", "embedded"]


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


@dataclass(frozen=True, slots=True)
class Packed:
    """Weights in the cache folder, packed for the kernels."""

    path: Path
    source: str
    """The checkpoint's folder."""
    format: str
    bytes: int


def resolve(name: str) -> str:
    """The full name behind an alias or a family member's name, in any case; others stay."""
    lowered = name.lower()
    if alias := {EMBEDDED: EMBEDDED, **FAMILY}.get(lowered):
        return alias
    if folder := _as_folder(name):
        return str(folder)
    return next((known for known in FAMILY.values() if lowered in spellings(known)), name)


def draft_for(name: str) -> str | None:
    """The checkpoint that drafts for `name`, if there is one."""
    return DRAFTS.get(resolve(name))


def chosen_draft(wish: str | None, name: str) -> str | None:
    """The checkpoint that drafts for `name`: `wish`, or with `auto` the one of the family."""
    if wish == "auto":
        return draft_for(name)
    return None if wish in (None, "none") else resolve(wish)


def find(name: str) -> Path | None:
    """The folder of an alias, Hub id or folder name; None if it must be downloaded first.

    Raises CheckpointError if `name` is a folder without a whole checkpoint.
    """
    folder = _as_folder(name)
    return checked_folder(folder) if folder else _cached(resolve(name))


def find_tokenizer(name: str) -> Path | None:
    """The folder of `name` if its config and tokenizer are on disk; its weights may be missing."""
    folder = _as_folder(name)
    for path in [folder] if folder else _snapshots(repo_folder(resolve(name))):
        if all((path / file).is_file() for file in REQUIRED):
            return path
    return None


def choose(named: str | None) -> Choice:
    """The checkpoint named; else the largest cached one; else the embedded."""
    if named:
        return Choice(find(named), resolve(named), "named")
    for repo_id in reversed(FAMILY.values()):
        if path := _cached(repo_id):
            return Choice(path, repo_id, "cached")
    return Choice(find(EMBEDDED), EMBEDDED, "embedded")


def installed() -> list[Installed]:
    """Every checkpoint on disk that can be named: the embedded one, the family, then others."""
    embedded = shipped("checkpoints") / EMBEDDED
    found = [_installed(EMBEDDED, embedded, "embedded")] if _is_whole(embedded) else []
    names = sorted(cached_names(), key=lambda name: (_family_rank(name), name))
    paths = {name: path for name in names if (path := _cached(name)) and _is_language_model(path)}
    return found + [_installed(name, path, "cached") for name, path in paths.items()]


def packed() -> list[Packed]:
    """All packed weights; those whose header cannot be read come without a source."""
    found = []
    for path in _listed(packed_dir(), "*.safetensors"):
        metadata = _safetensors_header(path).get("__metadata__", {})
        source, form = str(metadata.get("source", "?")), str(metadata.get("format", "?"))
        found.append(Packed(path, source, form, file_bytes(path)))
    return found


def remove_packed() -> int:
    """Removes all packed weights and prefixes, finished or not; returns the bytes it frees."""
    freed = 0
    for path in [*_listed(packed_dir(), "*"), *_listed(prefix_dir(), "*")]:
        freed += file_bytes(path)
        path.unlink(missing_ok=True)
    return freed


def _safetensors_header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _HEADER_BYTES)))
    except (OSError, ValueError):
        return {}
    return header if isinstance(header, dict) else {}


def spellings(repo_id: str) -> tuple[str, str]:
    lowered = repo_id.lower()
    return lowered, lowered.partition("/")[2]


def _as_folder(name: str) -> Path | None:
    """The folder that `name` means, whether it exists or not; None for what the Hub knows."""
    if name.lower() == EMBEDDED:
        return shipped("checkpoints") / EMBEDDED
    if name.lower() in FAMILY:
        return None
    path = _expanded(name)
    is_folder = name.startswith((".", "/", "~")) or path.is_absolute() or is_there(path)
    return path if is_folder else None


def _expanded(text: str) -> Path:
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or a user without a home
        return path


def is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for a file name, or behind a folder that may not be entered
        return False


def checked_folder(folder: Path) -> Path:
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
        checked_folder(folder)
    except CheckpointError:
        return False
    return True


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}", _FOLDER_HINT)
    weights = _weight_names(folder)
    missing = [name for name in (*REQUIRED, *weights) if not (folder / name).is_file()]
    if WEIGHTS in missing and any(folder.glob("*.bin")):
        raise pickle_refused(str(folder))
    if missing:
        raise CheckpointError(
            f"{folder} is not a whole checkpoint: {counted(missing)} missing", _FOLDER_HINT
        )
    for name in weights:
        if not _is_whole_safetensors(folder / name):
            raise CheckpointError(
                f"{folder / name} is cut short or damaged",
                "Fetch it again; in a git clone, git lfs pull does that.",
            )


def _weight_names(folder: Path) -> list[str]:
    """The weight files that the folder ought to hold: one, or those that its index lists."""
    index = folder / INDEX
    if (folder / WEIGHTS).is_file() or not index.is_file():
        return [WEIGHTS]
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return sorted({str(name) for name in weight_map.values()}) or [WEIGHTS]
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
            ends = [int(tensor["data_offsets"][1]) for tensor in header.values()]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError):
            return False
    return path.stat().st_size >= 8 + header_bytes + max(ends, default=0)


def pickle_refused(where: str) -> CheckpointError:
    return CheckpointError(
        f"{where} has its weights as pickles only, and those can run code: "
        "weights are read from safetensors only",
        "Choose a checkpoint with model.safetensors; save_pretrained in transformers writes one.",
    )


def counted(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{' ...' if names[3:] else ''} {'are' if names[1:] else 'is'}"


def hub_cache() -> Path:
    """The folder that huggingface_hub would use, by the same variables."""
    env = os.environ
    home = env.get("HF_HOME") or str(Path(env.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    cache = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE") or str(Path(home, "hub"))
    return _expanded(os.path.expandvars(cache))


def repo_folder(repo_id: str) -> Path:
    return hub_cache() / f"models--{repo_id.replace('/', '--')}"


def cached_names() -> list[str]:
    folders = _listed(hub_cache(), "models--*")
    return [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]


def _cached(repo_id: str) -> Path | None:
    """The snapshot to use; one that was broken off does not count."""
    return next((path for path in _snapshots(repo_folder(repo_id)) if _is_whole(path)), None)


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
    return Installed(name, path, sum(file_bytes(file) for file in path.iterdir()), kind)


def _family_rank(name: str) -> int:
    members = list(FAMILY.values())
    return members.index(name) if name in members else len(members)


def _is_language_model(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return any(name.endswith("ForCausalLM") for name in config["architectures"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def file_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
