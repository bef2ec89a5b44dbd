"""`ChainOfThought`: reasoning before the answer."""

from __future__ import annotations

import pytest

from nbtool.errors import LMNotConfiguredError
from nbtool.programs.chain_of_thought import ChainOfThought
from nbtool.programs.predict import Predict
from nbtool.signatures.fields import OutputField

THOUGHT = {"reasoning": "2 and 2.", "answer": "4"}


@pytest.mark.parametrize("call", ["sync", "async"])
async def test_reasoning_comes_before_the_answer(scripted, call):
    lm = scripted(THOUGHT)
    think = ChainOfThought("question -> answer")
    given = {"question": "2+2?", "lm": lm}
    result = think(**given) if call == "sync" else await think.acall(**given)

    assert list(result.toDict()) == ["reasoning", "answer"]
    assert lm.prompts[0].index("## reasoning ##") < lm.prompts[0].index("## answer ##")


def test_predictor_inside_is_called_predict():
    think = ChainOfThought("question -> answer", temperature=0.5)

    assert isinstance(think.predict, Predict)
    assert think.predict.config == {"temperature": 0.5}
    assert [name for name, _ in think.named_predictors()] == ["predict"]


def test_reasoning_field_can_be_given():
    field = OutputField(desc="steps")
    think = ChainOfThought("question -> answer", field, list[str])

    assert think.predict.signature.output_fields["reasoning"].annotation == list[str]


def test_own_reasoning_field_is_the_reasoning():
    think = ChainOfThought("question -> answer, reasoning: int")

    assert list(think.predict.signature.output_fields) == ["reasoning", "answer"]
    assert think.predict.signature.output_fields["reasoning"].annotation is int


def test_missing_lm_is_told():
    with pytest.raises(LMNotConfiguredError):
        ChainOfThought("question -> answer")(question="?")
