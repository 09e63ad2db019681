"""The Llama architecture as a lean trainable module: rows that share a prefix, no cache.

Attention pads the rows; all else is computed for their N tokens alone, in one list.

Knows token ids only. Parameters carry their Hugging Face names without the leading `model.`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.links import Kind

GUIDED = {
    Kind.NAME: (8, 1),
    Kind.KEY: (8, 0),
    Kind.LAST_KEY: (4, 0),
    Kind.OWN_TOOL: (4, 1),
    Kind.LISTED_LAST_KEY: (4, 0),
    Kind.LISTED_OWN_TOOL: (4, 1),
    Kind.FITTING_KEY: (5, 0),
    Kind.VALUE: (6, 0),
    Kind.FITTING_TOOL: (5, 1),
    Kind.NAMED_KEY: (5, 2),
    Kind.ASKED: (6, 1),
    Kind.FIRST: (8, 2),
    Kind.LISTED_FIRST: (4, 2),
}
"""The layer and the head that learn to follow each kind of link; these layers did little else."""


@dataclass(frozen=True, slots=True)
class Links:
    """N links of a batch, and the M tokens that they lead to."""

    kinds: Tensor
    """[N]."""
    ends: Tensor
    """[M, 4]: which link; its row, or -1 in the shared prefix; the places of query and source,
    counted from the start of the conversation."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a network; but for the last, the names are those of Hugging Face."""

    vocab_size: int
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 10
    num_attention_heads: int = 4
    num_key_value_heads: int = 4
    rope_theta: float = 100_000.0
    rms_norm_eps: float = 1e-5
    head_dim: int = 64
    kept_size: int = 0
    """How many numbers at the end keep tokens' identities, where few parts write (`widen.py`)."""


class Linear(nn.Linear):
    """A linear map without bias whose product is computed in the dtype of its input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.weight.to(input.dtype))


class Norm(nn.Module):
    """Root-mean-square norm, computed in fp32 and given back in `dtype`."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, states: Tensor, dtype: torch.dtype) -> Tensor:
        scale = torch.rsqrt(states.square().mean(-1, keepdim=True) + self.eps)
        return (states * scale * self.weight).to(dtype)


class Attention(nn.Module):
    """Grouped-query attention of B rows of L tokens that all follow the same P tokens."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        queries = shape.num_attention_heads * shape.head_dim
        keys = shape.num_key_value_heads * shape.head_dim
        self.q_proj = Linear(shape.hidden_size, queries)
        self.k_proj = Linear(shape.hidden_size, keys)
        self.v_proj = Linear(shape.hidden_size, keys)
        self.o_proj = Linear(queries, shape.hidden_size)

    def forward(self, states: Tensor, layout: Layout) -> Tensor:
        query = layout.rotate(self._heads(self.q_proj(states)))  # [P + N, H, D]
        key = layout.rotate(self._heads(self.k_proj(states)))  # [P + N, K, D]
        value = self._heads(self.v_proj(states))
        return self.o_proj(layout.attend(query, key, value))

    def _heads(self, states: Tensor) -> Tensor:
        return states.view(states.shape[0], -1, self.head_dim)


class FeedForward(nn.Module):
    """The gated feed-forward part of a layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = Linear(shape.hidden_size, shape.intermediate_size)
        self.up_proj = Linear(shape.hidden_size, shape.intermediate_size)
        self.down_proj = Linear(shape.intermediate_size, shape.hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(states)) * self.up_proj(states))


class Layer(nn.Module):
    """One decoder layer; the residual stream stays in fp32."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = Norm(shape.hidden_size, shape.rms_norm_eps)
        self.mlp = FeedForward(shape)
        self.only_attends = False
        """The feed-forward part gives zero, and is not computed."""

    def forward(self, states: Tensor, layout: Layout) -> Tensor:
        states = states + self.self_attn(self.input_layernorm(states, layout.dtype), layout)
        if self.only_attends:
            return states
        return states + self.mlp(self.post_attention_layernorm(states, layout.dtype))


class Layout:
    """Where the tokens of a batch stand: P shared ones first, then those of B rows, N in all."""

    def __init__(
        self, prefix: int, lengths: Tensor, length: int, shape: Shape, like: Tensor
    ) -> None:
        self.prefix, self.rows, self.length = prefix, len(lengths), length
        self.dtype = like.dtype
        here = torch.arange(prefix + length, device=like.device)
        self.present = (here[:length] < lengths[:, None]).flatten().nonzero()[:, 0]
        """Which of the B * L places of padded rows have a token, [N]."""
        positions = torch.cat([here[:prefix], prefix + self.present % length])
        pairs = torch.arange(0, shape.head_dim, 2, device=like.device) / shape.head_dim
        angles = positions[:, None] * shape.rope_theta**-pairs  # [P + N, D / 2]
        self.cos = angles.cos().to(like.dtype)[:, None]
        self.sin = angles.sin().to(like.dtype)[:, None]
        self.before = causal(here[:prefix], here[:prefix], like)
        self.own = causal(here[prefix:], here, like)
        self.weights: tuple[Tensor, Tensor]
        """How the prefix [1, H, P, P] and the rows [B, H, L, P + L] of a layer attended."""

    def rotate(self, states: Tensor) -> Tensor:
        """Turn queries or keys [P + N, H, D] by their positions."""
        first, second = states.chunk(2, -1)
        return torch.cat(
            [first * self.cos - second * self.sin, second * self.cos + first * self.sin], -1
        )

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Causal attention inside the prefix, and of each row to the prefix and itself."""
        keys, values = self._rows(key), self._rows(value)
        if not self.prefix:
            own, weights = attention(self._rows(query), keys, values, self.own)
            self.weights = weights[:1, :, :0, :0], weights
            return self.unpadded(own)
        shared = [part[: self.prefix].transpose(0, 1)[None] for part in (query, key, value)]
        keys = torch.cat([shared[1].expand(self.rows, -1, -1, -1), keys], 2)
        values = torch.cat([shared[2].expand(self.rows, -1, -1, -1), values], 2)
        own, weights = attention(self._rows(query), keys, values, self.own)
        before, weights_before = attention(*shared, self.before)
        self.weights = weights_before, weights
        return torch.cat([before[0], self.unpadded(own)])

    def attended(self, head: int, rows: Tensor, queries: Tensor, sources: Tensor) -> Tensor:
        """The weights [M] that a head gave to some places; row -1 is the prefix."""
        before, own = (part[:, head].float() for part in self.weights)
        shared = rows < 0
        found = torch.empty(rows.shape, device=rows.device)
        found[shared] = before[0, queries[shared], sources[shared]]
        rows, queries, sources = rows[~shared], queries[~shared] - self.prefix, sources[~shared]
        found[~shared] = own[rows, queries, sources]
        return found

    def _rows(self, states: Tensor) -> Tensor:
        return self.padded(states[self.prefix :]).transpose(1, 2)  # [B, H, L, D]

    def padded(self, tokens: Tensor) -> Tensor:
        """Rows [B, L, ...] of what is given for N tokens, 0 behind their ends."""
        places = tokens.new_zeros(self.rows * self.length, *tokens.shape[1:])
        rows = places.index_copy(0, self.present, tokens)
        return rows.unflatten(0, (self.rows, self.length))

    def unpadded(self, rows: Tensor) -> Tensor:
        """What rows [B, L, ...] have for their N tokens."""
        return rows.flatten(0, 1)[self.present]


def causal(queries: Tensor, keys: Tensor, like: Tensor) -> Tensor:
    """What to add to scores [L, S] so that no position sees a later one."""
    later = keys[None, :] > queries[:, None]
    return torch.zeros_like(later, dtype=like.dtype).masked_fill(later, -torch.inf)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Attend with queries [B, H, L, D] to keys [B, K, S, D].

    The answer is what was found [B, L, H * D] and the weights [B, H, L, S].

    Written out, with the query heads of a group side by side: on a CPU in bf16 forward and
    backward take a third of the time of the fused kernel at these lengths.
    """
    batch, _, length, size = query.shape
    grouped = query.reshape(batch, key.shape[1], -1, size) * size**-0.5  # [B, K, H/K * L, D]
    scores = (grouped @ key.transpose(2, 3)).unflatten(2, (-1, length)) + mask
    weights = scores.softmax(-1)  # [B, K, H/K, L, S]
    mixed = (weights.flatten(2, 3) @ value).view(batch, -1, length, size)
    return mixed.transpose(1, 2).flatten(2), weights.flatten(1, 2)


def surprise_in(layer: int, layout: Layout, links: Links) -> Tensor:
    """The surprise [N] of the links that heads of this layer are to follow, 0 of the others."""
    count = len(links.kinds)
    found = torch.zeros(count, device=links.kinds.device)
    for kind, (guided, head) in GUIDED.items():
        if guided == layer:
            link, *places = links.ends[links.kinds[links.ends[:, 0]] == kind].T
            sources = torch.bincount(link, minlength=count)[link]
            share = layout.attended(head, *places) * sources  # 1 where all are looked at alike
            found = found.index_add(0, link, -share.clamp(min=1e-12).log() / sources)
    return found


class Network(nn.Module):
    """A decoder with tied embeddings."""

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.shape, self.dtype = shape, dtype
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = Norm(shape.hidden_size, shape.rms_norm_eps)
        self.initialize()

    def initialize(self) -> None:
        """Draw ordinary starting weights; what writes to the residual stream starts smaller."""
        depth = math.sqrt(2 * self.shape.num_hidden_layers)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                written = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 / depth if written else 0.02)

    def forward(self, prefix: Tensor, rows: Tensor) -> Tensor:
        """The final states [B, L, hidden] of `rows` [B, L], each after the ids of `prefix` [P]."""
        return self.states_and_surprise(prefix, rows, None)[0]

    def states_and_surprise(
        self, prefix: Tensor, rows: Tensor, links: Links | None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The final states [B, L, hidden], and of each link how surprised its head is, [links].

        Rows that have `lengths` [B] of their own are padded behind; there the states are 0.

        The surprise is 0 where the head attends to the link's sources alone, and to each of them
        alike: words that end alike must not look alike. Where the network has not that many layers
        it is 0 too.
        """
        like = torch.empty(0, dtype=self.dtype, device=rows.device)
        if lengths is None:
            lengths = torch.full(rows.shape[:1], rows.shape[1], device=rows.device)
        layout = Layout(prefix.shape[0], lengths, rows.shape[1], self.shape, like)
        states = self.embed_tokens(torch.cat([prefix, layout.unpadded(rows)]))
        surprise = torch.zeros(links.kinds.shape if links else 0, device=rows.device)
        for number, layer in enumerate(self.layers):
            states = layer(states, layout)
            if links:
                surprise = surprise + surprise_in(number, layout, links)
        states = self.norm(states[layout.prefix :], self.dtype)
        return layout.padded(states), surprise

    def logits(self, states: Tensor) -> Tensor:
        """Scores of every token of the vocabulary, by the tied embedding."""
        return functional.linear(states, self.embed_tokens.weight.to(states.dtype))
