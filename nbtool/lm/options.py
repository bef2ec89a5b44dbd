"""Which options of an LM fit together, and what a provider calls them."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, cast

from nbtool.errors import LMConfigurationError
from nbtool.tracing.scrub import is_secret_name

LOCAL = "local"
MODEL_TYPES = ("chat", "text", "responses")

_NOT_SENT = frozenset({"cache", "rollout_id", "num_retries"})  # options for us, not the provider
_OF_LM = ("max_concurrency", "requests_per_minute", "tokens_per_minute")
_REASONING = re.compile(
    r"^(?:o[1345](?:-(?:mini|nano|pro|preview|deep-research))?(?:-\d{4}-\d{2}-\d{2})?"
    r"|gpt-5(?:\.\d+)*(?!-chat)(?:-.*)?)$"
)
_REASONING_MIN_TOKENS = 16_000


def is_reasoning_model(model: str) -> bool:
    """Tell whether a model is one of OpenAI's reasoning models, whoever serves it.

    Args:
        model: Name of the model, with or without a provider.

    Example:
        >>> is_reasoning_model("openai/gpt-5-mini"), is_reasoning_model("openai/gpt-5-chat-latest")
        (True, False)
    """
    return _REASONING.match(model.rpartition("/")[2].lower()) is not None


def check_model(model: Any, model_type: Any, num_retries: Any) -> None:
    """Refuse what names no model, or no way to ask it.

    Raises:
        LMConfigurationError: One of them is not possible.
    """
    if not isinstance(model, str) or not model or model.endswith("/"):
        raise LMConfigurationError(
            f"LM() needs the name of a model and got {model!r}.",
            hint='Write LM("openai/gpt-4o-mini"), or LM("local") for the embedded demo model.',
        )
    if model_type not in MODEL_TYPES:
        raise LMConfigurationError(
            f"model_type={model_type!r} is not one of {MODEL_TYPES} (model {model!r}).",
            hint='Leave it out for chat models, or write model_type="text".',
        )
    check_retries(model, num_retries)


def check_retries(model: str, num_retries: Any) -> int:
    """Return how often to try again, if it is a number of times.

    Raises:
        LMConfigurationError: It is none.
    """
    is_whole = isinstance(num_retries, int) and not isinstance(num_retries, bool)
    if not is_whole or num_retries < 0:
        raise LMConfigurationError(
            f"num_retries must be a nonnegative integer, not {num_retries!r} (model {model!r}).",
            hint="0 sends each request once.",
        )
    return num_retries


def limit_and_temperature(
    model: str, temperature: float | None, max_tokens: int | None
) -> dict[str, Any]:
    """Return both as the options that the model takes.

    Raises:
        LMConfigurationError: A reasoning model takes no such temperature, or needs more tokens.

    Source:
        The rule for reasoning models, and the sentence that says it, as in DSPy.
    """
    if not is_reasoning_model(model):
        return {"temperature": temperature, "max_tokens": max_tokens}
    fits = temperature in (None, 1.0)
    if not fits or (max_tokens is not None and max_tokens < _REASONING_MIN_TOKENS):
        raise LMConfigurationError(
            "OpenAI's reasoning models require passing temperature=1.0 or None and max_tokens >= "
            f"16000 or None; {model!r} got temperature={temperature!r} and "
            f"max_tokens={max_tokens!r}.",
            hint="Leave both out: its thoughts count as tokens, and it chooses how to sample.",
        )
    return {"temperature": temperature, "max_completion_tokens": max_tokens}


def sent_options(model: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options that go to the provider: set, and not ours.

    Raises:
        LMConfigurationError: ``stream`` is set, which an LM decides for itself; or a limit,
            which is no option of one request.
    """
    for name in _OF_LM:
        if name in given:
            raise LMConfigurationError(
                f"{name}={given[name]!r} is no option of a call (model {model!r}).",
                hint=f"Write LM({model!r}, {name}={given[name]!r}), or lm.copy({name}=…).",
            )
    options = {n: value for n, value in given.items() if value is not None and n not in _NOT_SENT}
    if options.pop("stream", False):
        raise LMConfigurationError(
            f"stream=True is no option of a call (model {model!r}): it returns whole answers.",
            hint="Watch tokens arrive with `with nbtool.trace(live=True):`.",
        )
    if is_reasoning_model(model) and "max_tokens" in options:  # of one call
        options["max_completion_tokens"] = options.pop("max_tokens")
    return options


def without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that may be kept: no keys and tokens, and none in headers.

    Args:
        options: Options of requests by name.
    """
    return {
        name: without_secrets(cast("Mapping[str, Any]", value))
        if isinstance(value, Mapping)
        else value
        for name, value in options.items()
        if not _is_secret(name, value)
    }


def _is_secret(name: Any, value: Any) -> bool:
    is_number = isinstance(value, int | float)  # a price for each token is none
    return isinstance(name, str) and not is_number and _is_secret_name(name)


_is_secret_name = functools.lru_cache(maxsize=256)(is_secret_name)  # for each call the same few
