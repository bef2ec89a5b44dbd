"""A session in JSON: what a view draws, and what a click may ask for."""

from __future__ import annotations

import json

import pytest

import nbtool
from nbtool.debugging.commands import editable, obey, status

SECRET = "sk-test-ABCDEF0123456789abcdef"


async def look(x: int, key: str = "none"):
    if x < 0:
        raise ValueError(f"{key} is no key")
    return x


def debugged(**inputs):
    return nbtool.debug(nbtool.Tool(look).acall(**inputs), breakpoints=["look"])


async def test_status_says_who_waits_where_and_what_can_be_done():
    session = debugged(x=1)
    await session.wait_paused(5)
    told = status(session)

    assert json.loads(json.dumps(told)) == told
    assert (told["state"], told["verbs"]) == ("paused", ["stop", "resume"])
    (stop,) = told["paused"]
    assert (stop["step"], stop["name"], stop["place"]) == (session.call.span.id, "look", "before")
    assert "edit_inputs" in stop["verbs"]
    assert obey(session, {"verb": "resume"})["ok"]
    await session
    assert status(session) == {
        "state": "finished", "paused": [], "in_flight": [], "verbs": [], "usd": 0.0, "tokens": 0,
    }  # fmt: skip


async def test_errors_and_inputs_are_shown_without_secrets():
    session = debugged(x=-1, key=SECRET)
    await session.wait_paused(5)
    shown = editable(session, session.call.span.id)
    session.resume()
    await session.wait_paused(5)

    assert SECRET not in json.dumps([shown, status(session)])
    assert shown["fixed"] == ["key"]
    assert status(session)["paused"][0]["error"].startswith("ValueError: ")
    session.stop()


async def test_edit_goes_through_an_editor():
    session = debugged(x=1)
    (stop,) = await session.wait_paused(5)
    step = stop.span.id

    assert editable(session, step) == {"what": "inputs", "values": {"x": 1}, "fixed": []}
    assert obey(session, {"verb": "edit_inputs", "step": step, "inputs": '{"x": 5}'})["ok"]
    assert obey(session, {"verb": "step_over", "step": step})["ok"]
    await session.wait_paused(5)
    assert editable(session, step)["values"] == {"output": 5}
    assert obey(session, {"verb": "edit_output", "output": '"five"'})["ok"]
    session.resume()
    assert await session == "five"
    assert editable(session, step) == {}


async def test_mending_goes_through_clicks():
    session = debugged(x=-1)
    await session.wait_paused(5)
    session.resume()
    (stop,) = await session.wait_paused(5)
    step = stop.span.id

    assert obey(session, {"verb": "retry", "step": step, "inputs": '{"x": 3}'})["ok"]
    assert await session == 3


HOSTILE = {
    "nothing": None,
    "list": [],
    "no verb": {},
    "verb of another kind": {"verb": []},
    "private": {"verb": "_release"},
    "unknown": {"verb": "__class__"},
    "no step": {"verb": "resume", "step": "1"},
    "boolean": {"verb": "resume", "step": True},
    "step that does not wait": {"verb": "resume", "step": 10**30},
    "no JSON": {"verb": "edit_inputs", "inputs": "{"},
    "deep JSON": {"verb": "edit_inputs", "inputs": "[" * 100_000},
    "no text": {"verb": "edit_inputs", "inputs": {"x": 1}},
    "does not fit": {"verb": "edit_inputs", "inputs": '{"x": "many"}'},
    "no inputs": {"verb": "edit_inputs"},
    "no output": {"verb": "skip"},
    "wrong place": {"verb": "raise"},
    "around": {"verb": "retry", "at": []},
    "nobody waits": {"verb": "detach"},
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
async def test_message_that_means_nothing_is_answered_and_changes_nothing(message):
    session = debugged(x=1)
    await session.wait_paused(5)
    before = status(session)["state"], dict(session.inputs)
    answer = obey(session, message)

    assert (answer["ok"], bool(answer["note"])) == (False, True)
    assert (status(session)["state"], dict(session.inputs)) == before
    session.resume()
    assert await session == 1
