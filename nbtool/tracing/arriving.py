"""The text of an answer while it arrives, piece by piece and without secrets.

A secret may arrive in pieces, so a piece alone says nothing. Text is given out up to the last
character that can be in no secret, and judged together with what came before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbtool.tracing.record import secrets_in_use
from nbtool.tracing.scrub import scrub_text, without_last_word

if TYPE_CHECKING:
    from nbtool.tracing.record import SpanRecord

_BEFORE_CHARS = 400  # what is looked at again with each new piece
_HELD_BACK_CHARS = 4_000  # a longer word than any key; it is not held back for ever
_BLOCK = "-----BEGIN"


class Arriving:
    """Give out what has arrived of one answer, each part once.

    Args:
        record: The step whose answer arrives.

    Attributes:
        text: All that was given out so far.
    """

    def __init__(self, record: SpanRecord) -> None:
        self.text = ""
        self._record = record
        self._pieces_read = 0
        self._raw = ""
        self._given = 0  # how much of `_raw` was given out

    def take(self) -> str | None:
        """Return what has come since the last time.

        Returns:
            The new text, often empty; None where what was given out before has turned out to be
            part of a secret: then `text` is right, and what was shown is not.
        """
        pieces = self._record.pieces_from(self._pieces_read)
        self._pieces_read += len(pieces)
        self._raw += "".join(pieces)
        latest = self._raw[-_HELD_BACK_CHARS:]
        held_back = len(latest) - len(without_last_word(latest))
        end = len(self._raw) - (held_back if held_back < _HELD_BACK_CHARS else 0)
        return self._judged(end) if end > self._given else ""

    def _judged(self, end: int) -> str | None:
        start = max(0, self._given - _BEFORE_CHARS)
        block = self._raw.rfind(_BLOCK, 0, end)
        if block != -1:  # a private key has many lines
            start = min(start, block)
        secrets = secrets_in_use()
        before = scrub_text(self._raw[start : self._given], secrets=secrets)
        together = scrub_text(self._raw[start:end], secrets=secrets)
        self._given = end
        if not together.startswith(before):
            self.text = scrub_text(self._raw[:end], secrets=secrets)
            return None
        new = together[len(before) :]
        self.text += new
        return new
