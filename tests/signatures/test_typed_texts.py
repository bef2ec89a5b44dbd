"""`Code`, `Reasoning`, `Document`, `Citations` as values of fields."""

from __future__ import annotations

import json

import pydantic
import pytest

import nbtool
from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.lm.base import BaseLM
from nbtool.signatures.code_blocks import Code
from nbtool.signatures.documents import Citations, Document
from nbtool.signatures.reasoning import Reasoning

pytestmark = pytest.mark.api("Code/Reasoning/Citations/Document")

CITED = {
    "type": "char_location",
    "cited_text": "100 degrees",
    "document_index": 0,
    "start_char_index": 15,
    "end_char_index": 26,
}


class Native(BaseLM):
    """Answer with what a model gives beside its text."""

    supports_reasoning = True

    def __init__(self, model="native", text="[[ ## answer ## ]]\nyes", **beside):
        super().__init__(model)
        self.text, self.beside, self.asked = text, beside, []

    async def aforward(self, prompt=None, messages=None, **options):
        self.asked.append((messages, options))
        return {"choices": [{"message": {"content": self.text, **self.beside}}]}


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("x = 1", "x = 1"),
        ("```python\nx = 1\n```", "x = 1"),
        ("So:\n```\nx = 1\n```\nand\n```\ny\n```", "x = 1"),
        ("```x = 1```", "x = 1"),
        ("```python\nx = 1", "x = 1"),
        ({"code": "```\nx\n```"}, "x"),
        ('d = {"a": [1, 2]}', 'd = {"a": [1, 2]}'),
        ("{}", "{}"),
    ],
    ids=["plain", "fence", "first fence", "inline", "cut off", "dict", "braces", "empty"],
)
def test_code_is_what_stands_inside_the_fence(written, code):
    assert Code.model_validate(written).code == code


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter()], ids=repr)
async def test_a_model_is_asked_for_code_of_the_language(adapter, scripted_text):
    lm = scripted_text(
        "[[ ## query ## ]]\n```sql\nSELECT 1\n```"
        if isinstance(adapter, ChatAdapter)
        else '{"query": "```sql\\nSELECT 1\\n```"}'
    )
    asked = nbtool.Signature("question -> query").with_updated_fields("query", Code["sql"])
    with nbtool.context(lm=lm, adapter=adapter):
        answer = await nbtool.Predict(asked).acall(question="?")
    assert answer.query.code == str(answer.query) == "SELECT 1"
    assert "sql code" in str(lm.asked[0][0])


@pytest.fixture
def scripted_text():
    return lambda text: Native(text=text)


def test_code_of_one_language_is_one_type():
    assert Code["sql"] is Code["sql"]
    assert issubclass(Code["sql"], Code)
    assert Code["sql"]("x").model_dump() == "x"


def test_what_is_no_code_is_refused():
    with pytest.raises((nbtool.SignatureError, pydantic.ValidationError), match="is no code"):
        Code(3)


THINKS = nbtool.Signature("question -> reasoning, answer").with_updated_fields(
    "reasoning", Reasoning
)


async def test_a_model_that_thinks_by_itself_is_not_asked_in_the_prompt():
    lm = Native(reasoning_content="Because.")
    with nbtool.context(lm=lm):
        answer = await nbtool.Predict(THINKS).acall(question="?")
    assert (answer.reasoning, answer.answer) == ("Because.", "yes")
    messages, options = lm.asked[0]
    assert options["reasoning_effort"] == "low"
    assert "reasoning" not in str(messages)


async def test_another_model_writes_its_reasoning_into_the_answer():
    lm = Native(text="[[ ## reasoning ## ]]\nSo.\n\n[[ ## answer ## ]]\nyes")
    lm.supports_reasoning = False
    with nbtool.context(lm=lm):
        answer = await nbtool.Predict(THINKS).acall(question="?")
    assert isinstance(answer.reasoning, Reasoning)
    assert answer.reasoning == "So."
    assert "reasoning_effort" not in lm.asked[0][1]


def test_chain_of_thought_takes_the_type():
    lm = Native(reasoning_content="Because.")
    program = nbtool.ChainOfThought("question -> answer", rationale_field_type=Reasoning)
    with nbtool.context(lm=lm):
        assert program(question="?").reasoning == "Because."


def test_reasoning_can_be_used_like_a_text():
    thought = Reasoning("a b")
    assert (thought.split(), len(thought), thought[0], "b" in thought) == (["a", "b"], 3, "a", True)
    assert ("x" + thought, thought + thought, f"{thought}", repr(thought)) == (
        "xa b",
        "a ba b",
        "a b",
        "'a b'",
    )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = thought.nothing


CITES = nbtool.Signature("documents, question -> answer, citations").with_updated_fields(
    "citations", Citations
)


async def test_a_model_that_cites_by_itself_gives_citations_beside_its_answer():
    beside = {"provider_specific_fields": {"citations": [[CITED], [{"of": "another form"}]]}}
    lm = Native("anthropic/x", **beside)
    with nbtool.context(lm=lm):
        answer = await nbtool.Predict(CITES).acall(documents=[Document("a")], question="?")
    assert [cited.cited_text for cited in answer.citations] == ["100 degrees"]
    assert "citations" not in lm.asked[0][0][0]["content"]


async def test_documents_are_blocks_of_the_message():
    lm = Native("anthropic/x")
    told = [Document("Water boils.", title="Physics"), Document("Ice melts.")]
    with nbtool.context(lm=lm):
        await nbtool.Predict(CITES).acall(documents=told, question="?")
    blocks = [part for part in lm.asked[0][0][-1]["content"] if part["type"] == "document"]
    assert blocks[0] == {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "Water boils."},
        "citations": {"enabled": True},
        "title": "Physics",
    }
    assert len(blocks) == 2


async def test_another_model_writes_its_citations_into_the_answer():
    text = f"[[ ## answer ## ]]\nyes\n\n[[ ## citations ## ]]\n[{json.dumps(CITED)}]"
    with nbtool.context(lm=Native("other/x", text=text)):
        answer = await nbtool.Predict(CITES).acall(documents="d", question="?")
    assert answer.citations[0].format() == CITED


def test_what_are_no_citations_is_refused():
    with pytest.raises((nbtool.SignatureError, pydantic.ValidationError)):
        Citations.model_validate("x")
