"""`smolchat run --jsonl`: one answer per line of a file, several at a time where that is faster."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from smolchat.assembly import (
    bound_to_schema,
    interrupt_calls,
    load,
    locate,
    mismatch,
    user_turn,
)
from smolchat.errors import SchemaMismatch, SmolchatError, UsageError
from smolchat.inputs import read_schema
from smolchat.messages import Notice

if TYPE_CHECKING:
    from smolchat.batch import Asked
    from smolchat.loading import LoadedEngine
    from smolchat.options import Options
    from smolchat.outcome import Outcome
    from smolchat.session import ChatSession, ToolUse
    from smolchat.settings import Settings
    from smolchat.terminal.renderer import Renderer

AT_ONCE = 8
"""Lines that are answered at the same time, each with a cache; twice as many gain little."""

UNRELATED = {"device", "dtype", "threads", "draft", "no_stream", "verbose", "quiet"}
"""Settings that may differ between two runs of the same batch."""


class Batch:
    """Answers lines in their order, each by its own settings."""

    def __init__(
        self,
        options: Options,
        settings: Settings,
        renderer: Renderer,
        tools: ToolUse | None,
        schema: str | None,
    ) -> None:
        self._options = options
        self._settings = settings
        self._renderer = renderer
        self._tools = tools
        self._schema = None if schema is None else read_schema(schema)
        self._checkpoint = locate(settings["model"], renderer)
        self._sessions: set[ChatSession] = set()
        self._is_cancelled = False

    @property
    def conditions(self) -> str:
        """What decides the answers beside the lines, as a text."""
        table = self._settings.table
        relevant = {name: table[name].value for name in sorted(table.keys() - UNRELATED)}
        tools = self._tools and sorted(tool.name for tool in self._tools.toolbox.tools)
        return repr([self._checkpoint.name, self._settings.profile, relevant, tools, self._schema])

    def run(self, path: Path, output: Path | None) -> int:
        """Answers what is not answered yet; returns the exit code: 1 when any line is an error."""
        from smolchat.batch import Answers, read_lines

        asked = read_lines(path)
        with closing(Answers(output)) as answers:
            answers.require_answers_to(asked, self.conditions)
            done = len(answers.written)
            if done:
                self._renderer.notice(f"going on after {done} of {len(asked)} lines")
            if done < len(asked):
                with self._renderer.waiting("loading"):
                    engine = load(self._checkpoint, self._settings)
            with self._renderer.steps("answering") as report, interrupt_calls(self.cancel):
                report(done, len(asked))
                with closing(self._answered(asked[done:], engine)) as answered:
                    for number, answer in enumerate(answered, done + 1):
                        if self._is_cancelled:
                            return 130
                        answers.add(answer)
                        report(number, len(asked))
            return int(any("error" in answer for answer in answers.written))

    def cancel(self) -> None:
        """Ends the answers under way, which are not written; safe from a signal handler."""
        self._is_cancelled = True
        for session in tuple(self._sessions):
            session.cancel()

    def _answered(
        self, asked: list[Asked], engine: LoadedEngine
    ) -> Generator[dict[str, Any], None, None]:
        """The answers in order: the first one alone, since its prompt may begin as all do.

        Tools have one child process, so with them it is one after the other.
        """
        from smolchat.loading import alongside

        yield self._answer(asked[0], engine)
        asked, engines = asked[1:], [engine]
        if self._tools is None and len(asked) > 1:
            engines = alongside(engine, min(AT_ONCE, len(asked)))
        if len(engines) == 1:
            yield from (self._answer(each, engine) for each in asked)
            return
        free: SimpleQueue[LoadedEngine] = SimpleQueue()
        for each in engines:
            free.put(each)
        with ThreadPoolExecutor(len(engines)) as threads:
            try:
                yield from threads.map(lambda each: self._answer_on(free, each), asked)
            finally:
                self.cancel()  # what nobody waits for any more

    def _answer_on(self, free: SimpleQueue[LoadedEngine], asked: Asked) -> dict[str, Any]:
        if self._is_cancelled:
            return {}
        engine = free.get()
        try:
            return self._answer(asked, engine)
        finally:
            free.put(engine)

    def _answer(self, asked: Asked, engine: LoadedEngine) -> dict[str, Any]:
        from smolchat.batch import error_object

        answer: dict[str, Any] = {"line": asked.number, "asked": asked.digest(self.conditions)}
        try:
            line = asked.read()
            if line.id is not None:
                answer["id"] = line.id
            settings = self._line_settings(line.settings())
            return answer | self._reply(line.prompt, settings, engine)
        except SmolchatError as error:
            return answer | error_object(error)

    def _line_settings(self, overrides: dict[str, Any]) -> Settings:
        from smolchat.settings import resolve

        settings = resolve(self._options.given() | overrides)
        if settings["model"] != self._settings["model"]:
            raise UsageError(
                f"profile {settings.profile.name} wants the checkpoint {settings['model']}",
                "Give --model: a batch runs on one checkpoint.",
            )
        return settings

    def _reply(self, prompt: str, settings: Settings, engine: LoadedEngine) -> dict[str, Any]:
        from smolchat.batch import error_object
        from smolchat.chat import new_session
        from smolchat.outcome import Outcome

        transcript, grammar = user_turn(prompt, settings), None
        if self._schema is not None:
            transcript, grammar = bound_to_schema(transcript, self._schema)
        outcome = Outcome(self._checkpoint.name, time.perf_counter(), load_seconds=0.0)
        session = new_session(engine, settings, self._tools, grammar)
        session.transcript = transcript
        notices = self._recorded(session, outcome)
        told = outcome.as_json() | {"notices": notices}
        if problem := mismatch(self._schema, outcome):
            told |= error_object(SchemaMismatch(problem))
        return told

    def _recorded(self, session: ChatSession, outcome: Outcome) -> list[str]:
        """Records a turn; returns its notices."""
        self._sessions.add(session)
        notices = []
        try:
            for event in session.answer():
                if self._is_cancelled:
                    session.cancel()  # again: the turn may have begun only since
                outcome.record(event)
                if isinstance(event, Notice):
                    notices.append(event.text)
        finally:
            self._sessions.discard(session)
        return notices
