"""What a debugger may set: inputs and outputs of predictors and modules, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from nbtool.adapters import reading
from nbtool.errors import InputError
from nbtool.programs.example import Example
from nbtool.programs.prediction import Prediction
from nbtool.signatures.signature import validate_inputs, with_defaults

if TYPE_CHECKING:
    from nbtool.signatures.signature import Signature

Fields = dict[str, Any]


def checked_inputs(signature: type[Signature], inputs: Fields) -> None:
    """Refuse inputs that do not fit a signature.

    Raises:
        InputError: They do not; where a call would warn, this refuses.
    """
    given = with_defaults(signature, inputs)
    if found := validate_inputs(signature, given):
        raise InputError(" ".join(found), hint=f"It takes {', '.join(signature.input_fields)}.")


def predicted(signature: type[Signature], value: Any, before: Any) -> Any:
    """Make the output of a predictor of what a person has set.

    Args:
        signature: Names and types of the fields.
        value: A prediction, or fields by name; those not given stay as they were.
        before: What the predictor returned; None where it has not run.

    Raises:
        InputError: A field is missing, or is none of the signature's.
        ValueError: A value is not of its field's type.
    """
    if isinstance(value, Prediction):
        return value
    fields = signature.output_fields
    given = _mapping_of(value, list(fields))
    if unknown := [name for name in given if name not in fields]:
        raise InputError(f"{unknown} are no output fields; there are {list(fields)}.")
    old: Fields = dict(before.toDict()) if isinstance(before, Prediction) else {}
    typed = {
        name: reading.parse_json(each, fields[name].annotation, tuple(fields[name].metadata))
        for name, each in given.items()
    }
    whole = {**{name: old[name] for name in fields if name in old}, **typed}
    if missing := [name for name in fields if name not in whole and fields[name].is_required()]:
        raise InputError(f"The output fields {missing} are missing.")
    return Prediction.from_completions([whole], signature)


def returned(value: Any, before: Any) -> Any:
    """Make the output of a module of what a person has set; fields not given stay.

    Args:
        value: Anything; fields by name where the module returned a prediction.
        before: What it returned; None where it has not run.
    """
    is_of_fields = isinstance(value, Mapping) and isinstance(before, Example)
    return Prediction(before, **cast("Fields", value)) if is_of_fields else cast("Any", value)


def _mapping_of(value: Any, names: list[str]) -> Fields:
    if isinstance(value, Mapping):
        return dict(cast("Fields", value))
    if len(names) == 1:  # the value of the only field
        return {names[0]: value}
    raise InputError(f"{value!r:.100} has no fields by name; there are {names}.")
