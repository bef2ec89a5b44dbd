"""`BaseLM`: what every language model offers to programs."""

from __future__ import annotations

import copy
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Self

from nbtool.errors import LMConfigurationError, LMServerError
from nbtool.lm import history
from nbtool.lm.responses import (
    Output,
    cost_of,
    finish_reasons_of,
    get,
    outputs_of,
    usage_of,
)
from nbtool.lm.usage_details import usage_details_of
from nbtool.runtime.call import Call, call_of, marked_as_coroutine_function
from nbtool.runtime.step import Step
from nbtool.tracing.boundary import current_span

if TYPE_CHECKING:
    from typing import TextIO

    from nbtool.tracing.span import Kind

Message = dict[str, Any]
_CLASS_KEY = "_dspy_lm_class"
_DSPY_LM = "dspy.clients.lm.LM"
_OUR_LM = "nbtool.lm.client.LM"
_UNSAFE_KEYS = frozenset({"api_base", "base_url", "model_list"})
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
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.model_type = model_type
        self.cache = cache
        self.kwargs: dict[str, Any] = {
            "temperature": temperature,
            "max_tokens": max_tokens,
            **kwargs,
        }
        self.history: deque[history.Entry] = deque()

    @property
    def span_name(self) -> str:
        """Name of this step in traces."""
        return self.model

    @property
    def runs_inline(self) -> bool:
        """False: a request never runs on the caller's stack."""
        return False

    @property
    def supports_response_schema(self) -> bool:
        """Whether the model can be held to a JSON schema."""
        return False

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
            **kwargs: Options of this request; they win over the model's.

        Returns:
            One output per choice, in the provider's order: its text, or a dict with ``text``
            and what else there is.

        Raises:
            LMError: No usable answer came; its class says why.
        """
        inputs = {"prompt": prompt, "messages": messages, **kwargs}
        inputs = {name: value for name, value in inputs.items() if value is not None}
        return call_of(self.span_kind, self.span_name, self._answer, inputs, subject=self)

    async def _answer(
        self, prompt: str | None = None, messages: list[Message] | None = None, **options: Any
    ) -> list[Output]:
        response = await self.aforward(prompt=prompt, messages=messages, **options)
        return self._noted(response, prompt, messages, {**self.kwargs, **options})

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
        outputs = outputs_of(response)
        if not outputs:
            raise LMServerError(
                f"{self.model!r} gave no answer: its response has no choices.",
                model=self.model,
                hint="Ask again; a filter of the provider may have removed the answer.",
            )
        span = current_span()
        if span is not None and span.kind == "lm":
            span.usage = {**usage_details_of(response), **usage_of(response)}
            span.cost_usd = cost_of(response)
            span.annotate(model=self.model, response_model=get(response, "model"))
        if "length" in finish_reasons_of(response):
            _log.warning(
                "The answer of %s was cut off at max_tokens=%s. "
                "Give LM(..., max_tokens=...) more room.",
                self.model,
                options.get("max_tokens") or options.get("max_completion_tokens"),
            )
        entry = history.entry_of(
            model=self.model,
            model_type=self.model_type,
            prompt=prompt,
            messages=messages,
            options=options,
            response=response,
            outputs=outputs,
        )
        history.remember(entry, self.history)
        return outputs

    def copy(self, **options: Any) -> Self:
        """Return a copy with an empty history and other options.

        Args:
            **options: Attributes of the LM by name (``model``, ``cache``), else request options.
        """
        twin = copy.copy(self)
        twin.kwargs = dict(self.kwargs)
        twin.history = deque()
        for name, value in options.items():
            if name in vars(twin) and name != "kwargs":
                setattr(twin, name, value)
            else:
                twin.kwargs[name] = value
        return twin

    def dump_state(self) -> dict[str, Any]:
        """Return what `load_state` makes this LM of again, without keys."""
        kept = {name: value for name, value in self.kwargs.items() if name != "api_key"}
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return {
            _CLASS_KEY: _DSPY_LM if path == _OUR_LM else path,  # DSPy reads it too
            "model": self.model,
            "model_type": self.model_type,
            "cache": self.cache,
            **kept,
        }

    @classmethod
    def load_state(cls, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> BaseLM:
        """Make an LM of what `dump_state` returned, here or in DSPy.

        Args:
            state: The state; DSPy's LM is taken as ours.
            allow_unsafe_lm_state: Keep where it sends requests to, which is dropped else.

        Raises:
            LMConfigurationError: It describes no LM, or one of another class.
        """
        from nbtool.lm.client import LM

        given = dict(state)
        path = given.pop(_CLASS_KEY, None)
        if path not in (None, _DSPY_LM, _OUR_LM):
            raise LMConfigurationError(
                f"Refusing to import custom serialized LM class `{path}`.",
                hint="Load the state without it, and set the LM yourself.",
            )
        unsafe = sorted(given.keys() & _UNSAFE_KEYS)
        if unsafe and not allow_unsafe_lm_state:
            given = {name: value for name, value in given.items() if name not in unsafe}
            _log.warning(
                "Ignoring unsafe LM config key(s) during state load: %s. If you trust the file, "
                "pass allow_unsafe_lm_state=True.",
                unsafe,
            )
        return LM(**given)

    def inspect_history(self, n: int = 1, file: TextIO | None = None) -> None:
        """Print the latest `n` requests of this LM and their answers."""
        history.show(self.history, n, file)

    def __trace_value__(self) -> str:
        """Show only the model's name in traces."""
        return self.model

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"
