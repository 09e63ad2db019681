"""The training text is tokenized exactly as the program tokenizes what it sends."""

from __future__ import annotations

from conftest import EMBEDDED

from smolchat.loading import load_chat_format
from smolchat.messages import Message
from training.encoding import ChatEncoder, Cuts, load_tokenizer
from training.make_data import examples


def test_training_and_chatting_encode_alike() -> None:
    encoder = ChatEncoder(load_tokenizer(EMBEDDED))
    _, chat_format = load_chat_format(EMBEDDED)
    for example in examples("encoding", "train", 200):
        transcript = [Message(each["role"], each["content"]) for each in example.messages[:-1]]
        assert tuple(encoder.prompt(example.messages[:-1])) == chat_format.prompt_ids(transcript)


def test_cut_words_are_the_same_text_and_are_cut_everywhere_alike() -> None:
    tokenizer = load_tokenizer(EMBEDDED)
    cuts = Cuts(tokenizer, "a seed", share=1.0)
    ids, words = cuts.encode('The Projector of the "projector" on 12 May')
    text = tokenizer.decode(ids, skip_special_tokens=False)
    assert text == 'The Projector of the "projector" on 12 May'
    assert "projector" in words
    tokens = [tokenizer.id_to_token(token_id) for token_id in ids]
    first, second = (at for at, token in enumerate(tokens) if token.lower() == tokens[2].lower())
    assert [token.lower() for token in tokens[first : first + 2]] == tokens[second : second + 2]


def test_words_are_cut_in_another_share_where_tools_are_offered() -> None:
    plain, encoder = (ChatEncoder(load_tokenizer(EMBEDDED)) for _ in range(2))
    encoder.cut_words("a seed", 0.0, 1.0)
    (example,) = examples("shares", "train", 1, "tools")
    for messages, is_cut in ((example.messages, True), (example.messages[1:], False)):
        assert (plain.conversation(messages).ids != encoder.conversation(messages).ids) is is_cut


def test_a_reply_has_cut_words_only_from_its_prompt() -> None:
    plain, encoder = (ChatEncoder(load_tokenizer(EMBEDDED)) for _ in range(2))
    encoder.cut_words("a seed", 1.0)
    question = {"role": "user", "content": "Where is the deadline?"}
    copied = {"role": "assistant", "content": "The deadline is there."}
    own = {"role": "assistant", "content": "Nobody told anything."}
    for reply, is_cut in ((copied, True), (own, False)):
        ends = [each.conversation((question, reply)).ids[-8:] for each in (plain, encoder)]
        assert (ends[0] != ends[1]) is is_cut
