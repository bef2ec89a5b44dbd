"""``model_type="responses"``: chat requests at OpenAI's other endpoint, and back."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import BaseModel, Field

from nbtool.configuration import context
from nbtool.errors import LMConfigurationError, LMRateLimitError, LMServerError
from nbtool.lm.responses import outputs_of
from nbtool.lm.responses_api import responses_request
from nbtool.programs.predict import Predict
from nbtool.testing.answers import Answer, Failure
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

pytestmark = [
    pytest.mark.api("LM.responses"),
    # litellm 1.110: its logging turns the usage into another type.
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
    pytest.mark.filterwarnings("ignore:Item .* is using the `ReadOnly`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*fields':DeprecationWarning"),
]
KNOWN = "openai/gpt-4o-mini"  # litellm streams only what its table says can be streamed
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "Do it.", "parameters": {"type": "object"}},
}


@pytest.fixture
def ask(connect):
    """Ask a scripted answer once; return the outputs, the request's fields and the LM."""

    async def asked(answer, prompt="Hi?", *, options=None, **call):
        async with ScriptedServer([answer]) as server:
            lm = connect(server, model_type="responses", **(options or {}))
            outputs = await lm.acall(prompt, **call)
        return outputs, server.requests[0], lm

    return asked


# -- over HTTP -----------------------------------------------------------------------------------


async def test_request_goes_to_the_endpoint_in_its_shape(ask):
    outputs, request, _ = await ask("Hello.", max_tokens=50, temperature=0.3)

    assert (outputs, request.path) == (["Hello."], "/v1/responses")
    content = [{"type": "input_text", "text": "Hi?"}]
    assert request.fields["input"] == [{"role": "user", "content": content}]
    assert (request.fields["max_output_tokens"], request.fields["temperature"]) == (50, 0.3)
    assert "messages" not in request.fields


async def test_reasoning_and_tool_calls_are_part_of_the_output(ask):
    called = Answer("See:", reasoning="Hm.", tool_calls=[{"name": "f", "arguments": {"x": 1}}])
    ((output,), request, _) = await ask(called, tools=[TOOL])

    assert (output["text"], output["reasoning_content"]) == ("See:", "Hm.")
    function = output["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("f", {"x": 1})
    assert request.fields["tools"][0]["name"] == "f"


async def test_call_is_in_the_history_and_has_its_usage(ask):
    _, _, lm = await ask("Paris")

    (entry,) = lm.history
    assert entry["usage"] == {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    assert (entry["model_type"], entry["response_model"]) == ("responses", "test")


async def test_predictor_works_over_it(connect):
    async with ScriptedServer(["[[ ## answer ## ]]\nParis"]) as server:
        with context(lm=connect(server, model_type="responses")):
            prediction = await Predict("question -> answer").acall(question="Capital?")

    assert prediction.answer == "Paris"


async def test_text_arrives_piece_by_piece(connect):
    recorder, seen = Recorder(wants_tokens=True), set()
    async with ScriptedServer([Answer("a b c", chunk_delay_s=0.05)]) as server:
        lm = connect(server, model=KNOWN, model_type="responses")
        with watching(recorder):
            call = asyncio.create_task(lm.acall("x"))
        while not call.done():
            seen.update(record.arrived for record in recorder.records())
            await asyncio.sleep(0.01)

    assert (call.result(), server.requests[0].streamed) == (["a b c"], True)
    assert {"a ", "a b "} <= seen


async def test_answer_that_was_cut_off_is_warned_about(ask, caplog):
    cut = {
        "id": "r", "object": "response", "created_at": 1, "model": "test", "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"}, "parallel_tool_calls": True,
        "tool_choice": "auto", "tools": [],
        "output": [{"type": "message", "id": "m", "role": "assistant", "status": "incomplete",
                    "content": [{"type": "output_text", "text": "cut", "annotations": []}]}],
    }  # fmt: skip
    outputs, _, _ = await ask(Answer(raw=cut), max_tokens=5)

    assert outputs == ["cut"]
    assert "truncated due to exceeding max_tokens=5" in caplog.text


async def test_failure_that_is_told_with_http_200_is_an_error(ask):
    failed = {
        "id": "r", "object": "response", "created_at": 1, "model": "test", "status": "failed",
        "error": {"code": "server_error", "message": "the model broke"}, "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    with pytest.raises(LMServerError, match="the model broke"):
        await ask(Answer(raw=failed))


async def test_errors_are_those_of_the_other_endpoints(ask):
    with pytest.raises(LMRateLimitError) as caught:
        await ask(Failure(429, retry_after=7))

    assert (caught.value.retry_after, caught.value.request_id) == (7, "req_1")


async def test_several_answers_are_refused_before_anything_is_sent(connect):
    async with ScriptedServer() as server:
        with pytest.raises(LMConfigurationError, match="one answer a request, not n=3"):
            await connect(server, model_type="responses").acall("x", n=3)

    assert server.requests == []


async def test_system_turns_become_developer_turns_on_demand(connect):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
    async with ScriptedServer(default="x") as server:
        lm = connect(server, model_type="responses", use_developer_role=True)
        await lm.acall(messages=turns)
        await lm.copy(use_developer_role=False).acall(messages=turns)

    roles = [[item["role"] for item in request.fields["input"]] for request in server.requests]
    assert roles == [["developer", "user"], ["system", "user"]]


# -- shapes --------------------------------------------------------------------------------------


class Place(BaseModel):
    name: str
    default: int = Field(default=1, description="A field that has the name of a keyword.")


def shaped(**chat):
    request = responses_request(chat)
    request.pop("input")
    return request


# Long lines, because a table is read by rows.
# ruff: noqa: E501
ITEMS = {
    "text": ({"role": "user", "content": "x"}, [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]),
    "answer": ({"role": "assistant", "content": "x"}, [{"role": "assistant", "content": [{"type": "output_text", "text": "x"}]}]),
    "parts": ({"role": "user", "content": [{"type": "text", "text": "x"}]}, [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]),
    "image": ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "low"}}]}, [{"role": "user", "content": [{"type": "input_image", "image_url": "u", "detail": "low"}]}]),
    "file": ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]),
    "audio": ({"role": "user", "content": [{"type": "input_audio", "data": "d"}]}, [{"role": "user", "content": [{"type": "input_audio", "data": "d"}]}]),
    "nothing": ({"role": "user", "content": None}, [{"role": "user", "content": []}]),
    "call": ({"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}, [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]),
    "result": ({"role": "tool", "tool_call_id": "c", "content": "42"}, [{"type": "function_call_output", "call_id": "c", "output": "42"}]),
    "result in parts": ({"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]}, [{"type": "function_call_output", "call_id": "c", "output": "42"}]),
}  # fmt: skip


@pytest.mark.parametrize(("turn", "items"), ITEMS.values(), ids=ITEMS)
def test_turn_becomes_items(turn, items):
    assert responses_request({"messages": [turn]})["input"] == items


OPTIONS = {
    "max_tokens": ({"max_tokens": 5}, {"max_output_tokens": 5}),
    "max_completion_tokens": ({"max_completion_tokens": 5}, {"max_output_tokens": 5}),
    "effort": ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low", "summary": "auto"}}),
    "own reasoning": ({"reasoning_effort": "low", "reasoning": {"effort": "high"}}, {"reasoning": {"effort": "high"}}),
    "tool choice": ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"tool_choice": {"type": "function", "name": "f"}}),
    "tool choice by word": ({"tool_choice": "auto"}, {"tool_choice": "auto"}),
    "tool": ({"tools": [TOOL]}, {"tools": [{"type": "function", **TOOL["function"]}]}),
    "built-in tool": ({"tools": [{"type": "web_search"}]}, {"tools": [{"type": "web_search"}]}),
    "json": ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
    "schema": ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}, {"text": {"format": {"type": "json_schema", "name": "a", "schema": {}}}}),
    "others": ({"temperature": 0.1, "seed": 1}, {"temperature": 0.1, "seed": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("chat", "request_"), OPTIONS.values(), ids=OPTIONS)
def test_option_gets_its_name_there(chat, request_):
    assert shaped(**chat) == request_


def test_pydantic_class_becomes_a_strict_schema():
    format_ = shaped(response_format=Place)["text"]["format"]

    assert (format_["name"], format_["strict"]) == ("Place", True)
    assert format_["schema"]["required"] == ["name", "default"]
    assert format_["schema"]["additionalProperties"] is False
    assert "default" not in format_["schema"]["properties"]["default"]


def test_given_input_is_taken_as_it_stands():
    assert responses_request({"input": "x", "messages": [{"role": "user"}]}) == {"input": "x"}


def test_request_is_left_as_it_was():
    chat = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5, "tools": [TOOL]}
    before = json.dumps(chat)
    responses_request(chat)

    assert json.dumps(chat) == before


OUTPUTS = {
    "text": ([{"type": "message", "content": [{"type": "output_text", "text": "x"}]}], ["x"]),
    "texts": ([{"type": "message", "content": [{"text": "x"}, {"text": "y"}]}], ["xy"]),
    "refusal": ([{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}], ["No."]),
    "call": ([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}], [{"text": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]),
    "citation": ([{"type": "message", "content": [{"text": "x", "annotations": [{"type": "url_citation", "url": "u"}]}]}], [{"text": "x", "citations": [{"type": "url_citation", "url": "u"}]}]),
    "reasoning": ([{"type": "reasoning", "content": [{"text": "a"}], "summary": [{"text": "b"}]}, {"type": "message", "content": [{"text": "x"}]}], [{"text": "x", "reasoning_content": "ab"}]),
    "unknown": ([{"type": "web_search_call"}], [""]),
    "damaged": ([{"type": "message", "content": "x"}, None, 5], [""]),
    "nothing": ([], []),
    "no list": ("x", []),
}  # fmt: skip


@pytest.mark.parametrize(("items", "outputs"), OUTPUTS.values(), ids=OUTPUTS)
def test_items_are_read_as_one_output(items, outputs):
    assert outputs_of({"output": items}) == outputs
