"""Fingerprints: whether two steps were asked the same thing, without showing what."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from nbtool.tracing.snapshot import Meter, plain, snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

# Who pays and where to ask is no part of what is asked.
_IGNORED = frozenset({"api_key", "api_base", "base_url"})
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
PROCESS_SALT = secrets.token_hex(8)
"""Salt of what this process records."""


def request_of(kind: str, name: str, inputs: Mapping[str, Any]) -> str:
    """Return what a step was asked, as canonical JSON; it is not scrubbed.

    Args:
        kind: What sort of step it is.
        name: Whose step it is.
        inputs: Its arguments by name: live values, or a snapshot of them.
    """
    counted = {key: value for key, value in inputs.items() if key not in _IGNORED}
    form = [kind, name, plain(snapshot(counted, Meter()))]
    # Objects without a JSON form count by their text, which must not name an address in memory.
    return _ADDRESS.sub("", json.dumps(form, sort_keys=True, ensure_ascii=True, default=str))


def fingerprint(request: str, salt: str) -> str:
    """Return the salted SHA-256 of a request, as ``salt:digest``.

    Example:
        >>> fingerprint("[]", "ab") == fingerprint("[]", "ab")
        True
    """
    return f"{salt}:{hashlib.sha256(f'{salt}{request}'.encode()).hexdigest()}"


def salt_of(mark: str) -> str:
    """Return the salt of a fingerprint."""
    return mark.partition(":")[0]
