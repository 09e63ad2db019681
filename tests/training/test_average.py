"""Averaged checkpoints."""

from __future__ import annotations

import torch

from training.average import average


def test_each_weight_is_the_mean_of_its_states() -> None:
    states = [
        {"a": torch.tensor([1.0, 4.0]).bfloat16()},
        {"a": torch.tensor([3.0, 0.0]).bfloat16()},
    ]
    found = average(states)["a"]
    assert found.dtype == torch.bfloat16
    assert found.tolist() == [2.0, 2.0]
