"""Muon: momentum whose update is made orthogonal, for the matrices of the layers.

After Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); updates
are scaled as Liu et al. (2025) do, so that the learning rate and decay of AdamW can be used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum with decoupled weight decay."""

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append(weight)
            for weights in alike.values():
                self._update(weights, group["lr"], group["momentum"], group["weight_decay"])

    def _update(self, weights: list[Tensor], lr: float, momentum: float, decay: float) -> None:
        """Update matrices of one shape together, so that their products are one batch."""
        directions = torch.stack([self._momentum(weight, momentum) for weight in weights])
        scale = 0.2 * max(weights[0].shape) ** 0.5
        for weight, direction in zip(weights, orthogonal(directions), strict=True):
            weight.mul_(1 - lr * decay).add_(direction.to(weight.dtype), alpha=-lr * scale)

    def _momentum(self, weight: Tensor, momentum: float) -> Tensor:
        assert weight.grad is not None
        state = self.state[weight]
        buffer = state.setdefault("momentum", torch.zeros_like(weight))
        buffer.lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(buffer, momentum)


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearly orthogonal matrices closest to these [N, R, C], by Newton-Schulz in bf16."""
    wide = matrices.shape[1] <= matrices.shape[2]
    states = (matrices if wide else matrices.mT).bfloat16()
    states = states / (states.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = states @ states.mT
        states = 3.4445 * states + (-4.7750 * gram + 2.0315 * gram @ gram) @ states
    return states if wide else states.mT
