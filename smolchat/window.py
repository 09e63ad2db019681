"""Which turns of a transcript are sent when the context cannot hold them all.

The transcript itself stays whole. A turn is a user's message with everything up to the next one;
the system message is no part of any turn. Knows no model and counts no tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from smolchat.messages import Message

SUMMARY_QUESTION = "What have we talked about so far?"
"""What the summary of the turns that are no longer sent seems to answer."""


class Window:
    """The newest turns of a transcript, and a summary that stands for the others."""

    def __init__(self) -> None:
        self.summary = ""
        self._first: Message | None = None
        """The user's message that opens the window; None sends everything.

        It is known by identity: a transcript without this very message is another one.
        """

    def hidden_turns(self, transcript: Sequence[Message]) -> list[list[Message]]:
        """The turns that are not sent."""
        before = turns(transcript)
        return before[: self._start(before)]

    def sent_turns(self, transcript: Sequence[Message]) -> list[list[Message]]:
        """The turns that are."""
        kept = turns(transcript)
        return kept[self._start(kept) :]

    def view(self, transcript: Sequence[Message]) -> list[Message]:
        """What is sent: the system message, the summary as a turn of its own, the newest turns."""
        summary = self.summary if self.hidden_turns(transcript) else ""
        return assembled(transcript, self.sent_turns(transcript), summary)

    def open_at(self, turn: Sequence[Message], summary: str = "") -> None:
        """From now on `turn` is the oldest one sent."""
        self._first, self.summary = turn[0], summary

    def _start(self, among: list[list[Message]]) -> int:
        starts = (number for number, turn in enumerate(among) if turn[0] is self._first)
        return next(starts, 0)


def turns(transcript: Sequence[Message]) -> list[list[Message]]:
    """The turns of a transcript, without its system message."""
    found: list[list[Message]] = []
    for message in transcript[len(_leading(transcript)) :]:
        if message.role == "user" or not found:
            found.append([])
        found[-1].append(message)
    return found


def assembled(
    transcript: Sequence[Message], kept: Sequence[Sequence[Message]], summary: str
) -> list[Message]:
    """The system message of `transcript`, `summary` as a turn if there is one, `kept`."""
    told = [Message("user", SUMMARY_QUESTION), Message("assistant", summary)] if summary else []
    return [*_leading(transcript), *told, *(message for turn in kept for message in turn)]


def told_by(hidden: Sequence[Sequence[Message]]) -> str:
    """What was said in some turns, as a text to be summarized."""
    speakers = {"user": "User", "assistant": "Assistant", "tool": "Tool"}
    return "\n\n".join(
        f"{speakers[message.role]}: {message.content}"
        for turn in hidden
        for message in turn
        if message.content.strip() and message.role in speakers
    )


def described(hidden: Sequence[Sequence[Message]], first_number: int) -> str:
    """Which turns these are: their numbers, and how the first and the last begin."""
    numbers = f"{first_number}", f"{first_number + len(hidden) - 1}"
    begins = [f"“{_beginning(turn[0].content)}”" for turn in (hidden[0], hidden[-1])]
    if len(hidden) == 1:
        return f"turn {numbers[0]} ({begins[0]})"
    return f"turns {numbers[0]} to {numbers[1]} ({begins[0]} to {begins[1]})"


def _beginning(text: str, length: int = 40) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _leading(transcript: Sequence[Message]) -> Sequence[Message]:
    has_system = bool(transcript) and transcript[0].role == "system"
    return transcript[:1] if has_system else []
