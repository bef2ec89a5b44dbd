"""What requests cost, against the budgets of the settings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from nbtool.budget import Budget
from nbtool.configuration import settings
from nbtool.lm.responses import cost_of, get, outputs_of, text_of, tokens_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger("nbtool")
_CHARS_PER_TOKEN = 4  # of English text; other languages need more tokens
_without_price: set[str] = set()


def check_budgets(model: str) -> None:
    """Refuse a request for which nothing is left.

    Requests that are under way count when they end, so as many as run at once may go beyond.

    Args:
        model: Who would be asked.

    Raises:
        BudgetError: ``max_usd`` or ``max_tokens_total`` is reached.
    """
    for budget in (settings.max_usd, settings.max_tokens_total):
        if isinstance(budget, Budget):
            budget.check(model)


def count_response(model: str, request: Mapping[str, Any], response: Any) -> None:
    """Count what an answer cost, where the settings have a budget.

    Args:
        model: Who answered.
        request: Options of the request, for an answer that does not say how many tokens it took.
        response: The answer, shaped like OpenAI's.
    """
    for_tokens, for_dollars = settings.max_tokens_total, settings.max_usd
    if isinstance(for_tokens, Budget):
        for_tokens.spend(tokens_used(request, response))
    if isinstance(for_dollars, Budget):
        for_dollars.spend(_price(model, response))


def tokens_used(request: Mapping[str, Any], response: Any) -> int:
    """Return the tokens of a request and its answer, by estimate at worst.

    Args:
        request: Options of the request.
        response: The answer, shaped like OpenAI's.
    """
    counted = tokens_of(response)
    if counted:  # litellm writes zeros where a provider says nothing
        return counted
    answers = sum(_tokens(text_of(output)) for output in outputs_of(response))
    return _prompt_tokens(request) + answers


def _price(model: str, response: Any) -> float:
    cost = cost_of(response)
    if cost is None and model not in _without_price:
        _without_price.add(model)
        _log.warning(
            "The price of %r is not known, so max_usd does not count its calls. Give "
            "LM(..., input_cost_per_token=..., output_cost_per_token=...), or limit tokens with "
            "configure(max_tokens_total=...).",
            model,
        )
    return cost or 0.0


def estimated_tokens(request: Mapping[str, Any]) -> int:
    """Estimate the tokens of a request: of its text, and those it asks for.

    Args:
        request: Options of the request.
    """
    asked = request.get("max_tokens") or request.get("max_completion_tokens") or 0
    return _prompt_tokens(request) + int(asked) * int(request.get("n") or 1)


def _prompt_tokens(request: Mapping[str, Any]) -> int:
    given = [request.get("messages"), request.get("prompt"), request.get("input")]
    return _tokens_in(given)


def _tokens_in(content: Any) -> int:
    if isinstance(content, str):
        return _tokens(content)
    if isinstance(content, list):
        return sum(map(_tokens_in, cast("list[Any]", content)))
    # A turn has its text or parts as content, a part has text; an image has no text to count.
    return _tokens_in(get(content, "content") or get(content, "text") or [])


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)
