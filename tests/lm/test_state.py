"""An LM in a file, and out of it again: also files of DSPy, and damaged and hostile ones."""

from __future__ import annotations

import json
import pickle

import pytest

from nbtool.errors import LMConfigurationError
from nbtool.lm.base import BaseLM
from nbtool.lm.client import LM

pytestmark = pytest.mark.api("LM.state")

OURS = "dspy.clients.lm.LM"
# As DSPy 3.4 writes it.
DSPYS = {
    "_dspy_lm_class": OURS,
    "model": "openai/gpt-4o-mini",
    "model_type": "chat",
    "cache": True,
    "num_retries": 3,
    "temperature": 0.7,
    "max_tokens": 100,
    "finetuning_model": None,
    "launch_kwargs": {},
    "train_kwargs": {},
}


class Mine(BaseLM):
    async def aforward(self, prompt=None, messages=None, **kwargs):
        return {"choices": [{"message": {"content": self.model}}]}


class Stubborn(BaseLM):
    def __init__(self):
        super().__init__("stubborn")


def test_state_is_what_dspy_writes():
    assert LM("openai/gpt-4o-mini", temperature=0.7, max_tokens=100).dump_state() == DSPYS


def test_state_of_dspy_is_loaded():
    lm = LM.load_state(json.loads(json.dumps(DSPYS)))

    assert (type(lm), lm.model, lm.num_retries) == (LM, "openai/gpt-4o-mini", 3)
    assert lm.kwargs == {"temperature": 0.7, "max_tokens": 100}


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("openai/gpt-4o-mini", {"seed": 7, "cache": False, "num_retries": 0}),
        ("openai/gpt-5", {"max_tokens": 20_000, "use_developer_role": True}),
        ("openai/gpt-4o", {"model_type": "responses", "temperature": 0.2}),
        ("openai/babbage", {"model_type": "text", "finetuning_model": "openai/other"}),
        ("openai/x", {"max_concurrency": 3, "requests_per_minute": 9, "tokens_per_minute": 900}),
        ("local", {"temperature": 0.9}),
    ],
    ids=["options", "reasoning", "responses", "text", "limits", "local"],
)
def test_loaded_lm_is_as_the_dumped_one(model, options):
    lm = LM(model, **options)
    again = LM.load_state(json.loads(json.dumps(lm.dump_state())))

    assert again.dump_state() == lm.dump_state()
    assert (again.kwargs, again.limits.given) == (lm.kwargs, lm.limits.given)


def test_reasoning_models_have_max_tokens_in_their_state():
    state = LM("openai/gpt-5", max_tokens=20_000).dump_state()

    assert (state["max_tokens"], "max_completion_tokens" in state) == (20_000, False)


def test_keys_are_never_dumped():
    lm = LM(
        "azure/x",
        api_key="sk-secret",
        azure_ad_token="t-secret",
        aws_secret_access_key="a-secret",
        extra_headers={"Authorization": "Bearer h-secret", "X-Team": "blue"},
        input_cost_per_token=0.1,
    )
    state = lm.dump_state()

    assert "secret" not in str(state)
    assert state["extra_headers"] == {"X-Team": "blue"}
    assert state["input_cost_per_token"] == 0.1


def test_function_that_gives_a_key_is_not_dumped():
    assert "api_key" not in LM("openai/x", api_key=lambda: "sk").dump_state()


@pytest.mark.parametrize(
    "key",
    ["api_base", "base_url", "model_list", "fallbacks", "azure_endpoint", "aws_sts_endpoint"],
)
def test_where_requests_go_is_dropped_with_a_warning(key, caplog):
    lm = LM.load_state({**DSPYS, key: "http://evil.example"})

    assert key not in lm.kwargs
    assert f"Ignoring unsafe LM config key(s) during state load: ['{key}']" in caplog.text


def test_where_requests_go_is_kept_if_the_file_is_trusted(caplog):
    state = {**DSPYS, "api_base": "http://mine.example"}
    lm = LM.load_state(state, allow_unsafe_lm_state=True)

    assert (lm.kwargs["api_base"], caplog.text) == ("http://mine.example", "")


@pytest.mark.parametrize("kind", [LM, BaseLM])
@pytest.mark.parametrize("path", ["os.system", "my_package.MyLM", "tests.lm.Mine", 5, ["x"]])
def test_foreign_class_is_refused(kind, path):
    with pytest.raises(LMConfigurationError, match="Refusing to import custom serialized LM class"):
        kind.load_state({**DSPYS, "_dspy_lm_class": path})


@pytest.mark.parametrize("path", ["os.system", "no_such_package_at_all.LM", "nbtool.LM.nothing"])
def test_allowed_class_must_be_an_lm(path):
    with pytest.raises(LMConfigurationError, match="LM class") as caught:
        LM.load_state({**DSPYS, "_dspy_lm_class": path}, allow_unsafe_lm_state=True)

    assert caught.value.hint


def test_allowed_class_is_imported(tmp_path, monkeypatch):
    (tmp_path / "lms_of_mine.py").write_text(
        "from nbtool.lm.base import BaseLM\nclass Echo(BaseLM):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    state = {**DSPYS, "_dspy_lm_class": "lms_of_mine.Echo", "finetuning_model": None}
    lm = BaseLM.load_state(state, allow_custom_lm_class=True)

    assert (type(lm).__name__, lm.model) == ("Echo", "openai/gpt-4o-mini")


def test_lm_of_ones_own_is_dumped_with_its_class_and_loaded_by_it():
    lm = Mine("mine", temperature=0.3)
    again = Mine.load_state(lm.dump_state())

    assert lm.dump_state()["_dspy_lm_class"].endswith("Mine")
    assert (type(again), again.model, again.kwargs) == (Mine, "mine", lm.kwargs)


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        "openai/x",
        {},
        {1: 2},
        {"model": None},
        {"model": ["x"]},
        {"model": "x", "model_type": "image"},
        {"model": "x", "num_retries": "many"},
    ],
    ids=repr,
)
def test_damaged_state_is_refused(state):
    with pytest.raises(LMConfigurationError) as caught:
        LM.load_state(state)

    assert caught.value.hint


def test_state_that_does_not_fit_the_class_is_refused():
    with pytest.raises(LMConfigurationError, match="does not fit Stubborn"):
        Stubborn.load_state({"model": "x"})


def test_what_only_dspy_knows_is_left_out():
    lm = LM.load_state({**DSPYS, "engine": "lm15", "async_engine": None, "prompt_cache": {}})

    assert lm.kwargs == {"temperature": 0.7, "max_tokens": 100}


def test_lm_can_be_pickled():
    lm = LM("openai/gpt-4o-mini", temperature=0.7, max_concurrency=2)
    again = pickle.loads(pickle.dumps(lm))  # noqa: S301 - our own

    assert again.dump_state() == lm.dump_state()
