"""A wider network says the same, keeps which token stands where, and copies what it looks at."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from conftest import EMBEDDED
from transformers import LlamaForCausalLM

from training.batches import Batch, Batches, make_batches
from training.circuit import CODE, Places, copying_layer
from training.encoding import ChatEncoder, load_tokenizer
from training.example import Example, Split
from training.links import Kind
from training.make_data import examples
from training.network import GUIDED, Network
from training.train import Losses, Plan, Run, export, load_exported
from training.widen import CODE_SIZE, KEPT, install_lookup, stream_sizes, widened


def draw(seed: int | str, split: Split, count: int) -> list[Example]:
    return examples(f"widen/{seed}", split, min(count, 12), "tools")


@pytest.fixture(scope="module")
def encoder() -> ChatEncoder:
    return ChatEncoder(load_tokenizer(EMBEDDED))


@pytest.fixture(scope="module")
def batches(encoder: ChatEncoder) -> list[Batch]:
    made = make_batches(draw(0, "heldout", 12), encoder, 3000, Random(0))
    return sorted(made, key=lambda batch: batch.tokens)[:2]


@pytest.fixture(scope="module")
def narrow() -> Network:
    """The embedded network, or what is left of it where it was widened."""
    network = load_exported(EMBEDDED)
    shape = network.shape
    cut = Network(replace(shape, hidden_size=shape.hidden_size - shape.kept_size, kept_size=0))
    weights = network.state_dict()
    sizes = {name: tuple(map(slice, weight.shape)) for name, weight in cut.state_dict().items()}
    cut.load_state_dict({name: weights[name][part] for name, part in sizes.items()})
    return cut


@pytest.fixture(scope="module")
def untouched(narrow: Network, batches: list[Batch]) -> Network:
    return widened(narrow, batches[:1])


@pytest.fixture
def wide(untouched: Network) -> Network:
    return deepcopy(untouched)


def replies(network: Network, batch: Batch) -> torch.Tensor:
    with torch.inference_mode():
        return network.logits(network(batch.prefix, batch.rows)[batch.is_reply])


def test_a_wider_network_says_the_same(
    narrow: Network, wide: Network, batches: list[Batch]
) -> None:
    assert wide.shape.hidden_size == narrow.shape.hidden_size + KEPT
    for batch in batches:
        expected, found = (replies(network, batch).softmax(-1) for network in (narrow, wide))
        assert (expected - found).abs().mean() < 1e-5
        assert (expected.argmax(-1) == found.argmax(-1)).float().mean() > 0.99


def test_every_layer_that_copies_reads_which_tokens_stand_there(
    wide: Network, batches: list[Batch]
) -> None:
    batch, places = batches[0], Places(wide.shape)
    ids = torch.cat([batch.prefix, batch.rows[0]])
    read: list[torch.Tensor] = []
    norm = wide.layers[copying_layer()].input_layernorm
    norm.register_forward_hook(lambda _, __, states: read.append(states))
    with torch.no_grad():
        wide(batch.prefix[:0], ids[None])
    codes = wide.embed_tokens.weight[:, places.code].detach() / CODE_SIZE
    nearest = (read[0][:, places.code] @ codes.T).argmax(-1)
    told = codes.norm(dim=1)[ids] > 0
    assert (nearest == ids)[told].float().mean() > 0.95
    assert 0.3 < read[0][told][:, places.kept].square().mean().sqrt() < 3
    before, same = read[0][1:, places.last_code], ids[:-1, None] == ids[None, :-1]
    alike = torch.nn.functional.cosine_similarity(before[:, None], before[None], dim=-1)
    assert alike[same].min() > 0.9
    assert alike[~same].mean() < 0.5


def test_a_head_that_copies_says_what_it_looks_at(wide: Network, batches: list[Batch]) -> None:
    install_lookup(wide, batches[:1])
    places, batch = Places(wide.shape), batches[0]
    layer, head = GUIDED[Kind.NAME]
    part = slice(head * wide.shape.head_dim, (head + 1) * wide.shape.head_dim)
    attention = wide.layers[layer].self_attn
    ids = torch.cat([batch.prefix, batch.rows[0]])
    carried: list[torch.Tensor] = []
    attention.v_proj.register_forward_hook(lambda _, __, values: carried.append(values[:, part]))
    with torch.no_grad():
        wide(batch.prefix[:0], ids[None])
        said = carried[0] @ attention.o_proj.weight[:, part].T
        found = (said[:, places.code] @ wide.embed_tokens.weight[:, places.code].T).argmax(-1)
    told = wide.embed_tokens.weight[ids][:, places.code].norm(dim=1) > 0
    assert (found == ids)[told].float().mean() > 0.95


def test_heads_that_look_for_a_token_find_it(wide: Network, batches: list[Batch]) -> None:
    install_lookup(wide, batches[:1])
    layer, head = GUIDED[Kind.FITTING_TOOL]
    part = slice(head * wide.shape.head_dim, (head + 1) * wide.shape.head_dim)
    attention = wide.layers[layer].self_attn
    places, size = Places(wide.shape), wide.shape.head_dim
    codes = torch.zeros(50, wide.shape.hidden_size)
    codes[:, places.code] = CODE**0.5 * wide.embed_tokens.weight[300:350, places.code] / CODE_SIZE
    with torch.inference_mode():
        scores = attention.q_proj(codes)[:, part] @ attention.k_proj(codes)[:, part].T / size**0.5
    assert scores.argmax(1).tolist() == list(range(50))


def test_identities_are_kept_while_the_rest_learns(
    narrow: Network, wide: Network, batches: list[Batch], encoder: ChatEncoder
) -> None:
    install_lookup(wide, batches[:1])
    plan = Plan(steps=4, warm_up_steps=1, rate=1e-3, prompts=0)
    run = Run(plan, wide, Batches(draw, encoder, 0, 3000, 600))
    kept, copying = Places(wide.shape).kept, copying_layer()
    before = wide.embed_tokens.weight[:, kept].detach().clone()
    said = wide.layers[copying].self_attn.o_proj.weight[kept].detach().clone()
    losses = Losses()
    for _ in range(2):
        run.step(losses)
    assert torch.equal(wide.embed_tokens.weight[:, kept], before)
    for layer in wide.layers[1:copying]:
        assert not layer.self_attn.o_proj.weight[kept].any()
        assert not layer.mlp.down_proj.weight[kept].any()
    assert not torch.equal(wide.layers[copying].self_attn.o_proj.weight[kept], said)
    assert wide.layers[copying + 1].mlp.down_proj.weight[kept].any()


def test_a_wide_checkpoint_is_an_ordinary_one(
    wide: Network, batches: list[Batch], tmp_path: Path
) -> None:
    export(wide, EMBEDDED, tmp_path / "wide")
    again = load_exported(tmp_path / "wide")
    assert again.shape == wide.shape
    model = LlamaForCausalLM.from_pretrained(tmp_path / "wide", dtype=torch.float32)
    batch = batches[0]
    ids = torch.cat([batch.prefix, batch.rows[0]])[None]
    with torch.inference_mode():
        expected = again.logits(again(ids[0, :0], ids))
        torch.testing.assert_close(model(ids).logits, expected, atol=1e-2, rtol=1e-3)


def test_the_stream_is_measured_where_norms_read_it(narrow: Network, batches: list[Batch]) -> None:
    sizes = stream_sizes(narrow, batches[:1])
    ids = torch.cat([batches[0].prefix, batches[0].rows.flatten()])
    embeddings = narrow.embed_tokens.weight.detach()[ids]
    expected = float(embeddings.square().mean(-1).sqrt().mean())
    assert sizes["layers.0.input_layernorm"] == pytest.approx(expected)
    assert sizes["norm"] > 100 * expected


def test_a_wide_network_is_not_widened_again(wide: Network) -> None:
    with pytest.raises(ValueError, match="wide already"):
        widened(wide, [])
