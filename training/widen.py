"""Widen a checkpoint so that each layer can still tell which token stands where.

`python -m training.widen FOLDER WIDE` writes a checkpoint to go on from, with
`python -m training.train --start WIDE`. One that is wide already, as `checkpoints/tiny` is, is
refused.

What layers add to the residual stream drowns the embeddings: to a later layer a token is what was
made of it, and a head that finds the right place in the list of tools cannot copy what stands
there. So the stream gets numbers that keep the identity of the token and of the one before it.
They are small beside the rest, norms raise them, and no layer writes there before the heads that
copy (`held_identities`). Guided heads, which did little, are set to compare and to carry them.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from training.batches import Batch, make_batches
from training.circuit import (
    CODE,
    IDENTITY_SIZE,
    LOOKED_BACK,
    SLOW,
    Places,
    copying_layer,
    head_rows,
    orthonormal,
    slow_rows,
)
from training.encoding import ChatEncoder, load_tokenizer
from training.links import Kind
from training.make_data import examples
from training.network import GUIDED, Network, Norm
from training.train import export, load_exported

KEPT = 64
"""How many numbers the stream gets."""
CODE_SIZE = 0.05
"""The length of a token's code, so small that the first layers hardly notice it."""
COMPARED = 1.5
"""Weight of the query and key of a head that compares codes."""
NOTED = 100.0
"""The length of a code that is noted in the stream, whose own is about 600."""
COPIED = {Kind.NAME: 10.0, Kind.KEY: 10.0, Kind.FIRST: 4.0}
"""The length of what a copying head says at first: more spoils prose before it has learnt when."""
CARRIED = 0.1
"""Spread of the weights by which other guided heads begin to read what is kept."""
CONTROL_TOKENS = slice(3)
"""What begins and ends messages has no code: a head that looks there copies nothing."""


@torch.no_grad()
def widened(network: Network, batches: list[Batch]) -> Network:
    """A wider network that says the same; the batches show how large its stream gets.

    Norms raise the kept numbers to about 1, and nothing reads them yet. Raises ValueError for a
    network that is wide already.
    """
    old = network.shape
    if old.kept_size:
        raise ValueError("this network is wide already")
    shape = replace(old, hidden_size=old.hidden_size + KEPT, kept_size=KEPT)
    wide, narrow = Network(shape), network.state_dict()
    for name, weight in wide.named_parameters():
        weight.zero_()
        weight[tuple(map(slice, narrow[name].shape))] = narrow[name]
    sizes, kept = stream_sizes(network, batches), Places(shape).kept
    shrunk = (old.hidden_size / shape.hidden_size) ** 0.5  # a mean square over more numbers
    for name, norm in norms(wide):
        norm.weight *= shrunk
        raised = sizes[name] * shrunk * CODE**0.5 / CODE_SIZE
        usual = norm.weight[: old.hidden_size].abs().mean()
        norm.weight[kept] = raised if is_before_copies(name) else usual
    wide.norm.weight[kept] *= IDENTITY_SIZE / CODE_SIZE  # what is copied counts like the rest
    install_codes(wide, sizes)
    return wide


def norms(network: Network) -> list[tuple[str, Norm]]:
    return [(name, part) for name, part in network.named_modules() if isinstance(part, Norm)]


def is_before_copies(norm: str) -> bool:
    """Whether what a norm reads has kept numbers that nothing but embeddings wrote."""
    if norm == "norm":
        return False
    _, layer, part = norm.split(".")
    return (int(layer), part) <= (copying_layer(), "input_layernorm")


@torch.no_grad()
def stream_sizes(network: Network, batches: list[Batch]) -> dict[str, float]:
    """The usual root mean square of what each norm reads."""
    found: dict[str, list[float]] = defaultdict(list)

    def noting(name: str) -> Any:
        def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found[name].append(inputs[0].square().mean(-1).sqrt().mean().item())

        return note

    hooks = [norm.register_forward_pre_hook(noting(name)) for name, norm in norms(network)]
    for batch in batches:
        network(batch.prefix, batch.rows)
    for hook in hooks:
        hook.remove()
    return {name: sum(each) / len(each) for name, each in found.items()}


def install_codes(wide: Network, sizes: dict[str, float]) -> None:
    """Give each token a code, and let the first layer note that of the token before."""
    places = Places(wide.shape)
    codes = identity_codes(wide.embed_tokens.weight[:, places.identity])
    codes[CONTROL_TOKENS] = 0
    wide.embed_tokens.weight[:, places.code] = CODE_SIZE * codes
    first, count = wide.layers[0].self_attn.o_proj.weight, KEPT - CODE
    noted = first[places.last][:count]  # as the copying circuit notes it
    identities = places.identity.stop - places.identity.start
    length = LOOKED_BACK * IDENTITY_SIZE / sizes["layers.0.input_layernorm"]
    first[places.last_code] = noted * CODE_SIZE / length * (identities / CODE) ** 0.5


def identity_codes(identities: Tensor) -> Tensor:
    """A direction [V, CODE] for each identity [V, I]: alike where these are, otherwise apart."""
    centred = identities - identities.mean(0)
    basis = orthonormal(CODE, identities.shape[1], torch.Generator().manual_seed(0))
    codes = centred @ basis.T
    spread, axes = torch.linalg.eigh(codes.T @ codes / len(codes))
    codes = codes @ (axes * spread.rsqrt()) @ axes.T
    return codes / codes.norm(dim=1, keepdim=True).clamp(min=1e-6)


@torch.no_grad()
def install_lookup(wide: Network, batches: list[Batch]) -> None:
    """Let the guided heads compare, note and copy what is kept; where to look they must learn."""
    generator, places = torch.Generator().manual_seed(0), Places(wide.shape)
    for layer, head in sorted(set(GUIDED.values())):
        if layer < copying_layer():
            _, key = head_rows(wide.shape, head)
            value = wide.layers[layer].self_attn.v_proj.weight
            value[key, places.kept] = CARRIED * torch.randn(
                key.stop - key.start, KEPT, generator=generator
            )
    for kind in (Kind.FITTING_TOOL, Kind.NAMED_KEY):
        install_comparison(wide, kind, orthonormal(2 * SLOW, CODE, generator))
    own = torch.zeros(CODE, wide.shape.hidden_size)
    own[:, places.code] = torch.eye(CODE)
    for kind, size in COPIED.items():
        install_transfer(wide, kind, own, size * own.T)
    noted = torch.zeros_like(own)
    identities = places.identity.stop - places.identity.start
    noted[:, places.identity] = orthonormal(CODE, identities, generator) * NOTED / CODE**0.5
    install_transfer(wide, Kind.LISTED_FIRST, own, noted.T)
    layer, _ = GUIDED[Kind.FIRST]
    name, norm = f"layers.{layer}.input_layernorm", wide.layers[layer].input_layernorm.weight
    raised = norm.abs().clamp(min=0.05) / stream_sizes(wide, batches)[name]
    read = noted * CODE / NOTED**2 / raised
    install_transfer(wide, Kind.FIRST, read, COPIED[Kind.FIRST] * own.T)


def install_comparison(wide: Network, kind: Kind, seen: Tensor) -> None:
    """Let a guided head look at tokens of the same code."""
    layer, head = GUIDED[kind]
    attention, code = wide.layers[layer].self_attn, Places(wide.shape).code
    rows = head_rows(wide.shape, head)
    for weight, part in zip((attention.q_proj.weight, attention.k_proj.weight), rows, strict=True):
        weight[part] = 0
        weight[part.start + slow_rows(wide.shape), code] = COMPARED * seen


def install_transfer(wide: Network, kind: Kind, read: Tensor, written: Tensor) -> None:
    """Let a guided head read codes [CODE, hidden] and write them [hidden, CODE]."""
    layer, head = GUIDED[kind]
    attention = wide.layers[layer].self_attn
    query, key = head_rows(wide.shape, head)
    attention.v_proj.weight[key] = 0
    attention.v_proj.weight[key][:CODE] = read
    attention.o_proj.weight[:, query] = 0
    attention.o_proj.weight[:, query][:, :CODE] = written


def main() -> None:
    start, out = map(Path, sys.argv[1:])
    encoder = ChatEncoder(load_tokenizer(start))
    batches = make_batches(examples("widen", "train", 96), encoder, 3000, Random(0))
    wide = widened(load_exported(start), batches)
    install_lookup(wide, batches)
    export(wide, start, out)


if __name__ == "__main__":
    main()
