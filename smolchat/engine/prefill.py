"""Keys and values of a long span by torch's matrix product, for the cache of the kernels.

It rounds where the kernels round, so that it makes no difference for the reply which of the two
read the prompt: activations of quantised weights to sixteen bits, all else in float32. The products
of int8 are exact: sixteen bits are twice eight, which torch multiplies twice as fast as bfloat16
where the processor has instructions for it. Imported only when a span is long enough for torch to
pay.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention, silu

from smolchat.engine.layout import BLOCK, DOWN, GATE, LARGEST, OUTPUT, UP, K, Q, V
from smolchat.engine.weights import PackedWeights, Shape


class Prefill:
    """Fills the cache of the kernels."""

    def __init__(self, shape: Shape, packed: PackedWeights, threads: int) -> None:
        torch.set_num_threads(threads)
        self._shape = shape
        self._packed = packed
        self._codes = _tensor(packed.codes)
        self._scales = _tensor(packed.scales)
        self._head = _tensor(packed.head)
        self._head_scales = _tensor(packed.head_scales)
        self._norms = _tensor(packed.norms)

    @torch.inference_mode()
    def fill(self, ids: Sequence[int], start: int, weights: Any, cache: Any) -> None:
        """Appends `ids` at position `start`. No logits: the span that follows has them."""
        end = start + len(ids)
        stream = self._embedded(ids)
        cosines, sines = (
            _tensor(table[start:end])[:, None] for table in (weights.cosines, weights.sines)
        )
        for layer in range(self._shape.layers):
            states = self._normalized(stream, 2 * layer)
            queries, keys, values = (
                product.view(len(ids), -1, self._shape.size)
                for product in self._products(layer, (Q, K, V), states)
            )
            queries, keys = (_rotated(each, cosines, sines) for each in (queries, keys))
            self._store(cache, layer, start, keys, values)
            if layer == self._shape.layers - 1:
                return  # nothing reads what this layer would add
            attended = self._attended(cache, layer, start, end, queries)
            stream = stream + self._products(layer, (OUTPUT,), attended)[0]
            gate, up = self._products(layer, (GATE, UP), self._normalized(stream, 2 * layer + 1))
            stream = stream + self._products(layer, (DOWN,), silu(gate) * up)[0]

    def _embedded(self, ids: Sequence[int]) -> torch.Tensor:
        first, width, scale, scales = self._packed.places[self._shape.layers, 1].tolist()
        rows = self._head[first : first + self._shape.vocabulary * width].view(-1, width)
        chosen = torch.tensor(list(ids))
        found = rows[chosen].float()
        if scales:
            found *= self._head_scales[scale:][chosen][:, None]
        return found

    def _normalized(self, x: torch.Tensor, norm: int) -> torch.Tensor:
        factor = torch.rsqrt(x.square().mean(1, keepdim=True) + self._shape.epsilon)
        return x * factor * self._norms[norm]

    def _products(self, layer: int, matrices: Sequence[int], x: torch.Tensor) -> list[torch.Tensor]:
        """x W' for some matrices W of a layer."""
        if self._packed.format == "int8":
            codes, steps = self._rounded(x)
            high = (codes + 128) >> 8
            halves = torch.cat([high, codes - (high << 8)]).to(torch.int8)
            return [self._exact_product(layer, matrix, halves) * steps for matrix in matrices]
        if self._packed.format == "int4":
            codes, steps = self._rounded(x)
            x = codes * steps
        return [x @ self._numbers(layer, matrix).T for matrix in matrices]

    def _rounded(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Integers and a step for each position: `kernels.round_to_steps`."""
        factors = LARGEST / x.abs().amax(1, keepdim=True).clamp_min(1e-30)
        scaled = x * factors
        return (scaled + torch.full_like(scaled, 0.5).copysign(scaled)).int(), 1 / factors

    def _exact_product(self, layer: int, matrix: int, halves: torch.Tensor) -> torch.Tensor:
        """[S, rows] for the upper and then the lower halves [2 S, width] of rounded positions."""
        rows = self._rows(matrix)
        first, width, scale, _ = self._packed.places[layer, matrix].tolist()
        codes = self._codes[first : first + rows * width].view(rows, width)
        high, low = torch._int_mm(halves, codes.T).chunk(2)
        return (high.float() * 256 + low) * self._scales[scale : scale + rows]

    def _numbers(self, layer: int, matrix: int) -> torch.Tensor:
        """A matrix in float32."""
        rows = self._rows(matrix)
        first, width, scale, scales = self._packed.places[layer, matrix].tolist()
        codes = self._codes[first : first + rows * width].view(rows, width)
        if self._packed.format != "int4":
            return codes.float()
        steps = self._scales[scale : scale + rows * scales].float()
        return _unpacked(codes, steps.view(rows, scales, 1))

    def _rows(self, matrix: int) -> int:
        shape = self._shape
        keys = shape.groups * shape.size
        sizes = (shape.heads * shape.size, keys, keys, shape.hidden, shape.inner, shape.inner)
        return (*sizes, shape.hidden)[matrix]

    def _store(
        self, cache: Any, layer: int, start: int, keys: torch.Tensor, values: torch.Tensor
    ) -> None:
        """Keys lie [D, BLOCK] and values [BLOCK, D] in each block."""
        done, count = 0, keys.shape[0]
        while done < count:
            block, slot = divmod(start + done, BLOCK)
            some = min(BLOCK - slot, count - done)
            tile = _tensor(cache[block, layer])  # [G, 2, BLOCK * D]
            tile[:, 0].view(-1, self._shape.size, BLOCK)[:, :, slot : slot + some] = keys[
                done : done + some
            ].permute(1, 2, 0)
            tile[:, 1].view(-1, BLOCK, self._shape.size)[:, slot : slot + some] = values[
                done : done + some
            ].permute(1, 0, 2)
            done += some

    def _attended(
        self, cache: Any, layer: int, start: int, end: int, queries: torch.Tensor
    ) -> torch.Tensor:
        """Attention of every query to what is not after it. [S, H D]"""
        shape, blocks = self._shape, -(-end // BLOCK)
        tiles = _tensor(cache[:blocks, layer])  # [blocks, G, 2, BLOCK * D]
        keys = tiles[:, :, 0].reshape(blocks, -1, shape.size, BLOCK).permute(1, 0, 3, 2)
        values = tiles[:, :, 1].reshape(blocks, -1, BLOCK, shape.size).permute(1, 0, 2, 3)
        keys, values = (each.flatten(1, 2)[:, :end].float() for each in (keys, values))
        sharing = shape.heads // shape.groups
        keys, values = (each.repeat_interleave(sharing, 0)[None] for each in (keys, values))
        mask = torch.arange(end)[None] <= torch.arange(start, end)[:, None]
        asked = queries.permute(1, 0, 2)[None]
        found = scaled_dot_product_attention(asked, keys, values, attn_mask=mask)
        return found[0].permute(1, 0, 2).flatten(1)


def _unpacked(codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """int4 as floats: byte i of a group of 32 holds number i low and number i + 16 high."""
    groups = codes.view(codes.shape[0], -1, 16).view(torch.int8)
    low = torch.bitwise_left_shift(groups, 4) >> 4
    return (torch.cat([low, groups >> 4], dim=2) * scales).flatten(1)


def _rotated(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    low, high = x.chunk(2, dim=2)
    return torch.cat([low * cosines - high * sines, high * cosines + low * sines], dim=2)


def _tensor(array: Any) -> torch.Tensor:
    """The same memory; uint16 is bfloat16."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mapped arrays are read only, and nothing writes to them
        if array.dtype == np.uint16:
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)
