"""Replay: the program runs again, and a recording stands in for its LMs and tools."""

from __future__ import annotations

import asyncio
import builtins
import dataclasses
import logging
import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, TypeAlias, cast

from nbtool import errors
from nbtool.debugging.attaching import debugged
from nbtool.debugging.breakpoints import as_breakpoints
from nbtool.debugging.edits import checked_inputs, checked_output
from nbtool.debugging.matching import Match, Recording, difference
from nbtool.debugging.session import Session
from nbtool.errors import DebugError, NbtoolError, ReplayMismatchError
from nbtool.tracing.record import secrets_in_use
from nbtool.tracing.snapshot import has_opaque, plain
from nbtool.tracing.tree import Trace

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from nbtool.debugging.breakpoints import Wanted
    from nbtool.tracing.record import ErrorRecord, SpanRecord
    from nbtool.tracing.span import Span

OnMismatch = Literal["error", "live"]
Recorded: TypeAlias = "Trace | str | os.PathLike[str]"
_SERVED = frozenset({"lm", "tool"})
_PIECES = re.compile(r"\S+\s*|\s+")
_UNSET: Any = object()
_log = logging.getLogger("nbtool")


class RecordedError(DebugError):
    """Be an error that a recording has and that is none of nbtool's.

    One of Python's own, such as KeyError, is that too, so that ``except`` clauses work.
    """

    code: ClassVar[str] = "recorded"


@dataclasses.dataclass(slots=True)
class Fork:
    """Say what is changed of a recorded run.

    Attributes:
        step: Id of the recorded step; it runs live.
        inputs: Inputs to replace, by name.
        output: What it returns instead of running.
    """

    step: int
    inputs: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    output: Any = _UNSET


class Replay:
    """Serve the steps of LMs and tools from a recording; the `Source` of a session.

    Args:
        records: The recorded steps.
        on_mismatch: What happens to a step that was recorded with another request, or not at
            all: ``"error"``, or run it ``"live"``.
        pace: How long a step takes, as a part of the recorded time; 0: it takes none.
        fork: What is changed.

    Attributes:
        mismatches: What did not fit, in words.
    """

    def __init__(
        self,
        records: Iterable[SpanRecord],
        *,
        on_mismatch: OnMismatch = "error",
        pace: float = 0.0,
        fork: Fork | None = None,
    ) -> None:
        if on_mismatch not in ("error", "live"):
            raise DebugError(f"on_mismatch={on_mismatch!r} is unknown.", hint='"error" or "live".')
        self.recording = Recording(list(records))
        self.mismatches: list[str] = []
        self._on_mismatch = on_mismatch
        self._pace = pace
        self._fork = fork
        self._matches: dict[int, Match] = {}

    async def entered(self, span: Span, fn: Callable[..., Any]) -> None:
        """Find out which recorded step a step stands for."""
        above = self._matches.get(span.parent.id) if span.parent is not None else None
        if above is not None and above.record is None:
            match = Match(None)
        else:
            match = self.recording.take(above.record.id if above and above.record else None, span)
        is_wrapper = span.parent is None and span.kind == "function" and match.record is None
        if not is_wrapper:  # of a coroutine: what is inside of it was recorded without
            self._matches[span.id] = match
        fork = self._fork
        if fork is not None and match.record is not None and match.record.id == fork.step:
            span.annotate(forked=True)
            if fork.inputs:
                span.inputs = checked_inputs(span, fn, fork.inputs)
                if span.record is not None:
                    span.record.take_inputs(span)

    async def served(self, span: Span, otherwise: Any, *, can_wait: bool) -> Any:
        """Return what was recorded of a step; `otherwise` where it has to run."""
        match = self._matches.get(span.id)
        fork = self._fork
        record = match.record if match is not None else None
        if fork is not None and record is not None and record.id == fork.step:
            unset = fork.output is _UNSET
            return otherwise if unset else checked_output(span, fork.output)
        if span.kind not in _SERVED:
            return otherwise
        fault = self._fault(span, match or Match(None))
        if fault:
            return self._mismatched(span, fault, otherwise)
        return await self._output_of(span, cast("SpanRecord", record), can_wait=can_wait)

    def _fault(self, span: Span, match: Match) -> str:
        record = match.record
        if record is None:
            return "it is not in the recording"
        if record.status not in ("ok", "error"):
            return f"the recording has no result of it: it was {record.status}"
        if not self.recording.is_same(match, span):
            return f"it is asked another thing:\n{difference(record, span, secrets_in_use())}"
        if record.form == "opaque" and record.status == "ok":
            return f"its result has no JSON form ({record.output!r:.100})"
        return ""

    def _mismatched(self, span: Span, fault: str, otherwise: Any) -> Any:
        said = f"{span.kind} {span.name!r} cannot be replayed: {fault}"
        self.mismatches.append(said)
        if self._on_mismatch == "live":
            span.annotate(live=True)
            return otherwise
        raise ReplayMismatchError(
            said,
            hint='on_mismatch="live" runs such steps; or record the program again.',
            span_id=span.id,
        )

    async def _output_of(self, span: Span, record: SpanRecord, *, can_wait: bool) -> Any:
        span.annotate(replayed=True, **{n: v for n, v in record.attributes.items() if n == "model"})
        span.usage = dict(record.usage) or None
        pause_s = (record.duration_s or 0.0) * self._pace if can_wait else 0.0
        await self._stream(span, record, pause_s)
        if record.error is not None:
            _raise_recorded(record.error)
        decode = getattr(span.subject, "__debug_decode__", None)
        value = record.held_output
        return decode(value) if decode is not None and record.form == "converted" else value

    async def _stream(self, span: Span, record: SpanRecord, pause_s: float) -> None:
        """Let the answer arrive piece by piece where somebody looks, in the recorded time."""
        outputs: Any = record.held_output if span.kind == "lm" else None
        first: Any = cast("list[Any]", outputs)[0] if isinstance(outputs, list) and outputs else ""
        text = first if isinstance(first, str) and span.run.wants_tokens else ""
        pieces = _PIECES.findall(text) or [""]
        for piece in pieces:
            if pause_s:
                await asyncio.sleep(pause_s / len(pieces))
            if piece:
                span.arrive(piece)


def _raise_recorded(recorded: ErrorRecord) -> NoReturn:
    package, _, name = recorded.type.rpartition(".")
    kind = getattr(errors, name, None) if package == errors.__name__ else None
    if isinstance(kind, type) and issubclass(kind, NbtoolError):
        error = kind.__new__(kind)
        NbtoolError.__init__(error, recorded.message)
        for attribute in ("model", "provider", "status", "request_id", "retry_after"):
            vars(error).setdefault(attribute, None)
        raise error
    raise _recorded_kind(package, name)(f"{recorded.type}: {recorded.message}")


def _recorded_kind(package: str, name: str) -> type[RecordedError]:
    """Return a RecordedError that is also Python's own error of that name, if there is one."""
    found = getattr(builtins, name, None) if not package else None
    if not isinstance(found, type) or not issubclass(found, Exception):
        return RecordedError
    try:
        return cast("type[RecordedError]", type("RecordedError", (RecordedError, found), {}))
    except TypeError:  # its layout cannot be combined
        return RecordedError


def trace_of(recorded: Recorded) -> Trace:
    """Return a trace, read from its file where a path is given.

    Raises:
        RecordingError: The file is damaged, or of another schema version.
    """
    return recorded if isinstance(recorded, Trace) else Trace.load(recorded)


def replay(
    program: Any,
    recording: Recorded,
    *,
    inputs: Mapping[str, Any] | None = None,
    on_mismatch: OnMismatch = "error",
    pace: float = 0.0,
    breakpoints: Iterable[Wanted] = (),
    on_error: bool = False,
) -> Session[Any]:
    """Run a program again, with LMs and tools served from a recording.

    The program's own code runs for real, so that breakpoints, edits and new prints work. No
    request is sent and no tool is called, but where `on_mismatch` lets them.

    Args:
        program: A module, predictor or tool; or a coroutine function.
        recording: A trace, such as ``nbtool.last_trace()``, or the path of one that was saved.
        inputs: Inputs of the program; those of the recording by default.
        on_mismatch: What happens to a request that was not recorded: it is an ``"error"`` that
            shows the difference, or it goes ``"live"``.
        pace: 1.0 takes the recorded times; 0 none.
        breakpoints: As for `nbtool.debug`.
        on_error: Stop where an error is raised, recorded ones included.

    Returns:
        A session, as of `nbtool.debug`: awaiting it gives the result.

    Raises:
        DebugError: The recording is of another program, or has nothing in it.
        RecordingError: The file cannot be read.
        ReplayMismatchError: On awaiting: a step was recorded with another request, or not at all.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> qa = nbtool.Predict("question -> answer")
        >>> with nbtool.context(lm=DummyLM([{"answer": "Paris"}])), nbtool.trace() as t:
        ...     qa(question="Capital of France?").answer
        'Paris'
        >>> with nbtool.context(lm=DummyLM([])):
        ...     nbtool.replay(qa, t).result().answer
        'Paris'
    """
    records = trace_of(recording).spans
    source = Replay(records, on_mismatch=on_mismatch, pace=pace)
    return _started(program, source, inputs, breakpoints, on_error=on_error)


def fork(
    program: Any,
    recording: Recorded,
    step: int | str | None = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    output: Any = _UNSET,
    breakpoints: Iterable[Wanted] = (),
    on_error: bool = True,
) -> Session[Any]:
    """Run a recorded program again with a change at one step, live from there.

    What the change does not touch asks the same as before, and is served from the recording.

    Args:
        program: As for `replay`.
        recording: As for `replay`.
        step: Id of the recorded step, or its name (the first one of that name). By default the
            step that failed, innermost; the program's first one where none did.
        inputs: Inputs of that step to replace, by name.
        output: What that step returns instead of running. Without `inputs` and `output` it only
            runs again.
        breakpoints: As for `nbtool.debug`.
        on_error: As for `nbtool.debug`.

    Returns:
        A session, as of `nbtool.debug`.

    Raises:
        DebugError: There is no such step, or the change does not fit it.
        RecordingError: The file cannot be read.
    """
    records = trace_of(recording).spans
    target = _step_of(records, step)
    root = {} if target.parent_id is not None else dict(inputs or {})
    change = Fork(target.id, dict(inputs or {}) if target.parent_id is not None else {}, output)
    source = Replay(records, on_mismatch="live", fork=change)
    given = {**_inputs_of(_root_of(source)), **root} if root else None
    return _started(program, source, given, breakpoints, on_error=on_error)


def _step_of(records: list[SpanRecord], step: int | str | None) -> SpanRecord:
    if step is None:
        failed = [record for record in records if record.status == "error"]
        found = [max(failed, key=lambda record: record.id)] if failed else records
    else:
        found = [record for record in records if step in (record.id, record.name)]
    if not found:
        names = sorted({record.name for record in records})
        raise DebugError(
            f"The recording has no step {step!r}.", hint=f"It has {', '.join(names) or 'none'}."
        )
    return found[0]


def _root_of(source: Replay) -> SpanRecord:
    if not source.recording.roots:
        raise DebugError("The recording has no steps.", hint="Record a call that has run.")
    return source.recording.roots[0]


def _started(
    program: Any,
    source: Replay,
    inputs: Mapping[str, Any] | None,
    breakpoints: Iterable[Wanted],
    *,
    on_error: bool,
) -> Session[Any]:
    root = _root_of(source)
    name = getattr(program, "span_name", None)
    if name is not None and (name != root.name or len(source.recording.roots) > 1):
        recorded = ", ".join(repr(each.name) for each in source.recording.roots)
        raise DebugError(
            f"The recording is of {recorded}, and the program is {name!r}.",
            hint="Replay one call of the same program: `call.trace`, or `nbtool.last_trace()`.",
        )
    if not callable(program):
        raise DebugError(f"{program!r} is no program.", hint="Pass a module or a function.")
    session: Session[Any] = Session(as_breakpoints(breakpoints), on_error=on_error, source=source)
    given = dict(inputs) if inputs is not None else ({} if name is None else _inputs_of(root))
    start: Any = getattr(program, "acall", program)
    return debugged(start(**given), session)


def _inputs_of(root: SpanRecord) -> dict[str, Any]:
    if has_opaque(root.held_inputs):
        raise DebugError(
            f"The recorded inputs of {root.name!r} have objects without a JSON form.",
            hint="Pass them: inputs={...}.",
        )
    return cast("dict[str, Any]", plain(root.held_inputs))
