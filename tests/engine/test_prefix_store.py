"""Prefixes on disk: the next process goes on from them, and is never led astray."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.cpu import CpuModel
from smolchat.engine.engine import Engine
from smolchat.engine.prefix_store import LEAST_TOKENS, PrefixStore, identity_of
from smolchat.generation import GenerationRequest, GenerationStats, Sampling
from smolchat.loading import load_engine
from smolchat.messages import Message

IDS = tuple(range(100, 140))
PREFIX: NDArray[np.float32] = np.arange(6000, dtype=np.float32).reshape(3, 20, 100)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a test packs and keeps goes with it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def store(tmp_path: Path) -> PrefixStore:
    return PrefixStore(tmp_path / "prefixes", "a checkpoint")


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "prefixes").glob("*"))


# The store


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_what_was_kept_comes_back(store: PrefixStore, dtype: type) -> None:
    kept = PREFIX.astype(dtype)
    store.save(IDS, kept)
    found = store.load(IDS)
    assert found is not None
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, kept)


@pytest.mark.parametrize("ids", [IDS[:-1], (*IDS, 5), (99, *IDS[1:]), IDS[::-1]])
def test_other_ids_are_a_miss(store: PrefixStore, ids: Sequence[int]) -> None:
    store.save(IDS, PREFIX)
    assert store.load(ids) is None


def test_another_identity_is_a_miss(store: PrefixStore, tmp_path: Path) -> None:
    store.save(IDS, PREFIX)
    assert PrefixStore(tmp_path / "prefixes", "another").load(IDS) is None


def damage_end(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


DAMAGES = {
    "a flipped bit": damage_end,
    "cut short": lambda content: content[:-100],
    "empty": lambda content: b"",
    "no header": lambda content: b"\xff" * len(content),
    "another name inside": lambda content: content.replace(b'"prefix"', b'"suffix"'),
    "no checksum": lambda content: content.replace(b'"checksum"', b'"checksun"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_a_miss_and_goes(store: PrefixStore, tmp_path: Path, damage: str) -> None:
    store.save(IDS, PREFIX)
    (path,) = files(tmp_path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert store.load(IDS) is None
    assert files(tmp_path) == []
    store.save(IDS, PREFIX)
    assert store.load(IDS) is not None


def test_the_oldest_go_when_there_is_no_more_room(tmp_path: Path) -> None:
    store = PrefixStore(tmp_path / "prefixes", "a checkpoint", limit_bytes=4 * PREFIX.nbytes)
    for first in range(3):
        store.save([first, *IDS], PREFIX)
    for age, path in enumerate(files(tmp_path)):
        os.utime(path, (1000 + age, 1000 + age))
    assert store.load([1, *IDS]) is not None, "reading makes it the newest"
    store.save([3, *IDS], PREFIX)
    kept = [first for first in range(4) if store.load([first, *IDS]) is not None]
    assert len(kept) == 3
    assert {1, 3} <= set(kept)


def test_what_is_too_large_or_too_short_is_not_kept(tmp_path: Path) -> None:
    small = PrefixStore(tmp_path / "prefixes", "a checkpoint", limit_bytes=PREFIX.nbytes)
    small.save(IDS, PREFIX)
    small.save(IDS[: LEAST_TOKENS - 1], PREFIX[:1])
    assert files(tmp_path) == []


def test_what_a_killed_process_left_goes_in_time(store: PrefixStore, tmp_path: Path) -> None:
    folder = tmp_path / "prefixes"
    folder.mkdir()
    old, new = folder / "old.partial", folder / "new.partial"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1000, 1000))
    store.save(IDS, PREFIX)
    assert not old.exists()
    assert new.exists(), "another process may be writing it"


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "prefixes").write_text("a file where the folder should be")
    store = PrefixStore(tmp_path / "prefixes", "a checkpoint")
    store.save(IDS, PREFIX)
    assert store.load(IDS) is None


def test_a_full_disk_is_no_failure_and_leaves_nothing(store: PrefixStore, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        store.save(IDS, PREFIX)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files(tmp_path) == []
    assert store.load(IDS) is None


WRITER = """
import sys
from pathlib import Path
import numpy as np
from smolchat.engine.prefix_store import PrefixStore

store = PrefixStore(Path(sys.argv[1]), "a checkpoint", limit_bytes=200_000)
for turn in range(60):
    ids = [turn % 7, *range(100, 140)]
    found = store.load(ids)
    assert found is None or (found == turn % 7).all()
    store.save(ids, np.full((10, 1000), turn % 7, np.float32))
"""


def test_two_processes_share_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "prefixes")]
    writers = [subprocess.Popen(command) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 200_000
    assert all(path.suffix == ".safetensors" for path in files(tmp_path))


# The engine


def engine_on(folder: Path, tmp_path: Path, quantize: str = "none") -> Engine:
    """As a new process has it."""
    checkpoint = open_checkpoint(folder)
    model = CpuModel(checkpoint, quantize, threads=2)
    store = PrefixStore(tmp_path / "prefixes", identity_of(checkpoint, model.dtype))
    return Engine(model, store=store)


def generate(
    engine: Engine, prompt: Sequence[int], stable: int
) -> tuple[list[int], GenerationStats]:
    sampling = Sampling(temperature=0)
    generation = engine.generate(
        GenerationRequest(tuple(prompt), 20, frozenset(), sampling, stable_tokens=stable)
    )
    return list(generation), generation.stats


def random_ids(length: int, seed: int) -> list[int]:
    return [int(each) for each in np.random.default_rng(seed).integers(4, 260, length)]


@pytest.mark.parametrize(
    ("quantize", "stable"), [("none", 16), ("none", 128), ("none", 200), ("int8", 31)]
)
def test_a_new_process_goes_on_from_the_stable_part(
    tiny_folder: Path, tmp_path: Path, quantize: str, stable: int
) -> None:
    system = random_ids(stable, seed=0)
    first = [*system, *random_ids(12, seed=1)]
    second = [*system, *random_ids(9, seed=2)]
    _, cold = generate(engine_on(tiny_folder, tmp_path, quantize), first, stable)
    assert cold.cached_tokens == 0
    for prompt in (first, second):
        resumed, warm = generate(engine_on(tiny_folder, tmp_path, quantize), prompt, stable)
        assert warm.cached_tokens == stable
        shutil.move(tmp_path / "prefixes", tmp_path / "aside")
        expected, stats = generate(engine_on(tiny_folder, tmp_path, quantize), prompt, stable)
        assert stats.cached_tokens == 0
        assert resumed == expected
        shutil.rmtree(tmp_path / "prefixes")
        shutil.move(tmp_path / "aside", tmp_path / "prefixes")


def test_another_format_or_system_prompt_is_computed_anew(
    tiny_folder: Path, tmp_path: Path
) -> None:
    prompt = random_ids(60, seed=0)
    generate(engine_on(tiny_folder, tmp_path), prompt, 40)
    assert generate(engine_on(tiny_folder, tmp_path, "int8"), prompt, 40)[1].cached_tokens == 0
    other = [7, *prompt[1:]]
    assert generate(engine_on(tiny_folder, tmp_path), other, 40)[1].cached_tokens == 0
    assert generate(engine_on(tiny_folder, tmp_path), prompt, 40)[1].cached_tokens == 40


def test_nothing_of_what_the_user_said_is_kept(tiny_folder: Path, tmp_path: Path) -> None:
    system = random_ids(40, seed=0)
    for seed in (1, 2):
        engine = engine_on(tiny_folder, tmp_path / str(seed))
        generate(engine, [*system, *random_ids(30, seed)], 40)
    one, other = (files(tmp_path / str(seed)) for seed in (1, 2))
    assert [path.name for path in one] == [path.name for path in other]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_what_memory_holds_is_not_read_from_disk(tiny_folder: Path, tmp_path: Path) -> None:
    engine = engine_on(tiny_folder, tmp_path)
    prompt = random_ids(60, seed=0)
    ids, _ = generate(engine, prompt, 40)
    longer = [*prompt, *ids, 9, 9]
    assert generate(engine, longer, 40)[1].cached_tokens > 60


def test_a_prefix_of_another_shape_is_a_miss(tiny_folder: Path, tmp_path: Path) -> None:
    engine = engine_on(tiny_folder, tmp_path)
    prompt = random_ids(60, seed=0)
    expected, _ = generate(engine, prompt, 40)
    assert engine._store is not None
    engine._store.save(prompt[:40], PREFIX)
    found, stats = generate(engine_on(tiny_folder, tmp_path), prompt, 40)
    assert (found, stats.cached_tokens) == (expected, 0)


def test_a_checkpoint_whose_files_change_has_another_identity(
    tiny_folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    identities = {identity_of(open_checkpoint(copy), dtype) for dtype in ("int8", "int4")}
    weights = copy / "model.safetensors"
    status = weights.stat()
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    identities.add(identity_of(open_checkpoint(copy), "int8"))
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    identities.add(identity_of(open_checkpoint(copy), "int8"))
    config = copy / "config.json"
    config.write_text(config.read_text().replace("0.3", "0.31"))
    identities.add(identity_of(open_checkpoint(copy), "int8"))
    assert len(identities) == 5


def test_the_stable_part_is_the_system_block(tiny_folder: Path) -> None:
    chat_format = load_engine(tiny_folder, quantize="none").chat_format
    system, user = Message("system", "Be brief."), Message("user", "Hi")
    own = chat_format.prompt_ids([system, user])
    length = chat_format.system_tokens([system, user])
    assert own[:length] == chat_format.prompt_ids([system])[:length]
    assert own[length:] == chat_format.prompt_ids([system, user])[length:]
    assert len(chat_format.prompt_ids([system])) - length == len("assistant\n") + 1
    assert chat_format.system_tokens([user]) > length, "the template's own system message"
