"""What quantisation costs a checkpoint: its logits on held-out examples against those in float32.

`python -m training.evaluate_quantize checkpoints/tiny` prints, for each format, the relative error
of the logits (root mean square, without what all tokens of a position share) and how often the
likeliest token stays the same, over the tokens of the replies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.cpu import CpuModel
from training.encoding import ChatEncoder, load_tokenizer
from training.make_data import MIXTURE, examples

Logits = NDArray[np.float32]


def logits_of_replies(model: CpuModel, conversations: list[tuple[list[int], int]]) -> Logits:
    """Of the positions that predict the last `count` ids of each conversation."""
    found = [model.forward(ids[:-1], 0, last=count) for ids, count in conversations]
    logits = np.concatenate(found)
    return logits - logits.mean(axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("checkpoints/tiny"))
    parser.add_argument("--items", type=int, default=20, help="held-out examples of each group")
    options = parser.parse_args()
    encoder = ChatEncoder(load_tokenizer(options.folder))
    conversations = []
    for group in MIXTURE:
        for item in examples("evaluation", "heldout", options.items, group):
            ids = encoder.conversation(item.messages).ids
            conversations.append((ids, len(ids) - len(encoder.prompt(item.messages[:-1]))))
    checkpoint = open_checkpoint(options.folder)
    exact = logits_of_replies(CpuModel(checkpoint, "none"), conversations)
    print(f"{len(conversations)} replies, {len(exact)} tokens")
    for quantize in ("int8", "int4"):
        logits = logits_of_replies(CpuModel(checkpoint, quantize), conversations)
        error = np.linalg.norm(logits - exact) / np.linalg.norm(exact)
        agreement = np.mean(logits.argmax(axis=1) == exact.argmax(axis=1))
        print(f"{quantize}: relative logit error {error:.3f}, same token {agreement:.3f}")


if __name__ == "__main__":
    main()
