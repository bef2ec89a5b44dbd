"""The state of a predictor as a dict, in the form of DSPy's files, and back.

A state comes from a file, so nothing of it is taken as it is: what does not fit is an error before
anything of the predictor has changed, and only known names are read.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pydantic import BaseModel

from nbtool.errors import NbtoolError, StateError
from nbtool.lm.base import BaseLM
from nbtool.programs.example import Example

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtool.programs.predict import Predict
    from nbtool.signatures.signature import Signature

State: TypeAlias = "dict[str, Any]"
_LISTS = ("traces", "train", "demos")
_KNOWN = frozenset({*_LISTS, "signature", "lm"})
_log = logging.getLogger("nbtool")


@dataclasses.dataclass(slots=True)
class PredictorState:
    """Hold what a state says, checked and ready to be taken over.

    Attributes:
        signature: The predictor's signature with the texts of the state.
        lm: The LM of the state; None: the one of the settings.
        lists: Demos, traces and training examples, by the names of the attributes.
    """

    signature: type[Signature]
    lm: BaseLM | None
    lists: dict[str, list[Any]]

    def put_into(self, predictor: Predict) -> None:
        """Let a predictor take it over; nothing of this can fail."""
        predictor.signature = self.signature
        predictor.lm = self.lm
        for name, values in self.lists.items():
            setattr(predictor, name, values)


def dumped(predictor: Predict, *, json_mode: bool) -> State:
    """Return the state of a predictor.

    Args:
        predictor: Whose state it is.
        json_mode: Make demos dicts; models of pydantic become dicts in any case.

    Source:
        Names as in DSPy's state files.
    """
    return {
        "traces": _plain(predictor.traces),
        "train": _plain(predictor.train),
        "demos": [_dumped_demo(demo, json_mode=json_mode) for demo in predictor.demos],
        "signature": predictor.signature.dump_state(),
        "lm": predictor.lm.dump_state() if predictor.lm is not None else None,
    }


def _dumped_demo(demo: Any, *, json_mode: bool) -> Any:
    if isinstance(demo, Example) and not json_mode:
        twin = demo.copy()
        for name, value in demo.items():
            twin[name] = _plain(value)
        return twin
    return _plain(demo)


def _plain(value: Any) -> Any:
    """Return new containers of what a value holds; examples and models become dicts."""
    if isinstance(value, Example):
        value = value.toDict()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    if type(value) is tuple:
        return tuple(_plain(item) for item in cast("tuple[Any, ...]", value))
    return value


def read(predictor: Predict, state: Any, *, allow_unsafe_lm_state: bool) -> PredictorState:
    """Check a state for a predictor, without touching the predictor.

    Args:
        predictor: For whom it is.
        state: What a file held: anything.
        allow_unsafe_lm_state: As for `Predict.load_state`.

    Raises:
        StateError: It does not fit.
        LMConfigurationError: It has an LM of a class that may not be loaded.
    """
    state = checked_mapping(state, f"of {type(predictor).__name__}")
    if unknown := sorted(state.keys() - _KNOWN - {"metadata"}):
        _log.warning("A saved state has entries that are ignored: %s.", unknown)
    lists = {name: _checked_list(name, state.get(name, [])) for name in _LISTS}
    for demo in lists["demos"]:
        if not isinstance(demo, (dict, Example)):
            raise StateError(f"A demo of the state is {demo!r}; it must be a dict of fields.")
    saved = state.get("lm")
    lm = BaseLM.load_state(saved, allow_unsafe_lm_state=allow_unsafe_lm_state) if saved else None
    return PredictorState(_read_signature(predictor.signature, state), lm, lists)


def checked_mapping(state: Any, of_what: str) -> Mapping[str, Any]:
    """Return a state that is a dict with names.

    Args:
        state: What a file held.
        of_what: Whose state it should be, for the error.

    Raises:
        StateError: It is something else.
    """
    if not isinstance(state, dict) or not _has_names(cast("dict[Any, Any]", state)):
        raise StateError(
            f"The state {of_what} must be a dict by names, not {state!r:.200}.",
            hint="Load what `dump_state()` returned or `save()` wrote.",
        )
    return cast("Mapping[str, Any]", state)


def _has_names(state: dict[Any, Any]) -> bool:
    return all(isinstance(name, str) for name in state)


def _checked_list(name: str, values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise StateError(f"{name!r} of the state is {values!r}; it must be a list.")
    return list(cast("list[Any]", values))


def _read_signature(signature: type[Signature], state: Mapping[str, Any]) -> type[Signature]:
    try:
        return signature.load_state(state["signature"])
    except NbtoolError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StateError(
            f"The state has no signature that fits {signature.signature!r}: {error!r}.",
            hint="Load it into the program that it was saved from.",
        ) from error
