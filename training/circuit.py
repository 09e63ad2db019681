"""A start with the copying circuit in place: look-back heads and induction heads.

From an ordinary start a small network needs hours to learn to copy names that it has never seen.
Here two heads of the first layer write the identities of the last two tokens into dimensions
that embeddings leave empty. Three heads of the second layer look for an earlier position and copy
what stands there: where the token before is the one at hand; where the two tokens before are the
two at hand; and where the last token but one is, whatever stands between (`city": "` finds what
follows `city `). After Olsson et al., "In-context Learning and Induction Heads" (2022).

The circuit is held as it is while all else is trained: the first layer does nothing but look
back, and embeddings keep their length, because whatever else is added to the residual stream
drowns what the second layer compares.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.network import GUIDED, Attention, Network, Shape

CONSTANT_SIZE, IDENTITY_SIZE = 0.4, 0.8
"""What embeddings have in common, in dimension 0, and the length of what tells them apart."""
SEEN = 32
"""How many numbers note the identity of an earlier token."""
SLOW = 14
"""How many rotary pairs of a head hardly turn over hundreds of tokens; only they match."""
SHARPNESS = 1.3
"""Weight of a look-back head's query and key: its attention is nearly all on one token."""
LOOKED_BACK = 0.1
"""Weight of what a look-back head notes."""
MATCH = 2.0
"""Weight of an induction head's query and key."""
CODE = 40
"""How many of the kept numbers tell this token; the others tell the one before."""
MATCHING = 3
"""How many heads match."""
COPY = 0.5
"""Weight of what an induction head copies."""


class Places:
    """Which dimensions of the residual stream hold what."""

    def __init__(self, shape: Shape) -> None:
        end = shape.hidden_size - shape.kept_size
        free = end - 2 * SEEN
        self.identity = slice(1, free)
        self.last = slice(free, free + SEEN)
        self.last_but_one = slice(free + SEEN, end)
        self.empty = slice(free, end)
        self.kept = slice(end, shape.hidden_size)
        self.code = slice(end, end + CODE)
        self.last_code = slice(end + CODE, shape.hidden_size)


def second_head(shape: Shape) -> int:
    """The first query head of the second key and value head."""
    return shape.num_attention_heads // shape.num_key_value_heads


@torch.no_grad()
def install_circuit(network: Network, generator: torch.Generator) -> None:
    """Write the circuit into a freshly initialised network of two layers or more."""
    shape, places = network.shape, Places(network.shape)
    identities = places.identity.stop - places.identity.start
    seen = orthonormal(SEEN, identities, generator)
    install_embeddings(network, places, generator)
    first, second = network.layers[0].self_attn, network.layers[1].self_attn
    network.layers[0].mlp.down_proj.weight.zero_()
    first.o_proj.weight.zero_()
    for key_head, target in enumerate((places.last, places.last_but_one)):
        install_look_back(first, shape, key_head, key_head + 1, seen, places, target)
    both = 2 * SLOW
    install_match(second, shape, 0, slice(0, both), places.identity, seen[:both], places.last)
    half = slice(0, SLOW), slice(SLOW, both)
    noted = torch.eye(SEEN)
    install_match(second, shape, 1, half[0], places.identity, seen[half[0]], places.last)
    install_match(second, shape, 1, half[1], places.last, noted[half[1]], places.last_but_one)
    install_match(second, shape, 2, slice(0, both), places.last, noted[:both], places.last_but_one)
    for key_head in range(MATCHING):
        copied = orthonormal(shape.head_dim, identities, generator)
        install_copy(second, shape, key_head, copied, places)


def install_embeddings(network: Network, places: Places, generator: torch.Generator) -> None:
    """One constant component, and a random direction of its own for each token."""
    weight = network.embed_tokens.weight
    size = places.identity.stop - places.identity.start
    directions = torch.randn(weight.shape[0], size, generator=generator)
    weight.zero_()
    weight[:, 0] = CONSTANT_SIZE
    weight[:, places.identity] = IDENTITY_SIZE * directions / directions.norm(dim=1, keepdim=True)


@torch.no_grad()
def relate_spellings(network: Network, vocabulary: dict[str, int]) -> None:
    """Let `Book`, and ` the` with its space, begin near `book` and `the`: cosine 0.7."""
    weight, identity = network.embed_tokens.weight, Places(network.shape).identity
    for spelling, index in vocabulary.items():
        plain = vocabulary.get(spelling.removeprefix("\u0120").lower(), index)
        if plain != index:
            weight[index, identity] += weight[plain, identity]
    restore_embeddings(network)


def install_look_back(
    attention: Attention,
    shape: Shape,
    key_head: int,
    distance: int,
    seen: Tensor,
    places: Places,
    target: slice,
) -> None:
    """Attend so many tokens back, by the constant component alone, and note what stands there.

    The query is the key turned back by the distance, so that their product is largest there.
    """
    query, key = head_rows(shape, key_head)
    half = shape.head_dim // 2
    angles = distance * frequencies(shape)
    attention.q_proj.weight[query] = 0
    attention.k_proj.weight[key] = 0
    attention.v_proj.weight[key] = 0
    attention.k_proj.weight[key.start : key.start + half, 0] = SHARPNESS
    attention.q_proj.weight[query.start : query.start + half, 0] = SHARPNESS * angles.cos()
    attention.q_proj.weight[query.start + half : query.stop, 0] = -SHARPNESS * angles.sin()
    attention.v_proj.weight[key.start : key.start + SEEN, places.identity] = seen
    noted = LOOKED_BACK * torch.eye(SEEN)
    attention.o_proj.weight[target, query.start : query.start + SEEN] = noted


def install_match(
    attention: Attention,
    shape: Shape,
    key_head: int,
    part: slice,
    query_source: slice,
    query_weight: Tensor,
    key_source: slice,
) -> None:
    """Let the slow dimensions `part` of a head compare what is here with what was noted there."""
    query, key = head_rows(shape, key_head)
    rows = slow_rows(shape)[part]
    if part.start == 0:
        attention.q_proj.weight[query] = 0
        attention.k_proj.weight[key] = 0
    attention.q_proj.weight[query.start + rows, query_source] = MATCH * query_weight
    attention.k_proj.weight[key.start + rows, key_source] = MATCH * torch.eye(SEEN)[part]


def install_copy(
    attention: Attention, shape: Shape, key_head: int, copied: Tensor, places: Places
) -> None:
    """Carry the identity found back to the identity dimensions, where the tied head reads it."""
    query, key = head_rows(shape, key_head)
    attention.v_proj.weight[key] = 0
    attention.v_proj.weight[key, places.identity] = copied
    attention.o_proj.weight[:, query] = 0
    attention.o_proj.weight[places.identity, query] = COPY * copied.T


def held(network: Network) -> list[tuple[Tensor, Tensor]]:
    """The weights that copying needs as they are, each with 1 where it may change."""
    return [*held_circuit(network), *held_identities(network)]


def held_circuit(network: Network) -> list[tuple[Tensor, Tensor]]:
    """The second layer's weights that the circuit needs, each with 1 where it may change."""
    second = network.layers[1]
    norm = second.input_layernorm.weight
    found = [(norm, torch.zeros_like(norm))]
    for name in ("q_proj", "k_proj", "v_proj"):
        weight = getattr(second.self_attn, name).weight
        free = torch.ones_like(weight)
        for key_head in range(MATCHING):
            query, key = head_rows(network.shape, key_head)
            free[query if name == "q_proj" else key] = 0
        found.append((weight, free))
    return found


def copying_layer() -> int:
    """The layer whose guided heads copy what they found: the last that has any."""
    return max(layer for layer, _ in GUIDED.values())


def held_identities(network: Network) -> list[tuple[Tensor, Tensor]]:
    """What would write over kept identities up to the layer whose guided heads copy them.

    These heads themselves, and the layers after, may write there: so what is copied is said.
    """
    shape, kept = network.shape, Places(network.shape).kept
    if not shape.kept_size:
        return []
    copying = copying_layer()
    embeddings = network.embed_tokens.weight
    masks = {embeddings: torch.ones_like(embeddings)}
    masks[embeddings][:, kept] = 0
    for layer in network.layers[: copying + 1]:
        for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
            masks[weight] = torch.ones_like(weight)
            masks[weight][kept] = 0
    for layer, head in GUIDED.values():
        if layer == copying:
            query = slice(head * shape.head_dim, (head + 1) * shape.head_dim)
            masks[network.layers[layer].self_attn.o_proj.weight][kept, query] = 1
    return list(masks.items())


@torch.no_grad()
def restore_embeddings(network: Network) -> None:
    """Give embeddings their length and their common component back."""
    places, weight = Places(network.shape), network.embed_tokens.weight
    identity = weight[:, places.identity]
    weight[:, places.identity] = IDENTITY_SIZE * identity / identity.norm(dim=1, keepdim=True)
    weight[:, 0] = CONSTANT_SIZE
    weight[:, places.empty] = 0


def head_rows(shape: Shape, key_head: int) -> tuple[slice, slice]:
    """The rows of a key head, and of the first query head that uses it."""
    query = key_head * second_head(shape) * shape.head_dim
    key = key_head * shape.head_dim
    return slice(query, query + shape.head_dim), slice(key, key + shape.head_dim)


def slow_rows(shape: Shape) -> Tensor:
    """The dimensions of a head's slowest rotary pairs."""
    half = shape.head_dim // 2
    pairs = torch.arange(half - SLOW, half)
    return torch.stack([pairs, pairs + half], 1).flatten()


def frequencies(shape: Shape) -> Tensor:
    """The rotary angle per position of each pair of dimensions, fastest first."""
    pairs = torch.arange(0, shape.head_dim, 2) / shape.head_dim
    return torch.as_tensor(shape.rope_theta) ** -pairs


def orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Random orthonormal rows."""
    basis, _ = torch.linalg.qr(torch.randn(columns, rows, generator=generator))
    return basis.T


def repeated_spans(rows: int, length: int, vocab_size: int, generator: torch.Generator) -> Tensor:
    """Random ids [rows, length] whose second half repeats the first."""
    ids = torch.randint(17, vocab_size, (rows, length // 2), generator=generator)
    return torch.cat([ids, ids], 1)
