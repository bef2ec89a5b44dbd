"""`ReActV2`: tool calls as turns of a conversation, until the model submits the answer."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Annotated, Any, cast

from nbtool.adapters.native import defaults_of
from nbtool.adapters.turns import history_of
from nbtool.errors import (
    MISUSE,
    AdapterParseError,
    ContextWindowExceededError,
    SignatureError,
    ToolArgumentsError,
    ToolNotFoundError,
)
from nbtool.programs.code import note_code
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.programs.prediction import Prediction
from nbtool.programs.tool_turns import outcomes_of, tools_by_name, within_limit
from nbtool.signatures.fields import InputField, OutputField, extras_of
from nbtool.signatures.signature import (
    Signature,
    ensure_signature,
    validate_inputs,
    with_defaults,
)
from nbtool.signatures.types import History
from nbtool.tools.calls import ToolCallResults, ToolCalls
from nbtool.tools.schemas import schema_of
from nbtool.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic.fields import FieldInfo

Fields = dict[str, Any]

_log = logging.getLogger("nbtool")
_TRUNCATIONS = 3
_SUBMIT = "submit"
_OF_REQUESTS = ("lm", "config")
_OUTPUTS_TAKEN = frozenset({"history", "termination_reason", "next_thought", "tool_calls"})
_INPUTS_TAKEN = frozenset({"history", "tools", "next_thought", "tool_calls", "max_iters"})


@dataclasses.dataclass(slots=True)
class _Work:
    """What is known of one question so far.

    Attributes:
        history: Earlier conversation, and the turns of this question.
        inputs: Input fields that no turn shows yet.
        options: What the caller sets for all requests.
        turn: Number of the next turn, which makes ids of calls unique.
        reason: Why the model was no longer asked for tools.
    """

    history: History
    inputs: Fields
    options: Fields
    turn: int
    reason: str = "max_iters"


class ReActV2(Module):
    """Answer a signature by tool calls, the turns of a conversation.

    The model sees its calls and their results as turns of a `History`, in the form of the
    provider's function calling where the adapter has ``use_native_function_calling`` and the
    model can; else in its text. It may call several tools in one turn, which run at the same
    time. It ends by calling ``submit`` with the output fields.

    What a tool raises is shown to the model, which may try something else. Mistakes in the
    program (`nbtool.LoopError`, `nbtool.ConfigurationError`, `nbtool.SignatureError`) are raised.

    Args:
        signature: ``"question -> answer"``, a dict, or a `Signature` class.
        tools: Functions or `Tool` objects, asynchronous or not, each with a name of its own.
        max_iters: Most turns of one question (>= 0); then the model must submit.

    Raises:
        SignatureError: A field has a name that the loop needs, such as ``history``.
        ToolArgumentsError: A tool has the name ``submit``.

    Attributes:
        tools: `Tool` by name, ``submit`` included.
        react: The predictor that chooses the next tool calls.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> def double(x: int) -> int:
        ...     return 2 * x
        >>> lm = DummyLM([
        ...     {"next_thought": "Double both.", "tool_calls": [
        ...         {"name": "double", "args": {"x": 4}}, {"name": "double", "args": {"x": 5}}]},
        ...     {"next_thought": "Done.", "tool_calls": [
        ...         {"name": "submit", "args": {"answer": "8 and 10"}}]},
        ... ])
        >>> with nbtool.context(lm=lm):
        ...     result = nbtool.ReActV2("question -> answer", tools=[double])(question="2*4, 2*5?")
        >>> result.answer, result.termination_reason
        ('8 and 10', 'submit')

    Source:
        Names, call shapes and what a turn of the history holds as DSPy's class of that name.
    """

    def __init__(
        self,
        signature: str | dict[str, Any] | type[Signature],
        tools: list[Callable[..., Any] | Tool],
        max_iters: int = 20,
    ) -> None:
        super().__init__()
        self.signature: type[Signature] = ensure_signature(signature)
        self.max_iters = max_iters
        _check_names(self.signature)
        self.tools = tools_by_name("ReActV2", tools)
        if _SUBMIT in self.tools:
            raise ToolArgumentsError(
                "`submit` is the tool by which ReActV2 gets the answer.",
                hint="Give your tool another name: Tool(function, name=...).",
            )
        self.tools[_SUBMIT] = _submit_tool(self.signature)
        self.react = Predict(_turn_signature(self.signature))

    async def aforward(self, **inputs: Any) -> Prediction:
        """Answer; ``max_iters=`` replaces the module's for this call.

        Args:
            **inputs: Input fields by name. ``history`` is a conversation to go on with, such as
                that of an earlier result; it is left as it is.

        Returns:
            The output fields; ``history``, to which the turns of this question were added; and
            ``termination_reason``: ``"submit"``, or ``"forced_submit"`` where the model had to
            be told to submit.

        Raises:
            LMError: No usable answer came.
            AdapterParseError: The model was told to submit, and its answer cannot be read.
            ToolNotFoundError: It was told to, and did not.
            ToolArgumentsError: It was told to, and what it submitted does not fit.
        """
        names = ", ".join(name for name in self.tools if name != _SUBMIT)
        note_code(self, self.signature.code, f"tools=[{names}]")
        max_iters = inputs.pop("max_iters", self.max_iters)
        work = self._begun(inputs)
        for _ in range(max_iters):
            try:
                thought, calls = await self._choice(work)
            except MISUSE:
                raise
            except (AdapterParseError, ContextWindowExceededError, ValueError) as error:
                too_long = isinstance(error, ContextWindowExceededError)
                work.reason = "context_window_exceeded" if too_long else "parse_error"
                _log.warning("ReActV2 stopped asking for tools, turn %d: %s", work.turn, error)
                break
            if not calls.tool_calls:
                work.reason = "empty_tool_calls"
                break
            _, outputs = await self._made(work, thought, calls)
            if outputs is not None:
                return Prediction(outputs, history=work.history, termination_reason="submit")
        return await self._forced(work)

    def _begun(self, inputs: Fields) -> _Work:
        turns = [dict(turn) for turn in history_of(inputs.pop("history", None))]
        options = {name: inputs.pop(name) for name in _OF_REQUESTS if name in inputs}
        for warning in validate_inputs(self.signature, inputs, types=False):
            _log.warning("%s", warning)
        filled = with_defaults(self.signature, inputs)
        shown = {name: filled[name] for name in self.signature.input_fields if name in filled}
        return _Work(History(messages=turns), shown, options, turn=len(turns))

    # -- one turn ------------------------------------------------------------------------------

    async def _choice(self, work: _Work, **more: Any) -> tuple[Any, ToolCalls]:
        """Ask for a thought and tool calls; forget the oldest turn where there are too many."""
        truncations = 0
        while True:
            shown = History(messages=[self._shown(turn) for turn in work.history.messages])
            given = {**work.inputs, "history": shown, "tools": list(self.tools.values())}
            try:
                chosen = await self.react.acall(**given, **{**work.options, **more})
                break
            except ContextWindowExceededError:
                if truncations == _TRUNCATIONS:
                    raise
            _log.warning("The history is too long for the model: its oldest turn goes.")
            work.history = self.truncate_history(work.history)
            truncations += 1
        calls = ToolCalls.model_validate(chosen.tool_calls or [])
        return chosen.next_thought, _with_ids(calls, work.turn)

    async def _made(
        self, work: _Work, thought: Any, calls: ToolCalls
    ) -> tuple[ToolCallResults, Fields | None]:
        """Make the calls of one turn and add it to the history.

        Returns:
            The results, and the output fields where the model has submitted them.
        """
        asked = [(call.name, call.args) for call in calls.tool_calls]
        outcomes = await outcomes_of(asked, self.tools)
        results = ToolCallResults.from_tool_calls_and_values(
            calls, [value for value, _ in outcomes], [failed for _, failed in outcomes]
        )
        submitted = _submitted(results)
        turn = dict(work.inputs)
        if thought:
            turn["next_thought"] = thought
        turn["tool_calls"] = calls.model_copy(update={"tool_call_results": results})
        turn |= submitted or {}
        # Always a new history: the recorder and the caller hold the ones before.
        work.history = History(messages=[*work.history.messages, turn])
        work.inputs, work.turn = {}, work.turn + 1
        return results, submitted

    async def _forced(self, work: _Work) -> Prediction:
        """Tell the model to submit what it has."""
        own = cast("Fields", work.options.get("config") or {})
        choice = {"type": "function", "function": {"name": _SUBMIT}}
        # Providers refuse to force a tool while the model thinks.
        config = {**own, "tool_choice": choice, "reasoning_effort": None}
        told = self.react.signature.append_instructions(
            f"The time for other tools is over: call `{_SUBMIT}` now, with what is known."
        )
        thought, calls = await self._choice(work, signature=told, config=config)
        submits = [call for call in calls.tool_calls if call.name == _SUBMIT]
        failed = f"ReActV2 has no final outputs after {work.reason!r} (turn {work.turn})"
        if not submits:
            raise ToolNotFoundError(
                f"{failed}: the model was told to call `{_SUBMIT}` and called "
                f"{[call.name for call in calls.tool_calls]}.",
                hint="Allow more turns by max_iters=, or use a model that is better with tools.",
            )
        results, outputs = await self._made(work, thought, ToolCalls(tool_calls=submits))
        if outputs is None:
            said = "\n".join(str(result.value) for result in results.tool_call_results)
            raise ToolArgumentsError(
                f"{failed}: what the model submitted does not fit.\n{said}",
                hint="Give the output fields simpler types or a `desc`, or use another model.",
            )
        return Prediction(outputs, history=work.history, termination_reason="forced_submit")

    # -- the history ---------------------------------------------------------------------------

    def truncate_history(self, history: History) -> History:
        """Return a history without its oldest turn.

        Inputs of that turn go to the next one, unless that has its own: what is asked stays.

        Args:
            history: At least two turns.

        Raises:
            ContextWindowExceededError: There is only one turn left.
        """
        if len(history.messages) <= 1:
            raise ContextWindowExceededError(
                "The prompt is too long for the model although only one turn is left in it.",
                hint="Let the tools return less, or use a model with a larger context window.",
            )
        oldest, following, *rest = history.messages
        inputs = {name: oldest[name] for name in self.signature.input_fields if name in oldest}
        if not following.keys() & self.signature.input_fields.keys():
            following = {**inputs, **following}
        return History(messages=[following, *rest])

    def _shown(self, turn: Fields) -> Fields:
        """Show a turn that somebody else wrote as if its outputs had been submitted."""
        outputs = {name: turn[name] for name in self.signature.output_fields if name in turn}
        if "tool_calls" in turn or not outputs:
            return turn
        call = ToolCalls.ToolCall(id="call_told", name=_SUBMIT, args=outputs)
        results = ToolCallResults.from_tool_calls_and_values([call], [outputs])
        return {**turn, "tool_calls": ToolCalls(tool_calls=[call], tool_call_results=results)}


def _check_names(signature: type[Signature]) -> None:
    inputs = _INPUTS_TAKEN & signature.input_fields.keys()
    if taken := inputs | (_OUTPUTS_TAKEN & signature.output_fields.keys()):
        hint = "Rename these fields."
        if "history" in inputs:
            hint += " A conversation is passed to the call as `history=` without a field for it."
        raise SignatureError(
            f"ReActV2 needs the names {sorted(taken)} of {signature.signature!r} for itself.",
            hint=hint,
        )


def _submit_tool(signature: type[Signature]) -> Tool:
    fields = signature.output_fields

    def submit(**given: Any) -> Fields:
        values = {**defaults_of(signature), **given}
        if missing := [name for name in fields if name not in values]:
            raise ToolArgumentsError(
                f"These outputs are missing: {', '.join(missing)}.",
                hint=f"Call `{_SUBMIT}` with {', '.join(fields)}.",
            )
        return {name: values[name] for name in fields}

    types = {name: _type_of(field) for name, field in fields.items()}
    return Tool(
        submit,
        name=_SUBMIT,
        desc="Ends the work and hands over its results.",
        args={name: schema_of(type_) for name, type_ in types.items()},
        arg_types=types,
        arg_desc=_descriptions(fields),
        thread=False,
    )


def _type_of(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _descriptions(fields: Mapping[str, FieldInfo]) -> dict[str, str]:
    told = {name: str(extras_of(field).get("desc", "")) for name, field in fields.items()}
    return {name: text for name, text in told.items() if text and text != f"${{{name}}}"}


def _turn_signature(signature: type[Signature]) -> type[Signature]:
    """Make the signature that asks for the next turn; only the first one has the inputs."""
    inputs = ", ".join(f"`{name}`" for name in signature.input_fields)
    outputs = ", ".join(f"`{name}`" for name in signature.output_fields)
    instructions = [
        *([signature.instructions] if signature.instructions else []),
        f"You work towards {outputs} from {inputs}, by tool calls.",
        "Call all tools at once that do not need each other's results.",
        f"When you know {outputs}, call `{_SUBMIT}` with it: nothing else ends the work.",
    ]
    fields: Fields = {
        name: (_optional(field), InputField(json_schema_extra=dict(extras_of(field))))
        for name, field in signature.input_fields.items()
    }
    fields["history"] = (History, InputField())
    fields["tools"] = (list[Tool], InputField())
    fields["next_thought"] = (str, OutputField())
    fields["tool_calls"] = (ToolCalls, OutputField())
    return Signature(fields, "\n".join(instructions))


def _optional(field: FieldInfo) -> Any:
    annotation: Any = field.annotation
    return annotation | None


def _submitted(results: ToolCallResults) -> Fields | None:
    values = [r.value for r in results.tool_call_results if r.name == _SUBMIT and not r.is_error]
    # A debugger may have put anything in place of the outputs.
    outputs = [cast("Fields", value) for value in values if isinstance(value, dict)]
    return outputs[-1] if outputs else None


def _with_ids(calls: ToolCalls, turn: int) -> ToolCalls:
    """Give each call an id of its own, to which its result refers."""
    named: list[ToolCalls.ToolCall] = []
    taken: set[str] = set()
    for number, call in enumerate(within_limit("ReActV2", calls.tool_calls)):
        is_own = call.id and call.id not in taken
        own = call if is_own else call.model_copy(update={"id": f"call_{turn}_{number}"})
        taken.add(own.id or "")
        named.append(own)
    return ToolCalls(tool_calls=named)
