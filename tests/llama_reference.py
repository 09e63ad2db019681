"""What the network must agree with."""

from __future__ import annotations

from transformers import LlamaConfig, LlamaForCausalLM

from training.network import Network
from training.train import model_config


def reference(network: Network) -> LlamaForCausalLM:
    """A model of transformers with the network's weights."""
    config = LlamaConfig(**model_config(network.shape), attn_implementation="eager")
    model = LlamaForCausalLM(config)
    named = {f"model.{name}": weight for name, weight in network.state_dict().items()}
    model.load_state_dict(named | {"lm_head.weight": network.embed_tokens.weight})
    return model
