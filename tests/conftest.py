"""The two fakes that tests share: a tiny random checkpoint, and a scripted generator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from typer.testing import CliRunner, Result

from smolchat.cli import app
from smolchat.errors import ContextOverflow
from smolchat.generation import FinishReason, GenerationRequest, GenerationStats
from smolchat.paths import config_dir

REPOSITORY = Path(__file__).parent.parent
EMBEDDED = REPOSITORY / "checkpoints" / "tiny"
SHARED = REPOSITORY.parent / "shared" / "data"

# Compiling the kernels takes a while: all tests share what one has compiled, and so do their
# processes, each of which has a cache folder of its own.
os.environ.setdefault("SMOLCHAT_CODE_DIR", str(REPOSITORY / ".pytest_cache" / "compiled"))
# Whether a process has torch already must not show in what it answers.
os.environ["SMOLCHAT_PREFILL"] = "kernels"

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer checkpoint over a byte-level vocabulary."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "random")


def make_checkpoint(folder: Path, **config: object) -> Path:
    """Writes a random Llama checkpoint in Hugging Face layout; `config` overrides its shape."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHAT_TEMPLATE}))
    shape = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "initializer_range": 0.3,
    }
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**shape, **config}))
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def byte_tokenizer() -> Tokenizer:
    """SmolLM2's tokenizer in small: special tokens, one token per byte, no merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    return tokenizer


class ScriptedGeneration:
    """Yields given ids, as far as the request allows."""

    def __init__(self, ids: list[int], request: GenerationRequest) -> None:
        self.finish_reason: FinishReason = "stop"
        self.stats = GenerationStats(prompt_tokens=len(request.prompt_ids))
        self._ids = ids
        self._request = request
        self._is_cancelled = False

    def __iter__(self) -> Iterator[int]:
        for count, token_id in enumerate(self._ids):
            if self._is_cancelled or count == self._request.max_new_tokens:
                self.finish_reason = "cancelled" if self._is_cancelled else "length"
                return
            self.stats = GenerationStats(
                prompt_tokens=len(self._request.prompt_ids), new_tokens=count + 1
            )
            yield token_id

    def cancel(self) -> None:
        self._is_cancelled = True


class ScriptedGenerator:
    """Replays replies through the real session and remembers what it was asked."""

    def __init__(self, *replies: str, context_tokens: int = 2048) -> None:
        self.context_tokens = context_tokens
        self.requests: list[GenerationRequest] = []
        self._tokenizer = byte_tokenizer()
        self._replies = list(replies)

    def forget(self) -> None:
        """Nothing is cached here."""

    def generate(self, request: GenerationRequest) -> ScriptedGeneration:
        if len(request.prompt_ids) >= self.context_tokens:
            raise ContextOverflow("the prompt does not fit")
        self.requests.append(request)
        ids = self._tokenizer.encode(self._replies.pop(0), add_special_tokens=False).ids
        return ScriptedGeneration(ids, request)


Smolchat = Callable[..., "subprocess.CompletedProcess[bytes]"]
Command = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home: no configuration, no cache, no network."""
    return tmp_path / "home"


@pytest.fixture(scope="session")
def compiled_kernels(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled before any process needs them, whose notice of it a test might read."""
    from smolchat.engine.checkpoint import open_checkpoint
    from smolchat.engine.cpu import CpuModel

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for quantize in ("none", "int8"):
            CpuModel(open_checkpoint(tiny_folder), quantize, 1, str).forward([5], 0)


@pytest.fixture
def environment(home: Path, compiled_kernels: None) -> dict[str, str]:
    """What a process gets that must not see the real user's files."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "VIRTUAL_ENV") if key in os.environ}
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HF_HUB_OFFLINE": "1",
        "SMOLCHAT_CODE_DIR": os.environ["SMOLCHAT_CODE_DIR"],
        "SMOLCHAT_PREFILL": "kernels",
        "TERM": "xterm-256color",
        "PYTHONWARNINGS": "ignore",
    }


@pytest.fixture
def config_folder(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration folder for a process in `environment`, and for this one as well."""
    for name in [name for name in os.environ if name.startswith("SMOLCHAT_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    folder = config_dir()
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def command(config_folder: Path) -> Command:
    """Runs a command in this process: quick, but without real pipes, signals and exit."""

    def run(*arguments: str, stdin: str | bytes = b"", **variables: str) -> Result:
        result = CliRunner().invoke(app, arguments, input=stdin, env=variables)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def smolchat(environment: dict[str, str], tmp_path: Path) -> Smolchat:
    """Runs the real program and returns what it printed and its exit code."""

    def run(
        *arguments: str, stdin: bytes = b"", **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "smolchat", *arguments],
            input=stdin,
            capture_output=True,
            env=environment | variables,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )

    return run
