"""The socket of a scripted server: connections are counted, numbered, cut and all closed."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from nbtool.testing.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_BACKLOG = 1024
_LONGEST_EXIT_S = 5.0
# A reset may overtake bytes that the client has not read yet, so they get a head start.
_BEFORE_RESET_S = 0.02
# struct linger: on, zero seconds. Closing such a socket sends RST in place of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Gauge:
    """Count what is going on now, and the most there ever was."""

    now: int = 0
    peak: int = 0

    def up(self) -> None:
        """Count one more."""
        self.now += 1
        self.peak = max(self.peak, self.now)

    def down(self) -> None:
        """Count one less."""
        self.now -= 1


class Listener(web.Server):
    """Accept connections on a free loopback port, and close each at the end.

    Args:
        serve: Answers one request; it is cancelled when its client hangs up.
        connections: Counts the connections.
    """

    def __init__(self, serve: Serve, connections: Gauge) -> None:
        # aiohttp lets a handler run on after its client is gone, unless told otherwise.
        super().__init__(serve, handler_cancellation=True, access_log=None)
        self._gauge = connections
        self._made = 0
        self._open: dict[web.RequestHandler, tuple[int, asyncio.Transport]] = {}
        self._socket: asyncio.Server | None = None

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Number a new connection; aiohttp calls this."""
        self._made += 1
        self._open[handler] = self._made, transport
        self._gauge.up()
        super().connection_made(handler, transport)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection; aiohttp calls this."""
        super().connection_lost(handler, exc)
        del self._open[handler]
        self._gauge.down()

    def number_of(self, handler: web.RequestHandler) -> int:
        """Return a connection's number, from 1; 0 when it is closed already."""
        number, _ = self._open.get(handler, (0, None))
        return number

    async def listen(self) -> int:
        """Start to accept connections.

        Returns:
            The port.
        """
        loop = asyncio.get_running_loop()
        self._socket = await loop.create_server(self, HOST, 0, backlog=_BACKLOG)
        return self._socket.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, cut every connection and wait until their tasks have ended.

        Raises:
            TimeoutError: A `serve` call did not end although it was cancelled.
        """
        if self._socket is None:
            return
        self._socket.close()
        async with asyncio.timeout(_LONGEST_EXIT_S):
            # More than once: a connection may be accepted, and not be made yet.
            await asyncio.sleep(0)
            while self._open or self.connections:
                for _, transport in self._open.values():
                    transport.abort()
                await asyncio.sleep(0)
            await self._socket.wait_closed()


async def cut(http: web.BaseRequest, *, reset: bool) -> None:
    """Break the connection of a request.

    Args:
        http: The request.
        reset: Break it as a crash does; else close it in order.
    """
    transport = http.transport
    if transport is None:
        return
    if not reset:
        transport.close()
        return
    await asyncio.sleep(_BEFORE_RESET_S)
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
