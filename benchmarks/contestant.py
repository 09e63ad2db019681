"""One program in a process of its own, which loads a checkpoint once and is timed on request.

`python -m benchmarks.contestant NAME FOLDER THREADS` prints a line when it has loaded, then for
each line `PROMPT NEW` on standard input the seconds of the prompt and of the new tokens after the
first. While the others are timed it sleeps. NAME is one of `CONTESTANTS`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Timed = Callable[[list[int], int], tuple[float, float]]
"""Takes prompt ids and a count of new tokens; returns the seconds of both parts."""


def smolchat(folder: Path, threads: int, quantize: str) -> tuple[Timed, int]:
    from smolchat.engine.engine import Engine
    from smolchat.generation import GenerationRequest, Sampling
    from smolchat.loading import load_engine

    loaded = load_engine(folder, "cpu", threads=threads, quantize=quantize).generator
    assert isinstance(loaded, Engine)
    engine = loaded.on(loaded.model)  # without drafts

    def timed(prompt: list[int], count: int) -> tuple[float, float]:
        engine.prefix.shorten(0)
        request = GenerationRequest(tuple(prompt), count, frozenset(), Sampling(temperature=0))
        generation = engine.generate(request)
        assert len(list(generation)) == count
        return generation.stats.prefill_seconds, generation.stats.decode_seconds

    return timed, engine.model.weight_bytes  # type: ignore[attr-defined]


def llama_cpp(folder: Path, threads: int, kind: str) -> tuple[Timed, int]:
    import llama_cpp
    import numpy as np

    from benchmarks.random_checkpoint import gguf

    path = gguf(folder, kind)
    model = llama_cpp.Llama(
        str(path), n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False
    )

    def likeliest() -> int:
        logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
        return int(np.ctypeslib.as_array(logits, (model.n_vocab(),)).argmax())

    def timed(prompt: list[int], count: int) -> tuple[float, float]:
        model.reset()
        started = time.perf_counter()
        model.eval(prompt)
        token = likeliest()
        first = time.perf_counter()
        for _ in range(count - 1):
            model.eval([token])
            token = likeliest()
        return first - started, time.perf_counter() - first

    return timed, path.stat().st_size


def transformers(folder: Path, threads: int, dtype: str) -> tuple[Timed, int]:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    class Clock:
        """A streamer that notes when tokens come; the first call is the prompt."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def put(self, value: object) -> None:
            self.times.append(time.perf_counter())

        def end(self) -> None:
            pass

    def timed(prompt: list[int], count: int) -> tuple[float, float]:
        clock = Clock()
        ids = torch.tensor([prompt])
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=count,
            min_new_tokens=count,
            streamer=clock,
        )
        return clock.times[1] - clock.times[0], clock.times[-1] - clock.times[1]

    return timed, sum(each.nbytes for each in model.parameters())


CONTESTANTS: dict[str, tuple[Callable[[Path, int, str], tuple[Timed, int]], str]] = {
    "smolchat none": (smolchat, "none"),
    "smolchat int8": (smolchat, "int8"),
    "smolchat int4": (smolchat, "int4"),
    "llama.cpp F16": (llama_cpp, "F16"),
    "llama.cpp Q8_0": (llama_cpp, "Q8_0"),
    "llama.cpp Q4_0": (llama_cpp, "Q4_0"),
    "transformers bf16": (transformers, "bfloat16"),
}


def main(arguments: Sequence[str]) -> None:
    name, folder, threads = arguments
    start, format_name = CONTESTANTS[name]
    timed, weight_bytes = start(Path(folder), int(threads), format_name)
    print(json.dumps({"weight_bytes": weight_bytes}), flush=True)
    for line in sys.stdin:
        length, count = map(int, line.split())
        prompt = [7 * index % 2000 + 20 for index in range(length)]
        prefill, decode = timed(prompt, count)
        print(json.dumps({"prefill": prefill, "decode": decode}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
