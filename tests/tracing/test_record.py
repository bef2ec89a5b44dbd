import asyncio
import contextlib
import copy
import json
import os
import pickle
import sys
import types

import pytest

from nbtool.errors import LMAuthError
from nbtool.tracing.boundary import current_span, traced, traced_inline, watching
from nbtool.tracing.record import SpanRecord, remember_secret, secrets_in_use
from nbtool.tracing.recorder import Recorder

IN_ENVIRONMENT = "correct-horse-battery-1"
REMEMBERED = "staple-of-the-lm-2"
SHAPED = "sk-abcDEF123456ghiJKL7890"
NAMED = "three plain words"
SECRETS = (IN_ENVIRONMENT, REMEMBERED, SHAPED, NAMED)


class Leaky:
    def __repr__(self):
        return f"Leaky({', '.join(SECRETS[:3])}, password='three plain words')"


KEPT_ALIVE = Leaky()


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setenv("NBTEST_API_KEY", IN_ENVIRONMENT)
    remember_secret(REMEMBERED)


def everywhere():
    texts = [f"it is {secret}" for secret in SECRETS[:3]]
    return {
        "texts": texts,
        "password": NAMED,
        "keys": dict.fromkeys(SECRETS[:3], 1),
        "bytes": " ".join(SECRETS).encode(),
        "object": KEPT_ALIVE,
        "error": ValueError(*texts),
    }


def fail(**inputs):
    current_span().annotate(**everywhere())
    raise ValueError(f"{SECRETS[:3]} password={NAMED!r}", "sk-abcDEF123456ghiJKL7890")


def succeed(**inputs):
    current_span().annotate(**everywhere())
    current_span().arrive("it is sk-abcDEF123456")
    current_span().arrive("ghiJKL7890, staple-of-")
    current_span().arrive("the-lm-2, correct-horse-battery-1")
    return everywhere(), current_span().record.arrived


def recorded(fn, name="step", **inputs):
    recorder = Recorder()
    with watching(recorder), contextlib.suppress(BaseException):
        traced_inline("tool", name, fn, inputs)
    return recorder.records()[0]


WAYS_OUT = {
    "inputs": lambda record: repr(record.inputs),
    "output": lambda record: repr(record.output),
    "arrived": lambda record: repr(record.arrived),
    "attributes": lambda record: repr(record.attributes),
    "error": lambda record: repr(record.error),
    "json": lambda record: json.dumps(record.to_json()),
    "repr": repr,
    "str": str,
    "pickle": lambda record: pickle.dumps(record).decode("latin-1"),
    "deepcopy": lambda record: repr(copy.deepcopy(record).to_json()),
    "private_fields_after_pickle": lambda record: repr(
        {n: getattr(pickle.loads(pickle.dumps(record)), n) for n in SpanRecord.__slots__}  # noqa: S301 - ours
    ),
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("fn", [succeed, fail])
@pytest.mark.parametrize("way", WAYS_OUT.values(), ids=WAYS_OUT)
def test_no_secret_leaves_a_record(way, fn, secret):
    record = recorded(fn, name=f"tool {SHAPED}, {REMEMBERED}, {IN_ENVIRONMENT}", **everywhere())

    assert secret not in way(record)


def test_traceback_shows_the_line_without_its_secret():
    error = recorded(fail).error

    assert "in fail\n" in error.traceback
    assert "<redacted>" in error.traceback


def test_code_of_an_exception_that_is_not_ours_is_not_kept():
    def leave():
        raise SystemExit(SHAPED)

    assert recorded(leave).error.code is None


def test_code_of_our_error_is_kept():
    def refuse():
        raise LMAuthError("no", hint="set a key")

    error = recorded(refuse).error
    assert (error.type, error.code) == ("nbtool.errors.LMAuthError", "lm_auth")
    assert error.message == "no\n  Hint: set a key"


def test_short_texts_and_plain_words_are_no_secrets(monkeypatch):
    monkeypatch.setenv("OTHER_API_KEY", "identifiers")
    remember_secret("short")
    remember_secret("onlyplainletters")
    remember_secret(None)

    assert {"identifiers", "short", "onlyplainletters", None}.isdisjoint(secrets_in_use())


def test_secret_remembered_after_the_step_is_hidden_in_it():
    def give():
        return "a secret of later: zebra-crossing-9"

    record = recorded(give)
    remember_secret("zebra-crossing-9")

    assert "zebra" not in repr(record.output)


def test_record_of_a_step_has_what_went_in_and_out():
    def double(x):
        current_span().annotate(note="n")
        return 2 * x

    record = recorded(double, x=4)

    assert (record.kind, record.name, record.status) == ("tool", "step", "ok")
    assert (record.inputs, record.output, record.attributes) == ({"x": 4}, 8, {"note": "n"})
    assert record.error is None
    assert 0 <= record.duration_s < 60


async def test_record_of_a_running_step_has_no_end_and_shows_what_arrived():
    recorder = Recorder()

    async def stream():
        current_span().arrive("Par")
        current_span().arrive("is")
        record = recorder.records()[0]
        return record.status, record.end_s, record.duration_s, record.arrived

    with watching(recorder):
        found = await traced("lm", "m", stream, {})

    assert found == ("running", None, None, "Paris")
    assert recorder.records()[0].arrived == ""


def test_inputs_are_as_they_were_when_the_step_opened():
    def change(row):
        row.append(2)

    assert recorded(change, row=[1]).inputs == {"row": [1]}


def test_counts_of_the_provider_are_copied():
    usage = {"prompt_tokens": 3}

    def ask():
        current_span().usage = usage

    record = recorded(ask)
    usage["prompt_tokens"] = 4

    assert record.usage == {"prompt_tokens": 3}


def test_traceback_is_kept_by_the_step_that_failed_first():
    recorder = Recorder()

    def root():
        traced_inline("tool", "inner", fail, {})

    with watching(recorder), pytest.raises(ValueError, match="sk-"):
        traced_inline("tool", "root", root, {})

    outer, inner = recorder.records()
    assert "in fail" in inner.error.traceback
    assert (outer.error.message, outer.error.traceback) == (inner.error.message, "")


def test_traceback_is_kept_by_both_recorders_of_a_step():
    one, other = Recorder(), Recorder()
    with watching(one), watching(other), contextlib.suppress(ValueError):
        traced_inline("tool", "a", fail, {})

    assert one.records()[0].error.traceback == other.records()[0].error.traceback != ""


def test_exception_that_is_raised_again_by_a_later_call_has_its_traceback_there_too():
    error = ValueError("always the same")

    def again():
        raise error

    assert "in again" in recorded(again).error.traceback
    assert "in again" in recorded(again).error.traceback


def test_frames_of_nbtool_are_left_out_of_a_traceback():
    assert f"nbtool{os.sep}tracing{os.sep}boundary" not in recorded(fail).error.traceback


def test_frames_beside_nbtool_are_shown_in_a_traceback():
    package = os.path.dirname(os.path.dirname(sys.modules[SpanRecord.__module__].__file__))  # noqa: PTH120
    code = compile("def beside(): raise ValueError", f"{package}_plugin.py", "exec")
    module = types.ModuleType("nbtool_plugin")
    exec(code, module.__dict__)  # noqa: S102 - a file beside the package

    assert "in beside" in recorded(module.beside).error.traceback


def test_deep_traceback_keeps_the_innermost_frames():
    def dive(depth):
        return dive(depth - 1) if depth else fail()

    text = recorded(dive, depth=100).error.traceback

    assert text.count("in dive") < 20
    assert "in fail" in text


STATUSES = {
    "ok": (None, "ok"),
    "error": (ValueError, "error"),
    "keyboard_interrupt": (KeyboardInterrupt, "error"),
    "cancelled": (asyncio.CancelledError, "cancelled"),
    "cancelled_subclass": (type("Stopped", (asyncio.CancelledError,), {}), "cancelled"),
    "closed": (GeneratorExit, "cancelled"),
}


@pytest.mark.parametrize(("kind", "status"), STATUSES.values(), ids=STATUSES)
def test_status_tells_how_the_step_ended(kind, status):
    def end():
        if kind is not None:
            raise kind

    assert recorded(end).status == status


def boom(*args):
    raise RuntimeError("hostile")


HOSTILE_ERRORS = {
    "str": type("H", (Exception,), {"__str__": boom}),
    "repr": type("H", (Exception,), {"__repr__": boom}),
    "code": type("H", (Exception,), {"code": property(boom)}),
    "getattr": type("H", (Exception,), {"__getattr__": boom}),
    "setattr": type("H", (Exception,), {"__setattr__": boom}),
    "mark": type("H", (Exception,), {"__nbtool_span__": "mine"}),
    "class": type("H", (Exception,), {"__class__": property(boom)}),
    "huge": lambda: ValueError("x y " * 1_000_000),
    "surrogate": lambda: ValueError("\ud800"),
}


@pytest.mark.parametrize("make", HOSTILE_ERRORS.values(), ids=HOSTILE_ERRORS)
def test_hostile_exception_is_recorded(make, caplog):
    def end():
        raise make()

    record = recorded(end)

    assert record.status == "error"
    assert record.error.type
    assert caplog.text == ""
    json.dumps(record.to_json())


def test_opaque_output_is_marked():
    assert recorded(object).is_opaque
    assert not recorded(dict).is_opaque


@pytest.mark.parametrize("value", [{}, [], "", 0, False, None], ids=repr)
def test_empty_output_stays_what_it_was(value):
    record = recorded(lambda: value)

    again = SpanRecord.from_json(json.loads(json.dumps(record.to_json())))

    assert again.output == value
    assert type(again.output) is type(value)
