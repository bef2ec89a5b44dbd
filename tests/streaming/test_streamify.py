"""`streamify` gives what happens in a program, as DSPy's does, and never hangs."""

from __future__ import annotations

import asyncio
import json

import pytest

import nbtool
from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.adapters.xml import XMLAdapter
from nbtool.errors import InputError
from nbtool.lm.base import BaseLM
from nbtool.streaming import (
    StatusMessage,
    StatusMessageProvider,
    StreamListener,
    StreamResponse,
    apply_sync_streaming,
    streaming_response,
)
from nbtool.testing.answers import Answer
from nbtool.testing.dummy import DummyLM
from nbtool.testing.server import ScriptedServer

# litellm's own models warn on the first stream of a process; it filters that, pytest undoes it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Item .* is using the `ReadOnly`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*fields':DeprecationWarning"),
]

STREAMIFY = pytest.mark.api("streamify")
LISTENERS = pytest.mark.api("StreamListener")


async def all_of(stream):
    return [item async for item in stream]


def kinds(items):
    """Name the kinds of what came, each once in a row."""
    names = [type(item).__name__ for item in items]
    return [name for at, name in enumerate(names) if names[at - 1 : at] != [name]]


def text_of(items, field="answer"):
    pieces = [item for item in items if isinstance(item, StreamResponse)]
    return "".join(p.chunk for p in pieces if p.signature_field_name == field)


@pytest.fixture
def served(connect):
    """Read all that a streamified program gives on a server with answers."""

    async def read(program, *answers, lm=None, **inputs):
        async with ScriptedServer(answers) as server:
            with nbtool.context(lm=connect(server, **(lm or {}))):
                return await all_of(program(**(inputs or {"question": "?"})))

    return read


@STREAMIFY
async def test_without_listeners_all_texts_come_as_chunks_and_then_the_prediction(served, chat):
    program = nbtool.streamify(nbtool.Predict("question -> answer"))
    items = await served(program, Answer(chat(answer="Paris")))
    assert kinds(items) == ["Chunk", "Prediction"]
    texts = [item.choices[0].delta.content for item in items[:-1]]
    assert "".join(text or "" for text in texts) == chat(answer="Paris")
    assert items[-2].choices[0].finish_reason == "stop"


@STREAMIFY
@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter(), XMLAdapter()], ids=repr)
async def test_a_listener_gives_its_field_alone(served, adapter):
    asked = nbtool.Signature("question -> reasoning, answer")
    fields = {"reasoning": "It is so.", "answer": "Paris it is"}
    written = str(adapter.format_assistant_message_content(asked, fields))
    listener = StreamListener("answer")
    program = nbtool.streamify(
        nbtool.ChainOfThought("question -> answer"), stream_listeners=[listener]
    )
    with nbtool.context(adapter=adapter):
        items = await served(program, Answer(written))
    assert kinds(items) == ["StreamResponse", "Prediction"]
    assert text_of(items) == "Paris it is"
    assert {item.predict_name for item in items[:-1]} == {"predict"}


class Two(nbtool.Module):
    """Ask twice: two predictors have the same field."""

    def __init__(self):
        super().__init__()
        self.first = nbtool.Predict("question -> answer")
        self.second = nbtool.Predict("question -> answer")

    async def aforward(self, question):
        answer = (await self.first.acall(question=question)).answer
        return await self.second.acall(question=answer)


@LISTENERS
def test_a_field_of_several_predictors_has_to_be_told_apart():
    with pytest.raises(InputError, match="Signature field answer is not unique in the program"):
        nbtool.streamify(Two(), stream_listeners=[StreamListener("answer")])


@LISTENERS
def test_a_field_that_no_predictor_has_is_refused():
    with pytest.raises(InputError, match="Signature field reply is not a field of any predictor"):
        nbtool.streamify(Two(), stream_listeners=[StreamListener("reply")])


@LISTENERS
async def test_a_listener_may_name_its_predictor(served, chat):
    program = Two()
    listener = StreamListener("answer", predict=program.second, predict_name="the second")
    stream = nbtool.streamify(program, stream_listeners=[listener])
    items = await served(stream, Answer(chat(answer="one")), Answer(chat(answer="two")))
    assert {item.predict_name for item in items[:-1]} == {"the second"}
    assert text_of(items) == "two"


class Again(nbtool.Module):
    """Ask the same predictor twice."""

    def __init__(self):
        super().__init__()
        self.predict = nbtool.Predict("question -> answer")

    async def aforward(self, question):
        await self.predict.acall(question=question)
        return await self.predict.acall(question=question)


@LISTENERS
@pytest.mark.parametrize(("allow_reuse", "text"), [(False, "one"), (True, "onetwo")])
async def test_a_listener_gives_a_predictor_s_first_answer_or_all(served, chat, allow_reuse, text):
    listener = StreamListener("answer", allow_reuse=allow_reuse)
    stream = nbtool.streamify(Again(), stream_listeners=[listener])
    items = await served(stream, Answer(chat(answer="one")), Answer(chat(answer="two")))
    assert text_of(items) == text


@STREAMIFY
async def test_a_streamified_program_can_be_called_again_and_at_the_same_time(connect, chat):
    listener = StreamListener("answer")
    stream = nbtool.streamify(nbtool.Predict("question -> answer"), stream_listeners=[listener])
    async with ScriptedServer(default=Answer(chat(answer="a b c"))) as server:
        with nbtool.context(lm=connect(server)):
            found = await asyncio.gather(*(all_of(stream(question=str(n))) for n in range(20)))
    assert [text_of(items) for items in found] == ["a b c"] * 20


@STREAMIFY
@pytest.mark.parametrize("is_cached", [False, True], ids=["asked", "cache hit"])
async def test_the_prediction_may_be_left_out_where_something_was_streamed(
    connect, chat, is_cached
):
    listeners = [StreamListener("answer")]
    stream = nbtool.streamify(
        nbtool.Predict("question -> answer"),
        stream_listeners=listeners,
        include_final_prediction_in_output_stream=False,
    )
    async with ScriptedServer(default=Answer(chat(answer="Paris"))) as server:
        with nbtool.context(lm=connect(server, cache=True)):
            items = [await all_of(stream(question="?")) for _ in range(1 + is_cached)][-1]
    assert kinds(items) == (["Prediction"] if is_cached else ["StreamResponse"])


def agent(answers):
    async def double(x: int) -> int:
        return 2 * x

    return nbtool.ReAct("question -> answer", tools=[double]), DummyLM(answers)


TURNS = [
    {"next_thought": "t", "next_tool_name": "double", "next_tool_args": {"x": 4}},
    {"next_thought": "t", "next_tool_name": "finish", "next_tool_args": {}},
    {"reasoning": "r", "answer": "8"},
]


@LISTENERS
async def test_status_messages_tell_of_tools_but_not_of_finish():
    program, lm = agent(TURNS)
    with nbtool.context(lm=lm):
        items = await all_of(nbtool.streamify(program)(question="?"))
    assert [item.message for item in items if isinstance(item, StatusMessage)] == [
        "Calling tool double...",
        "Tool calling finished! Querying the LLM with tool calling results...",
    ]


class Loud(StatusMessageProvider):
    """Say everything, and break once."""

    def tool_start_status_message(self, instance, inputs):
        return f"{instance.name} {inputs}"

    def tool_end_status_message(self, outputs):
        raise ValueError("no words")

    def lm_start_status_message(self, instance, inputs):
        return f"ask {instance.model}"

    def lm_end_status_message(self, outputs):
        return f"{len(outputs)} answer"

    def module_start_status_message(self, instance, inputs):
        return type(instance).__name__

    def module_end_status_message(self, outputs):
        return "end"


@LISTENERS
async def test_a_provider_says_all_it_wants_and_may_break(caplog):
    program, lm = agent(TURNS)
    with nbtool.context(lm=lm):
        items = await all_of(nbtool.streamify(program, Loud())(question="?"))
    said = [item.message for item in items if isinstance(item, StatusMessage)]
    turn = ["Predict", "ask dummy", "1 answer", "end"]
    extract = ["ChainOfThought", *turn, "end"]
    assert said == ["ReAct", *turn, "double {'x': 4}", *turn, *extract, "end"]
    assert items[-1].answer == "8"
    assert [record.message for record in caplog.records] == ["A status message could not be made."]


class Crowd(nbtool.Module):
    """Ask many predictors at once."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.predict = nbtool.Predict("question -> answer")

    async def aforward(self, question):
        asked = (self.predict.acall(question=f"{question} {n}") for n in range(self.size))
        return await asyncio.gather(*asked)


@STREAMIFY
async def test_two_thousand_predictors_at_once_say_their_messages_and_do_not_hang():
    lm = DummyLM([{"answer": "a"}] * 2_000)
    with nbtool.context(lm=lm):
        async with asyncio.timeout(60):
            items = await all_of(nbtool.streamify(Crowd(2_000), Loud())(question="?"))
    said = [item.message for item in items if isinstance(item, StatusMessage)]
    assert said.count("ask dummy") == 2_000
    assert len(items[-1]) == 2_000


@STREAMIFY
async def test_closing_the_stream_ends_the_request(connect):
    slow = Answer(chunks=["[[ ## answer ## ]]\n", *map(str, range(500))], chunk_delay_s=0.01)
    async with ScriptedServer([slow]) as server:
        with nbtool.context(lm=connect(server)):
            stream = nbtool.streamify(nbtool.Predict("question -> answer"))(question="?")
            await anext(stream)
            await stream.aclose()
        await server.wait_until(lambda: server.aborted)


@STREAMIFY
async def test_what_the_program_raises_comes_out_of_the_stream_as_it_is():
    async def broken():
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        await all_of(nbtool.streamify(broken)())


@STREAMIFY
@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async def"])
async def test_a_plain_function_can_be_streamed(served, chat, is_async):
    predict = nbtool.Predict("question -> answer")

    async def asked(question):
        return await predict.acall(question=question)

    program = asked if is_async else lambda question: predict(question=question)
    items = await served(nbtool.streamify(program), Answer(chat(answer="Paris")))
    assert kinds(items) == ["Chunk", "Prediction"]


class Sending(BaseLM):
    """Send what it likes to the stream."""

    async def aforward(self, prompt=None, messages=None, **options):
        await nbtool.settings.send_stream.send({"own": 1})
        return {"choices": [{"message": {"content": "[[ ## answer ## ]]\na"}}]}


@STREAMIFY
async def test_a_user_s_own_lm_may_send_to_the_stream():
    with nbtool.context(lm=Sending("own")):
        items = await all_of(nbtool.streamify(nbtool.Predict("question -> answer"))(question="?"))
    assert items[0] == {"own": 1}
    assert nbtool.settings.send_stream is None


@LISTENERS
def test_synchronous_code_reads_what_a_program_gives(connect, chat):
    listeners = [StreamListener("answer")]
    program = nbtool.Predict("question -> answer")
    stream = nbtool.streamify(program, stream_listeners=listeners, async_streaming=False)
    with ScriptedServer([Answer(chat(answer="a b"))]) as server, nbtool.context(lm=connect(server)):
        items = list(stream(question="?"))
    assert kinds(items) == ["StreamResponse", "Prediction"]


@LISTENERS
def test_any_asynchronous_generator_can_be_read_by_synchronous_code():
    async def numbers():
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    assert list(apply_sync_streaming(numbers())) == [0, 1, 2]


@LISTENERS
async def test_a_listener_can_be_fed_by_hand(served, chat):
    listener = StreamListener("answer", predict=nbtool.Predict("question -> answer"))
    program = nbtool.streamify(listener.predict)
    items = await served(program, Answer(chat(answer="Paris it is")))
    pieces = [listener.receive(chunk) for chunk in items[:-1]]
    told = [piece for piece in [*pieces, listener.finalize()] if piece]
    assert "".join(piece.chunk for piece in told) == "Paris it is"


@STREAMIFY
async def test_a_stream_becomes_server_sent_events(served, chat):
    program = nbtool.streamify(
        nbtool.Predict("question -> answer, score: int"),
        stream_listeners=[StreamListener("answer")],
    )
    items = await served(program, Answer(chat(answer="Paris", score=1)))

    async def given():
        for item in [*items, StatusMessage("s"), "data: own\n\n"]:
            yield item

    events = await all_of(streaming_response(given()))
    assert json.loads(events[0].removeprefix("data: "))["stream"]["chunk"] == "Paris"
    assert events[-4:] == [
        'data: {"prediction": {"answer": "Paris", "score": 1}}\n\n',
        'data: {"status": "s"}\n\n',
        "data: own\n\n",
        "data: [DONE]\n\n",
    ]


@STREAMIFY
async def test_what_is_no_event_is_refused():
    async def given():
        yield object()

    with pytest.raises(InputError, match="Unknown chunk value type: object"):
        await all_of(streaming_response(given()))
