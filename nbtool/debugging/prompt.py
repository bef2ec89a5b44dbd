"""The debugger in a terminal: a small prompt whenever a chain is paused.

It is a client of `commands` and knows nothing more. It reads in a thread of its own, so the chain
goes on and Ctrl-C means what it always means.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO

from nbtool.debugging.commands import editable, obey, status
from nbtool.runtime import cells, waking

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from nbtool.debugging.session import Session

_LOOK_S = 0.2  # how often it looks whether the chain still waits
_SHOWN_CHARS = 2_000
_HELP = """\
l, list                who waits where         c, continue            let all branches run
i, inputs              what the step is given  s, step                to the next boundary
set NAME JSON          change an input         n, next                over the step
output JSON            change an output        o, out                 to the end of the outer step
skip JSON              return this instead     r, retry               run a failed step again
raise                  let the error go        q, quit                stop the chain
A number behind a command names the step that it is for: s 12"""
_VERBS = {
    "c": "resume", "continue": "resume", "s": "step_into", "step": "step_into", "n": "step_over",
    "next": "step_over", "o": "step_out", "out": "step_out", "r": "retry", "retry": "retry",
    "raise": "raise", "q": "stop", "quit": "stop",
}  # fmt: skip


def is_wanted() -> bool:
    """Tell whether somebody sits at a terminal who can be asked."""
    if cells.in_kernel() or os.environ.get("NBTOOL_PROMPT", "1") in {"", "0"}:
        return False
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        return False  # which reads the terminal itself
    return bool(sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty())


def attend(session: Session[Any], loop: asyncio.AbstractEventLoop | None) -> None:
    """Ask at the terminal whenever a chain is paused, until it has ended.

    Args:
        session: The chain's debugger.
        loop: The loop that runs in this thread, if any. With a second thread at work, Ctrl-C often
            strikes while it falls asleep, and has to wake it.
    """
    prompt = Prompt(session, sys.stdout, _lines_of_stdin)
    if loop is not None:
        woken = waking.WokenBySignals(loop)
        woken.__enter__()
        prompt.when_over = lambda: loop.call_soon_threadsafe(woken.__exit__)
    prompt.start()


class Prompt(threading.Thread):
    """Ask what to do with a chain that is paused.

    Args:
        session: The chain's debugger.
        out: Where to write.
        lines: Called with what to ask meanwhile; returns the next line, "" at the end of the
            input, or None where the chain went on before a line came.

    Attributes:
        when_over: Called in the end.
    """

    def __init__(
        self,
        session: Session[Any],
        out: TextIO,
        lines: Callable[[Callable[[], bool]], str | None],
    ) -> None:
        super().__init__(name="nbtool-prompt", daemon=True)
        self._session, self._out, self._lines = session, out, lines
        self._changed = threading.Event()
        self._told: list[int] = []
        self.when_over: Callable[[], object] = bool

    def run(self) -> None:
        """Ask until the chain has ended."""
        end = self._session.listen(self._changed.set)
        try:
            while self._session.ending is None:
                if self._session.state == "paused":
                    self._ask()
                self._changed.wait(_LOOK_S)
                self._changed.clear()
        finally:
            end()
            with contextlib.suppress(RuntimeError):  # the loop was closed
                self.when_over()

    def _is_paused(self) -> bool:
        return self._session.state == "paused"

    def _ask(self) -> None:
        stops = [stop.number for stop in self._session.paused]
        if stops != self._told:
            self._told = stops
            self._list()
        self._write("(nbtool) ", end="")
        line = self._lines(self._is_paused)
        if line is None:
            self._write("")
        elif line == "":
            self._write("quit")
            obey(self._session, {"verb": "stop"})
        else:
            self._do(line.strip())

    def _do(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word in ("", "h", "help", "?"):
            self._write(_HELP)
        elif word in ("l", "list"):
            self._list()
        elif word in ("i", "inputs"):
            self._show(rest)
        else:
            message = self._message(word, rest.strip())
            answer = obey(self._session, message)
            if answer["note"]:
                self._write(answer["note"])

    def _message(self, word: str, rest: str) -> dict[str, Any]:
        if word == "set":
            name, _, value = rest.partition(" ")
            return {"verb": "edit_inputs", "inputs": f"{{{json.dumps(name)}: {value}}}"}
        if word in ("output", "skip"):
            return {"verb": "edit_output" if word == "output" else "skip", "output": rest}
        step = int(rest) if rest.isdecimal() else (rest or None)
        return {"verb": _VERBS.get(word, word), "step": step}

    def _list(self) -> None:
        for stop in status(self._session)["paused"]:
            what = f"{stop['place']} {stop['kind']} {stop['name']}"
            said = " · ".join(filter(None, [stop["error"], stop["note"]]))
            self._write(f"[{stop['step']}] {what}{f': {said}' if said else ''}")

    def _show(self, rest: str) -> None:
        stops = self._session.paused
        wanted = [s.span.id for s in stops if not rest.strip() or str(s.span.id) == rest.strip()]
        shown = editable(self._session, wanted[0]) if wanted else {}
        for name, value in shown.get("values", {}).items():
            fixed = "  (cannot be set here)" if name in shown["fixed"] else ""
            self._write(f"{name} = {json.dumps(value, ensure_ascii=False)[:_SHOWN_CHARS]}{fixed}")

    def _write(self, text: str, end: str = "\n") -> None:
        # What a model wrote must not move the cursor or ring the bell.
        safe = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
        self._out.write(safe + end)
        self._out.flush()


def _lines_of_stdin(still: Callable[[], bool]) -> str | None:
    """Read a line without holding Python's lock on stdin, which would hang at exit."""
    number = sys.stdin.fileno()
    line = b""
    while still():
        if select.select([number], [], [], _LOOK_S)[0]:
            read = os.read(number, 1)
            line += read
            if read in (b"", b"\n"):
                return line.decode(errors="replace")
    return None
