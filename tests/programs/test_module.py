"""`Module`: programs of steps, found, copied and called."""

from __future__ import annotations

import collections
import copy
import inspect
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
    "one", "steps[0]", "steps[1].predict", "pair[0]", "table['k']", "table['2'][0]",
]  # fmt: skip
MODULE = pytest.mark.api("Module")
WALK = pytest.mark.api("Module.walk")
SET_LM = pytest.mark.api("Module.set_lm")
COPIES = pytest.mark.api("Module.copies")


@WALK
def test_predictors_are_found_once_in_attributes_lists_tuples_dicts_and_modules():
    assert [name for name, _ in Nested().named_predictors()] == NAMES


@WALK
def test_predictor_finds_itself():
    predict = Predict("a -> b")

    assert predict.named_predictors() == [("self", predict)]


@WALK
def test_modules_inside_are_found_with_their_paths_the_nearest_first():
    assert [name for name, _ in Nested().named_sub_modules()] == [
        "self", "self.one", "self.steps[0]", "self.steps[1]", "self.pair[0]", "self.table[k]",
        "self.steps[1].predict", "self.table[2][0]",
    ]  # fmt: skip


@WALK
def test_objects_of_one_class_are_found_alone():
    names = [name for name, _ in Nested().named_sub_modules(type_=ChainOfThought)]

    assert names == ["self.steps[1]"]


@WALK
def test_parameters_are_the_predictors():
    module = Nested()

    assert module.named_parameters() == module.named_predictors()
    assert module.parameters() == module.predictors()


@WALK
def test_what_is_inside_a_compiled_module_is_frozen():
    module = Nested()
    module.steps[1]._compiled = True
    names = [name for name, _ in module.named_sub_modules(skip_compiled=True)]

    assert [name for name, _ in module.named_predictors()] == [n for n in NAMES if n != NAMES[2]]
    assert "self.steps[1]" in names
    assert "self.steps[1].predict" not in names


@WALK
def test_compiled_module_itself_shows_its_predictors():
    think = ChainOfThought("a -> b")
    think._compiled = True

    assert [name for name, _ in think.named_predictors()] == ["predict"]


@WALK
def test_module_that_holds_itself_is_walked_once():
    module = Nested()
    module.me, module.steps = module, [module.steps, module]

    assert len(module.predictors()) == 6


@SET_LM
def test_lm_is_set_for_all_predictors_and_read_back():
    module, lm = Nested(), DummyLM([])
    module.set_lm(lm)

    assert {id(p.lm) for p in module.predictors()} == {id(lm)}
    assert module.get_lm() is lm


@SET_LM
def test_different_lms_are_told():
    module = Nested()
    module.one.lm = DummyLM([])

    with pytest.raises(LMConfigurationError, match="'Nested' use 2 different LMs") as caught:
        module.get_lm()
    assert "Multiple LMs are being used in the module." in str(caught.value)
    assert isinstance(caught.value, ValueError)


@SET_LM
def test_lm_of_a_compiled_module_inside_stays():
    module, own = Nested(), DummyLM([])
    module.steps[1].predict.lm = own
    module.steps[1]._compiled = True
    module.set_lm(DummyLM([]))

    assert module.steps[1].predict.lm is own


@SET_LM
def test_module_without_predictors_has_no_lm():
    assert Async().get_lm() is None


@WALK
def test_predictors_are_replaced_everywhere():
    module = Nested()
    replaced = module.map_named_predictors(lambda p: Predict("x -> y"))

    assert replaced is module
    assert {str(p.signature.signature) for p in module.predictors()} == {"x -> y"}
    assert module.pair[1] == "no predictor"


@WALK
def test_predictor_in_two_places_is_replaced_by_one():
    module, made = Nested(), []
    module.map_named_predictors(lambda p: made.append(Predict("x -> y")) or made[-1])

    assert module.same is module.one
    assert len(made) == len(NAMES)


@WALK
def test_containers_stay_what_they_are_when_predictors_are_replaced():
    pair = collections.namedtuple("pair", ["ask", "name"])  # noqa: PYI024 - a user's own
    module = Nested()
    module.by_name = collections.defaultdict(list, {"x": [Predict("a -> b")]})
    module.named, module.twice = pair(Predict("a -> b"), "n"), module.steps
    module.map_named_predictors(lambda p: Predict("x -> y"))

    assert (module.by_name["new"], module.named.name) == ([], "n")
    assert module.twice is module.steps
    assert module.named.ask.signature.signature == "x -> y"


@WALK
def test_frozen_predictors_are_not_replaced():
    module = Nested()
    module.steps[1]._compiled = True
    module.map_named_predictors(lambda p: Predict("x -> y"))

    assert module.steps[1].predict.signature.output_fields.keys() == {"reasoning", "b"}


@MODULE
@pytest.mark.parametrize("call", ["sync", "async"])
async def test_module_that_forgot_super_init_works(call):
    lm = DummyLM([{"answer": "Paris"}, {"simplified_answer": "P"}], reasoning=True)
    module = Forgetful()
    with context(lm=lm):
        result = module(question="?") if call == "sync" else await module.acall(question="?")

    assert (result.simplified_answer, module.callbacks, module._compiled) == ("P", [], False)
    assert len(module.history) == 2


def test_second_prompt_has_the_first_answer_readable():
    lm = DummyLM([{"answer": "Paris"}, {"simplified_answer": "P"}], reasoning=True)
    with context(lm=lm):
        Forgetful()(question="?")

    second = lm.history[1]["messages"][-1]["content"]
    assert '[[ ## answer ## ]]\n{"reasoning": "No more responses", "answer": "Paris"}' in second


@pytest.mark.parametrize("kind", [Async, Sync])
@MODULE
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


@MODULE
@pytest.mark.parametrize("kind", [Async, Sync])
async def test_wrong_arguments_are_a_type_error(kind):
    with pytest.raises(TypeError, match="'a'"):
        kind()()
    with pytest.raises(TypeError, match="'nope'"):
        await kind().acall(1, nope=1)


@MODULE
async def test_module_with_both_uses_the_fitting_one():
    assert Both()() == "forward"
    assert await Both().acall() == "aforward"


@MODULE
async def test_awaited_forward_runs_in_a_worker_thread():
    class Where(Module):
        def forward(self):
            return threading.current_thread()

    assert Where()() is threading.current_thread()
    assert await Where().acall() is not threading.current_thread()


@MODULE
async def test_module_without_logic_says_what_to_define():
    with pytest.raises(NotImplementedError, match="aforward"):
        await Module().acall()


@COPIES
def test_deepcopy_shares_no_predictor_and_keeps_what_is_shared_inside():
    module = Nested()
    module.one.demos = [{"a": 1, "b": 2}]
    twin = module.deepcopy()

    assert not {id(p) for p in module.predictors()} & {id(p) for p in twin.predictors()}
    assert twin.same is twin.one
    assert twin.one.demos == module.one.demos
    assert twin.one.demos is not module.one.demos


@COPIES
def test_deepcopy_keeps_one_lm_one():
    module = Nested()
    module.set_lm(DummyLM([]))

    assert isinstance(module.deepcopy().get_lm(), DummyLM)


@COPIES
def test_deepcopy_shares_what_cannot_be_copied():
    module = Nested()
    module.lock = threading.Lock()
    module.again = module.held = [module.one, module.lock]
    twin = module.deepcopy()

    assert twin.lock is module.lock
    assert twin.again is twin.held is not module.held
    assert twin.held == [twin.one, module.lock]
    assert twin.one is not module.one


class Holding:
    """An object that cannot be copied as deep as it goes."""

    def __init__(self):
        self.lock = threading.Lock()
        self.values = [1]


@COPIES
def test_deepcopy_copies_one_level_of_what_cannot_be_copied_whole():
    module = Nested()
    module.client = Holding()
    twin = module.deepcopy()

    assert twin.client is not module.client
    assert (twin.client.lock, twin.client.values) == (module.client.lock, module.client.values)


@COPIES
@pytest.mark.parametrize("place", ["attribute", "list", "dict", "tuple"])
def test_module_inside_that_holds_a_lock_shares_no_predictor(place):
    outer, inner = Nested(), Nested()
    inner.lock = threading.Lock()
    outer.inside = {"attribute": inner, "list": [inner], "dict": {"k": inner}, "tuple": (inner,)}[
        place
    ]
    twin = outer.deepcopy()

    assert not {id(p) for p in outer.predictors()} & {id(p) for p in twin.predictors()}
    assert len(twin.predictors()) == len(outer.predictors()) == 2 * len(NAMES)


@COPIES
@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, Module.deepcopy], ids=["flat", "deep", "method"]
)
def test_copy_has_the_callbacks_and_no_history(how):
    watcher = threading.Lock()
    module = Predict("a -> b", callbacks=[watcher])
    module.history.append({"response": "big"})
    twin = how(module)

    assert (twin.callbacks, twin.history) == ([watcher], [])
    assert twin.callbacks is not module.callbacks


@COPIES
def test_module_that_holds_itself_is_copied_once():
    module = Nested()
    module.me, module.lock = module, threading.Lock()
    twin = module.deepcopy()

    assert twin.me is twin


@COPIES
@pytest.mark.parametrize("how", [copy.deepcopy, Module.deepcopy], ids=["copy", "method"])
def test_copied_program_works(how):
    lm = DummyLM([{"answer": "Paris"}, {"simplified_answer": "P"}], reasoning=True)
    with context(lm=lm):
        assert how(Forgetful())(question="?").simplified_answer == "P"


@COPIES
def test_reset_copy_has_no_demos():
    module = Nested()
    module.one.demos = [{"a": 1}]
    module.set_lm(DummyLM([]))
    fresh = module.reset_copy()

    assert (fresh.one.demos, fresh.get_lm()) == ([], None)
    assert module.one.demos == [{"a": 1}]
    assert module.get_lm() is not None


def test_repr_shows_the_predictors():
    shown = repr(Nested())

    assert shown.startswith("Nested()\n")
    assert [name in shown for name in NAMES] == [True] * len(NAMES)


# -- forward, called by itself -------------------------------------------------------------------

HINT = "Calling module.forward(...) on {} directly is discouraged."


class Above(Sync):
    def forward(self, a):
        return super().forward(a)


@MODULE
@pytest.mark.parametrize(
    "module", [Sync(), Async(), Above(), Predict("a -> b")], ids=lambda m: type(m).__name__
)
def test_forward_called_by_itself_says_what_to_write(module, caplog):
    with context(lm=DummyLM([{"b": "x"}])):
        module.forward(a="1")

    assert [r.getMessage().partition(" Please")[0] for r in caplog.records] == [
        HINT.format(type(module).__name__)
    ]


@MODULE
@pytest.mark.parametrize("kind", [Sync, Async, Above])
async def test_calls_are_not_hinted_at(kind, caplog):
    assert kind()(1) == await kind().acall(1)
    assert caplog.text == ""


@MODULE
async def test_forward_called_by_its_own_module_is_not_hinted_at(caplog):
    class Twice(Module):
        def forward(self, again=True):
            return self.forward(again=False) if again else "done"

    assert Twice()() == await Twice().acall() == "done"
    assert caplog.text == ""


@MODULE
def test_forward_keeps_its_name_signature_and_source():
    assert (Sync.forward.__name__, list(inspect.signature(Sync.forward).parameters)) == (
        "forward", ["self", "a", "b", "more", "c"],
    )  # fmt: skip
    assert "return a, b, more, c" in inspect.getsource(Sync.forward)


def test_help_of_a_module_shows_what_its_constructor_takes():
    class Ask(Module):
        def __init__(self, model: str, *, times: int = 3):
            pass

    assert str(inspect.signature(Ask)) == "(model: 'str', *, times: 'int' = 3)"
    assert list(inspect.signature(Predict).parameters) == ["signature", "callbacks", "config"]

    class Plain(Module):
        async def aforward(self):
            return 1

    assert "callbacks" in inspect.signature(Plain).parameters
