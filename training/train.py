"""Train the checkpoint: resumable, on CPU or GPU, for a number of minutes or steps.

`python -m training.train --work FOLDER --tokenizer checkpoints/tiny --minutes 100` trains, or goes
on where the state in FOLDER stands; with `--export FOLDER` it writes a Hugging Face folder and
trains nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from training.batches import IGNORED, Batch, Batches
from training.circuit import held, install_circuit, relate_spellings, restore_embeddings
from training.encoding import ChatEncoder, load_tokenizer
from training.links import Kind
from training.make_data import examples
from training.muon import Muon
from training.network import GUIDED, Links, Network, Shape

FIRST_GROWN = 4
"""Where a network that grows gets its first new layer."""
LATE = 4
"""How much later steps weigh in a run's mean: the weights after step t by about t to the third."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run is trained; the same plan and seed give the same checkpoint."""

    seed: int = 0
    steps: int | None = None
    minutes: float = 100.0
    """Training time; counts only where `steps` is not given."""
    rate: float = 3e-3
    """Of the layers' matrices; embeddings and norms have a sixth of it, for
    more wears the copying circuit down."""
    guided_times: float = 1.0
    """How many times as fast the matrices of layers with guided heads learn."""
    decay_from: float = 0.1
    """The share of the run after which the rate falls in a line to nothing."""
    warm_up_steps: int = 50
    weight_decay: float = 0.0
    prompts: float = 0.6
    """How much prompts count at first, beside replies; this falls in a line to nothing."""
    guidance: float = 0.01
    """How much the mean surprise of each kind of link counts beside replies."""
    batch_tokens: int = 3000
    step_tokens: int = 6000


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def share(self, plan: Plan) -> float:
        """The part of the plan that is done, 0 to 1."""
        done = self.step / plan.steps if plan.steps else self.seconds / (plan.minutes * 60)
        return min(done, 1.0)


@dataclass(slots=True)
class Losses:
    """Sums of the reply loss since the last line of the log."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, group: str, total: float, count: int) -> None:
        self.sums[group] += total
        self.counts[group] += count

    def line(self) -> str:
        return " ".join(f"{g} {self.sums[g] / self.counts[g]:.3f}" for g in sorted(self.sums))


class Run:
    """One training run: network, optimizers, place in the data."""

    def __init__(self, plan: Plan, network: Network, batches: Batches, workers: int = 1) -> None:
        network.layers[0].requires_grad_(False)
        network.layers[0].only_attends = True
        self.workers = Workers(network, workers)
        self.plan, self.network, self.batches = plan, network, batches
        self.progress = Progress()
        self.optimizers = make_optimizers(network, plan)
        self.held = held(network)
        self.mean = {name: weight.clone() for name, weight in network.state_dict().items()}

    def step(self, losses: Losses) -> None:
        """One update."""
        started = time.monotonic()
        taken = self.batches.step()
        weight = self.plan.prompts * (1 - self.progress.share(self.plan))
        self.workers.accumulate(taken, weight, self.plan.guidance, losses)
        self.hold_circuit()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.set_rate()
        self.workers.update(self.optimizers)
        restore_embeddings(self.network)
        self.progress.step += 1
        self.add_to_mean()
        self.progress.tokens += sum(batch.tokens for batch in taken)
        self.progress.seconds += time.monotonic() - started

    def hold_circuit(self) -> None:
        for weight, free in self.held:
            if weight.grad is not None:
                weight.grad *= free

    def set_rate(self) -> None:
        """Warm up, stay, then fall in a line."""
        done = self.progress.share(self.plan)
        falling = min(1.0, (1 - done) / (1 - self.plan.decay_from))
        warming = min(1.0, (self.progress.step + 1) / self.plan.warm_up_steps)
        rates = self.plan.rate, self.plan.rate, self.plan.rate / 6
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * falling * warming * group.get("times", 1)

    def add_to_mean(self) -> None:
        """Take the weights into the mean that is exported: steps move about what it comes to.

        After Shamir and Zhang, "Stochastic gradient descent for non-smooth optimization" (2013).
        """
        share = LATE / (self.progress.step + LATE - 1)
        weights = self.network.state_dict()
        torch._foreach_lerp_(list(self.mean.values()), [weights[n] for n in self.mean], share)

    def save(self, path: Path) -> None:
        """Write the state beside its place and rename it, so that it is never half written."""
        state = {
            "shape": asdict(self.network.shape),
            "network": self.network.state_dict(),
            "mean": self.mean,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
            "place": self.batches.place(),
        }
        unfinished = path.with_suffix(".new")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.mean = state["mean"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = Progress(**state["progress"])
        self.batches.go_to(state["place"])


def make_optimizers(network: Network, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for norms and embeddings, without decay.

    Muon comes in two halves, for two workers.
    """
    matrices = {n: p for n, p in network.named_parameters() if p.dim() == 2 and "embed" not in n}
    guided = {str(layer) for layer, _ in GUIDED.values()}
    halves: list[list[dict[str, Any]]] = [
        [{"params": [], "times": times} for times in (1, plan.guided_times)] for _ in range(2)
    ]
    for name, weight in matrices.items():
        half = halves["gate" in name or "down" in name]
        half[name.split(".")[1] in guided]["params"].append(weight)
    others = [p for n, p in network.named_parameters() if p.dim() < 2 or "embed" in n]
    return [
        *(Muon(half, plan.rate, weight_decay=plan.weight_decay) for half in halves),
        torch.optim.AdamW(others, plan.rate / 6, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


class Workers:
    """Threads that each take a share of a step's batches, with gradients of their own.

    They meet once a step. Threads inside each operation would meet hundreds of times, which is
    slow where other programs want the processor too.
    """

    def __init__(self, network: Network, count: int) -> None:
        self.network = network
        self.replicas = [network, *(copy.deepcopy(network) for _ in range(count - 1))]
        for replica in self.replicas[1:]:
            for own, shared in zip(replica.parameters(), network.parameters(), strict=True):
                own.data = shared.data
        self.threads = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))

    def accumulate(
        self, taken: list[Batch], weight: float, guidance: float, losses: Losses
    ) -> None:
        """Add up the gradients of a step: mean loss of replies and, by `weight`, of prompts.

        By `guidance` the mean surprise of each kind of link is added.
        """
        replies = sum(int(batch.is_reply.sum()) for batch in taken)
        prompts = sum(int((batch.targets != IGNORED).sum()) for batch in taken) - replies
        counts = sum(torch.bincount(batch.links.kinds, minlength=len(Kind)) for batch in taken)
        scales = 1 / replies, weight / max(prompts, 1), guidance / counts.clamp(min=1)
        shares = balanced(taken, len(self.replicas))
        for noted in self.threads.map(backward, self.replicas, shares, repeat(scales)):
            for batch, sums, surprise in noted:
                note(batch, sums, surprise, losses)
        for replica in self.replicas[1:]:
            add_gradients(self.network, replica)

    def update(self, optimizers: list[torch.optim.Optimizer]) -> None:
        """Let each optimizer take its step."""
        list(self.threads.map(lambda optimizer: optimizer.step(), optimizers))
        for optimizer in optimizers:
            optimizer.zero_grad()


def balanced(taken: list[Batch], count: int) -> list[list[Batch]]:
    """Shares of about as many tokens each."""
    shares: list[list[Batch]] = [[] for _ in range(count)]
    for batch in sorted(taken, key=lambda batch: -batch.tokens):
        min(shares, key=lambda share: sum(each.tokens for each in share)).append(batch)
    return shares


def backward(
    network: Network, taken: list[Batch], scales: tuple[float, float, Tensor]
) -> list[tuple[Batch, Tensor, Tensor]]:
    """Add up the gradients of some batches.

    The answer is the reply loss of each of their rows and the surprise of each of their links.
    """
    device = next(network.parameters()).device
    noted = []
    for batch in taken:
        is_reply = batch.is_reply.to(device)
        each, surprise = token_losses(network, batch, device, with_prompts=scales[1] > 0)
        scale = torch.where(is_reply, scales[0], scales[1])
        guidance = (surprise * scales[2].to(device)[batch.links.kinds.to(device)]).sum()
        ((each * scale).sum() + guidance).backward()
        noted.append((batch, (each.detach() * is_reply).sum(1), surprise.detach().cpu()))
    return noted


def add_gradients(network: Network, replica: Network) -> None:
    """Move the gradients of a replica to the network."""
    for shared, own in zip(network.parameters(), replica.parameters(), strict=True):
        if own.grad is not None:
            shared.grad = own.grad if shared.grad is None else shared.grad.add_(own.grad)
            own.grad = None


def token_losses(
    network: Network, batch: Batch, device: torch.device, with_prompts: bool
) -> tuple[Tensor, Tensor]:
    """The loss [B, L] of each target, or of those in replies alone; zero where there is none.

    And the surprise [N] of each link.
    """
    links = Links(batch.links.kinds.to(device), batch.links.ends.to(device))
    states, surprise = network.states_and_surprise(
        batch.prefix.to(device), batch.rows.to(device), links, batch.lengths.to(device)
    )
    targets = batch.targets.to(device)
    wanted = targets != IGNORED if with_prompts else batch.is_reply.to(device)
    scores = network.logits(states[wanted]).float()
    each = functional.cross_entropy(scores, targets[wanted], reduction="none")
    return torch.zeros(wanted.shape, device=device).masked_scatter(wanted, each), surprise


def note(batch: Batch, sums: Tensor, surprise: Tensor, losses: Losses) -> None:
    for kind in Kind:
        own = surprise[batch.links.kinds == kind]
        if len(own):
            losses.add(f"look/{kind.name.lower()}", own.sum().item(), len(own))
    counts = batch.is_reply.sum(1).tolist()
    for group, total, count in zip(batch.groups, sums.tolist(), counts, strict=True):
        losses.add(group, total, count)


def fresh_network(plan: Plan, shape: Shape, dtype: torch.dtype, device: str) -> Network:
    """A network with the copying circuit in place."""
    torch.manual_seed(plan.seed)
    network = Network(shape, dtype)
    install_circuit(network, torch.Generator().manual_seed(plan.seed))
    return network.to(device)


def train(run: Run, state: Path, save_every: int = 50, log_every: int = 50) -> None:
    """Go on until the plan is done, saving the state now and then and at the end."""
    losses = Losses()
    while run.progress.share(run.plan) < 1:
        run.step(losses)
        done = run.progress
        if done.step % log_every == 0:
            print(
                f"{time.strftime('%H:%M:%S')} step {done.step} minutes {done.seconds / 60:.1f} "
                f"tokens {done.tokens / 1e6:.2f}M {losses.line()}",
                flush=True,
            )
            losses = Losses()
        if done.step % save_every == 0:
            run.save(state)
    run.save(state)


def export(network: Network, tokenizer: Path, folder: Path) -> None:
    """Write an ordinary Hugging Face folder with bf16 weights; it appears whole or not at all."""
    unfinished = folder.with_name(folder.name + ".new")
    shutil.copytree(folder, unfinished) if folder.exists() else unfinished.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, unfinished / name)
    weights = {f"model.{n}": w.to(torch.bfloat16) for n, w in network.state_dict().items()}
    save_file(weights, unfinished / "model.safetensors", {"format": "pt"})
    (unfinished / "model.safetensors").chmod(0o644)
    for name, content in (
        ("config.json", model_config(network.shape)),
        ("generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}),
    ):
        text = json.dumps(content, indent=2) + "\n"
        (unfinished / name).write_text(text, encoding="utf-8")
    replaced = folder.with_name(folder.name + ".old")
    if folder.exists():
        folder.replace(replaced)
    unfinished.replace(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def saved_network(
    path: Path, dtype: torch.dtype = torch.float32, weights: str = "network"
) -> Network:
    """The network of a run's state, with the weights of its last step or their "mean"."""
    state = torch.load(path, weights_only=True)
    network = Network(Shape(**state["shape"]), dtype)
    network.load_state_dict(state[weights])
    return network


def load_exported(
    folder: Path, layers: int | None = None, dtype: torch.dtype = torch.float32
) -> Network:
    """The network of an exported checkpoint, grown to so many layers if given."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = {each.name: config[each.name] for each in fields(Shape) if each.name in config}
    shape = Shape(**sizes)
    if layers:
        shape = replace(shape, num_hidden_layers=layers)
    network = Network(shape, dtype)
    network.load_state_dict(grown(exported_weights(folder), shape))
    return network


def exported_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of an exported checkpoint under the network's own names."""
    weights = load_file(folder / "model.safetensors")
    return {name.removeprefix("model."): weight for name, weight in weights.items()}


def grown(weights: dict[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """Weights for a network of more layers that does the same at first.

    Each layer added, one after the fourth and one after the fifth and so on, is a copy of the one
    before it that adds nothing to the residual stream yet.
    """
    names = [name for name in weights if name.startswith("layers.")]
    present = 1 + max(int(name.split(".")[1]) for name in names)
    sources = list(range(present))
    for added in range(shape.num_hidden_layers - present):
        place = min(FIRST_GROWN + 2 * added, len(sources))
        sources.insert(place, sources[place - 1])
    found = {name: weight for name, weight in weights.items() if name not in names}
    for layer, source in enumerate(sources):
        is_copy = layer > 0 and source == sources[layer - 1]
        for name in names:
            _, number, part = name.split(".", 2)
            if int(number) == source:
                adds = part in ("self_attn.o_proj.weight", "mlp.down_proj.weight")
                weight = weights[name]
                found[f"layers.{layer}.{part}"] = weight * 0 if is_copy and adds else weight
    return found


def model_config(shape: Shape) -> dict[str, object]:
    """The checkpoint's `config.json`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 2048,
        "mlp_bias": False,
        "model_type": "llama",
        "pad_token_id": 2,
        "rope_scaling": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        **asdict(shape),
    }


def main() -> None:
    options = parse_options()
    plan = Plan(
        options.seed,
        options.steps,
        options.minutes,
        options.rate,
        guided_times=options.guided_times,
        prompts=options.prompts,
    )
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(options.tokenizer)
    state = options.work / "state.pt"
    if options.export:
        export(saved_network(state, weights="mean"), options.tokenizer, options.export)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    encoder = ChatEncoder(tokenizer)
    batches = Batches(
        examples, encoder, plan.seed, plan.batch_tokens, plan.step_tokens, has_helper=True
    )
    shape = Shape(vocab_size=tokenizer.get_vocab_size())
    if state.exists():
        network = saved_network(state, torch.bfloat16)
    elif options.start:
        network = load_exported(options.start, shape.num_hidden_layers, torch.bfloat16)
    else:
        network = fresh_network(plan, shape, torch.bfloat16, options.device)
        relate_spellings(network, tokenizer.get_vocab())
    run = Run(plan, network.to(options.device), batches, options.workers)
    if state.exists():
        run.load(state)
    train(run, state)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of the state")
    parser.add_argument("--tokenizer", type=Path, default=Path("checkpoints/tiny"))
    parser.add_argument("--start", type=Path, help="an exported checkpoint to go on from")
    parser.add_argument("--export", type=Path, help="write the state's weights here and stop")
    parser.add_argument("--minutes", type=float, default=100.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float, default=3e-3, help="lower with --start")
    parser.add_argument(
        "--guided-times", type=float, default=1.0, help="rate of layers that look up tools"
    )
    parser.add_argument("--prompts", type=float, default=0.6, help="weight of prompts at first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2, help="threads; 1 on a GPU")
    return parser.parse_args()


if __name__ == "__main__":
    main()
