"""`Refine` advises each predictor between two attempts."""

from __future__ import annotations

import pytest

import nbtool
from nbtool.errors import LMServerError
from nbtool.programs.refine import source_of

pytestmark = pytest.mark.api("Refine")


def is_short(args, prediction):
    """Rate an answer by its length."""
    return 1.0 if len(prediction.answer.split()) == 1 else 0.0


class Two(nbtool.Module):
    """Ask two predictors."""

    def __init__(self):
        super().__init__()
        self.draft = nbtool.Predict("question -> draft")
        self.write = nbtool.Predict("draft -> answer")

    async def aforward(self, question):
        draft = (await self.draft.acall(question=question)).draft
        return await self.write.acall(draft=draft)


ADVICE = {"discussion": "Too long.", "advice": '{"write": "One word!", "draft": "N/A"}'}
LONG, SHORT = {"answer": "a b"}, {"answer": "a"}


async def test_predictors_get_their_advice_in_the_next_attempt(scripted):
    lm = scripted({"draft": "d"}, LONG, ADVICE, {"draft": "d"}, SHORT)
    with nbtool.context(lm=lm):
        answer = await nbtool.Refine(Two(), 2, is_short, 1.0).acall(question="?")
    assert answer.answer == "a"
    assert "[[ ## hint_ ## ]]\nN/A" in lm.prompts[3]
    assert "[[ ## hint_ ## ]]\nOne word!" in lm.prompts[4]


async def test_the_adviser_sees_the_run_its_reward_and_the_code_of_both(scripted):
    lm = scripted({"draft": "d"}, LONG, ADVICE, {"draft": "d"}, SHORT)
    with nbtool.context(lm=lm):
        await nbtool.Refine(Two(), 2, is_short, 1.0).acall(question="why?")
    for part in ("class Two(", "def is_short(", '"question": "why?"', '"answer": "a b"', '"draft"'):
        assert part in lm.prompts[2]


def test_no_advice_is_asked_for_after_the_last_attempt(scripted):
    lm = scripted(LONG)
    with nbtool.context(lm=lm):
        refined = nbtool.Refine(nbtool.Predict("question -> answer"), 1, is_short, 1.0)
        assert refined(question="?").answer == "a b"
    assert len(lm.asked) == 1


async def test_advice_that_cannot_be_had_counts_as_a_failure_and_the_search_goes_on(scripted):
    lm = scripted(LONG, LMServerError("down"), SHORT)
    program = nbtool.Predict("question -> answer")
    with nbtool.context(lm=lm):
        assert (await nbtool.Refine(program, 2, is_short, 1.0).acall(question="?")).answer == "a"
    assert "hint_" not in lm.prompts[2]


async def test_the_program_itself_is_left_as_it_was(scripted):
    program = nbtool.Predict("question -> answer")
    lm = scripted(LONG, {"discussion": "d", "advice": '{"self": "short"}'}, SHORT)
    with nbtool.context(lm=lm):
        await nbtool.Refine(program, 2, is_short, 1.0).acall(question="?")
    assert "hint_" not in program.signature.fields
    assert program.lm is None


async def test_a_program_with_an_lm_of_its_own_needs_no_other(scripted):
    program = nbtool.Predict("question -> answer")
    program.lm = scripted(LONG, {"discussion": "d", "advice": "{}"}, SHORT)
    assert (await nbtool.Refine(program, 2, is_short, 1.0).acall(question="?")).answer == "a"


def test_source_that_cannot_be_found_is_said_to_be_missing():
    typed: dict = {}
    exec("def typed(args, prediction): return 1.0", typed)  # noqa: S102 - as at a prompt
    assert source_of(typed["typed"]) == "(its source is not at hand)"
    assert "def is_short" in source_of(is_short)
