"""What a kernel's cells put out, sorted by the cell that it belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Message: TypeAlias = dict[str, Any]
"""A message of Jupyter's protocol, parsed."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Status: TypeAlias = Literal["running", "ok", "error", "aborted"]


@dataclass(slots=True)
class Display:
    """Hold one rich output, as a front end shows it now.

    Attributes:
        data: The mimebundle.
        metadata: What came beside it.
        display_id: Name by which later messages replace it, or None.
        updates: How many times it was replaced.
    """

    data: dict[str, Any]
    metadata: dict[str, Any]
    display_id: str | None = None
    updates: int = 0

    @property
    def text(self) -> str:
        """Return the plain text, or an empty string."""
        return self.data.get("text/plain", "")


@dataclass(slots=True)
class CellResult:
    """Hold all that one cell put out, background tasks of it included.

    Attributes:
        msg_id: Id of the request that ran the cell.
        code: Source of the cell.
        status: ``"running"`` until the kernel replied.
        idle: The kernel said that it is done with the cell.
        stdout: All text written to it.
        stderr: All text written to it.
        result: The value of the last expression, or None.
        displays: Rich outputs in the order of their appearance.
        error_name: Class name of the exception, or empty.
        error_value: Its text.
        traceback: Its traceback as IPython formats it, without the colours.
        execution_count: Number of the cell, or None.
        messages: Everything on the IOPub channel that names this cell as its parent.
    """

    msg_id: str
    code: str = ""
    status: Status = "running"
    idle: bool = False
    stdout: str = ""
    stderr: str = ""
    result: Display | None = None
    displays: list[Display] = field(default_factory=list[Display])
    error_name: str = ""
    error_value: str = ""
    traceback: str = ""
    execution_count: int | None = None
    messages: list[Message] = field(default_factory=list[Message], repr=False)

    @property
    def ended(self) -> bool:
        """Tell whether the kernel replied and is done with the cell."""
        return self.idle and self.status != "running"

    @property
    def result_text(self) -> str | None:
        """Return the plain text of the last expression's value, None where there is none."""
        return None if self.result is None else self.result.text


class Cells:
    """Sort a kernel's messages by the request that caused them."""

    def __init__(self) -> None:
        self._results: dict[str, CellResult] = {}
        self._shown: dict[str, list[Display]] = {}

    def of(self, msg_id: str) -> CellResult:
        """Return the outputs of a request, the same object each time.

        Args:
            msg_id: Id of the request.

        Returns:
            What came so far.
        """
        return self._results.setdefault(msg_id, CellResult(msg_id))

    def add_reply(self, message: Message) -> None:
        """Take in a reply to a cell.

        Args:
            message: An ``execute_reply``; others are left alone.
        """
        if message["header"]["msg_type"] != "execute_reply":
            return
        content = message["content"]
        cell = self.of(message["parent_header"]["msg_id"])
        # Kernels of the 5.x protocol wrote "abort" before they wrote "aborted".
        cell.status = "aborted" if content["status"] == "abort" else content["status"]
        cell.execution_count = content.get("execution_count")
        _note_error(cell, content)

    def add_output(self, message: Message) -> None:
        """Take in a message of the IOPub channel.

        Args:
            message: Any; one without a parent belongs to no cell and is left alone.
        """
        parent = message["parent_header"].get("msg_id")
        if parent is None:
            return
        cell = self.of(parent)
        cell.messages.append(message)
        content = message["content"]
        match message["header"]["msg_type"]:
            case "stream" if content["name"] == "stdout":
                cell.stdout += content["text"]
            case "stream":
                cell.stderr += content["text"]
            case "execute_result":
                cell.result = self._show(content)
            case "display_data":
                cell.displays.append(self._show(content))
            case "update_display_data":
                self._replace(content)
            case "error":
                _note_error(cell, content)
            case "status":
                cell.idle = cell.idle or content["execution_state"] == "idle"
            case _:
                pass  # kept in `messages`

    def _show(self, content: dict[str, Any]) -> Display:
        name = content.get("transient", {}).get("display_id")
        display = Display(content["data"], content["metadata"], name)
        if name is not None:
            self._shown.setdefault(name, []).append(display)
        return display

    def _replace(self, content: dict[str, Any]) -> None:
        # As front ends do: wherever the display stands, also in the output of earlier cells.
        for display in self._shown.get(content["transient"]["display_id"], []):
            display.data = content["data"]
            display.metadata = content["metadata"]
            display.updates += 1


def _note_error(cell: CellResult, content: dict[str, Any]) -> None:
    if "ename" in content:
        cell.error_name = content["ename"]
        cell.error_value = content["evalue"]
        cell.traceback = _COLOUR.sub("", "\n".join(content["traceback"]))
