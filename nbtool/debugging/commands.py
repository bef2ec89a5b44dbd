"""A session in JSON, for those who show it: what it is, and what a person asks of it.

A client (the live view, a prompt) needs nothing else::

    session.listen(redraw)                       # the state may be another
    status(session)                              # what to draw
    editable(session, step)                      # what an editor starts with
    obey(session, {"verb": "retry", "step": 12})  # what a click means

All that comes out is scrubbed. What comes in may be anything: it is checked, and the answer says
what was wrong.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from nbtool.debugging.edits import from_json
from nbtool.errors import NbtoolError
from nbtool.runtime import detaching
from nbtool.tracing.record import secrets_in_use, text_of_error
from nbtool.tracing.scrub import scrub, scrub_text
from nbtool.tracing.snapshot import Meter, has_opaque, plain, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.debugging.session import Session
    from nbtool.debugging.stops import Stop

Message: TypeAlias = "dict[str, Any]"

_MAX_TEXT_CHARS = 10_000_000  # of an edit
_SHOWN_CHARS = 2_000
_STEPS = ("step_into", "step_over", "step_out", "resume")
_AT: dict[str, tuple[str, ...]] = {
    "before": (*_STEPS, "edit_inputs", "skip"),
    "after": (*_STEPS, "edit_output", "retry"),
    "failed": ("retry", "raise", "skip", "edit_inputs"),
    "inside": _STEPS,
}


def status(session: Session[Any]) -> Message:
    """Return what a session is doing, JSON-like and scrubbed.

    Returns:
        ``state``; ``paused``: for each branch that waits its ``step`` (id), ``kind``, ``name``,
        ``place``, ``reason``, ``note``, ``error``, ``waits_s``, the ``verbs`` that mean something
        for it, and ``repeats``, what a retry would run ``again`` and what would be ``served``;
        ``in_flight``: ``step`` and ``what`` of steps that a pause waits for; ``verbs`` for the
        whole chain; ``usd`` and ``tokens`` spent.
    """
    stops = session.paused
    return {
        "state": session.state,
        "paused": [_of_stop(session, stop) for stop in stops],
        "in_flight": [{"step": i, "what": _text(what)} for i, what in session.in_flight],
        "verbs": _verbs(session, stops),
        "usd": session.spent.usd,
        "tokens": session.spent.tokens,
    }


def _verbs(session: Session[Any], stops: list[Stop]) -> list[str]:
    if session.ending is not None:
        return []
    verbs = ["stop"]
    if session.state in ("idle", "running"):
        verbs.append("pause")
    elif any(stop.place != "failed" for stop in stops) or not stops:
        verbs.append("resume")
    if stops and detaching.is_waited_for(session.call, session.descent):
        verbs.append("detach")
    return verbs


def _of_stop(session: Session[Any], stop: Stop) -> Message:
    error = stop.error
    return {
        "step": stop.span.id,
        "kind": stop.span.kind,
        "name": _text(stop.span.name),
        "place": stop.place,
        "reason": stop.reason,
        "note": _text(stop.note),
        "error": None
        if error is None
        else _text(f"{type(error).__name__}: {text_of_error(error)}"),
        "waits_s": round(time.monotonic() - stop.since_s, 3),
        "verbs": list(_AT[stop.place]),
        "repeats": _repeats(session, stop),
    }


def _repeats(session: Session[Any], stop: Stop) -> dict[str, list[str]] | None:
    if "retry" not in _AT[stop.place]:
        return None
    found = session.repeats(stop)
    return {what: [_text(name) for name in names] for what, names in found.items()}


def _text(text: str) -> str:
    return scrub_text(text, secrets=secrets_in_use())[:_SHOWN_CHARS]


def editable(session: Session[Any], step: int) -> Message:
    """Return what an editor of a waiting step starts with.

    Args:
        session: The session.
        step: Id of the step.

    Returns:
        ``what``: ``"inputs"``, by name, or ``"output"``; ``values``: JSON-like; ``fixed``: names
        that cannot be edited as text, for they hold objects or something that was scrubbed.
        An empty dict where no such step waits.
    """
    stop = _waiting(session, step)
    if stop is None or stop.place == "inside":
        return {}
    what = "output" if stop.place == "after" else "inputs"
    live = {"output": stop.span.output} if what == "output" else stop.span.inputs
    held = {name: snapshot(value, Meter()) for name, value in live.items()}
    shown = _shown(held)
    fixed = [name for name in held if has_opaque(held[name]) or shown[name] != plain(held[name])]
    return {"what": what, "values": shown, "fixed": fixed}


def seen(session: Session[Any], step: int) -> Message:
    """Return what can be seen of a waiting step that its record does not have yet.

    Args:
        session: The session.
        step: Id of the step.

    Returns:
        JSON-like and scrubbed: the ``output`` that it gave, or the local ``variables`` where it
        waits inside; else an empty dict.
    """
    stop = _waiting(session, step)
    if stop is None or stop.place not in ("after", "inside"):
        return {}
    what, live = (
        ("output", stop.span.output) if stop.place == "after" else ("variables", stop.values)
    )
    return _shown({what: snapshot(live, Meter())})


def _waiting(session: Session[Any], step: int) -> Stop | None:
    return next((stop for stop in session.paused if stop.span.id == step), None)


def _shown(held: dict[str, Any]) -> Message:
    return scrub(plain(held), secrets=secrets_in_use())


_WHOLE: dict[str, Callable[[Session[Any]], object]] = {
    "pause": lambda session: session.pause(),
    "stop": lambda session: session.stop(),
    "detach": lambda session: session.detach(),
}
_OF_A_STEP: dict[str, Callable[[Session[Any], int | None, Message], object]] = {
    "resume": lambda session, step, _: session.resume(step),
    "step_into": lambda session, step, _: session.step_into(step),
    "step_over": lambda session, step, _: session.step_over(step),
    "step_out": lambda session, step, _: session.step_out(step),
    "raise": lambda session, step, _: session.raise_(step),
    "retry": lambda session, step, given: session.retry(
        step, inputs=given.get("inputs"), at=given.get("at"), fresh=bool(given.get("fresh"))
    ),
    "skip": lambda session, step, given: session.skip(_value(given), step),
    "edit_inputs": lambda session, step, given: session.edit(
        step, inputs=given.get("inputs", "null")
    ),
    "edit_output": lambda session, step, given: session.edit(step, output=_value(given)),
}

VERBS = frozenset((*_WHOLE, *_OF_A_STEP))
"""What `obey` understands."""


def _value(given: Message) -> Any:
    return from_json(given.get("output", ""), "output")


def obey(session: Session[Any], message: Any) -> Message:
    """Do what a person asks for; it may come from anywhere, on any thread.

    Args:
        session: The session.
        message: ``verb``, and for most of them ``step``, the id of a step that waits (by default
            the one that waits longest); ``inputs`` and ``output`` are JSON text; ``retry`` also
            takes ``at``, id or name of a step around, and ``fresh``.

    Returns:
        ``ok``, and ``note``: what to tell the person, in words.
    """
    given = cast("Message", message) if isinstance(message, dict) else {}
    verb, step = given.get("verb"), given.get("step")
    try:
        if fault := _fault_of(given):
            return {"ok": False, "note": fault}
        if verb in _WHOLE:
            said = _WHOLE[verb](session)
        else:
            said = _OF_A_STEP[str(verb)](session, step, given)
    except NbtoolError as error:
        return {"ok": False, "note": _text(str(error))}
    return {"ok": True, "note": _text(said) if isinstance(said, str) else ""}


def _fault_of(given: Message) -> str:
    verb, step, at = given.get("verb"), given.get("step"), given.get("at")
    if not isinstance(verb, str) or (verb not in _WHOLE and verb not in _OF_A_STEP):
        return f"{verb!r:.100} is no command."
    if step is not None and type(step) is not int:
        return f"{step!r:.100} is no step."
    if at is not None and type(at) not in (int, str):
        return f"{at!r:.100} is no step."
    for name in ("inputs", "output"):
        text = given.get(name, "")
        if not isinstance(text, str) or len(text) > _MAX_TEXT_CHARS:
            return f"{name!r} is no text, or too long."
    return ""
