"""A real Jupyter kernel under a test's control."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nbtool.errors import NbtoolError
from nbtool.testing.cells import CellResult, Cells
from nbtool.testing.channels import Channels
from nbtool.testing.launch import launch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbtool.testing.cells import Message
    from nbtool.testing.channels import Channel

_POLL_S = 0.05
_SUBSCRIBED_S = 1.0
# After an error ipykernel refuses what is queued, by default for 0 to 0.1 s.
_ABORTING_S = 0.05
_LOG_SHOWN_CHARS = 2_000


class Kernel:
    """Start an ipykernel, run cells in it and read everything it says.

    All methods block; an async test calls them by `asyncio.to_thread`. The kernel sees neither
    the user's Jupyter and IPython settings nor any API key. Interrupts need POSIX.

    Args:
        python: Interpreter of an environment that has ipykernel, 6.17 or newer.
        import_from: Folders from which the kernel may import besides its own environment.
        env: Variables to set for the kernel; they win over all others.
        arguments: Further arguments of ipykernel's command line.

    Attributes:
        messages: Every message from the kernel, all channels, in the order of arrival.

    Example:
        >>> with Kernel() as kernel:  # doctest: +SKIP
        ...     kernel.run("1 + 1").result_text
        '2'
    """

    def __init__(
        self,
        python: str | Path = sys.executable,
        *,
        import_from: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.messages: list[Message] = []
        self._python = str(python)
        self._import_from = import_from
        self._env = dict(env or {})
        self._arguments = arguments
        self._cells = Cells()
        self._replies: dict[str, Message] = {}
        self._answers: dict[str, deque[str]] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="kernel-")
        self._starts = 0
        self._channels: Channels | None = None
        self._program: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Tell whether the kernel's program runs."""
        return self._program is not None and self._program.poll() is None

    @property
    def pid(self) -> int | None:
        """Return the id of the kernel's program, None before its start."""
        return None if self._program is None else self._program.pid

    @property
    def log(self) -> str:
        """Return all that went to the kernel's stderr, of all starts.

        First what its program wrote itself, then what it published as the stderr of cells: in
        a kernel loggers and asyncio's complaints go that way, often long after their cell.
        """
        self._take_in(0.0)
        written = self._log_file.read_text("utf-8", "replace") if self._log_file.exists() else ""
        streams = [m["content"] for m in self.messages if m["header"]["msg_type"] == "stream"]
        return written + "".join(s["text"] for s in streams if s["name"] == "stderr")

    @property
    def _place(self) -> Path:
        return Path(self._directory.name)

    @property
    def _log_file(self) -> Path:
        return self._place / "log.txt"

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:  # also a Ctrl-C while it starts: no program may be left behind
            self.__exit__()
            raise

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self._directory.cleanup()

    def start(self, *, timeout_s: float = 60.0) -> Self:
        """Start the kernel's program and wait until it can run cells.

        Args:
            timeout_s: Longest wait, in seconds.

        Raises:
            NbtoolError: It ended at once; the message has its log.
            TimeoutError: It did not answer in time.
        """
        self._starts += 1
        place = self._place / str(self._starts)
        place.mkdir()
        self._channels = Channels(place)
        module = ("-m", "ipykernel_launcher", "-f", self._channels.connection_file)
        self._program = launch(
            [self._python, *module, *self._arguments],
            place=place,
            log_file=self._log_file,
            env={"PYTHONPATH": os.pathsep.join(map(str, self._import_from)), **self._env},
        )
        self._greet(time.monotonic() + timeout_s)
        return self

    def run(self, code: str, *, timeout_s: float = 30.0, answers: Sequence[str] = ()) -> CellResult:
        """Run one cell to its end.

        A cell that the kernel refuses because the one before it failed is sent again.

        Args:
            code: Source of the cell.
            timeout_s: Longest wait, in seconds.
            answers: What to type when it asks for input, in this order.

        Returns:
            Its outputs; an error in the cell is one of them.

        Raises:
            NbtoolError: The kernel died.
            TimeoutError: The cell did not end in time; it still runs.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            submitted = self.submit(code, answers=answers)
            cell = self.wait_for(submitted, timeout_s=deadline_s - time.monotonic())
            if cell.status != "aborted":
                return cell
            time.sleep(_ABORTING_S)

    def submit(self, code: str, *, stop_on_error: bool = True, answers: Sequence[str] = ()) -> str:
        """Send one cell and return at once, as Run All does.

        Args:
            code: Source of the cell.
            stop_on_error: An error in it makes the kernel refuse the cells queued behind it.
            answers: What to type when it asks for input, in this order; then nothing.

        Returns:
            Id of the request, for `wait_for` and `outputs_of`.
        """
        content: dict[str, Any] = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": bool(answers),
            "stop_on_error": stop_on_error,
        }
        msg_id = self.send("execute_request", content)
        self._cells.of(msg_id).code = code
        self._answers[msg_id] = deque(answers)
        return msg_id

    def wait_for(self, msg_id: str, *, timeout_s: float = 30.0) -> CellResult:
        """Wait until a submitted cell has ended.

        Args:
            msg_id: What `submit` returned.
            timeout_s: Longest wait, in seconds.

        Returns:
            Its outputs.

        Raises:
            NbtoolError: The kernel died.
            TimeoutError: The cell did not end in time.
        """
        cell = self._cells.of(msg_id)
        self.wait_until(lambda: cell.ended, timeout_s=timeout_s, waiting_for=f"the end of {cell!r}")
        return cell

    def outputs_of(self, msg_id: str) -> CellResult:
        """Return what a cell put out so far, also after its end.

        Args:
            msg_id: Id of its request.

        Returns:
            The same object as `run` or `wait_for` returned; it grows.
        """
        self._take_in(0.0)
        return self._cells.of(msg_id)

    def wait_until(
        self,
        condition: Callable[[], object],
        *,
        timeout_s: float = 30.0,
        waiting_for: str = "a condition",
    ) -> None:
        """Take in the kernel's messages until something is true.

        Args:
            condition: Looked at after each batch of messages.
            timeout_s: Longest wait, in seconds.
            waiting_for: What to call it in the error.

        Raises:
            NbtoolError: The kernel died.
            TimeoutError: It did not become true in time.
        """
        deadline_s = time.monotonic() + timeout_s
        self._take_in(0.0)
        while not condition():
            alive = self.alive
            self._take_in(_POLL_S)
            if condition():
                return
            if not alive:
                raise NbtoolError(
                    f"The kernel died while the test waited for {waiting_for}.",
                    hint=f"Its log ends with:\n{self.log[-_LOG_SHOWN_CHARS:]}",
                )
            if time.monotonic() >= deadline_s:
                raise TimeoutError(
                    f"Waited {timeout_s:.1f} s for {waiting_for}. The kernel's log ends with:\n"
                    f"{self.log[-_LOG_SHOWN_CHARS:]}"
                )

    def send(
        self,
        msg_type: str,
        content: dict[str, Any],
        *,
        channel: Channel = "shell",
        header: dict[str, Any] | None = None,
    ) -> str:
        """Send any message, as a front end does for a click on a widget.

        Args:
            msg_type: As Jupyter's protocol names it, e.g. ``"comm_msg"``.
            content: The content that goes with that type.
            channel: ``"shell"`` or ``"control"``.
            header: Further fields of the header, e.g. a ``subshell_id``.

        Returns:
            The message's id.

        Raises:
            NbtoolError: The kernel was not started.
        """
        return self._connected.send(msg_type, content, channel=channel, header=header)

    def reply_to(self, msg_id: str, *, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait for the reply to a message.

        Args:
            msg_id: What `send` returned.
            timeout_s: Longest wait, in seconds.

        Returns:
            The reply's content.

        Raises:
            NbtoolError: The kernel died.
            TimeoutError: No reply came in time.
        """
        self.wait_until(
            lambda: msg_id in self._replies,
            timeout_s=timeout_s,
            waiting_for=f"the reply to message {msg_id!r}",
        )
        return self._replies[msg_id]["content"]

    def interrupt(self) -> None:
        """Interrupt the kernel as the front end's stop button does."""
        if self._program is not None and self.alive:
            os.killpg(self._program.pid, signal.SIGINT)

    def restart(self, *, timeout_s: float = 60.0) -> bool:
        """End the kernel and start it afresh; outputs so far can still be read.

        Args:
            timeout_s: Longest wait for the new one, in seconds.

        Returns:
            Whether the old one ended by itself.

        Raises:
            NbtoolError: The new one ended at once.
            TimeoutError: The new one did not answer in time.
        """
        ended = self.shutdown()
        self.start(timeout_s=timeout_s)
        return ended

    def shutdown(self, *, timeout_s: float = 5.0) -> bool:
        """Ask the kernel to end, and kill it if it does not.

        Args:
            timeout_s: How long it may take, in seconds.

        Returns:
            Whether it ended by itself.
        """
        program, channels = self._program, self._channels
        if program is None or channels is None:
            return True
        try:
            channels.send("shutdown_request", {"restart": False}, channel="control")
            program.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
            return False
        else:
            return True
        finally:
            self._take_in(0.0)
            channels.close()
            self._channels = None

    @property
    def _connected(self) -> Channels:
        if self._channels is None:
            raise NbtoolError(
                "The kernel does not run: it was not started, or it was shut down.",
                hint="Use it in `with Kernel(...) as kernel:`, or call `start()`.",
            )
        return self._channels

    def _greet(self, deadline_s: float) -> None:
        # A subscription takes effect some time after it is asked for; outputs published before
        # that are lost. So ask until the answer comes on both channels.
        while self.alive and time.monotonic() < deadline_s:
            if self._connected.can_be_asked(_POLL_S):
                break
        while True:
            cell = self._cells.of(self.send("kernel_info_request", {}))
            left_s = min(_SUBSCRIBED_S, deadline_s - time.monotonic())
            try:
                self.wait_until(
                    lambda cell=cell: cell.idle and cell.msg_id in self._replies,
                    timeout_s=left_s,
                    waiting_for=f"a kernel of {self._python!r} to start",
                )
            except TimeoutError:
                if time.monotonic() >= deadline_s:
                    raise
            else:
                return

    def _take_in(self, timeout_s: float) -> None:
        if self._channels is None:
            return
        for channel, message in self._channels.receive(timeout_s):
            self.messages.append(message)
            if channel == "iopub":
                self._cells.add_output(message)
            elif channel == "stdin":
                waiting = self._answers[message["parent_header"]["msg_id"]]
                answer = waiting.popleft() if waiting else ""
                self._channels.send("input_reply", {"value": answer}, channel="stdin")
            else:
                self._replies[message["parent_header"]["msg_id"]] = message
                self._cells.add_reply(message)
