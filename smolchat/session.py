"""A conversation with a model, one turn at a time, told as events.

Knows no screen, no store and no particular engine; everything it says travels as an `Event`.
"""

from __future__ import annotations

from collections.abc import Iterator

from smolchat.chatml import ChatFormat
from smolchat.errors import UsageError
from smolchat.generation import Generation, GenerationRequest, Sampling, TokenGenerator
from smolchat.messages import Event, Message, MessageAdded, Notice, TextDelta, TurnFinished


class ChatSession:
    """Keeps a transcript and answers it.

    Every turn ends with `MessageAdded` and `TurnFinished`, also when it was cancelled; a partial
    reply stays in the transcript.
    """

    def __init__(
        self,
        generator: TokenGenerator,
        chat_format: ChatFormat,
        stop_ids: frozenset[int],
        *,
        system: str | None = None,
        sampling: Sampling | None = None,
        max_new_tokens: int = 1024,
    ) -> None:
        self.generator = generator
        self.chat_format = chat_format
        self.stop_ids = stop_ids
        self.sampling = sampling or Sampling()
        self.max_new_tokens = max_new_tokens
        self.transcript: list[Message] = []
        self.system = system
        self._generation: Generation | None = None

    def send(self, text: str) -> Iterator[Event]:
        """Adds the user's text and answers it.

        Raises ContextOverflow, and leaves the transcript as it was, when the text does not fit.
        """
        message = Message("user", text)
        generation = self._start([*self.transcript, message])
        self.transcript.append(message)
        yield MessageAdded(message)
        yield from self._reply(generation)

    def answer(self) -> Iterator[Event]:
        """Answers the transcript as it stands. Raises ContextOverflow when it does not fit."""
        yield from self._reply(self._start(self.transcript))

    def regenerate(self) -> Iterator[Event]:
        """Answers the last message again, dropping its reply if it has one.

        Raises UsageError without a message, and ContextOverflow, keeping the reply, when the
        transcript no longer fits.
        """
        has_reply = bool(self.transcript) and self.transcript[-1].role == "assistant"
        asked = self.transcript[:-1] if has_reply else list(self.transcript)
        if not asked or asked[-1].role == "system":
            raise UsageError("there is no reply to generate again", "Send a message first.")
        generation = self._start(asked)
        del self.transcript[len(asked) :]
        yield from self._reply(generation)

    def undo(self) -> str | None:
        """Removes the last turn and returns what the user had said; None if there is none."""
        starts = [i for i, message in enumerate(self.transcript) if message.role == "user"]
        if not starts:
            return None
        text = self.transcript[starts[-1]].content
        del self.transcript[starts[-1] :]
        return text

    def cancel(self) -> None:
        """Ends the turn under way soon; safe to call from a signal handler."""
        if self._generation is not None:
            self._generation.cancel()

    def with_system(self, transcript: list[Message]) -> list[Message]:
        """`transcript` behind the session's system prompt, unless it begins with its own."""
        starts_with_system = bool(transcript) and transcript[0].role == "system"
        if self.system is None or starts_with_system:
            return transcript
        return [Message("system", self.system), *transcript]

    def _start(self, transcript: list[Message]) -> Generation:
        request = GenerationRequest(
            self.chat_format.prompt_ids(self.with_system(transcript)),
            self.max_new_tokens,
            self.stop_ids,
            self.sampling,
        )
        self._generation = self.generator.generate(request)
        return self._generation

    def _reply(self, generation: Generation) -> Iterator[Event]:
        reader = self.chat_format.reader()
        token_ids: list[int] = []
        text = ""
        for token_id in generation:
            token_ids.append(token_id)
            if delta := reader.feed(token_id):
                text += delta
                yield TextDelta(delta)
        reply = Message("assistant", text, token_ids=tuple(token_ids))
        self.transcript.append(reply)
        yield MessageAdded(reply)
        if generation.finish_reason == "length":
            yield Notice(self._why_cut(generation))
        stats = generation.stats
        yield TurnFinished(
            generation.finish_reason,
            stats,
            stats.prompt_tokens + stats.new_tokens,
            self.generator.context_tokens,
        )

    def _why_cut(self, generation: Generation) -> str:
        if generation.stats.new_tokens >= self.max_new_tokens:
            return f"the reply was cut at max_new_tokens = {self.max_new_tokens}"
        return f"the reply was cut: the context of {self.generator.context_tokens} tokens is full"
