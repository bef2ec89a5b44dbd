"""`JSONAdapter`: answers that are one JSON object."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtool.adapters.schema import output_schema, strict_schema
from nbtool.adapters.structured import JSONAdapter
from nbtool.errors import (
    AdapterParseError,
    BudgetError,
    LMError,
    LMInvalidRequestError,
    LMServerError,
    LoopError,
)
from nbtool.lm.base import BaseLM
from nbtool.lm.client import LM
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.testing.answers import Failure
from nbtool.testing.server import ScriptedServer
from nbtool.tools.calls import ToolCalls


class City(pydantic.BaseModel):
    title: str
    founded: dt.date


class Find(Signature):
    """Find cities."""

    question: str = InputField()
    cities: list[City] = OutputField()
    sure: bool = OutputField()
    stars: int = OutputField(ge=1, le=5)


pytestmark = pytest.mark.api("JSONAdapter")

QA = Signature("question -> answer")
GOOD = {"cities": [{"title": "Oslo", "founded": "1048-01-01"}], "sure": True, "stars": 3}
FOUND = {"cities": [City(title="Oslo", founded=dt.date(1048, 1, 1))], "sure": True, "stars": 3}


class Picky(BaseLM):
    """Refuse what a test says, and answer the rest."""

    def __init__(self, *errors, holds_schema=False):
        super().__init__("picky")
        self.errors = list(errors)
        self.holds_schema = holds_schema
        self.options = []

    @property
    def supports_response_schema(self):
        return self.holds_schema

    async def aforward(self, prompt=None, messages=None, **options):
        self.options.append(options)
        if self.errors:
            raise self.errors.pop(0)
        return {"choices": [{"message": {"content": json.dumps(GOOD)}}]}


def ask_qa(lm):
    return JSONAdapter().acall(lm, {}, QA, [], {"question": "?"})


def ask(lm, **lm_kwargs):
    return JSONAdapter().acall(lm, lm_kwargs, Find, [], {"question": "?"})


def test_prompt_has_fields_keys_and_schema():
    system, user = JSONAdapter().format(Find, [], {"question": "Where?"})

    assert "Find cities." in system["content"]
    assert json.dumps(output_schema(Find), ensure_ascii=False) in system["content"]
    assert user["content"].startswith("[[ ## question ## ]]\nWhere?\n\n")
    assert "`cities`, `sure`, `stars`" in user["content"]


def test_schema_is_closed_and_keeps_order_limits_and_properties_called_title():
    schema = output_schema(Find)

    assert list(schema["properties"]) == ["cities", "sure", "stars"]
    assert (schema["required"], schema["additionalProperties"]) == (list(GOOD), False)
    assert schema["properties"]["stars"] == {"maximum": 5, "minimum": 1, "type": "integer"}
    assert schema["$defs"]["City"]["properties"]["title"] == {"type": "string"}
    assert "title" not in schema


@pytest.mark.parametrize(
    "completion",
    [
        pytest.param(json.dumps(GOOD), id="as asked"),
        pytest.param(f"Here it is:\n```json\n{json.dumps(GOOD)}\n```\nFine?", id="text around"),
        pytest.param(json.dumps({**GOOD, "more": 1}), id="extra key"),
        pytest.param(json.dumps([GOOD]), id="in a list"),
        pytest.param(json.dumps(GOOD)[:-1], id="cut off"),
        pytest.param(json.dumps(GOOD).replace('"', "'").replace("true", "True"), id="Python"),
        pytest.param(json.dumps({**GOOD, "stars": "3"}), id="number as text"),
    ],
)
def test_answer_is_read_also_where_it_is_slightly_broken(completion):
    assert JSONAdapter().parse(Find, completion) == FOUND


@pytest.mark.parametrize(
    ("completion", "said"),
    [
        pytest.param("", "no JSON object", id="empty"),
        pytest.param("I do not know.", "no JSON object", id="prose"),
        pytest.param("[1, 2]", "no JSON object", id="list"),
        pytest.param('{"sure": true}', "'cities'", id="missing key"),
        pytest.param(json.dumps({**GOOD, "sure": "maybe"}), "'sure'", id="wrong type"),
    ],
)
def test_unreadable_answer_is_told(completion, said):
    with pytest.raises(AdapterParseError, match=said) as caught:
        JSONAdapter().parse(Find, completion)

    assert (caught.value.adapter_name, caught.value.lm_response) == ("JSONAdapter", completion)


def test_structures_for_text_fields_become_text():
    assert JSONAdapter().parse(QA, '{"answer": [1, 2]}') == {"answer": "[1, 2]"}


@given(answer=st.text())
def test_demo_that_was_written_is_read_back(answer):
    demo = {"question": "?", "answer": answer}
    written = JSONAdapter().format(QA, [demo], {"question": "?"})

    assert JSONAdapter().parse(QA, written[2]["content"]) == {"answer": answer}


def test_typed_demo_is_read_back():
    written = JSONAdapter().format(Find, [{"question": "?", **FOUND}], {"question": "?"})

    assert JSONAdapter().parse(Find, written[2]["content"]) == FOUND


async def test_model_is_held_to_the_schema_where_it_can_be():
    lm = Picky(holds_schema=True)

    assert await ask(lm) == [FOUND]
    held = lm.options[0]["response_format"]
    assert (held["type"], held["json_schema"]["strict"]) == ("json_schema", True)
    assert held["json_schema"]["schema"] == strict_schema(Find)


async def test_other_models_are_asked_for_any_object():
    lm = Picky()
    await ask(lm)

    assert lm.options[0]["response_format"] == {"type": "json_object"}


RUNGS = ["json_schema", "json_object", None]
REFUSED = LMInvalidRequestError("'response_format' is not supported")


def forms(lm):
    return [options.get("response_format", {}).get("type") for _, options in lm.asked]


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        (["rubbish", '{"answer": "x"}'], RUNGS[:2]),
        ([RuntimeError("odd"), '{"answer": "x"}'], RUNGS[:2]),
        ([REFUSED, '{"answer": "x"}'], RUNGS[:2]),
        ([REFUSED, REFUSED, '{"answer": "x"}'], RUNGS),
        (["rubbish", REFUSED, '{"answer": "x"}'], RUNGS),
    ],
    ids=["unreadable", "odd error", "schema refused", "both refused", "unreadable, then refused"],
)
async def test_schema_that_leads_nowhere_is_followed_by_less(scripted, answers, asked):
    lm = scripted(*answers, holds_schema=True)

    assert await ask_qa(lm) == [{"answer": "x"}]
    assert forms(lm) == asked


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        (["rubbish", "rubbish"], RUNGS[:2]),
        ([LMServerError("down")], RUNGS[:1]),
        ([LMInvalidRequestError("no such model")], RUNGS[:1]),
        ([BudgetError("spent")], RUNGS[:1]),
        ([LoopError("misused")], RUNGS[:1]),
        ([TypeError("bug")], RUNGS[:1]),
        (["rubbish", LMServerError("down")], RUNGS[:2]),
    ],
    ids=["unreadable twice", "server", "other refusal", "budget", "misuse", "bug", "down later"],
)
async def test_other_errors_end_it(scripted, answers, asked):
    lm = scripted(*answers, holds_schema=True)
    with pytest.raises((AdapterParseError, LMError, LoopError, TypeError)):
        await ask_qa(lm)

    assert forms(lm) == asked


@pytest.mark.parametrize(
    "outputs",
    ["table: dict[str, int]", "things: list[dict[str, Any]]", "calls: ToolCalls", "data: Any"],
)
async def test_output_with_open_keys_is_asked_for_as_any_object(scripted, outputs):
    signature = Signature(
        f"question -> {outputs}", custom_types={"ToolCalls": ToolCalls, "Any": Any}
    )
    lm = scripted("rubbish", holds_schema=True)
    adapter = JSONAdapter(use_native_function_calling=False)
    with pytest.raises(AdapterParseError):
        await adapter.acall(lm, {}, signature, [], {"question": "?"})

    assert forms(lm) == ["json_object"]


@pytest.mark.parametrize(
    ("params", "form"),
    [((), "json_object"), (("response_format", "n"), "json_object"), (("n",), None)],
    ids=["unknown", "known", "without"],
)
async def test_model_that_takes_no_response_format_is_sent_none(scripted, params, form):
    lm = scripted('{"answer": "x"}', params=params)
    await ask_qa(lm)

    assert forms(lm) == [form]


async def test_refused_response_format_is_left_out_the_second_time():
    lm = Picky(LMInvalidRequestError("'response_format' is not supported"))

    assert await ask(lm) == [FOUND]
    assert ["response_format" in options for options in lm.options] == [True, False]


@pytest.mark.parametrize(
    "error",
    [LMInvalidRequestError("no such model"), LMServerError("response_format broke it")],
    ids=["other refusal", "other error"],
)
async def test_other_errors_of_the_lm_are_raised(error):
    lm = Picky(error)
    with pytest.raises(type(error)):
        await ask(lm)

    assert len(lm.options) == 1


async def test_response_format_that_the_user_gave_is_kept():
    lm = Picky(LMInvalidRequestError("'response_format' is not supported"))
    with pytest.raises(LMInvalidRequestError):
        await ask(lm, response_format={"type": "text"})

    assert lm.options == [{"response_format": {"type": "text"}}]


async def test_refusal_over_http_is_answered_by_asking_without():
    refusal = Failure(400, "Unknown parameter: 'response_format'.")
    async with ScriptedServer([refusal, json.dumps(GOOD)]) as server:
        lm = LM("openai/test", api_base=server.base_url, api_key="sk-test-1", num_retries=0)
        assert await ask(lm) == [FOUND]

    assert "response_format" in server.requests[0].fields
    assert "response_format" not in server.requests[1].fields
