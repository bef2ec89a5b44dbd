"""`Prediction` and `Completions`: what programs return."""

from __future__ import annotations

import copy
import pickle

import pytest

from nbtool.programs.example import Example
from nbtool.programs.prediction import Completions, Prediction
from nbtool.signatures.signature import Signature

pytestmark = pytest.mark.api("Prediction")
BOTH = [{"answer": "4", "why": "a"}, {"answer": "four", "why": "b"}]


def test_fields_are_attributes_and_items():
    prediction = Prediction(answer="Paris")

    assert (prediction.answer, prediction["answer"]) == ("Paris", "Paris")
    assert "answer" in prediction
    assert prediction.get("nope", 1) == 1


def test_missing_field_says_which_there_are():
    with pytest.raises(AttributeError, match=r"no 'nope'; it has \['answer'\]"):
        _ = Prediction(answer="Paris").nope


def test_repr_shows_the_fields_line_by_line():
    assert repr(Prediction(a="x", b=1)) == "Prediction(\n    a='x',\n    b=1\n)"


def test_repr_says_how_many_answers_there_are_more():
    assert repr(Prediction.from_completions(BOTH)).endswith(") (1 more in .completions)")
    assert repr(Prediction.from_completions(BOTH[:1])).endswith("\n)")


def test_first_of_several_answers_is_the_prediction():
    prediction = Prediction.from_completions(BOTH)

    assert prediction.toDict() == BOTH[0]
    assert prediction.completions is not None
    assert prediction.completions.answer == ["4", "four"]


def test_completions_are_read_by_field_by_number_and_in_a_loop():
    both = Completions(BOTH)

    assert (both["why"], both[1].answer, both[-1].answer) == (["a", "b"], "four", "four")
    assert [one.why for one in both] == ["a", "b"]
    assert (len(both), "why" in both, both.items()[0]) == (2, True, ("answer", ["4", "four"]))


def test_completions_can_be_given_by_field():
    by_field = {"answer": ["4", "four"]}

    assert Completions(by_field)[1].answer == "four"
    assert Prediction.from_completions(by_field).answer == "4"


def test_no_completions_make_an_empty_prediction():
    empty = Prediction.from_completions([])

    assert (empty.toDict(), len(empty.completions)) == ({}, 0)


@pytest.mark.parametrize(
    "ragged", [[{"a": 1, "b": 2}, {"a": 3}], {"a": [1, 3], "b": [2]}], ids=["rows", "columns"]
)
def test_completions_of_different_fields_are_an_error(ragged):
    with pytest.raises(ValueError, match=r"same length.*\{'a': 2, 'b': 1\}"):
        Completions(ragged)


def test_signature_of_the_completions_is_kept():
    assert Prediction.from_completions(BOTH, Signature("q -> a")).completions.signature.fields


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda both: both[2], IndexError),
        (lambda both: both.nope, AttributeError),
        (lambda both: both["nope"], KeyError),
    ],
    ids=["number", "attribute", "field"],
)
def test_completions_that_are_not_there_are_errors(read, error):
    with pytest.raises(error):
        read(Completions(BOTH))


def test_hand_made_prediction_has_no_completions():
    assert Prediction(answer="x").completions is None


def test_number_of_a_prediction_is_its_score():
    assert float(Prediction(score=0.5)) == 0.5

    with pytest.raises(ValueError, match=r"does not have a 'score' field .*\['answer'\]"):
        float(Prediction(answer=1))


HALF, ONE = Prediction(score=0.5), Prediction(score=1)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        pytest.param(HALF + 1, 1.5, id="plus number"),
        pytest.param(1 + HALF, 1.5, id="number plus"),
        pytest.param(HALF + ONE, 1.5, id="plus prediction"),
        pytest.param(HALF / 2, 0.25, id="by number"),
        pytest.param(1 / HALF, 2.0, id="number by"),
        pytest.param(ONE / HALF, 2.0, id="by prediction"),
        pytest.param(sum([HALF, ONE]), 1.5, id="sum"),
        pytest.param(HALF < ONE, True, id="less"),
        pytest.param(HALF <= 0.5, True, id="at most"),
        pytest.param(HALF > 0.5, False, id="greater"),
        pytest.param(ONE >= HALF, True, id="at least"),
        pytest.param(max(HALF, ONE) is ONE, True, id="max"),
        pytest.param(min([ONE, HALF]) is HALF, True, id="sorted"),
    ],
)
def test_prediction_with_a_score_counts_as_that_number(result, expected):
    assert result == expected


@pytest.mark.parametrize(
    "do",
    [lambda: HALF + "a", lambda: "a" + HALF, lambda: HALF / "a", lambda: HALF < "a"],
    ids=["plus", "added to", "by", "less"],
)
def test_score_and_text_do_not_mix(do):
    with pytest.raises(TypeError, match=r"unsupported operand|not supported|concatenate"):
        do()


def test_predictions_are_equal_by_their_fields_and_not_by_their_score():
    assert Prediction(score=1, a=1) != Prediction(score=1, a=2)


def test_usage_is_what_was_set():
    prediction = Prediction(answer="x")
    assert prediction.get_lm_usage() is None
    prediction.set_lm_usage({"openai/x": {"total_tokens": 3}})

    assert prediction.get_lm_usage() == {"openai/x": {"total_tokens": 3}}


@pytest.mark.parametrize(
    "twin",
    [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p)), Prediction.copy],  # noqa: S301 - our own bytes
    ids=["copy", "deepcopy", "pickle", "method"],
)
def test_copies_are_equal_and_keep_their_completions(twin):
    prediction = Prediction.from_completions(BOTH)
    other = twin(prediction)

    assert other == prediction
    assert other.completions.answer == ["4", "four"]


def test_prediction_can_be_made_of_an_example():
    assert Prediction(Example(a=1), b=2).toDict() == {"a": 1, "b": 2}


def test_notebook_shows_a_table_without_markup_of_the_model():
    html = Prediction(answer="<script>alert(1)</script>")._repr_html_()

    assert "<script>" not in html
    assert "&lt;script&gt;" in html
