"""Tool calls: by the provider's function calling, or in the text of an answer."""

from __future__ import annotations

import json

import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.errors import AdapterParseError, SignatureError
from nbtool.lm.client import LM
from nbtool.programs.predict import Predict
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.signatures.types import Type
from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer
from nbtool.tools.calls import ToolCalls
from nbtool.tools.tool import Tool

pytestmark = pytest.mark.api("ToolCalls")


def search(query: str, limit: int = 3) -> str:
    """Search the web."""
    return f"{limit} pages about {query}"


TOOL = Tool(search)
NATIVE = ChatAdapter(use_native_function_calling=True)


class Act(Signature):
    """Answer, or ask for a tool."""

    question: str = InputField()
    tools: list[Tool] = InputField()
    answer: str | None = OutputField()
    tool_calls: ToolCalls = OutputField()


JUST_CALLS = Signature("question, tools: list[Tool] -> tool_calls: ToolCalls")
GIVEN = {"question": "Who?", "tools": [TOOL]}
CALL = {"id": "call_1", "function": {"name": "search", "arguments": '{"query": "who"}'}}


def calling(*calls, content=None):
    return {"message": {"content": content, "tool_calls": list(calls)}}


def ask(lm, adapter=NATIVE, signature=Act, inputs=GIVEN, **lm_kwargs):
    return adapter.acall(lm, lm_kwargs, signature, [], inputs)


def called(fields):
    return [(call.id, call.name, call.args) for call in fields["tool_calls"].tool_calls]


# -- natively ------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [NATIVE, JSONAdapter()], ids=repr)
async def test_tools_are_given_to_the_provider_and_calls_come_back(scripted, adapter):
    lm = scripted(calling(CALL), calls_functions=True)
    (fields,) = await ask(lm, adapter)

    assert called(fields) == [("call_1", "search", {"query": "who"})]
    assert fields["answer"] is None
    assert lm.options["tools"] == [TOOL.format_as_litellm_function_call()]


async def test_prompt_says_nothing_of_tools_that_the_provider_shows(scripted):
    lm = scripted(calling(CALL), calls_functions=True)
    await ask(lm)

    prompt = json.dumps(lm.messages)
    assert "Answer, or ask for a tool." in prompt
    assert [word in prompt for word in ("Search the web", "tool_calls", "`tools`")] == [False] * 3


async def test_instructions_that_only_list_the_fields_list_the_ones_in_the_prompt(scripted):
    lm = scripted(calling(CALL), calls_functions=True)
    await ask(lm, signature=Signature("question, tools: list[Tool] -> a, b: ToolCalls"))

    assert "Given the fields `question`, produce the fields `a`." in lm.messages[0]["content"]


async def test_calls_with_text_give_both(scripted):
    text = "[[ ## answer ## ]]\nI look it up.\n[[ ## completed ## ]]"
    (fields,) = await ask(scripted(calling(CALL, content=text), calls_functions=True))

    assert (fields["answer"], len(called(fields))) == ("I look it up.", 1)


async def test_calls_count_also_beside_text_that_cannot_be_read(scripted):
    (fields,) = await ask(scripted(calling(CALL, content="Let me see."), calls_functions=True))

    assert (fields["answer"], len(called(fields))) == (None, 1)


async def test_answer_without_calls_has_none(scripted):
    lm = scripted("[[ ## answer ## ]]\nMe.", calls_functions=True)

    assert await ask(lm) == [{"answer": "Me.", "tool_calls": None}]


async def test_only_calls_may_be_asked_for(scripted):
    lm = scripted(calling(CALL, CALL), "I cannot.", calls_functions=True)
    first = await ask(lm, signature=JUST_CALLS)
    second = await ask(lm, signature=JUST_CALLS)

    assert (len(called(first[0])), second) == (2, [{"tool_calls": None}])
    assert "response_format" not in lm.options
    assert lm.messages[-1]["content"] == "[[ ## question ## ]]\nWho?"


@pytest.mark.parametrize(
    ("adapter", "given", "sent"),
    [
        (None, {}, {}),
        (True, {}, {"parallel_tool_calls": True, "tool_choice": "auto"}),
        (False, {}, {"parallel_tool_calls": False, "tool_choice": "auto"}),
        (True, {"parallel_tool_calls": False, "tool_choice": "required"},
         {"parallel_tool_calls": False, "tool_choice": "required"}),
    ],
    ids=["unsaid", "parallel", "one by one", "the call wins"],
)  # fmt: skip
async def test_parallel_calls_can_be_chosen(scripted, adapter, given, sent):
    lm = scripted(calling(CALL), calls_functions=True)
    await ask(
        lm, ChatAdapter(use_native_function_calling=True, parallel_tool_calls=adapter), **given
    )

    chosen = {n: v for n, v in lm.options.items() if n in ("parallel_tool_calls", "tool_choice")}
    assert chosen == sent


@pytest.mark.parametrize("tools", [TOOL, [TOOL], (TOOL,), [search]], ids=["one", "list", "tuple",
                                                                          "function"])  # fmt: skip
async def test_tools_may_be_given_in_several_ways(scripted, tools):
    lm = scripted(calling(CALL), calls_functions=True)
    await ask(lm, inputs={"question": "?", "tools": tools})

    assert [tool["function"]["name"] for tool in lm.options["tools"]] == ["search"]


@pytest.mark.parametrize("tools", [[], None], ids=["empty", "none"])
async def test_without_tools_none_are_sent(scripted, tools):
    lm = scripted("[[ ## answer ## ]]\nMe.", calls_functions=True)
    await ask(lm, inputs={"question": "?", "tools": tools}, parallel_tool_calls=None)

    assert "tools" not in lm.options


async def test_calls_without_a_field_for_tools_are_a_mistake_that_is_told_first(scripted):
    lm = scripted(calls_functions=True)
    with pytest.raises(SignatureError, match="did not provide any tools as the input") as caught:
        await ask(lm, signature=Signature("question -> tool_calls: ToolCalls"))

    assert isinstance(caught.value, ValueError)
    assert ("list[Tool]" in caught.value.hint, lm.asked) == (True, [])


BROKEN = {
    "arguments": {"function": {"name": "search", "arguments": "who?"}},
    "list": {"function": {"name": "search", "arguments": "[1]"}},
    "name": {"function": {"arguments": "{}"}},
}


@pytest.mark.parametrize("call", BROKEN.values(), ids=BROKEN)
async def test_calls_that_cannot_be_read_are_told(scripted, call):
    lm = scripted(calling(call), calls_functions=True)
    adapter = ChatAdapter(use_native_function_calling=True, use_json_adapter_fallback=False)
    with pytest.raises(AdapterParseError, match="tool calls of the LM cannot be read") as caught:
        await ask(lm, adapter)

    assert (caught.value.adapter_name, caught.value.signature) == ("ChatAdapter", Act)


async def test_fallback_uses_native_calls_too(scripted):
    broken = calling(BROKEN["name"])
    lm = scripted(broken, broken, broken, calling(CALL), calls_functions=True, holds_schema=True)
    with pytest.raises(AdapterParseError):
        await ask(lm)

    assert [("tools" in options) for _, options in lm.asked] == [True] * 3
    forms = [options.get("response_format", {}).get("type") for _, options in lm.asked]
    assert forms == [None, "json_schema", "json_object"]


async def test_whole_chain_works_over_http():
    call = {"name": "search", "arguments": {"query": "who"}}
    async with ScriptedServer([Answer(tool_calls=[call])]) as server:
        lm = LM("openai/gpt-4o-mini", api_base=server.base_url, api_key="sk-test-1")
        (fields,) = await ask(lm)

    assert called(fields) == [("call_1_1", "search", {"query": "who"})]
    assert fields["tool_calls"].tool_calls[0].execute([search]) == "3 pages about who"
    assert server.requests[0].fields["tools"][0]["function"]["name"] == "search"


# -- in the text ---------------------------------------------------------------------------------

TEXT = '{"tool_calls": [{"name": "search", "args": {"query": "who"}}]}'
AS_TEXT = f"[[ ## answer ## ]]\nnull\n[[ ## tool_calls ## ]]\n{TEXT}\n[[ ## completed ## ]]"
AS_JSON = f'{{"answer": null, "tool_calls": {TEXT}}}'


@pytest.mark.parametrize(
    ("adapter", "answer"),
    [
        (ChatAdapter(), AS_TEXT),
        (NATIVE, AS_TEXT),
        (JSONAdapter(), AS_JSON),
        (JSONAdapter(use_native_function_calling=False), AS_JSON),
    ],
    ids=["chat", "chat that could", "JSON that could", "JSON"],
)
async def test_model_without_function_calling_writes_calls(scripted, adapter, answer):
    lm = scripted(answer)
    (fields,) = await ask(lm, adapter)

    assert called(fields) == [(None, "search", {"query": "who"})]
    assert "tools" not in lm.options
    assert "Search the web" in lm.messages[-1]["content"]
    assert ToolCalls.description() in lm.messages[0]["content"]


@pytest.mark.parametrize("adapter", [ChatAdapter(), NATIVE], ids=["chat", "chat that could"])
async def test_options_of_function_calling_are_not_sent_where_calls_are_written(scripted, adapter):
    lm = scripted(AS_TEXT)
    await ask(lm, adapter, tool_choice="required", parallel_tool_calls=True, seed=3)

    assert lm.options == {"seed": 3}


async def test_adapter_that_is_told_not_to_leaves_function_calling_alone(scripted):
    lm = scripted(AS_JSON, calls_functions=True, holds_schema=True)
    (fields,) = await ask(lm, JSONAdapter(use_native_function_calling=False))

    assert (len(called(fields)), "tools" in lm.options) == (1, False)
    assert lm.options["response_format"] == {"type": "json_object"}


def test_predictor_takes_tools_and_gives_calls(scripted, caplog):
    prediction = Predict(JUST_CALLS)(**GIVEN, lm=scripted(AS_TEXT))

    assert called(prediction) == [(None, "search", {"query": "who"})]
    assert "Type mismatch" not in caplog.text


# -- other features of a model ---------------------------------------------------------------------


class Sources(Type):
    """Take what a provider gives beside the text."""

    names: list[str]

    @classmethod
    def adapt_to_native_lm_feature(cls, signature, field_name, lm, lm_kwargs):
        lm_kwargs["sources"] = True
        return signature.delete(field_name)

    @classmethod
    def parse_lm_response(cls, response):
        found = response.get("citations") if isinstance(response, dict) else None
        return cls(names=found) if found else None


async def test_custom_type_may_be_filled_by_a_feature_of_the_model(scripted):
    signature = Signature("question -> answer, sources: Sources")
    said = {"citations": [["a", "b"]]}
    message = {"content": "[[ ## answer ## ]]\nx", "provider_specific_fields": said}
    lm = scripted({"message": message})
    adapter = ChatAdapter(native_response_types=[Sources])
    (fields,) = await ask(lm, adapter, signature, {"question": "?"})

    assert fields == {"answer": "x", "sources": Sources(names=["a", "b"])}
    assert ("`sources`" in lm.messages[0]["content"], lm.options) == (False, {"sources": True})


async def test_log_probabilities_are_passed_on(scripted):
    said = {"message": {"content": "[[ ## answer ## ]]\nx"}, "logprobs": {"content": [-0.1]}}
    lm = scripted(said)
    (fields,) = await ask(lm, ChatAdapter(), Signature("question -> answer"), {"question": "?"})

    assert fields == {"answer": "x", "logprobs": {"content": [-0.1]}}


async def test_field_called_logprobs_is_the_users(scripted):
    said = {"message": {"content": "[[ ## logprobs ## ]]\nx"}, "logprobs": {"content": [-0.1]}}
    signature = Signature("question -> logprobs")

    assert await ask(scripted(said), ChatAdapter(), signature) == [{"logprobs": "x"}]


async def test_default_fills_what_a_feature_did_not_give(scripted):
    signature = Signature(
        {
            "question": InputField(),
            "answer": OutputField(),
            "sources": (Sources, OutputField(default=Sources(names=["none"]))),
        }
    )
    adapter = ChatAdapter(native_response_types=[Sources])
    (fields,) = await ask(scripted("[[ ## answer ## ]]\nx"), adapter, signature)

    assert fields == {"answer": "x", "sources": Sources(names=["none"])}
