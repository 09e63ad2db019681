"""What `smolchat doctor` tells: versions, hardware, folders, the checkpoint and every setting."""

from __future__ import annotations

import json
import platform
import re
import shutil
from pathlib import Path

from conftest import Command

from smolchat import __version__, catalog
from smolchat.doctor import PACKAGES
from smolchat.settings import DEFAULTS


def test_every_setting_is_shown_with_value_and_source(
    config_folder: Path, tiny_folder: Path, command: Command
) -> None:
    (config_folder / "config.yaml").write_text("seed: 5\ntop_p: 0.8\n")
    arguments = ("-m", str(tiny_folder), "-P", "summarize", "--threads", "1")
    settings = json.loads(
        command("doctor", "--json", *arguments, SMOLCHAT_MIN_P="0.1", SMOLCHAT_TOP_P="0.7").stdout
    )["settings"]
    assert settings.keys() == DEFAULTS.keys()
    assert settings["model"] == f"{tiny_folder}  (command line)"
    assert settings["min_p"] == "0.1  (environment)"
    assert settings["top_p"] == "0.7  (environment)"
    assert settings["max_new_tokens"] == "512  (profile summarize)"
    assert settings["seed"] == f"5  ({config_folder / 'config.yaml'})"
    assert settings["top_k"] == "0  (default)"
    assert settings["device"] == "auto  (default)"


def test_the_report_names_versions_hardware_folders_and_checkpoint(
    config_folder: Path, tiny_folder: Path, command: Command
) -> None:
    report = json.loads(command("doctor", "--json", "-m", str(tiny_folder)).stdout)
    assert list(report) == ["versions", "hardware", "folders", "checkpoint", "settings"]
    assert report["versions"].keys() == {"smolchat", "python", *PACKAGES}
    assert report["versions"]["smolchat"] == __version__
    assert report["versions"]["python"] == platform.python_version()
    assert report["hardware"]["device for auto"] in {"cpu", "cuda", "mps"}
    assert int(report["hardware"]["threads"]) > 0
    configuration = config_folder / "config.yaml"
    assert report["folders"]["configuration file"] == f"{configuration}  (not there yet)"
    assert report["checkpoint"] == {
        "name": str(tiny_folder),
        "folder": str(tiny_folder),
        "chosen because": "it was named (command line)",
    }


def test_a_checkpoint_that_is_not_here_is_no_failure(command: Command) -> None:
    absent = json.loads(command("doctor", "--json", "-m", "360m").stdout)["checkpoint"]
    assert absent["name"] == catalog.FAMILY["360m"]
    assert "smolchat pull" in absent["folder"]
    broken = json.loads(command("doctor", "--json", "-m", "/nowhere").stdout)["checkpoint"]
    assert "/nowhere" in broken["problem"]


def test_the_reason_for_a_checkpoint_is_told(
    config_folder: Path, tiny_folder: Path, home: Path, command: Command
) -> None:
    def reason(*arguments: str) -> str:
        report = json.loads(command("doctor", "--json", *arguments).stdout)
        return str(report["checkpoint"]["chosen because"])

    repository = home / "cache/huggingface/hub/models--HuggingFaceTB--SmolLM2-135M-Instruct"
    shutil.copytree(tiny_folder, repository / "snapshots" / "abc")
    assert reason() == "it is the largest SmolLM2 on disk"
    (config_folder / "profiles").mkdir()
    (config_folder / "profiles" / "mine.yaml").write_text(f"name: mine\nmodel: {tiny_folder}\n")
    assert reason("-P", "mine") == "it was named (profile mine)"


def test_the_printed_report_says_the_same(tiny_folder: Path, command: Command) -> None:
    arguments = ("doctor", "-m", str(tiny_folder), "--seed", "4")
    report = json.loads(command(*arguments, "--json").stdout)
    lines = command(*arguments).stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(report)
    rows = [re.fullmatch(r"  (.{20}) (.*)", line) for line in lines if line.startswith(" ")]
    told = [(row[1].rstrip(), row[2]) for row in rows if row]
    assert told == [row for section in report.values() for row in section.items()]
