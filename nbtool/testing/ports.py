"""An address that no connection can be made to."""

from __future__ import annotations

import socket
from typing import Self

HOST = "127.0.0.1"

_FULL_AFTER_S = 0.05
_MOST_FILLERS = 8


class DeadPort:
    """Hold a loopback port at which connecting fails, in the way that a test needs.

    Args:
        refuses: True refuses connections at once; False never answers, so that the client's
            connect timeout has to end it.

    Example:
        >>> with DeadPort(refuses=True) as port:
        ...     port.base_url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(self, *, refuses: bool = False) -> None:
        self._refuses = refuses
        self._port = 0
        self._sockets: list[socket.socket] = []

    @property
    def base_url(self) -> str:
        """Return the address that clients call ``api_base`` or ``base_url``."""
        return f"http://{HOST}:{self._port}/v1"

    def __enter__(self) -> Self:
        bound = socket.socket()
        self._sockets.append(bound)
        bound.bind((HOST, 0))
        self._port = bound.getsockname()[1]
        if not self._refuses:
            bound.listen(0)
            self._fill_queue()
        return self

    def __exit__(self, *exc: object) -> None:
        while self._sockets:
            self._sockets.pop().close()

    def _fill_queue(self) -> None:
        # Nobody accepts here: once the queue is full, the system drops what else knocks.
        for _ in range(_MOST_FILLERS):
            filler = socket.socket()
            self._sockets.append(filler)
            filler.settimeout(_FULL_AFTER_S)
            try:
                filler.connect((HOST, self._port))
            except TimeoutError:
                return
