"""An `LM` that somebody watches streams, and nothing else changes."""

from __future__ import annotations

import asyncio

import pytest

from nbtool.errors import LMInvalidRequestError, LMRateLimitError, LMTimeoutError, LMTransportError
from nbtool.testing.answers import Answer, Drop, Failure, Hang
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

# litellm's own models warn on the first stream of a process; it filters that, pytest undoes it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Item .* is using the `ReadOnly`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*fields':DeprecationWarning"),
]

LONG = Answer("one two three four five six seven eight nine ten")
ANSWERS = {
    "text": Answer("The capital is Paris."),
    "white space and emoji": Answer(" zß水🍌 \n\n x  "),
    "one piece": Answer(chunks=["whole"]),
    "tool calls": Answer(
        tool_calls=[
            {"name": "f", "arguments": {"x": 1}, "id": "c1"},
            {"name": "g", "arguments": {}, "id": "c2"},
        ]
    ),
    "text and tool call": Answer("See:", tool_calls=[{"name": "f", "arguments": {}, "id": "c"}]),
    "reasoning": Answer("Paris", reasoning="France, so Paris."),
    "null": Answer(None),
    "empty": Answer(""),
    "cut off": Answer("cut", finish_reason="length"),
    "own usage": Answer(
        "x", usage={"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    ),
}


def kept(entry):
    passing = ("uuid", "timestamp", "response")
    return {name: value for name, value in entry.items() if name not in passing}


@pytest.fixture
def watched(connect):
    """Ask once; return the outputs, the step and the history entry, comparable."""

    async def ask(answer, *, wants_tokens):
        recorder = Recorder(wants_tokens=wants_tokens)
        async with ScriptedServer([answer]) as server:
            lm = connect(server, cache=False)
            with watching(recorder):
                outputs = await lm.acall("What?")
        (step,) = recorder.records()
        was_streamed = server.requests[0].streamed
        return was_streamed, (outputs, step.usage, step.attributes, kept(lm.history[0]))

    return ask


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_streamed_answer_equals_the_unstreamed_one(watched, answer):
    plain_streamed, plain = await watched(answer, wants_tokens=False)
    live_streamed, live = await watched(answer, wants_tokens=True)

    assert (plain_streamed, live_streamed) == (False, True)
    assert live == plain


@pytest.fixture
def seen_of(connect):
    """Ask while somebody looks; return the texts that were there at some time."""

    async def ask(*script, **options):
        recorder = Recorder(wants_tokens=True)
        seen = set()
        async with ScriptedServer(script) as server:
            with watching(recorder):
                call = asyncio.create_task(connect(server, **options).acall("x"))
            while not call.done():
                seen.update(record.arrived for record in recorder.records())
                await asyncio.sleep(0.01)
        return call.result(), seen

    return ask


async def test_text_arrives_piece_by_piece(seen_of):
    outputs, seen = await seen_of(Answer("a b c d", chunk_delay_s=0.05))

    assert outputs == ["a b c d"]
    assert {"a ", "a b ", "a b c "} <= seen


@pytest.mark.parametrize("options", [{"n": 2}, {"logprobs": True}], ids=["n", "logprobs"])
async def test_answers_that_a_stream_cannot_carry_are_not_streamed(connect, options):
    async with ScriptedServer([Answer("x")]) as server:
        with watching(Recorder(wants_tokens=True)):
            await connect(server).acall("x", **options)

    assert not server.requests[0].streamed


@pytest.mark.parametrize(
    ("step", "error"),
    [
        pytest.param(Failure(429, retry_after=7), LMRateLimitError, id="429"),
        pytest.param(Drop(), LMTransportError, id="dropped at once"),
        pytest.param(Drop(700, of=LONG), LMTransportError, id="dropped in the stream"),
        pytest.param(Hang(700, of=LONG), LMTimeoutError, id="silent in the stream"),
    ],
)
async def test_streamed_failure_is_told_as_an_unstreamed_one(connect, step, error):
    async with ScriptedServer([step]) as server:
        with watching(Recorder(wants_tokens=True)), pytest.raises(error) as caught:
            await connect(server, timeout=0.5).acall("x")

    assert caught.value.model == "openai/test"


async def test_text_of_a_failed_attempt_is_forgotten(seen_of):
    script = (Drop(900, of=LONG), Answer("a b c d", chunk_delay_s=0.05))
    outputs, seen = await seen_of(*script, num_retries=1)

    assert outputs == ["a b c d"]
    assert any(text.startswith("one ") for text in seen)
    assert {"a ", "a b ", "a b c "} <= seen


REFUSALS = {
    "not verified": Failure(400, "Your organization must be verified to stream this model."),
    "forbidden": Failure(403, "Streaming is not allowed for this key."),
    "option": Failure(422, "Unrecognized request argument supplied: stream_options"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_provider_that_refuses_a_stream_is_asked_without_from_then_on(connect, refusal):
    async with ScriptedServer(
        respond=lambda request: refusal if request.streamed else Answer("Paris")
    ) as server:
        lm = connect(server, cache=False)
        with watching(Recorder(wants_tokens=True)):
            outputs = [await lm.acall("x"), await lm.acall("y")]

    assert outputs == [["Paris"], ["Paris"]]
    assert [request.streamed for request in server.requests] == [True, False, False]
    assert len(lm.history) == 2


async def test_whole_answer_where_events_were_asked_for_is_asked_for_again(connect):
    whole = {"choices": [{"message": {"role": "assistant", "content": "Paris"}}]}
    async with ScriptedServer(default=Answer(raw=whole)) as server:
        with watching(Recorder(wants_tokens=True)):
            outputs = await connect(server).acall("x")

    assert outputs == ["Paris"]
    assert [request.streamed for request in server.requests] == [True, False]


async def test_request_that_is_refused_for_another_reason_is_sent_once(connect):
    async with ScriptedServer(default=Failure(400, "No such model.")) as server:
        with watching(Recorder(wants_tokens=True)), pytest.raises(LMInvalidRequestError):
            await connect(server).acall("x")

    assert len(server.requests) == 1
