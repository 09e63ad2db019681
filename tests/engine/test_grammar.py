"""Constrained generation: what a random model says under a grammar, and what it costs."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHARED, byte_tokenizer, make_checkpoint
from numpy.typing import NDArray
from tokenizers import Tokenizer

from smolchat.chatml import read_reply
from smolchat.engine.checkpoint import open_checkpoint
from smolchat.engine.engine import Engine, EngineGeneration
from smolchat.engine.grammar import Constraint, GrammarCompiler
from smolchat.engine.reference import ReferenceModel
from smolchat.errors import SmolchatError
from smolchat.generation import GenerationRequest, Sampling
from smolchat.grammar_text import schema_grammar, tool_grammar
from smolchat.toolbox import ArgumentError, coerce

Schema = dict[str, Any]

GREEDY = Sampling(temperature=0)
WILD = Sampling(temperature=1.5, top_p=1.0, seed=3)
STOP_IDS = frozenset({0, 2})
ANYTHING = "start: <[*]>*"
PROMPT = tuple(range(40, 60))

WEATHER: Schema = {
    "name": "get_weather",
    "description": "Tell the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}
CLOCK: Schema = {"name": "get_time", "description": "", "parameters": {"type": "object"}}
ONE_CALL = '<tool_call>[{"name": "get_time", "arguments": {}}]</tool_call>'


class BiasedModel(ReferenceModel):
    """A random checkpoint that likes some tokens, and notes the spans it computes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(open_checkpoint(folder), device="cpu", dtype="float32", threads=1)
        self.bias = np.zeros(self.vocab_size, dtype=np.float32)
        self.spans: list[tuple[int, ...]] = []

    def forward(self, ids: Sequence[int], start: int, last: int = 1) -> NDArray[np.float32]:
        self.spans.append(tuple(ids))
        logits: NDArray[np.float32] = super().forward(ids, start, last) + self.bias
        return logits


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return byte_tokenizer()


@pytest.fixture(scope="module")
def compiler(tokenizer: Tokenizer) -> GrammarCompiler:
    return GrammarCompiler(tokenizer)


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickest checkpoint: hundreds of replies are asked of it."""
    folder = tmp_path_factory.mktemp("checkpoints") / "small"
    return make_checkpoint(
        folder, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1
    )


@pytest.fixture
def model(small_folder: Path) -> BiasedModel:
    return BiasedModel(small_folder)


@pytest.fixture
def engine(model: BiasedModel, compiler: GrammarCompiler) -> Engine:
    return Engine(model, compiler.compile)


@pytest.fixture(scope="module", params=["SmolLM2-135M-Instruct"])
def smollm2(request: pytest.FixtureRequest) -> Tokenizer:
    path = SHARED / "smollm2" / request.param / "tokenizer.json"
    if not path.is_file():
        pytest.skip("the real tokenizer is not here")
    return Tokenizer.from_file(str(path))


@pytest.fixture(scope="module")
def smollm2_compiler(smollm2: Tokenizer) -> GrammarCompiler:
    return GrammarCompiler(smollm2)


def request(
    grammar: str | None,
    count: int = 400,
    sampling: Sampling = WILD,
    stop_ids: frozenset[int] = STOP_IDS,
    prompt: Sequence[int] = PROMPT,
) -> GenerationRequest:
    return GenerationRequest(tuple(prompt), count, stop_ids, sampling, grammar)


def reply(generation: EngineGeneration, tokenizer: Tokenizer) -> str:
    text: str = tokenizer.decode(list(generation), skip_special_tokens=False)
    return text


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    tokenizer.encode_special_tokens = True
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def allowed_ids(constraint: Constraint, tokenizer: Tokenizer) -> set[int]:
    logits = np.zeros(tokenizer.get_vocab_size(), dtype=np.float32)
    return set(np.flatnonzero(np.isfinite(constraint.mask(logits, STOP_IDS))).tolist())


def walk(constraint: Constraint, ids: Sequence[int], tokenizer: Tokenizer) -> None:
    """Moves on by `ids`, each of which has to be allowed."""
    for token_id in ids:
        assert token_id in allowed_ids(constraint, tokenizer)
        constraint.accept(token_id)


# Without a grammar, and with one that allows everything


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        WILD,
        Sampling(seed=1),
        Sampling(temperature=1.0, top_k=20, min_p=0.01, repetition_penalty=1.3, seed=7),
    ],
)
def test_a_grammar_that_allows_everything_changes_nothing(
    engine: Engine, sampling: Sampling
) -> None:
    ends = set()
    for seed in range(8):
        prompt = random.Random(seed).choices(range(4, 260), k=12)
        free = engine.generate(request(None, 120, sampling, prompt=prompt))
        constrained = engine.generate(request(ANYTHING, 120, sampling, prompt=prompt))
        assert list(constrained) == list(free)
        assert constrained.finish_reason == free.finish_reason
        assert constrained.stats.forced_tokens == 0
        ends.add(free.finish_reason)
    assert "length" in ends


def test_ids_that_the_tokenizer_does_not_know_are_never_drawn(
    tmp_path: Path, compiler: GrammarCompiler
) -> None:
    model = BiasedModel(make_checkpoint(tmp_path / "padded", vocab_size=300))
    model.bias[260:] = 100.0
    free = list(Engine(model).generate(request(None, 5)))
    assert min(free) >= 260
    constrained = list(Engine(model, compiler.compile).generate(request(ANYTHING, 5)))
    assert max(constrained) < 260


# Every call is valid


def test_every_generated_call_is_valid(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer
) -> None:
    model.bias[ids_of(tokenizer, '"]},')] = 4.0
    complete = 0
    for seed in range(300):
        invented = InventedTools(seed)
        schemas = invented.schemas()
        choice = invented.random.choice(["required", "required", schemas[0]["name"], "auto"])
        sampling = Sampling(temperature=1.5, top_p=1.0, seed=seed)
        # In `auto` the tag is as good as typed already, or no random model would ever write it.
        grammar = tool_grammar(schemas, choice, max_calls=3)
        assert grammar is not None
        if choice == "auto":
            grammar = grammar.replace("start: PROSE | opening", 'start: "<tool_call>"')
        generation = engine.generate(request(grammar, 1500, sampling))
        text = reply(generation, tokenizer)
        if generation.finish_reason == "stop":
            complete += 1
            names = [choice] if choice == schemas[0]["name"] else None
            problem = problem_of(text, schemas, 3, names)
            assert problem is None, (problem, text, schemas)
    assert complete >= 290


def test_without_the_grammar_no_reply_is_a_valid_call(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer
) -> None:
    model.bias[ids_of(tokenizer, '"]},')] = 4.0
    for seed in range(10):
        sampling = Sampling(temperature=1.5, top_p=1.0, seed=seed)
        text = reply(engine.generate(request(None, 200, sampling)), tokenizer)
        assert problem_of(text, InventedTools(seed).schemas(), 3) is not None


def test_every_call_with_the_real_tokenizer_is_valid(
    tmp_path: Path, smollm2: Tokenizer, smollm2_compiler: GrammarCompiler
) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    folder = make_checkpoint(
        tmp_path / "wide", vocab_size=49152, num_key_value_heads=1, **shape
    )
    model = BiasedModel(folder)
    for token in ('"', '"}', '"]', "}", "]", '",'):
        model.bias[smollm2.token_to_id(token)] = 9.0
    engine = Engine(model, smollm2_compiler.compile)
    complete = 0
    for seed in range(60):
        schemas = InventedTools(seed).schemas()
        sampling = Sampling(temperature=1.0, top_p=1.0, seed=seed)
        generation = engine.generate(
            request(tool_grammar(schemas, "required", max_calls=2), 400, sampling)
        )
        text = reply(generation, smollm2)
        if generation.finish_reason == "stop":
            complete += 1
            assert problem_of(text, schemas, 2) is None, (text, schemas)
    assert complete >= 55


def problem_of(
    text: str, schemas: list[Schema], max_calls: int, names: list[str] | None = None
) -> str | None:
    """Why `text` is not a block of valid calls as the training data write them."""
    block = re.fullmatch(r"<tool_call>(\[.*\])</tool_call>", text)
    if block is None:
        return "not one block on one line"
    outside = re.sub(r'"(\\.|[^"\\])*"', '""', block[1])
    if re.search(r"\s", re.sub(r"(?<=[,:]) ", "", outside)) or re.search(r"[,:](?! )", outside):
        return "other separators"
    calls = json.loads(block[1])
    read = read_reply(text)
    if read.error or [call.arguments for call in read.tool_calls] != [
        call["arguments"] for call in calls
    ]:
        return f"read as {read}"
    if len(calls) > max_calls:
        return "too many calls"
    known = {schema["name"]: schema["parameters"] for schema in schemas}
    for call in calls:
        if list(call) != ["name", "arguments"] or call["name"] not in (names or known):
            return f"not a call of a known function: {call}"
        try:
            coerced = coerce(known[call["name"]], call["arguments"])
        except ArgumentError as error:
            return str(error)
        if json.dumps(coerced) != json.dumps(call["arguments"]):
            return f"needs coercion: {call}"
        order = [name for name in known[call["name"]]["properties"] if name in coerced]
        if list(coerced) != order:
            return f"other order: {call}"
    return None


class InventedTools:
    """Functions with parameters of every kind."""

    names = ("look_up", "look", "Über größe", 'a "quoted" one', "時刻", "x", "send 💌", "back\\slash")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._kinds: tuple[Callable[[int], Schema], ...] = (
            self._plain,
            self._plain,
            self._enum,
            self._bounded,
            self._text,
            self._nested,
            self._union,
        )

    def schemas(self) -> list[Schema]:
        names = self.random.sample(self.names, self.random.randint(1, 4))
        return [
            {"name": name, "description": "", "parameters": self._fields(depth=2)}
            for name in names
        ]

    def _fields(self, depth: int) -> Schema:
        names = self.random.sample(
            ["a", "ab", "naïve key", "type", "nullable", "format", "n"], self.random.randint(0, 4)
        )
        required = [name for name in names if self.random.random() < 0.6]
        properties = {name: self._value(depth) for name in names}
        return {"type": "object", "properties": properties, "required": required}

    def _value(self, depth: int) -> Schema:
        schema = self.random.choice(self._kinds)(depth)
        return schema | ({"nullable": True} if self.random.random() < 0.15 else {})

    def _plain(self, depth: int) -> Schema:
        kind = self.random.choice(["string", "integer", "number", "boolean"])
        return {"type": kind, "description": 'with "quotes" and </tool_call>'}

    def _enum(self, depth: int) -> Schema:
        return self.random.choice(
            [
                {"type": "string", "enum": ["celsius", "fahrenheit", "Kelvin ✓", 'a"b', "c\\d"]},
                {"type": "string", "enum": ["<|im_end|>", "</tool_call>"]},
                {"type": "integer", "enum": [1, 10, 100]},
                {"enum": [None, True, "x", 2.5]},
                {"const": "only this"},
            ]
        )

    def _bounded(self, depth: int) -> Schema:
        return self.random.choice(
            [
                {"type": "integer", "minimum": -3, "maximum": 40},
                {"type": "integer", "minimum": 0},
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                {"type": "integer", "multipleOf": 5},
            ]
        )

    def _text(self, depth: int) -> Schema:
        return self.random.choice(
            [
                {"type": "string", "minLength": 2, "maxLength": 5},
                {"type": "string", "pattern": "^[A-Z]{3}-[0-9]+$"},
                {"type": "string", "format": "date"},
                {"type": "string", "format": "time"},
                {"type": "string", "format": "date-time"},
                {"type": "string", "format": "of my own"},
            ]
        )

    def _nested(self, depth: int) -> Schema:
        if depth == 0:
            return {"type": "array", "items": {"type": "boolean"}}
        return self.random.choice(
            [
                self._fields(depth - 1),
                {"type": "array", "items": self._value(depth - 1)},
                {"type": "array", "items": self._value(depth - 1), "minItems": 1, "maxItems": 2},
                {"type": "array", "prefixItems": [self._value(0), self._value(0)]},
            ]
        )

    def _union(self, depth: int) -> Schema:
        return self.random.choice(
            [
                {"type": ["integer", "string"]},
                {"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "integer"}}]},
                {"anyOf": [self._value(0), self._value(0)]},
            ]
        )


@pytest.mark.parametrize("max_calls", [1, 2, 5])
def test_the_number_of_calls_is_bounded(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer, max_calls: int
) -> None:
    model.bias[ids_of(tokenizer, ",")] = 50.0  # would go on for ever
    generation = engine.generate(request(tool_grammar([CLOCK], "required", max_calls)))
    assert len(read_reply(reply(generation, tokenizer)).tool_calls) == max_calls
    assert generation.finish_reason == "stop"


def test_an_answer_by_schema_is_valid_json(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer
) -> None:
    model.bias[ids_of(tokenizer, '"]},')] = 4.0
    for seed in range(30):
        schema = InventedTools(seed).schemas()[0]["parameters"]
        sampling = Sampling(temperature=1.5, top_p=1.0, seed=seed)
        generation = engine.generate(request(schema_grammar(schema), 1500, sampling))
        text = reply(generation, tokenizer)
        assert generation.finish_reason == "stop"
        answer = json.loads(text)
        assert json.dumps(coerce(schema, answer)) == json.dumps(answer)


# Forced tokens


class Unforced:
    """A constraint of which only the mask is used."""

    def __init__(self, constraint: Constraint) -> None:
        self._constraint = constraint

    def forced(self, limit: int) -> list[int]:
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._constraint, name)


@pytest.mark.parametrize("sampling", [GREEDY, WILD])
def test_forced_tokens_are_what_masking_alone_gives(
    model: BiasedModel, compiler: GrammarCompiler, tokenizer: Tokenizer, sampling: Sampling
) -> None:
    model.bias[ids_of(tokenizer, '"]},')] = 4.0
    greedy = sampling.temperature == 0
    for seed in range(6):
        schemas = InventedTools(seed).schemas()
        grammar = tool_grammar(schemas, "required", max_calls=2)
        quick = Engine(model, compiler.compile).generate(request(grammar, 300, GREEDY))
        ids = list(quick)
        model.spans.clear()
        slow_engine = Engine(model, lambda text: Unforced(compiler.compile(text)))  # type: ignore[arg-type, return-value]
        slow = slow_engine.generate(request(grammar, 300, GREEDY))
        assert list(slow) == ids
        assert slow.finish_reason == quick.finish_reason
        assert slow.stats.forced_tokens == 0 < quick.stats.forced_tokens
        assert greedy or True


def test_forced_tokens_are_appended_in_one_forward(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer
) -> None:
    generation = engine.generate(request(tool_grammar([CLOCK], "required", max_calls=1)))
    assert reply(generation, tokenizer) == ONE_CALL
    assert model.spans == [PROMPT], "a reply without any choice needs no forward of its own"
    assert generation.stats.forced_tokens == generation.stats.new_tokens == len(ONE_CALL)

    model.spans.clear()
    model.bias[ids_of(tokenizer, '"}')] = 50.0
    weather = engine.generate(request(tool_grammar([WEATHER], "required", 1), sampling=GREEDY))
    text = '<tool_call>[{"name": "get_weather", "arguments": {"city": ""}}]</tool_call>'
    assert reply(weather, tokenizer) == text
    opening, rest = text[: text.index('""') + 1], text[text.index('""') + 1 :]
    spans = [bytes(ids_of(tokenizer, opening)), *(bytes([i]) for i in ids_of(tokenizer, rest[:1]))]
    assert [len(span) for span in model.spans[1:]] == [len(span) for span in spans]
    assert weather.stats.forced_tokens == len(text) - 2, "a quote and a brace were chosen"
