"""The compiled step: from the cache folder, or compiled once for this machine.

Code that is there needs no Numba, whose import takes longer than a short reply.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolchat.engine.files import write_whole
from smolchat.engine.layout import ENTRY, TEAM_ENTRY, Buffers, Weights
from smolchat.paths import code_dir

Notice = Callable[[str], None]
"""Takes one line that the user should know."""
ENTRY_KIND = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
)
"""What ENTRY takes and gives: `kernels.machine_code`."""
DIGEST_BYTES = 32
"""Of the SHA-256 that stands before the code in its file."""
KEY_DIGITS = 32
"""Of the name of such a file."""
KEPT = 24
"""So many of these files stay, the last used: 80 KB each for weights, processor, version."""


@dataclass(frozen=True, slots=True)
class Step:
    """`kernels.step` in memory, for jobs on arrays of certain types."""

    _function: Any
    team_address: int
    """Of what a team of OpenMP runs."""

    def run(self, thread: int, job: int) -> None:
        """A thread's part in the job at an address. Raises RuntimeError when it is given up."""
        if self._function(*_IGNORED, thread, job):
            raise RuntimeError("the step was given up")


_IGNORED = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
"""Where Numba's functions put results and errors."""


def load_step(weights: Weights, buffers: Buffers, notice: Notice) -> Step:
    """The step for arrays of these types.

    Raises ImportError where code may not be made while running, and where it has to be compiled and
    Numba cannot be imported.
    """
    try:
        from llvmlite import binding as llvm

        llvm.check_jit_execution()
    except OSError as error:  # of a library that cannot be loaded, or of memory
        raise ImportError(str(error)) from error
    key = _key(llvm, weights, buffers)
    if key not in _LOADED:
        path = code_dir() / f"{key}.o"
        code = _read(path)
        if code is None:
            code = _compile(llvm, weights, buffers, notice)
            _keep(path, code, notice)
        _LOADED[key] = _load(llvm, code)
    return _LOADED[key]


_LOADED: dict[str, Step] = {}


def _key(llvm: Any, weights: Weights, buffers: Buffers) -> str:
    """What compiled code hangs on: its source, the compilers, the processor, types of arrays."""
    import llvmlite

    digest = hashlib.sha256()
    for module in ("kernels.py", "layout.py", "machine_code.py"):
        digest.update(Path(__file__).with_name(module).read_bytes())
    digest.update(_numba_version())
    types = [(value.dtype.str, value.ndim) for value in (*weights, *buffers)]
    digest.update(f"{llvmlite.__version__} {_processor(llvm)} {types}".encode())
    return digest.hexdigest()[:KEY_DIGITS]


def _numba_version() -> bytes:
    """What tells one version from another, without importing it; nothing if it is not there."""
    found = importlib.util.find_spec("numba")
    if found is not None and found.origin is not None:
        with suppress(OSError):
            return Path(found.origin).with_name("_version.py").read_bytes()
    return b""


def _processor(llvm: Any) -> tuple[str, str]:
    """Its name and its features, unless two of Numba's variables say others."""
    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = ""
    if name != "generic":
        with suppress(RuntimeError):  # LLVM cannot tell them on every system
            features = llvm.get_host_cpu_features().flatten()
    return name, os.environ.get("NUMBA_CPU_FEATURES", features)


def _machine(llvm: Any) -> Any:
    """LLVM's description of this machine, set up as Numba does for code that is used at once."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    name, features = _processor(llvm)
    reloc = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True
    )


def _compile(llvm: Any, weights: Weights, buffers: Buffers, notice: Notice) -> bytes:
    try:
        from smolchat.engine.kernels import machine_code
    except OSError as error:  # of a library that cannot be loaded
        raise ImportError(str(error)) from error
    notice("compiling the kernels, once for this machine and kind of weights")
    return machine_code(_machine(llvm), weights, buffers)


def _load(llvm: Any, code: bytes) -> Step:
    """Into memory that may be executed, for as long as the process runs."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(llvm))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    one, team = (engine.get_function_address(name) for name in (ENTRY, TEAM_ENTRY))
    engine.detach()  # from what would free it
    return Step(ENTRY_KIND(one), team)


def _read(path: Path) -> bytes | None:
    """None where nothing is, or not what was written: such code may do anything."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    code = content[DIGEST_BYTES:]
    if hashlib.sha256(code).digest() != content[:DIGEST_BYTES]:
        return None
    with suppress(OSError):
        os.utime(path)  # when it was used
    return code


def _keep(path: Path, code: bytes, notice: Notice) -> None:
    try:
        write_whole(path, hashlib.sha256(code).digest() + code)
    except OSError as error:
        notice(f"compiled code is not kept: {error.filename or path}: {error.strerror or error}")
    else:
        with suppress(OSError):  # another process may do the same at the same time
            _remove_oldest(path)


def _remove_oldest(newest: Path) -> None:
    """Leaves KEPT files of ours beside `newest`, those that were used last."""
    ours = set(newest.parent.glob("[0-9a-f]" * KEY_DIGITS + ".o")) - {newest}
    for path in sorted(ours, key=lambda each: each.stat().st_mtime)[: -KEPT + 1]:
        path.unlink()
