"""A call that is used where its result was meant says so: the forgotten ``await``."""

from __future__ import annotations

from typing import NoReturn

from nbtool.errors import CallNotAwaitedError


class ForgottenAwait:
    """Explain every use of a call that only its result would allow.

    Attributes:
        name: Whose call it is.
    """

    name: str

    def __getattr__(self, name: str) -> NoReturn:
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        if name.startswith(("_", "cr_")):
            raise AttributeError(name)
        raise self._forgotten(f".{name}")

    def __getitem__(self, key: object) -> NoReturn:
        __tracebackhide__ = True
        raise self._forgotten(f"[{key!r}]")

    def __bool__(self) -> NoReturn:
        __tracebackhide__ = True
        raise self._forgotten(" as a truth value")

    def __iter__(self) -> NoReturn:
        __tracebackhide__ = True
        raise self._forgotten(" in an iteration")

    def _forgotten(self, use: str) -> CallNotAwaitedError:
        return CallNotAwaitedError(
            f"You used `call{use}`, and this is a call of {self.name!r}, not its result.",
            hint="Write `await call`, or `call.result()` in synchronous code.",
        )
