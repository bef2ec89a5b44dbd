"""`ChainOfThought`: reasoning before the answer."""

from __future__ import annotations

import pytest

from nbtool.errors import LMNotConfiguredError
from nbtool.programs.chain_of_thought import ChainOfThought
from nbtool.programs.predict import Predict
from nbtool.signatures.fields import OutputField, bound, extras_of
from nbtool.signatures.signature import Signature
from nbtool.tracing.callbacks import BaseCallback

pytestmark = pytest.mark.api("ChainOfThought")

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


@pytest.mark.parametrize(
    ("given", "type_", "desc"),
    [
        ((), str, "${reasoning}"),
        ((None, list[str]), list[str], "${reasoning}"),
        ((OutputField(desc="steps"),), str, "steps"),
        ((OutputField(desc="steps"), list[str]), list[str], "steps"),
        ((bound(OutputField(desc="steps"), "why", int), list[str]), int, "steps"),
    ],
    ids=["usual", "type", "field", "both", "field with a type"],
)
def test_reasoning_field_can_be_given(given, type_, desc):
    field = ChainOfThought("question -> answer", *given).predict.signature.fields["reasoning"]

    assert (field.annotation, extras_of(field)["desc"]) == (type_, desc)


def test_options_and_watchers_go_to_the_predictor(scripted):
    watcher = BaseCallback()
    think = ChainOfThought("question -> answer", callbacks=[watcher], temperature=0.5)
    lm = scripted(THOUGHT)
    think(question="?", lm=lm)

    assert think.predict.callbacks == [watcher]
    assert lm.asked[0][1] == {"temperature": 0.5}


def test_input_called_reasoning_is_not_lost_in_silence(caplog):
    think = ChainOfThought("reasoning, question -> answer")

    assert think.predict.signature.signature == "question -> reasoning, answer"
    assert "input field 'reasoning' of 'reasoning, question -> answer' is not used" in caplog.text


def test_instructions_stay_those_of_the_signature():
    plain, own = Signature("question -> answer"), Signature("question -> answer", "Be brief.")

    assert ChainOfThought(plain).predict.signature.instructions == plain.instructions
    assert ChainOfThought(own).predict.signature.instructions == "Be brief."


def test_own_reasoning_field_is_the_reasoning():
    think = ChainOfThought("question -> answer, reasoning: int")

    assert list(think.predict.signature.output_fields) == ["reasoning", "answer"]
    assert think.predict.signature.output_fields["reasoning"].annotation is int


def test_missing_lm_is_told():
    with pytest.raises(LMNotConfiguredError):
        ChainOfThought("question -> answer")(question="?")
