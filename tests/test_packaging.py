"""What pip installs: the package with its shipped folders, and a program that runs anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from conftest import REPOSITORY

from smolchat import __version__
from smolchat.catalog import EMBEDDED, FAMILY

SHIPPED = ["profiles", "tools", "checkpoints"]
SHORT = ("--seed", "1", "--max-new-tokens", "80")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(REPOSITORY))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in a fresh environment, which borrows only the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    (packages,) = folder.glob("lib/python*/site-packages")
    # Lines of a .pth inside the borrowed folder, such as editable installs, are not followed.
    (packages / "borrowed.pth").write_text(f"{Path(numpy.__file__).parent.parent}\n")
    return folder / "bin" / "smolchat"


Installed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_installed(installed: Path, environment: dict[str, str], tmp_path: Path) -> Installed:
    def run(
        *command: str | Path, stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in (command or (installed,))],
            input=stdin,
            capture_output=True,
            text=True,
            env=environment | variables,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )

    return run


def pip(*arguments: str) -> None:
    quietly = ("--quiet", "--disable-pip-version-check")
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    result = subprocess.run(
        [sys.executable, "-m", "pip", *quietly, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def tracked(folder: str) -> set[str]:
    """The files below `folder` in the repository, without what running them leaves."""
    files = (path for path in (REPOSITORY / folder).rglob("*") if path.is_file())
    return {
        path.relative_to(REPOSITORY).as_posix()
        for path in files
        if path.parent.name != "__pycache__"
    }


def test_the_wheel_holds_the_package_and_the_shipped_folders(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = {f"smolchat/shipped/{name}" for folder in SHIPPED for name in tracked(folder)}
    own = {name for name in names if not name.startswith(f"smolchat-{__version__}.dist-info/")}
    assert own == tracked("smolchat") | shipped
    assert {path.split("/")[2] for path in shipped} == set(SHIPPED)
    assert f"smolchat/shipped/checkpoints/{EMBEDDED}/model.safetensors" in shipped


def test_the_wheel_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"smolchat-{__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nRequires-Python: >=3.10\n" in metadata
    assert "\nRequires-Dist: torch<2.14,>=2.6\n" in metadata
    assert "\nRequires-Dist: accelerate>=1.2; extra == 'accelerate'\n" in metadata
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    assert [line for line in required if "extra" not in line and ">=" not in line] == []


def test_the_installed_program_answers_from_another_directory(
    installed: Path, run_installed: Installed
) -> None:
    where = run_installed(
        installed.parent / "python", "-c", "import smolchat; print(smolchat.__file__)"
    )
    assert where.stdout.startswith(str(installed.parent.parent))
    rewritten = run_installed(
        installed, "rewrite", *SHORT, stdin="The CI is failing after your last commit!\n"
    )
    assert rewritten.returncode == 0, rewritten.stderr
    assert rewritten.stdout.strip()
    assert rewritten.stderr.splitlines()[0] == (
        "smolchat: this is the small embedded demonstration model; get a real one with: "
        "smolchat pull 360m"
    )
    answered = run_installed(installed, "run", "-q", *SHORT, "Hello! Who are you?")
    assert (answered.returncode, answered.stderr) == (0, "")
    assert answered.stdout.strip()


def test_the_installed_program_has_its_profiles(installed: Path, run_installed: Installed) -> None:
    listed = run_installed(installed, "profiles", "list").stdout
    assert [line.split()[0] for line in listed.splitlines()] == sorted(
        path.stem for path in (REPOSITORY / "profiles").glob("*.yaml")
    )


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("r",), {"run", "rewrite"}),
        (("run", "-m", ""), {EMBEDDED, *FAMILY}),
        (("-m", "t"), {EMBEDDED}),
        (("pull", "1"), {"135m", "1.7b"}),
        (("run", "-P", "re"), {"rewrite"}),
        (("profiles", "show", "su"), {"summarize"}),
        (("rewrite", "--tone", ""), {"friendly", "professional", "concise"}),
        (("run", "--temp"), {"--temperature"}),
    ],
)
def test_the_shell_completes_commands_aliases_and_options(
    words: tuple[str, ...], offered: set[str], installed: Path, run_installed: Installed
) -> None:
    result = run_installed(
        installed,
        _SMOLCHAT_COMPLETE="complete_bash",
        COMP_WORDS=" ".join(("smolchat", *words)),
        COMP_CWORD=str(len(words)),
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert set(result.stdout.split()) == offered


def test_every_command_is_completed(installed: Path, run_installed: Installed) -> None:
    result = run_installed(
        installed, _SMOLCHAT_COMPLETE="complete_bash", COMP_WORDS="smolchat ", COMP_CWORD="1"
    )
    assert {"chat", "run", "rewrite", "summarize", "models", "pull", "profiles", "doctor"} <= set(
        result.stdout.split()
    )


def test_completion_can_be_shown_and_installed(
    installed: Path, home: Path, run_installed: Installed
) -> None:
    """From a shell, which is recognised by being the program's parent."""
    home.mkdir()
    shown = run_installed("bash", "-c", f"{installed} --show-completion; exit $?")
    assert shown.returncode == 0, shown.stderr
    assert "_SMOLCHAT_COMPLETE=complete_bash" in shown.stdout
    result = run_installed("bash", "-c", f"{installed} --install-completion; exit $?")
    assert result.returncode == 0, result.stderr
    (script,) = (home / ".bash_completions").iterdir()
    assert str(script) in (home / ".bashrc").read_text()
    asked = "complete -p smolchat && COMP_WORDS=(smolchat pu) COMP_CWORD=1 "
    asked += f"&& _smolchat_completion {installed} && echo ${{COMPREPLY[@]}}"
    sourced = run_installed("bash", "-c", f"source {home / '.bashrc'}; {asked}")
    assert sourced.stdout.splitlines()[-1] == "pull", sourced.stderr
