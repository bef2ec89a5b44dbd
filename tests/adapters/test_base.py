"""What all adapters share: both forms of the call, defaults, watchers, users' own adapters."""

from __future__ import annotations

import asyncio
from typing import Optional

import pytest

from nbtool.adapters.base import Adapter
from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.compact import CompactAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.configuration import context
from nbtool.errors import AdapterParseError, SignatureError
from nbtool.programs.predict import Predict
from nbtool.programs.react import ReAct
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.tracing.callbacks import BaseCallback

pytestmark = pytest.mark.api("Adapter")

QA = Signature("question -> answer")
WRITTEN = {
    "ChatAdapter": "[[ ## answer ## ]]\nParis",
    "JSONAdapter": '{"answer": "Paris"}',
    "CompactAdapter": '{"answer": "Paris"}',
}
ADAPTERS = [ChatAdapter(), JSONAdapter(), CompactAdapter()]


class Loose(Signature):
    """Answer."""

    question: str = InputField()
    answer: str = OutputField()
    score: float = OutputField(default=0.5)
    tags: list[str] = OutputField(default_factory=list)
    note: Optional[str] = OutputField()  # noqa: UP045 - users write it so


class Shouting(Adapter):
    """Be an adapter of a user, with the two methods that it must have."""

    def format(self, signature, demos, inputs):
        return [{"role": "user", "content": inputs["question"].upper()}]

    def parse(self, signature, completion):
        return {"answer": completion.upper()}


class Politely(ChatAdapter):
    """Be a user's variant of ours, which changes a piece of the prompt."""

    def format_task_description(self, signature):
        return f"Please: {signature.instructions}"

    def format_user_message_content(
        self, signature, inputs, prefix="", suffix="", main_request=False
    ):
        text = super().format_user_message_content(signature, inputs, prefix, suffix, main_request)
        return f"Dear model,\n\n{text}"


class Watcher(BaseCallback):
    def __init__(self):
        self.seen = []

    def on_adapter_format_start(self, call_id, instance, inputs):
        self.seen.append(("format", type(instance).__name__, sorted(inputs)))

    def on_adapter_parse_end(self, call_id, outputs, exception=None):
        self.seen.append(("parsed", outputs))


def ask(adapter, lm, signature=QA, **lm_kwargs):
    return adapter(lm, lm_kwargs, signature, [], {"question": "Capital of France?"})


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
@pytest.mark.parametrize("how", ["call", "acall"])
def test_adapter_asks_and_reads_in_both_forms_of_the_call(scripted, adapter, how):
    lm = scripted(WRITTEN[type(adapter).__name__])
    given = (lm, {"temperature": 0.5}, QA, [], {"question": "?"})
    answers = adapter(*given) if how == "call" else asyncio.run(adapter.acall(*given))

    assert answers == [{"answer": "Paris"}]
    assert lm.options["temperature"] == 0.5


def test_call_works_while_a_loop_runs(scripted):
    async def inside():
        return ask(ChatAdapter(), scripted(WRITTEN["ChatAdapter"]))

    assert asyncio.run(inside()) == [{"answer": "Paris"}]


@pytest.mark.parametrize(
    ("adapter", "answer"),
    [
        (ChatAdapter(), "[[ ## answer ## ]]\nx"),
        (JSONAdapter(), '{"answer": "x"}'),
    ],
    ids=repr,
)
def test_fields_with_a_default_or_none_may_be_missing(adapter, answer):
    found = {"answer": "x", "score": 0.5, "tags": [], "note": None}

    assert adapter.parse(Loose, answer) == found
    assert list(adapter.parse(Loose, answer)) == list(found)
    assert adapter.parse(Loose, answer)["tags"] is not adapter.parse(Loose, answer)["tags"]


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter()], ids=repr)
def test_answer_without_any_field_is_unreadable_also_where_all_may_be_missing(adapter):
    with pytest.raises(AdapterParseError):
        adapter.parse(Loose.delete("answer"), "I do not know.")


@pytest.mark.parametrize(
    "adapter",
    [ChatAdapter(use_json_adapter_fallback=False), JSONAdapter(), CompactAdapter()],
    ids=repr,
)
@pytest.mark.parametrize("answer", ["", "  \n", None], ids=["empty", "blank", "null"])
def test_empty_answer_is_told(scripted, adapter, answer):
    with pytest.raises(AdapterParseError, match="empty or null response") as caught:
        ask(adapter, scripted(answer))

    assert caught.value.adapter_name == type(adapter).__name__


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
def test_output_that_no_answer_can_fill_is_told_before_anybody_is_asked(scripted, adapter):
    class Frame:
        pass

    lm = scripted()
    with pytest.raises(SignatureError, match="No answer can be read as Frame"):
        ask(adapter, lm, Signature({"question": InputField(), "frame": (Frame, OutputField())}))

    assert lm.asked == []


def test_limit_that_is_broken_is_told_with_the_reason():
    signature = Signature({"question": InputField(), "stars": (int, OutputField(le=5))})
    with pytest.raises(AdapterParseError, match=r"'9' in the field 'stars', .* no int: .* to 5"):
        ChatAdapter().parse(signature, "[[ ## stars ## ]]\n9")


def test_long_value_is_cut_in_the_error():
    with pytest.raises(AdapterParseError) as caught:
        ChatAdapter().parse(Signature("a -> n: int"), f"[[ ## n ## ]]\n{'x' * 100_000}")

    assert len(str(caught.value)) < 2_000
    assert len(caught.value.lm_response) > 100_000


@pytest.mark.parametrize("adapter_type", [ChatAdapter, JSONAdapter], ids=["chat", "JSON"])
def test_adapter_has_watchers_of_its_own(scripted, adapter_type):
    watcher = Watcher()
    ask(adapter_type(callbacks=[watcher]), scripted(WRITTEN[adapter_type.__name__]))

    assert watcher.seen == [
        ("format", adapter_type.__name__, ["demos", "inputs", "signature"]),
        ("parsed", {"answer": "Paris"}),
    ]


def test_watchers_of_an_adapter_also_see_its_fallback(scripted):
    watcher = Watcher()
    ask(ChatAdapter([watcher]), scripted("Paris", '{"answer": "Paris"}'))

    assert [seen[1] for seen in watcher.seen] == [
        "ChatAdapter", None, "JSONAdapter", {"answer": "Paris"},
    ]  # fmt: skip


def test_options_are_those_of_dspy():
    chat = ChatAdapter([], True, None, False, True)
    json = JSONAdapter([], False, True)

    assert (chat.use_native_function_calling, chat.use_json_adapter_fallback) == (True, False)
    assert (chat.parallel_tool_calls, json.parallel_tool_calls) == (True, True)
    assert (json.use_native_function_calling, JSONAdapter().use_native_function_calling) == (
        False, True,
    )  # fmt: skip


def test_users_own_adapter_needs_format_and_parse_alone(scripted):
    lm = scripted("paris")
    with context(adapter=Shouting()):
        assert Predict(QA)(question="where?", lm=lm).answer == "PARIS"

    assert lm.messages == [{"role": "user", "content": "WHERE?"}]


def test_adapter_that_does_not_call_our_constructor_works(scripted):
    class Bare(Shouting):
        def __init__(self):
            self.loud = True

    assert ask(Bare(), scripted("paris")) == [{"answer": "PARIS"}]


def test_pieces_of_a_prompt_can_be_changed_one_by_one(scripted):
    finish = "[[ ## next_thought ## ]]\nt\n[[ ## next_tool_name ## ]]\nfinish"
    lm = scripted(
        f"{finish}\n[[ ## next_tool_args ## ]]\n{{}}",
        "[[ ## reasoning ## ]]\nr\n[[ ## answer ## ]]\nx",
    )
    with context(adapter=Politely(), lm=lm):
        assert ReAct(QA, tools=[])(question="?").answer == "x"

    assert lm.messages[0]["content"].startswith("Please: Given the fields")
    assert lm.messages[1]["content"].startswith("Dear model,\n\n[[ ## question ## ]]")
    assert "[[ ## observation_0 ## ]]\nCompleted." in lm.messages[1]["content"]


@pytest.mark.parametrize("call", [lambda a: a.parse(QA, ""), lambda a: a.format(QA, [{"question": 1,
                         "answer": 2}], {})], ids=["parse", "demo"])  # fmt: skip
def test_adapter_without_a_form_of_answers_says_so(call):
    with pytest.raises(NotImplementedError):
        call(Adapter())


def test_user_turn_can_be_framed():
    content = ChatAdapter().format_user_message_content(
        QA, {"question": "?"}, prefix="Before.", suffix="Behind.", main_request=True
    )

    assert content.startswith("Before.\n\n[[ ## question ## ]]\n?\n\nWrite `[[ ## answer ## ]]`")
    assert content.endswith("\n\nBehind.")


def test_types_say_how_their_values_are_written():
    signature = Signature(
        "q -> ok: bool, kind: Literal['a', 'b'], n: int, cities: list[dict[str, int]]"
    )
    system = ChatAdapter().format_system_message(signature)

    assert "[[ ## ok ## ]]\n<ok: True or False>" in system
    assert "<kind: exactly one of: a; b>" in system
    assert "[[ ## n ## ]]\n<n>" in system
    assert '<cities: JSON by this schema: {"items": {"additionalProperties"' in system
