"""What RESULTS.md says of measured parts, and that a program can be timed. No speed is judged."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from benchmarks.compare import is_measured, listed, notes_of
from benchmarks.random_checkpoint import SHAPES
from benchmarks.report import report

MACHINE = {"processor": "P", "threads": "2", "load before": "0.1"}


def part(name: str, rounds: list[dict[str, Any]], shape: str = "135m") -> dict[str, Any]:
    return {
        "shape": shape,
        "part": name,
        "date": "2026-01-02",
        "machine": MACHINE,
        "prompt_tokens": 256,
        "new_tokens": 64,
        "rounds": rounds,
    }


def speeds(decode: float, prefill: float = 100.0) -> dict[str, float]:
    return {"prefill": prefill, "decode": decode}


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    rounds = [
        {
            "smolchat int8": speeds(ours),
            "llama.cpp Q8_0": speeds(theirs),
            "transformers bf16": speeds(10),
            "bandwidth": 1e9,
            "weight_bytes": 1,
        }
        for ours, theirs in ((10, 10), (60, 40), (100, 10))
    ]
    lines = report([part("int8", rounds)]).splitlines()
    assert "| decode int8 over llama.cpp Q8_0 | **1.50** (1.3) |" in lines
    assert "| prefill over llama.cpp Q8_0 | 1.00 (1.3) |" in lines
    assert "| decode bf16 over llama.cpp F16 | - |" in lines
    assert "| 135m | smolchat int8 | 100 | 60.0 | 10.0 to 100.0 | 256 + 64 | 3 |" in lines


def test_notes_written_by_hand_stay(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    assert notes_of(results) == ""
    results.write_text("# Results\n\nfigures\n\n## Notes\n\nWhy.\n")
    assert report([]) + notes_of(results) == report([]) + "\n## Notes\n\nWhy.\n"


def test_a_trial_does_not_stand_in_for_a_run(tmp_path: Path) -> None:
    kept = tmp_path / "135m-start.json"
    options = argparse.Namespace(rounds=5, prompt_tokens=256, new_tokens=64, again=False)
    assert not is_measured(kept, options)
    for rounds, expected in ((1, False), (5, True)):
        kept.write_text(json.dumps(part("start", [{}] * rounds)))
        assert is_measured(kept, options) is expected
    options.new_tokens = 32
    assert not is_measured(kept, options)


def test_parts_are_named_with_commas() -> None:
    assert listed(SHAPES)("135m,1.7b") == ["135m", "1.7b"]
    with pytest.raises(argparse.ArgumentTypeError, match="'7b' is none of 135m, 360m"):
        listed(SHAPES)("135m,7b")


def test_the_results_are_those_of_the_rounds_that_are_kept() -> None:
    results = REPOSITORY / "benchmarks" / "RESULTS.md"
    kept = sorted((results.parent / "measured").glob("*.json"))
    text = report(json.loads(path.read_text(encoding="utf-8")) for path in kept)
    assert text + notes_of(results) == results.read_text(encoding="utf-8")


def test_some_goals_are_limits_and_some_shapes_have_none() -> None:
    taken = {"smolchat": 1.2, "transformers": 6.0, "llama.cpp": 0.5, "smolchat --help": 0.1}
    lines = report([part("start", [taken]), part("start", [taken], "1.7b")]).splitlines()
    assert "| first token of a new process, seconds | 1.20 (1) | 1.20 |" in lines
    assert "| `smolchat --help`, seconds | **0.10** (0.15) | 0.10 |" in lines
    assert lines[-1].startswith("- processor P, threads 2: ")
    assert lines[-1].count("load before it 0.1") == 2


@pytest.mark.skipif(
    not (REPOSITORY.parent / "shared" / "data" / "smollm2").exists(), reason="no configurations"
)
def test_the_shapes_are_those_of_the_family() -> None:
    folder = REPOSITORY.parent / "shared" / "data" / "smollm2"
    for name, shape in SHAPES.items():
        (path,) = folder.glob(f"SmolLM2-{name.upper()}-Instruct/config.json")
        real = json.loads(path.read_text())
        ours = shape.config()
        for key in ours.keys() - {"torch_dtype", "architectures"}:
            assert ours[key] == real[key], (name, key)


def test_a_program_is_timed_in_a_process_of_its_own(
    tiny_folder: Path, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.contestant", "smolchat int8", str(tiny_folder), "1"],
        input="20 4\n5 2\n",
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
        timeout=120,
        check=True,
    )
    loaded, *timed = map(json.loads, done.stdout.splitlines())
    assert loaded["weight_bytes"] > 50_000
    assert [set(each) for each in timed] == [{"prefill", "decode"}] * 2
