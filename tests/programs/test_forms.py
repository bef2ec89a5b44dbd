"""A module written in one way can be called in every way, from synchronous code and on a loop."""

import asyncio

import pytest

import nbtool


class AsyncOnly(nbtool.Module):
    async def aforward(self, x):
        await asyncio.sleep(0)
        return x * 2


class ForwardOnly(nbtool.Module):
    def forward(self, x):
        return x * 2


EXAMPLES = [nbtool.Example(x=n).with_inputs("x") for n in (1, 2)]
SYNC = {
    "call": lambda m: [m(x=1), m(x=2)],
    "run": lambda m: [nbtool.run(m.acall(x=1)), nbtool.run(m.acall(x=2))],
    "batch": lambda m: m.batch(EXAMPLES),
    "Parallel": lambda m: nbtool.Parallel()([(m, each) for each in EXAMPLES]),
    "syncify": lambda m: [nbtool.syncify(m)(x=1), nbtool.syncify(m)(x=2)],
}


async def gathered(m):
    return await asyncio.gather(m.acall(x=1), m.acall(x=2))


async def asyncified(m):
    return await asyncio.gather(nbtool.asyncify(m)(x=1), nbtool.asyncify(m)(x=2))


ASYNC = {
    "acall": gathered,
    "asyncify": asyncified,
    "Parallel": lambda m: nbtool.Parallel().acall([(m, each) for each in EXAMPLES]),
}
MODULES = pytest.mark.parametrize("module", [AsyncOnly, ForwardOnly])


@MODULES
@pytest.mark.parametrize("form", SYNC.values(), ids=SYNC)
def test_module_works_from_synchronous_code(module, form):
    assert form(module()) == [2, 4]


@MODULES
@pytest.mark.parametrize("form", SYNC.values(), ids=SYNC)
async def test_module_works_from_synchronous_code_on_a_running_loop(module, form):
    assert form(module()) == [2, 4]


@MODULES
@pytest.mark.parametrize("form", ASYNC.values(), ids=ASYNC)
async def test_module_works_from_asynchronous_code(module, form):
    assert list(await form(module())) == [2, 4]
