"""`Module`: programs of steps, found, copied and called."""

from __future__ import annotations

import copy
import threading

import pytest

from nbtool.configuration import context
from nbtool.errors import LMConfigurationError
from nbtool.programs.chain_of_thought import ChainOfThought
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.testing.dummy import DummyLM


class Nested(Module):
    def __init__(self):
        super().__init__()
        self.one = Predict("a -> b")
        self.steps = [Predict("a -> b"), ChainOfThought("a -> b")]
        self.pair = (Predict("a -> b"), "no predictor")
        self.table = {"k": Predict("a -> b"), 2: [Predict("a -> b")]}
        self.same = self.one


class Forgetful(Module):
    def __init__(self):
        self.first = ChainOfThought("question->answer")
        self.second = ChainOfThought("answer->simplified_answer")

    async def aforward(self, question, **kwargs):
        answer = await self.first.acall(question=question)
        return await self.second.acall(answer=answer)


class Async(Module):
    async def aforward(self, a, b=2, *more, c=3):
        return a, b, more, c


class Sync(Module):
    def forward(self, a, b=2, *more, c=3):
        return a, b, more, c


class Both(Module):
    def forward(self):
        return "forward"

    async def aforward(self):
        return "aforward"


NAMES = [
    "one", "steps[0]", "steps[1].predict", "pair[0]", "table['k']", "table[2][0]",
]  # fmt: skip


def test_predictors_are_found_once_in_attributes_lists_tuples_dicts_and_modules():
    assert [name for name, _ in Nested().named_predictors()] == NAMES


def test_predictor_finds_itself():
    predict = Predict("a -> b")

    assert predict.named_predictors() == [("self", predict)]


def test_modules_inside_are_found_with_their_paths():
    names = [name for name, _ in Nested().named_sub_modules()]

    assert names[:4] == ["self", "one", "steps[0]", "steps[1]"]


def test_module_that_holds_itself_is_walked_once():
    module = Nested()
    module.me, module.steps = module, [module.steps, module]

    assert len(module.predictors()) == 6


def test_lm_is_set_for_all_predictors_and_read_back():
    module, lm = Nested(), DummyLM([])
    module.set_lm(lm)

    assert {id(p.lm) for p in module.predictors()} == {id(lm)}
    assert module.get_lm() is lm


def test_different_lms_are_told():
    module = Nested()
    module.one.lm = DummyLM([])

    with pytest.raises(LMConfigurationError, match="'Nested' use 2 different LMs"):
        module.get_lm()


def test_module_without_predictors_has_no_lm():
    assert Async().get_lm() is None


def test_predictors_are_replaced_everywhere():
    module = Nested()
    replaced = module.map_named_predictors(lambda p: Predict("x -> y"))

    assert replaced is module
    assert {str(p.signature.signature) for p in module.predictors()} == {"x -> y"}
    assert module.pair[1] == "no predictor"


@pytest.mark.parametrize("call", ["sync", "async"])
async def test_module_that_forgot_super_init_works(call):
    lm = DummyLM([{"answer": "Paris"}, {"simplified_answer": "P"}], reasoning=True)
    module = Forgetful()
    with context(lm=lm):
        result = module(question="?") if call == "sync" else await module.acall(question="?")

    assert (result.simplified_answer, module.callbacks, module.history) == ("P", [], [])


def test_second_prompt_has_the_first_answer_readable():
    lm = DummyLM([{"answer": "Paris"}, {"simplified_answer": "P"}], reasoning=True)
    with context(lm=lm):
        Forgetful()(question="?")

    second = lm.history[1]["messages"][-1]["content"]
    assert '[[ ## answer ## ]]\n{"reasoning": "No more responses", "answer": "Paris"}' in second


@pytest.mark.parametrize("kind", [Async, Sync])
@pytest.mark.parametrize(
    ("args", "kwargs", "result"),
    [
        pytest.param((1,), {}, (1, 2, (), 3), id="positional"),
        pytest.param((1, 5, 6, 7), {"c": 8}, (1, 5, (6, 7), 8), id="all"),
        pytest.param((), {"a": 1, "c": 0}, (1, 2, (), 0), id="named"),
    ],
)
async def test_modules_take_arguments_as_their_logic_does(kind, args, kwargs, result):
    assert kind()(*args, **kwargs) == result
    assert await kind().acall(*args, **kwargs) == result


@pytest.mark.parametrize("kind", [Async, Sync])
async def test_wrong_arguments_are_a_type_error(kind):
    with pytest.raises(TypeError, match="'a'"):
        kind()()
    with pytest.raises(TypeError, match="'nope'"):
        await kind().acall(1, nope=1)


async def test_module_with_both_uses_the_fitting_one():
    assert Both()() == "forward"
    assert await Both().acall() == "aforward"


async def test_awaited_forward_runs_in_a_worker_thread():
    class Where(Module):
        def forward(self):
            return threading.current_thread()

    assert Where()() is threading.current_thread()
    assert await Where().acall() is not threading.current_thread()


async def test_module_without_logic_says_what_to_define():
    with pytest.raises(NotImplementedError, match="aforward"):
        await Module().acall()


def test_deepcopy_shares_no_predictor_and_keeps_what_is_shared_inside():
    module = Nested()
    module.one.demos = [{"a": 1, "b": 2}]
    twin = module.deepcopy()

    assert not {id(p) for p in module.predictors()} & {id(p) for p in twin.predictors()}
    assert twin.same is twin.one
    assert twin.one.demos == module.one.demos
    assert twin.one.demos is not module.one.demos


def test_deepcopy_keeps_one_lm_one():
    module = Nested()
    module.set_lm(DummyLM([]))

    assert isinstance(module.deepcopy().get_lm(), DummyLM)


def test_deepcopy_shares_what_cannot_be_copied():
    module = Nested()
    module.lock = threading.Lock()
    module.again = module.held = [module.one, module.lock]
    twin = module.deepcopy()

    assert twin.lock is module.lock
    assert (twin.again, twin.held) == (module.again, module.held)
    assert twin.one is not module.one


@pytest.mark.parametrize("how", [copy.deepcopy, Module.deepcopy], ids=["copy", "method"])
def test_copied_program_works(how):
    lm = DummyLM([{"answer": "Paris"}, {"simplified_answer": "P"}], reasoning=True)
    with context(lm=lm):
        assert how(Forgetful())(question="?").simplified_answer == "P"


def test_reset_copy_has_no_demos():
    module = Nested()
    module.one.demos = [{"a": 1}]

    assert module.reset_copy().one.demos == []
    assert module.one.demos == [{"a": 1}]


def test_repr_shows_the_predictors():
    shown = repr(Nested())

    assert shown.startswith("Nested()\n")
    assert [name in shown for name in NAMES] == [True] * len(NAMES)
