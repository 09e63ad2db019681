"""The weights of a Llama for the kernels: mapped from the checkpoint, or quantised and packed once.

A packed file is a safetensors file in the cache folder: `codes` and `scales` of every matrix, one
after the other, with a checksum, written beside and renamed. A checkpoint that changes gets
another name; a file that is damaged is written again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smolchat.engine.checkpoint import Checkpoint
from smolchat.errors import CheckpointError
from smolchat.paths import packed_dir

Array = NDArray[Any]

VERSION = 4
"""Of the packed format; raise it when the layout changes."""

DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I8": np.int8, "U8": np.uint8}
"""What safetensors calls a number; numpy has no bfloat16."""

PARTS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
"""The matrices of a layer, in the order that the kernels number them."""

NOTABLE_BYTES = 100_000_000
"""Packing less than this is over before a notice could be read."""

SAMPLES = 64
"""Places in a weight file that tell it from another of the same size and date."""

ROWS = 1024
"""Rows that are quantised at a time; bounds the memory that packing takes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a Llama's config.json."""

    layers: int
    hidden: int
    heads: int
    groups: int
    """Heads of keys and values."""
    size: int
    """Numbers in a head."""
    inner: int
    """Width of the MLP."""
    vocabulary: int
    context: int
    theta: float
    epsilon: float
    is_tied: bool

    def matrices(self) -> Iterator[tuple[str, int, int]]:
        """Name, rows and columns of every matrix; the last is the head."""
        queries, keys = self.heads * self.size, self.groups * self.size
        shapes = [
            (queries, self.hidden),
            (keys, self.hidden),
            (keys, self.hidden),
            (self.hidden, queries),
            (self.inner, self.hidden),
            (self.inner, self.hidden),
            (self.hidden, self.inner),
        ]
        for layer in range(self.layers):
            for part, shape in zip(PARTS, shapes, strict=True):
                yield f"model.layers.{layer}.{part}.weight", *shape
        yield "model.embed_tokens.weight", self.vocabulary, self.hidden
        if not self.is_tied:
            yield "lm_head.weight", self.vocabulary, self.hidden

    def norms(self) -> Iterator[str]:
        for layer in range(self.layers):
            yield f"model.layers.{layer}.input_layernorm.weight"
            yield f"model.layers.{layer}.post_attention_layernorm.weight"
        yield "model.norm.weight"


@dataclass(frozen=True, slots=True)
class PackedWeights:
    """What the kernels read."""

    codes: Array
    """Of the layers: float32, uint16 (bfloat16), int8, or int4 two by two in uint8."""
    scales: Array
    head: Array
    """The embedding, and the head if it is another: float32, uint16 or int8."""
    head_scales: NDArray[np.float32]
    places: NDArray[np.int64]
    """[L + 1, 7, 4]: of each matrix the first code, codes in a row, the first scale, scales in a
    row; last are head, embedding."""
    norms: NDArray[np.float32]
    """[2 L + 1, C]"""
    format: str


def llama_shape(config: dict[str, Any]) -> Shape | None:
    """The shape of a plain Llama; None for anything that the kernels do not compute."""
    rope = config.get("rope_parameters") or {}
    plain = {
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rope_scaling": None,
        "quantization_config": None,
    }
    if any(config.get(name, value) != value for name, value in plain.items()):
        return None
    if config.get("model_type") != "llama" or rope.get("rope_type", "default") != "default":
        return None
    try:
        shape = Shape(
            layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            heads=(heads := int(config["num_attention_heads"])),
            groups=int(config.get("num_key_value_heads") or heads),
            size=int(config.get("head_dim") or config["hidden_size"] // heads),
            inner=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            context=int(config["max_position_embeddings"]),
            theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
            epsilon=float(config.get("rms_norm_eps", 1e-6)),
            is_tied=bool(config.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    widths = (shape.hidden, shape.heads * shape.size, shape.inner)
    is_even = all(0 < width <= WIDEST and width % 32 == 0 for width in widths)
    return (
        shape
        if is_even and shape.size % 16 == 0 and shape.groups and shape.heads % shape.groups == 0
        else None
    )


# Reading safetensors without torch


class Tensors:
    """The tensors of a checkpoint folder, mapped into memory. Raises CheckpointError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = weight_files(folder)
        self._maps = {path: map_file(path) for path in self.files}
        self._entries: dict[str, tuple[Path, str, list[int], int, int]] = {}
        for path, mapped in self._maps.items():
            for name, entry in tensor_entries(path, mapped).items():
                self._entries[name] = (path, *entry)

    def __getitem__(self, name: str) -> Array:
        """Mapped; bfloat16 comes as uint16."""
        path, dtype, shape, start, end = self._entry(name)
        return self._maps[path][start:end].view(DTYPES[dtype]).reshape(shape)

    def require(self, name: str, shape: tuple[int, ...]) -> None:
        _, dtype, found, _, _ = self._entry(name)
        if tuple(found) != shape:
            raise _unusable(self.folder, f"{name} is {found}, by config.json it is {list(shape)}")
        if dtype not in ("F32", "F16", "BF16"):
            raise _unusable(self.folder, f"{name} holds numbers of type {dtype}")

    def floats(self, name: str) -> NDArray[np.float32]:
        return as_floats(self[name])

    def dtypes(self) -> set[str]:
        return {dtype for _, dtype, _, _, _ in self._entries.values()}

    def whole_file(self, dtype: str) -> tuple[Array, dict[str, int]] | None:
        """One array of the only file, and where in it each tensor begins; None if not possible."""
        bytes_each = np.dtype(DTYPES[dtype]).itemsize
        starts = {name: entry[3] for name, entry in self._entries.items()}
        if len(self.files) > 1 or any(start % bytes_each for start in starts.values()):
            return None
        mapped = self._maps[self.files[0]]
        whole = mapped[: mapped.size - mapped.size % bytes_each].view(DTYPES[dtype])
        return whole, {name: start // bytes_each for name, start in starts.items()}

    def _entry(self, name: str) -> tuple[Path, str, list[int], int, int]:
        if name not in self._entries:
            raise _unusable(self.folder, f"{name} is missing")
        return self._entries[name]


def weight_files(folder: Path) -> list[Path]:
    """The file, or the files that the index names."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return [folder / "model.safetensors"]
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(folder, f"{index.name}: {error}") from error
    return [folder / name for name in sorted(names)]


def map_file(path: Path) -> NDArray[np.uint8]:
    try:
        return np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise _unusable(path.parent, f"{path.name}: {error}") from error


def tensor_entries(
    path: Path, mapped: NDArray[np.uint8]
) -> dict[str, tuple[str, list[int], int, int]]:
    """Name -> type, shape, first and last byte in the file, all checked."""
    try:
        length = int.from_bytes(mapped[:8].tobytes(), "little")
        header = json.loads(mapped[8 : 8 + length].tobytes())
        header.pop("__metadata__", None)
        return {
            name: _checked_entry(entry, 8 + length, mapped.size) for name, entry in header.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unusable(path.parent, f"{path.name}: {error}") from error


def _checked_entry(entry: Any, base: int, file_bytes: int) -> tuple[str, list[int], int, int]:
    dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not all(type(number) is int for number in (*shape, start, end)):
        raise ValueError("a size or a place is no whole number")
    if dtype in DTYPES and end - start != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
        raise ValueError(f"a tensor of shape {shape} has {end - start} bytes")
    if not 0 <= start <= end <= file_bytes - base:
        raise ValueError("it is cut short")
    return dtype, shape, base + start, base + end


def as_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """bfloat16, rounded to the nearest; what lies in between to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def as_floats(values: Array) -> NDArray[np.float32]:
    if values.dtype == np.uint16:
        bits: NDArray[np.uint32] = values.astype(np.uint32) << np.uint32(16)
        return bits.view(np.float32)
    return np.asarray(values, np.float32)


# Packing


def load_weights(
    checkpoint: Checkpoint, shape: Shape, quantize: str, notice: Callable[[str], None]
) -> PackedWeights:
    """The weights, as stored (`none`) or quantised (`int8`, `int4`).

    Quantised ones come from the cache folder, where they are written first if need be; when that
    is not possible they are packed in memory, with one notice. Raises CheckpointError.
    """
    tensors = Tensors(checkpoint.folder)
    for name, rows, columns in shape.matrices():
        tensors.require(name, (rows, columns))
    for name in shape.norms():
        tensors.require(name, (shape.hidden,))
    if quantize == "none" and (mapped := _as_stored(tensors, shape)):
        return mapped
    form = "float32" if quantize == "none" else quantize
    path = packed_path(tensors, shape, form)
    packed = _open_packed(path, shape, form)
    if packed is None:
        packed = _pack_into(path, tensors, shape, form, notice)
    return PackedWeights(
        packed["codes"],
        packed["scales"],
        packed["head"],
        packed["head_scales"],
        _packed_places(shape, form),
        _norms(tensors, shape),
        form,
    )


def _packed_places(shape: Shape, form: str) -> NDArray[np.int64]:
    places = np.zeros((shape.layers + 1, len(PARTS), 4), np.int64)
    code = scale = 0
    for number, (place, (_, rows, columns)) in enumerate(
        zip(_places_of(places), shape.matrices(), strict=False)
    ):
        is_head = number >= shape.layers * len(PARTS)
        if number == shape.layers * len(PARTS):
            code = scale = 0
        stored = FORMATS[HEADS[form] if is_head else form]
        codes_in_row, scales_in_row = stored.codes(columns), stored.scales(columns)
        place[:] = code, codes_in_row, scale, scales_in_row
        code, scale = code + rows * codes_in_row, scale + rows * scales_in_row
    _share_head(places, shape)
    return places


def _as_stored(tensors: Tensors, shape: Shape) -> PackedWeights | None:
    """The checkpoint's own file, if it is one and holds one kind of number."""
    dtypes = tensors.dtypes()
    if len(dtypes) != 1 or not dtypes <= {"BF16", "F32"}:
        return None
    (dtype,) = dtypes
    if (found := tensors.whole_file(dtype)) is None:
        return None
    codes, starts = found
    places = np.zeros((shape.layers + 1, len(PARTS), 4), np.int64)
    for place, (name, _, columns) in zip(_places_of(places), shape.matrices(), strict=False):
        place[:2] = starts[name], columns
    _share_head(places, shape)
    none = np.zeros(0, np.float32)
    form = "bfloat16" if dtype == "BF16" else "float32"
    return PackedWeights(codes, none, codes, none, places, _norms(tensors, shape), form)


def _places_of(places: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Views in the order of `Shape.matrices`: the layers, embedding, head."""
    layers = places.shape[0] - 1
    return [*places[:layers].reshape(-1, 4), places[layers, 1], places[layers, 0]]


def _share_head(places: NDArray[np.int64], shape: Shape) -> None:
    if shape.is_tied:
        places[shape.layers, 0] = places[shape.layers, 1]


def _norms(tensors: Tensors, shape: Shape) -> NDArray[np.float32]:
    return np.stack([tensors.floats(name) for name in shape.norms()])


@dataclass(frozen=True, slots=True)
class Format:
    """How the numbers of a row are stored."""

    dtype: type[Any]
    numbers_per_code: int
    group: int
    """Numbers that share a scale; 0: there are no scales, -1: the whole row shares one."""
    scale_dtype: type[Any] = np.float32

    def codes(self, columns: int) -> int:
        return columns // self.numbers_per_code

    def scales(self, columns: int) -> int:
        return columns // self.group if self.group > 0 else -self.group


FORMATS = {
    "float32": Format(np.float32, 1, 0),
    "int8": Format(np.int8, 1, -1),
    "int4": Format(np.uint8, 2, 32, scale_dtype=np.uint16),
}
WIDEST = 8_320
"""Numbers of a row for which the kernels' sums of int8 stay exact in 32 bits."""
HEADS = {"float32": "float32", "int8": "int8", "int4": "int8"}
"""Embedding and head: every logit hangs on them, so int4 is too coarse."""


def quantized(values: NDArray[np.float32], form: str) -> tuple[Array, Array]:
    """Codes and scales of some rows."""
    if form == "float32":
        return values, np.zeros(0, np.float32)
    if form == "int8":
        largest = np.abs(values).max(axis=1)
        scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        return np.rint(values / scales[:, None]).astype(np.int8), scales
    return _nibbles(values)


def _nibbles(values: NDArray[np.float32]) -> tuple[Array, NDArray[np.uint16]]:
    """Groups of 32 from -8 to 7; the number farthest from zero becomes -8.

    Scales are rounded to bfloat16 before codes are found, so that it costs no precision.
    Byte i of a group holds number i in its low half and number i + 16 in its high one.
    """
    groups = values.reshape(values.shape[0], -1, FORMATS["int4"].group)
    farthest = np.take_along_axis(groups, np.abs(groups).argmax(axis=2)[..., None], axis=2)
    scales = as_bfloat16(np.where(np.abs(farthest) > 1e-36, farthest / -8, 1))
    codes = np.clip(np.rint(groups / as_floats(scales)), -8, 7).astype(np.int8).view(np.uint8)
    packed = (codes[..., :16] & 15) | (codes[..., 16:] << 4)
    return packed.astype(np.uint8), scales[..., 0]


def packed_path(tensors: Tensors, shape: Shape, form: str) -> Path:
    """Another path for every shape, and for every state of the checkpoint's files."""
    digest = hashlib.sha256(f"{VERSION} {form} {shape}".encode())
    for path in tensors.files:
        digest.update(file_identity(path))
        with path.open("rb") as file:
            digest.update(file.read(int.from_bytes(file.read(8), "little")))
    return packed_dir() / f"{digest.hexdigest()[:24]}-{form}.safetensors"


def file_identity(path: Path) -> bytes:
    """What tells a weight file from another, of the same size and date too: parts of it."""
    status = path.stat()
    found = [f"{path.name} {status.st_size} {status.st_mtime_ns}".encode()]
    with path.open("rb") as file:
        for sample in range(SAMPLES):
            file.seek(sample * status.st_size // SAMPLES)
            found.append(file.read(1024))
    return b"".join(found)


def _open_packed(path: Path, shape: Shape, form: str) -> dict[str, Array] | None:
    """None when it is not there, not as it was written or of another shape."""
    try:
        mapped = map_file(path)
        entries = tensor_entries(path, mapped)
        length = int.from_bytes(mapped[:8].tobytes(), "little")
        metadata = json.loads(mapped[8 : 8 + length].tobytes())["__metadata__"]
        if metadata["checksum"] != checksum(mapped[8 + length :]):
            return None
    except (CheckpointError, OSError, ValueError, KeyError, TypeError):
        return None
    found = {
        name: mapped[start:end].view(DTYPES[dtype])
        for name, (dtype, _, start, end) in entries.items()
    }
    sizes = {name: (array.dtype.type, array.size) for name, array in found.items()}
    return found if sizes == _sizes(shape, form) else None


def checksum(content: NDArray[np.uint8]) -> str:
    """Quick rather than strong: sums of 64-bit words, of every page of memory, hashed.

    Two threads sum: mapped files are read from many pages that are not there yet.
    """
    whole = content.size // 8 * 8
    words = content[:whole].view(np.uint64)
    middle = words.size // 2 // PAGE_WORDS * PAGE_WORDS
    parts = [words[:middle], words[middle:]]
    sums: list[Array] = [np.zeros(0, np.uint64)] * 2

    def add(part: int) -> None:
        if parts[part].size:
            sums[part] = np.add.reduceat(parts[part], np.arange(0, parts[part].size, PAGE_WORDS))

    other = threading.Thread(target=add, args=(1,))
    try:
        other.start()
    except RuntimeError:  # no more threads here
        add(1)
    add(0)
    if other.ident is not None:
        other.join()
    return hashlib.sha256(np.concatenate(sums).tobytes() + content[whole:].tobytes()).hexdigest()


PAGE_WORDS = 512
"""Words of eight bytes in a page of memory."""


def _pack_into(
    path: Path, tensors: Tensors, shape: Shape, form: str, notice: Callable[[str], None]
) -> dict[str, Array]:
    if sum(file.stat().st_size for file in tensors.files) > NOTABLE_BYTES:
        notice(f"packing the weights as {form}, once")
    beside = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        try:
            _write_packed(beside, tensors, shape, form)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        if (packed := _open_packed(path, shape, form)) is not None:
            return packed
        reason = f"{path} cannot be read back"
    except OSError as error:
        reason = f"{error.filename or path}: {error.strerror or error}"
    except CheckpointError as error:  # another process has removed what was being written
        reason = error.message
    notice(f"packed weights are not kept: {reason}")
    return _packed_in_memory(tensors, shape, form)


def _remove_abandoned(folder: Path) -> None:
    """What a process left that was killed while it packed."""
    for partial in folder.glob("*.partial"):
        process = partial.stem.rpartition(".")[2]
        if process.isdecimal() and not _is_running(int(process)):
            partial.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _pieces(tensors: Tensors, shape: Shape, form: str) -> Iterator[tuple[str, Array, Array]]:
    """Codes and scales, some rows at a time, and which array the codes belong to."""
    for number, (name, rows, _) in enumerate(shape.matrices()):
        part = "codes" if number < shape.layers * len(PARTS) else "head"
        stored = tensors[name]
        for row in range(0, rows, ROWS):
            values = as_floats(stored[row : row + ROWS])
            yield part, *quantized(values, form if part == "codes" else HEADS[form])


def _sizes(shape: Shape, form: str) -> dict[str, tuple[type[Any], int]]:
    """Type and length of each packed array."""
    sizes: dict[str, tuple[type[Any], int]] = {}
    for number, (_, rows, columns) in enumerate(shape.matrices()):
        is_head = number >= shape.layers * len(PARTS)
        part, stored = ("head", FORMATS[HEADS[form]]) if is_head else ("codes", FORMATS[form])
        scales = "head_scales" if is_head else "scales"
        before = sizes.get(part, (None, 0))[1], sizes.get(scales, (None, 0))[1]
        sizes[part] = stored.dtype, before[0] + rows * stored.codes(columns)
        sizes[scales] = stored.scale_dtype, before[1] + rows * stored.scales(columns)
    return sizes


def _packed_in_memory(tensors: Tensors, shape: Shape, form: str) -> dict[str, Array]:
    packed = {
        part: np.empty(length, dtype) for part, (dtype, length) in _sizes(shape, form).items()
    }
    filled = dict.fromkeys(packed, 0)
    for part, codes, scales in _pieces(tensors, shape, form):
        for name, values in ((part, codes), (_scales_of(part), scales)):
            packed[name][filled[name] : filled[name] + values.size] = values.ravel()
            filled[name] += values.size
    return packed


def _scales_of(part: str) -> str:
    return "scales" if part == "codes" else "head_scales"


def _write_packed(path: Path, tensors: Tensors, shape: Shape, form: str) -> None:
    names = {np.float32: "F32", np.uint16: "BF16", np.int8: "I8", np.uint8: "U8"}
    entries: dict[str, Any] = {}
    end = 0
    for part, (dtype, length) in _sizes(shape, form).items():
        start, end = end, end + length * np.dtype(dtype).itemsize
        entries[part] = {"dtype": names[dtype], "shape": [length], "data_offsets": [start, end]}
        end += -end % 64
    metadata = {"source": str(tensors.folder), "format": form, "checksum": "0" * 64}
    with path.open("wb+") as file:
        base = _write_header(file, entries, metadata)
        places = {part: base + entry["data_offsets"][0] for part, entry in entries.items()}
        for part, codes, scales in _pieces(tensors, shape, form):
            for name, values in ((part, codes), (_scales_of(part), scales)):
                file.seek(places[name])
                places[name] += file.write(values.tobytes())
        file.truncate(base + end)
        file.flush()
        metadata["checksum"] = checksum(map_file(path)[base:])
        file.seek(0)
        _write_header(file, entries, metadata)


def _write_header(file: BinaryIO, entries: dict[str, Any], metadata: dict[str, str]) -> int:
    """Returns where the tensors begin, a multiple of 64 for the vectors' sake."""
    text = json.dumps({"__metadata__": metadata, **entries}).encode()
    text += b" " * (-(8 + len(text)) % 64)
    file.write(len(text).to_bytes(8, "little") + text)
    return 8 + len(text)


def _unusable(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"cannot load the weights in {folder}: {reason}",
        "The files may be damaged or incomplete: fetch them again.",
    )
