"""What a live view says about the debuggers of its calls, and does for a person with them.

A call gets its debugger when somebody asks for it: by `nbtool.debug`, or by Pause in the view.
All that is known of one comes from `nbtool.debugging.commands`.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, cast

from nbtool.debugging.attaching import attach_to_run
from nbtool.debugging.commands import VERBS, editable, obey, seen, status
from nbtool.debugging.session import Session
from nbtool.errors import NbtoolError
from nbtool.views import detail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nbtool.tracing.record import SpanRecord
    from nbtool.tracing.span import Run

_MOST_STOPS = 200  # are told of; a person can look at a few
_PAUSE = {"cmd": "pause", "label": "Pause", "title": "Stop at the next steps"}
_RESUME = {"cmd": "resume", "label": "Resume", "title": "Let all steps go on"}
_DETACH = {
    "cmd": "detach",
    "label": "Detach",
    "title": "End the cell that waits for this; the calls stay where they are",
}
_TITLES = {
    "output": "Output so far",
    "variables": "Local variables",
}
_STEPPING = {"pausing", "stepping"}


class Debuggers:
    """Know the debuggers of the calls that a view shows.

    Args:
        changed: Called, on any thread, when there may be something to tell.
    """

    def __init__(self, changed: Callable[[], object]) -> None:
        self._changed = changed
        self._known: weakref.WeakSet[Session[Any]] = weakref.WeakSet()

    def follow(self, gate: object) -> None:
        """Take up a debugger; anything else is left alone."""
        if not isinstance(gate, Session):
            return
        session = cast("Session[Any]", gate)
        if session not in self._known:
            self._known.add(session)
            session.listen(self._changed)
            self._changed()

    def __bool__(self) -> bool:
        return bool(self._alive())

    def _alive(self) -> list[Session[Any]]:
        return [session for session in self._known if session.ending is None]

    def marks(self) -> dict[int, str]:
        """Return where steps wait, by their ids: before, after, failed or inside."""
        return {stop.span.id: stop.place for session in self._alive() for stop in session.paused}

    def ui(self) -> dict[str, Any]:
        """Return what a page shows: ``state``, ``buttons``, ``stops``, ``waits_for``."""
        found = [status(session) for session in self._alive()]
        verbs = {verb for each in found for verb in each["verbs"]}
        is_running = not found or "pause" in verbs
        buttons = [
            *([_PAUSE] if is_running else []),
            *([_RESUME] if "resume" in verbs else []),
            *([_DETACH] if "detach" in verbs else []),
        ]
        stops = [_stop(stop) for each in found for stop in each["paused"]]
        stepping = [each for each in found if each["state"] in _STEPPING]
        return {
            "state": "paused" if stops else "pausing" if stepping else "running",
            "buttons": buttons,
            "stops": stops[:_MOST_STOPS],
            "waits_for": [each["what"] for one in stepping for each in one["in_flight"]][:3],
        }

    def pause(self, runs: Iterable[Run]) -> dict[str, Any]:
        """Pause calls that run; those without a debugger get one.

        Returns:
            ``ok`` and ``note``, as `nbtool.debugging.commands.obey`.
        """
        notes: list[str] = []
        for run in runs:
            try:
                session = attach_to_run(run)
            except NbtoolError as error:
                notes.append(str(error))
                continue
            self.follow(session)
            if "pause" in status(session)["verbs"]:
                session.pause()
        return {"ok": not notes, "note": " ".join(notes)}

    def obey(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what a button says: for one step that waits, or for all calls.

        Args:
            message: ``cmd``, ``id`` of a step, ``inputs``, ``output``; from anywhere.

        Returns:
            ``ok`` and ``note``; nothing where that is no button.
        """
        verb, step = message.get("cmd"), message.get("id")
        if not isinstance(verb, str) or verb not in VERBS:
            return {}
        given = {name: message[name] for name in ("inputs", "output") if name in message}
        asked = {"verb": verb, "step": step, **given}
        if step is not None:
            session = self._where(step)
            if session is None:
                return {"ok": False, "note": "This step does not wait any more."}
            return obey(session, asked)
        answers = [
            obey(session, asked) for session in self._alive() if verb in status(session)["verbs"]
        ]
        notes = " ".join(answer["note"] for answer in answers if answer["note"])
        return {"ok": all(answer["ok"] for answer in answers), "note": notes}

    def editable(self, step: Any) -> dict[str, Any]:
        """Return what an editor of a waiting step starts with; {} where it does not wait."""
        session = self._where(step)
        return editable(session, step) if session is not None else {}

    def sections(self, record: SpanRecord) -> list[detail.Section]:
        """Return what the record of a step that waits has not got yet."""
        session = self._where(record.id)
        found = seen(session, record.id) if session is not None else {}
        return [detail.value(_TITLES[what], value) for what, value in found.items()]

    def _where(self, step: Any) -> Session[Any] | None:
        for session in self._alive():
            if any(stop.span.id == step for stop in session.paused):
                return session
        return None


def _stop(stop: dict[str, Any]) -> dict[str, Any]:
    """Leave out what changes while nothing happens."""
    return {name: value for name, value in stop.items() if name != "waits_s"}
