"""Where a checkpoint runs. What a machine lacks is asked for here; what it has, by `gpu` tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from smolchat.engine.device import (
    ALL_CORES,
    _quota_cores,
    available_threads,
    choose_device,
    choose_dtype,
)
from smolchat.errors import UsageError

HAS_CUDA = torch.cuda.is_available()
HAS_MPS = torch.backends.mps.is_available()

without_cuda = pytest.mark.skipif(HAS_CUDA, reason="this machine has CUDA")
HUGE = 1 << 60


@without_cuda
@pytest.mark.parametrize("wish", ["cuda", "cuda:0", "cuda:7", "all"])
def test_cuda_that_is_not_there_is_a_usage_error_that_names_the_wish(wish: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_device(wish)
    assert wish in caught.value.message
    assert "no CUDA device" in caught.value.message
    assert "--device auto" in caught.value.hint


@pytest.mark.skipif(HAS_MPS, reason="this machine has MPS")
def test_mps_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no MPS device") as caught:
        choose_device("mps")
    assert "--device auto" in caught.value.hint


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="needs CUDA")
def test_all_without_accelerate_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(UsageError, match="accelerate") as caught:
        choose_device("all")
    assert "smolchat[accelerate]" in caught.value.hint


@pytest.mark.parametrize("wish", ["tpu", "meta", "cuda:", "cuda:x", "cpu:0", "", "CUDA"])
def test_an_unknown_device_is_a_usage_error_that_lists_the_known_ones(wish: str) -> None:
    with pytest.raises(UsageError, match="no device is called") as caught:
        choose_device(wish)
    assert "cuda:N" in caught.value.hint


@pytest.mark.skipif(HAS_CUDA or HAS_MPS, reason="this machine has an accelerator")
def test_auto_is_the_cpu_where_there_is_nothing_else() -> None:
    assert choose_device("auto") == "cpu"


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("wish", "device", "stored", "weight_bytes", "expected"),
    [
        ("float32", "cpu", "bfloat16", HUGE, torch.float32),
        ("bfloat16", "cpu", "float32", 1, torch.bfloat16),
        ("float16", "cuda", "float32", 1, torch.float16),
        ("auto", "cpu", "bfloat16", 1, torch.float32),
        ("auto", "cpu", "bfloat16", HUGE, torch.bfloat16),
        ("auto", "cuda", "bfloat16", 1, torch.bfloat16),
        ("auto", "all", "float16", 1, torch.float16),
        ("auto", "cuda", "None", 1, torch.float32),
    ],
)
def test_the_number_format_is_the_stored_one_unless_float32_is_cheap(
    wish: str, device: str, stored: str, weight_bytes: int, expected: torch.dtype
) -> None:
    assert choose_dtype(wish, device, stored, weight_bytes) == expected


def test_threads_are_the_cores_that_this_process_may_use() -> None:
    assert 1 <= available_threads() <= (os.cpu_count() or 1)
    if not hasattr(os, "sched_setaffinity"):
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_threads() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="needs CUDA")
def test_a_cuda_index_beyond_the_last_is_a_usage_error_that_says_what_is_there() -> None:
    count = torch.cuda.device_count()
    assert choose_device(f"cuda:{count - 1}") == f"cuda:{count - 1}"
    with pytest.raises(UsageError, match=f"cuda:{count - 1}"):
        choose_device(f"cuda:{count}")


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, ALL_CORES),
        (
            "5:memory:/x\n4:cpu,cpuacct:/a\n0::/\n",
            {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            0.5,
        ),
        (
            "4:cpuacct,cpu:/host/path\n",  # of a container that sees its own group as the root
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        (
            "4:cpu:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            ALL_CORES,
        ),
        ("4:cpuset:/a\n", {"cpu/a/cpu.cfs_quota_us": "1\n"}, ALL_CORES),
    ],
    ids=["around", "max", "version 1", "container", "no quota", "another controller"],
)
def test_the_quota_of_a_control_group_counts(
    membership: str, files: dict[str, str], cores: float, tmp_path: Path
) -> None:
    for name, content in {**files, "../membership": membership}.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(content)
    assert _quota_cores(tmp_path / "membership", tmp_path / "root") == cores
