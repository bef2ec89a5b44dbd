"""`MultiChainComparison` shows attempts and asks for the right answer."""

from __future__ import annotations

import pytest

import nbtool
from nbtool.errors import InputError
from nbtool.programs.prediction import Prediction

pytestmark = pytest.mark.api("MultiChainComparison")

ATTEMPTS = [
    {"reasoning": "Largest.\nOr not.", "answer": "Sydney"},
    Prediction(rationale="Parliament.", answer=" Canberra \nmaybe"),
]
ANSWER = {"rationale": "Parliament decides.", "answer": "Canberra"}


def compared(m=2, **config):
    return nbtool.MultiChainComparison("question -> answer", M=m, **config)


@pytest.mark.parametrize("call", ["acall", "__call__"])
async def test_the_first_lines_of_each_attempt_are_shown(scripted, call):
    lm = scripted(ANSWER)
    with nbtool.context(lm=lm):
        given = getattr(compared(), call)(ATTEMPTS, question="Capital of Australia?")
        answer = await given if call == "acall" else given
    assert answer.answer == "Canberra"
    assert "«Largest. So the answer is: Sydney»" in lm.prompts[0]
    assert "«Parliament. So the answer is: Canberra»" in lm.prompts[0]


async def test_completions_of_several_answers_can_be_compared(scripted):
    lm = scripted([{"reasoning": "a", "answer": "1"}, {"reasoning": "b", "answer": "2"}], ANSWER)
    with nbtool.context(lm=lm):
        several = await nbtool.ChainOfThought("question -> answer", n=2).acall(question="?")
        answer = await compared().acall(several.completions, question="?")
    assert answer.rationale == "Parliament decides."


def test_options_go_to_the_request(scripted):
    lm = scripted(ANSWER)
    with nbtool.context(lm=lm):
        compared(temperature=0.3, max_tokens=9)(ATTEMPTS, question="?")
    assert lm.asked[0][1] == {"temperature": 0.3, "max_tokens": 9}


@pytest.mark.parametrize("m", [1, 3])
async def test_another_number_of_attempts_is_refused(m):
    with pytest.raises(InputError, match=r"The number of attempts \(2\) doesn't match"):
        await compared(m).acall(ATTEMPTS, question="?")


async def test_an_attempt_without_reasoning_is_refused():
    with pytest.raises(InputError, match="needs 'reasoning' and 'answer'"):
        await compared(1).acall([{"answer": "x"}], question="?")


def test_no_attempts_at_all_are_refused():
    with pytest.raises(InputError, match="M must be a whole number >= 1"):
        compared(0)
