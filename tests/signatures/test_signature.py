import copy
import functools
import pickle
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtool.errors import FieldDeclarationError, FieldNotFoundError, SignatureError
from nbtool.signatures.fields import InputField, OutputField, extras_of, is_untyped
from nbtool.signatures.signature import (
    Signature,
    ensure_signature,
    make_signature,
)

STR = pytest.mark.api("Signature(str)")
DICT = pytest.mark.api("Signature(dict)")
CLASS = pytest.mark.api("Signature(class)")
ATTRIBUTES = pytest.mark.api("Signature.attributes")
EDITS = pytest.mark.api("Signature.edits")
UPDATED = pytest.mark.api("Signature.with_updated_fields")
STATE = pytest.mark.api("Signature.state")


class Point(pydantic.BaseModel):
    x: int


class Rate(Signature):
    """Rate the text.

    Be fair.
    """

    stars: int = OutputField(desc="the verdict", ge=1, le=5)
    text: str = InputField()
    context = InputField(default="none")


def as_shown(signature):
    return repr(signature).partition("\n")[0].partition("(")[2].rstrip(")")


def texts_of(signature):
    return repr(signature.fields), signature.instructions, signature.signature


@STR
def test_a_text_makes_a_class_with_default_instructions():
    signature = Signature("a, b: int -> c")

    assert issubclass(signature, Signature)
    assert signature.__name__ == "StringSignature"
    assert signature.instructions == "Given the fields `a`, `b`, produce the fields `c`."
    assert [field.annotation for field in signature.fields.values()] == [str, int, str]
    assert is_untyped(signature.fields["a"])
    assert not is_untyped(signature.fields["b"])


@STR
def test_name_instructions_and_types_can_be_given():
    signature = Signature(
        "a: Money -> b", "Convert.", signature_name="Convert", custom_types={"Money": float}
    )

    assert signature.__name__ == "Convert"
    assert signature.instructions == "Convert."
    assert signature.fields["a"].annotation is float


@DICT
def test_a_dict_makes_a_signature_with_inputs_first():
    signature = Signature({"o": (list[int], OutputField()), "i": InputField(desc="in")}, "Do.")

    assert signature.signature == "i -> o"
    assert signature.output_fields["o"].annotation == list[int]
    assert extras_of(signature.input_fields["i"])["desc"] == "in"


@DICT
def test_fields_of_another_signature_make_a_new_one():
    signature = Signature({**Rate.input_fields, "why": OutputField()})

    assert signature.signature == "text, context -> why"
    assert is_untyped(signature.fields["context"])


@CLASS
@ATTRIBUTES
def test_a_class_statement_makes_a_signature():
    assert Rate.signature == "text, context -> stars"
    assert Rate.instructions == "Rate the text.\n\nBe fair."
    assert Rate.fields["stars"].annotation is int
    assert extras_of(Rate.fields["stars"])["constraints"] == "at least 1, at most 5"
    assert not hasattr(Rate, "stars")


@CLASS
def test_a_subclass_adds_overrides_and_inherits():
    class Longer(Rate):
        stars: float = OutputField()
        why: str = OutputField()

    assert Longer.signature == "text, context -> stars, why"
    assert Longer.fields["stars"].annotation is float
    assert Longer.instructions == Rate.instructions
    assert Rate.fields["stars"].annotation is int


@CLASS
def test_the_first_of_several_bases_wins():
    class Other(Signature):
        text: bytes = InputField()
        more: str = InputField()

    class Both(Rate, Other):
        pass

    assert Both.signature == "text, more, context -> stars"
    assert Both.fields["text"].annotation is str
    assert Both.instructions == Rate.instructions


@CLASS
def test_default_instructions_of_a_subclass_name_its_own_fields():
    class Short(Signature):
        a: str = InputField()
        b: str = OutputField()

    class Longer(Short):
        c: str = OutputField()

    assert Longer.instructions == "Given the fields `a`, produce the fields `b`, `c`."


@CLASS
def test_names_that_mean_something_to_classes_are_fields_like_others():
    signature = Signature("json, copy, model_name -> schema, instructions, fields, append")

    assert list(signature.output_fields) == ["schema", "instructions", "fields", "append"]
    assert signature.append("x", InputField()).instructions == signature.instructions


@CLASS
def test_annotations_that_are_texts_are_resolved_where_the_class_stands():
    @dataclass
    class Local:
        x: int

    class Typed(Signature):
        a: "list[Local]" = InputField()
        b: "Annotated[int, pydantic.Field(ge=2)]" = OutputField()
        c: "ClassVar[int]" = 3

    assert Typed.fields["a"].annotation == list[Local]
    assert Typed.fields["b"].annotation is int
    assert extras_of(Typed.fields["b"])["constraints"] == "at least 2"


@CLASS
def test_methods_and_class_variables_are_no_fields():
    class Rich(Signature):
        limit: ClassVar[int] = 3
        _secret: int = 4
        a: str = InputField()

        @staticmethod
        def double(x):
            return 2 * x

    assert list(Rich.fields) == ["a"]
    assert (Rich.limit, Rich._secret, Rich.double(2)) == (3, 4, 4)


@CLASS
@pytest.mark.parametrize(
    "value", [{}, {"a": 3}, {"a": pydantic.Field()}], ids=["none", "a value", "pydantic's"]
)
def test_a_field_that_no_maker_made_is_refused(value):
    message = r"'a'.* must be declared with InputField or OutputField"
    with pytest.raises(FieldDeclarationError, match=message) as caught:
        type(Signature)("Bad", (Signature,), {"__annotations__": {"a": str}, **value})

    assert isinstance(caught.value, SignatureError)
    assert isinstance(caught.value, TypeError)


def test_an_annotation_that_cannot_be_resolved_is_refused_with_its_name():
    with pytest.raises(SignatureError, match=r"of Bad cannot be resolved: name 'Missing'"):

        class Bad(Signature):
            a: "Missing" = InputField()  # noqa: F821 - it is the point


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Signature("a -> a"), "must have distinct names, but found duplicates: 'a'"),
        (lambda: Signature({"a": str}), "Field values must be tuples, but received"),
        (lambda: Signature({"a": (str,)}), "Field values must be tuples, but received"),
        (lambda: Signature({"a": (str, 3)}), "Field values must be Field instances, but"),
        (lambda: Signature({"a": (3, InputField())}), "Field types must be types, but received: 3"),
        (lambda: Signature(5), "5 is no signature"),
        (lambda: Rate(text="x"), "Rate describes a call"),
        (lambda: Rate.append("x", InputField(), "list[int]"), "Field types must be types"),
        (lambda: Rate.append("x", pydantic.Field()), "must be declared with InputField"),
        (lambda: Rate.with_updated_fields("stars", ge=2), r"cannot change \['ge'\] of 'stars'"),
        (lambda: Rate.load_state({"instructions": "", "fields": []}), "The state has 0 fields"),
        (lambda: ensure_signature(Rate, "x"), "Don't specify instructions when initializing"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(made, message):
    with pytest.raises(SignatureError, match=message) as caught:
        made()

    assert caught.value.hint


@STR
def test_an_unknown_argument_of_signature_is_a_type_error():
    with pytest.raises(TypeError, match="signature_nam"):
        Signature("a -> b", signature_nam="X")


@EDITS
@pytest.mark.parametrize(
    ("index", "inputs", "outputs"),
    [
        (0, "x, a, b -> c, d", "a, b -> x, c, d"),
        (1, "a, x, b -> c, d", "a, b -> c, x, d"),
        (2, "a, b, x -> c, d", "a, b -> c, d, x"),
        (-1, "a, b, x -> c, d", "a, b -> c, d, x"),
        (-2, "a, x, b -> c, d", "a, b -> c, x, d"),
        (-3, "x, a, b -> c, d", "a, b -> x, c, d"),
    ],
)
def test_insert_counts_among_the_fields_of_its_own_side(index, inputs, outputs):
    signature = Signature("a, b -> c, d")

    assert signature.insert(index, "x", InputField()).signature == inputs
    assert signature.insert(index, "x", OutputField()).signature == outputs


@EDITS
@pytest.mark.parametrize("index", [-4, 3])
def test_insert_out_of_range_is_refused(index):
    with pytest.raises(SignatureError, match=rf"Invalid index to insert: {index}, .*\[-3, 2\]"):
        Signature("a, b -> c, d").insert(index, "x", InputField())


@EDITS
@pytest.mark.parametrize(
    "name", ["no name", "no-name", "1x", "", "_x", "self", "a\n[[ ## b", "\ufb01eld", 3]
)
@pytest.mark.parametrize("made", [lambda n: Signature({n: InputField(), "o": OutputField()}),
                                  lambda n: Signature("a -> b").append(n, InputField())],
                         ids=["dict", "append"])  # fmt: skip
def test_a_name_that_no_call_and_no_prompt_could_use_is_refused(name, made):
    with pytest.raises(SignatureError, match=r"cannot be the name|must be strings") as caught:
        made(name)

    assert caught.value.hint


@DICT
@pytest.mark.parametrize("name", ["class", "über", "T5", "a_b", "名前"])
def test_other_names_of_a_dict_are_fields(name):
    assert list(Signature({name: InputField(), "o": OutputField()}).input_fields) == [name]


@ATTRIBUTES
def test_fields_are_by_side_and_in_order():
    signature = Signature("b, a -> d, c")

    assert (list(signature.fields), list(signature.input_fields)) == (
        ["b", "a", "d", "c"],
        ["b", "a"],
    )
    assert (list(signature.output_fields), signature.signature) == (["d", "c"], "b, a -> d, c")


@EDITS
def test_prepend_and_append_put_a_field_first_and_last():
    signature = Rate.prepend("first", OutputField(), float).append("last", OutputField())

    assert signature.signature == "text, context -> first, stars, last"
    assert signature.fields["first"].annotation is float
    assert signature.__name__ == "Rate"


@EDITS
def test_a_field_of_the_same_name_is_replaced():
    signature = Signature("a: int -> b").append("a", OutputField(desc="new"))

    assert signature.signature == " -> b, a"
    assert extras_of(signature.fields["a"])["desc"] == "new"


@EDITS
def test_a_replaced_field_of_the_same_side_moves_to_its_new_place():
    signature = Signature("a: int, b, c -> d").insert(1, "a", InputField(), bytes)

    assert list(signature.fields) == ["b", "a", "c", "d"]
    assert signature.fields["a"].annotation is bytes
    with pytest.raises(SignatureError, match=r"\[-3, 2\]"):
        Signature("a, b, c -> d").insert(3, "a", InputField())


@EDITS
def test_delete_removes_a_field_and_ignores_a_missing_one():
    assert Rate.delete("context").signature == "text -> stars"
    assert Rate.delete("missing").equals(Rate)


@UPDATED
def test_texts_and_type_of_a_field_can_be_updated():
    signature = Rate.with_updated_fields("context", bytes, desc="what surrounds it", unit="page")

    assert signature.fields["context"].annotation is bytes
    assert extras_of(signature.fields["context"])["desc"] == "what surrounds it"
    assert extras_of(signature.fields["context"])["unit"] == "page"
    assert signature.fields["context"].default == "none"
    assert not is_untyped(signature.fields["context"])


@UPDATED
def test_an_update_of_a_missing_field_is_a_key_error_that_names_the_fields():
    with pytest.raises(KeyError, match="missing") as caught:
        Rate.with_updated_fields("missing", desc="x")

    assert isinstance(caught.value, FieldNotFoundError)
    assert "['text', 'context', 'stars']" in str(caught.value)


@EDITS
def test_instructions_can_be_replaced_appended_and_set():
    other = Rate.with_instructions("  Judge.")
    appended = other.append_instructions("Be fair.").append_instructions("")
    other.instructions = "Guess."

    assert appended.instructions == "Judge.\n\nBe fair."
    assert other.instructions == "Guess."
    assert Rate.instructions.startswith("Rate")


@EDITS
def test_editing_the_extras_of_a_copy_leaves_the_original():
    edited = Rate.append("why", OutputField())

    extras_of(edited.fields["stars"])["desc"] = "changed"
    edited.fields["new"] = InputField()

    assert extras_of(Rate.fields["stars"])["desc"] == "the verdict"
    assert "new" not in edited.fields


@STATE
def test_equal_signatures_differ_by_nothing_that_a_prompt_shows():
    text = "a: int -> b"

    assert Signature(text).equals(Signature(text))
    assert not Signature(text).equals(Signature("a: str -> b"))
    assert not Signature(text).equals(Signature(text, "Other."))
    assert not Signature(text).equals(Signature(text).with_updated_fields("a", desc="x"))
    assert not Signature(text).equals(text)


@STATE
def test_the_state_has_the_shape_of_dspys_and_comes_back():
    state = Signature("a -> b", "Do.").dump_state()
    state["fields"][1]["description"] = "the result"

    loaded = Signature("a -> b").load_state(state)

    assert state["fields"][0] == {"prefix": "A:", "description": "${a}"}
    assert loaded.dump_state() == state
    assert loaded.instructions == "Do."


@STATE
def test_ensure_signature_passes_signatures_and_reads_texts():
    assert ensure_signature(None) is None
    assert ensure_signature(Rate) is Rate
    assert ensure_signature("a -> b", "Do.").instructions == "Do."
    assert make_signature(Rate, "Other.").signature == Rate.signature


@ATTRIBUTES
def test_repr_shows_types_instructions_and_remarks():
    assert repr(Rate) == (
        "Rate(text: str, context: str -> stars: int)\n"
        "    Rate the text.\n"
        "\n"
        "    Be fair.\n"
        "  text (input)\n"
        "  context (input, default 'none')\n"
        "  stars (output, at least 1, at most 5): the verdict"
    )


@ATTRIBUTES
def test_dir_offers_properties_and_edits_for_completion():
    assert {"instructions", "output_fields", "append", "with_instructions"} <= set(dir(Rate))


def test_copies_of_a_signature_are_the_signature():
    assert copy.copy(Rate) is Rate
    assert copy.deepcopy([Rate]) == [Rate]


@STATE
@pytest.mark.parametrize(
    "signature",
    [Signature("a: list[int], b -> c: Literal['x'] | None"), Rate.delete("context")],
    ids=["text", "edited"],
)
def test_a_class_that_no_import_finds_is_pickled_by_its_fields(signature):
    loaded = pickle.loads(pickle.dumps(signature))  # noqa: S301 - our own bytes

    assert loaded is not signature
    assert loaded.equals(signature)
    assert loaded.__name__ == signature.__name__


@STATE
@pytest.mark.parametrize("signature", [Signature, Rate], ids=["ours", "a user's"])
def test_a_class_that_can_be_imported_is_pickled_by_name(signature):
    assert pickle.loads(pickle.dumps(signature)) is signature  # noqa: S301 - our own bytes


@STATE
@pytest.mark.parametrize(
    "signature", [Signature("a: int -> b"), Rate, Rate.delete("context")], ids=repr
)
def test_cloudpickle_brings_back_an_equal_signature(signature):
    cloudpickle = pytest.importorskip("cloudpickle")

    loaded = pickle.loads(cloudpickle.dumps(signature))  # noqa: S301 - our own bytes

    assert loaded.equals(signature)
    assert loaded.append("x", InputField()).input_fields.keys() > signature.input_fields.keys()


name = st.sampled_from("abcdxyz")
edits = st.one_of(
    st.builds(lambda n: lambda s: s.append(n, OutputField(ge=1), int), name),
    st.builds(lambda n: lambda s: s.prepend(n, InputField()), name),
    st.builds(lambda n: lambda s: s.insert(0, n, InputField(default=3)), name),
    st.builds(lambda n: lambda s: s.delete(n), name),
    st.builds(lambda t: lambda s: s.with_instructions(t), st.text()),
    st.builds(lambda t: lambda s: s.append_instructions(t), st.text()),
    st.just(lambda s: s.with_updated_fields(next(iter(s.fields), "a"), desc="new")),
    st.just(lambda s: s.load_state(s.dump_state())),
)


@EDITS
@given(st.lists(edits, max_size=6))
def test_edits_never_change_the_original_and_keep_inputs_first(steps):
    original = Signature("a: int, b -> c: list[str], d", "Do.")
    before = texts_of(original)

    edited = functools.reduce(
        lambda signature, edit: edit(signature) if signature.fields else signature, steps, original
    )

    assert texts_of(original) == before
    assert [*edited.input_fields, *edited.output_fields] == list(edited.fields)


@STR
def test_the_first_line_of_a_repr_is_a_text_that_makes_the_same_signature():
    original = Signature("a: dict[str, int] | None, b: Point -> c: Literal['->']")

    assert Signature(as_shown(original)).equals(original)
