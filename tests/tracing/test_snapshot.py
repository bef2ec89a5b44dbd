import dataclasses
import datetime as dt
import decimal
import enum
import gc
import json
import time
import weakref
from collections import OrderedDict, namedtuple
from pathlib import PurePosixPath
from unittest.mock import MagicMock

import pydantic
import pytest

from nbtool.tracing.snapshot import Meter, Opaque, packed, plain, snapshot, unpacked

MOST_NODES = 100_000


def taken(value):
    return snapshot(value, Meter())


def shown(value):
    return plain(taken(value))


def count(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count, inner))


class Plain:
    """An object without a JSON form."""

    def __repr__(self):
        return "Plain()"


class Color(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    YES = "yes"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()

    def __str__(self):
        return "a lie"


class Celsius(float):
    pass


class Count(int):
    pass


@dataclasses.dataclass
class Point:
    x: int
    tags: list


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int


class Model(pydantic.BaseModel):
    x: int
    tags: list[str] = []


class Open(pydantic.BaseModel, extra="allow"):
    x: int


class Own:
    def __trace_value__(self):
        return {"mine": [1]}


Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - the plain kind is what is tested

FORMS = {
    "string": ("a", "a"),
    "int": (1, 1),
    "bool": (True, True),
    "none": (None, None),
    "dict": ({"a": {"b": 1}}, {"a": {"b": 1}}),
    "tuple": ((1, (2,)), [1, [2]]),
    "set": ({1}, [1]),
    "frozenset": (frozenset({1}), [1]),
    "named_tuple": (Pair(1, 2), [1, 2]),
    "ordered_dict": (OrderedDict(a=1), {"a": 1}),
    "enum": (Color.RED, "red"),
    "str_enum": (Word.YES, "yes"),
    "int_enum": (Level.HIGH, 3),
    "str_subclass": (Name("truth"), "truth"),
    "float_subclass": (Celsius(1.5), 1.5),
    "int_subclass": (Count(7), 7),
    "dataclass": (Point(1, ["a"]), {"x": 1, "tags": ["a"]}),
    "slotted_dataclass": (Slotted(1), {"x": 1}),
    "pydantic": (Model(x=1, tags=["a"]), {"x": 1, "tags": ["a"]}),
    "pydantic_extra": (Open(x=1, y=2), {"x": 1, "y": 2}),
    "own_form": (Own(), {"mine": [1]}),
    "date": (dt.date(2024, 2, 29), "2024-02-29"),
    "decimal": (decimal.Decimal("1.50"), "1.50"),
    "path": (PurePosixPath("/a/b"), "/a/b"),
    "range": (range(3), "range(0, 3)"),
    "exception": (ValueError("no"), "ValueError: no"),
    "bytes": (b"\x00" * 1234, "<1,234 bytes>"),
    "bytes_subclass": (type("Blob", (bytes,), {})(b"ab"), "<2 bytes>"),
    "bytearray": (bytearray(5), "<5 bytes>"),
    "complex": (1j, "1j"),
    "nan": (float("nan"), "nan"),
    "infinity": (float("-inf"), "-inf"),
    "lone_surrogate": ("\ud800", "\ud800"),
    "class": (Plain, repr(Plain)),
    "object_in_list": ([object], ["<class 'object'>"]),
}  # fmt: skip


@pytest.mark.parametrize(("value", "form"), FORMS.values(), ids=FORMS)
def test_value_is_shown_in_its_json_form(value, form):
    found = shown(value)

    assert found == form
    assert type(found) is type(form)
    json.dumps(found, allow_nan=False)


KEYS = {
    "int": (1, "1"),
    "none": (None, "None"),
    "bool": (True, "True"),
    "enum": (Color.RED, "red"),
    "str_enum": (Word.YES, "yes"),
    "str_subclass": (Name("truth"), "truth"),
    "tuple": ((1, "a"), "(1, a)"),
    "date": (dt.date(2024, 2, 29), "2024-02-29"),
    "class": (Plain, "builtins.type"),
    "huge_int": (10**5000, "<int of 16,610 bits>"),
}


@pytest.mark.parametrize(("key", "text"), KEYS.values(), ids=KEYS)
def test_key_of_a_mapping_becomes_text(key, text):
    found = shown({key: "value"})

    assert found == {text: "value"}
    assert type(next(iter(found))) is str


def test_no_entry_is_lost_when_two_keys_have_one_text():
    found = shown({(1, 2): "a", (1, "2"): "b", "(1, 2)": "c", Plain(): "d", Plain(): "e"})

    assert sorted(found.values()) == ["a", "b", "c", "d", "e"]


def test_later_changes_of_the_original_do_not_reach_the_snapshot():
    value = {"list": [1], "dict": {"a": 1}, "set": {1}, "point": Point(1, ["a"])}
    kept = taken(value)

    value["list"].append(2)
    value["dict"]["b"] = 2
    value["set"].add(2)
    value["point"].tags.append("b")

    assert plain(kept) == {
        "list": [1], "dict": {"a": 1}, "set": [1], "point": {"x": 1, "tags": ["a"]},
    }  # fmt: skip


@pytest.mark.parametrize("make", [Plain, lambda: Point(1, []), lambda: Model(x=1), Own])
def test_snapshot_keeps_no_object_alive(make):
    value = make()
    gone = weakref.ref(value)
    kept = taken({"a": [value]})

    del value
    gc.collect()

    assert gone() is None
    assert kept is not None


def test_object_is_shown_by_its_repr_while_it_lives_and_by_its_type_after():
    value = Plain()
    kept = taken(value)
    while_alive = plain(kept)

    del value
    gc.collect()

    assert while_alive == "Plain()"
    assert plain(kept) == f"<{__name__}.Plain object>"


def test_object_that_allows_no_weak_reference_is_shown_by_its_type():
    assert shown(iter([])) == "<builtins.list_iterator object>"


def test_long_repr_is_cut():
    long = type("Long", (), {"__repr__": lambda self: "x y " * 5000})()

    found = shown(long)

    assert len(found) < 2_100
    assert found.endswith("… (20,000 characters)")


def test_repr_is_not_cut_in_the_middle_of_a_word():
    secret = "q1w2e3r4t5z6u7i8o9p0"
    long = type("Long", (), {"__repr__": lambda self: "x" * 1980 + " " + secret + "y" * 500})()

    assert secret[:8] not in shown(long)


def test_list_that_contains_itself_is_cut():
    value = [1]
    value.append(value)

    found = json.dumps(shown(value))

    assert "<cut: nested too deep>" in found


def test_list_that_contains_itself_many_times_stays_bounded():
    value = []
    value += [value] * 10

    assert count(taken(value)) <= 1.1 * MOST_NODES


def test_dict_that_contains_itself_is_cut():
    value = {}
    value["me"] = value

    assert "<cut: nested too deep>" in json.dumps(shown(value))


def test_own_form_that_gives_itself_is_cut():
    endless = type("Endless", (), {"__trace_value__": lambda self: self})()

    assert shown(endless) == "<cut: nested too deep>"


LARGE = {
    "ints": lambda: list(range(3_000_000)),
    "tuple": lambda: tuple(range(3_000_000)),
    "set": lambda: set(range(1_000_000)),
    "dict": lambda: dict.fromkeys(range(1_000_000)),
    "strings": lambda: ["a"] * 3_000_000,
    "lists": lambda: [[]] * 3_000_000,
    "rows": lambda: [[0] * 1000] * 3_000,
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_large_value_is_cut_at_100_000_nodes(make):
    value = make()

    found = taken(value)

    assert 0.9 * MOST_NODES <= count(found) <= 1.1 * MOST_NODES
    assert "<cut: " in str(plain(found))


def test_large_value_costs_no_more_than_its_kept_part():
    value = list(range(3_000_000))
    started = time.perf_counter()

    taken(value)

    assert time.perf_counter() - started < 0.5


def test_value_of_less_than_100_000_nodes_is_kept_whole():
    assert taken([[0] * 90 for _ in range(1000)]) == [[0] * 90 for _ in range(1000)]


SIZES = {
    "long_string": ("x" * 1_000_000, 1_000_000),
    "wide_string": ("語" * 500_000, 1_000_000),
    "str_subclass": (Name("x" * 1_000_000), 1_000_000),
    "list": ([0] * 10_000, 80_000),
    "dict": (dict.fromkeys(range(1_000)), 50_000),
    "huge_int": (1 << 8_000_000, 1_000_000),
}


@pytest.mark.parametrize(("value", "least_bytes"), SIZES.values(), ids=SIZES)
def test_meter_counts_what_the_snapshot_takes(value, least_bytes):
    meter = Meter()

    kept = snapshot(value, meter)

    assert meter.bytes >= least_bytes or len(str(plain(kept))) < 100


def test_bytes_are_not_kept():
    assert taken(b"x" * 1_000_000) == "<1,000,000 bytes>"


def boom(*args):
    raise RuntimeError("hostile")


class LyingEnum(enum.Enum):
    A = 1
    value = property(boom)


@dataclasses.dataclass
class Guarded:
    a: int

    __getattribute__ = boom


class HostileMeta(type):
    __getattribute__ = boom
    __repr__ = boom


def make_of_hostile_kind():
    return HostileMeta("H", (), {})()


HOSTILE = {
    "repr": type("H", (), {"__repr__": boom}),
    "getattr": type("H", (), {"__getattr__": boom}),
    "getattribute": type("H", (), {"__getattribute__": boom}),
    "class_property": type("H", (), {"__class__": property(boom)}),
    "class_lie": type("H", (), {"__class__": property(lambda self: dict)}),
    "eq_and_hash": type("H", (), {"__eq__": boom, "__hash__": boom}),
    "own_form": type("H", (), {"__trace_value__": boom}),
    "own_form_not_callable": type("H", (), {"__trace_value__": 5}),
    "str_of_int": type("H", (int,), {"__str__": boom, "__int__": boom, "__index__": boom}),
    "str_of_str": type("H", (str,), {"__str__": boom, "__len__": boom}),
    "str_of_exception": type("H", (Exception,), {"__str__": boom}),
    "items_of_dict": type("H", (dict,), {"items": boom, "__iter__": boom, "__len__": boom}),
    "iter_of_list": type("H", (list,), {"__iter__": boom, "__len__": boom}),
    "iter_of_set": type("H", (set,), {"__iter__": boom, "__len__": boom}),
    "str_of_date": lambda: type("H", (dt.date,), {"__str__": boom})(2024, 1, 1),
    "mock_of_dict": lambda: MagicMock(spec=dict),
    "mock_of_list": lambda: MagicMock(spec=list),
    "mock_of_str": lambda: MagicMock(spec=str),
    "value_of_enum": lambda: LyingEnum.A,
    "dataclass": lambda: Guarded(1),
    "metaclass": make_of_hostile_kind,
    "key": lambda: {type("H", (), {"__str__": boom, "__repr__": boom})(): 1},
    "recursive_repr": type("H", (), {"__repr__": lambda self: f"{self!r}"}),
}  # fmt: skip


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_hostile_object_neither_breaks_the_snapshot_nor_the_rest_of_the_value(make):
    hostile = make()

    found = shown({"hostile": [hostile], "rest": 1})

    assert found["rest"] == 1
    json.dumps(found, allow_nan=False)


def test_dict_that_grows_while_it_is_read_is_no_error():
    class Growing:
        def __init__(self, into):
            self.into = into

        def __trace_value__(self):
            self.into[len(self.into)] = 1
            return "grown"

    value = {}
    value[0] = Growing(value)

    assert shown([value, 1]) == ["<builtins.dict object>", 1]


def test_code_of_the_user_runs_only_when_somebody_looks():
    calls = []
    noisy = type("Noisy", (), {"__repr__": lambda self: calls.append(1) or "noisy"})()

    kept = taken(noisy)

    assert isinstance(kept, Opaque)
    assert calls == []
    assert plain(kept) == "noisy"


def test_int_with_too_many_digits_for_text_is_described():
    assert shown({"n": 10**5000}) == {"n": "<int of 16,610 bits>"}


def shared_forty_times():
    value = ["x"]
    for _ in range(40):
        value = [value, value]
    return value


def within_itself():
    value = ["x"]
    value.append(value)
    return value


class Text(str):
    __slots__ = ()


PACKED = {
    "messages": {"messages": [{"role": "user", "content": "Hi ß🍌"}], "temperature": 0.5},
    "kinds": [None, True, 1, 10**400, 1.5, float("inf"), 2j, b"abc", (1, 2), {3}, {1: {None: "x"}}],
    "lone surrogate": ["\ud800"],
    "object": {"messages": [object]},
    "class of text": [Text("x")],
    "shared": shared_forty_times(),
    "within itself": within_itself(),
    "nothing": None,
}


@pytest.mark.parametrize("value", PACKED.values(), ids=PACKED)
def test_packed_value_is_read_as_its_snapshot(value):
    def read(kept):
        return json.dumps(plain(kept))

    assert read(unpacked(packed(value, Meter()))) == read(snapshot(value, Meter()))


def test_packed_value_is_measured_and_shares_nothing():
    meter, value = Meter(), {"messages": [{"content": "x" * 5_000}]}
    kept = packed(value, meter)
    value["messages"][0]["content"] = "changed"

    assert 5_000 < meter.bytes < 5_200
    assert unpacked(kept) == {"messages": [{"content": "x" * 5_000}]}


def test_what_is_nested_too_deep_for_packing_is_cut_like_any_other():
    deep = []
    for _ in range(5_000):
        deep = [deep]

    assert "<cut: nested too deep>" in json.dumps(plain(unpacked(packed(deep, Meter()))))


CHANGES = {
    "plain": ({"a": [1, "x", None, 1.5]}, "json"),
    "tuple": ([(1, 2)], "converted"),
    "key": ({1: "x"}, "converted"),
    "object as key": ({Plain(): 1}, "converted"),
    "bytes": (b"abc", "converted"),
    "set": ({"a": {1}}, "converted"),
    "too many": ([0] * (MOST_NODES + 1), "converted"),
    "object": ({"a": [Plain()]}, "opaque"),
    "object before a tuple": ([Plain(), (1,)], "opaque"),
    "object before a key": ([Plain(), {Plain(): 1}], "opaque"),
}


@pytest.mark.parametrize(("value", "form"), CHANGES.values(), ids=CHANGES)
def test_meter_tells_whether_the_json_is_the_value(value, form):
    meter = Meter()
    snapshot(value, meter)

    assert meter.form == form
