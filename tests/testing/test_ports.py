"""Addresses that nobody answers at."""

from __future__ import annotations

import aiohttp
import pytest

from nbtool.testing.ports import DeadPort


@pytest.fixture
async def client():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_connect=0.2)) as session:
        yield session


async def test_port_that_refuses_ends_the_attempt_at_once(client):
    with DeadPort(refuses=True) as port, pytest.raises(aiohttp.ClientConnectorError):
        await client.get(port.base_url)


async def test_silent_port_lets_the_connect_timeout_end_the_attempt(client):
    with DeadPort() as port, pytest.raises(aiohttp.ConnectionTimeoutError):
        await client.get(port.base_url)
