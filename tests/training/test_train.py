"""The network, the start with the copying circuit, and a run that is broken off and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from conftest import EMBEDDED
from llama_reference import reference
from transformers import LlamaForCausalLM

from training.batches import IGNORED, Batches, make_batches
from training.circuit import install_circuit, repeated_spans
from training.encoding import ChatEncoder, load_tokenizer
from training.example import Example, Split
from training.muon import orthogonal
from training.network import Network, Shape
from training.train import (
    Losses,
    Plan,
    Run,
    Workers,
    export,
    fresh_network,
    grown,
    saved_network,
    token_losses,
    train,
)

TINY = Shape(
    vocab_size=2560,
    hidden_size=192,
    intermediate_size=64,
    num_hidden_layers=2,
)
WORDS = ("red", "green", "blue", "Ann", "Bob", "7", "15", "cat", "tree")


def draw(seed: int | str, split: Split, count: int) -> list[Example]:
    """Examples that ask to repeat a few words."""
    rng = Random(f"{seed}/{split}")
    return [echo(" ".join(rng.choices(WORDS, k=rng.randint(2, 6)))) for _ in range(count)]


def echo(words: str) -> Example:
    messages = (
        {"role": "user", "content": f"Say {words}"},
        {"role": "assistant", "content": words},
    )
    return Example("echo/words", messages)


@pytest.fixture(scope="module")
def encoder() -> ChatEncoder:
    return ChatEncoder(load_tokenizer(EMBEDDED))


def new_run(encoder: ChatEncoder, steps: int, workers: int = 1) -> Run:
    plan = Plan(steps=steps, warm_up_steps=2)
    batches = Batches(draw, encoder, plan.seed, 300, 400, chunk_examples=12)
    return Run(plan, fresh_network(plan, TINY, torch.float32, "cpu"), batches, workers)


def weights(run: Run) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in run.network.parameters()])


def test_a_shared_prefix_gives_the_scores_of_transformers() -> None:
    torch.manual_seed(0)
    network = Network(TINY)
    model = reference(network)
    prefix, rows = torch.randint(0, 2048, (5,)), torch.randint(0, 2048, (3, 7))
    whole = torch.cat([prefix.expand(3, -1), rows], 1)
    with torch.inference_mode():
        expected = model(whole).logits
        shared = network.logits(network(prefix, rows))
        alone = network.logits(network(prefix[:0], whole))
    torch.testing.assert_close(shared, expected[:, 5:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone, expected, atol=1e-4, rtol=1e-4)


def test_what_stands_behind_a_row_changes_nothing() -> None:
    torch.manual_seed(0)
    network = Network(TINY)
    prefix, rows = torch.randint(0, 2048, (5,)), torch.randint(0, 2048, (3, 7))
    lengths = torch.tensor([7, 2, 4])
    with torch.inference_mode():
        padded, _ = network.states_and_surprise(prefix, rows, None, lengths)
        for row, length in enumerate(lengths):
            own = network(prefix, rows[row : row + 1, :length])[0]
            torch.testing.assert_close(padded[row, :length], own, atol=1e-5, rtol=1e-5)
            assert not padded[row, length:].any()


def test_the_circuit_copies_before_any_training() -> None:
    ids = repeated_spans(4, 300, 2048, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network = Network(Shape(vocab_size=2560, num_hidden_layers=2))
    right = []
    for _ in range(2):
        with torch.inference_mode():
            best = network.logits(network(ids[0, :0], ids[:, :-1])).argmax(-1)
        right.append(float((best == ids[:, 1:])[:, 151:].float().mean()))
        install_circuit(network, torch.Generator().manual_seed(1))
    assert right[0] < 0.1
    assert right[1] > 0.95


def test_a_network_that_grew_does_the_same_and_can_learn_to_do_more() -> None:
    torch.manual_seed(0)
    small = Network(replace(TINY, num_hidden_layers=6))
    large = Network(replace(TINY, num_hidden_layers=8))
    large.load_state_dict(grown(dict(small.state_dict()), large.shape))
    prefix, rows = torch.randint(0, 2048, (5,)), torch.randint(0, 2048, (3, 7))
    states = large(prefix, rows)
    assert torch.equal(states, small(prefix, rows))
    states.square().sum().backward()
    for layer, added in enumerate((False, False, False, False, True, False, True, False)):
        adds = large.layers[layer].mlp.down_proj.weight
        assert bool(adds.any()) is not added
        assert adds.grad is not None
        assert adds.grad.any()


def test_prompts_can_be_left_out_of_the_loss(encoder: ChatEncoder) -> None:
    (batch,) = make_batches(draw(0, "train", 6), encoder, 3000, Random(0))
    network = fresh_network(Plan(), TINY, torch.float32, "cpu")
    both, replies = (
        token_losses(network, batch, torch.device("cpu"), with_prompts=with_prompts)[0]
        for with_prompts in (True, False)
    )
    assert torch.equal(both[batch.is_reply], replies[batch.is_reply])
    assert both[~batch.is_reply].any()
    assert not replies[~batch.is_reply].any()


def test_a_resumed_run_ends_where_an_unbroken_one_does(
    encoder: ChatEncoder, tmp_path: Path
) -> None:
    unbroken = new_run(encoder, 4)
    train(unbroken, tmp_path / "unbroken.pt")
    broken = new_run(encoder, 4)
    for _ in range(2):
        broken.step(Losses())
    broken.save(tmp_path / "broken.pt")
    resumed = new_run(encoder, 4)
    resumed.load(tmp_path / "broken.pt")
    train(resumed, tmp_path / "broken.pt")
    assert resumed.progress.step == unbroken.progress.step == 4
    assert torch.equal(weights(resumed), weights(unbroken))
    assert not torch.equal(weights(resumed), weights(broken))
    assert all(torch.equal(resumed.mean[name], mean) for name, mean in unbroken.mean.items())


def test_what_is_exported_is_the_mean_of_a_run(encoder: ChatEncoder, tmp_path: Path) -> None:
    run = new_run(encoder, 3)
    after = []
    for _ in range(3):
        run.step(Losses())
        after.append(run.network.state_dict()["norm.weight"].clone())
    # After step t a step weighs by (t + 1)(t + 2) ... (t + LATE - 1), here LATE is 4.
    shares = torch.tensor([[6.0], [24.0], [60.0]]) / 90
    expected = (shares * torch.stack(after)).sum(0)
    run.save(tmp_path / "state.pt")
    found = saved_network(tmp_path / "state.pt", weights="mean").norm.weight
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found, after[-1])


def test_the_circuit_is_held_while_the_rest_learns(encoder: ChatEncoder) -> None:
    run = new_run(encoder, 8)
    before = {weight: weight.detach().clone() for weight, _ in run.held}
    for _ in range(3):
        run.step(Losses())
    for weight, free in run.held:
        assert (weight.detach() - before[weight])[free == 0].abs().max() < 0.001
    assert sum(float(((w.detach() - before[w]) * free).abs().max()) for w, free in run.held) > 0.001


def test_workers_add_up_to_the_gradients_of_one(encoder: ChatEncoder) -> None:
    gradients = []
    for count in (1, 2):
        run = new_run(encoder, 1)
        Workers(run.network, count).accumulate(run.batches.step(), 0.5, 0.01, Losses())
        gradients.append([p.grad for p in run.network.parameters()])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-4)


def test_training_lowers_the_loss(encoder: ChatEncoder, tmp_path: Path) -> None:
    run = new_run(encoder, 20)
    first, last = Losses(), Losses()
    run.step(first)
    train(run, tmp_path / "state.pt")
    run.step(last)
    assert last.sums["echo"] / last.counts["echo"] < 0.8 * first.sums["echo"] / first.counts["echo"]


def test_batches_hold_every_reply_token_once(encoder: ChatEncoder) -> None:
    examples = draw(0, "train", 40)
    batches = make_batches(examples, encoder, 300, Random(0))
    replies = sum(int(batch.is_reply.sum()) for batch in batches)
    assert replies == sum(sum(encoder.conversation(e.messages).is_reply) for e in examples)
    assert all(bool((batch.targets[batch.is_reply] != IGNORED).all()) for batch in batches)
    for batch in batches:  # a conversation ends with a reply
        assert (batch.is_reply * torch.arange(batch.rows.shape[1])).amax(1).equal(batch.lengths - 1)
    assert sum(batch.rows.shape[0] for batch in batches) == 40
    assert all(batch.prefix.numel() > 10 for batch in batches)


def test_an_update_is_nearly_orthogonal() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((2, 32, 64), (2, 64, 32)):
        found = orthogonal(torch.randn(shape, generator=generator)).float()
        values = torch.linalg.svdvals(found)
        assert values.min() > 0.5
        assert values.max() < 1.5


def test_the_exported_folder_is_an_ordinary_checkpoint(
    encoder: ChatEncoder, tmp_path: Path
) -> None:
    network = new_run(encoder, 1).network
    export(network, EMBEDDED, tmp_path / "tiny")
    export(network, EMBEDDED, tmp_path / "tiny")
    model = LlamaForCausalLM.from_pretrained(tmp_path / "tiny", dtype=torch.float32)
    ids = torch.randint(0, 2048, (1, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.logits(network(ids[0, :0], ids))
        torch.testing.assert_close(model(ids).logits, expected, atol=0.1, rtol=0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
