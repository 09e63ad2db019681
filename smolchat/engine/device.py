"""Which device and number format a checkpoint runs on."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec

import torch

from smolchat.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(wish: str) -> str:
    """`auto` takes the first of CUDA, MPS and CPU; anything else must be there, or UsageError.

    `all` is passed on: it means every GPU, as `device_map="auto"` does.
    """
    if wish == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps|all", wish):
        raise UsageError(f"no device is called {wish}", "Use auto, cpu, cuda, cuda:N, mps or all.")
    if wish == "all" or wish.startswith("cuda"):
        _require_cuda(wish)
    if wish == "all":
        _require_accelerate()
    elif wish == "mps" and not _has_mps():
        raise UsageError("no MPS device on this machine", "Use --device auto or --device cpu.")
    return wish


def choose_dtype(wish: str, device: str, stored: str, weight_bytes: int) -> torch.dtype:
    """`auto` is what the checkpoint stores, on a CPU float32 if it fits half of the memory.

    On a CPU float32 is as quick as bfloat16 in torch and rounds less; it doubles the bytes.
    """
    if wish != "auto":
        return DTYPES[wish]
    if device == "cpu" and 2 * weight_bytes <= _memory_bytes() // 2:
        return torch.float32
    return DTYPES.get(stored, torch.float32)


def available_threads() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_names() -> list[str]:
    """The CUDA devices: `cuda:0 NVIDIA ...`."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(count)]


def _require_cuda(wish: str) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    hint = "Use --device auto or --device cpu."
    if count == 0:
        raise UsageError(f"--device {wish}: no CUDA device on this machine", hint)
    index = re.fullmatch(r"cuda:(\d+)", wish)
    if index and int(index[1]) >= count:
        raise UsageError(f"--device {wish}: this machine has cuda:0 to cuda:{count - 1}", hint)


def _require_accelerate() -> None:
    if find_spec("accelerate") is None:
        raise UsageError(
            "--device all needs the package accelerate",
            "Install it with: pip install 'smolchat[accelerate]'",
        )


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
