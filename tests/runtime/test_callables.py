import asyncio
import inspect

import pytest

from nbtool.runtime.callables import waiting, waiting_method


async def double(x: int, *, times: int = 2) -> int:
    """Multiply."""
    await asyncio.sleep(0)
    return x * times


class Doubler:
    async def acall(self, x: int, *, times: int = 2) -> int:
        await asyncio.sleep(0)
        return x * times

    __call__ = waiting_method(acall, "__call__", "Multiply and wait.")


class Tripler(Doubler):
    async def acall(self, x: int, *, times: int = 3) -> int:
        return await super().acall(x, times=times)


def test_function_waits_for_the_other():
    assert waiting(double)(2, times=4) == 8


def test_method_waits_for_what_a_subclass_has_in_its_place():
    assert (Doubler()(2), Tripler()(2)) == (4, 6)


@pytest.mark.parametrize("form", [waiting(double, "now"), Doubler.__call__], ids=["f", "m"])
def test_synchronous_form_is_not_taken_for_a_coroutine_function(form):
    assert not inspect.iscoroutinefunction(form)
    assert not asyncio.iscoroutinefunction(form)


def test_help_shows_name_arguments_and_result():
    now = waiting(double, "now")

    assert (now.__name__, now.__doc__) == ("now", "Multiply.")
    assert str(inspect.signature(now)) == "(x: int, *, times: int = 2) -> int"
    assert Doubler.__call__.__doc__ == "Multiply and wait."
    assert Doubler.__call__.__qualname__ == "Doubler.__call__"


async def test_both_work_on_a_running_loop():
    assert (waiting(double)(2), Doubler()(2)) == (4, 4)
