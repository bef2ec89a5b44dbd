"""`Predict`: one question to an LM, in the terms of a signature."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from nbtool.adapters import values
from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.compact import CompactAdapter
from nbtool.configuration import settings
from nbtool.errors import InputError, LMConfigurationError, LMNotConfiguredError
from nbtool.lm.base import BaseLM
from nbtool.programs import edited, states
from nbtool.programs.code import note_code
from nbtool.programs.example import Example
from nbtool.programs.module import Module
from nbtool.programs.prediction import Prediction
from nbtool.runtime.driven import marked_as_coroutine_function
from nbtool.signatures.signature import (
    Signature,
    ensure_signature,
    validate_inputs,
    with_defaults,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.adapters.base import Adapter, Fields
    from nbtool.programs.states import State
    from nbtool.runtime.call import Call
    from nbtool.tracing.span import Kind

_log = logging.getLogger("nbtool")
_PRIVILEGED = ("signature", "demos", "config", "lm", "_trace")
_DIVERSE_TEMPERATURE = 0.7
_FLAT_TEMPERATURE = 0.15
_ADAPTERS_BY_HINT: dict[str, type[Adapter]] = {"compact": CompactAdapter}


@dataclasses.dataclass(slots=True)
class _Request:
    """All that one call needs; made at its door, the only place that reads settings."""

    signature: type[Signature]
    demos: list[Any]
    inputs: Fields
    options: Fields
    lm: BaseLM
    adapter: Adapter
    trace: list[Any] | None
    max_trace_size: int


class Predict(Module):
    """Ask an LM for the output fields of a signature.

    Args:
        signature: ``"question -> answer"``, a dict, or a `Signature` class.
        callbacks: Watchers of this predictor.
        **config: Options of every request, such as ``temperature`` or ``n``.

    Attributes:
        signature: What is asked.
        demos: Worked examples that are shown to the LM.
        lm: The LM to ask; None: the one of the settings.
        config: Options of every request.
        traces: Worked examples that an optimizer has seen.
        train: Examples that an optimizer has learned from.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> qa = nbtool.Predict("question -> answer")
        >>> with nbtool.context(lm=DummyLM([{"answer": "Paris"}])):
        ...     qa(question="What is the capital of France?").answer
        'Paris'

    Source:
        Names, call shapes and rules as DSPy's class of that name.
    """

    span_kind: ClassVar[Kind] = "predict"

    def __init__(
        self,
        signature: str | dict[str, Any] | type[Signature],
        callbacks: list[Any] | None = None,
        **config: Any,
    ) -> None:
        super().__init__(callbacks)
        self.signature: type[Signature] = ensure_signature(signature)
        self.config: Fields = config
        self.reset()

    def reset(self) -> None:
        """Forget the LM, the demos and what was learned; signature and options stay."""
        self.lm: BaseLM | None = None
        self.demos: list[Any] = []
        self.traces: list[Any] = []
        self.train: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Prediction:
        """Ask and wait for the answer, from synchronous code; see `acall`."""
        __tracebackhide__ = True
        self._refuse_positional(args)
        return super().__call__(**kwargs)

    @marked_as_coroutine_function
    def acall(self, *args: Any, **kwargs: Any) -> Call[Prediction]:
        """Ask and wait for the answer.

        Args:
            *args: None are taken; the error names the fields.
            **kwargs: Input fields by name. ``signature``, ``demos``, ``config`` and ``lm``
                replace those of the predictor for this call; ``prediction``, in OpenAI's form of
                a predicted output, goes to the LM; ``_trace=False`` keeps the call out of
                ``settings.trace``.

        Returns:
            The output fields.

        Raises:
            LMNotConfiguredError: There is no LM to ask.
            InputError: Inputs are positional.
            LMError: No usable answer came.
            AdapterParseError: The answer does not have the fields.
        """
        self._refuse_positional(args)
        return super().acall(**kwargs)

    async def aforward(self, **kwargs: Any) -> Prediction:
        """Do what `acall` says."""
        request = self._request(kwargs)
        note_code(self, request.signature.code)
        answers = await request.adapter.acall(
            request.lm, request.options, request.signature, request.demos, request.inputs
        )
        prediction = Prediction.from_completions(answers, request.signature)
        if request.trace is not None and request.max_trace_size > 0:
            while len(request.trace) >= request.max_trace_size:
                request.trace.pop(0)
            request.trace.append((self, dict(request.inputs), prediction))
        return prediction

    def _request(self, given: Fields) -> _Request:
        special = {name: given[name] for name in _PRIVILEGED if name in given}
        inputs = {name: value for name, value in given.items() if name not in special}
        config: Fields = {**self.config, **(special.get("config") or {})}
        if _is_predicted_output(inputs.get("prediction")):
            config["prediction"] = inputs.pop("prediction")
        asked: str | type[Signature] = special.get("signature", self.signature)
        signature = ensure_signature(asked)
        lm = lm_for(special.get("lm") or self.lm)
        inputs = with_defaults(signature, inputs)
        shown = _as_shown(signature, inputs)
        for warning in validate_inputs(signature, shown, types=settings.warn_on_type_mismatch):
            _log.warning("%s", warning)
        return _Request(
            signature=signature,
            demos=special.get("demos", self.demos),
            inputs=inputs,
            options=_options(lm, config),
            lm=lm,
            adapter=adapter_for(lm),
            trace=settings.trace if special.get("_trace", True) else None,
            max_trace_size=int(settings.max_trace_size),
        )

    def _refuse_positional(self, args: tuple[Any, ...]) -> None:
        if not args:
            return
        names = list(self.signature.input_fields)
        example = ", ".join(f"{name}=..." for name in names)
        raise InputError(
            "Positional arguments are not allowed when calling `Predict`, must use keyword "
            f"arguments that match your signature input fields: {', '.join(names)}.",
            hint=f"Write `predict({example})`.",
        )

    def dump_state(self, json_mode: bool = True) -> State:
        """Return what optimizers change: demos, texts of the signature, LM.

        Args:
            json_mode: Make examples dicts, so that JSON can hold them.

        Source:
            The shape of DSPy's state files.
        """
        return states.dumped(self, json_mode=json_mode)

    def load_state(self, state: Any, *, allow_unsafe_lm_state: bool = False) -> Self:
        """Take over what `dump_state` returned, here or in DSPy; see `Module.load_state`."""
        states.read(self, state, allow_unsafe_lm_state=allow_unsafe_lm_state).put_into(self)
        return self

    def __debug_inputs__(self, inputs: Fields) -> Fields:
        """Refuse inputs that do not fit the signature, for a debugger."""
        asked: str | type[Signature] = inputs.get("signature", self.signature)
        fields = {name: value for name, value in inputs.items() if name not in _PRIVILEGED}
        if _is_predicted_output(fields.get("prediction")):
            del fields["prediction"]
        edited.checked_inputs(ensure_signature(asked), fields)
        return inputs

    def __debug_output__(self, value: Any, before: Any) -> Any:
        """Make an output of what a debugger sets."""
        return edited.predicted(self.signature, value, before)

    def update_config(self, **config: Any) -> None:
        """Add options of every request."""
        self.config = {**self.config, **config}

    def get_config(self) -> Fields:
        """Return the options of every request."""
        return self.config

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.signature!r})"


def load_all(pairs: list[tuple[Predict, Any]], *, allow_unsafe_lm_state: bool) -> None:
    """Load a state into each of several predictors, or into none of them.

    Args:
        pairs: Predictors with their states.
        allow_unsafe_lm_state: As for `Module.load_state`.

    Raises:
        StateError: One does not fit.
        LMConfigurationError: One has an LM of a class that may not be loaded.
    """
    ready: list[Callable[[], Any]] = []
    for predictor, state in pairs:
        if type(predictor).load_state is Predict.load_state:
            read = states.read(predictor, state, allow_unsafe_lm_state=allow_unsafe_lm_state)
            ready.append(functools.partial(read.put_into, predictor))
        else:  # a user's own, which may raise halfway: a copy goes first
            keywords = {"allow_unsafe_lm_state": allow_unsafe_lm_state}
            predictor.deepcopy().load_state(state, **keywords)
            ready.append(functools.partial(predictor.load_state, state, **keywords))
    for load in ready:
        load()


def lm_for(lm: Any) -> BaseLM:
    """Return the LM to ask: the given one, else the one of the settings.

    Raises:
        LMNotConfiguredError: There is none.
        LMConfigurationError: What is set is no LM.
    """
    chosen = lm if lm is not None else settings.lm
    if chosen is None:
        raise LMNotConfiguredError(
            "No LM is loaded. Please configure the LM using `dspy.configure(lm=dspy.LM(...))`, "
            'e.g. `nbtool.configure(lm=nbtool.LM("openai/gpt-4o-mini"))`.',
            hint='`nbtool.configure(lm=nbtool.LM("local"))` uses a small embedded demo model.',
        )
    if isinstance(chosen, str):
        raise LMConfigurationError(
            f"The LM is the text {chosen!r}; it must be an instance of LM.",
            hint=f"Write `LM({chosen!r})`.",
        )
    if not isinstance(chosen, BaseLM):
        raise LMConfigurationError(
            f"The LM is {chosen!r}, which is no BaseLM.",
            hint="Use `LM(...)`, or subclass `BaseLM`.",
        )
    return chosen


def adapter_for(lm: BaseLM) -> Adapter:
    """Return the adapter of the settings, else the one that suits the LM."""
    chosen = cast("Adapter | None", settings.adapter)
    return chosen or _ADAPTERS_BY_HINT.get(lm.adapter_hint or "", ChatAdapter)()


def _is_predicted_output(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    given = cast("Fields", value)
    return given.get("type") == "content" and "content" in given


def _as_shown(signature: type[Signature], inputs: Fields) -> Fields:
    """Put text for predictions where text is asked: so the prompt shows them, as in the guide."""
    shown = dict(inputs)
    for name, field in signature.input_fields.items():
        if field.annotation is str and isinstance(shown.get(name), Example):
            shown[name] = values.as_text(shown[name])
    return shown


def _options(lm: BaseLM, config: Fields) -> Fields:
    """Make several answers differ: without a temperature they would all be the same."""
    defaults: Fields = getattr(lm, "kwargs", {})
    temperature = config.get("temperature") or defaults.get("temperature")
    several = (config.get("n") or defaults.get("n") or 1) > 1
    if several and (temperature is None or temperature <= _FLAT_TEMPERATURE):
        return {**config, "temperature": _DIVERSE_TEMPERATURE}
    return config
