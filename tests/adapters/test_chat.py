"""`ChatAdapter`: what a prompt looks like, and what answers can be read."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtool.adapters.chat import ChatAdapter
from nbtool.errors import (
    AdapterParseError,
    BudgetError,
    ContextWindowExceededError,
    LMNotConfiguredError,
    LMRateLimitError,
    NestedLoopError,
    SignatureError,
)
from nbtool.lm.base import BaseLM
from nbtool.programs.prediction import Prediction
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature

pytestmark = pytest.mark.api("ChatAdapter")

QA = Signature("question -> answer")
TWO = Signature("question -> reasoning, answer: int")
TYPED = Signature(
    "question -> text, count: int, share: float, sure: bool, tags: list[str], "
    "table: dict[str, int], kind: Literal['a', 'b'], maybe: int | None, when: datetime",
    custom_types={"datetime": dt.datetime, "Literal": Literal},
)


class Review(Signature):
    """Judge a film review."""

    review: str = InputField(desc="what a viewer wrote")
    stars: int = OutputField(desc="from bad to good", ge=1, le=5)


class Scripted(BaseLM):
    """Answer with texts, or raise; keep what was asked."""

    def __init__(self, *answers):
        super().__init__("scripted")
        self.answers = list(answers)
        self.asked = []

    async def aforward(self, prompt=None, messages=None, **options):
        self.asked.append((messages, options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"choices": [{"message": {"content": answer}}]}


def ask(lm, adapter, signature=TWO):
    return adapter.acall(lm, {}, signature, [], {"question": "?"})


def test_prompt_names_instructions_fields_types_meanings_and_limits():
    system, user = ChatAdapter().format(Review, [], {"review": "Nice."})

    assert (system["role"], user["role"]) == ("system", "user")
    assert "Judge a film review." in system["content"]
    assert "`review` (str): what a viewer wrote" in system["content"]
    assert "`stars` (int): from bad to good [" in system["content"]
    assert user["content"].startswith("[[ ## review ## ]]\nNice.\n\n")


def test_prompt_ends_with_the_markers_to_write():
    *_, user = ChatAdapter().format(TWO, [], {"question": "?"})

    last = user["content"].splitlines()[-1]
    markers = ("[[ ## reasoning ## ]]", "[[ ## answer ## ]]", "[[ ## completed ## ]]")
    assert [marker in last for marker in markers] == [True] * 3


def test_prediction_as_a_value_is_readable():
    first = Prediction(reasoning="It is in France.", answer="Paris")
    content = ChatAdapter().format_user_message_content(QA, {"question": first})

    assert content == ('[[ ## question ## ]]\n{"reasoning": "It is in France.", "answer": "Paris"}')


def test_demos_are_turns_before_the_question():
    demos = [{"question": "1+1?", "answer": "2"}, {"question": "no answer"}]
    roles_and_texts = [
        (turn["role"], turn["content"]) for turn in ChatAdapter().format(QA, demos, {})
    ]

    assert [role for role, _ in roles_and_texts] == ["system", "user", "assistant", "user"]
    assert roles_and_texts[1][1] == "[[ ## question ## ]]\n1+1?"
    assert roles_and_texts[2][1] == "[[ ## answer ## ]]\n2\n\n[[ ## completed ## ]]"


ANSWERS = {
    "as asked": "[[ ## reasoning ## ]]\nr\n\n[[ ## answer ## ]]\n7\n\n[[ ## completed ## ]]",
    "CRLF": "[[ ## reasoning ## ]]\r\nr\r\n\r\n[[ ## answer ## ]]\r\n7\r\n[[ ## completed ## ]]",
    "no end": "[[ ## reasoning ## ]]\nr\n[[ ## answer ## ]]\n7",
    "on the marker's line": "[[ ## reasoning ## ]] r\n[[ ## answer ## ]] 7",
    "indented": "  [[ ## reasoning ## ]]\n  r\n  [[ ## answer ## ]]\n  7",
    "text before": "Sure!\n[[ ## reasoning ## ]]\nr\n[[ ## answer ## ]]\n7",
    "text after": "[[ ## reasoning ## ]]\nr\n[[ ## answer ## ]]\n7\n[[ ## completed ## ]]\nBye",
    "other order": "[[ ## answer ## ]]\n7\n[[ ## reasoning ## ]]\nr",
    "extra marker": "[[ ## plan ## ]]\np\n[[ ## reasoning ## ]]\nr\n[[ ## answer ## ]]\n7",
    "doubled": "[[ ## reasoning ## ]]\nr\n[[ ## answer ## ]]\n7\n[[ ## answer ## ]]\n8",
    "input repeated": "[[ ## question ## ]]\n?\n[[ ## reasoning ## ]]\nr\n[[ ## answer ## ]]\n7",
}


@pytest.mark.parametrize("completion", ANSWERS.values(), ids=ANSWERS)
def test_answer_is_read_whatever_is_around_its_fields(completion):
    assert ChatAdapter().parse(TWO, completion) == {"reasoning": "r", "answer": 7}


@pytest.mark.parametrize(
    "text",
    [
        "two\n\nparagraphs",
        "see [[ ## answer ## ]] in the middle",
        "page\x0cbreak and line\u2028separator",
        "[[ answer ]]",
    ],
    ids=["paragraphs", "marker inside a line", "odd separators", "no marker"],
)
def test_text_of_a_field_is_kept(text):
    completion = f"[[ ## reasoning ## ]]\n{text}\n\n[[ ## answer ## ]]\n7"

    assert ChatAdapter().parse(TWO, completion)["reasoning"] == text


@pytest.mark.parametrize(
    ("completion", "said", "found"),
    [
        pytest.param("", "'reasoning'", {}, id="empty"),
        pytest.param("The answer is 7.", "'reasoning'", {}, id="no markers"),
        pytest.param(
            "[[ ## reasoning ## ]]\nr", "'answer'", {"reasoning": "r"}, id="missing field"
        ),
        pytest.param(
            "[[ ## reasoning ## ]]\nr\n[[ ## answer ## ]]\nmany",
            "'many'",
            {"reasoning": "r"},
            id="wrong type",
        ),
    ],
)
def test_unreadable_answer_is_told_with_all_that_is_known(completion, said, found):
    with pytest.raises(AdapterParseError, match=said) as caught:
        ChatAdapter().parse(TWO, completion)

    error = caught.value
    assert (error.adapter_name, error.signature) == ("ChatAdapter", TWO)
    assert (error.lm_response, error.parsed_result) == (completion, found)
    assert error.hint


@given(
    st.fixed_dictionaries(
        {
            "text": st.text(st.characters(exclude_characters="[", exclude_categories=["Cs"])).map(
                str.strip
            ),
            "count": st.integers(),
            "share": st.floats(allow_nan=False, allow_infinity=False),
            "sure": st.booleans(),
            "tags": st.lists(st.text()),
            "table": st.dictionaries(st.text(), st.integers()),
            "kind": st.sampled_from(["a", "b"]),
            "maybe": st.none() | st.integers(),
            "when": st.datetimes(min_value=dt.datetime(1, 1, 1)),  # noqa: DTZ001 - any will do
        }
    )
)
def test_demo_that_was_written_is_read_back(demo):
    written = ChatAdapter().format(TYPED, [{"question": "?", **demo}], {"question": "?"})

    assert ChatAdapter().parse(TYPED, written[2]["content"]) == demo


async def test_unreadable_answer_is_asked_for_again_as_json():
    lm = Scripted("seven", '{"reasoning": "r", "answer": 7}')

    assert await ask(lm, ChatAdapter()) == [{"reasoning": "r", "answer": 7}]
    assert "response_format" not in lm.asked[0][1]
    assert lm.asked[1][1]["response_format"] == {"type": "json_object"}


async def test_fallback_can_be_switched_off():
    lm = Scripted("seven")
    with pytest.raises(AdapterParseError) as caught:
        await ask(lm, ChatAdapter(use_json_adapter_fallback=False))

    assert (caught.value.adapter_name, len(lm.asked)) == ("ChatAdapter", 1)


async def test_failed_fallback_is_an_error_of_the_json_adapter_that_leads_to_the_first():
    lm = Scripted("seven", "eight")
    with pytest.raises(AdapterParseError) as caught:
        await ask(lm, ChatAdapter())

    first = caught.value.__cause__
    assert (caught.value.adapter_name, caught.value.lm_response) == ("JSONAdapter", "eight")
    assert (first.adapter_name, first.lm_response) == ("ChatAdapter", "seven")


@pytest.mark.parametrize(
    "error",
    [
        LMRateLimitError("slow"),
        BudgetError("spent"),
        ContextWindowExceededError("long"),
        NestedLoopError("loop"),
        LMNotConfiguredError("none"),
        SignatureError("bad"),
        TypeError("bug"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_error_of_the_provider_or_the_program_is_not_answered_by_asking_again(error):
    lm = Scripted(error)
    with pytest.raises(type(error)):
        await ask(lm, ChatAdapter())

    assert len(lm.asked) == 1


@pytest.mark.parametrize("error", [RuntimeError("odd"), KeyError("odd")], ids=["runtime", "key"])
async def test_any_other_error_is_answered_by_asking_as_json(error):
    lm = Scripted(error, '{"reasoning": "r", "answer": 7}')

    assert await ask(lm, ChatAdapter()) == [{"reasoning": "r", "answer": 7}]
