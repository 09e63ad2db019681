"""SmolLM2's wire format: messages to token ids, and token ids back to text.

Takes tool schemas as plain dicts and knows no tools, no model and no screen. A checkpoint's
chat template is read for its default system message and never executed.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smolchat.errors import CheckpointError, UsageError
from smolchat.messages import Message
from smolchat.reply import Reply as Reply
from smolchat.reply import ReplyStream
from smolchat.reply import read_reply as read_reply

if TYPE_CHECKING:
    from tokenizers import Tokenizer

REFUSALS = (
    "The query cannot be answered with the provided tools.",
    "The given question lacks the parameters required by the function.",
    "The query cannot be answered, no tools were provided.",
)
"""The sentences by which the model was trained to say that it calls nothing."""

TOOL_PROMPT = """\
You are an expert in composing functions. You are given a question and a set of possible functions.\x20
Based on the question, you will need to make one or more function/tool calls to achieve the purpose.\x20
If none of the functions can be used, point it out and refuse to answer.\x20
If the given question lacks the parameters required by the function, also point it out.

You have access to the following tools:
<tools>{tools}</tools>

The output MUST strictly adhere to the following format, and NO other text MUST be included.
The example format is as follows. Please make sure the parameter type is correct. \
If no function call is needed, please make the tool calls an empty list '[]'.
<tool_call>[
{{"name": "func_name1", "arguments": {{"argument1": "value1", "argument2": "value2"}}}},
... (more tool calls as required)
]</tool_call>"""
"""The system prompt SmolLM2 was trained on for function calling; source: its model card."""


def tool_system_prompt(schemas: Sequence[Mapping[str, Any]], system: str | None = None) -> str:
    """The system message that offers `schemas`, after the user's own system prompt if any."""
    prompt = TOOL_PROMPT.format(tools=json.dumps(list(schemas)))
    return f"{system}\n\n{prompt}" if system else prompt


def tool_calls_text(calls: Iterable[Mapping[str, Any]]) -> str:
    """Calls (`name`, `arguments`) as the model writes them."""
    listed = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
    return f"<tool_call>{json.dumps(listed, ensure_ascii=False)}</tool_call>"


def tool_response_text(results: Iterable[tuple[str, str]]) -> str:
    """Results, as (function name, content), as the user turn that gives them to the model.

    A tag of the format inside a result is spelled with an escape, so that it opens and closes
    nothing.
    """
    return "\n".join(
        f"<tool_response>\n{_result_json(*each)}\n</tool_response>" for each in results
    )


def _result_json(name: str, content: str) -> str:
    encoded = json.dumps({"name": name, "content": content}, ensure_ascii=False)
    return re.sub(r"<(?=/?tool)", r"\\u003c", encoded)


def plain_answer_text(question: str, results: Iterable[tuple[str, str]]) -> str:
    """A question with its results at hand, for an answer without tools."""
    return f"{question}\n\n{tool_response_text(results)}"


def default_system(chat_template: str | None) -> str | None:
    """The system message that a ChatML template inserts where a conversation has none.

    Raises CheckpointError when the checkpoint has no template, or one of another format.
    """
    if not chat_template:
        raise CheckpointError(
            "this checkpoint has no chat template",
            "It is probably a base model: choose its Instruct version, e.g. -m 360m.",
        )
    if "<|im_start|>" not in chat_template:
        raise CheckpointError(
            "this checkpoint's chat template is not ChatML, the format of SmolLM2",
            "smolchat speaks SmolLM2's format only: choose e.g. -m 360m.",
        )
    inserted = re.search(
        r"<\|im_start\|>system(?:\\n|\n)((?:(?!<\|im_end\|>|['\"]\s*[+~}]).)*)<\|im_end\|>",
        chat_template,
        re.DOTALL,
    )
    if inserted is None:
        return None
    # It stands in a Jinja string, whose escapes Jinja reads in this way.
    return inserted[1].encode("ascii", "backslashreplace").decode("unicode-escape")


class ChatFormat:
    """Renders transcripts for one checkpoint.

    Control tokens come from the format's own markers only: `<|im_end|>` in a user's text is text.
    """

    def __init__(self, tokenizer: Tokenizer, default_system: str | None) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True
        self._default_system = default_system
        self._start = self._id_of("<|im_start|>")
        self._end = self._id_of("<|im_end|>")
        self._id_of("\u010a")  # a newline in byte-level BPE, which a ReplyReader reads

    def prompt_ids(self, transcript: Sequence[Message]) -> tuple[int, ...]:
        """The whole conversation, open for the assistant's next reply."""
        ids: list[int] = []
        for message in self._complete(transcript):
            ids += self._message_ids(message)
        return (*ids, self._start, *self._encode("assistant\n"))

    def system_tokens(self, transcript: Sequence[Message]) -> int:
        """How many of the prompt's ids are its system message: where the user's part begins."""
        first = self._complete(transcript)[:1]
        return sum(len(self._message_ids(each)) for each in first if each.role == "system")

    def open_ids(self, transcript: Sequence[Message]) -> tuple[int, ...]:
        """The whole conversation, its last message left open to be gone on with."""
        *before, last = self._complete(transcript)
        ids = [each for message in before for each in self._message_ids(message)]
        return (*ids, *self._message_start(last))

    def prompt_text(self, transcript: Sequence[Message]) -> str:
        """What `prompt_ids` says, as text with the control tokens spelled out."""
        turns = [
            f"<|im_start|>{_wire_role(message)}\n{_wire_text(message)}<|im_end|>\n"
            for message in self._complete(transcript)
        ]
        return "".join([*turns, "<|im_start|>assistant\n"])

    def count_tokens(self, text: str) -> int:
        """How many tokens a text by itself has."""
        return len(self._encode(text))

    def shortened(self, text: str, limit_tokens: int) -> str:
        """`text`, without its middle where it has more tokens, and with a note of how much."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        if len(encoding.ids) <= limit_tokens:
            return text
        half = max(1, limit_tokens // 2)
        head, tail = encoding.offsets[half][0], encoding.offsets[-half][0]
        return f"{text[:head]}\n[{tail - head} characters left out]\n{text[tail:]}"

    def reader(self, reads_calls: bool = False) -> ReplyReader:
        """A reader for the next reply; without `reads_calls` everything in it is prose."""
        return ReplyReader(self._tokenizer, reads_calls)

    def _complete(self, transcript: Sequence[Message]) -> list[Message]:
        """Prepends the default system message where the template would."""
        starts_with_system = bool(transcript) and transcript[0].role == "system"
        if starts_with_system or not transcript or self._default_system is None:
            return list(transcript)
        return [Message("system", self._default_system), *transcript]

    def _message_ids(self, message: Message) -> list[int]:
        return [*self._message_start(message), self._end, *self._encode("\n")]

    def _message_start(self, message: Message) -> list[int]:
        role = _wire_role(message)
        if message.token_ids:
            return [self._start, *self._encode(f"{role}\n"), *message.token_ids]
        return [self._start, *self._encode(f"{role}\n{_wire_text(message)}")]

    def _encode(self, text: str) -> list[int]:
        try:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        except TypeError as error:  # half a surrogate pair, or a byte that was no UTF-8
            raise UsageError("the prompt is not valid text", "Give it as UTF-8.") from error
        return ids

    def _id_of(self, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise CheckpointError(
                f"this checkpoint's tokenizer has no {token} token",
                "smolchat speaks SmolLM2's format only: choose e.g. -m 360m.",
            )
        return token_id


def _wire_role(message: Message) -> str:
    """The format knows no tool role: results travel in a user turn."""
    return "user" if message.role == "tool" else message.role


def _wire_text(message: Message) -> str:
    """What a message says, its calls as the model writes them."""
    if not message.tool_calls:
        return message.content
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
    prose = f"{message.content}\n" if message.content else ""
    return prose + tool_calls_text(calls)


class ReplyReader:
    """Turns the ids of a reply into prose, as soon as whole characters are there, and calls.

    What it reads does not depend on how the text is cut into tokens.
    """

    def __init__(self, tokenizer: Tokenizer, reads_calls: bool = False) -> None:
        """Without `reads_calls` everything is prose, and nothing is held back."""
        self._tokenizer = tokenizer
        self._stream = ReplyStream(reads_calls)
        self._added = {
            token_id: b"" if token.special else token.content.encode()
            for token_id, token in tokenizer.get_added_tokens_decoder().items()
        }
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token_id: int) -> str:
        """The prose that `token_id` completes; empty within a character of several tokens.

        Control tokens and ids that the tokenizer does not know say nothing.
        """
        return self._stream.feed(self._text_of(token_id))

    def finish(self) -> str:
        """What was held back and turned out to be prose; the reply is complete."""
        return self._stream.finish()

    def reply(self) -> Reply:
        """The complete reply; asked for after `finish`."""
        return self._stream.reply()

    def _text_of(self, token_id: int) -> str:
        if token_id in self._added:
            return self._utf8.decode(self._added[token_id])
        token = self._tokenizer.id_to_token(token_id)
        return "" if token is None else self._utf8.decode(_token_bytes(token))


def _token_bytes(token: str) -> bytes:
    """The bytes behind a byte-level BPE token."""
    return bytes(_BYTE_OF_CHARACTER[character] for character in token)


def _byte_of_character() -> dict[str, int]:
    """Byte-level BPE writes each byte as one printable character; this is the way back.

    Source: `bytes_to_unicode` of GPT-2's encoder.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(0x100 + index): byte for index, byte in enumerate(others)}


_BYTE_OF_CHARACTER = _byte_of_character()
