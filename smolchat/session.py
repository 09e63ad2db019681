"""A conversation with a model, one turn at a time, told as events.

Knows no screen, no store and no particular engine; everything it says travels as an `Event`.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from smolchat.chatml import (
    REFUSALS,
    ChatFormat,
    ReplyReader,
    plain_answer_text,
    tool_response_text,
    tool_system_prompt,
)
from smolchat.documents import split
from smolchat.errors import ContextOverflow, UsageError
from smolchat.generation import (
    Generation,
    GenerationRequest,
    GenerationStats,
    Sampling,
    TokenGenerator,
)
from smolchat.grammar_text import tool_grammar
from smolchat.messages import (
    Event,
    Message,
    MessageAdded,
    Notice,
    TextDelta,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
    TurnFinished,
)
from smolchat.reply import Reply
from smolchat.toolbox import Toolbox, changes
from smolchat.window import Window, assembled, described, told_by, turns

MAX_CALLS = 8
"""Calls of one message that are run."""

CALL_TOKENS = 512
"""A reply that may call tools is no longer; the card's own limit for function calling."""

REPEATED = "\n(This is the earlier result of the same call. Answer the question with it.)"

EDITED = "\n(The user changed the arguments to {arguments}.)"

RESULT_SHARE = 4
"""The results of a round take at most this part of the context: one in four tokens."""

OnOverflow = Literal["refuse", "trim", "summarize"]
"""What happens to a conversation that outgrows the context: an error, or its oldest turns are no
longer sent, or a summary of them is sent in their place."""

REPLY_SHARE = 4
"""Room that is kept for a reply: one in so many tokens of the context, if it may be as long."""

SUMMARY_SHARE = 8
"""A summary of the conversation takes at most one in so many tokens of the context."""

SUMMARY_FRAME = 64
"""Tokens for the words around a summary."""

SUMMARY_PROMPT = (
    "Summarize the conversation below in a few sentences. Keep names, numbers, facts and "
    "decisions, and say who said what. Do not add anything."
)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Which tools a session offers, and how."""

    toolbox: Toolbox
    choice: str = "auto"
    """`auto`, `required`, or the name of the one tool to call."""
    max_rounds: int = 3
    is_constrained: bool = True
    """A grammar makes every call valid; without it the model writes what it likes."""
    runs_calls: bool = True
    """Otherwise a turn ends with the calls that the model wishes."""


@dataclass(slots=True)
class _Turn:
    """What has come of the turn under way."""

    question: str
    stats: GenerationStats = field(default_factory=GenerationStats)
    results: list[tuple[str, str]] = field(default_factory=list)
    """(function name, content) of every result."""
    earlier: dict[str, ToolResult] = field(default_factory=dict)
    """Results by name and arguments of their calls."""
    has_prose: bool = False
    """Something was shown in an earlier round; what follows stands apart."""
    has_erred: bool = False
    """The model has been told of an invalid call; it is told once."""


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
        tool_use: ToolUse | None = None,
        grammar: str | None = None,
        on_overflow: OnOverflow = "refuse",
    ) -> None:
        """`grammar` is what an answer without tools must follow."""
        self.generator = generator
        self.chat_format = chat_format
        self.stop_ids = stop_ids
        self.sampling = sampling or Sampling()
        self.max_new_tokens = max_new_tokens
        self.transcript: list[Message] = []
        self.system = system
        self.keeps_prefix = True
        """The system prompt's keys and values may be left on disk for other processes."""
        self.tool_use = tool_use
        self.grammar = grammar
        self.on_overflow = on_overflow
        self.window = Window()
        self._folding = GenerationStats()
        """What the summaries of this turn have cost."""
        self._generation: Generation | None = None
        self._is_cancelled = False

    def send(self, text: str) -> Iterator[Event]:
        """Adds the user's text and answers it.

        A transcript that outgrows the context is treated as `on_overflow` says. Raises
        ContextOverflow, and leaves the transcript as it was, when the text does not fit.
        """
        self._is_cancelled = False
        message = Message("user", text)
        generation = yield from self._start([*self.transcript, message], self._offer())
        self.transcript.append(message)
        yield MessageAdded(message)
        yield from self._turn(generation)

    def answer(self) -> Iterator[Event]:
        """Answers the transcript as it stands. Raises ContextOverflow when it does not fit."""
        self._is_cancelled = False
        yield from self._turn((yield from self._start(self.transcript, self._offer())))

    def regenerate(self) -> Iterator[Event]:
        """Answers the last question again, dropping what it was answered so far.

        Raises UsageError without a question, and ContextOverflow, keeping the answer, when the
        transcript no longer fits.
        """
        start = self._last_question()
        if start is None:
            raise UsageError("there is no reply to generate again", "Send a message first.")
        self._is_cancelled = False
        generation = yield from self._start(self.transcript[: start + 1], self._offer())
        del self.transcript[start + 1 :]
        yield from self._turn(generation)

    def extend(self) -> Iterator[Event]:
        """Goes on with the last reply where it ended: at a limit, or where it was cancelled.

        Raises UsageError where there is nothing to go on with, and ContextOverflow, keeping the
        reply, when no further token fits.
        """
        last = self.transcript[-1] if self.transcript else None
        if last is None or last.role != "assistant":
            raise UsageError("there is no reply to go on with", "Send a message first.")
        reader = self.chat_format.reader()
        if "".join(map(reader.feed, last.token_ids)) != (last.content if last.token_ids else ""):
            raise UsageError("a reply with tool calls cannot be gone on with", "Try it again.")
        self._is_cancelled = False
        yield from self._go_on(last, reader, (yield from self._open_reply()))

    def undo(self) -> str | None:
        """Removes the last turn and returns what the user had said; None if there is none."""
        start = self._last_question()
        if start is None:
            return None
        text = self.transcript[start].content
        del self.transcript[start:]
        return text

    def cancel(self) -> None:
        """Ends the turn under way soon; safe to call from a signal handler."""
        self._is_cancelled = True
        if self._generation is not None:
            self._generation.cancel()
        if self.tool_use is not None:
            self.tool_use.toolbox.cancel()

    def _last_question(self) -> int | None:
        asked = [index for index, message in enumerate(self.transcript) if message.role == "user"]
        return asked[-1] if asked else None

    def _offer(self) -> ToolUse | None:
        """The tools, unless every one of them is switched off."""
        return self.tool_use if self.tool_use and self.tool_use.toolbox.tools else None

    def _start(
        self, transcript: list[Message], tools: ToolUse | None
    ) -> Generator[Event, None, Generation]:
        sent = yield from self._fitting(transcript, tools)
        request = GenerationRequest(
            self._prompt_ids(sent, tools),
            self._limit(tools),
            self.stop_ids,
            self.sampling,
            self._grammar(tools, is_first=transcript[-1].role != "tool"),
            self._stable_tokens(sent, tools),
        )
        return self._generate(request)

    def _generate(self, request: GenerationRequest) -> Generation:
        self._generation = generation = self.generator.generate(request)
        if self._is_cancelled:
            generation.cancel()
        return generation

    def _prompt_ids(self, sent: list[Message], tools: ToolUse | None) -> tuple[int, ...]:
        return self.chat_format.prompt_ids(with_system(sent, self.system, tools))

    def _stable_tokens(self, sent: list[Message], tools: ToolUse | None) -> int:
        if not self.keeps_prefix:
            return 0
        return self.chat_format.system_tokens(with_system(sent, self.system, tools))

    def _fitting(
        self, transcript: list[Message], tools: ToolUse | None
    ) -> Generator[Event, None, list[Message]]:
        """What of `transcript` is sent, after making room as `on_overflow` says."""
        sent = self.window.view(transcript)
        count, context = len(self._prompt_ids(sent, tools)), self.generator.context_tokens
        reply = min(self._limit(tools), context // REPLY_SHARE)
        turns_sent = self.window.sent_turns(transcript)
        if self.on_overflow == "refuse" or len(turns_sent) < 2 or count + reply <= context:
            self._require_room(count, transcript)
            return sent

        def size(dropped: int) -> int:
            kept = assembled(transcript, turns_sent[dropped:], "")
            return len(self._prompt_ids(kept, tools))

        # With room for two replies the next turns extend this prompt, and its prefix is reused.
        folds = self.on_overflow == "summarize"
        room = reply + (context // SUMMARY_SHARE + SUMMARY_FRAME if folds else 0)
        spare = (context - max(2 * reply, room), context - room, context - 1)
        last = len(turns_sent) - 1
        self._require_room(size(last), transcript)
        wanted = next(bound for bound in spare if size(last) <= bound)
        dropped = bisect_left(range(1, last), -wanted, key=lambda number: -size(number)) + 1
        return (yield from self._without(turns_sent[:dropped], transcript, tools))

    def _require_room(self, count: int, transcript: list[Message]) -> None:
        context = self.generator.context_tokens
        if count < context:
            return
        own = self.chat_format.count_tokens(transcript[-1].content)
        several = self.on_overflow == "refuse" and len(turns(transcript)) > 1
        raise ContextOverflow(
            f"the prompt has {count} tokens and the context of this checkpoint holds {context}; "
            f"the last message takes {own} of them",
            "Shorten it, or let go of the oldest turns: --on-overflow trim or summarize."
            if several
            else "Shorten the text; smolchat summarize and rewrite work on texts of any length.",
        )

    def _without(
        self, dropped: list[list[Message]], transcript: list[Message], tools: ToolUse | None
    ) -> Generator[Event, None, list[Message]]:
        """Moves the window behind `dropped` and says so."""
        hidden = self.window.hidden_turns(transcript)
        which = described(dropped, len(hidden) + 1)
        kept = turns(transcript)[len(hidden) + len(dropped) :]
        summary = ""
        if self.on_overflow == "summarize":
            summary = self._summary(dropped, self.window.summary if hidden else "")
        sent = assembled(transcript, kept, summary)
        if self._is_cancelled:  # half a summary is none; the next turn makes room anew
            return assembled(transcript, kept, "")
        if len(self._prompt_ids(sent, tools)) >= self.generator.context_tokens:
            summary, sent = "", assembled(transcript, kept, "")
        self.window.open_at(kept[0], summary)
        full = f"the context of {self.generator.context_tokens} tokens is full"
        if summary:
            yield Notice(f"{full}: {which} are sent as a summary from now on:\n{summary}")
        else:
            yield Notice(f"{full}: {which} are no longer sent")
        return sent

    def _summary(self, dropped: list[list[Message]], earlier: str) -> str:
        """What was said in `dropped` and in the `earlier` summary; empty when cancelled."""
        count, context = self.chat_format.count_tokens, self.generator.context_tokens
        limit = context // SUMMARY_SHARE
        frame = len(self.chat_format.prompt_ids([Message("system", SUMMARY_PROMPT)]))
        summary = earlier
        for part in split(told_by(dropped), context - frame - 3 * limit - 16, count):
            told = f"{summary}\n\n{part.text}" if summary else part.text
            asked = [Message("system", SUMMARY_PROMPT), Message("user", told)]
            prompt_ids = self.chat_format.prompt_ids(asked)
            stable = self._stable_tokens(asked, None)
            request = GenerationRequest(
                prompt_ids, limit, self.stop_ids, self.sampling, stable_tokens=stable
            )
            generation, reader = self._generate(request), self.chat_format.reader()
            said = "".join([*map(reader.feed, generation), reader.finish()]).strip()
            self._folding += generation.stats
            if self._is_cancelled:
                return ""
            summary = self.chat_format.shortened(said, limit) or summary
        return summary

    def _open_reply(self) -> Generator[Event, None, Generation]:
        sent = yield from self._fitting(self.transcript, self._offer())
        prompt_ids = self.chat_format.open_ids(with_system(sent, self.system, self._offer()))
        return self._generate(
            GenerationRequest(prompt_ids, self.max_new_tokens, self.stop_ids, self.sampling)
        )

    def _go_on(self, last: Message, reader: ReplyReader, generation: Generation) -> Iterator[Event]:
        """Streams the rest of `last`, which `reader` has read so far."""
        ids, content = list(last.token_ids), last.content
        for token_id in generation:
            if last.token_ids:
                ids.append(token_id)
            if text := reader.feed(token_id):
                content += text
                yield TextDelta(text)
        self.transcript[-1] = Message("assistant", content, token_ids=tuple(ids))
        yield MessageAdded(self.transcript[-1], replaces_last=True)
        if generation.finish_reason == "length":
            yield Notice(self._why_cut(generation))
        yield self._finished(generation, generation.stats)

    def _limit(self, tools: ToolUse | None) -> int:
        return self.max_new_tokens if tools is None else min(self.max_new_tokens, CALL_TOKENS)

    def _grammar(self, tools: ToolUse | None, is_first: bool) -> str | None:
        if tools is None:
            return self.grammar
        if not tools.is_constrained:
            return None
        choice = tools.choice if is_first else "auto"
        return tool_grammar(tools.toolbox.schemas, choice, MAX_CALLS)

    def _turn(self, generation: Generation) -> Iterator[Event]:
        """Rounds of model and tools until there is an answer, at the latest one without tools."""
        last = self._last_question()
        turn = _Turn("" if last is None else self.transcript[last].content)
        tools = self._offer()
        for number in range(tools.max_rounds if tools else 0):
            assert tools is not None
            if number > 0:
                try:
                    generation = yield from self._start(self.transcript, tools)
                except ContextOverflow:
                    yield Notice("the tools and their results fill the context; answering without")
                    break
            reply, ids = yield from self._read(generation, turn, offers_tools=True)
            if self._is_final(generation, reply, turn) or not tools.runs_calls:
                yield from self._finish(generation, reply, ids, turn)
                return
            if generation.finish_reason == "length":
                yield Notice(self._why_cut(generation))
                break
            if not reply.tool_calls and reply.error is None:
                break
            yield from self._add(Message("assistant", reply.text, _calls(reply), token_ids=ids))
            if not (yield from self._use_tools(reply, turn, tools)):
                break
        else:
            if tools is not None:
                yield Notice(f"the limit of {tools.max_rounds} rounds with tools was reached")
        if tools is not None:
            try:
                generation = yield from self._start(self._plain_question(turn), None)
            except ContextOverflow:
                yield Notice("the question and its results leave no room for an answer")
                yield from self._finish(generation, Reply(""), (), turn)
                return
        reply, ids = yield from self._read(generation, turn, offers_tools=False)
        yield from self._finish(generation, reply, ids, turn)

    def _read(
        self, generation: Generation, turn: _Turn, offers_tools: bool
    ) -> Generator[Event, None, tuple[Reply, tuple[int, ...]]]:
        """Streams a reply; a refusal in the face of results is not shown, for it is no answer."""
        reader = self.chat_format.reader(reads_calls=offers_tools)
        ids: list[int] = []
        gap = "\n\n" if turn.has_prose else ""
        held, holds = "", offers_tools and bool(turn.results)
        for token_id in generation:
            ids.append(token_id)
            held += reader.feed(token_id)
            holds = holds and _may_refuse(held)
            if held and not holds:
                yield TextDelta(gap + held)
                held, gap, turn.has_prose = "", "", True
        held += reader.finish()
        if held and not (holds and generation.finish_reason == "stop" and _refuses(held)):
            yield TextDelta(gap + held)
            turn.has_prose = True
        turn.stats += generation.stats
        return reader.reply(), tuple(ids)

    def _is_final(self, generation: Generation, reply: Reply, turn: _Turn) -> bool:
        if generation.finish_reason == "cancelled":
            return True
        if generation.finish_reason == "length":
            # A call that was cut is no answer, nor is it run.
            return not reply.tool_calls and reply.error is None
        if reply.tool_calls or reply.error is not None:
            return False
        return bool(reply.text.strip()) and not (turn.results and _refuses(reply.text))

    def _finish(
        self, generation: Generation, reply: Reply, ids: tuple[int, ...], turn: _Turn
    ) -> Iterator[Event]:
        calls = _calls(reply) if generation.finish_reason == "stop" else ()
        yield from self._add(Message("assistant", reply.text, calls, token_ids=ids))
        unread = ""
        if reply.error is not None:
            unread = f"the call could not be read: {reply.error.message}"
        if generation.finish_reason == "length":
            yield Notice(self._why_cut(generation))
            unread = self._why_cut(generation) if reply.tool_calls else unread
        elif unread:
            yield Notice(unread)
        elif generation.finish_reason == "stop" and not (
            reply.text.strip() or calls or turn.results
        ):
            yield Notice("the model replied nothing; other words may help")
        if len(reply.tool_calls) > len(calls) > 0:
            yield _too_many(reply)
        yield self._finished(generation, turn.stats, unread)

    def _finished(
        self, generation: Generation, stats: GenerationStats, unread: str = ""
    ) -> TurnFinished:
        """The end of a turn whose last round was `generation`."""
        stats, self._folding = stats + self._folding, GenerationStats()
        last = generation.stats
        used = last.prompt_tokens + last.new_tokens
        context = self.generator.context_tokens
        return TurnFinished(generation.finish_reason, stats, used, context, unread)

    def _use_tools(self, reply: Reply, turn: _Turn, tools: ToolUse) -> Generator[Event, None, bool]:
        """Runs the calls of a reply and adds their results.

        False when the model should rather answer: it has repeated itself, or erred again.
        """
        results: list[ToolResult] = []
        pairs: list[tuple[str, str]] = []
        has_erred = reply.error is not None
        if reply.error is not None:
            pairs.append(("tool_call", f"The call could not be read: {reply.error.message}"))
        if len(reply.tool_calls) > MAX_CALLS:
            yield _too_many(reply)
        for call in _calls(reply):
            checked = tools.toolbox.check(call)
            has_erred |= isinstance(checked, ToolResult)
            result = yield from self._call(call, checked, turn, tools)
            results.append(result)
            pairs.append((call.name, result.content + _remark(result)))
        yield from self._add_results(results, pairs, turn)
        is_new = reply.error is not None or any(each.status != "repeated" for each in results)
        may_go_on = is_new and not (has_erred and turn.has_erred)
        turn.has_erred |= has_erred
        return may_go_on

    def _call(
        self, call: ToolCall, checked: ToolCall | ToolResult, turn: _Turn, tools: ToolUse
    ) -> Generator[Event, None, ToolResult]:
        """Runs one call, unless it is invalid or was made before in this turn."""
        if isinstance(checked, ToolResult):
            yield ToolStarted(call)
            yield ToolFinished(checked, 0.0)
            return checked
        yield ToolStarted(checked, tuple(changes(call.arguments, checked.arguments)))
        started = time.perf_counter()
        earlier = turn.earlier.get(_key(call.name, checked.arguments))
        if earlier is not None:
            result = ToolResult(call.id, earlier.content, "repeated")
        else:
            result = tools.toolbox.run(checked)
        ran_with = checked.arguments if result.arguments is None else result.arguments
        turn.earlier.setdefault(_key(call.name, ran_with), result)
        seconds = time.perf_counter() - started
        yield ToolFinished(result, seconds, tuple(changes(checked.arguments, ran_with)))
        return result

    def _add_results(
        self, results: list[ToolResult], pairs: list[tuple[str, str]], turn: _Turn
    ) -> Iterator[Event]:
        """Gives the results to the model, cut to what the context can spare for them."""
        pairs = self._shortened(pairs, self.generator.context_tokens // RESULT_SHARE)
        turn.results += pairs
        content = tool_response_text(pairs)
        yield from self._add(Message("tool", content, tool_results=tuple(results)))

    def _shortened(self, pairs: list[tuple[str, str]], limit: int) -> list[tuple[str, str]]:
        """Results that take `limit` tokens together as the model reads them, escapes included."""
        count, share = self.chat_format.count_tokens, limit // max(1, len(pairs))
        found = []
        for name, text in pairs:
            cut, room = self.chat_format.shortened(text, share), share
            while room > 1 and (size := count(tool_response_text([(name, cut)]))) > share:
                room = min(room - 1, room * share // size)
                cut = self.chat_format.shortened(text, max(1, room))
            found.append((name, cut))
        return found

    def _plain_question(self, turn: _Turn) -> list[Message]:
        """The question with its results, as a conversation of its own that leaves room."""
        leading = [message for message in self.transcript[:1] if message.role == "system"]
        question = [*leading, Message("user", turn.question)]
        if not turn.results:
            return question
        results, context = turn.results, self.generator.context_tokens
        reply = min(self.max_new_tokens, context // REPLY_SHARE)
        room = context - reply - len(self._prompt_ids(question, None))
        if self.chat_format.count_tokens(tool_response_text(results)) > room:
            results = self._shortened(results, room)
        return [*leading, Message("user", plain_answer_text(turn.question, results))]

    def _add(self, message: Message) -> Iterator[Event]:
        self.transcript.append(message)
        yield MessageAdded(message)

    def _why_cut(self, generation: Generation) -> str:
        stats = generation.stats
        if stats.new_tokens >= self.max_new_tokens:
            return f"the reply was cut at max_new_tokens = {self.max_new_tokens}"
        if stats.prompt_tokens + stats.new_tokens < self.generator.context_tokens:
            return f"the reply was cut at {stats.new_tokens} tokens, the limit where tools are used"
        return f"the reply was cut: the context of {self.generator.context_tokens} tokens is full"


def with_system(
    transcript: list[Message], system: str | None, tools: ToolUse | None
) -> list[Message]:
    """`transcript` behind its system message, its own or else `system`, which offers `tools`."""
    if transcript and transcript[0].role == "system":
        system, transcript = transcript[0].content, transcript[1:]
    if tools is not None:
        system = tool_system_prompt(tools.toolbox.schemas, system)
    return transcript if system is None else [Message("system", system), *transcript]


def _calls(reply: Reply) -> tuple[ToolCall, ...]:
    """The calls to run, numbered."""
    wished = enumerate(reply.tool_calls[:MAX_CALLS], 1)
    return tuple(
        ToolCall(f"call_{number}", call.name, dict(call.arguments)) for number, call in wished
    )


def _key(name: str, arguments: dict[str, Any]) -> str:
    return f"{name} {json.dumps(arguments, sort_keys=True)}"


def _remark(result: ToolResult) -> str:
    """What the model is told beside the content of a result."""
    if result.status == "repeated":
        return REPEATED
    if result.arguments is None:
        return ""
    return EDITED.format(arguments=json.dumps(result.arguments, ensure_ascii=False))


def _too_many(reply: Reply) -> Notice:
    return Notice(f"only the first {MAX_CALLS} of {len(reply.tool_calls)} calls are taken")


def _refuses(text: str) -> bool:
    return text.strip().startswith(REFUSALS)


def _may_refuse(text: str) -> bool:
    """Whether `text` is, or could go on to be, a refusal."""
    begun = text.lstrip()
    return _refuses(text) or any(refusal.startswith(begun) for refusal in REFUSALS)
