"""`LM`: a model of any provider that litellm knows, or the embedded one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self, cast

from nbtool.errors import LMConfigurationError
from nbtool.lm import litellm
from nbtool.lm.base import BaseLM, Message, usable_outputs
from nbtool.lm.caching.requests import answered, warn_of_rollout
from nbtool.lm.keys import current_key
from nbtool.lm.limits import Limits
from nbtool.lm.options import (
    LOCAL,
    check_model,
    check_retries,
    is_reasoning_model,
    limit_and_temperature,
    sent_options,
)
from nbtool.lm.responses_api import responses_request
from nbtool.lm.retry import with_retries
from nbtool.lm.spending import check_budgets, count_response, estimated_tokens, tokens_used
from nbtool.lm.state import OUR_PATH, class_path, dumped
from nbtool.lm.streaming import streamed
from nbtool.lm.transport import ModelType, Request, Transport
from nbtool.tracing.boundary import current_span
from nbtool.tracing.record import remember_secret

if TYPE_CHECKING:
    from collections.abc import Callable

_LOCAL_SAMPLING = {"temperature": 0.2, "top_p": 0.9, "max_tokens": 256}
_LOCAL_PARAMS = frozenset({"max_tokens", "response_format", "seed", "stop", "temperature", "top_p"})
_SHORTEST_NOTED_WAIT_S = 0.01


class LM(BaseLM):
    """Be a language model, named as litellm names it: ``"provider/model"``.

    ``LM("local")`` is a small embedded model (SmolLM2-135M-Instruct) that needs neither network
    nor key. It is there for demos and tests with real tokens; its answers are often wrong.

    Limits hold for this LM and its copies together, on all event loops and threads; whoever has
    to wait is served in order. Without `max_concurrency`, all LMs that talk to one address share
    100 requests at once, and so as many connections.

    Args:
        model: ``"openai/gpt-4o-mini"``, ``"anthropic/..."``, ``"ollama/..."``, ``"local"``, …
        model_type: ``"chat"``, ``"text"`` or ``"responses"``: the endpoint of OpenAI's to use.
        temperature: Sampling temperature; None leaves it to the provider.
        max_tokens: Most tokens of one answer; None leaves it to the provider.
        cache: Whether an answer may come from ``nbtool.cache``, and identical requests at the
            same time share one; ``cache=False`` of a call does without for once.
        callbacks: Watchers of this LM.
        num_retries: How often a request that failed for a passing reason is sent again (>= 0).
        provider: Accepted as in DSPy, and so are the next three; nbtool does not fine-tune.
        finetuning_model: Saved with the LM.
        launch_kwargs: Saved with the LM.
        train_kwargs: Saved with the LM.
        use_developer_role: Send system turns as developer turns (``"responses"`` only).
        max_concurrency: Most requests at once (>= 1).
        requests_per_minute: Most requests that start in any 60 seconds (>= 1).
        tokens_per_minute: Most tokens of those requests, prompts and answers (>= 1): estimated
            before a request, corrected by what the provider counts.
        **kwargs: Further options of every request, such as ``api_base``, ``timeout`` (seconds,
            for the whole request), ``seed``, or ``api_key``: text, or a function that returns it
            or is awaited for it, called at each request.

    Attributes:
        transport: Carries the requests; see `nbtool.lm.transport.Transport`.

    Raises:
        LMConfigurationError: The options contradict each other.

    Example:
        >>> import nbtool
        >>> nbtool.LM("openai/gpt-4o-mini", temperature=0.0).model
        'openai/gpt-4o-mini'

    Source:
        Names, defaults and rules for reasoning models as DSPy's class of that name.
    """

    transport: Transport = litellm.litellm_transport
    _has_warned = False  # that another rollout may bring the same answer

    def __init__(
        self,
        model: str,
        model_type: ModelType = "chat",
        temperature: float | None = None,
        max_tokens: int | None = None,
        cache: bool = True,
        callbacks: list[Any] | None = None,
        num_retries: int = 3,
        provider: Any = None,
        finetuning_model: str | None = None,
        launch_kwargs: dict[str, Any] | None = None,
        train_kwargs: dict[str, Any] | None = None,
        use_developer_role: bool = False,
        *,
        max_concurrency: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_model(model, model_type, num_retries)
        sampling = limit_and_temperature(model, temperature, max_tokens)
        super().__init__(model, model_type, None, None, cache, callbacks, num_retries)
        self.kwargs = {**sampling, **kwargs}
        self.provider = provider
        self.finetuning_model = finetuning_model
        self.launch_kwargs = launch_kwargs or {}
        self.train_kwargs = train_kwargs or {}
        self.use_developer_role = use_developer_role
        self.limits = Limits(max_concurrency, requests_per_minute, tokens_per_minute)
        if model == LOCAL:
            self.adapter_hint = "compact"
            given = {name: value for name, value in self.kwargs.items() if value is not None}
            self.kwargs = {**_LOCAL_SAMPLING, **given}
        remember_secret(self.kwargs.get("api_key"))
        litellm.begin_loading()

    @property
    def span_name(self) -> str:
        """Name of this step in traces."""
        return "local (demo model)" if self.model == LOCAL else self.model

    async def ready(self) -> None:
        """Wait, without blocking the loop, until what the model can do is known."""
        if self.model != LOCAL:
            await litellm.loaded()

    @property
    def supports_function_calling(self) -> bool:
        """Whether the model can be given tools."""
        return self.model != LOCAL and litellm.can(self.model, "function_calling")

    @property
    def supports_reasoning(self) -> bool:
        """Whether the model thinks before it answers, and shows it."""
        return self.model != LOCAL and litellm.can(self.model, "reasoning")

    @property
    def supports_response_schema(self) -> bool:
        """Whether the model can be held to a JSON schema."""
        return self.model == LOCAL or litellm.can(self.model, "response_schema")

    @property
    def supported_params(self) -> set[str]:
        """Names of the options that the model takes, by OpenAI's words."""
        return set(_LOCAL_PARAMS) if self.model == LOCAL else litellm.params_of(self.model)

    async def aforward(
        self,
        prompt: str | None = None,
        messages: list[Message] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Send one request, again where it failed for a passing reason.

        Args:
            prompt: One user turn, instead of `messages`.
            messages: Chat turns, oldest first.
            **kwargs: Options of this request; they win over the model's. ``rollout_id``, which is
                not sent, tells apart requests that are the same otherwise.

        Returns:
            The response, shaped like OpenAI's; one from the cache has ``cache_hit=True``.

        Raises:
            BudgetError: A limit of the settings is reached; nothing was sent.
            LMError: No usable answer came; see its subclasses.
        """
        request = self._request(prompt, messages, kwargs)
        rollout_id = {**self.kwargs, **kwargs}.get("rollout_id")
        self._warn_of_rollout(rollout_id, request)
        ask = functools.partial(self._sent, request, kwargs)
        if not kwargs.get("cache", self.cache):
            return await ask()
        asked = {**request, "model_type": self.model_type, "rollout_id": rollout_id}
        return await answered(asked, ask)

    def _warn_of_rollout(self, rollout_id: Any, request: dict[str, Any]) -> None:
        if not self._has_warned and not is_reasoning_model(self.model):
            self._has_warned = warn_of_rollout(rollout_id, request.get("temperature"))

    async def _sent(self, request: dict[str, Any], options: dict[str, Any]) -> Any:
        """Send a request as often as need be, within the budgets and limits."""
        check_budgets(self.model)
        if self.model == LOCAL:
            request = {**request, **await _local_address()}
        num_retries = check_retries(self.model, options.get("num_retries", self.num_retries))
        tokens = estimated_tokens(request) if self.limits.counts_tokens else 0
        span = current_span()

        async def attempt() -> Any:
            async with self.limits.admitted(_address(request), tokens) as admission:
                check_budgets(self.model)  # others may have spent it meanwhile
                if span is not None and admission.waited_s > _SHORTEST_NOTED_WAIT_S:
                    span.annotate(waited_s=round(admission.waited_s, 3))
                response = await self._carried(request)
                count_response(self.model, request, response)
                if self.limits.counts_tokens:
                    admission.used(tokens_used(request, response))
                usable_outputs(self.model, response)  # nothing usable is worth another attempt
                return response

        def before_retry(number: int) -> None:
            if span is not None:
                span.annotate(retries=number)
                span.arrived = None

        return await with_retries(attempt, num_retries, before_retry)

    async def _carried(self, request: dict[str, Any]) -> Any:
        """Make one attempt."""
        if "api_key" in request:
            request = {**request, "api_key": await current_key(request["api_key"], self.model)}
        asked = Request(cast("ModelType", self.model_type), request)
        on_text = self._listener(request)
        if on_text is None:
            return await self.transport.complete(asked)
        return await streamed(self.transport, asked, _address(request), on_text)

    async def _asked(
        self, prompt: str | None, messages: list[Message] | None, options: dict[str, Any]
    ) -> Any:
        # `_sent` counts each request where it is made, below whatever saves requests.
        return await self.aforward(prompt=prompt, messages=messages, **options)

    def copy(self, **options: Any) -> Self:
        """Return a copy with an empty history; see `BaseLM.copy`.

        Args:
            **options: As there. A limit among them gives the copy limits of its own.
        """
        given = {name: options.pop(name) for name in self.limits.given if name in options}
        twin = super().copy(**options)
        if given:
            twin.limits = Limits(**{**self.limits.given, **given})
        return twin

    def dump_state(self) -> dict[str, Any]:
        """Return what `load_state` makes this LM of again, here or in DSPy.

        Keys of providers are left out. Limits are part of it where they are set.
        """
        path = OUR_PATH if type(self) is LM else class_path(type(self))
        state = dumped(self, path)
        if "max_completion_tokens" in state:
            state["max_tokens"] = state.pop("max_completion_tokens")
        state["finetuning_model"] = self.finetuning_model
        state["launch_kwargs"] = self.launch_kwargs
        state["train_kwargs"] = self.train_kwargs
        if self.use_developer_role:
            state["use_developer_role"] = True
        return state | {n: limit for n, limit in self.limits.given.items() if limit is not None}

    def _request(
        self, prompt: str | None, messages: list[Message] | None, options: dict[str, Any]
    ) -> dict[str, Any]:
        """Return what the provider gets, in the shape of the model's endpoint."""
        request = sent_options(self.model, {**self.kwargs, **options})
        request["model"] = self.model
        if self.model_type == "text":
            request["prompt"] = prompt if prompt is not None else _as_prompt(messages)
            return request
        turns = messages or [{"role": "user", "content": prompt or ""}]
        if self.model_type == "chat":
            return {**request, "messages": turns}
        if request.pop("n", 1) != 1:
            raise LMConfigurationError(
                f"The Responses API gives one answer a request, not n={options.get('n')!r} "
                f"(model {self.model!r}).",
                hint='Call it n times, or use model_type="chat".',
            )
        if self.use_developer_role:
            turns = [_for_developer_role(turn) for turn in turns]
        return responses_request({**request, "messages": turns})

    def _listener(self, request: dict[str, Any]) -> Callable[[str], None] | None:
        """Return what takes up the answer's text while it arrives; None: no stream is needed."""
        if request.get("n", 1) != 1 or request.get("logprobs"):
            return None  # what cannot be rebuilt whole from a stream
        span = current_span()
        if span is not None and span.run.wants_tokens:
            return span.arrive
        # The embedded server stops only a streamed answer when its connection closes.
        return _unseen if self.model == LOCAL else None


async def _local_address() -> dict[str, Any]:
    from nbtool.lm.local import local_endpoint

    api_base, api_key = await local_endpoint()
    return {"model": "openai/local", "api_base": api_base, "api_key": api_key}


def _address(request: dict[str, Any]) -> str:
    base = request.get("api_base") or request.get("base_url")
    return str(base or request["model"].partition("/")[0])


def _unseen(text: str) -> None:
    """Take up text that nobody watches."""


def _for_developer_role(turn: Message) -> Message:
    return {**turn, "role": "developer"} if turn.get("role") == "system" else turn


def _as_prompt(messages: list[Message] | None) -> str:
    return "\n\n".join(str(message.get("content", "")) for message in messages or [])
