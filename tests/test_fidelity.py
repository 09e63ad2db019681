"""What counts as kept, lost and invented, as tables."""

from __future__ import annotations

import pytest

from smolchat.fidelity import facts, invented, missing, names


def told(text: str) -> list[tuple[str, str]]:
    return [(fact.kind, fact.text) for fact in facts(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Nothing here.", []),
        ("Pay $1,250.50 for 3 items, 15% off.", ["1,250.50", "3", "15"]),
        ("It was -5 degrees on pages 3-4.", ["-5", "3", "4"]),
        ("Send ABC-123 to v3.10.2.", ["123", "3.10.2"]),
        ("On March 3rd, 2025 at 10:30 am.", ["March 3rd, 2025", "10:30 am."]),
        ("Due 2025-03-03, or 3 Apr.", ["2025-03-03", "3 Apr."]),
        ("We may 3 times; Mark 12 came.", ["3", "12"]),
        ("In March 2025", ["2025"]),
        ("See https://a.org/x?y=1. Mail bob@b.co.uk!", ["https://a.org/x?y=1", "bob@b.co.uk"]),
        ("Run `make test 2`, then 2.", ["`make test 2`", "2"]),
        ("Use\n```\nx = 1\n```\nnow", ["```\nx = 1\n```"]),
        ("At 3pm, at 3 p.m. and at 15:00", ["3pm"]),
        ("5 and 5 make 10", ["5", "10"]),
    ],
)
def test_facts_are_found_once_and_whole(text: str, found: list[str]) -> None:
    assert [fact.text for fact in facts(text)] == found


def test_facts_have_kinds() -> None:
    text = "`x` http://a.b c@d.ef May 1 10:30 7"
    assert [kind for kind, _ in told(text)] == ["code", "URL", "e-mail", "date", "time", "number"]


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("1,000 units", "a total of 1000 units"),
        ("3 people", "three people"),
        ("20 of us", "Twenty of us"),
        ("March 3, 2025", "2025-03-03"),
        ("3rd of March 2025", "Mar 3, 2025"),
        ("May 3", "May 3, 2026"),
        ("10:30", "10:30 AM"),
        ("3pm", "3:00 p.m."),
        ("march 3", "March 3"),
        ("HTTPS://A.org", "see https://a.org."),
        ("run `ls -l`", "Please run ls -l."),
        ("Anna@b.org", "anna@b.org"),
        ("see [here](https://a.org/b)", "see https://a.org/b)"),
    ],
)
def test_another_spelling_is_no_loss(source: str, result: str) -> None:
    assert missing(source, result) == []


@pytest.mark.parametrize(
    ("source", "result", "lost"),
    [
        ("Pay 1,250 by May 3.", "Please pay soon.", ["1,250", "May 3"]),
        ("Pay 1,250", "Pay 125", ["1,250"]),
        ("2025-03-03", "March 3", ["2025-03-03"]),
        ("Version 3.10", "Version 3.1", ["3.10"]),
        ("https://a.org/b", "https://a.org", ["https://a.org/b"]),
        ("bob@b.org", "bob", ["bob@b.org"]),
        ("`rm -rf x`", "remove x", ["`rm -rf x`"]),
        ("at 10:30", "at 10:45", ["10:30"]),
        ("-5 degrees", "5 degrees", ["-5"]),
    ],
)
def test_a_loss_is_named(source: str, result: str, lost: list[str]) -> None:
    assert [fact.text for fact in missing(source, result)] == lost


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The mayor of Springfield met John Smith.", ["Springfield", "John Smith"]),
        ("Following this, Bob left. Everyone clapped.", ["Bob"]),
        ("John Smith left.", ["John Smith"]),
        ("NASA paid.", ["NASA"]),
        ("Yes: I'm here, and I’ll stay on Monday's train.", ["Monday"]),
        ("They met Anna, Bob and O'Brien.", ["Anna", "Bob", "O'Brien"]),
        ("", []),
    ],
)
def test_names_are_found(text: str, found: list[str]) -> None:
    assert names(text) == found


@pytest.mark.parametrize(
    ("source", "result", "strange"),
    [
        ("Anna's 3 dogs ran.", "Three dogs of Anna ran.", []),
        ("a German plan", "The plan of the Germans.", []),
        ("Anna ran.", "In 2019 Anna and Bob ran to Paris.", ["2019", "Bob", "Paris"]),
        ("It costs twelve euros.", "It costs 12 euros, or 13.", ["13"]),
        ("It is due in May.", "It is due on May 3.", ["May 3"]),
        ("anna smith ran", "Anna Smith ran", []),
    ],
)
def test_inventions_are_named(source: str, result: str, strange: list[str]) -> None:
    assert invented(source, result) == strange
