# pyright: reportUnknownMemberType=false
# ^ jupyter_client's signatures name bare dicts; what comes from it gets its type here.
"""The sockets between a test and a kernel, without an event loop.

Jupyter's own clients are async inside, also the blocking one: they would bring a second loop, or
a thread, into tests whose subject is event loops. Here are its message format and its
connection files on plain sockets.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from nbtool.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbtool.testing.cells import Message

Channel: TypeAlias = Literal["shell", "control", "iopub", "stdin"]

_CHANNELS: tuple[Channel, ...] = ("iopub", "shell", "control", "stdin")


class Channels:
    """Write a connection file and talk to the kernel that reads it.

    Args:
        directory: Where the file goes, and on POSIX the sockets; its path must be short, as
            the system limits the path of a socket to about 100 characters.

    Attributes:
        connection_file: The file to give to the kernel.

    Raises:
        MissingExtraError: jupyter_client is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            import zmq
            from jupyter_client.connect import write_connection_file
            from jupyter_client.session import Session
        except ImportError as exc:
            raise MissingExtraError(
                f"Talking to a kernel needs jupyter_client: {exc}.",
                hint="pip install jupyter-client",
            ) from exc
        key = uuid.uuid4().hex.encode()
        # Files as sockets: a free TCP port could be taken by somebody else before the kernel
        # binds it.
        by_file = os.name == "posix"
        path, told = write_connection_file(
            str(directory / "connection.json"),
            transport="ipc" if by_file else "tcp",
            ip=str(directory / "socket") if by_file else "127.0.0.1",
            key=key,
        )
        self.connection_file = path
        self._session = Session(key=key, username="test")
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._sockets: dict[Channel, zmq.Socket[bytes]] = {}
        ports = cast("dict[str, Any]", told)
        for channel in _CHANNELS:
            kind = zmq.SUB if channel == "iopub" else zmq.DEALER
            connection = self._context.socket(kind)
            connection.linger = 0
            # One name on all channels: a kernel asks for input whoever sent the cell, by its name.
            connection.identity = self._session.bsession
            connection.rcvhwm = 0  # what a test asserts on must not be dropped
            if channel == "stdin":
                self._handshake = connection.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            separator = "ipc://{ip}-{port}" if by_file else "tcp://{ip}:{port}"
            connection.connect(separator.format(ip=ports["ip"], port=ports[f"{channel}_port"]))
            self._poller.register(connection, zmq.POLLIN)
            self._sockets[channel] = connection
        self._sockets["iopub"].subscribe(b"")

    def can_be_asked(self, timeout_s: float) -> bool:
        """Wait until the kernel can ask for input: a question before that is lost.

        Args:
            timeout_s: How long to wait at most, in seconds.
        """
        return bool(self._handshake.poll(round(timeout_s * 1_000)))

    def send(
        self,
        msg_type: str,
        content: dict[str, Any],
        *,
        channel: Channel = "shell",
        header: dict[str, Any] | None = None,
    ) -> str:
        """Send one message.

        Args:
            msg_type: As Jupyter's protocol names it, e.g. ``"comm_msg"``.
            content: The content that goes with that type.
            channel: ``"shell"``, ``"control"`` or ``"stdin"``.
            header: Further fields of the header, e.g. a ``subshell_id``.

        Returns:
            The message's id: replies and outputs name it as their parent.
        """
        message: Message = self._session.msg(msg_type, content)
        message["header"].update(header or {})
        self._session.send(self._sockets[channel], message)
        return message["header"]["msg_id"]

    def receive(self, timeout_s: float) -> Iterator[tuple[Channel, Message]]:
        """Yield the messages that are there.

        Args:
            timeout_s: How long to wait for the first one, in seconds.

        Yields:
            Channel and message; of each channel in the order in which it was sent.
        """
        self._poller.poll(round(timeout_s * 1_000))
        for channel, connection in self._sockets.items():
            while True:
                _, message = self._session.recv(connection)
                if message is None:
                    break
                yield channel, message

    def close(self) -> None:
        """Close the sockets."""
        self._context.destroy(linger=0)
