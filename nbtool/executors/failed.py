"""`FailedRow`: what stands in the place of a result where a row's program failed."""

from __future__ import annotations

import dataclasses
from typing import Any

_SHOWN_CHARS = 200


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class FailedRow:
    """Stand for the result of a row that failed.

    Attributes:
        index: Position of the row, from 0.
        row: The row, as it was given.
        error: What was raised.

    Example:
        >>> FailedRow(3, {"question": "?"}, ValueError("no answer"))
        FailedRow(index=3, row={'question': '?'}, error=ValueError('no answer'))
    """

    index: int
    row: Any
    error: BaseException

    def __repr__(self) -> str:
        row, error = _shown(self.row), _shown(self.error)
        return f"FailedRow(index={self.index}, row={row}, error={error})"


def repr_of(value: object) -> str:
    """Return the repr of a value, or its type where a user's own repr fails."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a user's repr may do anything
        return f"<{type(value).__qualname__} object, its repr raised {type(error).__name__}>"


def _shown(value: object) -> str:
    text = repr_of(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
