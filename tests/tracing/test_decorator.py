import asyncio
import inspect

import pytest

from nbtool.tracing.boundary import watching
from nbtool.tracing.decorator import traced
from nbtool.tracing.recorder import Recorder


@pytest.fixture
def steps():
    recorder = Recorder()
    with watching(recorder):
        yield recorder.records


class Shop:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"Shop({self.name!r})"

    @traced
    def price(self, item, *, rebate=0):
        return (self.name, item, rebate)

    @traced
    async def order(self, item):
        await asyncio.sleep(0)
        return (self.name, item)

    @staticmethod
    @traced
    def tax(amount):
        return amount / 5

    @classmethod
    @traced
    def named(cls, name):
        return cls(name)


@traced
def greedy(a, /, b=2, *rest, c, d=4, **more):
    return (a, b, rest, c, d, more)


def test_plain_function_is_one_step(steps):
    @traced
    def double(x):
        return 2 * x

    assert double(4) == 8
    assert [(s.kind, s.name, s.inputs, s.output) for s in steps()] == [
        ("function", "double", {"x": 4}, 8)
    ]


async def test_async_function_is_one_step():
    @traced
    async def double(x):
        await asyncio.sleep(0)
        return 2 * x

    recorder = Recorder()
    with watching(recorder):
        assert await double(4) == 8

    assert [(s.name, s.inputs, s.output) for s in recorder.records()] == [("double", {"x": 4}, 8)]


async def test_steps_inside_steps_are_its_children():
    @traced
    def inner():
        return 1

    @traced
    async def outer():
        return inner()

    recorder = Recorder()
    with watching(recorder):
        await outer()

    first, second = recorder.records()
    assert (first.name, second.name, second.parent_id) == ("outer", "inner", first.id)


@pytest.mark.parametrize(
    ("args", "kwargs", "result"),
    [
        ((1,), {"c": 3}, (1, 2, (), 3, 4, {})),
        ((1, 5), {"c": 3}, (1, 5, (), 3, 4, {})),
        ((1, 5, 6, 7), {"c": 3, "d": 9}, (1, 5, (6, 7), 3, 9, {})),
        ((1,), {"b": 5, "c": 3, "e": 8}, (1, 5, (), 3, 4, {"e": 8})),
        ((1,), {"c": 3, "a": 8}, (1, 2, (), 3, 4, {"a": 8})),
        ((1,), {"c": 3, "kind": 1, "inputs": 2}, (1, 2, (), 3, 4, {"kind": 1, "inputs": 2})),
    ],
    ids=["defaults", "positional", "var_positional", "keyword", "positional_only", "our_names"],
)
def test_arguments_arrive_as_they_were_given(args, kwargs, result):
    assert greedy(*args, **kwargs) == result


def test_arguments_are_shown_by_their_names(steps):
    greedy(1, 5, 6, c=3, e=8)

    assert steps()[0].inputs == {"a": 1, "b": 5, "rest": [6], "c": 3, "more": {"e": 8}}


def test_wrong_arguments_are_the_usual_error_and_no_step(steps):
    with pytest.raises(TypeError, match="missing a required argument: 'c'"):
        greedy(1)

    assert steps() == []


@pytest.mark.parametrize("parameter", ["self", "fn", "kind", "name", "inputs", "args", "kwargs"])
def test_parameter_may_have_any_name(parameter):
    scope = {}
    exec(f"def f({parameter}): return {parameter}", scope)  # noqa: S102 - a table of names

    assert traced(scope["f"])(5) == 5
    assert traced(scope["f"])(**{parameter: 5}) == 5


def test_method_sees_its_object(steps):
    assert Shop("a").price("tea", rebate=1) == ("a", "tea", 1)
    assert steps()[0].name == "price"
    assert steps()[0].inputs["item"] == "tea"


async def test_async_method_sees_its_object():
    assert await Shop("a").order("tea") == ("a", "tea")


def test_static_and_class_methods_work_below_their_decorators(steps):
    assert Shop.tax(10) == Shop("a").tax(10) == 2
    assert Shop.named("b").name == "b"
    assert [step.name for step in steps()] == ["tax", "tax", "named"]


@pytest.mark.parametrize("outer", [staticmethod, classmethod])
def test_static_and_class_methods_are_refused_with_the_right_order(outer):
    def method(*args):
        return args

    with pytest.raises(TypeError, match=f"@{outer.__name__} of .*method.*\n.*above @traced"):
        traced(outer(method))


def test_name_can_be_chosen(steps):
    @traced(name="twice")
    def double(x):
        return 2 * x

    assert double(2) == 4
    assert steps()[0].name == "twice"
    assert double.__name__ == "double"


def test_empty_parentheses_mean_the_own_name(steps):
    @traced()
    def double(x):
        return 2 * x

    double(2)

    assert steps()[0].name == "double"


def test_lambda_can_be_traced():
    assert traced(lambda x: x + 1)(1) == 2


def generate():
    yield 1


async def generate_async():
    yield 1


@pytest.mark.parametrize("function", [generate, generate_async])
def test_generator_function_is_refused_by_name(function):
    with pytest.raises(TypeError, match=f"generator function '{function.__name__}'"):
        traced(function)


def test_signature_name_and_docstring_are_kept():
    @traced
    def double(x: int, *, y: str = "a") -> int:
        """Give twice x."""
        return 2 * x

    assert str(inspect.signature(double)) == "(x: int, *, y: str = 'a') -> int"
    assert (double.__name__, double.__doc__) == ("double", "Give twice x.")
    assert double.__wrapped__(2) == 4


def test_kind_of_function_is_kept():
    async def wait():
        pass

    assert inspect.iscoroutinefunction(traced(wait))
    assert not inspect.iscoroutinefunction(traced(generate_nothing))


def generate_nothing():
    return iter(())


def test_error_of_a_function_is_the_users_own(steps):
    @traced
    def divide(x):
        return 1 / x

    with pytest.raises(ZeroDivisionError):
        divide(0)

    assert (steps()[0].status, steps()[0].error.type) == ("error", "ZeroDivisionError")
