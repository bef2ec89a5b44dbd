"""What a program returns, as JSON values and back."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pydantic import PydanticUserError, TypeAdapter
from pydantic_core import to_jsonable_python

from nbtool.programs.example import Example
from nbtool.programs.prediction import Prediction
from nbtool.signatures.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Codec: TypeAlias = "tuple[Callable[[Any], Any], Callable[[Any], Any]]"

_FIELDS, _COMPLETIONS = "prediction", "completions"


def codec_of(program: Any) -> Codec:
    """Return what turns results of a program into JSON values, and back.

    A prediction comes back as one, each field as the type that the program's signature names;
    anything else as the JSON value that it is.

    Args:
        program: A module, or any function.
    """
    signature: object = getattr(program, "signature", None)
    types: dict[str, TypeAdapter[Any]] = {}
    if isinstance(signature, type) and issubclass(signature, Signature):
        for name, field in signature.output_fields.items():
            with contextlib.suppress(PydanticUserError):  # a class that pydantic knows nothing of
                types[name] = TypeAdapter(cast("Any", field.annotation))
    return _encoded, functools.partial(_decoded, types=types)


def _encoded(result: Any) -> Any:
    if not isinstance(result, Prediction):
        return {"value": result}
    completions = result.completions
    return {
        _FIELDS: _json({name: result[name] for name in result}),
        _COMPLETIONS: None if completions is None else _json(dict(completions.items())),
    }


def _decoded(form: Any, *, types: Mapping[str, TypeAdapter[Any]]) -> Any:
    if "value" in form:
        return form["value"]
    fields = {name: _typed(value, types.get(name)) for name, value in form[_FIELDS].items()}
    if form[_COMPLETIONS] is None:
        return Prediction(fields)
    columns = {
        name: [_typed(value, types.get(name)) for value in values]
        for name, values in form[_COMPLETIONS].items()
    }
    prediction = Prediction.from_completions(columns)
    for name, value in fields.items():
        prediction[name] = value
    return prediction


def _typed(value: Any, kind: TypeAdapter[Any] | None) -> Any:
    return value if kind is None else kind.validate_python(value)


def _json(value: Any) -> Any:
    return to_jsonable_python(value, fallback=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Example):
        return value.toDict()
    raise TypeError(f"a value of type {type(cast('object', value)).__qualname__} is no JSON value")
