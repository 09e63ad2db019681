"""The compiled kernels give what the reference model gives."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from conftest import EMBEDDED, make_checkpoint
from llvmlite import ir
from numpy.typing import NDArray

from smolchat.engine import kernels, machine_code, team
from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.cpu import CpuModel
from smolchat.engine.engine import Engine
from smolchat.engine.layout import SPAN, Job
from smolchat.engine.model import Model
from smolchat.engine.pace import Choice, Pace
from smolchat.engine.reference import ReferenceModel
from smolchat.engine.weights import checksum
from smolchat.generation import GenerationRequest, Sampling

SHAPES: dict[str, dict[str, Any]] = {
    "135M": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "rope_theta": 100_000,
    },
    "360M": {
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "rope_theta": 100_000,
    },
    "1.7B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "rope_theta": 130_000,
    },
}
COMMON = {
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 8192,
    "initializer_range": 0.05,
}


NEVER_TORCH = Pace(kernel_token=0.0, torch_span=1.0, torch_token=1.0, torch_import=1.0)
ALWAYS_TORCH = Pace(kernel_token=1.0, torch_span=0.0, torch_token=0.0, torch_import=0.0)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packed weights of a test go with it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SMOLCHAT_PREFILL")
    return tmp_path / "cache"


def open_cpu(folder: Path, quantize: str = "none", threads: int = 2) -> CpuModel:
    return CpuModel(open_checkpoint(folder), quantize, threads)


def open_reference(folder: Path) -> ReferenceModel:
    return ReferenceModel(open_checkpoint(folder), "cpu", "float32", threads=2)


def random_ids(length: int, vocabulary: int = 260, seed: int = 0) -> list[int]:
    ids = np.random.default_rng(seed).integers(4, vocabulary, length)
    return [int(token_id) for token_id in ids]


def relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def greedy(model: Model, prompt: list[int], count: int) -> list[int]:
    request = GenerationRequest(tuple(prompt), count, frozenset(), Sampling(temperature=0))
    return list(Engine(model).generate(request))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_logits_equal_the_reference_for_each_family_shape(
    shape: dict[str, Any], tmp_path: Path
) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", **COMMON, **shape)
    ids = random_ids(20)
    expected = open_reference(folder).forward(ids, 0, last=20)
    assert relative_error(open_cpu(folder).forward(ids, 0, last=20), expected) < 2e-5


@pytest.mark.parametrize("size", [16, 48, 80, 96, 112])
def test_logits_equal_the_reference_for_any_size_of_a_head(size: int, tmp_path: Path) -> None:
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": size}
    folder = make_checkpoint(tmp_path / "checkpoint", **COMMON, **heads, hidden_size=128)
    ids = random_ids(20)
    expected = open_reference(folder).forward(ids, 0, last=20)
    assert relative_error(open_cpu(folder).forward(ids, 0, last=20), expected) < 2e-5


def test_logits_equal_the_reference_on_the_embedded_checkpoint() -> None:
    ids = random_ids(200, vocabulary=2000)
    expected = open_reference(EMBEDDED).forward(ids, 0, last=200)
    model = open_cpu(EMBEDDED)
    model._choice.remember(NEVER_TORCH)
    assert relative_error(model.forward(ids, 0, last=200), expected) < 2e-5


def test_greedy_ids_equal_the_reference_over_200_tokens() -> None:
    prompt = random_ids(30, vocabulary=2000)
    expected = greedy(open_reference(EMBEDDED), prompt, 200)
    assert greedy(open_cpu(EMBEDDED), prompt, 200) == expected


@pytest.mark.parametrize("has_openmp", [True, False])
@pytest.mark.parametrize("quantize", ["none", "int8", "int4"])
def test_logits_do_not_depend_on_spans_and_threads(
    quantize: str, has_openmp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_openmp:
        monkeypatch.setattr(team, "openmp", lambda: None)
    elif team.openmp() is None:
        pytest.skip("no OpenMP on this machine")
    lengths = (*range(1, 10), 18, SPAN, SPAN, 31)
    ids = random_ids(sum(lengths), vocabulary=2000)
    model = open_cpu(EMBEDDED, quantize, threads=1)
    expected = np.stack([model.forward([one], at)[0] for at, one in enumerate(ids)])
    for threads in (1, 2, 3):
        model, start = open_cpu(EMBEDDED, quantize, threads), 0
        for length in lengths:
            span = ids[start : start + length]
            last = length if length < SPAN else 3
            logits = model.forward(span, start, last=last)
            start += length
            np.testing.assert_array_equal(logits, expected[start - last : start])


def test_a_prefix_put_back_continues_as_before() -> None:
    ids = random_ids(200, vocabulary=2000)
    model, other = open_cpu(EMBEDDED), open_cpu(EMBEDDED)
    for each in (model, other):
        each._choice.remember(NEVER_TORCH)
    expected = model.forward(ids, 0)
    model.truncate(150)
    other.restore(model.prefix(150), 150)
    np.testing.assert_array_equal(other.forward(ids[150:], 150), expected)


def test_a_prefix_of_another_model_is_refused(tiny_folder: Path) -> None:
    model, other = open_cpu(EMBEDDED), open_cpu(tiny_folder)
    model.forward([5, 6], 0)
    with pytest.raises(ValueError, match="another model"):
        other.restore(model.prefix(2), 2)
    with pytest.raises(ValueError, match="200 positions"):
        model.restore(model.prefix(2), 200)


@pytest.mark.parametrize(
    ("quantize", "bound"), [("none", 2e-5), ("int8", 2e-3), ("int4", 2e-3)], ids=str
)
def test_a_long_span_by_torch_gives_what_the_kernels_give(
    quantize: str, bound: float, tmp_path: Path
) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", **COMMON, **SHAPES["135M"])
    ids = random_ids(300)
    model, slow = open_cpu(folder, quantize), open_cpu(folder, quantize)
    slow._choice.remember(NEVER_TORCH)
    expected = slow.forward(ids, 0, last=4)
    model._choice.remember(ALWAYS_TORCH)
    model.forward(ids[:150], 0)
    assert relative_error(model.forward(ids[150:], 150, last=4), expected) < bound
    assert model._prefill is not None
    assert slow._prefill is None
    model.truncate(150)
    assert greedy(model, ids, 30) == greedy(slow, ids, 30)


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_greedy_ids_do_not_depend_on_who_reads_the_prompt(quantize: str) -> None:
    model, slow = open_cpu(EMBEDDED, quantize), open_cpu(EMBEDDED, quantize)
    model._choice.remember(ALWAYS_TORCH)
    slow._choice.remember(NEVER_TORCH)
    for seed in range(10):
        ids = random_ids(200, vocabulary=2000, seed=seed)
        assert greedy(model, ids, 40) == greedy(slow, ids, 40)
    assert model._prefill is not None


def test_torch_is_put_off_until_its_import_would_have_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    choice = Choice(tmp_path / "pace.json")
    choice.remember(Pace(kernel_token=1.0, torch_span=1.0, torch_token=0.5, torch_import=15.0))
    assert not choice.is_for_torch(2)  # never pays
    assert [choice.is_for_torch(22) for _ in range(3)] == [False, True, True]
    assert Choice(tmp_path / "pace.json").pace == choice.pace
    (tmp_path / "pace.json").write_text("{}")
    assert Choice(tmp_path / "pace.json").pace is None


def test_the_checksum_is_of_every_page_in_order() -> None:
    content = np.random.default_rng(0).integers(0, 256, 5 * 4096 + 11).astype(np.uint8)
    for size in (0, 7, 8, 4096, 4 * 4096, len(content)):
        part = content[:size]
        words = part[: size // 8 * 8].view(np.uint64)
        sums = [words[at : at + 512].sum(dtype=np.uint64) for at in range(0, len(words), 512)]
        whole = np.array(sums, np.uint64).tobytes() + part[len(words) * 8 :].tobytes()
        assert checksum(part) == hashlib.sha256(whole).hexdigest()


def packed_files(cache_folder: Path) -> list[Path]:
    return sorted((cache_folder / "smolchat" / "packed").iterdir())


def test_packed_weights_are_written_once_and_again_when_damaged(cache_folder: Path) -> None:
    ids = random_ids(8, vocabulary=2000)
    expected = open_cpu(EMBEDDED, "int8").forward(ids, 0)
    (path,) = packed_files(cache_folder)
    written = path.stat().st_mtime_ns
    np.testing.assert_array_equal(open_cpu(EMBEDDED, "int8").forward(ids, 0), expected)
    assert path.stat().st_mtime_ns == written
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    page = middle - middle % 4096
    swapped = [whole[:page], whole[page + 4096 : page + 8192], whole[page : page + 4096]]
    for damaged in (whole[:-100], flipped, b"", b"".join([*swapped, whole[page + 8192 :]])):
        path.write_bytes(damaged)
        np.testing.assert_array_equal(open_cpu(EMBEDDED, "int8").forward(ids, 0), expected)
        assert path.read_bytes() == whole
    assert packed_files(cache_folder) == [path]


def test_what_a_killed_packing_left_is_removed(cache_folder: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    folder = cache_folder / "smolchat" / "packed"
    folder.mkdir(parents=True)
    (folder / f"a-int8.{ended.pid}.partial").write_bytes(b"half")
    (folder / f"b-int8.{os.getpid()}.partial").write_bytes(b"still being written")
    for foreign in ("notes.partial", "a.b.partial"):
        (folder / foreign).write_bytes(b"of somebody else")
    open_cpu(EMBEDDED, "int8")
    suffixes = sorted(path.suffix for path in packed_files(cache_folder))
    assert suffixes == [".partial"] * 3 + [".safetensors"]


def test_another_state_of_the_checkpoint_has_other_packed_weights(
    cache_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(EMBEDDED, tmp_path / "copy"))
    open_cpu(folder, "int8")
    os.utime(folder / "model.safetensors", (1, 1))
    open_cpu(folder, "int8")
    assert len(packed_files(cache_folder)) == 2
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek((folder / "model.safetensors").stat().st_size // 2)
        file.write(bytes(64))
    os.utime(folder / "model.safetensors", (1, 1))
    open_cpu(folder, "int8")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    open_cpu(folder, "int8")
    assert len(packed_files(cache_folder)) == 3 + 1


def test_packed_weights_of_another_shape_are_not_read(cache_folder: Path) -> None:
    ids = random_ids(8, vocabulary=2000)
    expected = open_cpu(EMBEDDED, "int8").forward(ids, 0)
    (path,) = packed_files(cache_folder)
    open_cpu(EMBEDDED, "int4")
    (other,) = (each for each in packed_files(cache_folder) if each != path)
    shutil.copyfile(other, path)
    np.testing.assert_array_equal(open_cpu(EMBEDDED, "int8").forward(ids, 0), expected)


NOTICE = "smolchat: compiling the kernels, once for this machine and kind of weights\n"


def test_compiled_code_is_kept_and_needs_no_numba(tmp_path: Path, cache_folder: Path) -> None:
    environment = {**os.environ, "SMOLCHAT_CODE_DIR": str(tmp_path / "compiled")}
    command = [sys.executable, "-c", NUMBA, str(EMBEDDED)]

    def imported() -> tuple[str, str]:
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return told.stdout, told.stderr

    assert imported() == ("True", NOTICE)
    (path,) = (tmp_path / "compiled").iterdir()
    whole = path.read_bytes()
    assert imported() == ("False", "")
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert imported()[0] == "True"
    assert path.read_bytes() == whole


def test_compiled_code_that_was_not_used_for_longest_is_removed(tmp_path: Path) -> None:
    def keep(name: str) -> None:
        machine_code._keep(tmp_path / name, b"code", lambda text: pytest.fail(text))

    names = [f"{number:032x}.o" for number in range(machine_code.KEPT + 1)]
    (tmp_path / "other.o").touch()
    for age, name in enumerate(names[:-1]):
        keep(name)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert machine_code._read(tmp_path / names[-2]) == b"code"  # the oldest, but used again
    keep(names[-1])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"other.o", *names} - {names[-3]}


def test_compiled_code_that_cannot_be_kept_is_used_all_the_same(
    tmp_path: Path, cache_folder: Path
) -> None:
    (tmp_path / "file").write_text("where the folder should be")
    environment = {**os.environ, "SMOLCHAT_CODE_DIR": str(tmp_path / "file")}
    command = [sys.executable, "-c", NUMBA, str(EMBEDDED)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "True"
    assert f"compiled code is not kept: {tmp_path / 'file'}: File exists" in told.stderr


def test_each_kind_of_weights_and_processor_has_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = [open_cpu(EMBEDDED, quantize) for quantize in ("none", "int8", "int4")]

    def keys() -> list[str]:
        return [machine_code._key(llvm, model._weights, model._buffers) for model in models]

    here = keys()
    assert len(set(here)) == 3
    assert keys() == here
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert not set(keys()) & set(here)


def test_where_code_may_not_be_made_numba_cannot_be_used() -> None:
    """As under systemd's MemoryDenyWriteExecute; the compiled code is there."""
    open_cpu(EMBEDDED)
    command = [sys.executable, "-c", DENIED + NUMBA, str(EMBEDDED)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode == 77:
        pytest.skip("this system cannot deny it")
    assert ended.returncode == 1
    assert "ImportError: [Errno 13] cannot allocate executable memory" in ended.stderr


DENIED = """
import ctypes, sys
PR_SET_MDWE = 65
if ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0):
    sys.exit(77)
"""

NUMBA = """
import sys
from pathlib import Path
from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.cpu import CpuModel

CpuModel(open_checkpoint(Path(sys.argv[1])), "none", 2).forward([20, 21], 0)
print("numba" in sys.modules, end="")
"""


def test_without_a_cache_folder_the_weights_are_packed_in_memory(cache_folder: Path) -> None:
    cache_folder.write_text("a file where the folder should be")
    said: list[str] = []
    ids = random_ids(8, vocabulary=2000)
    model = CpuModel(open_checkpoint(EMBEDDED), "int8", 2, said.append)
    logits = model.forward(ids, 0)
    assert len([line for line in said if "not kept" in line]) == 1
    cache_folder.unlink()
    np.testing.assert_array_equal(open_cpu(EMBEDDED, "int8").forward(ids, 0), logits)


def test_on_a_full_disk_the_weights_are_packed_in_memory(cache_folder: Path) -> None:
    said: list[str] = []
    ids = random_ids(8, vocabulary=2000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        model = CpuModel(open_checkpoint(EMBEDDED), "int8", 2, said.append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len([line for line in said if "not kept" in line]) == 1
    assert packed_files(cache_folder) == []
    logits = model.forward(ids, 0)
    np.testing.assert_array_equal(open_cpu(EMBEDDED, "int8").forward(ids, 0), logits)


LOGITS = """
import sys
from pathlib import Path
import numpy as np
from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.cpu import CpuModel

for quantize in ("none", "int8", "int4"):
    model = CpuModel(open_checkpoint(Path(sys.argv[1])), quantize, 2)
    np.save(Path(sys.argv[2]) / quantize, model.forward(list(range(20, 53)), 0, last=4))
"""


MEMORY = """
import re
import sys
from pathlib import Path
from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.cpu import CpuModel

model = CpuModel(open_checkpoint(Path(sys.argv[1])), "int8", 2)
model.forward(list(range(20, 220)), 0)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(1024 * int(peak[1]) - model.weight_bytes - model._buffers.cache.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells the peak")
def test_peak_memory_is_weights_cache_and_at_most_300_mb(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", **COMMON, **SHAPES["135M"])
    open_cpu(folder, "int8")  # packs
    command = [sys.executable, "-c", MEMORY, str(folder)]
    environment = {**os.environ, "SMOLCHAT_PREFILL": "kernels"}
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert int(told.stdout) < 300e6


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names a processor of this kind")
def test_a_processor_with_avx2_alone_gives_the_same(tmp_path: Path, cache_folder: Path) -> None:
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi2,-avx512f",
        "SMOLCHAT_CODE_DIR": str(tmp_path / "compiled"),
        "SMOLCHAT_PREFILL": "kernels",
    }
    command = [sys.executable, "-c", LOGITS, str(EMBEDDED), str(tmp_path)]
    subprocess.run(command, env=environment, check=True)
    for quantize in ("none", "int8", "int4"):
        expected = open_cpu(EMBEDDED, quantize).forward(list(range(20, 53)), 0, last=4)
        found = np.load(tmp_path / f"{quantize}.npy")
        assert relative_error(found, expected) < (1e-5 if quantize == "none" else 1e-2)


@pytest.mark.parametrize("form", kernels.FORMATS.values(), ids=lambda form: form.name)
@pytest.mark.parametrize("positions", [1, 2, 4])
def test_the_products_can_be_compiled_for_arm64(form: Any, positions: int) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(opt=3)
    module = ir.Module()
    kernels._product(module, form, positions, is_wide=positions > 2).linkage = "external"
    module.triple = target.triple
    parsed = llvm.parse_assembly(str(module))
    passes = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(3))
    passes.getModulePassManager().run(parsed, passes)
    multiplies = r"\tsmull2?\t" if form.takes_rounded else r"\tfmla\t"
    assert re.search(multiplies, target.emit_assembly(parsed)), "by vectors, as NEON has them"


def test_the_context_can_be_filled_to_the_last_position(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", max_position_embeddings=300)
    ids = random_ids(300)
    expected = open_reference(folder).forward(ids, 0)
    model = open_cpu(folder)
    model.forward(ids[:297], 0)
    assert relative_error(model.forward(ids[297:], 297), expected) < 2e-5


def test_an_interrupted_step_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "openmp", lambda: None)
    model = open_cpu(EMBEDDED)
    ids = random_ids(20, vocabulary=2000)
    expected = model.forward(ids, 0)
    model.truncate(0)
    step = model._step

    class Interrupted:
        """A Ctrl-C after the other threads were woken."""

        def run(self, thread: int, job: int) -> None:
            if thread == 0:
                raise KeyboardInterrupt
            step.run(thread, job)

    monkeypatch.setattr(model, "_step", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        model.forward(ids, 0)
    monkeypatch.setattr(model, "_step", step)
    np.testing.assert_array_equal(model.forward(ids, 0), expected)


def test_an_interrupt_after_a_step_by_openmp_leaves_nothing_amiss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = open_cpu(EMBEDDED)
    threads = model._team._openmp
    if threads is None:
        pytest.skip("no OpenMP on this machine")
    ids = random_ids(20, vocabulary=2000)
    expected = model.forward(ids, 0)

    def interrupted(step: machine_code.Step, job: Job) -> bool:
        threads.run(step, job)
        raise KeyboardInterrupt

    monkeypatch.setattr(model._team, "_openmp", SimpleNamespace(run=interrupted))
    with pytest.raises(KeyboardInterrupt):
        model.forward(ids, 0)
    monkeypatch.setattr(model._team, "_openmp", threads)
    np.testing.assert_array_equal(model.forward(ids, 0), expected)


def test_a_forked_process_has_threads_of_its_own() -> None:
    command = [sys.executable, "-c", FORKED, str(EMBEDDED)]
    subprocess.run(command, check=True, timeout=120)


FORKED = """
import os
import signal
import sys
from pathlib import Path
from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.cpu import CpuModel

def logits():
    return CpuModel(open_checkpoint(Path(sys.argv[1])), "int8", 2).forward([20, 21], 0)

expected = logits()
if (child := os.fork()) == 0:
    signal.alarm(60)
    os._exit(not (logits() == expected).all())
assert os.waitpid(child, 0)[1] == 0
assert (logits() == expected).all()
"""


def test_two_models_may_be_used_at_the_same_time() -> None:
    ids = random_ids(40, vocabulary=2000)
    expected = open_cpu(EMBEDDED).forward(ids, 0)
    models = [open_cpu(EMBEDDED) for _ in range(2)]
    with ThreadPoolExecutor() as threads:
        for _ in range(5):
            for logits in threads.map(lambda model: model.forward(ids, 0), models):
                np.testing.assert_array_equal(logits, expected)


def test_where_openmp_lends_too_few_threads_there_are_others(
    tmp_path: Path, cache_folder: Path
) -> None:
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1", "SMOLCHAT_PREFILL": "kernels"}
    command = [sys.executable, "-c", LOGITS, str(EMBEDDED), str(tmp_path)]
    subprocess.run(command, env=environment, check=True, timeout=60)
    expected = open_cpu(EMBEDDED, "int8").forward(list(range(20, 53)), 0, last=4)
    np.testing.assert_array_equal(np.load(tmp_path / "int8.npy"), expected)


def test_torch_can_be_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = Choice(tmp_path / "pace.json")
    choice.remember(ALWAYS_TORCH)
    assert choice.is_for_torch(1000)
    monkeypatch.setenv("SMOLCHAT_PREFILL", "kernels")
    assert not choice.is_for_torch(1000)
