"""Constrained generation: what a random model says under a grammar, and what it costs."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
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
CLOSING = '"]},'
"""Random bytes would seldom end a text or a list by themselves."""
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

EMPTY_CITY = '<tool_call>[{"name": "get_weather", "arguments": {"city": ""}}]</tool_call>'


class BiasedModel(ReferenceModel):
    """A random checkpoint that likes some tokens, and notes the spans it computes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(open_checkpoint(folder), device="cpu", dtype="float32", threads=1)
        self.bias = np.zeros(self.vocab_size, dtype=np.float32)
        self.opening: Sequence[int] = ()
        """What it says first, behind PROMPT."""
        self.spans: list[tuple[int, ...]] = []

    def forward(self, ids: Sequence[int], start: int, last: int = 1) -> NDArray[np.float32]:
        self.spans.append(tuple(ids))
        logits: NDArray[np.float32] = super().forward(ids, start, last) + self.bias
        behind = start + len(ids) - len(PROMPT) - len(logits) + 1
        for position, row in enumerate(logits, behind):
            if 0 <= position < len(self.opening):
                row[self.opening[position]] += 1000
        return logits


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    tokenizer = byte_tokenizer()
    tokenizer.encode_special_tokens = True
    return tokenizer


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


@pytest.fixture(scope="module")
def smollm2() -> Tokenizer:
    path = SHARED / "smollm2" / "SmolLM2-135M-Instruct" / "tokenizer.json"
    if not path.is_file():
        pytest.skip("SmolLM2's tokenizer is not here")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


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
        wished = replace(sampling, seed=seed)
        free = engine.generate(request(None, 120, wished, prompt=prompt))
        constrained = engine.generate(request(ANYTHING, 120, wished, prompt=prompt))
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


@pytest.mark.parametrize("prose", ["", "Let me see. "])
def test_every_generated_call_is_valid(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer, prose: str
) -> None:
    model.bias[ids_of(tokenizer, CLOSING)] = 4.0
    complete = 0
    for seed in range(150):
        invented = InventedTools(seed)
        schemas = invented.schemas()
        choice = "auto" if prose else invented.random.choice(["required", schemas[0]["name"]])
        model.opening = ids_of(tokenizer, f"{prose}<tool_call>") if prose else ()
        grammar = tool_grammar(schemas, choice, max_calls=3)
        generation = engine.generate(request(grammar, 1500, replace(WILD, seed=seed)))
        text = reply(generation, tokenizer)
        assert text.startswith(prose)
        if generation.finish_reason == "stop":
            complete += 1
            named = [schema for schema in schemas if schema["name"] == choice]
            problem = problem_of(text.removeprefix(prose), named or schemas, 3)
            assert problem is None, (problem, text, schemas)
    assert complete >= 148


def test_without_the_grammar_no_reply_is_a_valid_call(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer
) -> None:
    model.bias[ids_of(tokenizer, CLOSING)] = 4.0
    for seed in range(10):
        text = reply(engine.generate(request(None, 200, replace(WILD, seed=seed))), tokenizer)
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


def problem_of(text: str, schemas: list[Schema], max_calls: int) -> str | None:
    """Why `text` is not a block of valid calls as the training data write them."""
    block = re.fullmatch(r"<tool_call>(\[.*\])</tool_call>", text)
    if block is None:
        return "not one block on one line"
    outside_texts = re.sub(r'"(\\.|[^"\\])*"', '""', block[1])
    if re.search(r"(?<![,:])\s|[,:](?! )", outside_texts):
        return "other separators"
    calls = json.loads(block[1])
    if len(calls) > max_calls:
        return "too many calls"
    read = read_reply(text)
    if [call.arguments for call in read.tool_calls] != [call["arguments"] for call in calls]:
        return f"read as {read}"
    known = {schema["name"]: schema["parameters"] for schema in schemas}
    return next(filter(None, (problem_of_call(call, known) for call in calls)), None)


def problem_of_call(call: Schema, known: dict[str, Schema]) -> str | None:
    if list(call) != ["name", "arguments"] or call["name"] not in known:
        return f"not a call of a known function: {call}"
    parameters, arguments = known[call["name"]], call["arguments"]
    try:
        coerced = coerce(parameters, arguments)
    except ArgumentError as error:
        return str(error)
    if json.dumps(coerced) != json.dumps(arguments):
        return f"coerced: {call}"
    if list(arguments) != [name for name in parameters["properties"] if name in arguments]:
        return f"another order: {call}"
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
    model.bias[ids_of(tokenizer, CLOSING)] = 4.0
    for seed in range(30):
        schema = InventedTools(seed).schemas()[0]["parameters"]
        grammar = schema_grammar(schema)
        generation = engine.generate(request(grammar, 1500, replace(WILD, seed=seed)))
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


@pytest.mark.parametrize("sampling", [GREEDY, replace(GREEDY, repetition_penalty=1.2)])
def test_forced_tokens_are_what_masking_alone_gives(
    model: BiasedModel, compiler: GrammarCompiler, tokenizer: Tokenizer, sampling: Sampling
) -> None:
    def unforced(text: str) -> Constraint:
        return Unforced(compiler.compile(text))  # type: ignore[return-value]

    model.bias[ids_of(tokenizer, CLOSING)] = 4.0
    for seed in range(6):
        grammar = tool_grammar(InventedTools(seed).schemas(), "required", max_calls=2)
        quick = Engine(model, compiler.compile).generate(request(grammar, 300, sampling))
        slow = Engine(model, unforced).generate(request(grammar, 300, sampling))
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
    model.bias[ids_of(tokenizer, '"')] = 120.0
    model.bias[ids_of(tokenizer, "}")] = 50.0
    generation = engine.generate(request(tool_grammar([WEATHER], "required", max_calls=1)))
    assert reply(generation, tokenizer) == EMPTY_CITY
    opening = EMPTY_CITY[: EMPTY_CITY.index('"}')]
    assert model.spans == [PROMPT, tuple(ids_of(tokenizer, opening)), tuple(ids_of(tokenizer, '"'))]
    assert generation.stats.new_tokens == len(EMPTY_CITY)
    assert generation.stats.forced_tokens == len(EMPTY_CITY) - 2, "a quote and a brace were chosen"


def test_the_next_turn_reuses_the_constrained_reply(engine: Engine, model: BiasedModel) -> None:
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
    forced_tokens = 0
    for length in range(len(ids) + 1):
        forcing, masking = (smollm2_compiler.compile(grammar) for _ in range(2))
        walk(masking, ids[:length], smollm2)
        for token_id in ids[:length]:
            forcing.accept(token_id)
        forced = forcing.forced(100)
        walk(masking, forced, smollm2)
        said = smollm2.decode([*ids[:length], *forced])
        assert text.startswith(said.rstrip("\ufffd"))
        forced_tokens += len(forced)
    assert forced_tokens > len(ids)


def test_forced_text_is_split_as_the_tokenizer_splits_it(
    smollm2: Tokenizer, smollm2_compiler: GrammarCompiler
) -> None:
    grammar = tool_grammar([CLOCK], "required", max_calls=1)
    assert grammar is not None
    constraint = smollm2_compiler.compile(grammar)
    assert constraint.forced(100) == ids_of(smollm2, ONE_CALL)
    assert constraint.is_complete


def test_tokens_may_cross_the_ends_of_the_tags(
    smollm2: Tokenizer, smollm2_compiler: GrammarCompiler
) -> None:
    grammar = tool_grammar([CLOCK], "auto")
    assert grammar is not None
    constraint = smollm2_compiler.compile(grammar)
    walk(constraint, [*ids_of(smollm2, "I look"), smollm2.token_to_id(".<")], smollm2)
    walk(constraint, ids_of(smollm2, "tool_call"), smollm2)
    assert smollm2.token_to_id(">") in allowed_ids(constraint, smollm2)
    assert smollm2.token_to_id('>"') not in allowed_ids(constraint, smollm2)
    walk(constraint, ids_of(smollm2, '>[{"name": "get_time", "arguments": {}'), smollm2)
    walk(constraint, [smollm2.token_to_id("}"), smollm2.token_to_id("]<")], smollm2)
    walk(constraint, ids_of(smollm2, "/tool_call>"), smollm2)
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


def test_a_complete_reply_stops_without_a_stop_token(engine: Engine) -> None:
    generation = engine.generate(
        request(tool_grammar([WEATHER], "required", 1), 3000, stop_ids=frozenset())
    )
    ids = list(generation)
    assert generation.finish_reason == "stop"
    assert generation.stats.new_tokens == len(ids) < 3000


def test_a_call_cut_off_anywhere_is_reported_as_length(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer
) -> None:
    model.bias[ids_of(tokenizer, '"')] = 120.0
    model.bias[ids_of(tokenizer, "}")] = 50.0
    grammar = tool_grammar([WEATHER], "required", max_calls=1)
    for count in range(1, len(EMPTY_CITY) + 1):
        generation = engine.generate(request(grammar, count))
        assert reply(generation, tokenizer) == EMPTY_CITY[:count]
        assert generation.stats.new_tokens == count
        assert generation.stats.forced_tokens == count - sum(
            count > drawn for drawn in (EMPTY_CITY.index('"}'), EMPTY_CITY.index("}"))
        )
        is_complete = count == len(EMPTY_CITY)
        assert generation.finish_reason == ("stop" if is_complete else "length")


@pytest.mark.parametrize("choice", ["required", "auto"])
def test_a_call_that_is_cut_is_whole(
    engine: Engine, model: BiasedModel, tokenizer: Tokenizer, choice: str
) -> None:
    if choice == "auto":
        model.opening = ids_of(tokenizer, "<tool_call>")
    cut = 0
    for seed in range(40):
        schemas = InventedTools(seed).schemas()[:2]
        grammar = tool_grammar(schemas, choice, max_calls=3)
        generation = engine.generate(request(grammar, 300 + seed, replace(WILD, seed=seed)))
        text = reply(generation, tokenizer)
        assert generation.stats.new_tokens <= 300 + seed
        if "<tool_call>" in text:
            assert problem_of(text, schemas, 3) is None, text
            cut += generation.finish_reason == "length"
    assert cut >= 8


@pytest.mark.parametrize(
    "number",
    [
        {"type": "integer", "multipleOf": 5},
        {"type": "integer", "minimum": 3},
        {"type": "number", "exclusiveMinimum": 0},
    ],
    ids=str,
)
def test_a_number_that_is_still_wanted_is_found(
    number: Schema, compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    constraint = compiler.compile(schema_grammar({"type": "array", "items": number, "minItems": 1}))
    ids = constraint.ending(8)
    assert ids is not None
    (found,) = json.loads(tokenizer.decode(ids))
    assert found >= 0
    assert found % number.get("multipleOf", 1) == 0


def test_an_answer_by_schema_that_is_cut_is_whole(engine: Engine, tokenizer: Tokenizer) -> None:
    schema = {"type": "array", "items": {"type": "object"}, "minItems": 2}
    for count in range(40, 120):
        generation = engine.generate(request(schema_grammar(schema), count, WILD))
        answer = json.loads(reply(generation, tokenizer))
        assert len(answer) >= 2


def test_a_call_cut_off_by_the_context_is_reported_as_length(engine: Engine) -> None:
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
    assert 96 < len(ids) <= 100, "no character is begun that does not fit"
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
    model.bias[[ids_of(tokenizer, character)[0] for character in "é€🎉"]] = 6.0
    model.bias[ids_of(tokenizer, '"')] = -6.0
    generation = engine.generate(request(schema_grammar({"type": "string", "maxLength": 40})))
    ids = list(generation)
    assert generation.finish_reason == "stop"
    text = json.loads(tokenizer.decode(ids))
    assert "\ufffd" not in text
    assert len(text.encode()) > len(text) > 10


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
