"""Word by word differences."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolchat.difference import changes, marked


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("same text", "same text", "same text"),
        ("", "new", "{+new+}"),
        ("old", "", "[-old-]"),
        ("Fix it now!", "Please fix it!", "[-Fix-]{+Please fix+} it[- now-]!"),
        ("where is my mail", "where can I find my mail", "where [-is-]{+can I find+} my mail"),
        ("one two three", "four five three", "[-one two-]{+four five+} three"),
        ("don't go", "don't stop", "don't [-go-]{+stop+}"),
        ("a\n\nb", "a\n\nc", "a\n\n[-b-]{+c+}"),
    ],
)
def test_changes_are_marked(before: str, after: str, shown: str) -> None:
    assert marked(changes(before, after)) == shown


texts = st.text(st.sampled_from("ab' .\n"), max_size=30)


@settings(max_examples=200, deadline=None)
@given(texts, texts)
def test_both_texts_can_be_read_from_the_changes(before: str, after: str) -> None:
    found = changes(before, after)
    assert "".join(each.text for each in found if each.kind != "added") == before
    assert "".join(each.text for each in found if each.kind != "removed") == after
    assert all(each.text for each in found)
