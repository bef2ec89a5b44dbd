"""Looking and editing: what does not fit is refused, and nothing is applied."""

from __future__ import annotations

import asyncio
import socket

import pytest

import nbtool
from nbtool.errors import DebugError
from nbtool.testing import Answer, DummyLM, ScriptedServer


async def double(x: int):
    return 2 * x


class Typed(nbtool.Signature):
    """Count."""

    question: str = nbtool.InputField()
    count: int = nbtool.OutputField()


@pytest.fixture
def predict():
    nbtool.configure(lm=DummyLM([{"count": 3}]))
    return nbtool.Predict(Typed)


async def at(awaitable, *breakpoints):
    session = nbtool.debug(awaitable, breakpoints=breakpoints)
    await session.wait_paused(5)
    return session


async def test_inputs_are_set_one_by_one():
    session = await at(nbtool.Tool(double).acall(x=1), "double")
    session.inputs["x"] = 21

    assert (dict(session.inputs), len(session.inputs)) == ({"x": 21}, 1)
    session.resume()
    assert await session == 42
    assert session.call.trace.spans[0].inputs == {"x": 21}


async def test_inputs_are_set_by_json_text():
    session = await at(nbtool.Tool(double).acall(x=1), "double")
    session.edit(inputs='{"x": 21}')
    session.resume()

    assert await session == 42


REFUSED = {
    "type": {"inputs": {"x": "many"}},
    "unknown name": {"inputs": {"y": 1}},
    "no JSON": {"inputs": '{"x": '},
    "no mapping": {"inputs": "[1]"},
    "names that are none": {"inputs": {1: 1}},
    "output before the step": {"output": 5},
}


@pytest.mark.parametrize("edit", REFUSED.values(), ids=REFUSED)
async def test_edit_that_does_not_fit_is_refused_and_changes_nothing(edit):
    session = await at(nbtool.Tool(double).acall(x=1), "double")

    with pytest.raises(DebugError):
        session.edit(**edit)
    with pytest.raises(DebugError):
        del session.inputs["x"]
    assert (dict(session.inputs), session.state) == ({"x": 1}, "paused")
    session.resume()
    assert await session == 2


async def test_output_is_set_after_the_step():
    found = nbtool.Breakpoint(name="double", at="after")
    session = await at(nbtool.Tool(double).acall(x=1), found)
    session.output = session.output + 5
    session.resume()

    assert await session == 7


async def test_step_is_skipped_with_an_output():
    session = await at(nbtool.Tool(double).acall(x=1), "double")
    session.skip(99)

    assert await session == 99
    assert session.call.trace.spans[0].attributes == {"skipped": True}


async def test_messages_of_an_lm_are_edited(predict):
    session = await at(predict.acall(question="How many?"), "lm")
    messages = [*session.inputs["messages"], {"role": "user", "content": "In digits."}]
    session.inputs["messages"] = messages
    session.resume()

    assert (await session).count == 3
    assert nbtool.settings.lm.history[-1]["messages"][-1]["content"] == "In digits."


@pytest.mark.parametrize("messages", [
    [], "text", [{"role": "user"}, "text"], [{"content": "no role"}], [{"role": "king"}],
], ids=repr)  # fmt: skip
async def test_messages_that_are_none_are_refused(predict, messages):
    session = await at(predict.acall(question="How many?"), "lm")

    with pytest.raises(DebugError, match="were refused and nothing was changed"):
        session.inputs["messages"] = messages
    session.resume()
    await session


async def test_answer_of_an_lm_is_given_as_text(predict):
    session = await at(predict.acall(question="How many?"), "lm")
    session.skip("[[ ## count ## ]]\n5\n\n[[ ## completed ## ]]")

    assert (await session).count == 5


@pytest.mark.parametrize("answer", [5, [], [5], {"no": "text"}], ids=repr)
async def test_answer_that_is_none_is_refused(predict, answer):
    session = await at(predict.acall(question="How many?"), "lm")

    with pytest.raises(DebugError):
        session.skip(answer)
    session.resume()
    assert (await session).count == 3


async def test_answer_that_cannot_be_read_is_mended_and_read_again():
    lm = DummyLM([{"count": "many"}])
    session = await at(nbtool.Predict(Typed).acall(question="How many?", lm=lm))
    (stop,) = session.paused
    session.retry(inputs={"completion": "[[ ## count ## ]]\n7\n\n[[ ## completed ## ]]"})

    assert (stop.place, stop.span.kind, (await session).count) == ("failed", "adapter", 7)


async def test_inputs_of_a_predictor_must_fit_its_signature(predict):
    session = await at(predict.acall(question="How many?"), "predict")

    for inputs in ({"question": 5.5}, {"other": "x"}):
        with pytest.raises(DebugError, match="were refused"):
            session.edit(inputs=inputs)
    session.inputs["question"] = "How few?"
    session.resume()
    await session
    assert "How few?" in str(nbtool.settings.lm.history[-1]["messages"])


async def test_output_of_a_predictor_is_typed(predict):
    session = await at(predict.acall(question="How many?"), "predict")

    for output in ({"count": "many"}, {"other": 1}, {}):
        with pytest.raises(DebugError, match="refused"):
            session.skip(output)
    session.skip({"count": "12"})
    assert (await session).count == 12


async def test_fields_of_a_modules_prediction_that_are_not_set_stay(agent):
    found = nbtool.Breakpoint(name="Agent", at="after")
    session = await at(agent.acall(question="q"), found)
    session.edit(output={"note": "edited"})
    session.resume()
    result = await session

    assert (result.answer, result.note) == ("seen", "edited")


async def test_arguments_of_a_users_module_must_fit_its_function(agent):
    session = await at(agent.acall(question="q"), "Agent")

    with pytest.raises(DebugError, match="unexpected keyword argument"):
        session.edit(inputs={"other": 1})
    session.resume()
    await session


async def test_arguments_of_a_synchronous_module_must_fit_its_function():
    class Sync(nbtool.Module):
        def forward(self, x):
            return x

    session = await at(Sync().acall(x=1), "Sync")

    with pytest.raises(DebugError, match="unexpected keyword argument"):
        session.edit(inputs={"other": 1})
    session.resume()
    assert await session == 1


# -- a paused step holds nothing -----------------------------------------------------------------


@pytest.mark.parametrize("place", ["before", "after"])
async def test_paused_request_holds_no_slot_of_the_limit(place):
    async with ScriptedServer(default=Answer("x")) as server:
        lm = nbtool.LM(
            "openai/m", api_base=server.base_url, api_key="k", max_concurrency=1, cache=False
        )
        await lm.ready()
        session = await at(lm.acall("paused"), nbtool.Breakpoint(kind="lm", at=place))

        answered = await asyncio.wait_for(lm.acall("passing"), 20)

        assert (session.state, len(answered)) == ("paused", 1)
        session.resume()
        await session


async def test_failed_request_that_waits_holds_no_slot_of_the_limit():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    async with ScriptedServer(default=Answer("x")) as server:
        lm = nbtool.LM(
            "openai/m", api_base=url, api_key="k", max_concurrency=1, cache=False, num_retries=0
        )
        await lm.ready()
        session = await at(lm.acall("paused"))
        passing = asyncio.wait_for(lm.acall("passing", api_base=server.base_url), 20)

        assert (len(await passing), session.paused[0].place) == (1, "failed")
        session.skip("given up")
        assert await session == ["given up"]


async def test_paused_step_in_a_worker_thread_holds_no_slot_of_the_thread_limit():
    class Outer(nbtool.Module):
        def forward(self, x):
            return nbtool.Tool(double)(x=x)

    with nbtool.context(async_max_workers=1):
        session = await at(Outer().acall(x=1), "double")
        passing = await asyncio.wait_for(nbtool.Tool(lambda: 3, name="three").acall(), 5)

        assert (passing, session.state) == (3, "paused")
        session.resume()
        assert await session == 2
