"""The random number, the text statistics and the JSON query."""

from __future__ import annotations

import pytest

from smolchat.toolbox import load_tools


def test_a_random_number_lies_in_its_range(tools):
    drawn = {tools["random_number"](1, 3) for _ in range(200)}
    assert drawn == {1, 2, 3}
    assert 1 <= tools["random_number"]() <= 100


def test_a_range_turned_round_is_refused(tools):
    with pytest.raises(ValueError, match="5 is above the largest 2"):
        tools["random_number"](5, 2)


@pytest.mark.parametrize(
    ("text", "statistics"),
    [
        ("The quick brown fox.", "4 words, 20 characters, 1 sentence"),
        ("One. Two! Three?", "3 words, 16 characters, 3 sentences"),
        ("It's 3.5 km... I think", "5 words, 22 characters, 2 sentences"),
        ("no end", "2 words, 6 characters, 1 sentence"),
        ("", "0 words, 0 characters, 0 sentences"),
    ],
)
def test_texts_are_counted(tools, text, statistics):
    assert tools["text_statistics"](text) == statistics


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("users.0.name", "Ada"),
        ("users[0].name", "Ada"),
        ("$.total", "2.5"),
        ("users.0", '{"name": "Ada", "ok": true}'),
        ("", '{"users": [{"name": "Ada", "ok": true}], "total": 2.5}'),
    ],
)
def test_json_values_are_found_by_their_path(tools, path, value):
    text = '{"users": [{"name": "Ada", "ok": true}], "total": 2.5}'
    assert tools["json_query"](text, path) == value


@pytest.mark.parametrize(
    ("text", "path", "complaint"),
    [
        ("{", "a", "not JSON"),
        ("[" * 100_000, "a", "not JSON"),
        ('{"a": 1}', "b", "no key 'b' in the top; its keys are a"),
        ("[1]", "1", "no item '1' in the top, a list of 1"),
        ('{"a": 1}', "a.b", "a is a plain value"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(tools, text, path, complaint):
    with pytest.raises(ValueError, match=complaint):
        tools["json_query"](text, path)


def test_all_shipped_tools_load_with_their_effects():
    effects = {tool.name: tool.effect for tool in load_tools("tools")}
    assert {name for name, effect in effects.items() if effect == "read"} == {
        "list_files",
        "read_file",
    }
    assert set(effects.values()) == {"pure", "read"}
    assert len(effects) == 11
