"""Which device and number format a checkpoint runs on."""

from __future__ import annotations

import math
import os
import platform
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from smolchat.errors import UsageError

if TYPE_CHECKING:
    import torch

GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Where Linux shows a driver of NVIDIA, of AMD, or that of the Windows host."""


def choose_device(wish: str) -> str:
    """`auto` takes the first of CUDA, MPS and CPU; anything else must be there, or UsageError.

    `all` is passed on: it means every GPU, as `device_map="auto"` does.
    """
    if wish == "auto":
        return _first_device() if may_have_gpu() else "cpu"
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
    import torch

    known: dict[str, torch.dtype] = {
        name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")
    }
    if wish != "auto":
        return known[wish]
    if device == "cpu" and 2 * weight_bytes <= _memory_bytes() // 2:
        return torch.float32
    return known.get(stored, torch.float32)


def available_threads() -> int:
    """Cores this process may use, by its affinity and the quota of its control group."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, math.ceil(_quota_cores(Path("/proc/self/cgroup")))))


ALL_CORES = float(1 << 20)


def _quota_cores(membership: Path, root: Path = Path("/sys/fs/cgroup")) -> float:
    """The least that this control group and those around it grant; ALL_CORES if no one limits."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ALL_CORES
    cores = ALL_CORES
    for line in lines:
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = root / ("cpu" if controllers else "") / group.strip("/")
        granted = (
            _granted(each) for each in (folder, *folder.parents) if each.is_relative_to(root)
        )
        cores = min(cores, *granted)
    return cores


def _granted(group: Path) -> float:
    """Cores by the files of version 2 of control groups or of version 1."""
    for files in ("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"):
        with suppress(OSError, ValueError, ZeroDivisionError):  # not there, or "max"
            text = " ".join((group / file).read_text(encoding="utf-8") for file in files)
            quota, period = text.split()
            if int(quota) > 0:
                return int(quota) / int(period)
    return ALL_CORES


def may_have_gpu() -> bool:
    """A guess that never says no wrongly on Linux and macOS, without the second that torch takes.

    Where it says yes, torch is asked.
    """
    if platform.system() == "Linux":
        return any(Path(file).exists() for file in GPU_FILES)
    return True


def _first_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"


def gpu_names() -> list[str]:
    """The CUDA devices: `cuda:0 NVIDIA ...`."""
    if not may_have_gpu():
        return []
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(count)]


def _require_cuda(wish: str) -> None:
    import torch

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
    import torch

    return torch.backends.mps.is_available()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
