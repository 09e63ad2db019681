"""The interactive screen in a real pseudo-terminal, looked at through a terminal emulator."""

from __future__ import annotations

import base64
import os
import re
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest
from conftest import make_checkpoint

# Forking is what a pseudo-terminal takes; the child runs another program at once.
pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")

ECHO_CHAT = Path(__file__).with_name("echo_chat.py")
REPOSITORY = Path(__file__).parent.parent.parent
CTRL_C, CTRL_D, ALT_ENTER, UP = "\x03", "\x04", "\x1b\r", "\x1b[A"


class Terminal:
    """A program in a terminal of 40 lines, and the person before it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.raw = ""
        self._child = pexpect.spawn(
            command[0],
            command[1:],
            env=environment,
            dimensions=(40, 80),
            encoding="utf-8",
            timeout=30,
        )
        self._child.delaybeforesend = None
        self._screen = pyte.Screen(80, 40)
        self._screen.write_process_input = self._child.send  # answers cursor position requests
        self._stream = pyte.Stream(self._screen)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def line(self) -> str:
        """The line with the cursor."""
        row: str = self._screen.display[self._screen.cursor.y]
        return row.rstrip()

    def press(self, *keys: str) -> None:
        for key in keys:
            os.write(self._child.child_fd, key.encode("utf-8", "surrogateescape"))

    def kill(self) -> None:
        self._child.kill(signal.SIGKILL)

    def paste(self, text: str) -> None:
        self._child.send(f"\x1b[200~{text}\x1b[201~")  # in several writes if need be

    def send(self, text: str) -> None:
        """Types a line and Enter at the empty prompt, and waits until that is back."""
        self.until(lambda: self.line == ">")
        self.press(text)
        self.until(lambda: self.line == f"> {text}")
        self.press("\r")
        self.until(lambda: self.line == ">")

    def clear(self, draft: str) -> None:
        """Waits for the prompt with `draft` in it, and empties it."""
        self.until(lambda: self.line == f"> {draft}")
        self.press(CTRL_C)
        self.until(lambda: self.line == ">")

    def wait_for(self, text: str) -> None:
        self.until(lambda: text in self.text)

    def until(self, is_true: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < deadline, f"the screen stayed so:\n{self.text}"
            self._read()

    def settle(self) -> str:
        """The screen once nothing has been written for a while."""
        while self._read():
            pass
        return self.text

    def resize(self, columns: int) -> None:
        self._screen.resize(40, columns)
        self._child.setwinsize(40, columns)

    def exit_code(self) -> int | None:
        self._child.expect(pexpect.EOF)
        self._child.close()
        code: int | None = self._child.exitstatus
        return code

    def close(self) -> None:
        self._child.close(force=True)

    def _read(self) -> bool:
        try:
            written = self._child.read_nonblocking(1 << 16, timeout=0.2)
        except pexpect.TIMEOUT:
            return False
        self.raw += written
        self._stream.feed(written)
        return True


Open = Callable[..., Terminal]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Loading lasts until this file exists; what stands in it is the error."""
    return tmp_path / "gate"


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "data" / "history"


@pytest.fixture
def open_chat(
    environment: dict[str, str], history: Path, gate: Path
) -> Iterator[Callable[..., Terminal]]:
    """Opens the screen over the scripted model, which is loaded at once unless told otherwise."""
    terminals: list[Terminal] = []

    def open_one(is_loaded: bool = True, history: Path = history, **variables: str) -> Terminal:
        if is_loaded:
            gate.touch()
        command = [sys.executable, str(ECHO_CHAT), str(history), str(gate)]
        variables["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY)])
        terminals.append(Terminal(command, environment | variables))
        terminals[-1].until(lambda: terminals[-1].line == ">")
        return terminals[-1]

    yield open_one
    for terminal in terminals:
        terminal.close()


def test_what_is_typed_while_loading_is_kept_and_sent(open_chat: Open, gate: Path) -> None:
    chat = open_chat(is_loaded=False)
    assert "smolchat echo · /help for commands · Ctrl-D leaves" in chat.text
    chat.press("hello")
    chat.wait_for("> hello")
    gate.touch()
    chat.press(" you\r")
    chat.wait_for("<1: 'hello you'>")


def test_a_message_sent_too_early_waits_and_ctrl_c_gives_it_back(
    open_chat: Open, gate: Path
) -> None:
    chat = open_chat(is_loaded=False)
    chat.press("early\r")
    chat.wait_for("loading echo")
    chat.press(CTRL_C)
    chat.until(lambda: chat.line == "> early")
    assert "loading echo" not in chat.text
    chat.press("\r")
    chat.wait_for("loading echo")
    gate.touch()
    chat.wait_for("<1: 'early'>")


def test_a_loading_error_is_told_at_the_prompt_and_another_model_helps(
    open_chat: Open, gate: Path
) -> None:
    chat = open_chat(is_loaded=False)
    chat.press("half a mess")
    chat.wait_for("> half a mess")
    gate.write_text("the weights are damaged")
    chat.wait_for("smolchat: the weights are damaged\nChoose another.\n> half a mess")
    chat.press("age\r")
    chat.until(lambda: chat.text.count("the weights are damaged") == 2)
    chat.clear("half a message")
    chat.send("/model other")
    chat.send("half a message")
    assert "<1: 'half a message'>" in chat.text


def test_ctrl_d_leaves_while_the_model_is_still_loading(open_chat: Open) -> None:
    chat = open_chat(is_loaded=False)
    chat.press(CTRL_D)
    assert chat.exit_code() == 0


def test_quotes_and_alt_enter_make_one_message_of_several_lines(open_chat: Open) -> None:
    chat = open_chat()
    chat.press('"""one\r', 'x = """two"""\r', '/help\r"""\r')
    chat.wait_for(r'''<1: 'one\nx = """two"""\n/help'>''')
    chat.press("three", ALT_ENTER, "four\r")
    chat.wait_for(r"<3: 'three\nfour'>")
    chat.press('"""\r\r"""\r')
    chat.until(lambda: chat.line == ">")
    chat.send("five")
    assert "<5: 'five'>" in chat.text


def test_a_paste_of_ten_thousand_lines_is_one_message(open_chat: Open, history: Path) -> None:
    chat = open_chat()
    lines = [f"long line {number} with some words in it" for number in range(10_000)]
    started = time.monotonic()
    chat.paste("\r".join(lines))
    chat.wait_for("line 9999")
    chat.press("\r")
    chat.wait_for("10000 lines")
    assert time.monotonic() - started < 10
    chat.send("short")
    assert "<3: 'short'>" in chat.text
    assert history.read_text().count("\n+long line") == 10_000


def test_a_paste_that_begins_with_a_docstring_is_sent_as_it_is(open_chat: Open) -> None:
    chat = open_chat()
    chat.paste('"""Says hello."""\nprint("hello")')
    chat.press("\r")
    chat.wait_for(r'''<1: '"""Says hello."""\nprint("hello")'>''')


def test_ctrl_c_in_a_reply_keeps_what_was_said(open_chat: Open) -> None:
    chat = open_chat()
    chat.press("slow\r")
    chat.wait_for("slowly slowly")
    chat.press(CTRL_C)
    chat.wait_for("Stopped; what was said so far is kept.\n>")
    assert "^C" not in chat.text
    chat.send("and now")
    assert "<3: 'and now'>" in chat.text


def test_what_is_typed_during_a_reply_is_kept_for_the_next_prompt(open_chat: Open) -> None:
    chat = open_chat()
    chat.press("slow\r")
    chat.wait_for("slowly")
    chat.press("next question")
    chat.until(lambda: chat.text.count("slowly") > 3)
    chat.press(CTRL_C)
    chat.until(lambda: chat.line == "> next question")
    assert chat.text.count("next question") == 1
    chat.press("\r")
    chat.wait_for("<3: 'next question'>")


def test_a_paste_during_a_reply_stays_one_message(open_chat: Open) -> None:
    chat = open_chat()
    chat.press("slow\r")
    chat.wait_for("slowly")
    assert chat.raw.rindex("\x1b[?2004h") > chat.raw.rindex("\x1b[?2004l")
    chat.paste("one\rtwo\rthree")
    chat.press(CTRL_C)
    chat.until(lambda: chat.line == "… three")
    chat.press("\r")
    chat.wait_for(r"<3: 'one\ntwo\nthree'>")


def test_ctrl_c_clears_the_line_then_hints_and_ctrl_d_leaves(
    open_chat: Open, history: Path
) -> None:
    chat = open_chat()
    chat.press("never mind")
    chat.wait_for("> never mind")
    chat.press(CTRL_C)
    chat.until(lambda: chat.line == ">")
    assert "leaves." not in chat.text
    chat.press(CTRL_C)
    chat.wait_for("Ctrl-D or /exit leaves.\n>")
    chat.press("\r", CTRL_D)
    assert chat.exit_code() == 0
    assert not history.exists()


@pytest.mark.parametrize("command", ["/exit", "/quit", "/bye"])
def test_the_commands_for_leaving_leave(open_chat: Open, command: str) -> None:
    chat = open_chat()
    chat.press(f"{command}\r")
    assert chat.exit_code() == 0


def test_two_instances_share_one_history_and_lose_nothing(open_chat: Open, history: Path) -> None:
    left, right = open_chat(), open_chat()
    left.send("first")
    right.send("second")
    left.press("third 🦀\udcff\r")
    left.wait_for("'third 🦀?'")
    later = open_chat()
    seen = []
    for _ in range(3):
        later.press(UP)
        later.settle()
        seen.append(later.line)
    assert seen == ["> third 🦀?", "> second", "> first"]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_a_history_that_cannot_be_kept_is_told_once(open_chat: Open, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    chat = open_chat(history=tmp_path / "file" / "history")
    chat.send("one")
    chat.send("two")
    assert chat.text.count("the input history is not kept: Not a directory") == 1
    chat.press(UP, UP)
    chat.until(lambda: chat.line == "> one")


def test_tab_completes_commands_settings_values_models_and_files(open_chat: Open) -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # short enough for the line
    (folder / "notes (new).txt").touch()
    chat = open_chat()
    chat.press("/")
    chat.wait_for("Generate the last reply again")
    for typed, completed in (
        ("reg", "/regen"),
        ("/set repet", "/set repetition_penalty"),
        ("/set verbose t", "/set verbose true"),
        ("/model öl", "/model Ölfass"),
        ("/set model t", "/set model t"),
        ("/set keys v", "/set keys vi"),
        ("/retry keys=e", "/retry keys=emacs"),
        (f"/file {folder}/not", f"/file {folder}/notes (new).txt"),
    ):
        chat.press(typed)
        chat.settle()
        chat.press("\t")
        chat.settle()
        chat.clear(completed)


def test_undo_gives_the_message_back_and_forgets_the_turn(open_chat: Open) -> None:
    chat = open_chat()
    chat.send("one")
    chat.send("//two")
    assert "<3: '/two'>" in chat.text
    chat.press("/undo\r")
    chat.until(lambda: chat.line == "> //two")
    chat.press("!\r")
    chat.wait_for("<3: '/two!'>")
    chat.press("/undo\r")
    chat.clear("//two!")
    chat.press("/undo\r")
    chat.clear("one")
    chat.send("/undo")
    assert "There is nothing to undo." in chat.text


def test_regen_answers_again_and_clear_forgets(open_chat: Open) -> None:
    chat = open_chat()
    chat.press("/regen\r")
    chat.wait_for("Send a message first.")
    chat.send("one")
    chat.send("/regen")
    assert chat.text.count("<1: 'one'>") == 2
    chat.send("/clear")
    chat.send("two")
    assert "<1: 'two'>" in chat.text


def test_retry_tries_other_settings_once(open_chat: Open) -> None:
    chat = open_chat()
    chat.send("system")
    chat.send("/retry 'system=Be kind.' max-new-tokens=9")
    assert "<Be kind." in chat.text
    assert "cut at max_new_tokens = 9" in chat.text
    chat.send("/retry")
    assert chat.text.count("<be brief>") == 2
    chat.press("/retry hotter\r")
    chat.wait_for("/retry hotter: not of the form key=value")
    chat.press("/retry top_p=7\r")
    chat.wait_for("top_p 7: input should be less than or equal to 1")
    chat.send("/set seed 1")
    chat.send("/retry")
    assert "the reply will be the same: /retry temperature=0.8" in chat.text


def test_continue_goes_on_with_a_reply_that_was_stopped_or_cut(open_chat: Open) -> None:
    chat = open_chat()
    chat.press("/continue\r")
    chat.wait_for("there is no reply to go on with")
    chat.press("slow\r")
    chat.wait_for("slowly")
    chat.press(CTRL_C)
    chat.wait_for("kept.\n>")
    chat.send("/set max_new_tokens 13")
    chat.press("/continue\r")
    chat.wait_for("cut at max_new_tokens = 13\n>")
    chat.press("/undo\r")
    chat.clear("slow")


def test_what_goes_on_is_one_reply_and_open_code_stays_code(open_chat: Open) -> None:
    chat = open_chat()
    chat.send("grow")
    chat.send("/continue")
    chat.send("/continue")
    shown = chat.text.partition("grow")[2]
    assert "```py\nx = 1\ny = two\n> /continue\nthree\n```\n> /continue" in shown.replace(
        "\n ", "\n"
    )
    assert "The model has nothing to add." in shown
    chat.send("and")
    assert "<3: 'and'>" in chat.text


def test_a_file_goes_with_the_next_message_only(open_chat: Open, tmp_path: Path) -> None:
    path = tmp_path / "my notes.txt"
    path.write_text("one\ntwo\n")
    chat = open_chat()
    chat.press("/file nowhere\r")
    chat.wait_for("cannot read nowhere: No such file or directory")
    chat.press(f"/file {path}\r")
    chat.wait_for("my notes.txt  7 characters, with the next message")
    chat.wait_for("echo · + my notes.txt")
    chat.press("crash\r")
    chat.clear("crash")
    chat.send("look")
    assert r"<1: 'look\n\none\ntwo'>" in chat.text
    chat.send("look")
    assert "<3: 'look'>" in chat.text


def test_edit_opens_the_editor_and_what_it_leaves_stands_at_the_prompt(
    open_chat: Open, tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        "#!/bin/sh\ntrap 'echo caught' INT\necho editing\nread answer || read answer\n"
        'echo "/$answer $(cat "$1")" >"$1"\n'
    )
    editor.chmod(0o755)
    chat = open_chat(EDITOR=f"{editor} ")
    chat.press("/edit a message\r")
    chat.wait_for("editing")
    chat.press(CTRL_C)
    chat.wait_for("caught")
    chat.press("here\r")
    chat.until(lambda: chat.line.startswith("> //"))
    assert chat.line.endswith("here a message")
    chat.press("\r")
    chat.wait_for("here a message'>")


@pytest.mark.parametrize(
    ("editor", "said"), [("false", "false ended with 1"), ("/nowhere", "cannot run /nowhere: No")]
)
def test_an_editor_that_fails_takes_nothing_over(open_chat: Open, editor: str, said: str) -> None:
    chat = open_chat(EDITOR=editor)
    chat.press("/edit\r")
    chat.wait_for(said)
    chat.send("hello")
    assert "<1: 'hello'>" in chat.text


def test_copy_sends_the_reply_as_it_was_written_to_the_clipboard(open_chat: Open) -> None:
    chat = open_chat()
    chat.press("/copy\r")
    chat.wait_for("there is no reply to copy")
    chat.send("mark")
    chat.send("/copy")
    assert "sent to the terminal's clipboard" in chat.text
    sent = re.search(r"\x1b\]52;c;([^\x07]*)\x07", chat.raw)
    assert sent
    assert base64.b64decode(sent[1]).decode().startswith("# **Title**\n\n| a | b |")


def test_copy_uses_the_programs_of_the_desktop_and_says_where_there_is_no_way(
    open_chat: Open, tmp_path: Path
) -> None:
    program = tmp_path / "wl-copy"
    program.write_text(f"#!/bin/sh\ncat >{tmp_path}/clipboard\n")
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    chat = open_chat(PATH=path, WAYLAND_DISPLAY="wayland-0")
    chat.send("hello")
    chat.send("/copy")
    assert "The last reply, 12 characters: copied with wl-copy." in chat.text
    assert (tmp_path / "clipboard").read_text() == "<1: 'hello'>"
    dumb = open_chat(TERM="linux")
    dumb.send("hello")
    dumb.press("/copy\r")
    dumb.wait_for("there is no way to the clipboard\nInstall wl-copy, xclip or xsel")


def test_the_line_below_the_prompt_tells_model_context_and_speed(open_chat: Open) -> None:
    chat = open_chat(is_loaded=True)
    chat.send("hello")
    chat.wait_for("echo · context ")
    assert re.search(r"echo · context \d+/1000000 · \S+ tok/s$", chat.text)
    chat.send("/model other")
    chat.until(lambda: chat.text.endswith("other"))


def test_vi_keys_are_a_setting_that_may_change(open_chat: Open) -> None:
    chat = open_chat(SMOLCHAT_KEYS="vi")
    chat.press("hello world", "\x1b")
    chat.wait_for("echo · vi: i inserts")
    chat.press("bdw", "A", "you\r")
    chat.wait_for("<1: 'hello you'>")
    chat.send("/set keys emacs")
    chat.press("one two", "\x01", "\x0b", "three\r")
    chat.wait_for("<3: 'three'>")


def test_an_exclamation_mark_runs_nothing(open_chat: Open) -> None:
    chat = open_chat()
    chat.send("!echo $((600 + 66))")
    assert "<1: '!echo $((600 + 66))'>" in chat.text
    assert "666" not in chat.text


def test_replies_are_drawn_unless_they_are_to_stay_raw(open_chat: Open) -> None:
    chat = open_chat()
    chat.send("mark")
    assert "\nTitle\n\na   b\n─────\n1   2\n>" in chat.text
    chat.send("/set raw true")
    chat.send("mark")
    assert "\n# **Title**\n\n| a | b |\n" in chat.text


def test_system_shows_changes_and_resets_the_system_prompt(open_chat: Open) -> None:
    chat = open_chat()
    chat.send("/system")
    assert "the checkpoint's own" in chat.text
    chat.send("system")
    assert "<be brief>" in chat.text
    chat.send("/system Be kind.")
    chat.send("system")
    assert "<Be kind.>" in chat.text
    chat.send("/system default")
    chat.send("system?")
    chat.send("system")
    assert chat.text.count("<be brief>") == 2


def test_set_and_show_say_what_holds(open_chat: Open) -> None:
    chat = open_chat()
    chat.press("/set temperature hot\r")
    chat.wait_for("temperature hot: input should be a valid number")
    chat.press("/set temperature 0.7\r")
    chat.wait_for("temperature  0.7  (set in this chat)")
    chat.press("/set temprature 1\r")
    chat.wait_for("there is no setting 'temprature'; did you mean 'temperature'?")
    chat.press("/set device cpu\r")
    chat.wait_for("device is fixed while a chat runs")
    chat.send("/set verbose=true")
    chat.send("hello")
    assert "tok/s" in chat.text
    chat.send("/set temperature default")
    assert "temperature  0.2  (default)" in chat.text
    chat.send("/show")
    shown = chat.text.partition("/show")[2]
    for words in (
        "echo", "cpu, float32", "the checkpoint's own", "of 1000000 tokens", "verbose", "5000"
    ):  # fmt: skip
        assert words in shown
    assert "temperature" not in shown


def test_a_wrong_model_keeps_the_old_one_and_the_conversation(open_chat: Open) -> None:
    chat = open_chat()
    chat.send("one")
    chat.press("/model nonsense\r")
    chat.wait_for("smolchat: there is no checkpoint nonsense\nSee smolchat models.\n>")
    chat.send("two")
    assert "<3: 'two'>" in chat.text
    chat.send("/model other")
    chat.send("three")
    assert "<5: 'three'>" in chat.text
    chat.send("/model")
    assert chat.text.count("model  other") == 2


def test_an_unknown_command_is_not_sent(open_chat: Open) -> None:
    chat = open_chat()
    chat.press("/sytem be kind\r")
    chat.wait_for("there is no command /sytem; did you mean /system?")
    chat.send("hello")
    assert "<1: 'hello'>" in chat.text


def test_a_failing_model_is_one_line_and_the_conversation_lives_on(open_chat: Open) -> None:
    chat = open_chat()
    chat.send("one")
    chat.press("crash\r")
    chat.wait_for("smolchat: the model failed: RuntimeError: out of memory\nThe conversation")
    chat.clear("crash")
    chat.send("two")
    assert "<3: 'two'>" in chat.text
    assert "Traceback" not in chat.raw


def test_wide_characters_and_a_resize_leave_the_screen_in_order(open_chat: Open) -> None:
    chat = open_chat()
    chat.press("日本語 👍🏽 é")
    chat.wait_for("> 日本語")
    chat.resize(30)
    chat.press("x\x7f\x7f\x7f", " 漢字\r")
    chat.wait_for("日本語 👍🏽 漢字'>")


def test_a_reply_is_drawn_through_resizes_without_moving_the_cursor(open_chat: Open) -> None:
    chat = open_chat()
    chat.press("packing\r")
    chat.wait_for("Packing light")
    for columns in (60, 100, 44, 80):
        seen = len(chat.raw)
        chat.until(lambda seen=seen: len(chat.raw) > seen + 250)  # type: ignore[misc]
        chat.resize(columns)
    chat.wait_for("wrapped.\n>")
    reply = re.search(r"Packing.*wrapped\.", chat.raw, re.DOTALL)
    assert reply
    drawn = re.sub(r"\x1b\[[\d;]*m|\r\n", "", reply[0])
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", drawn)
    for words in ("nobody has ever", '"""In kg, 日本', "0.1", "👨‍👩‍👧", "。句読点の前では"):
        assert words.replace(" ", "") in re.sub(r"[\s▌]", "", drawn)


def test_control_characters_of_a_model_are_spelled_out(open_chat: Open) -> None:
    chat = open_chat()
    chat.send("escape")
    assert r"\x1b[31mred" in chat.text


def test_no_color_and_a_dumb_terminal_see_no_colours(open_chat: Open) -> None:
    plain = open_chat(NO_COLOR="1")
    plain.send("hello")
    assert not re.search(r"\x1b\[(\d+;)*[3489]\d*(;\d+)*m", plain.raw)
    dumb = open_chat(TERM="dumb")
    dumb.press("hello\r")
    dumb.wait_for("<1: 'hello'>")
    dumb.press("/undo\r")
    dumb.wait_for("The last turn is removed.")
    dumb.press("again\r")
    dumb.wait_for("<1: 'again'>")
    assert "\x1b" not in dumb.raw


def test_a_conversation_is_named_saved_left_and_gone_on_with(
    open_chat: Callable[..., Terminal], home: Path
) -> None:
    home.mkdir()
    chat = open_chat()
    chat.send("one")
    chat.wait_for("<1: 'one'>")
    chat.send("/title A name")
    chat.send("/save ~/a.md")
    chat.send("/clear")
    chat.send("two")
    chat.wait_for("<1: 'two'>")
    chat.send("/load 1")
    chat.wait_for("Conversation 1: A name")
    chat.send("three")
    chat.wait_for("<3: 'three'>")
    assert (home / "a.md").read_text().startswith("# A name\n\n## User\n\none\n")
    chat.send("/save ~/a.md")
    chat.wait_for("exists")
    chat.send("/load nine")
    chat.wait_for("/load needs a number")


def test_a_killed_chat_is_there_again_with_what_was_on_the_screen(
    open_chat: Callable[..., Terminal],
) -> None:
    chat = open_chat()
    chat.press("slow\r")
    chat.wait_for("slowly slowly")
    chat.kill()
    again = open_chat()
    again.send("/load 1")
    again.wait_for("slowly slowly")
    again.send("two")
    again.wait_for("<3: 'two'>")


@pytest.fixture
def open_program(
    environment: dict[str, str], tiny_folder: Path
) -> Iterator[Callable[..., Terminal]]:
    """Opens the real program over a random checkpoint."""
    settings = ["-o", "temperature=0", "-o", "max_new_tokens=20"]
    terminals: list[Terminal] = []

    def open_one(script: str = 'exec "$@"', folder: Path = tiny_folder) -> Terminal:
        program = [sys.executable, "-m", "smolchat", "-m", str(folder), *settings]
        command = ["/bin/sh", "-c", script, "sh", *program]
        terminals.append(Terminal(command, environment | {"PYTHONPATH": str(REPOSITORY)}))
        return terminals[-1]

    yield open_one
    for terminal in terminals:
        terminal.close()


def test_the_real_program_chats_stops_and_leaves(
    open_program: Callable[..., Terminal], tmp_path: Path
) -> None:
    shape = {"hidden_size": 512, "num_hidden_layers": 8, "max_position_embeddings": 8192}
    chat = open_program(folder=make_checkpoint(tmp_path / "large", **shape))
    chat.send("hello")
    assert "max_new_tokens = 20" in chat.text
    chat.send("/set max_new_tokens 6000")
    chat.press("go on\r")
    chat.wait_for("> go on")
    shown = len(chat.raw)
    chat.until(lambda: len(chat.raw) > shown + 500)
    chat.press(CTRL_C)
    chat.wait_for("Stopped; what was said so far is kept.\n>")
    chat.send("/set max_new_tokens 5")
    chat.send("again")
    assert "max_new_tokens = 5" in chat.text
    chat.press(CTRL_D)
    assert chat.exit_code() == 0


def test_the_real_program_leaves_in_the_midst_of_loading(
    open_program: Callable[..., Terminal],
) -> None:
    chat = open_program()
    chat.until(lambda: chat.line == ">")
    chat.press(CTRL_D)
    assert chat.exit_code() == 0
    assert "Error" not in chat.raw


def test_what_is_piped_in_is_the_first_message_and_the_terminal_is_for_the_rest(
    open_program: Callable[..., Terminal],
) -> None:
    chat = open_program("printf 'one\\ntwo\\n/three' | \"$@\"")
    chat.wait_for("> 3 lines, piped in")
    chat.wait_for("max_new_tokens = 20\n>")
    chat.send("/set max_new_tokens 5")
    chat.press("/undo\r")
    chat.wait_for("> one\n… two\n… /three")
    chat.press(CTRL_C, CTRL_D)
    assert chat.exit_code() == 0


def test_an_empty_pipe_is_no_conversation(open_program: Callable[..., Terminal]) -> None:
    chat = open_program('"$@" </dev/null')
    chat.wait_for("smolchat: the prompt is empty")
    assert chat.exit_code() == 2
