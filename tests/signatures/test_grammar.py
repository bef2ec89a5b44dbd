import contextlib
import datetime as dt
import enum
import gc
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Optional, Union

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtool.errors import SignatureError
from nbtool.signatures.annotations import type_text
from nbtool.signatures.grammar import parse_signature

pytestmark = pytest.mark.api("Signature(str)")


class Colour(enum.Enum):
    RED = "red"


class Text:
    """Has the name of a type in `typing`."""

    class Part:
        pass


not_a_type = 3


def type_of(text, custom_types=None):
    return parse_signature(f"x: {text} -> y", custom_types)[0]["x"]


def message_of(text):
    with pytest.raises(SignatureError) as caught:
        parse_signature(text)
    return str(caught.value)


def test_names_and_types_keep_the_order_of_the_text():
    inputs, outputs = parse_signature("b: int, a -> d: list[str], c")

    assert list(inputs.items()) == [("b", int), ("a", None)]
    assert list(outputs.items()) == [("d", list[str]), ("c", None)]


@pytest.mark.parametrize(
    "text",
    ["a,b->c", "  a ,\tb\n -> c  ", "a, b, -> c,", "a,\nb,\n->\nc\n"],
    ids=["tight", "spaced", "trailing commas", "several lines"],
)
def test_space_and_trailing_commas_mean_nothing(text):
    assert parse_signature(text) == ({"a": None, "b": None}, {"c": None})


@pytest.mark.parametrize("text", ["-> poem", "  ->poem", "\n-> poem,"])
def test_there_may_be_no_inputs(text):
    assert parse_signature(text) == ({}, {"poem": None})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", int),
        ("list[str]", list[str]),
        ("dict[str, list[int]]", dict[str, list[int]]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("tuple[()]", tuple[()]),
        ("int | None", int | None),
        ("Optional[int]", Optional[int]),  # noqa: UP045 - it is what users write
        ("Union[int, str]", Union[int, str]),  # noqa: UP007 - as above
        ("Literal['a, b -> c', -1, True, b'x']", Literal["a, b -> c", -1, True, b"x"]),
        ("Literal['it\\'s', \"]\"]", Literal["it's", "]"]),
        ("Literal[Colour.RED]", Literal[Colour.RED]),
        ("Callable[[int], str]", Callable[[int], str]),
        ("Any", Any),
        ("None", type(None)),
        ("datetime", dt.datetime),
        ("datetime.date", dt.date),
        ("'list[int]'", list[int]),
        ("pydantic.BaseModel", pydantic.BaseModel),
        ("Text.Part", Text.Part),
    ],
)
def test_a_type_is_read_as_python_would(text, expected):
    assert type_of(text) == expected


def test_the_callers_own_class_wins_over_typing():
    assert type_of("Text") is Text


def test_a_class_that_is_local_to_a_distant_caller_is_found():
    class Local:
        pass

    def distant(depth):
        return distant(depth - 1) if depth else type_of("list[Local]")

    assert distant(20) == list[Local]


def test_custom_types_win_over_everything():
    assert type_of("dict[Text, int]", {"Text": bytes, "int": float}) == dict[bytes, float]


def test_an_imported_module_needs_no_name_in_the_callers_frames():
    assert "fractions" not in globals()
    __import__("fractions")

    assert type_of("fractions.Fraction") is sys.modules["fractions"].Fraction


def test_a_text_is_never_evaluated():
    class Trap:
        def __getattr__(self, name):
            raise AssertionError(name)

    trap = Trap()

    assert "Unknown name: trap.type" in message_of("x: trap.type -> y")
    assert "is no type" in message_of("x: list[str]() -> y")
    assert trap


@pytest.mark.parametrize(
    ("text", "hint", "caret"),
    [
        ("question - > answer", "did you mean `->` instead of `- >`", 9),
        ("question => answer", "did you mean `->` instead of `=>`", 9),
        ("question \u2192 answer", "did you mean `->`", 9),
        ("question > answer", "did you mean `->`", 9),
        ("question", "as in `question -> answer`", 8),
        ("a -> b -> c", "keep one `->`", 7),
    ],
)
def test_a_text_needs_exactly_one_arrow(text, hint, caret):
    message = message_of(text)

    assert f"Invalid signature format: {text!r}, must contain exactly one '->'." in message
    assert f"\n    {text}\n    {' ' * caret}^\n" in message
    assert hint in message


@pytest.mark.parametrize(
    ("text", "problem", "caret"),
    [
        ("a ->", "the output side is empty", 4),
        ("a,, b -> c", "a field name is missing", 2),
        (", -> c", "a field name is missing", 0),
        ("a: int, : str -> c", "a field name is missing", 7),
        ("a: -> b", "a type is missing", 2),
        ("a b -> c", "'a b' is no name of a field", 0),
        ("a -> 1b", "'1b' is no name of a field", 5),
        ("a, class -> b", "'class' is a word of Python's own", 3),
        ("_a -> b", "'_a' starts with an underscore", 0),
        ("a, self -> b", "'self' cannot be a keyword argument", 3),
        ("\ufb01eld -> b", "'\ufb01eld' cannot be a keyword argument", 0),
        ("ab, a, a -> b", "found duplicates: 'a'", 7),
        ("a: list[str, b -> c", "'[' was never closed", 7),
        ("a: list[str]], b -> c", "unmatched ']'", 12),
        ("a: int = 3 -> b", "a text has no defaults", 7),
        ("a: int[str] -> b", "type 'int' is not subscriptable", 3),
        ("a: str | not_a_type -> b", "Unknown name: not_a_type", 9),
        ("a: 5 -> b", "'5' is no type", 3),
        ("a: [int] -> b", "'[int]' is no type", 3),
        ("a: Literal[int] -> b", "'int' is no literal", 11),
        ("a: Literal['é'] | Foo -> b", "Unknown name: Foo", 18),
        ("a: Colour['RED'] -> b", "Unknown name: RED", 10),
        ("a: Annotated[int, 3] -> b", "cannot be written in a text", 3),
        ("a: list['['] -> b", "'[' was never closed", 8),
    ],
)
def test_a_fault_is_shown_at_its_place(text, problem, caret):
    message = message_of(text)

    assert repr(text) in message
    assert problem in message
    assert f"\n    {text}\n    {' ' * caret}^\n  Hint: " in message


def test_the_caret_stands_in_the_right_one_of_several_lines():
    message = message_of("question,\n  k: itn\n-> answer")

    assert "\n      k: itn\n         ^\n  Hint: did you mean `int`? If not, " in message


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (type(None), "None"),
        (Optional[int], "int | None"),  # noqa: UP045 - it is what users write
        (list[dict[str, Any]], "list[dict[str, Any]]"),
        (Literal["a", Colour.RED], "Literal['a', Colour.RED]"),
        (Callable[[int, str], None], "Callable[[int, str], None]"),
        (Callable[..., int], "Callable[..., int]"),
        (Text.Part, "Text.Part"),
        (tuple[()], "tuple[()]"),
        (tuple, "tuple"),
    ],
)
def test_a_type_is_written_as_in_a_signature(annotation, text):
    assert type_text(annotation) == text


names = st.from_regex(r"[a-z][a-z_0-9]{0,8}", fullmatch=True).map("f_{}".format)
literals = st.one_of(st.text(max_size=8), st.integers(), st.booleans(), st.none())
simple = st.sampled_from(["int", "str", "Any", "datetime", "None", "Colour", "Text.Part", "tuple"])
types = st.recursive(
    simple | st.lists(literals, min_size=1, max_size=3).map(lambda x: f"Literal{x!r}"),
    lambda inner: st.one_of(
        inner.map("list[{}]".format),
        st.tuples(inner, inner).map(lambda x: f"dict[{x[0]}, {x[1]}]"),
        st.tuples(inner, inner).map(" | ".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda x: f"tuple[{', '.join(x)}]"),
        inner.map("Callable[[int], {}]".format),
    ),
    max_leaves=6,
)
fields = st.lists(st.tuples(names, types), min_size=2, max_size=5, unique_by=lambda x: x[0])


def written(types):
    return ", ".join(f"{name}: {type_text(annotation)}" for name, annotation in types.items())


@given(fields)
def test_what_is_read_and_written_is_read_the_same(fields):
    first, *others = (f"{name}: {type_}" for name, type_ in fields)

    inputs, outputs = parse_signature(f"{first} -> {', '.join(others)}")

    assert parse_signature(f"{written(inputs)} -> {written(outputs)}") == (inputs, outputs)


class Slow:
    """Run Python code when the collector finds it, so that threads switch in the middle of C."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        sum(range(20))


@pytest.fixture
def restless():
    before = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    yield
    sys.setswitchinterval(before[0])
    gc.set_threshold(*before[1])


@pytest.mark.usefixtures("restless")
def test_threads_may_read_types_at_the_same_time():
    text = f"{'list[' * 20}int{']' * 20}"

    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda _: (Slow(), type_of(text))[1], range(6000)))

    assert len(read) == 6000


@given(st.text(alphabet=st.sampled_from("ab_1 ,:->=[]()'\"\\|.é\n\x00*"), max_size=30))
def test_any_text_is_a_signature_or_a_signature_error(text):
    with contextlib.suppress(SignatureError):
        inputs, outputs = parse_signature(text)

        assert outputs
        assert isinstance(inputs, dict)
