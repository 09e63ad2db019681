"""`smolchat bench`, and the chart that it draws. What it measures is not judged."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from conftest import Command

from smolchat.bench import read_bandwidth
from smolchat.chart import line_chart, round_step
from smolchat.loading import load_engine

QUICK = ("--quantize", "int8", "--prompt-tokens", "20", "--new-tokens", "4", "--rounds", "1")
SVG = "{http://www.w3.org/2000/svg}"


def test_json_is_a_list_with_a_row_for_each_way_and_length(
    command: Command, tiny_folder: Path
) -> None:
    more = ("--quantize", "none,int8", "--prompt-tokens", "60", "--json")
    rows = json.loads(command("bench", "-m", str(tiny_folder), *QUICK, *more).stdout)
    assert [(row["quantize"], row["prompt_tokens"]) for row in rows] == [
        ("int8", 20),
        ("int8", 60),
        ("none", 20),
        ("none", 60),
    ]
    for row in rows:
        assert list(row) == [
            "quantize",
            "prompt_tokens",
            "new_tokens",
            "prefill_tokens_per_second",
            "decode_tokens_per_second",
            "bandwidth_share",
            "first_token_seconds",
        ]
        assert row["new_tokens"] == 4
        assert all(value > 0 for name, value in row.items() if name != "quantize")


def test_the_table_and_the_plot(command: Command, tiny_folder: Path, tmp_path: Path) -> None:
    plot = tmp_path / "speed.svg"
    result = command("bench", "-m", str(tiny_folder), *QUICK, "--plot", str(plot))
    heading, row = result.stdout.splitlines()
    assert heading.split()[:3] == ["weights", "prompt", "new"]
    assert row.split()[:3] == ["int8", "20", "4"]
    texts = [each.text for each in ET.parse(plot).getroot().iter(f"{SVG}text")]
    assert "int8" in texts
    assert "tokens of context" in texts


def test_what_does_not_fit_or_is_unknown_is_refused(command: Command, tiny_folder: Path) -> None:
    result = command("bench", "-m", str(tiny_folder), "--quantize", "int3")
    assert (result.exit_code, result.stdout) == (2, "")
    arguments = ("--prompt-tokens", "2000", "--new-tokens", "100", "--json")
    result = command("bench", "-m", str(tiny_folder), *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "2000 + 100 tokens do not fit the context of 2048" in result.stderr


def test_the_bandwidth_is_a_plausible_number_of_bytes_a_second() -> None:
    assert 1e8 < read_bandwidth() < 1e13


@pytest.mark.parametrize(("dtype", "bytes_each"), [("auto", 1), ("float32", 2), ("float16", 2)])
def test_the_weights_that_a_token_reads(tiny_folder: Path, dtype: str, bytes_each: int) -> None:
    """float16 is the reference model's; the kernels read what the checkpoint stores."""
    model = load_engine(tiny_folder, dtype=dtype).generator.model  # type: ignore[attr-defined]
    layer = 64 * (64 + 2 * 32 + 64) + 3 * 64 * 128
    matrices = 2 * layer + 260 * 64
    assert matrices * bytes_each <= model.weight_bytes < 1.1 * matrices * bytes_each + 5000


@pytest.mark.parametrize(
    ("top", "step"), [(0, 1), (1, 0.1), (7, 1), (10, 1), (11, 2), (45, 5), (51, 10), (8192, 1000)]
)
def test_an_axis_has_at_most_ten_round_steps(top: float, step: float) -> None:
    assert round_step(top) == pytest.approx(step)


def test_lines_lie_within_the_chart_and_names_are_escaped() -> None:
    lines = {"a<b": [(0, 0), (100, 40)], "empty": []}
    root = ET.fromstring(line_chart(lines, "T & t", "x", "y"))
    first, second = root.iter(f"{SVG}polyline")
    places = [tuple(map(float, pair.split(","))) for pair in first.attrib["points"].split()]
    assert places == [(64, 368), (630, 44)]
    assert second.attrib["points"] == ""
    assert {"a<b", "T & t"} <= {each.text for each in root.iter(f"{SVG}text")}
