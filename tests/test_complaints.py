"""What users of local chat programs complain of, and the tests that show it is not so here."""

from __future__ import annotations

import ast
from functools import cache

import pytest
from conftest import REPOSITORY

ABSENT = {
    "silent truncation at the context limit": [
        "test_session_overflow.py::test_the_oldest_whole_turns_are_trimmed_and_named",
        "test_session_overflow.py::test_tools_and_system_prompt_are_never_trimmed",
        "test_cli.py::test_a_prompt_that_does_not_fit_exits_with_4_and_counts",
        "test_session.py::test_a_reply_that_is_cut_is_noted_before_the_turn_ends",
        "test_session.py::test_a_reply_that_fills_the_context_says_so",
        "test_session_tools.py::test_a_long_result_loses_its_middle_and_says_so",
    ],
    "endless identical tool calls": [
        "test_session_tools.py::test_an_identical_call_is_not_run_again",
        "test_session_tools.py::test_the_round_limit_ends_in_an_answer_without_tools",
    ],
    "a bare `repeat blocked` that makes small models invent data": [
        "test_session_tools.py::test_an_identical_call_is_not_run_again",
    ],
    "Ctrl-C that kills the program, or loses the partial reply": [
        "terminal/test_repl.py::test_ctrl_c_in_a_reply_keeps_what_was_said",
        "terminal/test_repl.py::test_ctrl_c_clears_the_line_then_hints_and_ctrl_d_leaves",
        "terminal/test_repl.py::test_continue_goes_on_with_a_reply_that_was_stopped_or_cut",
        "test_cli.py::test_an_interrupt_keeps_the_partial_reply_and_exits_with_130",
    ],
    "a pasted paragraph that becomes ten prompts": [
        "terminal/test_repl.py::test_a_paste_of_ten_thousand_lines_is_one_message",
        "terminal/test_repl.py::test_a_paste_during_a_reply_stays_one_message",
    ],
    "Markdown that flickers and loses scrollback": [
        "terminal/test_markdown.py::test_what_is_printed_is_never_touched_again",
        "terminal/test_markdown.py::test_every_kind_of_block_is_drawn_and_scrolled_away_whole",
        "terminal/test_markdown.py::test_no_letter_of_any_reply_is_lost",
        "terminal/test_repl.py::test_a_reply_is_drawn_through_resizes_without_moving_the_cursor",
    ],
    "ten seconds of imports before --help": [
        "test_architecture.py::test_the_engine_is_not_loaded_by",
    ],
    "control characters and spinners in pipes": [
        "terminal/test_renderer.py::test_in_a_pipe_the_output_is_the_reply",
        "terminal/test_renderer.py::test_a_pipe_gets_no_colour_and_no_spinner",
        "test_cli.py::test_piped_output_is_the_reply_byte_for_byte",
    ],
    "a scripted call that falls into a prompt and hangs": [
        "test_cli.py::test_what_cannot_be_done_is_told_in_two_lines",
        "test_cli.py::test_nobody_is_waited_for_at_a_terminal",
        "terminal/test_repl.py::test_an_empty_pipe_is_no_conversation",
        "toolbox/test_execution.py::test_approval_levels_without_anyone_to_ask",
    ],
    "all-or-nothing approval": [
        "toolbox/test_execution.py::test_approval_levels_without_anyone_to_ask",
        "toolbox/test_execution.py::test_an_edited_call_is_checked_and_runs_with_its_new_arguments",
        "test_tool_commands.py::test_the_terminal_asks_before_a_tool_that_writes",
    ],
    "tools that hang for ever": [
        "toolbox/test_worker.py::test_no_way_to_hang_outlasts_the_time_limit",
        "toolbox/test_worker.py::test_what_a_tool_started_dies_with_it",
    ],
    "asking the network although the checkpoint is on disk": [
        "test_catalog.py::test_a_checkpoint_on_disk_never_touches_the_network",
    ],
}


@cache
def names_of(path: str) -> set[str]:
    tree = ast.parse((REPOSITORY / "tests" / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("complaint", ABSENT)
def test_every_complaint_has_tests_that_show_its_absence(complaint: str) -> None:
    for test in ABSENT[complaint]:
        path, _, name = test.partition("::")
        assert name in names_of(path), test
