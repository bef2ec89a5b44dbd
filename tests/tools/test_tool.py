import asyncio
import functools
import json
import threading
from typing import Any, Literal, Optional

import pydantic
import pytest

from nbtool.errors import ToolArgumentsError
from nbtool.runtime.door import run
from nbtool.runtime.threads import in_worker
from nbtool.tools.tool import Tool
from nbtool.views.watching import trace

TOOL = pytest.mark.api("Tool")
CALL = pytest.mark.api("Tool()")
ACALL = pytest.mark.api("Tool.acall")
FORMAT = pytest.mark.api("Tool.format")


class Street(pydantic.BaseModel):
    name: str
    number: int = 1


class Person(pydantic.BaseModel):
    home: Street
    others: list[Street] = []


def add(x: int, y: int = 2) -> int:
    """Add two numbers.

    The second is 2 by default.
    """
    return x + y


async def add_later(x: int, y: int = 2) -> int:
    """Add two numbers."""
    await asyncio.sleep(0)
    return x + y


class Adder:
    """Add to a number."""

    def __init__(self, y: int = 2):
        self.y = y

    def __call__(self, x: int) -> int:
        return x + self.y

    def method(self, x: int) -> int:
        """Add by a method."""
        return x + self.y

    async def later(self, x: int) -> int:
        return x + self.y


class AsyncAdder:
    async def __call__(self, x: int) -> int:
        return x + 2


def returns_coroutine(x: int):
    return add_later(x)


FUNCTIONS = {
    "function": add,
    "async_function": add_later,
    "lambda": lambda x: int(x) + 2,
    "partial": functools.partial(add, y=2),
    "async_partial": functools.partial(add_later, y=2),
    "method": Adder().method,
    "async_method": Adder().later,
    "object": Adder(),
    "async_object": AsyncAdder(),
    "partial_of_async_object": functools.partial(AsyncAdder()),
    "returns_coroutine": returns_coroutine,
}


def where():
    return threading.get_ident()


async def where_later():
    return threading.get_ident()


def in_a_loop(fn):
    async def main():
        return fn()

    return asyncio.run(main())


def in_a_callback(fn):
    async def main():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: future.set_result(fn()))
        return await future

    return asyncio.run(main())


PLACES = {
    "script": lambda fn: fn(),
    "loop": in_a_loop,
    "callback": in_a_callback,
    "worker": lambda fn: asyncio.run(in_worker(fn)),
    "chain": lambda fn: run(in_worker(lambda: run(in_worker(fn)))),
}


# -- calls ---------------------------------------------------------------------------------------


@CALL
@pytest.mark.parametrize("thread", [True, False], ids=["thread", "inline"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("func", FUNCTIONS.values(), ids=FUNCTIONS)
def test_any_function_can_be_called_synchronously_anywhere(func, place, thread):
    tool = Tool(func, thread=thread)

    assert place(lambda: tool(x=5)) == 7


@ACALL
@pytest.mark.parametrize("thread", [True, False], ids=["thread", "inline"])
@pytest.mark.parametrize("func", FUNCTIONS.values(), ids=FUNCTIONS)
async def test_any_function_can_be_awaited(func, thread):
    assert await Tool(func, thread=thread).acall(x="5") == 7


@TOOL
def test_a_class_is_a_tool_that_makes_its_objects():
    class Point:
        """Make a point."""

        def __init__(self, x: int, y: int = 0):
            self.at = (x, y)

    tool = Tool(Point)

    assert (tool.name, tool.desc, tool.is_async) == ("Point", "Make a point.", False)
    assert tool(x="3").at == (3, 0)


@CALL
@pytest.mark.parametrize("place", ["script", "loop", "callback"])
def test_a_plain_function_called_synchronously_runs_in_the_callers_thread(place):
    assert PLACES[place](Tool(where)) == threading.get_ident()


@ACALL
@pytest.mark.parametrize(("thread", "is_here"), [(True, False), (False, True)])
async def test_a_chain_calls_a_plain_function_in_a_worker_unless_told_otherwise(thread, is_here):
    tool = Tool(where, thread=thread)

    assert (await tool.acall() == threading.get_ident()) is is_here


@ACALL
async def test_what_a_plain_function_returns_to_be_awaited_is_awaited_on_the_loop():
    def func():
        return where_later()

    assert await Tool(func).acall() == threading.get_ident()


@pytest.mark.parametrize("func", [add, add_later, returns_coroutine])
@pytest.mark.parametrize("how", ["call", "acall"])
def test_a_call_is_one_span_of_kind_tool(func, how):
    tool = Tool(func, name="sum")

    with trace() as seen:
        assert {"call": lambda: tool(x=5), "acall": lambda: run(tool.acall(x=5))}[how]() == 7

    assert [(s.kind, s.name, s.inputs, s.output) for s in seen.spans] == [
        ("tool", "sum", {"x": 5}, 7)
    ]


@pytest.mark.parametrize("call", [lambda t: t(), lambda t: run(t.acall())], ids=["call", "acall"])
def test_what_a_tool_raises_arrives(call):
    def fail():
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        call(Tool(fail))


# -- arguments -----------------------------------------------------------------------------------


def kinds(
    street: Street,
    person: Person | None = None,
    streets: list[Street] | None = None,
    grid: list[list[int]] | None = None,
    mood: Literal["good", "bad"] = "good",
    note: Optional[str] = None,  # noqa: UP045 - users write it so
    anything=None,
):
    return locals()


@CALL
@pytest.mark.parametrize(
    ("given", "coerced"),
    [
        ({}, {}),
        ({"person": {"home": {"name": "B"}}}, {"person": Person(home=Street(name="B"))}),
        ({"streets": [{"name": "C", "number": "3"}]}, {"streets": [Street(name="C", number=3)]}),
        ({"grid": [["1"], [2, 3]]}, {"grid": [[1], [2, 3]]}),
        ({"mood": "bad", "note": None}, {"mood": "bad", "note": None}),
        ({"anything": {"name": "D"}}, {"anything": {"name": "D"}}),
    ],
    ids=["defaults", "model", "models", "nested_lists", "literal", "untyped"],
)
def test_arguments_become_what_their_types_say(given, coerced):
    defaults = dict.fromkeys(["person", "streets", "grid", "note", "anything"])

    result = Tool(kinds)(street={"name": "A"}, **given)

    assert result == {**defaults, "street": Street(name="A"), "mood": "good", **coerced}


@CALL
def test_a_model_that_is_one_already_passes_as_it_is():
    street = Street(name="A")

    assert Tool(kinds)(street=street)["street"] is street


REFUSED = [
    (add, {"x": "many"}, r"Arg x is invalid: x = 'many': Input should be a valid integer"),
    (kinds, {"street": {"number": 1}}, r"Arg street is invalid: street\['name'\] = "),
    (kinds, {"street": {"name": "A"}, "mood": "so"}, r"Arg mood is invalid: .*'good' or 'bad'"),
    (add, {"x": 1, "z": 2}, r"Arg z is not in the tool's args\."),
    (add, {"y": 2}, r"Arg x is missing\."),
    (kinds, {}, r"Arg street is missing\."),
]


@CALL
@ACALL
@pytest.mark.parametrize(
    "how", [lambda t, k: t(**k), lambda t, k: run(t.acall(**k))], ids=["call", "acall"]
)
@pytest.mark.parametrize(
    ("func", "kwargs", "message"),
    REFUSED,
    ids=["type", "model", "literal", "unknown", "missing", "missing_model"],
)
def test_arguments_that_do_not_fit_are_refused(how, func, kwargs, message):
    with pytest.raises(ToolArgumentsError, match=message) as caught:
        how(Tool(func), kwargs)

    assert isinstance(caught.value, ValueError)
    assert f"(tool {func.__name__!r})" in str(caught.value)
    assert '"type": ' in caught.value.hint


@ACALL
def test_an_async_tool_checks_before_it_starts():
    with pytest.raises(ToolArgumentsError, match="Arg z is not"):
        run(Tool(add_later).acall(x=1, z=2))


@TOOL
def test_a_function_with_kwargs_takes_further_arguments():
    tool = Tool(lambda x, **more: (x, more))

    assert tool.has_kwargs
    assert tool(x=1, z=2) == (1, {"z": 2})


def test_an_argument_whose_default_has_no_json_form_may_be_left_out():
    marker = object()

    def func(x: int, y=marker):
        return x, y

    tool = Tool(func)

    assert tool(x=1) == (1, marker)
    assert "default" not in tool.args["y"]


@pytest.mark.parametrize("hint", ["Missing", list["Missing"]], ids=["name", "in_list"])  # noqa: F821 - on purpose
def test_an_argument_whose_type_cannot_be_resolved_passes_as_it_is(hint):
    def func(x, n: int):
        return x, n

    func.__annotations__["x"] = hint

    assert Tool(func)(x=["a"], n="2") == (["a"], 2)


class Handle:
    """A type that pydantic knows nothing of."""


def test_an_argument_of_a_type_without_a_schema_passes_as_it_is():
    def func(handle: Handle):
        return handle

    handle = Handle()

    assert Tool(func)(handle=handle) is handle


@pytest.mark.parametrize("value", [3, None, "add"], ids=repr)
def test_what_is_no_function_is_refused(value):
    with pytest.raises(ToolArgumentsError, match=rf"got {value!r}"):
        Tool(value)


def test_a_builtin_that_does_not_tell_its_arguments_is_refused_with_a_hint():
    with pytest.raises(ToolArgumentsError, match=r"max(?s:.)*def"):
        Tool(max)


# -- what the model sees -------------------------------------------------------------------------


@TOOL
@pytest.mark.parametrize(
    ("func", "name", "desc"),
    [
        (add, "add", "Add two numbers.\n\nThe second is 2 by default."),
        (functools.partial(add, y=3), "add", "Add two numbers.\n\nThe second is 2 by default."),
        (Adder().method, "method", "Add by a method."),
        (Adder(), "Adder", "Add to a number."),
        (lambda x: x, "<lambda>", ""),
    ],
    ids=["function", "partial", "method", "object", "lambda"],
)
def test_name_and_description_come_from_the_function(func, name, desc):
    tool = Tool(func)

    assert (tool.name, tool.desc) == (name, desc)


@TOOL
def test_given_name_and_description_win():
    tool = Tool(add, name="sum", desc="Sum up.")

    assert (tool.name, tool.desc, tool.span_name) == ("sum", "Sum up.", "sum")


def test_an_empty_description_wins_too():
    assert Tool(add, desc="").desc == ""


@TOOL
def test_given_schemas_types_and_descriptions_win():
    tool = Tool(
        add,
        args={"x": {"type": "string"}},
        arg_types={"x": str},
        arg_desc={"x": "the first"},
    )

    assert tool.args == {"x": {"type": "string", "description": "the first"}}
    assert tool.arg_types["x"] is str


@TOOL
def test_a_type_given_as_schema_stands_for_its_schema():
    assert Tool(lambda s: s, args={"s": Street}).args["s"]["title"] == "Street"


def test_given_schemas_are_left_as_they_were():
    given: dict[str, Any] = {"x": {"type": "integer"}}

    Tool(add, args=given, arg_desc={"x": "the first"})

    assert given == {"x": {"type": "integer"}}


def test_a_description_of_an_unknown_argument_makes_no_argument():
    tool = Tool(add, arg_desc={"z": "a typo"})

    assert list(tool.args) == ["x", "y"]


def test_a_description_of_a_further_argument_tells_the_model_of_it():
    tool = Tool(lambda **more: more, arg_desc={"z": "depth"})

    assert tool.args == {"z": {"description": "depth"}}


@FORMAT
def test_the_request_entry_requires_what_has_no_default():
    def func(x: int, y: int = 2, z=object(), *, w: str):  # noqa: B008 - no JSON form, on purpose
        return x

    function = Tool(func, desc="Do.").format_as_litellm_function_call()["function"]

    assert (function["name"], function["description"]) == ("func", "Do.")
    assert function["parameters"]["type"] == "object"
    assert list(function["parameters"]["properties"]) == ["x", "y", "z", "w"]
    assert function["parameters"]["required"] == ["x", "w"]


@FORMAT
def test_the_request_entry_requires_given_arguments_of_a_function_with_kwargs():
    tool = Tool(lambda **more: more, args={"q": {"type": "string"}, "n": {"default": 1}})

    assert tool.format_as_litellm_function_call()["function"]["parameters"]["required"] == ["q"]


@FORMAT
@pytest.mark.parametrize("func", [add, kinds, Adder(), lambda: 1], ids=lambda f: Tool(f).name)
def test_the_request_entry_is_json(func):
    entry = Tool(func).format_as_litellm_function_call()

    assert json.loads(json.dumps(entry)) == entry
    assert entry["type"] == "function"


@FORMAT
def test_as_text_a_tool_is_one_line_with_name_purpose_and_arguments():
    text = str(Tool(add))

    assert text.startswith("add, which does: Add two numbers. The second is 2 by default.")
    assert json.dumps(Tool(add).args) in text
    assert "\n" not in text


@FORMAT
def test_as_text_a_tool_without_description_says_nothing_of_it():
    assert "which does" not in str(Tool(lambda x: x))


@pytest.mark.parametrize(
    ("func", "shown"),
    [
        (add, "<Tool add(x, y), function>"),
        (add_later, "<Tool add_later(x, y), async function>"),
    ],
    ids=["plain", "async"],
)
def test_its_repr_is_short(func, shown):
    assert repr(Tool(func)) == shown


@FORMAT
def test_format_is_the_text_that_prompts_show():
    assert Tool(add).format() == str(Tool(add))


@FORMAT
def test_schema_that_is_no_json_can_be_shown():
    tool = Tool(add, args={"x": {"enum": {1}, "default": object}})

    assert "It takes these arguments as JSON: {" in str(tool)
