"""Average the weights of exported checkpoints, `python -m training.average OUT FOLDER FOLDER ...`.

Averaging states of one run evens out what each got wrong by itself (Izmailov et al. 2018,
https://arxiv.org/abs/1803.05407). OUT is an exported checkpoint whose weights are replaced.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


def average(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each weight, computed in float32 and stored as bf16."""
    means = {name: torch.stack([state[name].float() for state in states]) for name in states[0]}
    return {name: stacked.mean(0).to(torch.bfloat16) for name, stacked in means.items()}


def main() -> None:
    out, *folders = map(Path, sys.argv[1:])
    weights = average([load_file(folder / "model.safetensors") for folder in folders])
    save_file(weights, out / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
