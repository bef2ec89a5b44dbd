"""Tools with schemas that a user gives, and tools as the values of fields."""

import pydantic
import pytest

from nbtool.errors import ToolArgumentsError
from nbtool.tools.tool import Tool

TOOL = pytest.mark.api("Tool")
CALL = pytest.mark.api("Tool()")


class Street(pydantic.BaseModel):
    name: str
    number: int = 1


def add(x: int, y: int = 2) -> int:
    """Add two numbers."""
    return x + y


GIVEN = {
    "x": {"type": "integer", "minimum": 1},
    "mood": {"enum": ["good", "bad"]},
    "street": {"type": "object", "required": ["name"]},
}


@CALL
@TOOL
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"x": "4"}, "Arg x is invalid: '4' is not of type 'integer'"),
        ({"x": 0}, "Arg x is invalid: 0 is less than the minimum of 1"),
        ({"mood": "so"}, "Arg mood is invalid: 'so' is not one of"),
        ({"street": {}}, "Arg street is invalid: 'name' is a required property"),
        ({"y": 1}, r"Arg y is not in the tool's args\."),
    ],
    ids=["type", "limit", "choice", "inside", "unknown"],
)
def test_what_a_call_gives_is_checked_against_given_schemas(kwargs, message):
    with pytest.raises(ToolArgumentsError, match=message):
        Tool(lambda x=1, mood="good", street=None, y=2: x, args=GIVEN)(**kwargs)


@TOOL
def test_given_schemas_hide_other_arguments_from_the_model():
    def search(query: str, client: str = "ours"):
        return query, client

    tool = Tool(search, args={"query": {"type": "string"}})

    assert (list(tool.args), tool(query="x")) == (["query"], ("x", "ours"))
    with pytest.raises(ToolArgumentsError, match="Arg client is not in"):
        tool(query="x", client="theirs")


@TOOL
def test_value_that_fits_a_given_schema_becomes_what_its_type_says():
    def func(street: Street):
        return street

    tool = Tool(func, args={"street": {"type": "object"}})

    assert tool(street={"name": "A"}) == Street(name="A")
    assert tool(street=Street(name="A")) == Street(name="A")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strange"},
        {"pattern": "("},
        {"$ref": "#/nowhere"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "#"},
        {"required": 3},
    ],
    ids=["type", "pattern", "reference", "network", "itself", "required"],
)
def test_broken_schema_lets_every_value_pass(schema):
    assert Tool(lambda x: x, args={"x": schema})(x="a") == "a"


# -- as the type of a field ------------------------------------------------------------------------


def test_pydantic_knows_tools():
    adapter = pydantic.TypeAdapter(list[Tool])
    tool = Tool(add)

    assert adapter.validate_python([tool])[0] is tool
    assert adapter.validate_python([add])[0].name == "add"
    assert adapter.dump_python([tool], mode="json") == [str(tool)]
    with pytest.raises(pydantic.ValidationError):
        adapter.validate_python(["add"])


def test_type_of_a_user_that_raises_raises_as_it_is():
    class Broken(pydantic.BaseModel):
        @pydantic.model_validator(mode="before")
        @classmethod
        def _fail(cls, given):
            raise TypeError("a mistake in the type")

    def func(x: Broken):
        return x

    with pytest.raises(TypeError, match="a mistake in the type"):
        Tool(func)(x={})
