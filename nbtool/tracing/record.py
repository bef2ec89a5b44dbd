"""`SpanRecord`: what is kept of a step, and the only form in which it leaves the recorder.

The values are held as snapshots; every public way to them scrubs secrets first.
"""

from __future__ import annotations

import dataclasses
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nbtool.errors import NbtoolError
from nbtool.tracing.checks import check_record
from nbtool.tracing.fingerprints import PROCESS_SALT, fingerprint, request_of
from nbtool.tracing.scrub import known_secrets, scrub, scrub_text
from nbtool.tracing.snapshot import (
    Meter,
    Opaque,
    ResultForm,
    packed,
    plain,
    short,
    snapshot,
    unpacked,
)
from nbtool.tracing.span import Kind, Span, Status, unix_time_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_TRACEBACK_FRAMES = 20
_RECORD_BYTES = 600  # an empty record with its slots, measured by tracemalloc

# `dict[str, Any]` takes three times as long to call.
_empty = cast("Callable[[], dict[str, Any]]", dict)

_remembered: set[str] = set()
_SECRET_CHARS = 12  # shorter ones, and plain words, would blank ordinary text


def remember_secret(value: object) -> None:
    """Hide an exact text wherever it turns up in a trace, such as the key of an LM.

    Args:
        value: The text; anything else, and texts below 12 characters, are ignored.
    """
    if isinstance(value, str) and len(value) >= _SECRET_CHARS and not value.isalpha():
        _remembered.add(value)


def secrets_in_use() -> tuple[str, ...]:
    """Return the exact texts to hide: keys in the environment, remembered ones."""
    global _found  # noqa: PLW0603 - read for each value that is shown, and it seldom changes
    # As the bytes that it holds: to read it by names costs a hundred times what this does.
    raw = getattr(os.environ, "_data", None)
    environ, count, secrets = _found
    if raw is None or raw != environ or count != len(_remembered):
        found = {*known_secrets(os.environ), *_remembered}
        secrets = tuple(sorted(found, key=len, reverse=True))
        _found = dict(raw or {}), len(_remembered), secrets
    return secrets


_found: tuple[dict[Any, Any], int, tuple[str, ...]] = ({}, -1, ())


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorRecord:
    """What is kept of an exception.

    Attributes:
        type: Class name, with its module unless that is builtins.
        message: ``str`` of the exception, scrubbed.
        traceback: Frames of user code, innermost last, scrubbed; empty where an inner step has it.
        code: The stable code of an error of ours.
    """

    type: str
    message: str
    traceback: str = ""
    code: str | None = None

    @classmethod
    def of(cls, error: BaseException, span_id: int) -> ErrorRecord:
        """Take what is worth keeping, without keeping frames alive."""
        kind = type(error)
        name = kind.__qualname__
        if kind.__module__ != "builtins":
            name = f"{kind.__module__}.{name}"
        secrets = secrets_in_use()
        text = ""
        # Inner steps open later and close earlier. An exception object that is raised once more
        # by a later step was not seen inside that step.
        if _last_seen_by(error) <= span_id:
            _mark_seen(error, span_id)
            text = scrub_text(_user_traceback(error.__traceback__), secrets=secrets)
        return cls(name, scrub_text(text_of_error(error), secrets=secrets), text, _code_of(error))


def text_of_error(error: BaseException) -> str:
    """Return the text of an error; what its ``__str__`` raises is said instead."""
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - a user's __str__ may do anything
        return f"<its __str__ raised {type(failure).__name__}>"


def _code_of(error: BaseException) -> str | None:
    # Of ours only: the code of a SystemExit, for one, is a text of the user's.
    return error.code if issubclass(type(error), NbtoolError) else None  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType] # `error` may lie about its class, so isinstance does not do


def _last_seen_by(error: BaseException) -> int:
    try:
        seen = getattr(error, "__nbtool_span__", 0)
    except Exception:  # noqa: BLE001 - a user's attribute access may do anything
        return 0
    return seen if isinstance(seen, int) else 0


def _mark_seen(error: BaseException, span_id: int) -> None:
    try:
        error.__nbtool_span__ = span_id  # type: ignore[attr-defined] # one attribute of ours
    except Exception:  # noqa: BLE001 - slots, frozen, …: each step then shows the traceback
        return


def _user_traceback(where: TracebackType | None) -> str:
    frames = traceback.extract_tb(where)
    users = [frame for frame in frames if not frame.filename.startswith(_PACKAGE)]
    return "".join(traceback.format_list(users[-_TRACEBACK_FRAMES:]))


@dataclasses.dataclass(slots=True, kw_only=True)
class SpanRecord:
    """One recorded step; read-only for its users.

    Attributes:
        id: Unique in the process that recorded it, in the order of opening.
        parent_id: Id of the step that this one is part of; None for a root.
        kind: What sort of step it is.
        name: Whose step it is.
        start_s: Seconds since 1970.
        end_s: The same; None while the step runs.
        status: ``"running"``, ``"ok"``, ``"error"`` or ``"cancelled"``.
        error: What was raised, scrubbed.
        usage: Token counts as the provider names them.
        cost_usd: Price of this step's own request; None where unknown.
        size_bytes: Roughly what the record takes in memory.
        grown_bytes: How much of that came when the step ended.
    """

    id: int
    parent_id: int | None
    kind: Kind
    name: str
    start_s: float
    end_s: float | None = None
    status: Status = "running"
    error: ErrorRecord | None = None
    usage: dict[str, int] = dataclasses.field(default_factory=_empty)
    cost_usd: float | None = None
    size_bytes: int = _RECORD_BYTES
    grown_bytes: int = 0
    _inputs: Any = dataclasses.field(default_factory=_empty, repr=False)  # see `packed`
    _output: Any = dataclasses.field(default=None, repr=False)
    _attributes: dict[str, Any] | None = dataclasses.field(default=None, repr=False)
    _arrived: list[str] | None = dataclasses.field(default=None, repr=False)
    _mark: str | None = dataclasses.field(default=None, repr=False)
    _form: ResultForm = dataclasses.field(default="json", repr=False)
    _was_scrubbed: bool = dataclasses.field(default=False, repr=False)

    @classmethod
    def opening(cls, span: Span) -> SpanRecord:
        """Record what is known when a step opens."""
        meter = Meter()
        keep = packed if span.kind == "lm" else snapshot
        inputs = keep(span.inputs, meter)
        parent = span.parent
        return cls(
            id=span.id,
            parent_id=parent.id if parent is not None else None,
            kind=span.kind,
            name=span.name,
            start_s=unix_time_s(span.start_s),
            size_bytes=_RECORD_BYTES + meter.bytes,
            _inputs=inputs,
        )

    def take_inputs(self, span: Span) -> None:
        """Record inputs that were replaced while the step was open."""
        keep = packed if span.kind == "lm" else snapshot
        self._inputs = keep(span.inputs, Meter())

    @property
    def held_inputs(self) -> dict[str, Any]:
        """Arguments by name, *not* scrubbed, for this process alone."""
        return unpacked(self._inputs)

    def close(self, span: Span) -> None:
        """Record what is known when the step has ended."""
        meter = Meter()
        keep = packed if span.kind == "lm" else snapshot
        self._output = keep(span.output, meter)
        self._form = meter.form if span.kind == "tool" else "json"
        if span.attributes:
            self._attributes = snapshot(span.attributes, meter)
        if span.usage:
            self.usage = {n: c for n, c in span.usage.items() if type(c) is int}
        self.cost_usd = span.cost_usd
        self._arrived = None
        if span.error is None:
            self.status = "ok"
        else:
            self.status = _status_of(span.error)
            self.error = ErrorRecord.of(span.error, span.id)
            meter.bytes += len(self.error.message) + len(self.error.traceback)
        self.grown_bytes = meter.bytes
        self.size_bytes += meter.bytes
        self.end_s = unix_time_s(span.end_s if span.end_s is not None else span.start_s)

    def show_arriving(self, pieces: list[str]) -> None:
        """Show an answer while it arrives; `pieces` goes on growing."""
        self._arrived = pieces

    def pieces_from(self, number: int) -> list[str]:
        """Return the pieces of an arriving answer from one on, as they came.

        They are not scrubbed: see `nbtool.tracing.arriving`.
        """
        return [] if self._arrived is None else self._arrived[number:]

    @property
    def inputs(self) -> dict[str, Any]:
        """Arguments by name, JSON-like, scrubbed."""
        return scrub(plain(unpacked(self._inputs)), secrets=secrets_in_use())

    @property
    def output(self) -> Any:
        """What the step returned, JSON-like, scrubbed."""
        return scrub(plain(unpacked(self._output)), secrets=secrets_in_use())

    def short_inputs(self, chars: int) -> dict[str, Any]:
        """Return the beginning of `inputs`, at most so many characters of each text."""
        return scrub(short(unpacked(self._inputs), chars), secrets=secrets_in_use())

    def short_output(self, chars: int) -> Any:
        """Return the beginning of `output`, at most so many characters of each text."""
        return scrub(short(unpacked(self._output), chars), secrets=secrets_in_use())

    def last_message(self, chars: int) -> Any:
        """Return the beginning of what an LM was asked last, a turn or a prompt."""
        inputs = unpacked(self._inputs)
        messages = inputs.get("messages")
        turns = cast("list[Any]", messages) if isinstance(messages, list) else []
        asked = turns[-1] if turns else None
        content: Any = asked
        if isinstance(asked, dict):
            content = cast("dict[str, Any]", asked).get("content")
        if content is None:
            content = inputs.get("prompt") or ""
        return scrub(short(content, chars), secrets=secrets_in_use())

    @property
    def attributes(self) -> dict[str, Any]:
        """Further facts by name, JSON-like, scrubbed."""
        if not self._attributes:
            return {}
        return scrub(plain(self._attributes), secrets=secrets_in_use())

    @property
    def has_attributes(self) -> bool:
        """Whether there are any `attributes`, which take time to scrub."""
        return bool(self._attributes)

    @property
    def arrived(self) -> str:
        """Text of the answer so far while an LM streams, scrubbed as a whole."""
        return scrub_text("".join(self._arrived or ()), secrets=secrets_in_use())

    @property
    def mark(self) -> str:
        """Fingerprint of what the step was asked, salted: equal for equal requests."""
        request = "" if self._mark else request_of(self.kind, self.name, self.held_inputs)
        return self._mark or fingerprint(request, PROCESS_SALT)

    @property
    def held_output(self) -> Any:
        """What the step returned, JSON-like, *not* scrubbed, for this process alone."""
        return plain(unpacked(self._output))

    @property
    def form(self) -> ResultForm:
        """What `output` is of a tool's result: itself, something made of it, or its repr."""
        return self._form

    @property
    def was_scrubbed(self) -> bool:
        """Whether a file that this was read from lacks secrets that were in the output."""
        return self._was_scrubbed

    @property
    def duration_s(self) -> float | None:
        """Seconds from opening to closing; None while it runs."""
        return None if self.end_s is None else self.end_s - self.start_s

    @property
    def is_opaque(self) -> bool:
        """Whether the output is an object without a JSON form."""
        return isinstance(self._output, Opaque)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-like values, scrubbed, without empty fields."""
        values: dict[str, Any] = {
            "id": self.id,
            "parent_id": self.parent_id,
            "kind": self.kind,
            "name": scrub_text(self.name, secrets=secrets_in_use()),
            "start_s": self.start_s,
            "end_s": self.end_s,
            "status": self.status,
            "inputs": self.inputs,
            "output": self.output,
            "error": dataclasses.asdict(self.error) if self.error else None,
            "usage": self.usage,
            "cost_usd": self.cost_usd,
            "attributes": self.attributes,
            "mark": self.mark,
            "form": self._form if self._form != "json" else None,
            "scrubbed": self._was_scrubbed or self.output != self.held_output or None,
        }
        return {
            name: value
            for name, value in values.items()
            if value is not None and (value != {} or name == "output")
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SpanRecord:
        """Rebuild a record; KeyError, TypeError or ValueError where it is none."""
        check_record(values)
        error = values.get("error")
        return cls(
            id=values["id"],
            parent_id=values.get("parent_id"),
            kind=values["kind"],
            name=values["name"],
            start_s=values["start_s"],
            end_s=values.get("end_s"),
            status=values["status"],
            error=ErrorRecord(**error) if error else None,
            usage=values.get("usage", {}),
            cost_usd=values.get("cost_usd"),
            _inputs=values.get("inputs", {}),
            _output=values.get("output"),
            _attributes=values.get("attributes", {}),
            _mark=values.get("mark"),
            _form=values.get("form", "json"),
            _was_scrubbed=bool(values.get("scrubbed")),
        )

    def __repr__(self) -> str:
        name = scrub_text(self.name, secrets=secrets_in_use())
        return f"<SpanRecord {self.id} {self.kind} {name!r} {self.status}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickle leaves the process, so it must be scrubbed like every export.
        return (SpanRecord.from_json, (self.to_json(),))


def _status_of(error: BaseException) -> Status:
    # Known by name: importing asyncio here would cost every `import nbtool` 40 ms.
    is_cancel = any(c.__name__ in ("CancelledError", "GeneratorExit") for c in type(error).__mro__)
    return "cancelled" if is_cancel else "error"
