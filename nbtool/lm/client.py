"""`LM`: a model of any provider that litellm knows, or the embedded one."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from nbtool.errors import LMConfigurationError
from nbtool.lm import litellm
from nbtool.lm.base import BaseLM, Message
from nbtool.lm.caching.requests import answered, warn_of_rollout
from nbtool.lm.retry import with_retries
from nbtool.tracing.boundary import current_span
from nbtool.tracing.record import remember_secret

if TYPE_CHECKING:
    from collections.abc import Callable

LOCAL = "local"
_MODEL_TYPES = ("chat", "text")
_REASONING = re.compile(r"^(?:.*/)?(?:o[1345](?:-|$)|gpt-5(?!-chat))")
_REASONING_MIN_TOKENS = 16_000
_NOT_SENT = frozenset({"cache", "rollout_id", "num_retries"})  # options for us, not the provider
_LOCAL_SAMPLING = {"temperature": 0.2, "top_p": 0.9, "max_tokens": 256}


class LM(BaseLM):
    """Be a language model, named as litellm names it: ``"provider/model"``.

    ``LM("local")`` is a small embedded model (SmolLM2-135M-Instruct) that needs neither network
    nor key. It is there for demos and tests with real tokens; its answers are often wrong.

    Args:
        model: ``"openai/gpt-4o-mini"``, ``"anthropic/..."``, ``"ollama/..."``, ``"local"``, …
        model_type: ``"chat"`` or ``"text"``.
        temperature: Sampling temperature; None leaves it to the provider.
        max_tokens: Most tokens of one answer; None leaves it to the provider.
        cache: Whether an answer may come from ``nbtool.cache``, and identical requests at the
            same time share one; ``cache=False`` of a call does without for once.
        num_retries: How often a request that failed for a passing reason is sent again (>= 0).
        **kwargs: Further options of every request, such as ``api_key``, ``api_base``,
            ``timeout`` (seconds) or ``seed``.

    Raises:
        LMConfigurationError: The options contradict each other.

    Example:
        >>> import nbtool
        >>> nbtool.LM("openai/gpt-4o-mini", temperature=0.0).model
        'openai/gpt-4o-mini'

    Source:
        Names, defaults and rules for reasoning models as DSPy's class of that name.
    """

    _has_warned = False  # that a rollout may bring the same answer again

    def __init__(
        self,
        model: str,
        model_type: str = "chat",
        temperature: float | None = None,
        max_tokens: int | None = None,
        cache: bool = True,
        num_retries: int = 3,
        **kwargs: Any,
    ) -> None:
        _check(model, model_type, temperature, max_tokens)
        super().__init__(model, model_type, temperature, max_tokens, cache, **kwargs)
        self.num_retries = num_retries
        if _REASONING.match(model):
            limit = self.kwargs.pop("max_tokens")
            self.kwargs["max_completion_tokens"] = limit
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

    @property
    def supports_response_schema(self) -> bool:
        """Whether the model can be held to a JSON schema."""
        return self.model == LOCAL or litellm.supports_response_schema(self.model)

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
            LMError: No usable answer came; see its subclasses.
        """
        request = self._request(prompt, messages, kwargs)
        ask = functools.partial(self._sent, request, kwargs)
        rollout_id = kwargs.get("rollout_id", self.kwargs.get("rollout_id"))
        if not self._has_warned and not _REASONING.match(self.model):
            self._has_warned = warn_of_rollout(rollout_id, request.get("temperature"))
        if not kwargs.get("cache", self.cache):
            return await ask()
        asked = {**request, "model_type": self.model_type, "rollout_id": rollout_id}
        return await answered(asked, ask)

    async def _sent(self, request: dict[str, Any], options: dict[str, Any]) -> Any:
        if self.model == LOCAL:
            request = {**request, **await _local_address()}
        num_retries = int(options.get("num_retries", self.num_retries))
        span = current_span()

        async def attempt() -> Any:
            on_text = self._listener(request)
            return await litellm.complete(request, model_type=self.model_type, on_text=on_text)

        def before_retry(number: int) -> None:
            if span is not None:
                span.annotate(retries=number)
                span.arrived = None

        return await with_retries(attempt, num_retries, before_retry)

    def _request(
        self, prompt: str | None, messages: list[Message] | None, options: dict[str, Any]
    ) -> dict[str, Any]:
        given = {**self.kwargs, **options}
        request = {n: v for n, v in given.items() if v is not None and n not in _NOT_SENT}
        if request.pop("stream", False):
            raise LMConfigurationError(
                f"stream=True is no option of a call (model {self.model!r}): it returns whole "
                f"answers.",
                hint="Watch tokens arrive with `with nbtool.trace(live=True):`.",
            )
        request["model"] = self.model
        if self.model_type == "text":
            request["prompt"] = prompt if prompt is not None else _as_prompt(messages)
        else:
            request["messages"] = messages or [{"role": "user", "content": prompt or ""}]
        return request

    def _listener(self, request: dict[str, Any]) -> Callable[[str], None] | None:
        """Return what takes up the answer's text while it arrives; None: no stream is needed."""
        if self.model_type != "chat" or request.get("n", 1) != 1 or request.get("logprobs"):
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


def _unseen(text: str) -> None:
    """Take up text that nobody watches."""


def _check(model: str, model_type: str, temperature: float | None, max_tokens: int | None) -> None:
    if not isinstance(model, str) or not model:  # pyright: ignore[reportUnnecessaryIsInstance] # not everybody runs pyright
        raise LMConfigurationError(
            f"LM() needs the name of a model and got {model!r}.",
            hint='Write LM("openai/gpt-4o-mini"), or LM("local") for the embedded demo model.',
        )
    if model_type not in _MODEL_TYPES:
        raise LMConfigurationError(
            f"model_type={model_type!r} is not one of {_MODEL_TYPES} (model {model!r}).",
            hint='Leave it out for chat models, or write model_type="text".',
        )
    if not _REASONING.match(model):
        return
    if temperature not in (None, 1.0):
        raise LMConfigurationError(
            f"The reasoning model {model!r} takes no temperature={temperature!r}.",
            hint="Leave temperature out, or pass 1.0.",
        )
    if max_tokens is not None and max_tokens < _REASONING_MIN_TOKENS:
        raise LMConfigurationError(
            f"max_tokens={max_tokens!r} is too few for the reasoning model {model!r}: its "
            f"thoughts count too.",
            hint=f"Leave max_tokens out, or pass {_REASONING_MIN_TOKENS} or more.",
        )


def _as_prompt(messages: list[Message] | None) -> str:
    return "\n\n".join(str(message.get("content", "")) for message in messages or [])
