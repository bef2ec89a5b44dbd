"""States: what predictors and programs dump, and load from files that may hold anything."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pydantic
import pytest

from nbtool.errors import LMConfigurationError, SignatureError, StateError
from nbtool.lm.client import LM
from nbtool.programs.chain_of_thought import ChainOfThought
from nbtool.programs.example import Example
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.testing.dummy import DummyLM

PREDICT = pytest.mark.api("Predict.state")
MODULE = pytest.mark.api("Module.state")
OF_DSPY = json.loads((Path(__file__).parent / "states" / "dspy_3_4.json").read_text("utf-8"))


class City(pydantic.BaseModel):
    name: str


class Program(Module):
    """The program of which DSPy saved the state."""

    def __init__(self):
        self.first = ChainOfThought("question -> answer")
        self.steps = [Predict("a -> b: int")]
        self.table = {"key": Predict("a -> b"), 2: Predict("a -> b")}


def changed():
    """Return a predictor as an optimizer leaves it."""
    predict = Predict("question -> answer")
    predict.demos = [Example(question="2+2?", answer="4"), {"question": "3+3?", "answer": "6"}]
    predict.signature = predict.signature.with_instructions("Be short.")
    predict.lm = LM("openai/gpt-4o-mini", temperature=0.5, api_key="sk-secret-12345678")
    return predict


# -- predictors ----------------------------------------------------------------------------------


@PREDICT
def test_state_of_a_predictor_is_what_optimizers_change():
    state = changed().dump_state()

    assert list(state) == ["traces", "train", "demos", "signature", "lm"]
    demos = [{"question": "2+2?", "answer": "4"}, {"question": "3+3?", "answer": "6"}]
    assert state["demos"] == demos
    assert state["signature"]["instructions"] == "Be short."
    assert (state["lm"]["model"], state["lm"]["temperature"]) == ("openai/gpt-4o-mini", 0.5)


@PREDICT
def test_state_has_no_key_of_a_provider():
    assert "sk-secret" not in json.dumps(changed().dump_state())


@PREDICT
def test_state_comes_back_through_json():
    state = json.loads(json.dumps(changed().dump_state()))
    twin = Predict("question -> answer")

    assert twin.load_state(state) is twin
    assert twin.dump_state() == changed().dump_state()
    assert isinstance(twin.lm, LM)


@PREDICT
def test_examples_stay_examples_outside_of_json():
    demos = changed().dump_state(json_mode=False)["demos"]

    assert [type(demo) for demo in demos] == [Example, dict]


@PREDICT
@pytest.mark.parametrize("json_mode", [True, False])
def test_models_in_demos_become_dicts_and_the_demos_stay(json_mode):
    predict = Predict("city -> country")
    predict.demos = [Example(city=City(name="Paris"), country=[City(name="France")])]
    (demo,) = predict.dump_state(json_mode)["demos"]

    assert dict(demo) == {"city": {"name": "Paris"}, "country": [{"name": "France"}]}
    assert predict.demos[0].city == City(name="Paris")


@PREDICT
def test_state_shares_nothing_with_the_predictor():
    predict = changed()
    predict.dump_state()["demos"][1]["answer"] = "seven"

    assert predict.demos[1]["answer"] == "6"


@PREDICT
def test_loaded_demos_are_shown_to_the_lm():
    lm = DummyLM([{"answer": "8"}])
    twin = Predict("question -> answer").load_state(changed().dump_state())
    twin(question="4+4?", lm=lm)

    assert "3+3?" in lm.history[0]["messages"][3]["content"]


@PREDICT
def test_addresses_in_a_state_are_dropped_with_a_warning(caplog):
    state = OF_DSPY["steps[0]"]
    predict = Predict("a -> b: int").load_state(state)

    assert "api_base" not in predict.lm.kwargs
    assert "Ignoring unsafe LM config key(s) during state load: ['api_base']" in caplog.text
    assert len(caplog.records) == 1


@PREDICT
def test_addresses_are_kept_where_the_file_is_trusted(caplog):
    state = OF_DSPY["steps[0]"]
    predict = Predict("a -> b: int").load_state(state, allow_unsafe_lm_state=True)

    assert predict.lm.kwargs["api_base"] == "http://localhost:1/v1"
    assert caplog.text == ""


@PREDICT
def test_unknown_entries_change_nothing_and_are_named(caplog):
    hostile = {"config": {"api_base": "http://evil"}, "_compiled": True, "aforward": "x"}
    predict = Predict("question -> answer").load_state({**changed().dump_state(), **hostile})

    assert (predict.config, predict._compiled) == ({}, False)
    assert "['_compiled', 'aforward', 'config']" in caplog.text


def broken(**changes):
    return {**changed().dump_state(), **changes}


@PREDICT
@pytest.mark.parametrize(
    ("state", "error", "said"),
    [
        pytest.param([], StateError, "must be a dict", id="no dict"),
        pytest.param({1: 2}, StateError, "must be a dict by names", id="no names"),
        pytest.param({}, StateError, "no signature that fits", id="empty"),
        pytest.param(broken(signature=3), StateError, "signature that fits", id="signature"),
        pytest.param(broken(signature={"fields": []}), SignatureError, "0 fields", id="fields"),
        pytest.param(broken(demos="x"), StateError, "'demos' of the state is 'x'", id="demos"),
        pytest.param(broken(demos=["x"]), StateError, "A demo of the state is 'x'", id="demo"),
        pytest.param(broken(train=None), StateError, "'train' of the state", id="train"),
        pytest.param(
            broken(lm={"_dspy_lm_class": "os.system", "model": "x"}),
            LMConfigurationError,
            "Refusing to import custom serialized LM class `os.system`",
            id="class",
        ),
    ],
)
def test_state_that_does_not_fit_changes_nothing(state, error, said):
    predict = changed()
    before = (predict.demos, predict.signature, predict.lm)

    with pytest.raises(error, match=said):
        predict.load_state(state)
    assert (predict.demos, predict.signature, predict.lm) == before


# -- programs ------------------------------------------------------------------------------------


@MODULE
def test_state_of_a_program_has_the_names_of_dspy():
    assert [*Program().dump_state(), "metadata"] == list(OF_DSPY)


@MODULE
def test_state_of_dspy_is_loaded():
    program = Program()

    assert program.load_state(OF_DSPY) is program
    assert program.first.predict.signature.instructions == "Answer in one word."
    assert program.first.predict.demos[1]["on"] == "2026-01-02"
    assert (program.steps[0].lm.model, program.table[2].lm) == ("openai/gpt-4o-mini", None)


@MODULE
def test_state_of_dspy_is_dumped_again_as_it_was():
    expected = {n: {**s, "lm": None} for n, s in OF_DSPY.items() if n != "metadata"}
    program = Program().load_state(OF_DSPY)
    program.set_lm(None)

    assert program.dump_state() == expected


@MODULE
@pytest.mark.parametrize("place", list(OF_DSPY)[:-1])
def test_program_stays_as_it_is_where_one_part_does_not_fit(place):
    damaged = copy.deepcopy(OF_DSPY)
    damaged[place]["signature"]["fields"].pop()
    program = Program()
    before = program.dump_state()

    with pytest.raises(SignatureError):
        program.load_state(damaged)
    assert program.dump_state() == before


@MODULE
def test_state_that_lacks_a_predictor_names_it():
    lacking = {name: state for name, state in OF_DSPY.items() if name != "steps[0]"}

    with pytest.raises(StateError, match=r"nothing for \['steps\[0\]'\] of 'Program'; it has \["):
        Program().load_state(lacking)


@MODULE
def test_addresses_are_warned_about_once(caplog):
    Program().load_state(OF_DSPY)

    assert len([r for r in caplog.records if "unsafe LM config" in r.getMessage()]) == 1


class Own(Predict):
    """A predictor that saves something of its own."""

    note = ""

    def dump_state(self, json_mode=True):
        return {**super().dump_state(json_mode), "note": self.note}

    def load_state(self, state, *, allow_unsafe_lm_state=False):
        if state["note"] == "broken":
            raise ValueError("broken")
        self.note = state["note"]
        rest = {name: value for name, value in state.items() if name != "note"}
        return super().load_state(rest, allow_unsafe_lm_state=allow_unsafe_lm_state)


class WithOwn(Module):
    def __init__(self):
        self.plain, self.own = Predict("a -> b"), Own("a -> b")


@MODULE
def test_predictor_with_a_state_of_its_own_loads_it():
    program, twin = WithOwn(), WithOwn()
    program.own.note = "mine"
    twin.load_state(program.dump_state())

    assert twin.own.note == "mine"


@MODULE
def test_predictor_of_the_users_own_that_fails_leaves_all_as_it_was():
    program, state = WithOwn(), WithOwn().dump_state()
    state["own"]["note"] = "broken"
    state["plain"]["demos"] = [{"a": "1"}]

    with pytest.raises(ValueError, match="broken"):
        program.load_state(state)
    assert (program.plain.demos, program.own.note) == ([], "")
