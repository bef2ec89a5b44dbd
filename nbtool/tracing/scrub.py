"""Take secrets out of whatever leaves the recorder: views, reprs, exports, saved traces.

A secret is found by the name it stands under (``api_key``, ``Authorization``), by its shape
(``sk-…``, a JWT, a private key, ``user:password@`` in a URL), and by its exact value, where
that is known. A value that cannot be judged is hidden rather than shown.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

from nbtool.tracing.secret_text import (
    REDACTED,
    is_distinctive,
    is_secret_name,
    may_be_count,
    spellings,
    without_secrets,
)

HIDDEN = "<hidden>"
MAX_DEPTH = 64
_PLAIN = frozenset({int, float, bool, complex, type(None)})
_ATOMS = (str, bytes, int, float)
_PAIR = 2
_NAME_CHARS = 80

_OF_A_SECRET = f"{string.ascii_letters}{string.digits}_.+/=:@%~&?#*!$-"

_ENVIRONMENT_NAME = re.compile(
    # Not PWD alone: that is the current directory.
    r"(?:^|_)(?:(?:API)?KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PAT|(?<=_)PWD)(?:_?\d+)?$"
)


def known_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Find the secrets that a program was given in its environment.

    Args:
        environ: Names and values, such as ``os.environ``.

    Returns:
        Values of variables named ``*_KEY``, ``*_TOKEN``, ``*_SECRET``, ``*_PASSWORD`` and the
        like, longest first. Values below 12 characters and plain letters are left out: with
        ``SORT_KEY=name``, every "name" in a trace would vanish.
    """
    named = {v.strip() for name, v in environ.items() if _ENVIRONMENT_NAME.search(name.upper())}
    return tuple(sorted(filter(is_distinctive, named), key=lambda value: (-len(value), value)))


def without_last_word(text: str) -> str:
    """Cut a text where it can be cut without cutting a secret in two.

    Half a key has no shape by which it would be known. Keys, tokens and URLs with passwords are
    made of some characters; Chinese, say, is not.

    Args:
        text: The beginning of a longer text.
    """
    return text.rstrip(_OF_A_SECRET)


def scrub_text(text: str, *, secrets: Iterable[str] = ()) -> str:
    """Replace each secret in a text by ``<redacted>``.

    Args:
        text: Any string; lone surrogates and NUL do no harm.
        secrets: Exact values to take out, as from `known_secrets`; those below 12 characters
            and plain letters are passed over.

    Returns:
        The text without its secrets, or ``"<hidden>"`` where it could not be judged.
    """
    return cast(str, scrub(text, secrets=secrets))


def scrub(value: Any, *, secrets: Iterable[str] = ()) -> Any:
    """Copy a JSON-like value without its secrets.

    Args:
        value: Strings, bytes, numbers, None, and mappings, lists, tuples and sets of them.
        secrets: Exact values to take out, as in `scrub_text`.

    Returns:
        A copy that shares nothing mutable with `value`; mappings come back as dicts, subclasses
        as the plain type. ``"<hidden>"`` stands for what could not be judged: other objects,
        anything more than 64 levels deep, a container inside itself.
    """
    try:
        exact = spellings((secrets,) if isinstance(secrets, str) else tuple(secrets))
    except Exception:  # noqa: BLE001 - without the secrets nothing can be judged
        return HIDDEN
    return _Copy(exact).of(value, 0)


class _Copy:
    """Copy one value, meeting each of its containers once."""

    __slots__ = ("_exact", "_met")

    def __init__(self, exact: tuple[str, ...]) -> None:
        self._exact = exact
        # Keeps the originals too: the id of a container that is gone may be given again.
        self._met: dict[int, tuple[Any, Any]] = {}

    def of(self, value: Any, depth: int) -> Any:
        kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType] - a cast would take time
        if kind in _PLAIN:
            return value
        try:
            if kind is str:
                return without_secrets(value, self._exact)
            return self._atom(value) if isinstance(value, _ATOMS) else self._once(value, depth)
        except Exception:  # noqa: BLE001 - a value that fails while it is read stays unseen
            return HIDDEN

    def _atom(self, value: str | bytes | float) -> Any:
        # The methods of the base classes: a subclass may say anything about itself.
        if isinstance(value, str):
            return without_secrets(str.__str__(value), self._exact)
        if isinstance(value, bytes):
            text = bytes.decode(value, "latin-1")
            return without_secrets(text, self._exact).encode("latin-1")
        return int.__index__(value) if isinstance(value, int) else float.__float__(value)

    def _once(self, value: Any, depth: int) -> Any:
        met = self._met.get(id(value))
        if met is not None:
            return met[1]
        self._met[id(value)] = (value, HIDDEN)
        copy = self._container(value, depth + 1) if depth < MAX_DEPTH else HIDDEN
        self._met[id(value)] = (value, copy)
        return copy

    def _container(self, value: Any, depth: int) -> Any:
        if type(value) is dict or isinstance(value, Mapping):  # the latter is slow to tell
            return self._mapping(cast(Mapping[Any, Any], value), depth)
        if isinstance(value, list):
            return self._row(cast(list[Any], value), depth)
        if isinstance(value, tuple):
            return tuple(self._row(cast(tuple[Any, ...], value), depth))
        if isinstance(value, set):
            return {self.of(item, depth) for item in cast(set[Any], value)}
        if isinstance(value, frozenset):
            return frozenset(self.of(item, depth) for item in cast(frozenset[Any], value))
        return HIDDEN

    def _row(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        # Clients keep headers as pairs, and a snapshot makes lists of them.
        if len(value) == _PAIR and _is_secret(*value):
            return [self.of(value[0], depth), REDACTED]
        return [self.of(item, depth) for item in value]

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        copy: dict[Any, Any] = {}
        is_logprob = "logprob" in value  # `token` is a piece of the answer there
        for key, item in value.items():
            hides = _is_secret(key, item) and not (is_logprob and key == "token")
            is_short = type(key) is str and len(key) <= _NAME_CHARS
            name = _name(key, self._exact) if is_short else self.of(key, depth)
            while name in copy:  # several keys were secrets themselves
                name = f"{name} {len(copy)}"
            copy[name] = REDACTED if hides else self.of(item, depth)
        return copy


@lru_cache(maxsize=4096)
def _name(name: str, exact: tuple[str, ...]) -> str:
    """Scrub a key: there are few, and they come again."""
    return without_secrets(name, exact)


def _is_secret(name: Any, value: Any) -> bool:
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    if value is None or isinstance(value, bool) or not isinstance(text, str):
        return False
    if not is_secret_name(text):
        return False
    return not may_be_count(text) if isinstance(value, int | float) else bool(value)
