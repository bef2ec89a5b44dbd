"""Budgets as settings: what they are, where each begins to count."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading

import pytest

from nbtool.budget import Budget
from nbtool.configuration import configure, context, settings
from nbtool.errors import BudgetError, ConfigurationError, LMError


def spend(usd):
    settings.max_usd.spend(usd)


def test_budget_reads_as_the_number_that_was_set():
    configure(max_usd=5, max_tokens_total=1_000)

    assert (settings.max_usd, settings.max_tokens_total) == (5, 1_000)
    assert f"{settings.max_usd:.2f}" == "5.00"


@pytest.mark.parametrize("name", ["max_usd", "max_tokens_total"])
def test_there_is_no_budget_until_one_is_set(name):
    assert settings[name] is None


@pytest.mark.parametrize("limit", [-1, "5", True, float("nan"), [5]], ids=repr)
@pytest.mark.parametrize("name", ["max_usd", "max_tokens_total"])
def test_what_is_no_limit_is_refused_when_it_is_set(name, limit):
    with pytest.raises(ConfigurationError, match=name) as caught:
        configure(**{name: limit})

    assert settings[name] is None
    assert caught.value.hint


def test_used_up_budget_says_what_was_spent_and_what_the_limit_is():
    configure(max_usd=0.5)
    spend(0.75)
    with pytest.raises(BudgetError, match=r"0\.75 were spent of max_usd=0\.5") as caught:
        settings.max_usd.check("openai/test")

    assert (caught.value.spent, caught.value.limit, caught.value.model) == (
        0.75,
        0.5,
        "openai/test",
    )
    assert isinstance(caught.value, LMError)


def test_new_budget_begins_at_nothing():
    configure(max_usd=1)
    spend(1)
    configure(max_usd=2)

    assert settings.max_usd.spent == 0


def test_other_settings_leave_the_count_as_it_is():
    configure(max_usd=1)
    spend(0.25)
    configure(num_threads=3)

    assert settings.max_usd.spent == 0.25


def test_budget_of_a_context_counts_for_itself_and_for_the_one_around():
    configure(max_usd=10)
    spend(1)
    with context(max_usd=2):
        spend(0.5)
        inside = settings.max_usd.spent

    assert (inside, settings.max_usd.spent) == (0.5, 1.5)


def test_context_without_a_budget_counts_for_the_one_around():
    configure(max_usd=10)
    with context(num_threads=2):
        spend(0.5)

    assert settings.max_usd.spent == 0.5


def test_budget_around_is_a_limit_inside_too():
    configure(max_usd=1)
    with context(max_usd=100):
        spend(1)
        with pytest.raises(BudgetError, match="max_usd=1"):
            settings.max_usd.check("openai/test")


def test_context_lifts_a_budget_with_none():
    configure(max_usd=0)
    with context(max_usd=None):
        assert settings.max_usd is None


def test_context_entered_twice_counts_twice():
    twice = context(max_usd=1)
    with twice:
        spend(1)
    with twice:
        assert settings.max_usd.spent == 0


async def test_tasks_of_a_context_share_its_budget():
    async def work():
        spend(0.25)

    with context(max_usd=10):
        await asyncio.gather(*(work() for _ in range(8)))
        assert settings.max_usd.spent == 2


def test_nothing_is_lost_when_threads_spend_at_once():
    budget = Budget(1e9, "max_tokens_total")
    spending = [budget.spend] * 5_000

    def work():
        [spend(1) for spend in spending]

    threads = [threading.Thread(target=work) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert budget.spent == 8 * 5_000


@pytest.mark.parametrize(
    "copied",
    [lambda b: pickle.loads(pickle.dumps(b)), copy.copy, copy.deepcopy],  # noqa: S301 - our own
    ids=["pickle", "copy", "deepcopy"],
)
def test_copy_of_a_budget_is_its_number(copied):
    budget = Budget(5, "max_usd")
    budget.spend(1)

    assert copied(budget) == 5
