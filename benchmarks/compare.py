"""smolchat side by side with transformers and llama.cpp, on random checkpoints of the real shapes.

`python -m benchmarks.compare --shape 135m --only int8,int4` runs some parts; without options all
of it, which takes long. The rounds of each part are kept in `measured/` beside RESULTS.md when it
is done, and RESULTS.md is written from all that are kept, so that a run may happen in pieces. The
programs take turns, round by round; ratios are medians of the rounds' ratios. Needs
`pip install -e '.[bench]'`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.random_checkpoint import SHAPES, checkpoint, gguf
from benchmarks.report import report
from smolchat.bench import read_bandwidth
from smolchat.engine.device import available_threads
from smolchat.paths import cache_dir

Rounds = list[dict[str, Any]]

DECODE = {
    "int8": (
        "smolchat int8",
        "llama.cpp Q8_0",
        "transformers bf16",
    ),
    "int4": ("smolchat int4", "llama.cpp Q4_0"),
    "bf16": ("smolchat none", "llama.cpp F16"),
}
"""Parts in which prompts are computed and gone on with; the first is held against the others."""

LONG, SHORT = 4000, 100
"""Tokens of context between which decoding is compared."""


class Contestant:
    """A program in a process of its own."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        self.name = name
        command = [sys.executable, "-m", "benchmarks.contestant", name, str(folder), str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.weight_bytes: int = self._answer()["weight_bytes"]

    def timed(self, prompt_tokens: int, new_tokens: int) -> dict[str, float]:
        """Tokens per second of the prompt and of the tokens after the first new one."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{prompt_tokens} {new_tokens}\n")
        self._process.stdin.flush()
        seconds = self._answer()
        return {
            "prefill": prompt_tokens / seconds["prefill"],
            "decode": (new_tokens - 1) / seconds["decode"],
        }

    def end(self) -> None:
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def contestants(names: Sequence[str], folder: Path, threads: int) -> Iterator[list[Contestant]]:
    with ExitStack() as stack:
        started = []
        for name in names:
            started.append(Contestant(name, folder, threads))
            stack.callback(started[-1].end)
        yield started


def decode_rounds(names: Sequence[str], folder: Path, options: argparse.Namespace) -> Rounds:
    rounds = []
    with contestants(names, folder, options.threads) as programs:
        for program in programs:  # what is imported, measured or read once
            program.timed(options.prompt_tokens, 4)
        for _ in range(options.rounds):
            taken: dict[str, Any] = {}
            for program in programs:
                taken[program.name] = program.timed(options.prompt_tokens, options.new_tokens)
                if program is programs[0]:
                    taken["bandwidth"] = read_bandwidth(options.threads)
                    taken["weight_bytes"] = program.weight_bytes
            rounds.append(taken)
    return rounds


def context_rounds(folder: Path, options: argparse.Namespace) -> Rounds:
    rounds = []
    with contestants(["smolchat int8"], folder, options.threads) as (program,):
        program.timed(SHORT, 4)
        for _ in range(options.rounds):
            rounds.append(
                {
                    str(length): program.timed(length, options.new_tokens)["decode"]
                    for length in (SHORT, LONG)
                }
            )
    return rounds


QUESTION = "Why is the sky blue?"

BY_TRANSFORMERS = """
import os, sys, torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
folder = sys.argv[1]
tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
messages = [{"role": "user", "content": sys.argv[2]}]
text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
ids = tokenizer(text, return_tensors="pt").input_ids
model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False)
os._exit(0)
"""

BY_LLAMA_CPP = """
import os, sys
from llama_cpp import Llama
model = Llama(sys.argv[1], n_ctx=2048, n_threads=int(sys.argv[3]), verbose=False)
text = "<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
text += f"<|im_end|>\\n<|im_start|>user\\n{sys.argv[2]}<|im_end|>\\n<|im_start|>assistant\\n"
next(model.generate(model.tokenize(text.encode(), add_bos=False, special=True), temp=0.0))
os._exit(0)
"""


def start_rounds(folder: Path, options: argparse.Namespace) -> Rounds:
    """Seconds from the start of a process to its end after one token."""
    own = [sys.executable, "-m", "smolchat"]
    asked = ["run", "-q", "-m", str(folder), "--max-new-tokens", "1", "-p", QUESTION]
    by_llama = [sys.executable, "-c", BY_LLAMA_CPP, str(gguf(folder, "Q8_0")), QUESTION]
    commands = {
        "smolchat": [*own, *asked, "--threads", str(options.threads)],
        "transformers": [sys.executable, "-c", BY_TRANSFORMERS, str(folder), QUESTION],
        "llama.cpp": [*by_llama, str(options.threads)],
        "smolchat --help": [*own, "--help"],
    }
    with tempfile.TemporaryDirectory() as conversations:
        environment = {**os.environ, "XDG_DATA_HOME": conversations}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an editable install would have none

        def seconds(command: list[str]) -> float:
            started = time.perf_counter()
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment,
                check=True,
            )
            return time.perf_counter() - started

        for command in commands.values():
            seconds(command)
        return [
            {name: seconds(command) for name, command in commands.items()}
            for _ in range(options.rounds)
        ]


PARTS: dict[str, Callable[[Path, argparse.Namespace], Rounds]] = {
    **{
        part: lambda folder, options, names=names: decode_rounds(names, folder, options)
        for part, names in DECODE.items()
    },
    "context": context_rounds,
    "start": start_rounds,
}


def notes_of(results: Path) -> str:
    """What a person has written under `## Notes` at the end of the file; it stays there."""
    text = results.read_text(encoding="utf-8") if results.is_file() else ""
    _, heading, notes = text.partition("\n## Notes\n")
    return heading + notes


def machine(threads: int) -> dict[str, str]:
    """What the figures hang on."""
    names = ("numpy", "numba", "torch", "transformers", "llama-cpp-python")
    return {
        "processor": _processor(),
        "threads": str(threads),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in names},
    }


def _version(name: str) -> str:
    """Of an installed package; not every benchmark needs each of them."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def listed(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Reads names with commas between them. Raises ArgumentTypeError for an unknown one."""

    def names(text: str) -> list[str]:
        found = text.split(",")
        if unknown := [name for name in found if name not in known]:
            message = f"{unknown[0]!r} is none of {', '.join(known)}"
            raise argparse.ArgumentTypeError(message)
        return found

    return names


def is_measured(kept: Path, options: argparse.Namespace) -> bool:
    """Whether a file holds a part as it is asked for; a trial of fewer rounds does not count."""
    if options.again or not kept.is_file():
        return False
    part = json.loads(kept.read_text(encoding="utf-8"))
    lengths = (part["prompt_tokens"], part["new_tokens"])
    is_alike = lengths == (options.prompt_tokens, options.new_tokens)
    return is_alike and len(part["rounds"]) >= options.rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=listed(SHAPES), default=list(SHAPES))
    parser.add_argument("--only", type=listed(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--again", action="store_true", help="measure also what is kept")
    parser.add_argument("--folder", type=Path, default=cache_dir() / "benchmarks")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    options = parser.parse_args()
    measured_folder = options.results.with_name("measured")
    measured_folder.mkdir(parents=True, exist_ok=True)
    for shape in options.shape:
        for part in options.only:
            kept = measured_folder / f"{shape}-{part}.json"
            if is_measured(kept, options):
                print(f"{shape} {part}: kept from before", flush=True)
                continue
            conditions = machine(options.threads)
            folder = checkpoint(shape, options.folder)
            rounds = PARTS[part](folder, options)
            measured = {
                "shape": shape,
                "part": part,
                "date": datetime.date.today().isoformat(),
                "machine": conditions,
                "prompt_tokens": options.prompt_tokens,
                "new_tokens": options.new_tokens,
                "rounds": rounds,
            }
            kept.write_text(json.dumps(measured, indent=1), encoding="utf-8")
            print(f"{shape} {part}: {len(rounds)} rounds", flush=True)
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(measured_folder.glob("*.json"))
    ]
    text = report(found) + notes_of(options.results)
    options.results.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
