"""The interactive screen over a scripted model, to be run in a terminal of a test's own.

    echo_chat.py HISTORY_FILE GATE_FILE

Loading lasts until the gate file exists, and fails if something is written in it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from conftest import ScriptedGeneration, ScriptedGenerator, byte_tokenizer

from smolchat.catalog import Located
from smolchat.chat import Chat
from smolchat.chatml import ChatFormat
from smolchat.errors import CheckpointError
from smolchat.generation import GenerationRequest
from smolchat.loading import LoadedEngine
from smolchat.settings import resolve
from smolchat.store import Recorder
from smolchat.terminal.renderer import Renderer
from smolchat.terminal.repl import Repl

TOKENIZER = byte_tokenizer()
PACKING = Path(__file__).with_name("packing.md")
SECONDS = {"slow": 0.02, "packing": 0.002}
"""What a token takes in the replies to some words."""

MODELS = ["other", "Ölfass"]


class EchoGeneration(ScriptedGeneration):
    """Takes its time for one word and fails at another."""

    def __init__(self, word: str, ids: list[int], request: GenerationRequest) -> None:
        super().__init__(ids, request)
        self._word = word

    def __iter__(self) -> Iterator[int]:
        for token_id in super().__iter__():
            time.sleep(SECONDS.get(self._word, 0))
            yield token_id
        if self._word == "crash":
            raise RuntimeError("out of memory\nand much more")


class EchoGenerator(ScriptedGenerator):
    """Tells how many messages it was sent and what the last one was."""

    def generate(self, request: GenerationRequest) -> ScriptedGeneration:
        prompt = TOKENIZER.decode(list(request.prompt_ids), skip_special_tokens=False)
        _, *messages = prompt.split("<|im_start|>")
        said = messages[-2].removesuffix("<|im_end|>\n").partition("\n")[2]
        system = messages[0].removesuffix("<|im_end|>\n").partition("\n")[2]
        begun = messages[-1].partition("\n")[2]
        word = said.split()[0]
        reply = {
            "slow": "slowly " * 1000,
            "grow": "" if "three" in begun else " three\n```" if begun else "```py\nx = 1\ny = two",
            "mark": "# **Title**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
            "packing": PACKING.read_text(encoding="utf-8"),
            "escape": "\x1b[31mred",
            "system": f"<{system}>",
            "long": f"{len(said.splitlines())} lines",
        }.get(word, f"<{len(messages) - 2}: {said!r}>")
        ids = TOKENIZER.encode(reply, add_special_tokens=False).ids
        return EchoGeneration(word, ids, request)


def load(
    folder: Path, device: str, dtype: str, threads: int | None, quantize: str, draft: str | None
) -> LoadedEngine:
    while not folder.exists():
        time.sleep(0.01)
    if reason := folder.read_text():
        raise CheckpointError(reason, "Choose another.")
    generator = EchoGenerator(context_tokens=10**6)
    return LoadedEngine(generator, ChatFormat(TOKENIZER, "be brief"), frozenset(), "cpu", "float32")


def locate(name: str) -> Located:
    if name not in MODELS:
        raise CheckpointError(f"there is no checkpoint {name}", "See smolchat models.")
    return Located(name, Path("/dev/null"))


def main() -> int:
    history, gate = map(Path, sys.argv[1:])
    settings = resolve({"max_new_tokens": 5000})
    recorder = Recorder(history.with_name("conversations.db"), "chat")
    chat = Chat(settings, Located("echo", gate), locate, load, recorder=recorder)
    return Repl(chat, Renderer(sys.stdout, sys.stderr), history, lambda: MODELS).run()


if __name__ == "__main__":
    sys.exit(main())
