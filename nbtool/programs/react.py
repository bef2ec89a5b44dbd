"""`ReAct`: think, call a tool, look at what it gave, and so on; then answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from nbtool.errors import (
    MISUSE,
    AdapterParseError,
    ContextWindowExceededError,
    SignatureError,
)
from nbtool.programs.chain_of_thought import ChainOfThought
from nbtool.programs.code import note_code
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict, adapter_for, lm_for
from nbtool.programs.prediction import Prediction
from nbtool.programs.tool_turns import outcomes_of, tools_by_name, within_limit
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature, ensure_signature
from nbtool.tools.calls import ToolCalls
from nbtool.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.lm.base import BaseLM

Trajectory = dict[str, Any]
ToolCall = tuple[str, dict[str, Any]]  # name and arguments

_log = logging.getLogger("nbtool")
_KEYS_PER_CALL = 4  # thought, tool name, tool arguments, observation
_TRUNCATIONS = 3
_FINISH = "finish"
_TRAJECTORY = "trajectory"
_OWN_FIELDS = frozenset({"next_thought", "next_tool_name", "next_tool_args"})
_OWN_FIELDS_IN_PARALLEL = frozenset({"next_thought", "tool_calls", "tools"})


class ReAct(Module):
    """Answer a signature with the help of tools, turn by turn.

    What a tool raises is shown to the model, which may try something else. Mistakes in the
    program (`nbtool.LoopError`, `nbtool.ConfigurationError`, `nbtool.SignatureError`) are raised:
    no model can mend them.

    Args:
        signature: ``"question -> answer"``, a dict, or a `Signature` class.
        tools: Functions or `Tool` objects, asynchronous or not, each with a name of its own;
            ``finish`` is ours.
        max_iters: Most turns of one question (>= 1).
        parallel_tool_calls: Whether the model may call several tools in one turn; they then run
            at the same time. It asks for them by the provider's function calling, where the
            adapter has ``use_native_function_calling`` and the model can; else in its text. By
            default it names one tool a turn in its text, as in DSPy.

    Raises:
        SignatureError: A field has a name that the loop needs, such as ``trajectory``.

    Attributes:
        tools: `Tool` by name, ``finish`` included.
        react: The predictor that chooses the next tool call.
        extract: The predictor that reads the answer out of the trajectory.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> def double(x: int) -> int:
        ...     return 2 * x
        >>> lm = DummyLM([
        ...     {"next_thought": "Double it.", "next_tool_name": "double",
        ...      "next_tool_args": {"x": 4}},
        ...     {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": {}},
        ...     {"reasoning": "The tool said 8.", "answer": "8"},
        ... ])
        >>> with nbtool.context(lm=lm):
        ...     result = nbtool.ReAct("question -> answer", tools=[double])(question="2*4?")
        >>> result.answer, result.trajectory["observation_0"]
        ('8', 8)

    Source:
        Names, call shapes and the keys of the trajectory as DSPy's class of that name.
    """

    def __init__(
        self,
        signature: str | dict[str, Any] | type[Signature],
        tools: list[Callable[..., Any] | Tool],
        max_iters: int = 20,
        *,
        parallel_tool_calls: bool = False,
    ) -> None:
        super().__init__()
        self.signature: type[Signature] = ensure_signature(signature)
        self.max_iters = max_iters
        self.parallel_tool_calls = parallel_tool_calls
        _check_names(self.signature, parallel=parallel_tool_calls)
        self.tools = tools_by_name("ReAct", [*tools, _finish_tool(self.signature)])
        if parallel_tool_calls:
            self.react = Predict(_calls_signature(self.signature))
        else:
            self.react = Predict(_choice_signature(self.signature, self.tools))
        self.extract = ChainOfThought(_answer_signature(self.signature))

    async def aforward(self, **inputs: Any) -> Prediction:
        """Answer; ``max_iters=`` replaces the module's for this call.

        Args:
            **inputs: Input fields by name.

        Returns:
            The output fields, ``reasoning``, and ``trajectory``: ``thought_i``, ``tool_name_i``,
            ``tool_args_i`` and ``observation_i`` of each tool call, from 0. Calls of one turn
            stand one after another, each with the thought of that turn.

        Raises:
            LMError: No usable answer came.
            AdapterParseError: The final answer does not have the fields.
        """
        names = ", ".join(name for name in self.tools if name != _FINISH)
        note_code(self, self.signature.code, f"tools=[{names}]", *self._options_as_code())
        max_iters = inputs.pop("max_iters", self.max_iters)
        trajectory: Trajectory = {}
        n_calls = 0
        for turn in range(max_iters):
            try:
                thought, calls = await self._choice(trajectory, inputs)
            except MISUSE:
                raise
            except (AdapterParseError, ContextWindowExceededError, ValueError) as error:
                _log.warning("ReAct stopped asking for tools, turn %d: %s", turn, error)
                break
            outcomes = await outcomes_of(calls, self.tools)
            for call, (observation, _) in zip(calls, outcomes, strict=True):
                trajectory |= _noted(n_calls, thought, call, observation)
                n_calls += 1
            if not calls or _FINISH in [name for name, _ in calls]:
                break
        answer = await self._asked(self.extract, trajectory, inputs)
        return Prediction(trajectory=trajectory, **answer.toDict())

    async def _choice(
        self, trajectory: Trajectory, inputs: dict[str, Any]
    ) -> tuple[Any, list[ToolCall]]:
        """Ask what to do next: a thought, and tools with their arguments."""
        if not self.parallel_tool_calls:
            chosen = await self._asked(self.react, trajectory, inputs)
            return chosen.next_thought, [(chosen.next_tool_name, chosen.next_tool_args)]
        given = {**inputs, "tools": list(self.tools.values())}
        chosen = await self._asked(self.react, trajectory, given)
        # The provider's function calling may leave out the thought, and the calls at the end.
        calls = ToolCalls.model_validate(chosen.tool_calls or []).tool_calls
        made = within_limit("ReAct", calls)
        return chosen.next_thought or "", [(call.name, call.args) for call in made]

    def _options_as_code(self) -> list[str]:
        return ["parallel_tool_calls=True"] if self.parallel_tool_calls else []

    async def _asked(
        self, module: Predict | ChainOfThought, trajectory: Trajectory, inputs: dict[str, Any]
    ) -> Prediction:
        """Ask with the trajectory so far; forget its oldest turn where it grew too long."""
        for _ in range(_TRUNCATIONS):
            try:
                shown = self._shown(trajectory, inputs.get("lm"))
                return await module.acall(**inputs, trajectory=shown)
            except ContextWindowExceededError:
                _log.warning("The trajectory is too long for the model: its oldest turn goes.")
                trajectory = self.truncate_trajectory(trajectory)
        shown = self._shown(trajectory, inputs.get("lm"))
        return await module.acall(**inputs, trajectory=shown)

    def _shown(self, trajectory: Trajectory, lm: BaseLM | None) -> str:
        fields: dict[str, Any] = {name: (Any, InputField()) for name in trajectory}
        if not fields:
            return ""
        shown = Signature({**fields, "x": (str, OutputField())})
        adapter = adapter_for(lm_for(lm or self.react.lm))
        return adapter.format_user_message_content(shown, trajectory)

    def truncate_trajectory(self, trajectory: Trajectory) -> Trajectory:
        """Drop the oldest turn in place and return the trajectory.

        Raises:
            ContextWindowExceededError: There is only one turn left.
        """
        keys = list(trajectory)
        if len(keys) <= _KEYS_PER_CALL:
            raise ContextWindowExceededError(
                "The prompt is too long for the model although only one tool call is left in it.",
                hint="Let the tool return less, or use a model with a larger context window.",
            )
        for key in keys[:_KEYS_PER_CALL]:
            del trajectory[key]
        return trajectory


def _check_names(signature: type[Signature], *, parallel: bool) -> None:
    own = _OWN_FIELDS_IN_PARALLEL if parallel else _OWN_FIELDS
    taken = {_TRAJECTORY} & signature.fields.keys()
    taken |= {*own, "max_iters"} & signature.input_fields.keys()
    if taken:
        raise SignatureError(
            f"ReAct needs the names {sorted(taken)} of {signature.signature!r} for itself.",
            hint="Rename these fields.",
        )


def _noted(number: int, thought: Any, call: ToolCall, observation: Any) -> Trajectory:
    name, arguments = call
    return {
        f"thought_{number}": thought,
        f"tool_name_{number}": name,
        f"tool_args_{number}": arguments,
        f"observation_{number}": observation,
    }


def _finish_tool(signature: type[Signature]) -> Tool:
    outputs = ", ".join(f"`{name}`" for name in signature.output_fields)

    def finish() -> str:
        return "Completed."

    return Tool(
        finish,
        name=_FINISH,
        desc=f"Ends the work: all that is needed to write {outputs} is known.",
        thread=False,
    )


def _choice_signature(signature: type[Signature], tools: dict[str, Tool]) -> type[Signature]:
    """Make the signature that asks for the next tool call."""
    inputs, outputs = _named(signature)
    listed = [f"({number}) {tool}" for number, tool in enumerate(tools.values(), start=1)]
    instructions = [
        *([signature.instructions] if signature.instructions else []),
        f"You work towards {outputs} from {inputs}, one tool call at a time.",
        "`trajectory` holds your calls so far, with what they returned.",
        "Write what you think now, the tool to call next, and its arguments as a JSON object.",
        "The tools:",
        *listed,
    ]
    names = tuple(tools)
    schemas = {name: {"args": tool.args, "desc": tool.desc} for name, tool in tools.items()}
    return (
        Signature(dict(signature.input_fields), "\n".join(instructions))
        .append(_TRAJECTORY, InputField(), type_=str)
        .append("next_thought", OutputField(), type_=str)
        .append("next_tool_name", OutputField(), type_=Literal[names])
        .append(
            "next_tool_args",
            OutputField(json_schema_extra={"tool_schemas": schemas}),
            type_=dict[str, Any],
        )
    )


def _calls_signature(signature: type[Signature]) -> type[Signature]:
    """Make the signature that asks for all tool calls of the next turn."""
    inputs, outputs = _named(signature)
    instructions = [
        *([signature.instructions] if signature.instructions else []),
        f"You work towards {outputs} from {inputs}, by tool calls.",
        "`trajectory` holds your calls so far, with what they returned.",
        "Call all tools at once that do not need each other's results.",
        f"When you know all that {outputs} needs, call `{_FINISH}`.",
    ]
    return (
        Signature(dict(signature.input_fields), "\n".join(instructions))
        .append(_TRAJECTORY, InputField(), type_=str)
        .append("tools", InputField(), type_=list[Tool])
        .append("next_thought", OutputField(), type_=str)
        .append("tool_calls", OutputField(), type_=ToolCalls)
    )


def _named(signature: type[Signature]) -> tuple[str, str]:
    """Return the names of the input and of the output fields, for a sentence."""
    inputs = ", ".join(f"`{name}`" for name in signature.input_fields)
    outputs = ", ".join(f"`{name}`" for name in signature.output_fields)
    return inputs, outputs


def _answer_signature(signature: type[Signature]) -> type[Signature]:
    fields = {**signature.input_fields, **signature.output_fields}
    return Signature(fields, signature.instructions).append(_TRAJECTORY, InputField(), type_=str)
