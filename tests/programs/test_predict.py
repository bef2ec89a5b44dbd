"""`Predict`: whom it asks, with what, and what it returns."""

from __future__ import annotations

import datetime as dt

import pytest

from nbtool.adapters.structured import JSONAdapter
from nbtool.configuration import context
from nbtool.errors import (
    AdapterParseError,
    InputError,
    LMConfigurationError,
    LMNotConfiguredError,
    LMRateLimitError,
)
from nbtool.lm.client import LM
from nbtool.programs.predict import Predict
from nbtool.programs.prediction import Prediction
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer

pytestmark = pytest.mark.api("Predict")
PARIS = {"answer": "Paris"}


class Typed(Signature):
    """Answer."""

    name: str = InputField()
    count: int = InputField()
    language: str = InputField(default="English")
    answer: str = OutputField()


async def test_answer_is_a_prediction_of_the_output_fields(scripted):
    answer = await Predict("question -> answer").acall(question="?", lm=scripted(PARIS))

    assert isinstance(answer, Prediction)
    assert answer.toDict() == PARIS


def test_sync_call_gives_the_same(scripted):
    assert Predict("question -> answer")(question="?", lm=scripted(PARIS)).answer == "Paris"


def test_order_of_lms_is_call_then_predictor_then_settings(scripted):
    call, own, settings = scripted(PARIS), scripted(PARIS), scripted(PARIS)
    predict = Predict("question -> answer")
    with context(lm=settings):
        predict(question="first")
        predict.lm = own
        predict(question="second")
        predict(question="third", lm=call)

    assert [len(lm.asked) for lm in (settings, own, call)] == [1, 1, 1]
    assert "third" in call.prompts[0]


def test_privileged_arguments_replace_the_predictors_for_one_call(scripted):
    lm = scripted({"result": "2"}, PARIS)
    predict = Predict("question -> answer", temperature=0.1)
    demo = {"question": "0+1?", "result": "1"}
    special = {"signature": "question -> result", "demos": [demo], "config": {"temperature": 0.9}}
    with context(lm=lm):
        assert predict(question="?", **special).result == "2"
        assert predict(question="?").answer == "Paris"

    (first, first_options), (second, second_options) = lm.asked
    assert (len(first), len(second)) == (4, 2)
    assert (first_options["temperature"], second_options["temperature"]) == (0.9, 0.1)


def test_demos_are_shown_to_the_lm(scripted):
    lm = scripted(PARIS)
    predict = Predict("question -> answer")
    predict.demos = [{"question": "Capital of Spain?", "answer": "Madrid"}]
    predict(question="Capital of France?", lm=lm)

    turns = [turn["content"] for turn in lm.asked[0][0]]
    assert "Capital of Spain?" in turns[1]
    assert "Madrid" in turns[2]


def test_adapter_of_the_settings_is_used(scripted):
    lm = scripted('{"answer": "Paris"}')
    with context(lm=lm, adapter=JSONAdapter()):
        assert Predict("question -> answer")(question="?").answer == "Paris"


def test_no_lm_at_all_is_told_with_what_to_write():
    with context(lm=None), pytest.raises(LMNotConfiguredError, match="No LM is loaded") as caught:
        Predict("question -> answer")(question="?")

    assert isinstance(caught.value, ValueError)
    assert "configure(lm=" in str(caught.value)


@pytest.mark.parametrize("lm", ["openai/gpt-4o-mini", 7], ids=["text", "number"])
def test_what_is_no_lm_is_told(lm):
    with pytest.raises(LMConfigurationError, match=repr(lm)):
        Predict("question -> answer")(question="?", lm=lm)


@pytest.mark.parametrize("call", ["__call__", "acall"])
async def test_positional_arguments_are_refused_with_the_fields_names(call):
    with pytest.raises(InputError, match="question, context") as caught:
        await getattr(Predict("question, context -> answer"), call)("What?")

    assert "predict(question=..., context=...)" in caught.value.hint


def test_unreadable_answers_are_an_error_with_the_whole_answer(scripted):
    with pytest.raises(AdapterParseError) as caught:
        Predict("question -> answer")(question="?", lm=scripted("dunno", "still dunno"))

    assert caught.value.lm_response == "still dunno"


def test_empty_answers_are_an_error(scripted):
    with pytest.raises(AdapterParseError):
        Predict("question -> answer")(question="?", lm=scripted("", ""))


def test_error_of_the_lm_reaches_the_caller_at_once(scripted):
    lm = scripted(LMRateLimitError("slow down"))
    with pytest.raises(LMRateLimitError, match="slow down"):
        Predict("question -> answer")(question="?", lm=lm)

    assert len(lm.asked) == 1


@pytest.mark.parametrize(
    ("inputs", "warning"),
    [
        pytest.param({"name": "x", "count": 1, "more": 1}, "not in signature", id="extra"),
        pytest.param({"name": "x"}, "Missing: ['count']", id="missing"),
        pytest.param({"name": "x", "count": "many"}, "field 'count'", id="mismatch"),
        pytest.param({"name": Prediction(a=1), "count": Prediction(a=1)}, "'count'", id="model"),
    ],
)
def test_inputs_that_do_not_fit_are_warned_about_and_sent(scripted, caplog, inputs, warning):
    answer = Predict(Typed)(**inputs, lm=scripted(PARIS))

    assert answer.answer == "Paris"
    assert len(caplog.records) == 1
    assert warning in caplog.text


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({"name": "x", "count": 1}, id="fitting"),
        pytest.param({"name": Prediction(answer="Paris"), "count": "1"}, id="prediction as text"),
        pytest.param({"name": None, "count": 1}, id="None"),
    ],
)
def test_inputs_that_fit_are_not_warned_about(scripted, caplog, inputs):
    Predict(Typed)(**inputs, lm=scripted(PARIS))

    assert caplog.text == ""


def test_warnings_of_types_can_be_switched_off_and_those_of_names_stay(scripted, caplog):
    with context(warn_on_type_mismatch=False):
        Predict(Typed)(count="many", lm=scripted(PARIS))

    assert [r.getMessage() for r in caplog.records] == [
        (
            "Not all input fields were provided to module. Present: ['count', 'language']. "
            "Missing: ['name']."
        )
    ]


def test_texts_of_warnings_are_those_of_dspy(scripted, caplog):
    Predict(Typed)(name="x", count="many", more=1, lm=scripted(PARIS))

    assert [record.getMessage() for record in caplog.records] == [
        (
            "Input contains fields not in signature. These fields will be ignored: ['more']. "
            "Expected fields: ['name', 'count', 'language']."
        ),
        (
            "Type mismatch for field 'count': expected int based on given Signature, but the "
            "provided value is incompatible: 'many'."
        ),
    ]


def test_list_of_texts_fits_where_a_text_is_expected(scripted, caplog):
    Predict(Typed)(name=["one", "two"], count=1, lm=scripted(PARIS))

    assert caplog.text == ""


def test_field_that_may_be_none_need_not_be_given(scripted, caplog):
    Predict("question: str | None, n: int | None -> answer")(question="?", lm=scripted(PARIS))

    assert caplog.text == ""


def test_default_of_an_input_is_filled_in(scripted):
    lm = scripted(PARIS)
    Predict(Typed)(name="x", count=1, lm=lm)

    assert "[[ ## language ## ]]\nEnglish" in lm.prompts[0]


@pytest.mark.parametrize(
    ("own", "config", "sent"),
    [
        pytest.param(None, {"n": 2}, 0.7, id="none set"),
        pytest.param(0.1, {"n": 2}, 0.7, id="low"),
        pytest.param(0.5, {"n": 2}, None, id="high: the model's own"),
        pytest.param(None, {"n": 2, "temperature": 0.9}, 0.9, id="given"),
        pytest.param(None, {"n": 1}, None, id="one answer"),
        pytest.param(0.9, {"n": 2, "temperature": None}, None, id="the model's own, by name"),
        pytest.param(None, {"n": 2, "temperature": 0.15}, 0.7, id="just low enough"),
        pytest.param(None, {"n": 2, "temperature": 0.16}, 0.16, id="just high enough"),
    ],
)
def test_several_answers_get_a_temperature_at_which_they_differ(scripted, own, config, sent):
    lm = scripted(PARIS, temperature=own)
    Predict("question -> answer", **config)(question="?", lm=lm)

    assert lm.asked[0][1].get("temperature") == sent


def test_all_answers_are_kept_as_completions(scripted):
    lm = scripted([{"answer": "4"}, {"answer": "four"}])
    prediction = Predict("question -> answer", n=2)(question="2+2?", lm=lm)

    assert prediction.answer == "4"
    assert prediction.completions.answer == ["4", "four"]
    assert len(prediction.completions) == 2


def test_typed_outputs_are_typed(scripted):
    fields = {"count": "3", "when": "2024-01-02"}
    signature = Signature("question -> count: int, when: date", custom_types={"date": dt.date})
    answer = Predict(signature)(question="?", lm=scripted(fields))

    assert answer.toDict() == {"count": 3, "when": dt.date(2024, 1, 2)}


def test_trace_of_the_settings_collects_calls(scripted):
    trace = []
    predict = Predict("question -> answer")
    with context(lm=scripted(PARIS, PARIS, PARIS), trace=trace, max_trace_size=2):
        predict(question="one")
        predict(question="two")
        prediction = predict(question="three")
        predict.lm = scripted(PARIS)
        predict(question="unseen", _trace=False)

    assert [(entry[0], entry[1]["question"]) for entry in trace] == [
        (predict, "two"),
        (predict, "three"),
    ]
    assert trace[-1][2] is prediction


OUTPUT = {"type": "content", "content": "def f(): ..."}


def test_predicted_output_goes_to_the_lm(scripted, caplog):
    lm = scripted(PARIS)
    Predict("question -> answer")(question="?", prediction=OUTPUT, lm=lm)

    assert lm.asked[0][1]["prediction"] == OUTPUT
    assert caplog.text == ""


def test_input_field_may_be_called_prediction(scripted):
    lm = scripted(PARIS)
    Predict("prediction -> answer")(prediction="It will rain.", lm=lm)

    assert "It will rain." in lm.prompts[0]
    assert "prediction" not in lm.asked[0][1]


def test_options_of_one_call_leave_the_predictors_as_they_are(scripted):
    predict = Predict("question -> answer", temperature=0.1)
    predict(question="?", config={"n": 2}, lm=scripted([PARIS, PARIS]))

    assert predict.get_config() == {"temperature": 0.1}


@pytest.mark.api("Predict.attributes")
def test_new_predictor_has_the_attributes_of_dspys():
    predict = Predict("question -> answer", temperature=0.1)

    assert predict.signature.signature == "question -> answer"
    assert (predict.demos, predict.traces, predict.train, predict.lm) == ([], [], [], None)
    assert predict.config == {"temperature": 0.1}


@pytest.mark.api("Predict.attributes")
def test_options_can_be_changed_and_read():
    predict = Predict("question -> answer", temperature=0.1)
    predict.update_config(max_tokens=5)

    assert predict.get_config() == {"temperature": 0.1, "max_tokens": 5}


@pytest.mark.api("Predict.attributes")
def test_reset_forgets_what_was_learned_and_keeps_signature_and_options(scripted):
    predict = Predict("question -> answer", temperature=0.1)
    predict.lm, predict.demos, predict.traces, predict.train = scripted(), [PARIS], [1], [2]
    predict.reset()

    assert (predict.lm, predict.demos, predict.traces, predict.train) == (None, [], [], [])
    assert (predict.signature.signature, predict.config) == (
        "question -> answer", {"temperature": 0.1},
    )  # fmt: skip


async def test_options_reach_the_provider():
    async with ScriptedServer([Answer("[[ ## answer ## ]]\nParis")]) as server:
        lm = LM("openai/test", api_base=server.base_url, api_key="sk-test-1")
        await Predict("question -> answer", seed=5).acall(
            question="?", lm=lm, config={"max_tokens": 9}
        )

    sent = server.requests[0].fields
    assert (sent["seed"], sent["max_tokens"]) == (5, 9)
