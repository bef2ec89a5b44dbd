"""What was asked and answered: entries of an LM, and of the whole process, as text."""

from __future__ import annotations

import os
import sys
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from nbtool.configuration import settings
from nbtool.lm.options import without_secrets
from nbtool.lm.responses import Output, get
from nbtool.lm.transcript import transcript_of
from nbtool.tracing.record import secrets_in_use
from nbtool.tracing.scrub import scrub_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Entry = dict[str, Any]

process_history: list[Entry] = []
"""The latest entries of all LMs of this process, oldest first."""

further_histories: list[Callable[[], Iterable[list[Entry]]]] = []
"""Asked at each entry, in the step of the request: which other lists shall keep it too?"""

_lock = threading.Lock()


def entry_of(
    *,
    model: str,
    model_type: str,
    prompt: str | None,
    messages: list[dict[str, Any]] | None,
    options: dict[str, Any],
    response: Any,
    outputs: list[Output],
    usage: dict[str, int],
    cost: float | None,
) -> Entry:
    """Describe one request and its answer; no keys or addresses of the provider.

    Source:
        Names as in the history of DSPy's LM.
    """
    return {
        "prompt": prompt,
        "messages": messages,
        "kwargs": _shown(options),
        "response": response,
        "outputs": outputs,
        "usage": usage,
        "cost": cost,
        "timestamp": datetime.now(UTC).isoformat(),
        "uuid": str(uuid.uuid4()),
        "model": model,
        "response_model": get(response, "model"),
        "model_type": model_type,
    }


def _shown(options: dict[str, Any]) -> dict[str, Any]:
    kept = without_secrets(options)
    return {name: value for name, value in kept.items() if not name.startswith("api_")}


def remember(entry: Entry, history: list[Entry]) -> None:
    """Append an entry to an LM's history, the process's and the further ones.

    All are bounded by the setting ``max_history_size``; the oldest entries go.
    """
    if settings.disable_history:
        return
    limit = max(0, int(settings.max_history_size))
    further = [kept for ask in further_histories for kept in ask()]
    with _lock:  # calls end in any thread
        for kept in (history, process_history, *further):
            kept.append(entry)
            del kept[: max(0, len(kept) - limit)]


def show(entries: Sequence[Entry], n: int, file: TextIO | None = None) -> None:
    """Print the latest `n` entries, oldest first, secrets taken out.

    Args:
        entries: A history, oldest first.
        n: How many to show.
        file: Where to print; standard output by default.
    """
    latest = list(entries)[-n:] if n > 0 else []
    text = "\n\n".join(map(transcript_of, latest)) or "No request was made yet."
    print(scrub_text(text, secrets=secrets_in_use()), file=file or sys.stdout)


def inspect_history(n: int = 1, file: TextIO | None = None) -> None:
    """Print the latest requests of this process and their answers.

    Inside ``with context(history=[]):`` only the requests that were made there are shown, by
    this task and by the tasks, threads and tools that it started.

    Args:
        n: How many to show, counted from the latest.
        file: Where to print; standard output by default.
    """
    own = settings.history
    show(process_history if own is None else own, n, file)


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - a thread that is not here may have held it
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
