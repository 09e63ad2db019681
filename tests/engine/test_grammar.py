"""Constrained generation: what a random model says under a grammar, and what it costs."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
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
    folder = make_checkpoint(tmp_path / "wide", vocab_size=49152, num_key_value_heads=1, **shape)
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

    names = (
        "look_up",
        "look",
        "Über größe",
        'a "quoted" one',
        "時刻",
        "x",
        "send 💌",
        "back\\slash",
    )

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
            {"name": name, "description": "", "parameters": self._fields(depth=2)} for name in names
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


def test_forced_tokens_are_what_masking_alone_gives(
    model: BiasedModel, compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    def unforced(text: str) -> Constraint:
        return Unforced(compiler.compile(text))  # type: ignore[return-value]

    model.bias[ids_of(tokenizer, '"]},')] = 4.0
    for seed in range(6):
        grammar = tool_grammar(InventedTools(seed).schemas(), "required", max_calls=2)
        quick = Engine(model, compiler.compile).generate(request(grammar, 300, GREEDY))
        slow = Engine(model, unforced).generate(request(grammar, 300, GREEDY))
        assert list(quick) == list(slow)
        assert quick.finish_reason == slow.finish_reason
        assert slow.stats.forced_tokens == 0 < quick.stats.forced_tokens


def test_a_reply_without_a_choice_needs_no_forward(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer
) -> None:
    generation = engine.generate(request(tool_grammar([CLOCK], "required", max_calls=1)))
    assert reply(generation, tokenizer) == ONE_CALL
    assert model.spans == [PROMPT]
    assert generation.stats.forced_tokens == generation.stats.new_tokens == len(ONE_CALL)


def test_forced_tokens_are_appended_in_one_forward(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer
) -> None:
    model.bias[ids_of(tokenizer, '"')] = 60.0
    model.bias[ids_of(tokenizer, "}")] = 50.0
    generation = engine.generate(request(tool_grammar([WEATHER], "required", max_calls=1)))
    text = '<tool_call>[{"name": "get_weather", "arguments": {"city": ""}}]</tool_call>'
    assert reply(generation, tokenizer) == text
    opening = text[: text.index('"}')]
    assert model.spans == [
        PROMPT,
        tuple(ids_of(tokenizer, opening)),
        *[tuple(ids_of(tokenizer, '"'))],
    ]
    assert generation.stats.new_tokens == len(text)
    assert generation.stats.forced_tokens == len(text) - 2, "a quote and a brace were chosen"


def test_the_next_turn_reuses_the_constrained_reply(
    engine: Engine, model: BiasedModel, compiler: GrammarCompiler
) -> None:
    ids = list(engine.generate(request(tool_grammar([WEATHER, CLOCK], "required"), 60)))
    longer = (*PROMPT, *ids, 9, 8, 7)
    again = engine.generate(request(None, 10, GREEDY, prompt=longer))
    assert list(again) == list(Engine(model).generate(request(None, 10, GREEDY, prompt=longer)))
    assert again.stats.cached_tokens > len(PROMPT)


CALLS = [
    ONE_CALL,
    '<tool_call>[{"name": "get_weather", "arguments": {"city": "Zürich 🎉", "days": 12}}, '
    '{"name": "get_time", "arguments": {}}]</tool_call>',
    '<tool_call>[{"name": "get_weather", "arguments": {"city": "a \\"b\\" </tool_call>\\n"}}]'
    "</tool_call>",
]


@pytest.mark.parametrize("text", CALLS)
def test_forced_tokens_are_allowed_and_are_the_text_that_must_follow(
    smollm2: Tokenizer, smollm2_compiler: GrammarCompiler, text: str
) -> None:
    grammar = tool_grammar([WEATHER, CLOCK], "required")
    assert grammar is not None
    ids = ids_of(smollm2, text)
    for length in range(len(ids) + 1):
        forcing, masking = (smollm2_compiler.compile(grammar) for _ in range(2))
        walk(masking, ids[:length], smollm2)
        for token_id in ids[:length]:
            forcing.accept(token_id)
        forced = forcing.forced(100)
        walk(masking, forced, smollm2)
        said = smollm2.decode([*ids[:length], *forced])
        assert text.startswith(said.rstrip("\ufffd"))


def test_forced_text_is_split_as_the_tokenizer_splits_it(
    smollm2: Tokenizer, smollm2_compiler: GrammarCompiler
) -> None:
    grammar = tool_grammar([CLOCK], "required", max_calls=1)
    assert grammar is not None
    constraint = smollm2_compiler.compile(grammar)
    assert constraint.forced(100) == ids_of(smollm2, ONE_CALL)
    assert constraint.is_complete


@pytest.mark.parametrize("crossing", [">[", '>["', "](", "]</"])
def test_a_token_may_cross_the_end_of_a_tag(
    smollm2: Tokenizer, smollm2_compiler: GrammarCompiler, crossing: str
) -> None:
    text = f"I call <tool_call>{ONE_CALL[11:]}"
    grammar = tool_grammar([CLOCK], "auto")
    assert grammar is not None
    before, found, after = text.partition(crossing)
    token_id = smollm2.token_to_id(crossing)
    constraint = smollm2_compiler.compile(grammar)
    walk(constraint, ids_of(smollm2, before), smollm2)
    may_follow = token_id in allowed_ids(constraint, smollm2)
    assert may_follow == bool(found and token_id is not None)
    if may_follow:
        constraint.accept(token_id)
        walk(constraint, ids_of(smollm2, after), smollm2)
        assert constraint.is_complete


# Where a reply ends


def test_stop_tokens_are_allowed_exactly_where_the_reply_may_end(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    grammar = tool_grammar([WEATHER], "auto")
    assert grammar is not None
    constraint = compiler.compile(grammar)
    prose = "I look. <tool_call"
    for token_id in ids_of(tokenizer, prose):
        assert allowed_ids(constraint, tokenizer) >= STOP_IDS
        constraint.accept(token_id)
    assert allowed_ids(constraint, tokenizer) >= STOP_IDS
    for token_id in ids_of(tokenizer, '>[{"name": "get_weather", "arguments": {"city": "x"}}]'):
        constraint.accept(token_id)
        assert not allowed_ids(constraint, tokenizer) & STOP_IDS
    for token_id in ids_of(tokenizer, "</tool_call>"):
        assert not constraint.is_complete
        constraint.accept(token_id)
    assert constraint.is_complete
    assert allowed_ids(constraint, tokenizer) == STOP_IDS


def test_a_complete_reply_stops_without_a_stop_token(engine: Engine, model: BiasedModel) -> None:
    generation = engine.generate(
        request(tool_grammar([WEATHER], "required", 1), 3000, stop_ids=frozenset())
    )
    ids = list(generation)
    assert generation.finish_reason == "stop"
    assert generation.stats.new_tokens == len(ids) < 3000


@pytest.mark.parametrize("count", [1, 20, 30, len(ONE_CALL) - 1])
def test_a_call_cut_off_is_reported_as_length(
    engine: Engine, tokenizer: Tokenizer, count: int
) -> None:
    generation = engine.generate(request(tool_grammar([CLOCK], "required", 1), count))
    assert reply(generation, tokenizer) == ONE_CALL[:count]
    assert generation.finish_reason == "length"
    assert generation.stats.forced_tokens == generation.stats.new_tokens == count


def test_a_call_that_just_fits_is_complete(engine: Engine, tokenizer: Tokenizer) -> None:
    generation = engine.generate(request(tool_grammar([CLOCK], "required", 1), len(ONE_CALL)))
    assert reply(generation, tokenizer) == ONE_CALL
    assert generation.finish_reason == "stop"


def test_a_call_cut_off_by_the_context_is_reported_as_length(
    engine: Engine, model: BiasedModel
) -> None:
    engine.context_tokens = len(PROMPT) + 30
    generation = engine.generate(request(tool_grammar([CLOCK], "required", 1)))
    assert len(list(generation)) == 30
    assert generation.finish_reason == "length"


def test_cancelling_ends_within_forced_tokens(engine: Engine, tokenizer: Tokenizer) -> None:
    generation = engine.generate(request(tool_grammar([CLOCK], "required", 1)))
    ids = []
    for token_id in generation:
        ids.append(token_id)
        if len(ids) == 5:
            generation.cancel()
    assert tokenizer.decode(ids) == ONE_CALL[:5]
    assert generation.finish_reason == "cancelled"


# Control tokens


@pytest.mark.parametrize("choice", ["auto", "required", "none"])
def test_control_tokens_are_never_drawn(engine: Engine, model: BiasedModel, choice: str) -> None:
    model.bias[:4] = 100.0
    assert set(engine.generate(request(None, 20, stop_ids=frozenset()))) <= set(range(4))
    grammar = tool_grammar([WEATHER], choice)
    ids = list(engine.generate(request(grammar, 100, stop_ids=frozenset())))
    assert len(ids) == 100
    assert min(ids) >= 4


@pytest.mark.parametrize("text", ["<|im_end|>", "a<|im_end|><|im_start|>system", "<repo_name> "])
def test_a_control_token_spelled_out_in_an_enum_is_text(
    engine: Engine,
    tokenizer: Tokenizer,
    smollm2: Tokenizer,
    smollm2_compiler: GrammarCompiler,
    text: str,
) -> None:
    grammar = schema_grammar({"enum": [text]})
    generation = engine.generate(request(grammar))
    ids = list(generation)
    assert min(ids) >= 4
    assert json.loads(tokenizer.decode(ids)) == text

    constraint = smollm2_compiler.compile(grammar)
    said: list[int] = []
    while not constraint.is_complete:
        said += constraint.forced(100)
        if not constraint.is_complete:
            said.append(min(allowed_ids(constraint, smollm2)))
            constraint.accept(said[-1])
    assert min(said) > 16
    assert json.loads(smollm2.decode(said)) == text


def test_characters_of_several_tokens_are_completed(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer
) -> None:
    lead_bytes = [token_id for byte in (0xC3, 0xE2, 0xF0) for token_id in byte_ids(tokenizer, byte)]
    model.bias[lead_bytes] = 6.0
    generation = engine.generate(request(schema_grammar({"type": "string", "maxLength": 40})))
    ids = list(generation)
    assert generation.finish_reason == "stop"
    text = json.loads(tokenizer.decode(ids))
    assert "\ufffd" not in text
    assert len(text.encode()) > len(text) > 10


def byte_ids(tokenizer: Tokenizer, byte: int) -> list[int]:
    """The token of one byte, found by a character whose UTF-8 begins with it."""
    character = {0xC3: "é", 0xE2: "€", 0xF0: "🎉"}[byte]
    return ids_of(tokenizer, character)[:1]


# Prose


def test_prose_is_what_the_model_says_by_itself(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer
) -> None:
    model.bias[ids_of(tokenizer, "abcdefghijklmnopqrstuvwxyz ,.")] = 30.0
    for choice in ("auto", "none"):
        free = list(engine.generate(request(None, 80)))
        generation = engine.generate(request(tool_grammar([WEATHER], choice), 80))
        assert list(generation) == free
        assert generation.stats.forced_tokens == 0


# What cannot be compiled


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ("start: /(/", "regex parse error"),
        ("start: nothing", 'unknown name: "nothing"'),
        ("no grammar at all", "constrained"),
        ("", "constrained"),
        (schema_grammar({"type": "integer", "minimum": 2, "maximum": 1}), "Unsatisfiable"),
        (schema_grammar({"type": "string", "pattern": "[a"}), "unclosed character class"),
    ],
)
def test_a_grammar_that_cannot_be_compiled_is_an_error(
    engine: Engine, model: BiasedModel, grammar: str, reason: str
) -> None:
    with pytest.raises(SmolchatError, match=re.escape(reason)) as caught:
        engine.generate(request(grammar))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.hint
    assert model.spans == []


def test_the_error_names_the_function_whose_schema_is_wrong(engine: Engine) -> None:
    text = {"type": "string", "minLength": 3, "maxLength": 2}
    broken: Schema = {"name": "broken", "parameters": {"properties": {"x": text}}}
    with pytest.raises(SmolchatError, match=r"broken.*\bx\b"):
        engine.generate(request(tool_grammar([WEATHER, broken, CLOCK])))


@pytest.mark.parametrize("grammar", ["start: A\nA: /a/ & /b/", 'start: "a" B\nB: /x/ & /y/'])
def test_a_grammar_that_leads_nowhere_is_an_error(engine: Engine, grammar: str) -> None:
    generation = engine.generate(request(grammar))
    with pytest.raises(SmolchatError, match="cannot go on"):
        list(generation)
    assert list(engine.generate(request(None, 3))), "the engine stays usable"


def test_an_engine_without_a_compiler_refuses_a_grammar(model: BiasedModel) -> None:
    with pytest.raises(SmolchatError, match="without grammars"):
        Engine(model).generate(request(ANYTHING))


def test_replies_under_one_grammar_do_not_disturb_each_other(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    grammar = tool_grammar([WEATHER], "required")
    assert grammar is not None
    first = compiler.compile(grammar)
    first.forced(100)
    first.accept(ids_of(tokenizer, "x")[0])
    second = compiler.compile(grammar)
    assert tokenizer.decode(second.forced(5)) == "<tool"
