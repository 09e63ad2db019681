"""What is on disk is found without the network; what is missing is fetched from a local Hub.

Downloads run the real huggingface_hub, in processes of their own: it reads its variables on import.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from hub_server import COMMIT, HubServer, Repository, serving

from smolchat import catalog
from smolchat.errors import CheckpointError

ROOT = Path(__file__).parent.parent
SMALL, MIDDLE, LARGE = catalog.FAMILY.values()
OLD_COMMIT = "f" * 40

FETCH = """
import json, signal, sys
from smolchat import catalog, hub
from smolchat.errors import CheckpointError

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored under nohup
for name in sys.argv[1:]:
    progress = []
    report = {"progress": progress}
    try:
        report["path"] = str(hub.download(name, lambda *bytes: progress.append(bytes)))
    except CheckpointError as error:
        report |= {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
    except KeyboardInterrupt:
        report["interrupted"] = True
    print(json.dumps(report))
"""


def weights(size: int) -> bytes:
    tensor = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + random.Random(size).randbytes(size)


def index(*shards: str) -> bytes:
    return json.dumps({"weight_map": {shard: shard for shard in shards}}).encode()


CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"]}).encode()
NEEDED = {
    "config.json": CONFIG,
    "tokenizer.json": b'{"version": "1.0"}',
    "tokenizer_config.json": b"{}",
    "model.safetensors": weights(1_500_000),
}
NOT_NEEDED = {"README.md": b"#", "pytorch_model.bin": b"\x80", "onnx/model.safetensors": b"0"}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SHARDED = {
    **{name: NEEDED[name] for name in ("config.json", "tokenizer.json")},
    "model.safetensors.index.json": index(*SHARDS),
    SHARDS[0]: weights(200_000),
    SHARDS[1]: weights(300_000),
}
MODEL_BYTES = len(NEEDED["model.safetensors"])
MODEL_BLOB = hashlib.sha256(NEEDED["model.safetensors"]).hexdigest()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HF_HOME, and an empty working directory beside it."""
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGINGFACE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving() as server:
        server.repositories[SMALL] = Repository(NEEDED | NOT_NEEDED)
        yield server


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def repo_folder(home: Path, name: str) -> Path:
    return home / "hub" / f"models--{name.replace('/', '--')}"


def write_cached(
    home: Path, name: str, files: dict[str, bytes] = NEEDED, commit: str = COMMIT, ref: bool = True
) -> Path:
    repo = repo_folder(home, name)
    if ref:
        write(repo, {"refs/main": commit.encode()})
    return write(repo / "snapshots" / commit, files)


def without(files: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name not in names}


def environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return kept | {"HOME": str(home), "HF_HOME": str(home), "PYTHONPATH": str(ROOT)} | extra


def python(code: str, *arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def reports(fetching: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """What FETCH has printed; nobody else has printed anything."""
    stdout, stderr = fetching.communicate(timeout=20)
    assert stderr == ""
    assert fetching.returncode == 0
    return [json.loads(line) for line in stdout.splitlines()]


def fetch(home: Path, endpoint: str, name: str = "135m", **extra: str) -> dict[str, Any]:
    [report] = reports(python(FETCH, name, env=environment(home, HF_ENDPOINT=endpoint, **extra)))
    return report


def assert_failed(report: dict[str, Any], *parts: str) -> None:
    assert report["exit_code"] == 69
    for line in (report["message"], report["hint"]):
        assert line
        assert "\n" not in line
    for part in parts:
        assert part in report["message"] + " | " + report["hint"]


@pytest.mark.parametrize(
    ("name", "full_name"),
    [
        ("tiny", "tiny"),
        ("TINY", "tiny"),
        ("135m", SMALL),
        ("360M", MIDDLE),
        ("1.7B", LARGE),
        ("SmolLM2-135M-Instruct", SMALL),
        ("huggingfacetb/smollm2-1.7b-instruct", LARGE),
        ("org/Other-Model", "org/Other-Model"),
        ("./tiny", "tiny"),
        ("/models/135m", "/models/135m"),
    ],
)
def test_names_resolve_in_any_case(name: str, full_name: str) -> None:
    assert catalog.resolve(name) == full_name


def test_the_smallest_drafts_for_the_larger_ones() -> None:
    assert catalog.draft_for("360m") == SMALL
    assert catalog.draft_for("SmolLM2-1.7B-Instruct") == SMALL
    assert catalog.draft_for("135m") is None
    assert catalog.draft_for("org/other") is None


@pytest.mark.parametrize(
    ("wish", "name", "draft"),
    [
        (None, "1.7b", None),
        ("none", "1.7b", None),
        ("auto", "1.7b", SMALL),
        ("auto", "org/other", None),
        ("135m", "org/other", SMALL),
        ("org/small", "org/other", "org/small"),
    ],
)
def test_the_draft_is_the_one_wished_or_that_of_the_family(
    wish: str | None, name: str, draft: str | None
) -> None:
    assert catalog.chosen_draft(wish, name) == draft


def test_a_cached_checkpoint_is_found_under_all_its_names(home: Path) -> None:
    snapshot = write_cached(home, SMALL)
    for name in ("135m", "135M", SMALL, "smollm2-135m-instruct"):
        assert catalog.find(name) == snapshot
    assert catalog.find("360m") is None


def test_the_snapshot_of_main_comes_first_and_an_older_whole_one_counts(home: Path) -> None:
    old = write_cached(home, SMALL, commit=OLD_COMMIT, ref=False)
    assert catalog.find("135m") == old
    new = write_cached(home, SMALL, without(NEEDED, "model.safetensors"))
    assert catalog.find("135m") == old
    write(new, NEEDED)
    os.utime(old)
    assert catalog.find("135m") == new


@pytest.mark.parametrize(
    "files",
    [
        without(NEEDED, "config.json"),
        without(NEEDED, "tokenizer.json"),
        without(NEEDED, "model.safetensors"),
        NEEDED | {"model.safetensors": NEEDED["model.safetensors"][:-1]},
        without(SHARDED, SHARDS[1]),
        without(SHARDED, "model.safetensors.index.json"),
        SHARDED | {"model.safetensors.index.json": b'{"weight_map": {}}'},
        SHARDED | {"model.safetensors.index.json": b'{"weight_map'},
    ],
)
def test_an_incomplete_snapshot_is_not_on_disk(home: Path, files: dict[str, bytes]) -> None:
    write_cached(home, SMALL, files)
    assert catalog.find("135m") is None
    assert catalog.choose("135m").path is None
    assert "135m" not in [entry.name for entry in catalog.installed()]


def test_a_tokenizer_is_found_without_its_weights(home: Path, tmp_path: Path) -> None:
    assert catalog.find_tokenizer("135m") is None
    snapshot = write_cached(home, SMALL, without(NEEDED, "model.safetensors"))
    folder = write(tmp_path / "mine", without(NEEDED, "tokenizer.json"))
    assert catalog.find_tokenizer("135m") == snapshot
    assert catalog.find_tokenizer(str(folder)) is None
    write(folder, NEEDED)
    assert catalog.find_tokenizer(str(folder)) == folder


def test_a_dangling_link_is_not_on_disk(home: Path) -> None:
    snapshot = write_cached(home, SMALL)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to("../../blobs/gone")
    assert catalog.find("135m") is None


def test_a_sharded_checkpoint_is_found(home: Path) -> None:
    assert catalog.find("135m") is None
    snapshot = write_cached(home, SMALL, SHARDED)
    assert catalog.find("135m") == snapshot


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HF_HOME": "~/elsewhere"},
        {"HF_HUB_CACHE": "$HOME/cache"},
        {"HUGGINGFACE_HUB_CACHE": "~/legacy", "HF_HOME": "~/elsewhere"},
        {"XDG_CACHE_HOME": "~/xdg"},
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    env = without(environment(tmp_path), "HF_HOME") | variables
    code = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    stdout, _ = python(code, env=env).communicate(timeout=20)
    monkeypatch.delenv("HF_HOME")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert catalog.find("135m") is None
    repo = Path(stdout.strip()) / "models--HuggingFaceTB--SmolLM2-135M-Instruct"
    snapshot = write(repo / "snapshots" / COMMIT, NEEDED)
    assert catalog.find("135m") == snapshot


def test_a_folder_is_named_by_its_path(tmp_path: Path) -> None:
    folder = write(tmp_path / "work" / "mine", NEEDED)
    assert catalog.find(str(folder)) == folder
    assert catalog.find("mine") == Path("mine")
    assert catalog.find("./mine") == Path("mine")
    assert catalog.choose("./mine") == catalog.Choice(Path("mine"), "mine", "named")


def test_an_alias_wins_over_a_folder_of_that_name(home: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "work" / "135m", NEEDED)
    assert catalog.find("135m") is None
    assert catalog.find("./135m") == Path("135m")
    assert catalog.find(str(folder)) == folder


@pytest.mark.parametrize(
    ("files", "part"),
    [
        (without(NEEDED, "tokenizer.json"), "tokenizer.json is missing"),
        ({"README.md": b""}, "config.json, tokenizer.json, model.safetensors are missing"),
        (without(SHARDED, SHARDS[0]), f"{SHARDS[0]} is missing"),
        (SHARDED | {"model.safetensors.index.json": b"[]"}, "model.safetensors.index.json is dam"),
        (without(NEEDED | NOT_NEEDED, "model.safetensors"), "from safetensors only"),
        (NEEDED | {"model.safetensors": NEEDED["model.safetensors"][:-9]}, "is cut short"),
        (NEEDED | {"model.safetensors": b"version https://git-lfs.github.com"}, "is cut short"),
        (NEEDED | {"model.safetensors": b""}, "is cut short"),
    ],
)
def test_a_folder_without_a_whole_checkpoint_is_refused_with_the_reason(
    tmp_path: Path, files: dict[str, bytes], part: str
) -> None:
    folder = write(tmp_path / "mine", files)
    with pytest.raises(CheckpointError) as caught:
        catalog.find(str(folder))
    assert part in caught.value.message
    assert str(folder) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 69


@pytest.mark.parametrize(
    "name", ["./missing", "/no/where", "~no-such-user/model", "../x", "notes.txt"]
)
def test_a_path_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "work", {"notes.txt": b""})
    with pytest.raises(CheckpointError, match="there is no folder"):
        catalog.find(name)


def test_a_name_too_long_for_a_file_is_simply_not_on_disk() -> None:
    assert catalog.find("x" * 5000) is None


def test_the_named_checkpoint_is_chosen_before_all_others(home: Path) -> None:
    snapshot = write_cached(home, MIDDLE)
    assert catalog.choose("360m") == catalog.Choice(snapshot, MIDDLE, "named")
    assert catalog.choose("135m") == catalog.Choice(None, SMALL, "named")
    assert catalog.choose("1.7b") == catalog.Choice(None, LARGE, "named")


def test_the_largest_cached_member_of_the_family_is_chosen(home: Path) -> None:
    write_cached(home, "org/other")
    small = write_cached(home, SMALL)
    assert catalog.choose(None) == catalog.Choice(small, SMALL, "cached")
    middle = write_cached(home, MIDDLE)
    write_cached(home, LARGE, without(NEEDED, "model.safetensors"))
    assert catalog.choose(None) == catalog.Choice(middle, MIDDLE, "cached")


def in_package(tmp_path: Path, home: Path, code: str) -> str:
    """Runs `code` where only `tmp_path/checkpoints` is shipped, without any network."""
    (tmp_path / "smolchat").symlink_to(ROOT / "smolchat")
    refuse = """
import sys
def refuse(event, arguments):
    assert not event.startswith("socket."), event
sys.addaudithook(refuse)
from smolchat import catalog, hub
"""
    env = environment(home) | {"PYTHONPATH": str(tmp_path)}
    running = python(refuse + code, env=env)
    stdout, stderr = running.communicate(timeout=20)
    assert (running.returncode, stderr) == (0, "")
    return stdout


def test_the_embedded_checkpoint_is_chosen_when_nothing_else_is_there(
    tmp_path: Path, home: Path
) -> None:
    tiny = write(tmp_path / "checkpoints" / "tiny", NEEDED)
    code = "print(catalog.choose(None)); print(catalog.find('Tiny')); print(catalog.installed())"
    choice, found, installed = in_package(tmp_path, home, code).splitlines()
    assert choice == repr(catalog.Choice(tiny, "tiny", "embedded"))
    assert found == str(tiny)
    size = sum(map(len, NEEDED.values()))
    assert installed == repr([catalog.Installed("tiny", tiny, size, "embedded")])


def test_a_checkpoint_on_disk_never_touches_the_network(tmp_path: Path, home: Path) -> None:
    snapshot = write_cached(home, SMALL)
    folder = write(tmp_path / "mine", NEEDED)
    code = f"""
for name in ("135m", {SMALL!r}, {str(folder)!r}):
    assert catalog.find(name) == catalog.choose(name).path
    print(hub.download(name))
assert catalog.installed() and catalog.choose(None).path and catalog.find("360m") is None
print({{"huggingface_hub", "torch", "tokenizers"}} & set(sys.modules))
"""
    printed = in_package(tmp_path, home, code).splitlines()
    assert printed == [str(snapshot), str(snapshot), str(folder), "set()"]


def test_installed_lists_the_family_by_size_and_then_other_language_models(home: Path) -> None:
    snapshots = {name: write_cached(home, name) for name in ("org/zeta", LARGE, "gpt2", SMALL)}
    write_cached(home, MIDDLE, without(NEEDED, "model.safetensors"))
    write_cached(home, "org/bert", NEEDED | {"config.json": b'{"architectures": ["BertModel"]}'})
    write_cached(home, "org/odd", NEEDED | {"config.json": b"[]"})
    cached = [entry for entry in catalog.installed() if entry.kind == "cached"]
    assert [entry.name for entry in cached] == [SMALL, LARGE, "gpt2", "org/zeta"]
    assert [entry.path for entry in cached] == [snapshots[entry.name] for entry in cached]
    assert {entry.bytes for entry in cached} == {sum(map(len, NEEDED.values()))}


def test_a_download_brings_the_needed_files_and_reports_its_progress(
    hub: HubServer, home: Path
) -> None:
    report = fetch(home, hub.endpoint, HF_TOKEN="hf_secret")
    snapshot = repo_folder(home, SMALL) / "snapshots" / COMMIT
    assert report["path"] == str(snapshot)
    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == NEEDED
    assert catalog.find("135m") == snapshot
    total = sum(map(len, NEEDED.values()))
    here = [done for done, _ in report["progress"]]
    assert {total for _, total in report["progress"]} == {total}
    assert here == sorted(here)
    assert here[-1] == total
    assert len(here) > 5
    about_models = [request for request in hub.requests if SMALL in request.path]
    tokens = {(request.host, request.token) for request in about_models}
    assert tokens == {("127.0.0.1", "hf_secret"), ("localhost", None)}
    assert len(about_models) == len(["the listing", *NEEDED, "the storage of the weights"])


def test_huggingface_hub_takes_what_was_downloaded_for_its_own(hub: HubServer, home: Path) -> None:
    hub.repositories[SMALL].files = SHARDED
    report = fetch(home, hub.endpoint)
    code = """
import sys
from huggingface_hub import scan_cache_dir, snapshot_download
print(snapshot_download(sys.argv[1], local_files_only=True))
scan = scan_cache_dir()
[repo] = scan.repos
[revision] = repo.revisions
print(repo.repo_id, revision.refs, revision.nb_files, scan.warnings)
"""
    stdout, stderr = python(code, SMALL, env=environment(home)).communicate(timeout=20)
    path, scan = stdout.splitlines()
    assert stderr == ""
    assert path == report["path"]
    assert scan == f"{SMALL} frozenset({{'main'}}) {len(SHARDED)} []"


def test_an_interrupted_download_continues_where_it_stopped(hub: HubServer, home: Path) -> None:
    hub.stall_after = 600_000
    fetching = python(FETCH, "135m", env=environment(home, HF_ENDPOINT=hub.endpoint))
    part = repo_folder(home, SMALL) / "blobs" / f"{MODEL_BLOB}.incomplete"
    wait_until(lambda: part.is_file() and part.stat().st_size > 500_000)
    fetching.send_signal(signal.SIGINT)
    [report] = reports(fetching)
    assert report["interrupted"]
    assert catalog.find("135m") is None
    kept = part.stat().st_size

    hub.stall_after = None
    report = fetch(home, hub.endpoint)
    assert [request.start for request in hub.requested("model.safetensors")] == [0, kept]
    snapshot = catalog.find("135m")
    assert snapshot == Path(report["path"])
    assert (snapshot / "model.safetensors").read_bytes() == NEEDED["model.safetensors"]
    assert len([request for request in hub.requests if request.path.endswith("config.json")]) == 2
    assert not part.exists()
    assert min(done for done, _ in report["progress"]) > kept


def test_a_connection_that_breaks_is_taken_up_again(hub: HubServer, home: Path) -> None:
    hub.cuts = [300_000] * 5
    report = fetch(home, hub.endpoint)
    starts = [request.start for request in hub.requested("model.safetensors")]
    assert starts[0] == 0
    assert len(starts) == len(set(starts)) == 6
    assert starts == sorted(starts)
    weights = Path(report["path"]) / "model.safetensors"
    assert weights.read_bytes() == NEEDED["model.safetensors"]


def test_a_hub_that_goes_away_leaves_what_has_arrived(hub: HubServer, home: Path) -> None:
    hub.cuts = [700_000, 0, 0, 0, 0]
    assert_failed(fetch(home, hub.endpoint), SMALL, "cannot be reached", "is kept")
    assert catalog.find("135m") is None
    assert fetch(home, hub.endpoint)["path"]
    starts = [request.start for request in hub.requested("model.safetensors")]
    assert starts[0] == 0
    assert len(starts) == 6
    assert set(starts[1:]) == {starts[1]}
    assert 0 < starts[1] <= 700_000


def test_a_server_without_ranges_sends_the_file_once_more(hub: HubServer, home: Path) -> None:
    hub.ignores_ranges = True
    blobs = repo_folder(home, SMALL) / "blobs"
    write(blobs, {f"{MODEL_BLOB}.incomplete": NEEDED["model.safetensors"][:1000]})
    report = fetch(home, hub.endpoint)
    assert [request.start for request in hub.requested("model.safetensors")] == [1000]
    assert (Path(report["path"]) / "model.safetensors").stat().st_size == MODEL_BYTES
    assert max(report["progress"]) == [sum(map(len, NEEDED.values()))] * 2


def test_files_already_in_the_snapshot_are_not_fetched_again(hub: HubServer, home: Path) -> None:
    write_cached(home, SMALL, without(NEEDED, "model.safetensors"), ref=False)
    fetch(home, hub.endpoint)
    paths = [request.path for request in hub.requests if "/resolve/" in request.path]
    assert paths == [f"/{SMALL}/resolve/{COMMIT}/model.safetensors"]


def test_of_two_downloads_at_once_one_waits_for_the_other(hub: HubServer, home: Path) -> None:
    hub.stall_after = 600_000
    env = environment(home, HF_ENDPOINT=hub.endpoint)
    first = python(FETCH, "135m", env=env)
    wait_until(lambda: hub.requested("model.safetensors"))
    second = python(FETCH, "135m", env=env)
    wait_until(lambda: len([r for r in hub.requests if r.path.startswith("/api/models")]) == 2)
    time.sleep(0.3)
    hub.stall_after = None
    hub.released.set()
    paths = [report["path"] for fetching in (first, second) for report in reports(fetching)]
    assert paths == [str(catalog.find("135m"))] * 2
    begun, continued = hub.requested("model.safetensors")
    assert begun.start < continued.start


def test_what_arrives_damaged_is_refused_and_fetched_afresh(hub: HubServer, home: Path) -> None:
    hub.repositories[SMALL].spoiled = {"model.safetensors", "tokenizer.json"}
    for name in ("tokenizer.json", "model.safetensors"):
        assert_failed(fetch(home, hub.endpoint), f"{name} arrived damaged")
        assert catalog.find("135m") is None
    assert fetch(home, hub.endpoint)["path"]
    assert [request.start for request in hub.requested("model.safetensors")] == [0, 0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_one_clear_line(hub: HubServer, home: Path) -> None:
    blobs = write(repo_folder(home, SMALL) / "blobs", {"other": b""})
    (blobs / f"{MODEL_BLOB}.incomplete").symlink_to("/dev/full")
    assert_failed(fetch(home, hub.endpoint), "no space left", SMALL, str(home), "HF_HOME")


def test_a_cache_that_cannot_be_written_is_one_clear_line(hub: HubServer, home: Path) -> None:
    home.write_text("a file where the folder should be")
    report = fetch(home, hub.endpoint)
    assert_failed(report, "cannot store", os.strerror(errno.ENOTDIR), "HF_HOME")


def test_each_way_the_hub_refuses_is_one_clear_line(hub: HubServer, home: Path) -> None:
    pickled = without(NEEDED | NOT_NEEDED, "model.safetensors")
    hub.repositories |= {
        "org/gated": Repository(NEEDED, needs_token="hf_granted"),
        "org/vast": Repository(NEEDED, announced_bytes={"model.safetensors": 10**18}),
        "org/pickled": Repository(pickled),
        "org/data": Repository({"README.md": b"#"}),
        "org/down": Repository(NEEDED, error=503),
        "org/token": Repository(NEEDED, error=401),
        "org/login": Repository(NEEDED, page=b"<html>Welcome to our wireless network"),
        "org/list": Repository(NEEDED, page=b"[]"),
    }
    expected = {
        "org/gated": ["org/gated is gated", f"{hub.endpoint}/org/gated", "HF_TOKEN"],
        "org/vast": ["needs 999999000.0 GB more", "free", "HF_HOME"],
        "org/pickled": ["weights are read from safetensors only"],
        "org/data": ["config.json, tokenizer.json, model.safetensors are missing"],
        "org/down": ["answered 503", "Try again later"],
        "org/token": ["refuses access", "(401)", "HF_TOKEN"],
        "org/login": ["does not answer like the Hugging Face Hub", "HF_ENDPOINT"],
        "org/list": ["does not answer like the Hugging Face Hub", "HF_ENDPOINT"],
        "org/unheard-of": ["there is no checkpoint org/unheard-of", "Check the spelling"],
        "SmolLM2-360-Instruct": ["there is no checkpoint", f"Did you mean {MIDDLE}?"],
        "huggingfacetb/smolm2-1.7b-instruct": [f"Did you mean {LARGE}?"],
        "135mb": ["Did you mean 135m?"],
        "a/b/c": ["'a/b/c' is not the name of a checkpoint", "135m"],
        "what is this?": ["is not the name of a checkpoint"],
    }
    blobs = write(repo_folder(home, "org/vast") / "blobs", {f"{MODEL_BLOB}.incomplete": b""})
    os.truncate(blobs / f"{MODEL_BLOB}.incomplete", 10**12)
    env = environment(home, HF_ENDPOINT=hub.endpoint)
    outcome = reports(python(FETCH, *expected, env=env))
    for report, parts in zip(outcome, expected.values(), strict=True):
        assert_failed(report, *parts)
        assert report["progress"] == []
    assert not any(hub.requested("model.safetensors"))

    assert_failed(fetch(home, hub.endpoint, "org/gated", HF_TOKEN="hf_other"), "is gated")
    assert fetch(home, hub.endpoint, "org/gated", HF_TOKEN="hf_granted")["path"]


def test_a_repository_without_one_of_its_shards_is_refused(hub: HubServer, home: Path) -> None:
    hub.repositories["org/torn"] = Repository(without(SHARDED, SHARDS[0]))
    assert_failed(fetch(home, hub.endpoint, "org/torn"), f"{SHARDS[0]} is missing")


def test_no_network_is_one_clear_line(home: Path) -> None:
    with serving() as server:
        endpoint = server.endpoint
    assert_failed(fetch(home, endpoint), SMALL, f"{endpoint} cannot be reached", "smolchat models")


@pytest.mark.parametrize("endpoint", ["http://host:port", "http://[host", "host:80", "host", ""])
def test_an_endpoint_that_is_no_address_is_one_clear_line(home: Path, endpoint: str) -> None:
    assert_failed(fetch(home, endpoint), f"HF_ENDPOINT is no web address: {endpoint!r}")


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_mode_asks_nobody(hub: HubServer, home: Path, variable: str) -> None:
    assert_failed(fetch(home, hub.endpoint, **{variable: "1"}), SMALL, "HF_HUB_OFFLINE")
    assert hub.requests == []


def test_packed_weights_are_listed_and_removed(command: Command, home: Path) -> None:
    assert "packed" not in command("models").stdout
    folder = home / "cache" / "smolchat" / "packed"
    folder.mkdir(parents=True)
    header = b'{"__metadata__": {"source": "/somewhere/360m", "format": "int8"}}'
    (folder / "a-int8.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (folder / "b-int4.safetensors").write_bytes(b"damaged")
    (folder / "c-int4.1.partial").write_bytes(b"half")
    whole, damaged = command("models").stdout.splitlines()[-2:]
    assert whole.startswith("packed as int8")
    assert whole.endswith("/somewhere/360m")
    assert damaged.endswith("?")
    assert "0.0 MB" in command("models", "--remove-packed").stdout
    assert not list(folder.iterdir())
