"""`TwoStepAdapter`: prose first, then the fields out of it."""

from __future__ import annotations

import pytest

from nbtool.adapters.two_step import TwoStepAdapter
from nbtool.configuration import context
from nbtool.errors import AdapterParseError, LMConfigurationError, LMServerError
from nbtool.programs.chain_of_thought import ChainOfThought
from nbtool.programs.predict import Predict
from nbtool.signatures.signature import Signature
from nbtool.tools.calls import ToolCalls
from nbtool.tools.tool import Tool
from nbtool.views.watching import trace

pytestmark = pytest.mark.api("TwoStepAdapter")

SUM = Signature("question -> answer: int, steps: list[str]", "Add up.")
PROSE = "First I take 1, then 2 more.\n[[ ## answer ## ]]\nIt makes 3."
READ = '[[ ## answer ## ]]\n3\n\n[[ ## steps ## ]]\n["take 1", "2 more"]\n\n[[ ## completed ## ]]'
FIELDS = {"answer": 3, "steps": ["take 1", "2 more"]}


def ask(lm, reader, signature=SUM, **inputs):
    return TwoStepAdapter(reader).acall(lm, {}, signature, [], {"question": "1+2?", **inputs})


async def test_first_model_is_asked_for_prose_and_the_second_reads_it(scripted):
    thinker, reader = scripted(PROSE), scripted(READ)

    assert await ask(thinker, reader) == [FIELDS]
    asked = thinker.messages[0]["content"]
    assert "Add up." in asked
    assert "`steps` (list[str])" in asked
    assert thinker.messages[1]["content"] == "question: 1+2?"
    assert "[[ ##" not in str(thinker.messages)


async def test_second_model_sees_only_the_text_and_its_markers_are_no_fields(scripted):
    thinker, reader = scripted(PROSE), scripted(READ)
    await ask(thinker, reader)

    system, user = (turn["content"] for turn in reader.messages)
    assert "\n\\[[ ## answer ## ]]\nIt makes 3." in user
    assert "[[ ## steps ## ]]" in system
    assert "1+2?" not in system + user


def test_sync_call_of_a_predictor_makes_two_requests_that_are_steps_of_the_trace(scripted):
    thinker, reader = scripted(PROSE), scripted(READ)
    with context(lm=thinker, adapter=TwoStepAdapter(reader)), trace() as seen:
        prediction = Predict(SUM)(question="1+2?")

    assert prediction.toDict() == FIELDS
    steps = [span.kind for span in seen.spans if span.kind != "adapter"]
    assert steps == ["predict", "lm", "lm"]


async def test_chain_of_thought_gets_its_reasoning(scripted):
    reader = scripted("[[ ## reasoning ## ]]\n1 and 2\n\n[[ ## answer ## ]]\n3")
    with context(lm=scripted(PROSE), adapter=TwoStepAdapter(reader)):
        prediction = await ChainOfThought("question -> answer: int").acall(question="1+2?")

    assert prediction.toDict() == {"reasoning": "1 and 2", "answer": 3}


async def test_options_of_a_call_are_the_first_request_alone(scripted):
    thinker, reader = scripted(PROSE), scripted(READ)
    adapter = TwoStepAdapter(reader)
    await adapter.acall(thinker, {"temperature": 0.5}, SUM, [], {"question": "?"})

    assert thinker.options == {"temperature": 0.5}
    assert "temperature" not in reader.options


async def test_demos_are_shown_to_the_first_model_as_prose(scripted):
    thinker, reader = scripted(PROSE), scripted(READ)
    demo = {"question": "0+0?", "answer": 0, "steps": ["none"]}
    await TwoStepAdapter(reader).acall(thinker, {}, SUM, [demo], {"question": "1+2?"})

    shown = [turn["content"] for turn in thinker.messages[1:]]
    assert shown == ["question: 0+0?", 'answer: 0\n\nsteps: ["none"]', "question: 1+2?"]
    assert len(reader.messages) == 2


async def test_output_field_may_be_called_text(scripted):
    thinker, reader = scripted(PROSE), scripted("[[ ## text ## ]]\nthree")

    assert await ask(thinker, reader, Signature("question -> text")) == [{"text": "three"}]
    assert "[[ ## whole_text ## ]]\nFirst I take" in reader.messages[1]["content"]


async def test_answer_without_the_fields_is_told_with_the_first_models_text(scripted):
    thinker, reader = scripted(PROSE), scripted("no idea", "no idea")
    with pytest.raises(AdapterParseError, match="from the original completion") as caught:
        await ask(thinker, reader)

    assert (caught.value.adapter_name, caught.value.lm_response) == ("TwoStepAdapter", PROSE)
    assert caught.value.__cause__.lm_response == "no idea"


async def test_error_of_the_second_model_is_its_own(scripted):
    with pytest.raises(LMServerError, match="down"):
        await ask(scripted(PROSE), scripted(LMServerError("down")))


async def test_empty_answer_is_not_read(scripted):
    reader = scripted()
    with pytest.raises(AdapterParseError, match="empty"):
        await ask(scripted(" "), reader)

    assert reader.asked == []


async def test_tool_calls_of_the_provider_need_no_reading(scripted):
    call = {"id": "1", "function": {"name": "look", "arguments": '{"at": 1}'}}
    thinker = scripted({"message": {"content": None, "tool_calls": [call]}}, calls_functions=True)
    reader = scripted()
    types = {"Tool": Tool, "ToolCalls": ToolCalls}
    signature = Signature("question, tools: list[Tool] -> calls: ToolCalls", custom_types=types)
    adapter = TwoStepAdapter(reader, use_native_function_calling=True)
    inputs = {"question": "?", "tools": [Tool(lambda at: at, name="look")]}
    (found,) = await adapter.acall(thinker, {}, signature, [], inputs)

    assert [each.args for each in found["calls"].tool_calls] == [{"at": 1}]
    assert reader.asked == []


def test_parse_asks_the_second_model_from_synchronous_code(scripted):
    assert TwoStepAdapter(scripted(READ)).parse(SUM, PROSE) == FIELDS


@pytest.mark.parametrize("given", ["openai/gpt-4o-mini", None, TwoStepAdapter])
def test_extraction_model_must_be_a_model(given):
    with pytest.raises(LMConfigurationError, match="must be an instance of BaseLM"):
        TwoStepAdapter(given)
