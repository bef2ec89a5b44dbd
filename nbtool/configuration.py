"""Settings: one process-wide mapping, and a per-context layer on top of it.

`configure` swaps the process-wide mapping, which every cell, thread and task sees at once.
`context` lays values over it for the code inside the ``with``, and for every task that this code
starts; only this layer lives in a ContextVar. `settings` reads both. This module
does not know what the values are: an LM or an adapter is just a value.
"""

from __future__ import annotations

import contextvars
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from nbtool.budget import with_budgets
from nbtool.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "lm": None,  # the language model that predictors use
        "adapter": None,  # None: what the LM hints at, else ChatAdapter
        "callbacks": (),
        "track_usage": False,
        "allow_tool_async_sync_conversion": False,  # accepted; here it always works
        "async_max_workers": 8,  # threads that work at once for sync code below async calls
        "warn_on_type_mismatch": True,
        "disable_history": False,
        "max_history_size": 10_000,  # entries of each LM, and of the process-wide history
        "max_trace_size": 10_000,
        "max_usd": None,  # US dollars that requests may cost from now on
        "max_tokens_total": None,  # tokens, prompts and answers, that they may use
        "trace": None,
        "num_threads": 8,
        "max_errors": 10,
    }
)
"""Every setting that nbtool reads, with its value before any `configure`.

Source: names and numbers as in DSPy's settings.
"""

_Layer: TypeAlias = "Mapping[str, Any]"
_Laid: TypeAlias = "tuple[contextvars.Token[_Layer], _Layer, _Layer]"  # token, what is laid, below

_process: Mapping[str, Any] = DEFAULTS
_swap = threading.Lock()
_layer: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar(
    "nbtool_settings", default=MappingProxyType({})
)


def configure(**values: Any) -> None:
    """Change settings for the whole process, at once and for good.

    Args:
        **values: Settings by name, for example ``lm=LM("openai/gpt-4o-mini")``. Names that
            nbtool does not know are kept and can be read back.

    Example:
        >>> import nbtool
        >>> nbtool.configure(num_threads=4)
        >>> nbtool.settings.num_threads
        4
        >>> nbtool.configure(num_threads=8)
    """
    global _process  # noqa: PLW0603 - one mapping, swapped whole, is the design
    given = with_budgets(values)
    with _swap:
        _process = MappingProxyType({**_process, **given})


class context:  # noqa: N801 - DSPy's name; it reads as a verb in a `with`
    """Lay settings over the process-wide ones inside a ``with`` or ``async with``.

    Tasks started inside, and threads started by `asyncio.to_thread`, inherit the layer; a plain
    `threading.Thread` does not. Layers nest, and what is not named shows through: a later
    `configure` of another setting is seen inside too.

    Args:
        **values: Settings by name.

    Example:
        >>> import nbtool
        >>> with nbtool.context(num_threads=2):
        ...     nbtool.settings.num_threads
        2
    """

    def __init__(self, **values: Any) -> None:
        self._values = values
        self._laid: list[_Laid] = []

    def __enter__(self) -> None:
        """Lay the values over what is there now."""
        below = _layer.get()
        merged = MappingProxyType({**below, **with_budgets(self._values, settings.get)})
        self._laid.append((_layer.set(merged), merged, below))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the layer off again."""
        here = _layer.get()
        for laid in reversed(self._laid):
            token, merged, below = laid
            try:
                _layer.reset(token)
            except ValueError:
                # Laid in another Context. Either this one is a copy of it, or an async generator
                # was entered by one task and is closed by another, whose own layers stay
                # (stanfordnlp/dspy#8797); what was laid there is gone with its Context.
                if merged is here:
                    _layer.set(below)
                    return
            else:
                self._laid.remove(laid)
                return

    async def __aenter__(self) -> None:
        """Do as ``with`` does."""
        self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do as ``with`` does."""
        self.__exit__(kind, error, traceback)


class Settings:
    """Read settings as attributes or items: the context's, else the process's.

    Raises:
        ConfigurationError: Somebody assigns to it; `configure` and `context` change settings.
        AttributeError: There is no setting of that name.

    Example:
        >>> import nbtool
        >>> nbtool.settings.async_max_workers
        8
        >>> nbtool.settings.get("no_such_setting", "-")
        '-'
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        layer = _layer.get()
        if name in layer:
            return layer[name]
        try:
            return _process[name]
        except KeyError:
            raise AttributeError(
                f"There is no setting {name!r}; there are {sorted(self.config)}."
            ) from None

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise ConfigurationError(
            f"settings.{name} = … was tried, and settings are read-only.",
            hint=f"Write `configure({name}=…)` for the process or `with context({name}=…):`.",
        )

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError as error:
            raise KeyError(name) from error

    def __contains__(self, name: object) -> bool:
        return name in _layer.get() or name in _process

    def __iter__(self) -> Iterator[str]:
        return iter(self.config)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting, or `default` where there is none of that name."""
        return self[name] if name in self else default  # noqa: SIM401 - this is that get

    @property
    def config(self) -> dict[str, Any]:
        """Every setting with its value here and now, as a new dict."""
        return {**_process, **_layer.get()}

    def copy(self) -> dict[str, Any]:
        """Return every setting with its value here and now, as a new dict."""
        return self.config

    def __repr__(self) -> str:
        lines = [f"  {name} = {value!r}" for name, value in self.config.items()]
        return "\n".join(["Settings", *lines])


settings = Settings()
