"""Writes turns into a store until it is stopped, and tells of every event once it is kept.

    store_writer.py FILE NAME TURNS

A turn has ten events; a line `NUMBER EVENT` follows each. Turns go on in the latest conversation
called NAME, where an earlier writer left off.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from smolchat.generation import GenerationStats, Sampling
from smolchat.messages import Event, Message, MessageAdded, TextDelta, TurnFinished
from smolchat.store import Recorder, Store, TurnSettings

SETTINGS = TurnSettings("tiny", "chat", None, Sampling(seed=1), 100)
WORDS = [f"word{number} " for number in range(7)]


def events_of(number: int) -> list[Event]:
    reply = "".join([f"{number}: ", *WORDS])
    return [
        MessageAdded(Message("user", f"question {number}")),
        *(TextDelta(text) for text in [f"{number}: ", *WORDS[:-1]]),
        TextDelta(WORDS[-1]),
        MessageAdded(Message("assistant", reply, token_ids=(number, 7))),
        TurnFinished("stop", GenerationStats(new_tokens=8), number, 2048),
    ][: 2 + len(WORDS) + 2]


def main() -> None:
    path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    recorder = Recorder(path, "chat")
    store = Store(path)
    known = [heading.id for heading in store.headings() if heading.title == name]
    first = 0
    if known:
        conversation = store.read(known[0])
        recorder.resume(conversation)
        first = conversation.heading.turn_count
    store.close()
    for number in range(first, first + count):
        recorder.begin(SETTINGS, name)
        for index, event in enumerate(events_of(number)):
            recorder.record(event)
            if problem := recorder.take_problem():
                sys.exit(problem)
            os.write(1, f"{number} {index}\n".encode())


if __name__ == "__main__":
    main()
