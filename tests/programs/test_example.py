"""`Example`: named values, some of which are inputs."""

from __future__ import annotations

import copy
import pickle

import pydantic
import pytest

from nbtool.programs.example import Example

pytestmark = pytest.mark.api("Example")
SHOWN = Example(question="2+2?", answer="4").with_inputs("question")


def test_values_are_attributes_and_items():
    example = Example({"a": 1}, b=2)
    example.c = 3
    example["d"] = 4
    del example.a

    assert dict(example) == {"b": 2, "c": 3, "d": 4}
    assert (list(example), len(example)) == (["b", "c", "d"], 3)
    assert (example.keys(), example.values()) == (["b", "c", "d"], [2, 3, 4])


def test_inputs_and_labels_are_told_apart():
    assert SHOWN.inputs().toDict() == {"question": "2+2?"}
    assert SHOWN.labels().toDict() == {"answer": "4"}


@pytest.mark.parametrize("part", ["inputs", "labels"])
def test_parts_of_an_example_without_named_inputs_are_an_error(part):
    with pytest.raises(ValueError, match=r"Inputs have not been set .*\n.*with_inputs"):
        getattr(Example(a=1), part)()


def test_with_inputs_leaves_the_original_alone():
    original = Example(a=1)
    original.with_inputs("a")

    with pytest.raises(ValueError, match="with_inputs"):
        original.inputs()


def test_named_inputs_survive_copies():
    made = [Example(SHOWN), SHOWN.copy(more=1), SHOWN.without("answer")]

    assert [example.inputs().toDict() for example in made] == [{"question": "2+2?"}] * 3


def test_copies_are_independent():
    twin = SHOWN.copy(answer="four")

    assert (twin.answer, SHOWN.answer) == ("four", "4")


@pytest.mark.parametrize(
    "twin",
    [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))],  # noqa: S301 - our own bytes
    ids=["deepcopy", "pickle"],
)
def test_copied_example_is_equal_and_keeps_its_inputs(twin):
    assert twin(SHOWN) == SHOWN
    assert hash(twin(SHOWN)) == hash(SHOWN)
    assert twin(SHOWN).inputs() == SHOWN.inputs()


def test_examples_inside_become_dicts():
    nested = Example(one=Example(a=1), many=[Example(b=2)], table={"k": Example(c=3)})

    assert nested.toDict() == {"one": {"a": 1}, "many": [{"b": 2}], "table": {"k": {"c": 3}}}


@pytest.mark.parametrize("name", ["keys", "values", "items", "copy"])
def test_value_with_the_name_of_a_method_is_read_as_item(name):
    assert Example({name: 1})[name] == 1


class Row(Example):
    """A user's own kind of example."""


def test_parts_are_of_the_same_kind_and_know_their_inputs():
    row = Row(question="2+2?", answer="4").with_inputs("question", "not there")

    assert (type(row.inputs()), type(row.labels())) == (Row, Row)
    assert row.inputs().inputs() == row.inputs()
    with pytest.raises(ValueError, match="with_inputs"):
        row.labels().inputs()


class City(pydantic.BaseModel):
    name: str


def test_models_inside_become_dicts():
    nested = Example(city=City(name="Paris"), more=[City(name="Rome")])

    assert nested.toDict() == {"city": {"name": "Paris"}, "more": [{"name": "Rome"}]}


def test_notes_of_optimizers_are_listed_only_where_asked_for():
    noted = Example(a=1, dspy_uuid="x")

    assert (noted.keys(), noted.values(), noted.items(), len(noted)) == (["a"], [1], [("a", 1)], 1)
    assert noted.keys(include_dspy=True) == ["a", "dspy_uuid"]
    assert noted.dspy_uuid == "x"


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), ({1}, frozenset({1})), ([1], [1.0]), ("a", "a")],
    ids=["numbers", "sets", "lists", "texts"],
)
def test_equal_examples_have_the_same_hash(one, other):
    assert Example(x=one) == Example(x=other)
    assert hash(Example(x=one)) == hash(Example(x=other))


def test_examples_of_other_values_mostly_have_another_hash():
    assert len({hash(Example(x=number)) for number in range(100)}) == 100


def test_repr_shows_values_and_inputs():
    assert repr(SHOWN) == ("Example({'question': '2+2?', 'answer': '4'}) (input_keys={'question'})")
    assert repr(Example(a=1)) == "Example({'a': 1}) (input_keys=None)"


def test_example_gives_its_values_to_a_call():
    assert dict(**SHOWN) == {"question": "2+2?", "answer": "4"}


def test_missing_value_is_an_attribute_error_that_names_the_others():
    with pytest.raises(AttributeError, match=r"\['question', 'answer'\]"):
        _ = SHOWN.nope
