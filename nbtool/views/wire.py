"""Rows as they go over the wire to a page; pure. See `nbtool.views.feed` for the protocol."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from nbtool.views.model import bare_row

if TYPE_CHECKING:
    from nbtool.tracing.record import SpanRecord
    from nbtool.views.model import Row

WireRow: TypeAlias = "list[Any]"
"""[id, parent, name, kind, start_s, end_s, status, given, gave, tokens, cost_usd, flags]"""


_NO_FLAGS: dict[str, Any] = {}


def wired(row: Row) -> WireRow:
    """Return a row as it goes over the wire."""
    flags: dict[str, Any] = {}
    if row.cached:
        flags["cached"] = True
    if row.shared:
        flags["shared"] = True
    if row.retries:
        flags["retries"] = row.retries
    tokens = list(row.tokens) if row.tokens is not None else None
    return [
        row.id, row.parent_id, row.name, row.kind, row.start_s, row.end_s, row.status,
        row.given, row.gave, tokens, row.cost_usd, flags,
    ]  # fmt: skip


def bare(record: SpanRecord, name: str) -> WireRow:
    """Return the row of one of many: most have nothing but a name and times.

    Args:
        record: The step.
        name: Its name as it is shown.
    """
    if record.usage or record.has_attributes:
        return wired(bare_row(record))
    return [
        record.id, record.parent_id, name, record.kind,
        record.start_s, record.end_s, record.status, "", "", None, record.cost_usd,
        _NO_FLAGS,
    ]  # fmt: skip


def change(before: Any, now: Any) -> Any:
    """Return what a place of a row says: null: as before; false: it is gone."""
    if now == before:
        return None
    return False if now is None else now


def encoded(value: Any) -> bytes:
    """Write JSON for a page; lone surrogates become escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace")
