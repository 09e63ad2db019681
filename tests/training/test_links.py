"""Where the words of calls are looked up, and how much the heads that learn it are off."""

from __future__ import annotations

from dataclasses import replace
from math import log
from random import Random

import pytest
import torch
from conftest import EMBEDDED
from llama_reference import reference

from smolchat.chatml import tool_calls_text, tool_system_prompt
from training.batches import Batches, make_batches
from training.encoding import ChatEncoder, load_tokenizer
from training.example import Example, Split
from training.links import Kind, find_links
from training.make_data import examples
from training.network import GUIDED, Links, Network, Shape
from training.tool_task import function_schema
from training.train import Losses, Plan, Run, fresh_network

SHAPE = Shape(vocab_size=2560, hidden_size=128, intermediate_size=64, num_hidden_layers=9)


@pytest.fixture(scope="module")
def encoder() -> ChatEncoder:
    encoder = ChatEncoder(load_tokenizer(EMBEDDED))
    encoder.cut_words("links", 0.5)
    return encoder


def test_a_call_is_looked_up_where_the_tool_is_listed() -> None:
    city, unit = ({"type": "string", "description": word} for word in ("Where", "Which unit"))
    tools = [
        function_schema("get_rain", "Rain.", {"city": city}, ["city"]),
        function_schema("get_wind", "Wind.", {"city": city, "unit": unit}, ["city"]),
    ]
    call = {"name": "get_wind", "arguments": {"city": "Oslo", "unit": "knots"}}
    text = (
        f"<|im_start|>system\n{tool_system_prompt(tools)}<|im_end|>\n"
        "<|im_start|>user\nWind in Oslo, in knots?<|im_end|>\n"
        f"<|im_start|>assistant\n{tool_calls_text([call])}<|im_end|>"
    )
    found = find_links(text.encode(), range(len(text)))  # every byte is a token
    wind = text.index("get_wind")
    listed_city, listed_unit = text.index("city", wind), text.index("unit", wind)
    said, called = text.index("Wind in"), text.index("get_wind", text.index("assistant\n"))
    oslo, knots = text.index("Oslo", said), text.index("knots", said)
    arguments = text.index("{", called)

    def sources(kind: Kind, query: int) -> list[tuple[int, str]]:
        places = [link.sources for link in found if link[:2] == (kind, query)]
        return [(place[0], text[place[0] : place[-1] + 1]) for place in places]

    assert sources(Kind.LISTED_OWN_TOOL, listed_unit) == [(wind, 'get_wind"')]
    assert sources(Kind.LISTED_LAST_KEY, listed_city) == [(wind, 'get_wind"')]
    assert sources(Kind.LISTED_LAST_KEY, listed_unit) == [(listed_city, 'city"')]
    assert sources(Kind.NAME, called - 1) == [(wind, "g")]
    assert sources(Kind.NAME, called + 3) == [(wind + 4, "w")]
    assert sources(Kind.KEY, arguments - 1) == [(listed_city, "c")]
    assert sources(Kind.KEY, arguments + 1) == [(listed_city, "c")]
    assert sources(Kind.OWN_TOOL, arguments + 1) == [(called, 'get_wind"')]
    assert sources(Kind.FITTING_KEY, oslo) == [(listed_city, "city")]
    assert sources(Kind.VALUE, arguments) == [(oslo, "Oslo,")]
    after_oslo = text.index('", "', arguments)
    assert sources(Kind.KEY, after_oslo) == [(listed_unit, "u")]
    assert sources(Kind.LAST_KEY, after_oslo) == [(arguments + 2, 'city"')]
    assert sources(Kind.VALUE, after_oslo) == [(knots, "knots?")]
    assert sources(Kind.LISTED_FIRST, wind + 8) == [(wind, "g")]
    assert sources(Kind.LISTED_OWN_TOOL, wind + 8) == [(wind, 'get_wind"')]
    assert sources(Kind.FIRST, called - 1) == [(wind + 8, '"')]
    assert sources(Kind.FITTING_TOOL, said + 3) == [(wind, 'get_wind"')]
    assert sources(Kind.FITTING_TOOL, said) == []  # a word is known at its later tokens
    assert sources(Kind.ASKED, called - 1) == [(said + 1, "ind")]
    assert sources(Kind.ASKED, called + 6) == [(said + 1, "ind")]
    end = text.index("}}]</tool_call>")
    assert text[sources(Kind.KEY, end - 1)[0][0] :].startswith('}, "required": ["city"]')


def test_words_of_the_question_are_looked_up_where_one_name_has_them() -> None:
    level = {"type": "integer", "description": "How high"}
    tools = [
        function_schema("closeOrder", "Close.", {"water_level": level}, []),
        function_schema("stop_order", "Stop.", {"water_type": level, "level": level}, []),
    ]
    call = {"name": "stop_order", "arguments": {"water_type": 3}}
    text = (
        f"<|im_start|>system\n{tool_system_prompt(tools)}<|im_end|>\n"
        "<|im_start|>user\nClose or stop the order of this type, at water level 3<|im_end|>\n"
        f"<|im_start|>assistant\n{tool_calls_text([call])}<|im_end|>"
    )
    found = find_links(text.encode(), range(len(text)))
    looked_up = {
        (link.kind, text[link.query], text[link.sources[0] : link.sources[-1] + 1])
        for link in found
        if link.kind in (Kind.FITTING_TOOL, Kind.NAMED_KEY)
    }
    close = {(Kind.FITTING_TOOL, letter, 'closeOrder"') for letter in "lose"}
    stop = {(Kind.FITTING_TOOL, letter, 'stop_order"') for letter in "top"}
    of_type = {(Kind.NAMED_KEY, letter, 'water_type"') for letter in "ype"}
    assert looked_up == close | stop | of_type


def test_what_is_spelt_is_what_is_found(encoder: ChatEncoder) -> None:
    count = 0
    for example in examples("links", "train", 150, "tools"):
        encoded = encoder.conversation(example.messages)
        ids = encoded.ids
        for link in encoded.links:
            assert max(link.sources) <= link.query < len(ids) - 1
            if link.kind == Kind.NAME:
                assert [ids[link.query + 1]] == [ids[source] for source in link.sources]
                count += 1
    assert count > 300


def test_a_batch_has_the_links_of_its_rows(encoder: ChatEncoder) -> None:
    drawn = examples("links", "train", 24, "tools")
    found, expected = set(), set()
    for batch in make_batches(drawn, encoder, 3000, Random(0)):
        for link, row, query, source in batch.links.ends.tolist():
            ids = (*batch.prefix.tolist(), *batch.rows[row].tolist())
            assert (row < 0) is (query < len(batch.prefix))
            found.add((int(batch.links.kinds[link]), ids[: query + 1], source))
    for example in drawn:
        encoded = encoder.conversation(example.messages)
        for kind, query, sources in encoded.links:
            for source in sources:
                expected.add((int(kind), tuple(encoded.ids[: query + 1]), source))
    assert found == expected


def test_heads_learn_to_look_where_they_are_guided(encoder: ChatEncoder) -> None:
    def same(seed: int | str, split: Split, count: int) -> list[Example]:
        return examples("links", "train", 3, "tools")

    fell = {}
    for guidance in (1.0, 0.0):
        plan = Plan(
            steps=12, warm_up_steps=2, rate=6e-3, prompts=0, guidance=guidance, guided_times=8.0
        )
        network = fresh_network(plan, replace(SHAPE, hidden_size=192), torch.float32, "cpu")
        run = Run(plan, network, Batches(same, encoder, 0, 3000, 600))
        surprises = []
        for _ in range(8):
            losses = Losses()
            run.step(losses)
            surprises.append(losses.sums["look/own_tool"] / losses.counts["look/own_tool"])
        fell[guidance] = surprises[-1] / surprises[0]
    assert fell[1.0] < 0.85
    assert fell[0.0] > 0.9


def test_surprise_is_that_of_the_attention_of_transformers() -> None:
    torch.manual_seed(0)
    network = Network(SHAPE)
    model = reference(network)
    prefix, rows = torch.randint(0, 2048, (5,)), torch.randint(0, 2048, (3, 7))
    kinds = torch.tensor([Kind.NAME, Kind.KEY, Kind.OWN_TOOL, Kind.NAME])
    ends = torch.tensor(
        [[0, 2, 9, 1], [1, 0, 6, 6], [2, 1, 11, 3], [2, 1, 11, 7], [3, -1, 4, 2], [3, -1, 4, 0]]
    )
    whole = torch.cat([prefix.expand(3, -1), rows], 1)
    with torch.inference_mode():
        _, shared = network.states_and_surprise(prefix, rows, Links(kinds, ends))
        _, alone = network.states_and_surprise(prefix[:0], whole, Links(kinds[:3], ends[:4]))
        attended = model(whole, output_attentions=True).attentions
    expected = [0.0] * 4
    for link, row, query, source in ends.tolist():
        layer, head = GUIDED[Kind(int(kinds[link]))]
        sources = int((ends[:, 0] == link).sum())
        share = float(attended[layer][max(row, 0), head, query, source])
        expected[link] -= log(share * sources) / sources
    assert shared.tolist() == pytest.approx(expected, abs=1e-4)
    assert alone.tolist() == pytest.approx(expected[:3], abs=1e-4)


def test_a_network_without_those_layers_is_not_guided() -> None:
    network = Network(replace(SHAPE, num_hidden_layers=2))
    links = Links(torch.tensor([Kind.NAME]), torch.tensor([[0, 0, 3, 1]]))
    _, surprise = network.states_and_surprise(torch.zeros(0).long(), torch.ones(1, 5).long(), links)
    assert surprise.tolist() == [0.0]
