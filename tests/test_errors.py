import builtins
import copy
import inspect
import pickle
import re

import pytest

from nbtool import errors
from nbtool.errors import AdapterParseError, LMError, NbtoolError

CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, Exception)
}
LM_CLASSES = {name: kind for name, kind in CLASSES.items() if issubclass(kind, LMError)}
_LINE = re.compile(
    r"^    (?P<guides>[│├└─ ]*)(?P<name>\w+Error)\b(?: +also (?P<also>\w+(?:, \w+)*))?",
    re.MULTILINE,
)


def drawn():
    """Read the picture: name, name of the class above, builtins that it also is."""
    found, above = [], {}
    for line in _LINE.finditer(errors.__doc__):
        depth = len(line["guides"]) // 4
        above[depth] = line["name"]
        found.append((line["name"], above.get(depth - 1), (line["also"] or "").split(", ")))
    return found


DRAWN = drawn()


def make(kind):
    if issubclass(kind, AdapterParseError):
        return kind("Chat", None, "text", "no", {"a": 1}, hint="h", span_id=3)
    if issubclass(kind, LMError):
        lm = {"model": "m", "provider": "p", "status": 429, "request_id": "r", "retry_after": 1.5}
        return kind("what happened", hint="what to do", span_id=3, **lm)
    return kind("what happened", hint="what to do", span_id=3)


def test_picture_names_every_error_and_no_other():
    assert sorted(name for name, _, _ in DRAWN) == sorted(CLASSES)


@pytest.mark.parametrize(("name", "parent", "also"), DRAWN)
def test_error_stands_where_the_picture_draws_it(name, parent, also):
    bases = [base.__name__ for base in CLASSES[name].__bases__]

    assert bases == [base for base in (parent or "Exception", *also) if base]


@pytest.mark.parametrize(
    ("name", "also"), [(name, each) for name, _, also in DRAWN for each in also if each]
)
def test_error_is_caught_as_the_builtin_that_the_picture_says(name, also):
    with pytest.raises(getattr(builtins, also)):
        raise make(CLASSES[name])


def test_codes_are_snake_case_and_unique():
    codes = [kind.__dict__["code"] for kind in CLASSES.values()]

    assert len(set(codes)) == len(CLASSES)
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []


@pytest.mark.parametrize("copied", [
    lambda error: pickle.loads(pickle.dumps(error)),  # noqa: S301 - our own
    copy.copy,
    copy.deepcopy,
], ids=["pickle", "copy", "deepcopy"])  # fmt: skip
@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_error_can_be_copied_with_all_its_attributes(kind, copied):
    error = make(kind)
    error.add_note("a note")

    again = copied(error)

    assert type(again) is kind
    assert again.__dict__ == error.__dict__
    assert (str(again), again.args, again.__notes__) == (str(error), error.args, ["a note"])


@pytest.mark.parametrize(("kind", "names"), [
    (errors.MissingExtraError, ("msg", "name", "path")),
    (errors.LMTimeoutError, ("errno", "strerror", "filename")),
], ids=["import_error", "timeout_error"])  # fmt: skip
def test_attributes_of_the_builtin_survive_a_pickle(kind, names):
    error = make(kind)

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert [getattr(again, name) for name in names] == [getattr(error, name) for name in names]


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_text_of_an_error_ends_with_the_hint(kind):
    error = make(kind)

    assert str(error) == f"{error.message}\n  Hint: {error.hint}"
    assert error.span_id == 3


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_error_without_a_hint_is_its_message(kind):
    error = make(kind)
    error.hint = ""

    assert str(error) == error.message


def test_error_can_be_made_without_anything():
    assert str(NbtoolError()) == ""
    assert str(LMError()) == ""


@pytest.mark.parametrize("kind", LM_CLASSES.values(), ids=LM_CLASSES)
def test_lm_error_says_whose_it_is(kind):
    error = make(kind)

    assert (error.model, error.provider, error.status) == ("m", "p", 429)
    assert (error.request_id, error.retry_after) == ("r", 1.5)


class Signature:
    output_fields = {"answer": None, "reason": None}  # noqa: RUF012 - as a signature has them


@pytest.mark.api("AdapterParseError")
def test_parse_error_shows_the_answer_and_the_fields():
    error = AdapterParseError("ChatAdapter", Signature, "Paris", parsed_result={"answer": "Paris"})

    assert str(error) == (
        "Adapter ChatAdapter failed to parse the LM response.\n"
        "  LM Response: 'Paris'\n"
        "  Expected to find output fields in the LM response: [answer, reason]\n"
        "  Actual output fields parsed from the LM response: [answer]"
    )
    assert (error.adapter_name, error.signature, error.lm_response, error.parsed_result) == (
        "ChatAdapter", Signature, "Paris", {"answer": "Paris"},
    )  # fmt: skip


@pytest.mark.api("AdapterParseError")
def test_parse_error_says_first_what_the_adapter_found_wrong():
    error = AdapterParseError("ChatAdapter", Signature, "Paris", "It is no number.", hint="Ask.")

    assert str(error).startswith("It is no number.\nAdapter ChatAdapter failed to parse the LM")
    assert str(error).endswith("\n  Hint: Ask.")
    assert (error.parsed_result, error.hint) == (None, "Ask.")


@pytest.mark.api("AdapterParseError")
def test_parse_error_shortens_a_long_answer_and_keeps_it_whole():
    error = AdapterParseError("ChatAdapter", Signature, "x" * 1_000_000)

    assert len(str(error)) < 1_000
    assert "1,000,000 characters in all" in str(error)
    assert len(error.lm_response) == 1_000_000


def test_parse_error_shows_no_control_codes_of_the_answer():
    assert "\x1b" not in str(AdapterParseError("ChatAdapter", Signature, "\x1b]52;c;aGk=\x07"))
