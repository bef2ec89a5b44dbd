"""The scripted server, driven by aiohttp's client as a program under test would."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nbtool.errors import ConfigurationError
from nbtool.testing.answers import Answer, Drop, Failure, Hang
from nbtool.testing.server import ScriptedServer

CHECKOUT = Path(__file__).resolve().parents[2]
CHAT = "/chat/completions"
WEATHER = {"name": "weather", "arguments": {"city": "Oslo"}}


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


def turn(text: str = "What is the capital of France?", **fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], **fields}


async def ask(client, server, path: str = CHAT, **fields: Any) -> dict[str, Any]:
    async with client.post(server.base_url + path, json=turn(**fields)) as reply:
        return await reply.json()


async def said(client, server, **fields: Any) -> str:
    answer = await ask(client, server, **fields)
    return answer["choices"][0]["message"]["content"]


async def events(client, server, path: str = CHAT, **fields: Any) -> list[dict[str, Any]]:
    async with client.post(server.base_url + path, json=turn(stream=True, **fields)) as reply:
        lines = (await reply.text()).splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def joined(chunks: list[dict[str, Any]], name: str = "content") -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get(name) or "" for delta in deltas)


# --- what is answered


async def test_answers_come_in_the_order_of_the_script(client):
    async with ScriptedServer(["Paris", Answer("Rome")]) as server:
        assert await said(client, server) == "Paris"
        assert await said(client, server) == "Rome"


async def test_chat_answer_has_the_shape_of_openai(client):
    async with ScriptedServer(["It is Paris"]) as server:
        answer = await ask(client, server)

    assert answer["object"] == "chat.completion"
    assert answer["model"] == "tiny"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "It is Paris"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 6, "completion_tokens": 3, "total_tokens": 9}


async def test_tool_calls_are_sent_as_json_text_and_end_the_choice(client):
    async with ScriptedServer([Answer(tool_calls=[WEATHER])]) as server:
        answer = await ask(client, server)

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
        answer = await ask(client, server)

    sent = answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert sent == '{"city": '


async def test_reasoning_goes_beside_the_text(client):
    async with ScriptedServer([Answer("Paris", reasoning="France, so")]) as server:
        answer = await ask(client, server)

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
        sent = await ask(client, server, **fields)

    assert [choice["message"]["content"] for choice in sent["choices"]] == texts


async def test_given_usage_model_and_finish_reason_replace_the_defaults(client):
    answer = Answer("a", usage={"total_tokens": 7}, model="other", finish_reason="length")
    async with ScriptedServer([answer]) as server:
        sent = await ask(client, server)

    assert sent["usage"] == {"total_tokens": 7}
    assert sent["model"] == "other"
    assert sent["choices"][0]["finish_reason"] == "length"


async def test_empty_usage_leaves_the_field_out(client):
    async with ScriptedServer([Answer("a", usage={})]) as server:
        assert "usage" not in await ask(client, server)


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        pytest.param('{"choices": [{"mess', "application/json", id="truncated JSON"),
        pytest.param("<html>Bad gateway</html>", "text/html", id="HTML"),
    ],
)
async def test_raw_body_is_sent_as_it_stands(client, raw, content_type):
    script = [Answer(raw=raw, content_type=content_type)]
    async with ScriptedServer(script) as server, client.post(server.base_url + CHAT, json={}) as r:
        assert (r.status, r.content_type) == (200, content_type)
        assert await r.text() == raw


async def test_delay_holds_back_the_first_byte(client):
    async with ScriptedServer([Answer("late", delay_s=0.1)]) as server:
        asked_s = asyncio.get_running_loop().time()
        assert await said(client, server) == "late"

    assert asyncio.get_running_loop().time() - asked_s >= 0.1


# --- streams


async def test_stream_sends_the_text_word_by_word(client):
    async with ScriptedServer(["It is  Paris"]) as server:
        chunks = await events(client, server)

    assert chunks[0]["object"] == "chat.completion.chunk"
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == [
        "",
        "It ",
        "is  ",
        "Paris",
        None,
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_stream_ends_with_done(client):
    async with (
        ScriptedServer(["Paris"]) as server,
        client.post(server.base_url + CHAT, json=turn(stream=True)) as reply,
    ):
        assert reply.content_type == "text/event-stream"
        assert (await reply.text()).endswith("data: [DONE]\n\n")


async def test_given_chunks_are_the_pieces_and_the_text(client):
    async with ScriptedServer(default=Answer(chunks=["Pa", "ris"])) as server:
        chunks = await events(client, server)
        whole = await said(client, server)

    assert [c["choices"][0]["delta"].get("content") for c in chunks[1:3]] == ["Pa", "ris"]
    assert whole == "Paris"


async def test_chunk_delay_lies_between_the_events(client):
    async with (
        ScriptedServer([Answer(chunks=["a", "b"], chunk_delay_s=0.05)]) as server,
        client.post(server.base_url + CHAT, json=turn(stream=True)) as reply,
    ):
        first_s = asyncio.get_running_loop().time()
        await reply.read()

    assert asyncio.get_running_loop().time() - first_s >= 0.15


async def test_stream_sends_tool_calls_in_pieces(client):
    async with ScriptedServer([Answer(tool_calls=[WEATHER])]) as server:
        chunks = await events(client, server)

    deltas = [c["choices"][0]["delta"] for c in chunks if c["choices"][0]["delta"]][1:]
    assert deltas[0]["tool_calls"][0]["function"] == {"name": "weather", "arguments": ""}
    pieces = [delta["tool_calls"][0]["function"]["arguments"] for delta in deltas]
    assert "".join(pieces) == '{"city": "Oslo"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_stream_sends_reasoning_before_the_text(client):
    async with ScriptedServer([Answer("Paris", reasoning="so it is")]) as server:
        chunks = await events(client, server)

    assert joined(chunks, "reasoning_content") == "so it is"
    assert joined(chunks) == "Paris"


async def test_stream_sends_usage_when_asked_for(client):
    async with ScriptedServer(["Paris"]) as server:
        chunks = await events(client, server, stream_options={"include_usage": True})

    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 7


# --- the other endpoints


async def test_completions_answer_has_text_choices(client):
    async with ScriptedServer(["Paris"]) as server:
        answer = await ask(client, server, "/completions", prompt="The capital?", messages=None)

    assert answer["choices"][0]["text"] == "Paris"
    assert answer["usage"]["prompt_tokens"] == 2


async def test_completions_stream_sends_text_pieces(client):
    async with ScriptedServer(["It is"]) as server:
        chunks = await events(client, server, "/completions")

    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["It ", "is", ""]


async def test_responses_answer_has_output_items(client):
    answer = Answer("Paris", reasoning="so", tool_calls=[WEATHER])
    async with ScriptedServer([answer]) as server:
        sent = await ask(client, server, "/responses", input="The capital?", messages=None)

    assert [item["type"] for item in sent["output"]] == ["reasoning", "message", "function_call"]
    assert sent["output"][1]["content"][0]["text"] == "Paris"
    assert sent["status"] == "completed"
    assert sent["usage"]["input_tokens"] == 2


async def test_responses_stream_ends_with_the_whole_response(client):
    async with ScriptedServer(["It is"]) as server:
        sent = await events(client, server, "/responses")

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


# --- what goes wrong


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 413, 429, 500, 503])
async def test_failure_sends_its_status_and_message(client, status):
    script = [Failure(status, "no luck", code="my_code")]
    async with (
        ScriptedServer(script) as server,
        client.post(server.base_url + CHAT, json=turn()) as reply,
    ):
        assert reply.status == status
        assert "retry-after" not in reply.headers
        error = (await reply.json())["error"]
    assert (error["message"], error["code"]) == ("no luck", "my_code")


async def test_failure_sends_retry_after_in_seconds(client):
    async with (
        ScriptedServer([Failure(429, retry_after=1.5)]) as server,
        client.post(server.base_url + CHAT, json=turn()) as reply,
    ):
        assert reply.headers["retry-after"] == "1.5"


async def test_failure_may_have_any_body(client):
    script = [Failure(503, body="<html>", content_type="text/html")]
    async with (
        ScriptedServer(script) as server,
        client.post(server.base_url + CHAT, json=turn()) as reply,
    ):
        assert (reply.content_type, await reply.text()) == ("text/html", "<html>")


@pytest.mark.parametrize(
    ("step", "error", "reason"),
    [
        pytest.param(Drop(), aiohttp.ClientOSError, "reset by peer", id="reset at once"),
        pytest.param(
            Drop(reset=False), aiohttp.ServerDisconnectedError, "disconnected", id="closed at once"
        ),
        pytest.param(Drop(0), aiohttp.ClientPayloadError, "reset by", id="reset after headers"),
        pytest.param(Drop(40), aiohttp.ClientPayloadError, "reset by", id="reset in the body"),
        pytest.param(Drop(9_000), aiohttp.ClientPayloadError, "reset by", id="reset at its end"),
        pytest.param(
            Drop(40, reset=False), aiohttp.ClientPayloadError, "not completed", id="closed in it"
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_drop_breaks_the_connection(client, step, error, reason, stream):
    async with ScriptedServer([step]) as server:
        with pytest.raises(error, match=reason):
            await ask(client, server, stream=stream)

    assert server.aborted == 0


async def test_drop_sends_as_many_bytes_as_told(client):
    script = [Drop(30, of=Answer("Paris"))]
    async with (
        ScriptedServer(script) as server,
        client.post(server.base_url + CHAT, json=turn()) as reply,
    ):
        assert reply.status == 200
        assert len(await reply.content.readexactly(30)) == 30
        with pytest.raises(aiohttp.ClientError):
            await reply.read()


async def test_hang_is_silent_until_the_client_gives_up(client):
    async with ScriptedServer([Hang()]) as server:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(client, server), 0.1)
        await server.wait_until(lambda: server.aborted, timeout_s=0.2)

    assert server.requests[0].aborted


async def test_hang_may_begin_an_answer(client):
    script = [Hang(20)]
    async with (
        ScriptedServer(script) as server,
        client.post(server.base_url + CHAT, json=turn()) as reply,
    ):
        assert len(await reply.content.readexactly(20)) == 20
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reply.read(), 0.1)


async def test_used_up_script_says_so_and_quotes_the_request(client):
    async with (
        ScriptedServer() as server,
        client.post(server.base_url + CHAT, json=turn("Which city?")) as reply,
    ):
        assert reply.status == 500
        message = (await reply.json())["error"]["message"]
    assert "used up" in message
    assert "'Which city?'" in message


# --- which step is taken


async def test_default_answers_when_the_script_is_used_up(client):
    async with ScriptedServer(["first"], default="else") as server:
        texts = [await said(client, server), await said(client, server), await said(client, server)]

    assert texts == ["first", "else", "else"]


async def test_prompts_choose_their_answers_whatever_the_order(client):
    table = {"capital": Answer("Paris"), "river": ["Seine", "Loire"]}
    async with ScriptedServer(by_prompt=table) as server:
        prompts = ("a river", "the capital", "a river", "the capital")
        asked = [said(client, server, text=text) for text in prompts]
        texts = await asyncio.gather(*asked)

    assert sorted(texts) == ["Loire", "Paris", "Paris", "Seine"]
    assert texts[1] == texts[3] == "Paris"


async def test_part_of_a_prompt_whose_list_is_used_up_answers_no_more(client):
    async with ScriptedServer(["spare"], by_prompt={"river": ["Seine"]}) as server:
        assert await said(client, server, text="a river") == "Seine"
        assert await said(client, server, text="a river") == "spare"


async def test_unused_names_what_nobody_asked_for(client):
    table = {"capital": Answer("Paris"), "river": ["Seine"], "lake": "Annecy"}
    async with ScriptedServer(["a", "b"], by_prompt=table) as server:
        await said(client, server, text="the capital")
        await said(client, server, text="whatever")

    assert server.unused == [Answer("b"), Answer("Seine"), Answer("Annecy")]


async def test_respond_may_be_a_plain_function(client):
    async with ScriptedServer(respond=lambda request: request.prompt.upper()) as server:
        assert await said(client, server, text="loud") == "LOUD"


async def test_respond_may_be_async_and_order_the_answers(client):
    second_came = asyncio.Event()

    async def respond(request):
        first = request.prompt == "first"
        await (second_came.wait() if first else asyncio.sleep(0))
        second_came.set()
        return request.prompt

    async with ScriptedServer(respond=respond) as server:
        waiting = asyncio.create_task(said(client, server, text="first"))
        await server.wait_until(lambda: server.in_flight == 1)
        assert await said(client, server, text="second") == "second"
        assert await waiting == "first"


async def test_respond_that_returns_none_leaves_it_to_the_default(client):
    async with ScriptedServer(respond=lambda request: None, default="else") as server:
        assert await said(client, server) == "else"


async def test_respond_that_raises_is_told_to_the_client(client):
    async with (
        ScriptedServer(respond=lambda request: 1 / 0) as server,
        client.post(server.base_url + CHAT, json=turn()) as reply,
    ):
        assert reply.status == 500
        assert "ZeroDivisionError" in await reply.text()


# --- what is recorded


async def test_request_is_recorded_with_headers_body_and_time(client):
    async with (
        ScriptedServer(["Paris"]) as server,
        client.post(server.base_url + CHAT, json=turn(), headers={"X-Key": "k"}) as reply,
    ):
        assert reply.headers["x-request-id"] == "req_1"
    request = server.requests[0]
    assert (request.number, request.method, request.path) == (1, "POST", "/v1/chat/completions")
    assert request.headers["x-key"] == "k"
    assert request.body == turn()
    assert 0 < request.at_s < 5
    assert not request.aborted


async def test_prompt_is_the_text_of_the_last_user_turn(client):
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "x"}}]
    messages = [{"role": "user", "content": "hi"}, {"role": "user", "content": parts}]
    async with ScriptedServer([Answer("seen")]) as server:
        await ask(client, server, messages=messages)

    assert server.requests[0].prompt == "look"


async def test_large_bodies_are_accepted(client):
    body = io.BytesIO(json.dumps(turn("x" * 3_000_000)).encode())
    async with (
        ScriptedServer(["read"]) as server,
        client.post(server.base_url + CHAT, data=body) as reply,
    ):
        assert reply.status == 200
    assert len(server.requests[0].prompt) == 3_000_000


async def test_requests_in_flight_and_connections_are_counted(client):
    async with ScriptedServer(default=Answer("ok", delay_s=0.1)) as server:
        waiting = asyncio.gather(*(said(client, server) for _ in range(5)))
        await server.wait_until(lambda: server.in_flight == 5)
        await waiting
        assert (server.in_flight, server.in_flight_peak) == (0, 5)
        assert (server.connections_open, server.connections_peak) == (5, 5)


async def test_kept_connection_has_one_number(client):
    async with ScriptedServer(default="ok") as server:
        await said(client, server)
        await said(client, server)

    assert [request.connection_id for request in server.requests] == [1, 1]


async def test_client_that_leaves_a_delayed_answer_is_noticed(client):
    async with ScriptedServer([Answer("late", delay_s=30)]) as server:
        asked = asyncio.create_task(said(client, server))
        await server.wait_until(lambda: server.in_flight)
        asked.cancel()
        await server.wait_until(lambda: server.aborted == 1, timeout_s=0.2)
        assert server.in_flight == 0


async def test_client_that_leaves_a_stream_is_noticed(client, caplog):
    endless = Answer(chunks=["word "] * 10_000, chunk_delay_s=0.001)
    async with ScriptedServer([endless]) as server:
        async with client.post(server.base_url + CHAT, json=turn(stream=True)) as reply:
            await reply.content.readline()
        await server.wait_until(lambda: server.aborted == 1, timeout_s=0.2)

    assert caplog.records == []


# --- how it ends


async def test_leaving_closes_all_connections_and_tasks(client):
    tasks_before = asyncio.all_tasks()
    async with ScriptedServer([Hang()], default="ok") as server:
        waiting = asyncio.create_task(said(client, server))
        await server.wait_until(lambda: server.in_flight)
        await said(client, server)

    assert server.connections_open == server.in_flight == server.aborted == 0
    with pytest.raises(aiohttp.ClientError):
        await waiting
    assert asyncio.all_tasks() <= tasks_before | {waiting}


async def test_port_is_free_after_leaving(client):
    async with ScriptedServer(["ok"]) as server:
        await said(client, server)
    with pytest.raises(aiohttp.ClientConnectorError):
        await said(client, server)


async def test_script_goes_on_where_it_was_when_entered_again(client):
    server = ScriptedServer(["one", "two"])
    async with server:
        await said(client, server)
    async with server:
        assert await said(client, server) == "two"


def test_address_before_the_start_is_an_error_that_says_what_to_do():
    with pytest.raises(ConfigurationError, match="Enter it first"):
        _ = ScriptedServer().base_url


def post(server: ScriptedServer) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - the server's own address
        server.base_url + CHAT,
        json.dumps(turn()).encode(),
        {"content-type": "application/json", "connection": "close"},
    )
    with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310 - as above
        return json.load(reply)


def test_plain_with_serves_blocking_clients_from_a_thread_of_its_own():
    with ScriptedServer(["Paris"]) as server:
        answer = post(server)

    assert answer["choices"][0]["message"]["content"] == "Paris"
    assert server.connections_open == 0


async def test_plain_with_serves_a_blocking_client_on_a_running_loop():
    with ScriptedServer(["Paris"]) as server:
        assert post(server)["choices"][0]["message"]["content"] == "Paris"


PROGRAM = """
import asyncio, urllib.request
from nbtool.testing.answers import Hang
from nbtool.testing.server import ScriptedServer

async def main():
    async with ScriptedServer([Hang(3)]) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url[17:-3]))
        writer.write(b"POST /v1/completions HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: 2\\r\\n\\r\\n{}")
        await server.wait_until(lambda: server.in_flight)
    writer.close()

asyncio.run(main())
with ScriptedServer() as server:
    urllib.request.urlopen(server.base_url + "/models").read()
"""


def test_program_that_used_it_leaves_nothing_open_and_no_task():
    ended = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM],
        check=False,
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
