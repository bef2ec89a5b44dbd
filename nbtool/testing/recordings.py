"""`replayed`: tests of LM programs that need no key, no network and no luck."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nbtool.debugging.replaying import Replay, trace_of
from nbtool.debugging.session import Session
from nbtool.errors import NbtoolError, RecordingError, ReplayMismatchError
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder
from nbtool.tracing.tree import Trace

if TYPE_CHECKING:
    from collections.abc import Generator

    from nbtool.tracing.span import Span

_SHOWN = 5
_guards: list[list[str]] = []
_has_hook = False


class _Replaying:
    """Let every root call that opens be served from one recording; an instrument."""

    def __init__(self, source: Replay) -> None:
        self._source = source

    def opened(self, span: Span) -> None:
        if span.parent is None and span.run.gate is None:
            session: Session[Any] = Session(on_error=False, source=self._source)
            session.attach(span.run)
            session.opened(span)  # whoever tells of this span has not heard of it yet

    def closed(self, span: Span) -> None: ...


@contextlib.contextmanager
def replayed(path: str | os.PathLike[str], *, record: bool | None = None) -> Generator[Trace]:
    """Serve the calls inside from a recording, and fail on anything else.

    With ``NBTOOL_RECORD=1`` in the environment the calls run for real and are recorded anew.

    Args:
        path: The recording, JSON lines.
        record: Whether to record; by default what the environment says.

    Yields:
        The trace of the calls inside.

    Raises:
        RecordingError: There is no recording yet, or it cannot be read.
        ReplayMismatchError: A call asked for what was not recorded, also where the program has
            caught that error.
        NbtoolError: Something opened a connection.

    Example:
        A fixture of pytest::

            @pytest.fixture
            def recording():
                with nbtool.testing.replayed("tests/capital.jsonl") as trace:
                    yield trace

            def test_capital(recording):
                assert qa(question="Capital of France?").answer == "Paris"
    """
    recorder = Recorder()
    trace = Trace(recorder.records)
    if record if record is not None else os.environ.get("NBTOOL_RECORD", "0") not in {"", "0"}:
        with watching(recorder):
            yield trace
        trace.save(path)
        return
    if not Path(path).exists():
        raise RecordingError(
            f"There is no recording {os.fspath(path)!r}.",
            hint="Run the test once with NBTOOL_RECORD=1 in the environment.",
        )
    source = Replay(trace_of(path).spans)
    with _without_connections() as opened, watching(recorder), watching(_Replaying(source)):
        yield trace
    if source.mismatches:
        raise ReplayMismatchError(
            "\n".join(source.mismatches[:_SHOWN]),
            hint="Record anew with NBTOOL_RECORD=1, if the program was meant to change.",
        )
    if opened:
        raise _connected(opened)


def _connected(opened: list[str]) -> NbtoolError:
    return NbtoolError(
        f"A connection was opened while a recording was replayed: {', '.join(opened[:_SHOWN])}.",
        hint="Everything that asks the network must be an LM or a tool.",
    )


@contextlib.contextmanager
def _without_connections() -> Generator[list[str]]:
    """Refuse connections of this process to the network, and note them."""
    global _has_hook  # noqa: PLW0603 - Python cannot take an audit hook back
    if not _has_hook:
        sys.addaudithook(_on_event)
        _has_hook = True
    opened: list[str] = []
    _guards.append(opened)
    try:
        yield opened
    finally:
        _guards.remove(opened)


def _on_event(event: str, args: tuple[Any, ...]) -> None:
    if not _guards or event not in ("socket.connect", "socket.getaddrinfo"):
        return
    where: Any = args[0] if event == "socket.getaddrinfo" else args[1]
    if event == "socket.connect" and not isinstance(where, tuple):
        return  # a socket of this machine's own, such as a loop's
    said = str(cast("object", where))
    for opened in _guards:
        opened.append(said)
    raise _connected([said])
