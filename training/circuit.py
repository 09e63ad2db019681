"""A start with the copying circuit in place: a previous-token head and an induction head.

From an ordinary start a small network needs hours to learn to copy names that it has never
seen. Here the first layer's head 0 writes the previous token's identity into dimensions that
embeddings leave empty, and the second layer's head 0 looks for the earlier position where that
identity equals the current token's, and copies the token it finds there. After Olsson et al.,
"In-context Learning and Induction Heads" (2022).
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.network import Network, Shape

CONSTANT = 0
"""The dimension that every embedding has in common."""
CONSTANT_SIZE, IDENTITY_SIZE = 0.4, 0.8
SHARPNESS = 1.3
"""Weight of the previous-token head's query and key: its attention is nearly all on one token."""
MATCH = 1.5
"""Weight of the induction head's query and key."""


@torch.no_grad()
def install_circuit(network: Network, generator: torch.Generator) -> None:
    """Write the circuit into a freshly initialised network of two layers or more."""
    shape = network.shape
    identity = slice(CONSTANT + 1, shape.hidden_size - shape.head_dim)
    empty = slice(shape.hidden_size - shape.head_dim, shape.hidden_size)
    size = identity.stop - identity.start
    seen, copied = (orthonormal(shape.head_dim, size, generator) for _ in range(2))
    install_embeddings(network, identity, generator)
    install_previous_token_head(network, identity, empty, seen)
    install_induction_head(network, identity, empty, seen, copied)


def install_embeddings(network: Network, identity: slice, generator: torch.Generator) -> None:
    """One constant component, and a random direction of its own for each token."""
    weight = network.embed_tokens.weight
    weight.zero_()
    directions = torch.randn(weight.shape[0], identity.stop - identity.start, generator=generator)
    weight[:, CONSTANT] = CONSTANT_SIZE
    weight[:, identity] = IDENTITY_SIZE * directions / directions.norm(dim=1, keepdim=True)


def install_previous_token_head(
    network: Network, identity: slice, empty: slice, seen: Tensor
) -> None:
    """Attend one token back, by the constant component alone, and note that token's identity.

    The query is the key turned back by one position, so that their product is largest where
    the distance is one.
    """
    attention, size = network.layers[0].self_attn, network.shape.head_dim
    angles = frequencies(network.shape)
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[:size] = 0
    attention.k_proj.weight[: size // 2, CONSTANT] = SHARPNESS
    attention.q_proj.weight[: size // 2, CONSTANT] = SHARPNESS * angles.cos()
    attention.q_proj.weight[size // 2 : size, CONSTANT] = -SHARPNESS * angles.sin()
    attention.v_proj.weight[:size, identity] = seen
    attention.o_proj.weight[:, :size] = 0
    attention.o_proj.weight[empty, :size] = 0.1 * torch.eye(size)


def install_induction_head(
    network: Network, identity: slice, empty: slice, seen: Tensor, copied: Tensor
) -> None:
    """Attend to where the current token stood one position earlier; copy what stands there.

    Only the slow rotary pairs carry the match: over hundreds of tokens they hardly turn.
    """
    attention, size = network.layers[1].self_attn, network.shape.head_dim
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[:size] = 0
    slow = size * 14 // 64
    pairs = torch.arange(size // 2 - slow, size // 2)
    rows = torch.cat([pairs, pairs + size // 2])
    attention.q_proj.weight[rows, identity] = MATCH * seen[: rows.shape[0]]
    attention.k_proj.weight[rows, empty] = MATCH * torch.eye(size)[: rows.shape[0]]
    attention.v_proj.weight[:size, identity] = copied
    attention.o_proj.weight[:, :size] = 0
    attention.o_proj.weight[identity, :size] = copied.T


def frequencies(shape: Shape) -> Tensor:
    """The rotary angle per position of each pair of dimensions, fastest first."""
    pairs = torch.arange(0, shape.head_dim, 2) / shape.head_dim
    return torch.as_tensor(shape.rope_theta) ** -pairs


def orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Random orthonormal rows."""
    basis, _ = torch.linalg.qr(torch.randn(columns, rows, generator=generator))
    return basis.T


def repeated_spans(rows: int, length: int, vocab_size: int, generator: torch.Generator) -> Tensor:
    """Random ids [rows, length] from a few tokens each, in which a span occurs twice."""
    few = torch.randint(17, vocab_size, (rows, length // 2), generator=generator)
    picks = torch.randint(0, length // 2, (rows, length), generator=generator)
    ids = few.gather(1, picks)
    span = length // 2
    ids[:, -span:] = ids[:, :span]
    return ids
