"""`BaseLM`: what every language model offers to programs."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Self

from nbtool.errors import LMConfigurationError, LMServerError
from nbtool.lm import edited, history
from nbtool.lm.responses import (
    Output,
    cost_of,
    finish_reasons_of,
    get,
    outputs_of,
    usage_of,
)
from nbtool.lm.spending import check_budgets, count_response
from nbtool.lm.state import class_path, dumped, loaded
from nbtool.lm.usage_details import usage_details_of
from nbtool.runtime.call import Call, call_of
from nbtool.runtime.driven import marked_as_coroutine_function
from nbtool.runtime.step import Step
from nbtool.tracing.boundary import current_span
from nbtool.tracing.record import secrets_in_use
from nbtool.tracing.scrub import scrub_text

if TYPE_CHECKING:
    from typing import TextIO

    from nbtool.tracing.span import Kind

Message = dict[str, Any]
_log = logging.getLogger("nbtool")


class BaseLM(Step):
    """Be a language model; subclasses send the request.

    A subclass defines ``aforward`` (or ``forward``, which then runs in a worker thread), which
    takes ``prompt`` or ``messages`` and options, and returns a response shaped like OpenAI's Chat
    Completions: ``choices[i].message.content``, ``usage``, ``model``; objects or dicts.

    Args:
        model: Name of the model.
        model_type: ``"chat"``, ``"text"`` or ``"responses"``.
        temperature: Sampling temperature; None leaves it to the provider.
        max_tokens: Most tokens of one answer; None leaves it to the provider.
        cache: Whether identical requests may share an answer.
        callbacks: Watchers of this LM.
        num_retries: How often a failed request is sent again, where the subclass does so.
        **kwargs: Further options of every request.

    Attributes:
        history: The latest requests with their answers, oldest first.
        adapter_hint: Name of the adapter that suits this model; None for the usual one.

    Source:
        Names and call shapes as DSPy's class of that name.
    """

    span_kind: ClassVar[Kind] = "lm"
    adapter_hint: str | None = None

    def __init__(
        self,
        model: str,
        model_type: str = "chat",
        temperature: float | None = None,
        max_tokens: int | None = None,
        cache: bool = True,
        callbacks: list[Any] | None = None,
        num_retries: int = 3,
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.model_type = model_type
        self.cache = cache
        self.callbacks: list[Any] = list(callbacks or [])
        self.num_retries = num_retries
        self.kwargs: dict[str, Any] = {
            "temperature": temperature,
            "max_tokens": max_tokens,
            **kwargs,
        }
        self.history: list[history.Entry] = []

    @property
    def span_name(self) -> str:
        """Name of this step in traces."""
        return self.model

    @property
    def runs_inline(self) -> bool:
        """False: a request never runs on the caller's stack."""
        return False

    async def ready(self) -> None:
        """Wait, without blocking the loop, until what the model can do is known."""

    @property
    def supports_function_calling(self) -> bool:
        """Whether the model can be given tools."""
        return False

    @property
    def supports_reasoning(self) -> bool:
        """Whether the model thinks before it answers, and shows it."""
        return False

    @property
    def supports_response_schema(self) -> bool:
        """Whether the model can be held to a JSON schema."""
        return False

    @property
    def supported_params(self) -> set[str]:
        """Names of the options that the model takes, by OpenAI's words."""
        return set()

    @marked_as_coroutine_function
    def acall(
        self,
        prompt: str | None = None,
        messages: list[Message] | None = None,
        **kwargs: Any,
    ) -> Call[list[Output]]:
        """Send one request and wait for the whole answer.

        Args:
            prompt: One user turn, instead of `messages`.
            messages: Chat turns, oldest first.
            **kwargs: Options of this request; they win over the model's, None too.

        Returns:
            One output per choice, in the provider's order: its text; or, where one has more than
            text, dicts with ``text`` and what else there is.

        Raises:
            BudgetError: A limit of the settings is reached; nothing was sent.
            LMError: No usable answer came; its class says why.
        """
        given = {"prompt": prompt, "messages": messages, **kwargs}
        # None says nothing, but where it takes an option of the model's away.
        inputs = {n: value for n, value in given.items() if value is not None or n in self.kwargs}
        return call_of(self.span_kind, self.span_name, self._answer, inputs, subject=self)

    async def _answer(
        self, prompt: str | None = None, messages: list[Message] | None = None, **options: Any
    ) -> list[Output]:
        response = await self._asked(prompt, messages, options)
        return self._noted(response, prompt, messages, {**self.kwargs, **options})

    async def _asked(
        self, prompt: str | None, messages: list[Message] | None, options: dict[str, Any]
    ) -> Any:
        """Ask within the budgets of the settings, and count what it cost."""
        check_budgets(self.model)
        response = await self.aforward(prompt=prompt, messages=messages, **options)
        count_response(self.model, {"prompt": prompt, "messages": messages}, response)
        return response

    def __call__(
        self,
        prompt: str | None = None,
        messages: list[Message] | None = None,
        **kwargs: Any,
    ) -> list[Output]:
        """Send one request and wait for the whole answer, from synchronous code."""
        return super().__call__(prompt=prompt, messages=messages, **kwargs)

    def _noted(
        self,
        response: Any,
        prompt: str | None,
        messages: list[Message] | None,
        options: dict[str, Any],
    ) -> list[Output]:
        """Read a response, and note its usage, cost and history entry."""
        outputs = usable_outputs(self.model, response)
        usage, cost = usage_of(response), cost_of(response)
        span = current_span()
        if span is not None and span.kind == "lm":
            span.usage = {**usage_details_of(response), **usage}
            span.cost_usd = cost
            span.annotate(model=self.model, response_model=get(response, "model"))
        if "length" in finish_reasons_of(response):
            limit = options.get("max_tokens") or options.get("max_completion_tokens")
            _log.warning(
                "LM response was truncated due to exceeding max_tokens=%s: the answer of %r is "
                "cut off. Give LM(..., max_tokens=...) more room; inspect_history() shows it.",
                limit,
                self.model,
            )
        entry = history.entry_of(
            model=self.model,
            model_type=self.model_type,
            prompt=prompt,
            messages=messages,
            options=options,
            response=response,
            outputs=outputs,
            usage=dict(usage),
            cost=cost,
        )
        history.remember(entry, self.history)
        return outputs

    def copy(self, **options: Any) -> Self:
        """Return a copy with an empty history and other options.

        The copy shares the limits of an `LM`, for it is the same account at the provider.

        Args:
            **options: Attributes of the LM by name (``model``, ``cache``), else request options;
                None takes an option away.
        """
        twin = copy.copy(self)
        twin.kwargs = dict(self.kwargs)
        twin.callbacks = list(self.callbacks)
        twin.history = []
        for name, value in options.items():
            if hasattr(twin, name) and name != "kwargs":
                setattr(twin, name, value)
            elif value is None:
                twin.kwargs.pop(name, None)
            else:
                twin.kwargs[name] = value
        return twin

    def dump_state(self) -> dict[str, Any]:
        """Return what `load_state` makes this LM of again; no keys are in it."""
        return dumped(self, class_path(type(self)))

    @classmethod
    def load_state(
        cls,
        state: Any,
        *,
        allow_unsafe_lm_state: bool = False,
        allow_custom_lm_class: bool = False,
    ) -> BaseLM:
        """Make an LM of what `dump_state` returned, here or in DSPy.

        Args:
            state: The state, from whatever file; DSPy's LM is taken as ours.
            allow_unsafe_lm_state: Whether to trust it: to import another class that it names,
                and to keep where it sends requests to (``api_base``, ``base_url``,
                ``model_list`` and the like), which is dropped with a warning else.
            allow_custom_lm_class: Whether to import another class only.

        Raises:
            LMConfigurationError: It describes no LM, or one of a class that is not allowed.
        """
        kind, arguments = loaded(
            cls,
            state,
            allow_class=allow_unsafe_lm_state or allow_custom_lm_class,
            allow_addresses=allow_unsafe_lm_state,
        )
        if kind is not cls and "load_state" in vars(kind):
            return kind.load_state(arguments)
        try:
            return kind(**arguments)
        except TypeError as error:
            raise LMConfigurationError(
                f"The state of an LM does not fit {kind.__name__}: {error}.",
                hint="Load what `lm.dump_state()` returned.",
            ) from error

    def inspect_history(self, n: int = 1, file: TextIO | None = None) -> None:
        """Print the latest `n` requests of this LM and their answers."""
        history.show(self.history, n, file)

    def __debug_inputs__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Refuse messages that are none, for a debugger."""
        edited.check_messages(inputs.get("prompt"), inputs.get("messages"))
        return inputs

    def __debug_output__(self, value: Any, before: Any) -> list[Output]:
        """Make outputs of what a debugger sets: a text, or one output per choice."""
        return edited.outputs_of_edit(value)

    def __trace_value__(self) -> str:
        """Show only the model's name in traces."""
        return self.model

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"


def usable_outputs(model: str, response: Any) -> list[Output]:
    """Read a response; see `nbtool.lm.responses.outputs_of`.

    Args:
        model: Who answered.
        response: The response, shaped like OpenAI's.

    Raises:
        LMServerError: It has no answer.
    """
    outputs = outputs_of(response)
    if not outputs:
        raise LMServerError(
            f"{model!r} gave no answer: its response has no choices{_reason(response)}.",
            model=model,
            hint="Ask again; a filter of the provider may have removed the answer.",
        )
    return outputs


def _reason(response: Any) -> str:
    """Return what a response says of its failure, to be put behind a text."""
    said = get(get(response, "error"), "message")
    return f": {scrub_text(str(said), secrets=secrets_in_use())}" if said else ""
