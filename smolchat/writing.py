"""Rewrites and summaries of texts of any length, told as the events of one turn.

A text that the context cannot hold is worked through in parts. A rewrite that loses a number, a
date, an address or code is tried again before it is told: a part in which something could be lost
is therefore held back until it is checked, all else streams. Knows a session, but no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

from smolchat.chatml import ChatFormat
from smolchat.documents import Coverage, Part, split
from smolchat.errors import ContextOverflow
from smolchat.fidelity import Fact, facts, invented, missing
from smolchat.generation import FinishReason, GenerationStats, Sampling
from smolchat.messages import Event, Message, MessageAdded, Notice, TextDelta, TurnFinished
from smolchat.session import REPLY_SHARE, ChatSession, with_system

Progress = Callable[[int, int], None]
"""Told how many steps are done and how many there are; not for a text of one part."""

LEAST_PART = 128
"""Parts are not made smaller than this, in tokens, because replies are to be short."""

MARGIN = 8
"""Tokens kept free because a text in its frame may be cut into a few more tokens than alone."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The words around a text, and how much of one they leave room for."""

    chat_format: ChatFormat
    context_tokens: int
    max_new_tokens: int
    system: str | None = None
    user_text: Callable[[str], str] = str
    """Puts a text into the words by which the model is asked."""

    def transcript(self, text: str) -> list[Message]:
        """What is sent for a text, or a part of one."""
        return with_system([Message("user", self.user_text(text))], self.system, None)

    def rewritable(self, text: str) -> list[Part]:
        """Parts whose rewrites, which are about as long, find room and are not cut.

        Raises ContextOverflow when the frame leaves no room for a text.
        """
        limit = min(self._room() * 4 // 9, max(LEAST_PART, self.max_new_tokens * 4 // 5))
        return self._parts(text, limit)

    def summarizable(self, text: str) -> list[Part]:
        """Parts as long as the context allows. Raises ContextOverflow as `rewritable` does."""
        return self._parts(text, self.summary_limit())

    def summary_limit(self) -> int:
        """The tokens that a text to be summarized may have."""
        return self._room() - min(self.max_new_tokens, self.context_tokens // REPLY_SHARE)

    def _parts(self, text: str, limit: int) -> list[Part]:
        count = self.chat_format.count_tokens
        parts = split(text, limit, count)
        if len(parts) > 1:
            return [replace(part, tokens=count(part.text)) for part in parts]
        return [Part(text, "", count(text))]

    def _room(self) -> int:
        """The tokens for a text and its reply together."""
        own = len(self.chat_format.prompt_ids(self.transcript("")))
        room = self.context_tokens - own - MARGIN
        if room < LEAST_PART // 2:
            raise ContextOverflow(
                f"the prompts of the profile take {own} tokens, and the context of this "
                f"checkpoint holds {self.context_tokens}",
                "Shorten the system prompt, or choose a checkpoint with a longer context.",
            )
        return room


@dataclass(frozen=True, slots=True)
class _Reply:
    text: str
    reason: FinishReason
    notices: tuple[Notice, ...] = ()
    lost: tuple[Fact, ...] = ()

    @property
    def is_whole(self) -> bool:
        return self.reason == "stop" and bool(self.text.strip())


class Writer:
    """Works on one text: iterate `rewrite` or `summarize` once, then read what came of it."""

    def __init__(
        self,
        session: ChatSession,
        user_text: Callable[[str], str] = str,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """`user_text` puts a text into the words by which the model is asked."""
        self.frame = Frame(
            session.chat_format,
            session.generator.context_tokens,
            session.max_new_tokens,
            session.system,
            user_text,
        )
        self.coverage = Coverage()
        self.missing: list[str] = []
        """What of the source a rewrite lost, as it is written there."""
        self.invented: list[str] = []
        """Numbers, names and the like of a summary that its source does not have."""
        self._session = session
        self._progress = progress
        self._count = session.chat_format.count_tokens
        self._sampling = session.sampling
        self._notices: list[Notice] = []
        """Told when the result is: nothing stands in the middle of its lines."""
        self._stats = GenerationStats()
        self._used_tokens = 0
        self._is_cancelled = False

    def cancel(self) -> None:
        """Ends the work soon; what is done of it is kept. Safe to call from a signal handler."""
        self._is_cancelled = True
        self._session.cancel()

    def rewrite(self, text: str) -> Iterator[Event]:
        """The parts of `text` rewritten one by one, with the blanks between them as they were.

        A part that cannot be rewritten stands as it was and counts as skipped, and so does one
        whose reply was cut. Raises ContextOverflow when the frame leaves no room for a text.
        """
        parts = self._covered(self.frame.rewritable(text))
        told, gap = "", ""
        reason: FinishReason = "stop"
        for number, part in enumerate(parts):
            self._report(number, len(parts))
            if gap:
                yield TextDelta(gap)
            name = f"part {number + 1} of {len(parts)}" if len(parts) > 1 else "the text"
            reply = yield from self._rewritten(part, name)
            told, reason, gap = told + gap + reply.text, reply.reason, part.gap
            if self._is_cancelled:
                break
        yield from self._finish(told, "cancelled" if self._is_cancelled else reason)

    def summarize(self, text: str) -> Iterator[Event]:
        """A summary of `text`, where need be of the summaries of its parts.

        When cancelled, what is told are the summaries of the parts that were read. Raises
        ContextOverflow as `rewrite` does.
        """
        limit = self.frame.summary_limit()
        parts = self._covered(self.frame.summarizable(text))
        is_long = len(parts) > 1
        if is_long:
            summaries = yield from self._read(parts, limit)
            combined = yield from self._reduced(summaries, limit)
        else:
            combined = parts[0].text if parts else text
        if self._is_cancelled or (is_long and self._count(combined) > limit):
            yield TextDelta(combined)
            reply = _Reply(combined, "cancelled" if self._is_cancelled else "stop")
        else:
            reply = yield from self._reply(combined, streams=True)
            self._notices += reply.notices
            if not is_long and reply.text.strip() and not self._is_cancelled:
                self._cover(parts[0])
        self.invented = invented(text, reply.text)
        if self.invented:
            self._notices.append(Notice(f"not in the source: {', '.join(self.invented)}"))
        yield from self._finish(reply.text, "cancelled" if self._is_cancelled else reply.reason)

    def _covered(self, parts: list[Part]) -> list[Part]:
        total = sum(part.tokens for part in parts)
        self.coverage = Coverage(len(parts), 0, total, total)
        return parts

    def _cover(self, part: Part) -> None:
        self.coverage.parts_done += 1
        self.coverage.skipped_tokens -= part.tokens

    def _report(self, done: int, total: int) -> None:
        if total > 1:
            self._progress(done, total)

    def _rewritten(self, part: Part, name: str) -> Generator[Event, None, _Reply]:
        is_checked = bool(facts(part.text))
        reply = yield from self._reply(part.text, streams=not is_checked)
        if is_checked and not self._is_cancelled:
            reply = yield from self._kept_better(part, reply)
        where = f"{name}: " if self.coverage.parts > 1 else ""
        self._notices += [Notice(where + notice.text) for notice in reply.notices]
        if not reply.text.strip() and not self._is_cancelled:
            self._notices.append(Notice(f"{name} could not be rewritten and stands as it was"))
            yield TextDelta(part.text)
            return replace(reply, text=("" if is_checked else reply.text) + part.text)
        if is_checked:
            yield TextDelta(reply.text)
        if reply.is_whole:
            self._cover(part)
        lost = [str(fact) for fact in reply.lost]
        if lost:
            self.missing += lost
            self._notices.append(Notice(f"{where}missing from the rewrite: {', '.join(lost)}"))
        return reply

    def _kept_better(self, part: Part, first: _Reply) -> Generator[Event, None, _Reply]:
        """Of up to three replies the one that loses least, the earliest of several."""
        best = replace(first, lost=tuple(missing(part.text, first.text)))
        for sampling in _other_sampling(self._sampling):
            if not best.lost or self._is_cancelled:
                break
            reply = yield from self._reply(part.text, streams=False, sampling=sampling)
            reply = replace(reply, lost=tuple(missing(part.text, reply.text)))
            if reply.is_whole and (len(reply.lost) < len(best.lost) or not best.is_whole):
                best = reply
        return best

    def _read(self, parts: list[Part], limit: int) -> Generator[Event, None, list[str]]:
        """A summary of every part that gives one; the others are told of."""
        summaries = []
        for number, part in enumerate(parts):
            self._report(number, len(parts) + 1)
            reply = yield from self._short_reply(part, limit)
            if self._is_cancelled:
                yield Notice(
                    f"stopped after {number} of {len(parts)} parts; these are summaries of"
                    " the parts so far"
                )
                break
            if not reply.text.strip():
                yield Notice(f"part {number + 1} of {len(parts)} gave no summary and is left out")
                continue
            summaries.append(reply.text.strip())
            self._cover(part)
        return summaries

    def _reduced(self, summaries: list[str], limit: int) -> Generator[Event, None, str]:
        """The summaries as one text, summarized by groups until it fits the context."""
        text = "\n\n".join(summaries)
        tokens = self._count(text)
        while tokens > limit and not self._is_cancelled:
            parts = split(text, limit, self._count)
            shorter = []
            for number, part in enumerate(parts):
                self._report(number, len(parts) + 1)
                reply = yield from self._short_reply(part, limit)
                if self._is_cancelled:
                    return text
                shorter.append(reply.text.strip() or part.text)
            text = "\n\n".join(shorter)
            before, tokens = tokens, self._count(text)
            if tokens > before * 9 // 10:
                yield Notice("the summaries of the parts do not get shorter; here are all of them")
                break
        return text

    def _short_reply(self, part: Part, limit: int) -> Generator[Event, None, _Reply]:
        """A reply of at most a quarter of what a part may have, so that each level is shorter."""
        reply = yield from self._reply(part.text, streams=False, most_tokens=limit // 4)
        for sampling in _other_sampling(self._sampling):
            if reply.text.strip() or self._is_cancelled:
                break
            reply = yield from self._reply(part.text, False, sampling, limit // 4)
        return reply

    def _reply(
        self,
        text: str,
        streams: bool,
        sampling: Sampling | None = None,
        most_tokens: int | None = None,
    ) -> Generator[Event, None, _Reply]:
        """Asks the model once. Only what streams is told as it comes."""
        session, limit = self._session, self._session.max_new_tokens
        session.transcript = self.frame.transcript(text)
        session.sampling = sampling or self._sampling
        session.max_new_tokens = min(limit, most_tokens or limit)
        said = ""
        reason: FinishReason = "cancelled"
        notices: list[Notice] = []
        try:
            for event in session.answer():
                if self._is_cancelled:
                    session.cancel()  # again: a new turn had begun since
                if isinstance(event, TextDelta):
                    said += event.text
                elif isinstance(event, TurnFinished):
                    reason = event.reason
                    self._stats += event.stats
                    self._used_tokens = event.used_tokens
                elif isinstance(event, Notice):
                    notices.append(event)
                if streams and isinstance(event, TextDelta):
                    yield event
        finally:
            session.sampling, session.max_new_tokens = self._sampling, limit
        return _Reply(said, reason, tuple(notices))

    def _finish(self, text: str, reason: FinishReason) -> Iterator[Event]:
        yield MessageAdded(Message("assistant", text))
        yield from self._notices
        yield TurnFinished(reason, self._stats, self._used_tokens, self.frame.context_tokens)


def _other_sampling(first: Sampling) -> list[Sampling]:
    """What is tried after `first`: another seed, then greedy, which has but one result."""
    if first.temperature == 0:
        return []
    seed = None if first.seed is None else first.seed + 1
    return [replace(first, seed=seed), replace(first, temperature=0)]
