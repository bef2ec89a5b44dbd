"""Replay and fork: a recording stands in for LMs and tools, and a change goes live."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json

import pydantic
import pytest

import nbtool
from nbtool.errors import DebugError, LMRateLimitError, RecordingError, ReplayMismatchError
from nbtool.testing import DummyLM
from nbtool.tracing import boundary
from nbtool.tracing.tree import Trace


class Silent(DummyLM):
    """Fail when it is asked anything."""

    def __init__(self):
        super().__init__([])

    async def aforward(self, prompt=None, messages=None, **kwargs):
        raise AssertionError("the LM was asked")


async def recorded(program, **inputs):
    call = program.acall(**inputs)
    await asyncio.gather(call, return_exceptions=True)
    return call.trace


@pytest.fixture
def trace(agent, ran):
    found = nbtool.run(recorded(agent, question="q"))
    nbtool.configure(lm=Silent())
    ran.clear()
    return found


@pytest.fixture(params=["in memory", "in a file"])
def recording(request, trace, tmp_path):
    if request.param == "in memory":
        return trace
    trace.save(tmp_path / "run.jsonl")
    return tmp_path / "run.jsonl"


async def test_replay_gives_the_same_answer_and_asks_nobody(agent, recording, ran):
    session = nbtool.replay(agent, recording)

    assert (await session).answer == "seen"
    assert ran == ["agent"]


async def test_replayed_steps_say_so_and_keep_their_tokens(agent, recording, trace):
    session = nbtool.replay(agent, recording)
    await session
    steps = session.call.trace

    assert [s.attributes.get("replayed") for s in steps.find(kind="tool")] == [True, True]
    assert steps.totals.prompt_tokens == trace.totals.prompt_tokens > 0


async def test_replay_stops_at_breakpoints_and_takes_edits(agent, recording):
    found = nbtool.Breakpoint(kind="lm", at="after")
    session = nbtool.replay(agent, recording, breakpoints=[found])
    await session.wait_paused(5)
    session.resume()
    await session.wait_paused(5)
    session.output = "[[ ## answer ## ]]\nedited\n\n[[ ## completed ## ]]"
    session.resume()

    assert (await session).answer == "edited"


async def test_order_in_which_branches_arrive_does_not_matter(agent, recording):
    agent.tools.reverse()

    assert "[4, 8]" in str(await _answers(agent, recording))


async def _answers(agent, recording):
    session = nbtool.replay(agent, recording, on_mismatch="live", breakpoints=["Predict"])
    seen = []
    while stops := await session.wait_paused(5):
        seen.append(dict(stops[0].span.inputs))
        if len(seen) == 2:
            session.skip({"answer": "enough"})
        else:
            session.resume()
    await session
    return seen


async def test_other_request_is_an_error_that_shows_the_difference(agent, recording):
    session = nbtool.replay(agent, recording, inputs={"question": "another"})

    with pytest.raises(ReplayMismatchError, match=r"asked another thing") as caught:
        await session
    assert "-q" in str(caught.value)
    assert "+another" in str(caught.value)


async def test_step_that_was_not_recorded_is_an_error(agent, recording):
    agent.tools.append(nbtool.Tool(lambda x: x, name="new"))

    with pytest.raises(ReplayMismatchError, match="'new' cannot be replayed: it is not in the rec"):
        await nbtool.replay(agent, recording)


async def test_mismatch_goes_live_where_that_is_asked_for(agent, recording, ran):
    nbtool.configure(lm=DummyLM([{"plan": "look elsewhere"}, {"answer": "live"}]))
    session = nbtool.replay(agent, recording, inputs={"question": "another"}, on_mismatch="live")

    assert (await session).answer == "live"
    assert ran == ["agent"]  # the tools were asked the same as before


async def test_changed_output_of_a_tool_goes_live_from_there(agent, recording, ran):
    nbtool.configure(lm=DummyLM([{"answer": "live"}]))
    session = nbtool.fork(agent, recording, "double", output=100)

    assert (await session).answer == "live"
    assert ran == ["agent"]
    assert "[100, 4]" in session.call.trace.find(name="Predict")[1].inputs["observations"]


async def test_changed_inputs_of_a_step_go_live_from_there(agent, recording, ran):
    nbtool.configure(lm=DummyLM([{"answer": "live"}]))
    session = nbtool.fork(agent, recording, "double", inputs={"x": 50})

    assert (await session).answer == "live"
    assert ran == ["agent", "double"]


async def test_changed_question_of_the_program_goes_live(agent, recording):
    nbtool.configure(lm=DummyLM([{"plan": "p"}, {"answer": "live"}]))

    assert (await nbtool.fork(agent, recording, "Agent", inputs={"question": "o"})).answer == "live"


async def test_failed_run_goes_on_from_its_failing_step(agent, ran):
    works = []

    async def look(x):
        await asyncio.sleep(0.1)  # the others have ended
        if not works:
            raise KeyError("temp")
        return x

    agent.tools.append(nbtool.Tool(look))
    trace = await recorded(agent, question="q")
    works.append(True)
    ran.clear()
    session = nbtool.fork(agent, trace)

    assert (await session).answer == "seen"
    assert sorted(ran) == ["agent", "lm"]


async def test_retry_of_a_replayed_step_runs_it(agent, recording, ran):
    found = nbtool.Breakpoint(name="double", at="after", once=True)
    session = nbtool.replay(agent, recording, breakpoints=[found])
    await session.wait_paused(5)
    session.retry()

    assert ((await session).answer, ran) == ("seen", ["agent", "double"])


# -- errors and results --------------------------------------------------------------------------


class Asking(nbtool.Module):
    def __init__(self, tool):
        self.tool = nbtool.Tool(tool, name="tool")

    async def aforward(self):
        try:
            return await self.tool.acall()
        except (KeyError, LMRateLimitError) as error:
            return f"caught {error}"


def raises(error):
    def tool():
        raise error

    return tool


@pytest.mark.parametrize(("error", "kind"), [
    (KeyError("temp"), KeyError),
    (LMRateLimitError("slow down", hint="wait"), LMRateLimitError),
], ids=["builtin", "ours"])  # fmt: skip
async def test_recorded_error_is_caught_as_the_one_it_was(error, kind, tmp_path):
    (await recorded(Asking(raises(error)))).save(tmp_path / "t.jsonl")
    session = nbtool.replay(Asking(raises(AssertionError)), tmp_path / "t.jsonl")

    assert (await session).startswith("caught")
    assert session.call.trace.find(name="tool")[0].error.type.endswith(
        "RecordedError" if kind is KeyError else "LMRateLimitError"
    )


async def test_error_of_a_foreign_class_is_a_recorded_error(tmp_path):
    class Foreign(Exception):  # noqa: N818 - as they come
        pass

    (await recorded(Asking(raises(Foreign("no"))))).save(tmp_path / "t.jsonl")

    with pytest.raises(nbtool.RecordedError, match="Foreign: no"):
        await nbtool.replay(Asking(raises(AssertionError)), tmp_path / "t.jsonl")


class City(pydantic.BaseModel):
    name: str


@dataclasses.dataclass
class Place:
    day: dt.date


def city() -> City:
    return City(name="Rome")


def place() -> list[Place]:
    return [Place(dt.date(2026, 11, 1))]


def pair() -> tuple[int, str]:
    return 1, "a"


def untyped():
    return {"a": [1, None, "é\ud800"]}


@pytest.mark.parametrize("tool", [city, place, pair, untyped])
async def test_result_of_a_tool_comes_back_as_what_it_was(tool, tmp_path):
    (await recorded(Asking(tool))).save(tmp_path / "t.jsonl")

    assert await nbtool.replay(Asking(tool), tmp_path / "t.jsonl") == tool()


async def test_result_without_a_json_form_cannot_be_replayed(tmp_path):
    (await recorded(Asking(object))).save(tmp_path / "t.jsonl")

    with pytest.raises(ReplayMismatchError, match="its result has no JSON form"):
        await nbtool.replay(Asking(object), tmp_path / "t.jsonl")
    live = nbtool.replay(Asking(lambda: 5), tmp_path / "t.jsonl", on_mismatch="live")
    assert await live == 5


async def test_mismatch_is_never_shown_to_an_lm(tmp_path):
    def weather(city: str) -> str:
        return "sunny"

    def plan(city):
        return {"next_thought": "", "next_tool_name": "weather", "next_tool_args": {"city": city}}

    finish = {"next_thought": "", "next_tool_name": "finish", "next_tool_args": {}}
    answer = {"reasoning": "", "answer": "sunny"}
    nbtool.configure(lm=DummyLM([plan("Rome"), finish, answer]))
    agent = nbtool.ReAct("question -> answer", tools=[weather])
    trace = await recorded(agent, question="q")
    agent.tools["weather"].name = "renamed"

    with pytest.raises(ReplayMismatchError, match="'renamed'"):
        await nbtool.replay(agent, trace)


async def test_secrets_do_not_change_what_is_matched(tmp_path):
    secret = "sk-test-ABCDEF0123456789abcdef"
    predict = nbtool.Predict("question -> answer")
    nbtool.configure(lm=DummyLM([{"answer": secret}]))
    (await recorded(predict, question=f"is {secret} a key?")).save(tmp_path / "t.jsonl")
    nbtool.configure(lm=Silent())

    assert secret not in (tmp_path / "t.jsonl").read_text()
    given = {"question": f"is {secret} a key?"}
    session = nbtool.replay(predict, tmp_path / "t.jsonl", inputs=given)
    assert "redacted" in (await session).answer
    with pytest.raises(ReplayMismatchError, match="asked another thing"):
        await nbtool.replay(predict, tmp_path / "t.jsonl")


class Listener:
    """Look at answers while they arrive."""

    wants_tokens = True

    def __init__(self):
        self.arrived = []

    def opened(self, span):
        pass

    def closed(self, span):
        if span.kind == "lm":
            self.arrived.append(span.arrived)


async def test_answer_arrives_piece_by_piece_where_somebody_looks(agent, trace):
    listener = Listener()
    with boundary.watching(listener):
        await nbtool.replay(agent, trace)

    assert ["".join(pieces) for pieces in listener.arrived] == [
        record.output[0] for record in trace.find(kind="lm")
    ]
    assert len(listener.arrived[0]) > 5


async def test_steps_take_a_part_of_the_recorded_time(agent, trace):
    slowed = [dataclasses.replace(r, end_s=r.start_s + 100.0) for r in trace]
    session = nbtool.replay(agent, Trace.of(slowed), pace=0.0005)
    await session
    lm = session.call.trace.find(kind="lm")

    assert [step.duration_s >= 0.045 for step in lm] == [True, True]


# -- what cannot be replayed ---------------------------------------------------------------------


async def test_recording_of_another_program_is_refused(agent, trace):
    with pytest.raises(DebugError, match="recording is of 'Agent', and the program is 'Predict'"):
        nbtool.replay(nbtool.Predict("question -> answer"), trace)


async def test_empty_recording_is_refused(agent):
    with pytest.raises(DebugError, match="has no steps"):
        nbtool.replay(agent, Trace.of([]))


async def test_unknown_step_is_refused(agent, trace):
    with pytest.raises(DebugError, match="has no step 'nobody'"):
        nbtool.fork(agent, trace, "nobody")


async def test_unknown_way_to_take_mismatches_is_refused(agent, trace):
    with pytest.raises(DebugError, match="on_mismatch='maybe'"):
        nbtool.replay(agent, trace, on_mismatch="maybe")


async def test_damaged_recording_is_refused(agent, trace, tmp_path):
    path = tmp_path / "t.jsonl"
    trace.save(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:50], *lines[2:]]))

    with pytest.raises(RecordingError, match="Line 2"):
        nbtool.replay(agent, path)


async def test_truncated_recording_is_replayed_as_far_as_it_goes(agent, trace, tmp_path):
    path = tmp_path / "t.jsonl"
    trace.save(path)
    text = path.read_text()
    path.write_text(text[: text.rindex('"kind"')])

    with pytest.warns(UserWarning, match="cut off"):
        session = nbtool.replay(agent, path)
    assert (await session).answer == "seen"  # the last line was no request


@pytest.mark.parametrize("change", [
    {"mark": 5}, {"form": "other"}, {"form": []}, {"mark": "no salt"}, {"mark": ":"},
], ids=str)  # fmt: skip
async def test_hostile_fields_are_refused_or_match_nothing(agent, trace, tmp_path, change):
    path = tmp_path / "t.jsonl"
    trace.save(path)
    header, *steps = path.read_text().splitlines()
    changed = [json.dumps({**json.loads(step), **change}) for step in steps]
    path.write_text("\n".join([header, *changed]))

    with pytest.raises((RecordingError, ReplayMismatchError)):
        await nbtool.replay(agent, path)


async def test_recording_without_fingerprints_matches_by_what_is_in_it(agent, trace, tmp_path):
    path = tmp_path / "t.jsonl"
    trace.save(path)
    header, *steps = path.read_text().splitlines()
    older = [json.dumps({n: v for n, v in json.loads(s).items() if n != "mark"}) for s in steps]
    path.write_text("\n".join([header, *older]))

    assert (await nbtool.replay(agent, path)).answer == "seen"
