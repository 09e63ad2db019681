"""Reading replies: the shared cases, the rules they stand for, and any text at all."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from conftest import EMBEDDED, SHARED, byte_tokenizer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from smolchat.chatml import ReplyReader, tool_calls_text
from smolchat.chatml import read_reply as public_read_reply
from smolchat.reply import Reply, ReplyStream, read_reply

SHARED_CASES = SHARED / "toolcalls" / "parse.jsonl"
CASES = (
    [json.loads(line) for line in SHARED_CASES.read_text(encoding="utf-8").splitlines()]
    if SHARED_CASES.is_file()
    else []
)


def outcome(reply: Reply) -> Any:
    """The calls of a reply, or the kind of its error."""
    if reply.error is not None:
        assert reply.tool_calls == ()
        assert reply.error.message
        return reply.error.kind
    assert [call.id for call in reply.tool_calls] == [
        f"call_{number}" for number in range(1, len(reply.tool_calls) + 1)
    ]
    return [(call.name, call.arguments) for call in reply.tool_calls]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['id']} {case['note']}")
def test_shared_cases(case: dict[str, Any]) -> None:
    expected, found = case["expect"], outcome(public_read_reply(case["text"]))
    if "error" in expected:
        assert isinstance(found, str)
        assert expected["error"] in ("*", found)
    else:
        calls = [(call["name"], call["arguments"]) for call in expected["calls"]]
        assert json.dumps(found) == json.dumps(calls)


# Rules. In a block F stands for a call's beginning, and A and B for whole calls.

F = '{"name": "f", "arguments": {'
A, A_CALL = '{"name": "a", "arguments": {"x": 1}}', ("a", {"x": 1})
B, B_CALL = '{"name": "b", "arguments": {}}', ("b", {})


def f(**arguments: object) -> list[tuple[str, dict[str, object]]]:
    return [("f", arguments)]


CALLS = {
    f"[{A}, {B}]": [A_CALL, B_CALL],
    f"\n[\n  {A},\n  {B}\n]\n": [A_CALL, B_CALL],
    f"[{A}, {A}]": [A_CALL, A_CALL],
    f"[{A}], [{B}]": [A_CALL, B_CALL],
    f"[{A}]\n[{B}]": [A_CALL, B_CALL],
    f"{A},\n{B},": [A_CALL, B_CALL],
    f"<tool_call>\n[{A}]": [A_CALL],
    f"```json\n{A}\n```": [A_CALL],
    f'{{"tool_calls": [{A}, {B}]}}': [A_CALL, B_CALL],
    f'{{"content": null, "tool_calls": {A}}}': [A_CALL],
    '{"tool_calls": []}': [],
    # Brackets
    f"[{A}, {B}": [A_CALL, B_CALL],
    f"[{F}": f(),
    f'[{F}"x": [1, [2': f(x=[1, [2]]),
    f'[{F}"x": "1",': f(x="1"),
    f'[{F}"x": 1]': f(x=1),
    f'[{F}"x": [1, 2}}]': f(x=[1, 2]),
    f'{F}"x": 1]]}}}}': f(x=1),
    f"[{A}}}, {B}]": [A_CALL, B_CALL],
    f"[{A}], {B}]": [A_CALL, B_CALL],
    f"{A}}}}}, {B}": [A_CALL, B_CALL],
    f"[{A}}}\n```": [A_CALL],
    "[": [],
    # Commas
    f'[{F}"x": [1, 2,], "y": {{"z": null,}},}},}},]': f(x=[1, 2], y={"z": None}),
    '{"name": "f" "arguments": {"x": 1 "y": "2"\n"z": [] "u": {}"v": 3}}': f(
        x=1, y="2", z=[], u={}, v=3
    ),
    f'{F}"x": ["a" "b"\n{{}} {{}}[]]}}}}': f(x=["a", "b", {}, {}, []]),
    # Spelling
    f"{F}'x': 'it\\'s', \"y\": 'say \"hi\"', 'z': \"it's\"}}}}": f(
        x="it's", y='say "hi"', z="it's"
    ),
    f'{F}"x": "it\\\'s"}}}}': f(x="it's"),
    f"{F}x: True, y_2: [False, None, true, false, null], max-z: 0}}}}": f(
        x=True, y_2=[False, None, True, False, None], **{"max-z": 0}
    ),
    f'{F}"x": "two\nlines\tand a tab"}}}}': f(x="two\nlines\tand a tab"),
    f'{F}"x": "\\u00fc \\ud83c\\udf89 \\/ \\\\n"}}}}': f(x="ü 🎉 / \\n"),
    f'{F}"x": "</tool_call><tool_call>[]}}\'\\""}}}}': f(x="</tool_call><tool_call>[]}'\""),
    f"{F}'x': '</tool_call>\"'}}}}": f(x='</tool_call>"'),
    f'{F}"x": "<|im_end|>"}}}}': f(x="<|im_end|>"),
    f'{F}"": "", "a b": " "}}}}': f(**{"": "", "a b": " "}),
    # Values keep their types
    f'{F}"x": [0, -0, -1, 1.0, -2.50, 1e3, 1E-2, 12345678901234567890]}}}}': f(
        x=[0, 0, -1, 1.0, -2.5, 1000.0, 0.01, 12345678901234567890]
    ),
    f'{F}"x": ["1", "true", "null", "07300", "[1]", "{{}}"]}}}}': f(
        x=["1", "true", "null", "07300", "[1]", "{}"]
    ),
    # Shapes
    '{"name": " f\\n", "parameters": {"x": 1}}': f(x=1),
    '{"id": "call_7", "type": "function", "index": 0, "name": "f", "arguments": {}}': f(),
    f'{{"type": "function", "function": {A}}}': [A_CALL],
    f'[{{"function": {A}, "id": "1"}}, {B}]': [A_CALL, B_CALL],
    '{"name": "f", "arguments": "{\\"x\\": \\"1\\"}"}': f(x="1"),
    '{"name": "f", "arguments": "{\'x\': True}"}': f(x=True),
    '{"name": "f"}': f(),
    '{"name": "f", "arguments": null}': f(),
    '{"name": "f", "arguments": " "}': f(),
}

ERRORS = {
    "malformed_json": [
        "",
        " \n ",
        "no call",
        "I can't do that.",
        "&quot;",
        "// none",
        f"[{A}] as you wish",
        f"{A}; {B}",
        f"[, {A}]",
        f"[}} {A}]",
        f"]{A}",
        f"[{A},, {B}]",
        f'{{"name": "f", "arguments": {{"x": 1}}, {B}]',
        f'{F}"x": [1, 2}}, "y": 3}}}}',
        f'{F}"x": 1}}}}, "y": 2}}',
        f'{F}"x"',
        f'{F}"x":',
        f'{F}"x": }}}}',
        f'{F}"x", "y": 1}}}}',
        f'{F}"x": 1: 2}}}}',
        f'{F}"x" "y": 1}}}}',
        f'{F}"x": 1, "x": 2}}}}',
        f"{F}1: 2}}}}",
        f"{F}None: 2}}}}",
        f"{F}x y: 2}}}}",
        f"{F}{{}}: 2}}}}",
        # A guess at a value
        f'{F}"x": "a "b" c"}}}}',
        f'{F}"x": "a"b: 1}}}}',
        f'{F}"x": "a""b": 1}}}}',
        f'{F}"x": ["a""b"]}}}}',
        f"{F}'x': 'it's'}}}}",
        f'{F}"x": [1 000]}}}}',
        f'{F}"x": [1 234]}}}}',
        *(
            f'{F}"x": {value}}}}}'
            for value in (
                *("NaN", "Infinity", "-Infinity", "1e999", "undefined", "yes", "TRUE", "-true"),
                *("01", "07300", "+1", ".5", "5.", "1_000", "0x10", "1e", "--1", "1-2", "٣"),
                *("9" * 5000, "0." + "9" * 5000, "(1, 2)", "b'x'", "1 2", "get()", "`1`"),
                *(r'"\x41"', r'"\U0001f600"', r'"\q"', r'"C:\Users"', r'"\u12"', r'"\ud83c"'),
                *(r'"\udf89\ud83c"', '"\udc80"', '"\\\n"', '"""x"""', "'a' 'b'", "```{}```"),
            )
        ),
        "[" * 100_000 + "]" * 100_000,
    ],
    "not_a_call": [
        "null",
        '"f"',
        "'f'",
        "4.2",
        "{}",
        "[{}]",
        "[null]",
        '["f"]',
        f"[[{A}]]",
        f"[{A}, 1]",
        f"[{A}]\n[2]",
        '{"arguments": {}}',
        '{"name": " ", "arguments": {}}',
        '{"name": 5, "arguments": {}}',
        '{"name": {}, "arguments": {}}',
        '{"function": "f", "arguments": {}}',
        '{"function": {"arguments": {}}}',
        '{"tool_calls": 1}',
        '{"tool_calls": [{"f": {}}]}',
        '{"f": {"x": 1}}',
        json.dumps(A),
    ],
    "bad_arguments": [
        *(
            f'{{"name": "f", "arguments": {value}}}'
            for value in ("[]", '["Oslo"]', "1", "0", "false", '"Oslo"', '"[1]"', '"null"', '"1"')
        ),
        '{"name": "f", "arguments": "{\\"x\\": \\"O"}',
        '{"name": "f", "arguments": "{\\"x\\": NaN}"}',
        '{"name": "f", "arguments": "{} {}"}',
        '{"name": "f", "arguments": "\\"{}\\""}',
        '{"name": "f", "city": "Oslo"}',
        '{"name": "f", "arguments": {"x": 1}, "y": 2}',
        '{"name": "f", "arguments": {"x": 1}, "y": 2}}',
        '{"name": "f", "arguments": {}, "parameters": {"x": 1}}',
        '{"function": {"name": "f"}, "arguments": {"x": 1}}',
        f'[{A}, {{"name": "f", "arguments": 1}}]',
    ],
}


@pytest.mark.parametrize("block", CALLS)
def test_a_block_with_one_reading_is_read(block: str) -> None:
    expected = CALLS[block]
    for text in (f"<tool_call>{block}</tool_call>", f"Sure!\n<tool_call>{block}</tool_call> \n"):
        assert json.dumps(outcome(read_reply(text))) == json.dumps(expected)


@pytest.mark.parametrize(
    ("block", "kind"),
    [(block, kind) for kind, blocks in ERRORS.items() for block in blocks],
    ids=lambda text: text[:40],
)
def test_a_block_with_no_single_reading_calls_nothing(block: str, kind: str) -> None:
    text = f"<tool_call>{block}</tool_call>"
    assert outcome(read_reply(text)) == kind
    assert outcome(read_reply(f"{text} <tool_call>[{A}]</tool_call>")) == kind
    assert outcome(read_reply(f"<tool_call>[{A}]</tool_call>\n{text}")) == kind


TRUNCATED = [
    "<tool_call>",
    "<tool_call>\n",
    "<tool_call><tool_call>",
    "<tool_call>```json\n",
    f"<tool_call>[{A}",
    f"<tool_call>[{A},",
    f"<tool_call>{A},",
    f"<tool_call>[{A}</tool_ca",
    f"<tool_call>{F}",
    f'<tool_call>{F}"x',
    f'<tool_call>{F}"x":',
    f'<tool_call>{F}"x": 1',
    f'<tool_call>{F}"x": tr',
    f'<tool_call>{F}"x": "a\\',
    f'<tool_call>{F}"x": "\\u00f',
    f"<tool_call>{F}'x': 'Oslo</tool_call>",
    f'<tool_call>{F}"x": 1]',
    f"<tool_call>[{F} <tool_call>[{A}]</tool_call>",
    f"<tool_call>[{A}]</tool_call><tool_call>",
    f"<tool_call>[{A}]</tool_call> and <tool_call>[{B}",
    f"<tool_call>[{A}<|im_end|>",
]


@pytest.mark.parametrize("text", TRUNCATED)
def test_what_was_cut_off_calls_nothing(text: str) -> None:
    assert outcome(read_reply(text)) == "truncated"


@pytest.mark.parametrize("calls", [[("a", {"x": [1, "é"]})], [A_CALL, ("b", {"y": {"z": None}})]])
def test_every_cut_of_a_call_calls_nothing(calls: list[tuple[str, dict[str, Any]]]) -> None:
    text = tool_calls_text({"name": name, "arguments": given} for name, given in calls)
    json_ends = text.index("</tool_call>")
    for length in range(len("<tool_call>")):
        assert read_reply(text[:length]) == Reply(text[:length])
    for length in range(len("<tool_call>"), json_ends):
        assert outcome(read_reply(text[:length])) == "truncated"
    for length in range(json_ends, len(text) + 1):
        assert outcome(read_reply(text[:length])) == calls
        assert read_reply(text[:length]).text == ""


# Prose

PROSE = [
    "",
    " ",
    "\n\n",
    "Hello!",
    "  42\n",
    "Let me check <tool_ca",
    "Let me check <tool_call",
    "I say </tool_call>.",
    "<tool_calls>[]</tool_calls>",
    "< tool_call>",
    f"You could use [{A}] here.",
    f"Like this:\n[{A}]",
    f"```json\n[{A}]\n```\nThis is how.",
    f"Like this:\n```\n<tool_call>[{A}]</tool_call>\n```\nThis is how.",
    f"```\n<tool_call>[{A}]</tool_call>\n```\nThis is how.",
    f"Like this:\n```xml\n<tool_call>[{A}]</tool_call>\n",
    f"````\n```\n<tool_call>[{A}]</tool_call>",
    "A call stands behind `<tool_call>` and before `</tool_call>`.",
    "`<tool_call>` opens a call.",
    "`",
    "``` ```",
    "[]",
    "[1, 2, 3]",
    "{}",
    '{"name": "Ann"}',
    '{"name": "Ann", "arguments": null}',
    '[{"name": "Ann", "age": 5}]',
    f"[{A}, 1]",
    f"[{A}",
    '{"name": "f", "arguments": ["Oslo"]}',
    '{"tool_calls": []}',
    f"[{A}] [1]",
]


@pytest.mark.parametrize("text", PROSE)
def test_an_ordinary_answer_is_left_as_it_is(text: str) -> None:
    assert read_reply(text) == Reply(text)


@pytest.mark.parametrize(
    ("text", "prose", "calls"),
    [
        (f"Sure.\n\n<tool_call>[{A}]</tool_call>", "Sure.", [A_CALL]),
        (f" Sure. <tool_call>[{A}]</tool_call>\nDone. \n", " Sure.\nDone.", [A_CALL]),
        (
            f"One <tool_call>[{A}]</tool_call>, two\n<tool_call>{B}</tool_call>.",
            "One, two.",
            [A_CALL, B_CALL],
        ),
        (f"<tool_call>[{A}] and <tool_call>[{B}]</tool_call>", "and", [A_CALL, B_CALL]),
        (f"<tool_call>[{A}]\nI'll say \"it.", "I'll say \"it.", [A_CALL]),
        (f"<tool_call>[{A}]<tool_call>\n", "", [A_CALL]),
        (f"<tool_call>[{A}]</tool_call><|im_end|>\n", "", [A_CALL]),
        (f"<tool_call>[{A}]<|im_end|><|endoftext|>", "", [A_CALL]),
        (f" [{A}]\n", "", [A_CALL]),
        (f"[{A}]</tool_call>", "", [A_CALL]),
        (f"[{A}]<|im_end|>", "", [A_CALL]),
        (f"{A}\n{B}", "", [A_CALL, B_CALL]),
        ("{'name': 'a', 'arguments': {'x': 1,},}", "", [A_CALL]),
        (f"`{A}`", "", [A_CALL]),
        (f"```\n{A}", "", [A_CALL]),
        (f'{{"tool_calls": [{A}]}}', "", [A_CALL]),
        ('[{"name": "a", "arguments": {"x": "<tool_call>"}}]', "", [("a", {"x": "<tool_call>"})]),
        (f"```xml\n<tool_call>[{A}]</tool_call>\n```\n", "", [A_CALL]),
        (
            f"```py\nprint()\n```\n<tool_call>[{A}]</tool_call>",
            "```py\nprint()\n```",
            [A_CALL],
        ),
        (f"It`s <tool_call>[{A}]</tool_call>", "It`s", [A_CALL]),
        (f"[1]\n<tool_call>[{A}]</tool_call>", "[1]", [A_CALL]),
        ("No tool fits.\n<tool_call>[]</tool_call>", "No tool fits.", []),
        ("Hm <tool_call>[x]</tool_call> so", "Hm so", "malformed_json"),
        ("Hm <tool_call>[", "Hm", "truncated"),
        (
            f'<tool_call>[{A}]</tool_call>\n<tool_response>\n{{"a": "</tool_call>"}}',
            '\n<tool_response>\n{"a": "</tool_call>"}',
            [A_CALL],
        ),
    ],
)
def test_prose_around_calls_is_kept(text: str, prose: str, calls: object) -> None:
    reply = read_reply(text)
    assert outcome(reply) == calls
    assert reply.text == prose


# Streaming


def streamed(pieces: list[str]) -> tuple[list[str], Reply]:
    """What each piece gives, what the end gives, and the reply."""
    stream = ReplyStream()
    return [*map(stream.feed, pieces), stream.finish()], stream.reply()


@pytest.mark.parametrize(
    ("pieces", "given"),
    [
        (["Hello", ", you", "!"], ["Hello", ", you", "!", ""]),
        (["a ", "< b", " <", "t"], ["a", " < b", "", "", " <t"]),
        (["One\n", "\ntwo\n"], ["One", "\n\ntwo", "\n"]),
        (["I ", "see <tool", "s>"], ["I", " see", " <tools>", ""]),
        (
            ["Sure.\n<tool", "_call>[", "]</tool", "_call> So", " be", " it\n"],
            ["Sure.", "", "", " So", " be", " it", ""],
        ),
        (["<tool_call>[]<", "/tool_call>a"], ["", "a", ""]),
        (["<tool_call>[]</tool_call", ">a"], ["", "a", ""]),
        (["<tool_call>[] ", "so be it"], ["", "", "so be it"]),
        (["Use `", "<tool_call>", "` now"], ["Use", " `<tool_call>", "` now", ""]),
        (["Use ``", "`\n<tool_call>", "\n```"], ["Use", " ```\n<tool_call>", "", "\n```"]),
        (["[", "1", ", 2]"], ["", "[1", ", 2]", ""]),
        (["[]", " it is"], ["[]", " it is", ""]),
        (['{"', "na", 'me": "Ann"}'], ["", "", "", '{"name": "Ann"}']),
        (['{"', "na", 'tion": 1}'], ["", "", '{"nation": 1}', ""]),
        (["``", "`py", "\nprint()"], ["", "", "```py\nprint()", ""]),
        ([f"[{A}", "]"], ["", "", ""]),
        ([f"[{A}", "] is how"], ["", "", f"[{A}] is how"]),
    ],
)
def test_prose_comes_as_soon_as_it_cannot_belong_to_a_block(
    pieces: list[str], given: list[str]
) -> None:
    assert streamed(pieces)[0] == given


def test_without_tools_everything_is_prose_at_once() -> None:
    stream = ReplyStream(reads_calls=False)
    pieces = ["[", A, "]\n", "<tool_call>", "[]", "</tool_call>\n"]
    assert [stream.feed(piece) for piece in pieces] == pieces
    assert stream.finish() == ""
    assert stream.reply() == Reply("".join(pieces))


# Any text

fragments = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", "<tool", "_call>", "</", "<", ">", "```", "`", "json"),
        *("[", "]", "{", "}", ",", ":", '"', "'", "\\", '\\"', "\n", " ", "\ud83c", "\\ud83c"),
        *('"name"', '"arguments"', "name", "true", "None", "1", "-1.5e3", "NaN", "it's", "é"),
        *(A, B, f"[{A}]", f"<tool_call>[{B}]</tool_call>", F, "<|im_end|>", "Hi!", "9" * 700),
    ]
)
texts = st.lists(fragments | st.text(max_size=8), max_size=24).map("".join)
cuts = st.lists(st.integers(0, 400), max_size=12)


def cut(text: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(edges)]


@settings(deadline=None)
@given(texts)
def test_reading_never_raises(text: str) -> None:
    outcome(read_reply(text))


@settings(deadline=None)
@given(texts, cuts)
@example("<tool_call></tool_call> so", [24])
def test_what_is_read_does_not_depend_on_the_pieces(text: str, places: list[int]) -> None:
    whole, reply = streamed([text])
    for pieces in (cut(text, places), list(text)):
        given_prose, found = streamed(pieces)
        assert found == reply
        assert "".join(given_prose) == "".join(whole) == reply.text


@settings(deadline=None)
@given(texts, cuts)
def test_a_stream_reads_what_the_complete_text_says(text: str, places: list[int]) -> None:
    text = text.replace("|>", "|")
    assert streamed(cut(text, places))[1] == read_reply(text)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\"'\\ü<"), inner),
    max_leaves=8,
)
names = st.text("abc_", min_size=1)
calls = st.lists(
    st.tuples(names, st.dictionaries(st.text("xyz \"'\\<", min_size=1), json_values, max_size=3)),
    min_size=1,
    max_size=3,
)


def listed(wished: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [{"name": name, "arguments": arguments} for name, arguments in wished]


def same(found: Any, wished: Any) -> bool:
    """Equal, also in type: 1 is neither 1.0 nor True."""
    return repr(found) == repr(wished)


@settings(deadline=None)
@given(calls, st.booleans(), st.sampled_from([None, 0, 2]), texts.map(lambda text: text[:5]))
def test_calls_are_read_as_they_were_written(
    wished: list[tuple[str, dict[str, Any]]], is_ascii: bool, indent: int | None, after: str
) -> None:
    written = json.dumps(listed(wished), ensure_ascii=is_ascii, indent=indent)
    assert same(outcome(read_reply(tool_calls_text(listed(wished)))), wished)
    assert same(outcome(read_reply(f"<tool_call>{written}</tool_call> {after}x")), wished)
    assert same(outcome(read_reply(written)), wished)


@settings(deadline=None)
@given(calls, st.integers(1, 9), st.text("]}", max_size=9))
def test_the_last_brackets_decide_nothing(
    wished: list[tuple[str, dict[str, Any]]], dropped: int, added: str
) -> None:
    written = json.dumps(listed(wished))
    closers = len(written) - len(written.rstrip("]}"))
    shortened = written[: len(written) - min(dropped, closers)]
    for text in (shortened, written + added, shortened + added):
        assert same(outcome(read_reply(f"<tool_call>{text}</tool_call>")), wished)


@settings(deadline=None)
@given(calls)
def test_python_text_is_read_as_meant_or_refused(
    wished: list[tuple[str, dict[str, Any]]],
) -> None:
    found = outcome(read_reply(f"<tool_call>{listed(wished)!r}</tool_call>"))
    assert found == "malformed_json" or same(found, wished)


# Sizes

LARGE = 300_000
FLOODS = {
    "open brackets": "<tool_call>" + "[" * LARGE,
    "open braces": "<tool_call>" + '{"a":' * LARGE,
    "closing brackets": f"<tool_call>{A}" + "}]" * LARGE + "</tool_call>",
    "bracket pairs": "<tool_call>" + "[]" * LARGE + "</tool_call>",
    "bare brackets": "[{" * LARGE,
    "bare call": f"[{A}" + "]" * LARGE,
    "mismatched": "<tool_call>" + "[{" * 40 + "]" * LARGE,
    "opening tags": "<tool_call>" * LARGE,
    "blocks": "<tool_call>[]</tool_call>" * (LARGE // 10),
    "unclosed blocks": "<tool_call>[] x" * (LARGE // 10),
    "broken blocks": "<tool_call>x</tool_call>" * (LARGE // 10),
    "tags in a string": '<tool_call>["' + "</tool_call>" * LARGE,
    "escapes": '<tool_call>["' + "\\n" * LARGE + '"]</tool_call>',
    "unclosed escapes": '<tool_call>["' + "\\n" * LARGE,
    "string arguments": '<tool_call>{"name": "f", "arguments": "' + "[{" * LARGE + '"}',
    "commas": "<tool_call>[" + "," * LARGE,
    "digits": f'<tool_call>{F}"x": ' + "9" * LARGE + "}}</tool_call>",
    "ticks": "`" * LARGE,
    "ticked tags": "`` `<tool_call>" * (LARGE // 10),
    "blanks": " " * LARGE + "x" + "\n" * LARGE,
    "angles": "<" * LARGE,
    "ends of turns": "<|im_end|>" * LARGE + "x",
}


@pytest.mark.parametrize("text", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_takes_linear_time(text: str) -> None:
    started = time.perf_counter()
    outcome(read_reply(text))
    assert time.perf_counter() - started < 20


def test_a_long_reply_streams_without_being_read_again_at_every_piece() -> None:
    started = time.perf_counter()
    pieces = ['<tool_call>[{"name": "f", "arguments": {"x": ["', *["word "] * 20_000, '"]}}]']
    outcome(streamed([*pieces, "</tool_call>"])[1])
    streamed(["[{", '"name": "', *["word "] * 20_000])
    streamed(["word "] * 20_000)
    assert time.perf_counter() - started < 20


def test_depth_has_a_bound_within_which_calls_are_read() -> None:
    nested: list[Any] = []
    for _ in range(90):
        nested = [nested]
    block = json.dumps({"name": "f", "arguments": {"x": nested}})
    assert outcome(read_reply(f"<tool_call>{block}</tool_call>")) == f(x=nested)
    deeper = block.replace("[]", "[" * 20 + "]" * 20)
    assert outcome(read_reply(f"<tool_call>{deeper}</tool_call>")) == "malformed_json"


# Tokens

TOKENIZERS = {
    "byte": byte_tokenizer,
    "embedded": lambda: Tokenizer.from_file(str(EMBEDDED / "tokenizer.json")),
    "real": lambda: Tokenizer.from_file(
        str(SHARED / "smollm2" / "SmolLM2-1.7B-Instruct" / "tokenizer.json")
    ),
}


def tokenizer_of(name: str) -> Tokenizer:
    if name == "real" and not SHARED.exists():
        pytest.skip("the real files are not here")
    tokenizer: Tokenizer = TOKENIZERS[name]()
    tokenizer.encode_special_tokens = True
    return tokenizer


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_reader_reads_calls_from_tokens(name: str) -> None:
    tokenizer = tokenizer_of(name)
    for text in (
        f"Süre! 🎉\n<tool_call>[{A}, {B}]</tool_call>\nDone.",
        f"[{A}]",
        "Let me check <tool_ca",
        "A plain ansẅer 👩‍👩‍👧",
    ):
        reader = ReplyReader(tokenizer, reads_calls=True)
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        given_prose = "".join(map(reader.feed, ids)) + reader.finish()
        assert reader.reply() == read_reply(text)
        assert given_prose == reader.reply().text


def test_a_reader_gives_everything_as_prose_unless_it_reads_calls() -> None:
    tokenizer = byte_tokenizer()
    text = f"Hm\n<tool_call>[{A}]</tool_call>\n"
    reader = ReplyReader(tokenizer)
    assert "".join(map(reader.feed, tokenizer.encode(text).ids)) == text
    assert reader.finish() == ""
    assert reader.reply() == Reply(text)


def test_control_tokens_are_no_part_of_the_reply() -> None:
    tokenizer = byte_tokenizer()
    reader = ReplyReader(tokenizer, reads_calls=True)
    ids = tokenizer.encode(f"<tool_call>[{A}]", add_special_tokens=False).ids
    end = tokenizer.token_to_id("<|im_end|>")
    assert [reader.feed(token_id) for token_id in (*ids, end)] == [""] * (len(ids) + 1)
    assert reader.finish() == ""
    assert outcome(reader.reply()) == [A_CALL]
