"""What follows from a signature alone is worked out once for it, and again where it was changed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from nbtool.signatures.fields import extras_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.signatures.signature import Signature

T = TypeVar("T")
_OF_TYPES, _OF_TEXTS = "_remembered_of_types", "_remembered_of_texts"


def once_for_each_signature(
    function: Callable[[type[Signature]], T],
) -> Callable[[type[Signature]], T]:
    """Let a function of names and types, which never change, use a memory.

    Args:
        function: What it returns is shared: nobody may change it.
    """

    @functools.wraps(function)
    def remembering(signature: type[Signature]) -> T:
        known: dict[Any, Any] | None = vars(signature).get(_OF_TYPES)
        if known is None:
            known = {}
            setattr(signature, _OF_TYPES, known)
        return _from(known, function, signature)

    return remembering


def once_for_each_text(
    function: Callable[[type[Signature]], T],
) -> Callable[[type[Signature]], T]:
    """Let a function use a memory as long as a signature's texts stay the same.

    Instructions can be set, and descriptions in a field's ``json_schema_extra`` too.

    Args:
        function: What it returns is shared: nobody may change it.
    """

    @functools.wraps(function)
    def remembering(signature: type[Signature]) -> T:
        texts = _texts(signature)
        known: tuple[list[Any], dict[Any, Any]] | None = vars(signature).get(_OF_TEXTS)
        if known is None or known[0] != texts:
            known = texts, {}
            setattr(signature, _OF_TEXTS, known)
        return _from(known[1], function, signature)

    return remembering


def _from(
    known: dict[Any, T], function: Callable[[type[Signature]], T], signature: type[Signature]
) -> T:
    if function not in known:
        known[function] = function(signature)
    return known[function]


def _texts(signature: type[Signature]) -> list[Any]:
    texts: list[Any] = [signature.__doc__]
    for field in signature._fields.values():  # pyright: ignore[reportPrivateUsage] - its public form is a copy
        extras = extras_of(field)
        texts.append((extras.get("desc"), extras.get("constraints")))
    return texts
