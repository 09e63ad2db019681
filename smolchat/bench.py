"""How fast a checkpoint is on this machine, measured through the engine without drafts.

Knows no screen. Everything is a median over rounds; the memory bandwidth is measured in the same
rounds, because a share of what another minute gave would say nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, cast

from smolchat.errors import SmolchatError, UsageError

if TYPE_CHECKING:
    from smolchat.engine.cpu import CpuModel
    from smolchat.engine.engine import Engine
    from smolchat.engine.reference import ReferenceModel
    from smolchat.loading import LoadedEngine

READ_BYTES = 256_000_000
"""Far more than the caches hold."""
READ_SECONDS = 0.5

PLOT_LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
PLOT_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured for one way to keep the weights and one length of the prompt."""

    quantize: str
    prompt_tokens: int
    new_tokens: int
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    bandwidth_share: float
    """Bytes of weights that decoding read a second, over what a plain sum reads."""
    first_token_seconds: float
    """Of a new process, from its start; weights are packed, kernels compiled, no prefix is kept."""
    warm_seconds: float
    """To the first token of a prompt with the checkpoint loaded."""

    def as_json(self) -> dict[str, Any]:
        named = asdict(self)
        del named["warm_seconds"]
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in named.items()
        }


@dataclass(frozen=True, slots=True)
class Bench:
    """What is to be measured of a checkpoint folder."""

    folder: Path
    new_tokens: int
    rounds: int
    device: str = "auto"
    threads: int | None = None

    def open(self, quantize: str) -> LoadedEngine:
        from smolchat.loading import load_engine

        return load_engine(self.folder, self.device, "auto", self.threads, quantize)

    def rows(self, loaded: LoadedEngine, quantize: str, lengths: Sequence[int]) -> Iterator[Row]:
        """A row for each length of the prompt. Raises UsageError when it does not fit."""
        for length in lengths:
            self._require_fit(length, loaded)
        for length in lengths:
            yield self._row(loaded, quantize, length)

    def curve(self, loaded: LoadedEngine) -> list[tuple[float, float]]:
        """Tokens already there, and tokens per second after them."""
        engine = _without_drafts(loaded)
        context = engine.context_tokens
        lengths = [length for length in PLOT_LENGTHS if length + PLOT_TOKENS <= context]
        found: dict[int, list[float]] = {length: [] for length in lengths}
        for _ in range(self.rounds):
            for length in lengths:
                _, decoded = _generated(engine, length, PLOT_TOKENS)
                found[length].append((PLOT_TOKENS - 1) / decoded)
        return [(length, median(rates)) for length, rates in found.items()]

    def _require_fit(self, length: int, loaded: LoadedEngine) -> None:
        context = loaded.generator.context_tokens
        if length + self.new_tokens > context:
            raise UsageError(
                f"{length} + {self.new_tokens} tokens do not fit the context of {context}",
                "Give smaller --prompt-tokens or --new-tokens.",
            )

    def _row(self, loaded: LoadedEngine, quantize: str, length: int) -> Row:
        engine = _without_drafts(loaded)
        _generated(engine, length, 2)  # what is imported or compiled once is none of the rounds
        bandwidths, prefills, decodes, starts = [], [], [], []
        for _ in range(self.rounds):
            bandwidths.append(read_bandwidth(self.threads))
            engine.prefix.shorten(0)
            prefill, decode = _generated(engine, length, self.new_tokens)
            prefills.append(prefill)
            decodes.append((self.new_tokens - 1) / decode)
            starts.append(self._first_token_seconds(quantize, loaded, length))
        decode = median(decodes)
        model = cast("CpuModel | ReferenceModel", engine.model)
        return Row(
            quantize=quantize,
            prompt_tokens=length,
            new_tokens=self.new_tokens,
            prefill_tokens_per_second=length / median(prefills),
            decode_tokens_per_second=decode,
            bandwidth_share=model.weight_bytes * decode / median(bandwidths),
            first_token_seconds=median(starts),
            warm_seconds=median(prefills),
        )

    def _first_token_seconds(self, quantize: str, loaded: LoadedEngine, length: int) -> float:
        """From the start of a process to its end after one token."""
        from smolchat.chatml import ChatFormat
        from smolchat.messages import Message

        def tokens(words: int) -> int:
            chat_format: ChatFormat = loaded.chat_format
            return len(chat_format.prompt_ids([Message("user", "one " * words)]))

        words = max(1, (length - tokens(0)) // max(1, (tokens(9) - tokens(1)) // 8))
        command = [sys.executable, "-m", "smolchat", "run", "-m", str(self.folder), "-q"]
        command += ["--quantize", quantize, "--device", self.device, "--no-history"]
        command += ["--threads", str(self.threads)] if self.threads else []
        started = time.perf_counter()
        done = subprocess.run(
            [*command, "--max-new-tokens", "1", "-p", "one " * words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={key: each for key, each in os.environ.items() if not key.startswith("SMOLCHAT_")},
            check=False,
        )
        if done.returncode:
            raise SmolchatError(f"a process ended with {done.returncode}: {done.stderr.strip()}")
        return time.perf_counter() - started


def read_bandwidth(threads: int | None = None) -> float:
    """Bytes that a reduction over a large array reads a second: the mean of half a second.

    Speeds are means, too; the best of a few reads is what a shared machine gives for a moment.
    """
    import numpy as np

    from smolchat.engine.device import available_threads

    count = threads or available_threads()
    parts = np.array_split(np.ones(READ_BYTES // 8, np.int64), count)
    reads, seconds = 0, 0.0
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(np.bitwise_or.reduce, parts))  # the threads are there afterwards
        started = time.perf_counter()
        while seconds < READ_SECONDS:
            list(pool.map(np.bitwise_or.reduce, parts))
            reads, seconds = reads + 1, time.perf_counter() - started
    return READ_BYTES * reads / seconds


def _without_drafts(loaded: LoadedEngine) -> Engine:
    from smolchat.engine.engine import Engine

    assert isinstance(loaded.generator, Engine)
    return loaded.generator.on(loaded.generator.model)


def _generated(engine: Engine, length: int, count: int) -> tuple[float, float]:
    """Seconds of computing a prompt of `length` tokens, as far as it is new, and `count` more."""
    import numpy as np

    from smolchat.generation import GenerationRequest, Sampling

    ids = np.random.default_rng(0).integers(0, engine.model.vocab_size, length)
    prompt = tuple(int(token_id) for token_id in ids)
    generation = engine.generate(
        GenerationRequest(prompt, count, frozenset(), Sampling(temperature=0))
    )
    for _ in generation:
        pass
    return generation.stats.prefill_seconds, generation.stats.decode_seconds
