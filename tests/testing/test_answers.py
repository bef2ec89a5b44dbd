"""How the scripted server answers a whole request, at each of its endpoints."""

from __future__ import annotations

import asyncio

import pytest

from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer

CHAT = "/chat/completions"
WEATHER = {"name": "weather", "arguments": {"city": "Oslo"}}


async def test_answers_come_in_the_order_of_the_script(client):
    async with ScriptedServer(["Paris", Answer("Rome")]) as server:
        assert await client.said(server) == "Paris"
        assert await client.said(server) == "Rome"


async def test_chat_answer_has_the_shape_of_openai(client):
    async with ScriptedServer(["It is Paris"]) as server:
        answer = await client.ask(server)

    assert answer["object"] == "chat.completion"
    assert answer["model"] == "tiny"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "It is Paris"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 6, "completion_tokens": 3, "total_tokens": 9}


async def test_tool_calls_are_sent_as_json_text_and_end_the_choice(client):
    async with ScriptedServer([Answer(tool_calls=[WEATHER])]) as server:
        answer = await client.ask(server)

    choice = answer["choices"][0]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["id"] == "call_1_1"
    assert choice["message"]["tool_calls"][0]["function"] == {
        "name": "weather",
        "arguments": '{"city": "Oslo"}',
    }
    assert choice["finish_reason"] == "tool_calls"


async def test_arguments_given_as_text_are_sent_as_they_stand(client):
    broken = {"name": "weather", "arguments": '{"city": '}
    async with ScriptedServer([Answer(tool_calls=[broken])]) as server:
        answer = await client.ask(server)

    sent = answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert sent == '{"city": '


async def test_reasoning_goes_beside_the_text(client):
    async with ScriptedServer([Answer("Paris", reasoning="France, so")]) as server:
        answer = await client.ask(server)

    assert answer["choices"][0]["message"]["reasoning_content"] == "France, so"


@pytest.mark.parametrize(
    ("answer", "fields", "texts"),
    [
        pytest.param(Answer("a"), {"n": 2}, ["a", "a"], id="as many as the request asks"),
        pytest.param(Answer(["a", "b"]), {"n": 2}, ["a", "b"], id="a text each"),
        pytest.param(Answer("a", n_choices=0), {}, [], id="empty"),
        pytest.param(Answer(None), {}, [None], id="null content"),
    ],
)
async def test_choices_are_as_many_as_scripted(client, answer, fields, texts):
    async with ScriptedServer([answer]) as server:
        sent = await client.ask(server, **fields)

    assert [choice["message"]["content"] for choice in sent["choices"]] == texts


async def test_given_usage_model_and_finish_reason_replace_the_defaults(client):
    answer = Answer("a", usage={"total_tokens": 7}, model="other", finish_reason="length")
    async with ScriptedServer([answer]) as server:
        sent = await client.ask(server)

    assert sent["usage"] == {"total_tokens": 7}
    assert sent["model"] == "other"
    assert sent["choices"][0]["finish_reason"] == "length"


async def test_empty_usage_leaves_the_field_out(client):
    async with ScriptedServer([Answer("a", usage={})]) as server:
        assert "usage" not in await client.ask(server)


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        pytest.param('{"choices": [{"mess', "application/json", id="truncated JSON"),
        pytest.param("<html>Bad gateway</html>", "text/html", id="HTML"),
    ],
)
async def test_raw_body_is_sent_as_it_stands(client, raw, content_type):
    script = [Answer(raw=raw, content_type=content_type)]
    async with ScriptedServer(script) as server, client.chat(server) as r:
        assert (r.status, r.content_type) == (200, content_type)
        assert await r.text() == raw


async def test_delay_holds_back_the_first_byte(client):
    async with ScriptedServer([Answer("late", delay_s=0.1)]) as server:
        asked_s = asyncio.get_running_loop().time()
        assert await client.said(server) == "late"

    assert asyncio.get_running_loop().time() - asked_s >= 0.1


async def test_completions_answer_has_text_choices(client):
    async with ScriptedServer(["Paris"]) as server:
        answer = await client.ask(server, "/completions", prompt="The capital?", messages=None)

    assert answer["choices"][0]["text"] == "Paris"
    assert answer["usage"]["prompt_tokens"] == 2


async def test_completions_stream_sends_text_pieces(client):
    async with ScriptedServer(["It is"]) as server:
        chunks = await client.events(server, "/completions")

    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["It ", "is", ""]


async def test_responses_answer_has_output_items(client):
    answer = Answer("Paris", reasoning="so", tool_calls=[WEATHER])
    async with ScriptedServer([answer]) as server:
        sent = await client.ask(server, "/responses", input="The capital?", messages=None)

    assert [item["type"] for item in sent["output"]] == ["reasoning", "message", "function_call"]
    assert sent["output"][1]["content"][0]["text"] == "Paris"
    assert sent["status"] == "completed"
    assert sent["usage"]["input_tokens"] == 2


async def test_responses_stream_ends_with_the_whole_response(client):
    async with ScriptedServer(["It is"]) as server:
        sent = await client.events(server, "/responses")

    deltas = [event["delta"] for event in sent if event["type"] == "response.output_text.delta"]
    assert deltas == ["It ", "is"]
    assert sent[-1]["type"] == "response.completed"
    assert sent[-1]["response"]["output"][0]["content"][0]["text"] == "It is"


async def test_models_are_listed_without_a_script(client):
    async with (
        ScriptedServer(models=["tiny", "big"]) as server,
        client.get(server.base_url + "/models") as reply,
    ):
        assert [model["id"] for model in (await reply.json())["data"]] == ["tiny", "big"]


async def test_unknown_path_is_not_found_and_takes_no_step(client):
    async with (
        ScriptedServer(["Paris"]) as server,
        client.post(server.base_url + "/embeddings", json={}) as reply,
    ):
        assert reply.status == 404
        assert "/v1/embeddings" in await reply.text()
    assert server.unused == [Answer("Paris")]


async def test_body_that_is_no_json_is_refused(client):
    async with (
        ScriptedServer(["Paris"]) as server,
        client.post(server.base_url + CHAT, data=b"{") as reply,
    ):
        assert reply.status == 400
    assert server.requests[0].body is None
