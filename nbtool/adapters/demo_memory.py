"""Worked examples are written once, and again where one of them has changed.

They are the same from call to call, and most of a prompt: writing them anew each time was a third
of what a call cost.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any

from nbtool.signatures.remembered import once_for_each_signature
from nbtool.signatures.types import Type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbtool.lm.base import Message
    from nbtool.signatures.signature import Signature

_WITHOUT_REFERENCES = 2  # the version of marshal whose bytes depend on the values alone
_MISSING = StopIteration  # marshal knows it, and no value of a field is it


class Memory:
    """Keep the turns of the latest demos of one signature, for each class of adapter."""

    def __init__(self) -> None:
        self._kept: dict[type[Any], tuple[bytes, list[Message]]] = {}

    def turns(
        self, kind: type[Any], key: bytes, write: Callable[[], list[Message]]
    ) -> list[Message]:
        """Return turns, as new dicts, for they are sent to users' own LMs.

        Args:
            kind: The class of the adapter.
            key: What the turns depend on.
            write: Writes them.
        """
        known, messages = self._kept.get(kind, (b"", []))
        if known != key:
            messages = write()
            if any(type(message.get("content")) is not str for message in messages):
                return messages
            self._kept[kind] = key, messages
        return [dict(message) for message in messages]


def remembered(
    kind: type[Any],
    signature: type[Signature],
    demos: Sequence[Mapping[str, Any]],
    write: Callable[[], list[Message]],
) -> list[Message]:
    """Return the turns of demos, written only where the values have changed.

    Args:
        kind: The class of the adapter; nothing else of it may matter to the turns.
        signature: Names the fields.
        demos: Values of input and output fields by name.
        write: Writes them, as they are sent.
    """
    memory = _memory_of(signature)
    key = _key_of(signature, demos) if memory is not None else None
    return write() if memory is None or key is None else memory.turns(kind, key, write)


@once_for_each_signature
def _memory_of(signature: type[Signature]) -> Memory | None:
    """Return the memory of a signature; None: its values are shown by code of users."""
    annotations = [field.annotation for field in signature.fields.values()]
    return None if any(map(Type.extract_custom_type_from_annotation, annotations)) else Memory()


def _key_of(signature: type[Signature], demos: Sequence[Mapping[str, Any]]) -> bytes | None:
    names = list(signature.fields)
    values = [[demo.get(name, _MISSING) for name in names] for demo in demos]
    try:
        return marshal.dumps(values, _WITHOUT_REFERENCES)
    except ValueError:  # more than plain data: only formatting it tells whether it has changed
        return None
