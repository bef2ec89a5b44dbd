"""Files: states as JSON or pickle, whole programs, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import sys
import threading
import types
from pathlib import Path

import pytest

from nbtool.errors import SavingError, StateError
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.programs.saving import load
from nbtool.testing.dummy import DummyLM

pytestmark = pytest.mark.api("Module.state")
OF_DSPY = Path(__file__).parent / "states" / "dspy_3_4.json"


class Pair(Module):
    def __init__(self):
        super().__init__()
        self.one = Predict("a -> b")
        self.two = [Predict("a -> b")]


def with_demo(value="4"):
    pair = Pair()
    pair.one.demos = [{"a": "2+2?", "b": value}]
    return pair


@pytest.mark.parametrize("name", ["state.json", "state.pkl"])
def test_saved_state_is_loaded_into_another_program(tmp_path, name):
    with_demo().save(tmp_path / name)
    twin = Pair()
    twin.load(str(tmp_path / name), allow_pickle=True)

    assert twin.one.demos == [{"a": "2+2?", "b": "4"}]
    assert twin.dump_state() == with_demo().dump_state()


def test_file_of_dspy_is_loaded(tmp_path, caplog):
    predict = Predict("a -> b: int")
    state = json.loads(OF_DSPY.read_text("utf-8"))
    (tmp_path / "p.json").write_text(json.dumps({**state["steps[0]"], "metadata": {}}))
    predict.load(tmp_path / "p.json", allow_unsafe_lm_state=True)

    assert predict.lm.kwargs["api_base"] == "http://localhost:1/v1"
    assert caplog.text == ""


def test_file_has_the_versions_that_dspy_looks_for_and_no_other(tmp_path):
    Pair().save(tmp_path / "state.json")
    noted = json.loads((tmp_path / "state.json").read_text("utf-8"))["metadata"]

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert noted["dependency_versions"] == {"python": version}
    assert noted["nbtool"]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        pytest.param("naïve 日本", "naïve 日本", id="characters"),
        pytest.param("half \ud800", "half \ud800", id="half a character"),
        pytest.param(dt.date(2026, 1, 2), "2026-01-02", id="date"),
        pytest.param({"x": [1, None]}, {"x": [1, None]}, id="containers"),
        pytest.param({1}, [1], id="set"),
    ],
)
def test_values_of_demos_survive_json(tmp_path, value, kept):
    with_demo(value).save(tmp_path / "state.json")
    twin = Pair()
    twin.load(tmp_path / "state.json")

    assert twin.one.demos[0]["b"] == kept


@pytest.mark.parametrize(
    "value",
    [object(), float("nan"), {(1, 2): 3}, threading.Lock()],
    ids=["object", "nan", "tuple as key", "lock"],
)
def test_state_that_json_cannot_hold_is_told_and_leaves_no_file(tmp_path, value):
    pair = with_demo(value)

    with pytest.raises(SavingError, match=r"Failed to save state to .*state\.json") as caught:
        pair.save(tmp_path / "state.json")
    assert isinstance(caught.value, RuntimeError)
    assert "`.pkl`" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_failing_save_leaves_the_file_of_before(tmp_path):
    with_demo().save(tmp_path / "state.json")
    before = (tmp_path / "state.json").read_bytes()

    with pytest.raises(SavingError):
        with_demo(object()).save(tmp_path / "state.json")
    assert (tmp_path / "state.json").read_bytes() == before


@pytest.mark.parametrize("name", ["state", "state.txt", "state.json.bak"])
@pytest.mark.parametrize("how", ["save", "load"])
def test_other_endings_are_refused(tmp_path, name, how):
    with pytest.raises(StateError, match=r"`path` must end with `\.json` or `\.pkl`") as caught:
        getattr(Pair(), how)(tmp_path / name)

    assert isinstance(caught.value, ValueError)


def test_pickled_state_is_not_loaded_unless_it_is_allowed(tmp_path):
    Pair().save(tmp_path / "state.pkl")

    with pytest.raises(StateError, match=r"Loading \.pkl files can run arbitrary code"):
        Pair().load(tmp_path / "state.pkl")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"one": {}}', b"3", b"[" * 100_000],
    ids=["empty", "cut", "list", "no text", "lacking", "number", "deep"],
)
def test_damaged_file_is_told_with_its_name_and_changes_nothing(tmp_path, content):
    (tmp_path / "state.json").write_bytes(content)
    pair = with_demo()

    with pytest.raises(StateError):
        pair.load(tmp_path / "state.json")
    assert pair.dump_state() == with_demo().dump_state()


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1])])
def test_damaged_pickle_is_told(tmp_path, content):
    (tmp_path / "state.pkl").write_bytes(content)

    with pytest.raises(StateError):
        Pair().load(tmp_path / "state.pkl", allow_pickle=True)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        Pair().load(tmp_path / "state.json")


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        pytest.param({"dependency_versions": {"python": "2.7"}}, "python version", id="python"),
        pytest.param({"nbtool": "0.0.1"}, "nbtool version", id="nbtool"),
        pytest.param({"dependency_versions": {"dspy": "1.0"}}, "", id="others do not matter"),
        pytest.param({"dependency_versions": [1]}, "", id="damaged"),
        pytest.param("text", "", id="text"),
    ],
)
def test_other_versions_are_warned_about(tmp_path, caplog, noted, said):
    state = {**Pair().dump_state(), "metadata": noted}
    (tmp_path / "state.json").write_text(json.dumps(state))
    Pair().load(tmp_path / "state.json")

    assert said in caplog.text
    assert len(caplog.records) == (1 if said else 0)


def test_predictor_with_the_name_of_the_metadata_is_refused(tmp_path):
    class Unlucky(Module):
        def __init__(self):
            self.metadata = Predict("a -> b")

    with pytest.raises(StateError, match="predictor that is called 'metadata'"):
        Unlucky().save(tmp_path / "state.json")


# -- whole programs ------------------------------------------------------------------------------


class Shout(Module):
    def __init__(self, mark):
        super().__init__(callbacks=[threading.Lock()])
        self.mark = mark
        self.ask = Predict("question -> answer")

    def forward(self, question):
        return self.ask(question=question).answer.upper() + self.mark


def test_whole_program_comes_back(tmp_path):
    program = Shout("!")
    program.ask.demos = [{"question": "a", "answer": "b"}]
    program.history.append({"big": threading.Lock()})
    program.save(tmp_path / "program", save_program=True, allow_pickle=True)
    twin = load(tmp_path / "program", allow_pickle=True)
    twin.set_lm(DummyLM([{"answer": "paris"}]))

    assert twin(question="?") == "PARIS!"
    assert twin.ask.demos == program.ask.demos
    assert (len(twin.history), twin.callbacks, twin._compiled) == (1, [], False)


def test_folders_of_a_whole_program_are_made(tmp_path):
    Pair().save(tmp_path / "a" / "b", save_program=True, allow_pickle=True)

    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["metadata.json", "program.pkl"]


@pytest.mark.parametrize("end", ["save", "load"])
def test_whole_program_needs_permission_on_both_ends(tmp_path, end):
    folder = tmp_path / "program"
    calls = {
        "save": lambda: Pair().save(folder, save_program=True),
        "load": lambda: load(folder),
    }

    with pytest.raises(StateError, match="allow_pickle=True"):
        calls[end]()
    assert list(tmp_path.iterdir()) == []


def test_whole_program_goes_into_a_folder(tmp_path):
    with pytest.raises(StateError, match="`path` must point to a directory without a suffix"):
        Pair().save(tmp_path / "program.pkl", save_program=True, allow_pickle=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="exists but is not a directory"):
        Pair().save(tmp_path / "file", save_program=True, allow_pickle=True)


def test_program_that_cannot_be_pickled_is_told(tmp_path):
    program = Pair()
    program.lock = threading.Lock()

    with pytest.raises(SavingError, match=r"Saving failed with error: .*lock"):
        program.save(tmp_path / "program", save_program=True, allow_pickle=True)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"The path '.*nothing' does not exist\."):
        load(tmp_path / "nothing", allow_pickle=True)


def test_folder_of_something_else_is_told(tmp_path):
    (tmp_path / "program.pkl").write_bytes(pickle.dumps({"a": 1}))

    with pytest.raises(StateError, match="holds a dict and no program"):
        load(tmp_path, allow_pickle=True)


def test_classes_of_a_module_can_go_into_the_file(tmp_path):
    module = types.ModuleType("passing_module")
    source = "from nbtool.programs.module import Module\nclass Own(Module):\n    x = 3\n"
    exec(source, vars(module))  # noqa: S102 - a module that is gone when the file is loaded
    sys.modules["passing_module"] = module
    program = module.Own()
    arguments = {"save_program": True, "allow_pickle": True}
    program.save(tmp_path / "p", modules_to_serialize=[module], **arguments)
    del sys.modules["passing_module"]

    assert load(tmp_path / "p", allow_pickle=True).x == 3
