"""What smolchat finds on this machine: versions, devices, folders, settings and their sources."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from smolchat import __version__, catalog, paths
from smolchat.errors import SmolchatError
from smolchat.settings import Settings, config_path, unknown_variables

PACKAGES = (
    *("torch", "transformers", "numba", "llguidance", "tokenizers", "huggingface-hub", "typer"),
    "prompt-toolkit",
)


def examine(settings: Settings | SmolchatError) -> dict[str, dict[str, str]]:
    """Everything, as section -> name -> value; also when the settings cannot be read."""
    report = {"versions": _versions(), "hardware": _hardware(), "folders": _folders()}
    if isinstance(settings, SmolchatError):
        return report | {"settings": {"problem": settings.message}}
    report["checkpoint"] = _checkpoint(settings)
    report["settings"] = {
        name: f"{_shown(setting.value)}  ({setting.source})"
        for name, setting in settings.table.items()
    }
    if unknown := unknown_variables():
        report["environment"] = dict.fromkeys(unknown, "no setting has this name")
    return report


def _versions() -> dict[str, str]:
    found = {"smolchat": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _hardware() -> dict[str, str]:
    from smolchat.engine.device import available_threads, choose_device, gpu_names

    return {
        "platform": platform.platform(),
        "threads": str(available_threads()),
        "gpus": ", ".join(gpu_names()) or "none",
        "device for auto": choose_device("auto"),
    }


def _folders() -> dict[str, str]:
    found = {
        "configuration file": config_path(),
        "user profiles": paths.config_dir() / "profiles",
        "conversations": paths.conversations_path(),
        "packed weights, code": paths.cache_dir(),
        "Hugging Face cache": catalog.hub_cache(),
        "shipped profiles": paths.shipped("profiles"),
        "embedded checkpoint": paths.shipped("checkpoints") / catalog.EMBEDDED,
    }
    return {
        name: f"{path}{'' if path.exists() else '  (not there yet)'}"
        for name, path in found.items()
    }


def _checkpoint(settings: Settings) -> dict[str, str]:
    try:
        choice = catalog.choose(settings["model"])
    except SmolchatError as error:
        return {"problem": error.message}
    source = settings.table["model"].source
    return {
        "name": choice.name,
        "folder": str(choice.path or f"not on disk; smolchat pull {choice.name} fetches it"),
        "chosen because": _REASONS.get(choice.reason, f"it was named ({source})"),
    }


_REASONS: dict[str, str] = {
    "cached": "it is the largest SmolLM2 on disk",
    "embedded": "no other SmolLM2 is on disk",
}


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
