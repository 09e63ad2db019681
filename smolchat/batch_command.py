"""`smolchat run --jsonl`: one answer per line of a file, on one engine that keeps its prefix."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smolchat.assembly import bound_to_schema, interrupt_calls, load, locate, user_turn
from smolchat.errors import SchemaMismatch, SmolchatError, UsageError
from smolchat.messages import Notice

if TYPE_CHECKING:
    from smolchat.batch import Asked
    from smolchat.loading import LoadedEngine
    from smolchat.options import Options
    from smolchat.outcome import Outcome
    from smolchat.session import ChatSession, ToolUse
    from smolchat.settings import Settings
    from smolchat.terminal.renderer import Renderer

UNRELATED = {"device", "dtype", "threads", "no_stream", "verbose", "quiet"}
"""Settings that may differ between two runs of the same batch."""


class Batch:
    """Answers lines one after the other, each by its own settings."""

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
        self._schema = schema
        self._checkpoint = locate(settings["model"], renderer)
        self._session: ChatSession | None = None
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
        from smolchat.inputs import read_schema

        if self._schema is not None:
            read_schema(self._schema)
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
                for number in range(done, len(asked)):
                    report(number, len(asked))
                    answer = self._answer(asked[number], engine)
                    if self._is_cancelled:
                        return 130
                    answers.add(answer)
            return int(any("error" in answer for answer in answers.written))

    def cancel(self) -> None:
        """Ends the answer under way, which is not written; safe from a signal handler."""
        self._is_cancelled = True
        if self._session is not None:
            self._session.cancel()

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
        if grammar is not None and outcome.finish_reason == "length":
            told |= error_object(SchemaMismatch("the answer was cut and is no whole JSON"))
        return told

    def _recorded(self, session: ChatSession, outcome: Outcome) -> list[str]:
        """Records a turn; returns its notices."""
        self._session = session
        notices = []
        for event in session.answer():
            if self._is_cancelled:
                session.cancel()  # again: the turn may have begun only since
            outcome.record(event)
            if isinstance(event, Notice):
                notices.append(event.text)
        return notices
