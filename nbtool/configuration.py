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

from nbtool import ownership
from nbtool.budget import with_budgets
from nbtool.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike
    from types import ModuleType, TracebackType

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "lm": None,  # the language model that predictors use
        "adapter": None,  # None: what the LM hints at, else ChatAdapter
        "rm": None,  # a retriever of your own; nbtool reads it nowhere
        "callbacks": [],
        "track_usage": False,  # predictions of every level know their tokens
        "usage_tracker": None,  # what `track_usage()` has set up here
        "send_stream": None,
        "stream_listeners": [],
        "allow_tool_async_sync_conversion": False,  # accepted; here it always works
        "async_max_workers": 8,  # threads that work at once for sync code below async calls
        "warn_on_type_mismatch": True,
        "disable_history": False,
        "history": None,  # a list that takes up the requests made in this context
        "max_history_size": 10_000,  # entries of each LM and module, and of the process's history
        "max_trace_size": 10_000,
        "max_usd": None,  # US dollars that requests may cost from now on
        "max_tokens_total": None,  # tokens, prompts and answers, that they may use
        "trace": None,  # a list that takes up (predictor, inputs, prediction)
        "show_trace": "auto",  # in notebooks: for calls that take a moment, "always" or "never"
        "saved_trace": "summary",  # what a saved notebook keeps of values: also "full", "none"
        "stream_when_watched": True,  # LMs stream where somebody sees the answer arrive
        "num_threads": 8,
        "max_errors": 10,
        "provide_traceback": False,
        "experimental": False,
    }
)
"""Every setting of nbtool, with its value before any `configure`.

Source: names and numbers as in DSPy's settings; `history`, limits and those of traces are ours.
"""

_CHOICES = {
    "show_trace": ("auto", "always", "never"),
    "saved_trace": ("summary", "full", "none"),
}

_Layer: TypeAlias = "Mapping[str, Any]"
_Laid: TypeAlias = "tuple[contextvars.Token[_Layer], _Layer, _Layer]"  # token, what is laid, below

_process: Mapping[str, Any] = DEFAULTS
_swap = threading.Lock()
_layer: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar(
    "nbtool_settings", default=MappingProxyType({})
)
# No module calls before the layer that has modules is loaded.
_derived: dict[str, Callable[[], Any]] = dict.fromkeys(
    ("caller_modules", "caller_predict"), lambda: None
)


def value_of(name: str) -> Any:
    """Return a setting here and now: what `settings` gives, at a fifth of the cost.

    Args:
        name: The setting.

    Raises:
        KeyError: There is none of that name.
    """
    layer = _layer.get()
    return layer[name] if name in layer else _process[name]


def derive(name: str, read: Callable[[], Any]) -> None:
    """Let a setting be read that a higher layer knows, where nobody has set it.

    Args:
        name: The setting.
        read: Returns its value here and now.
    """
    _derived[name] = read


def configure(**values: Any) -> None:
    """Change settings for the whole process, at once and for good.

    The thread that did it first may do it again, and in asynchronous code the task that did it
    first; a notebook's cells always may. Anywhere else use `context`.

    Args:
        **values: Settings by name, for example ``lm=LM("openai/gpt-4o-mini")``. Names that
            nbtool does not know are kept and can be read back.

    Raises:
        ConfigurationError: A value is none that the setting can have.
        SettingsOwnershipError: Another thread or task has done it before, or a call is running
            whose own tasks and threads must not change what everybody uses.

    Example:
        >>> import nbtool
        >>> nbtool.configure(num_threads=4)
        >>> nbtool.settings.num_threads
        4
        >>> nbtool.configure(num_threads=8)
    """
    global _process  # noqa: PLW0603 - one mapping, swapped whole, is the design
    given = with_budgets(_checked(values))
    with _swap:
        ownership.claim()
        _process = MappingProxyType({**_process, **given})


def _checked(values: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in values.keys() & _CHOICES.keys():
        if values[name] not in _CHOICES[name]:
            raise ConfigurationError(
                f"{name}={values[name]!r} is not one of {_CHOICES[name]}.",
                hint=f"Write `configure({name}={_CHOICES[name][0]!r})`.",
            )
    return values


class context:  # noqa: N801 - DSPy's name; it reads as a verb in a `with`
    """Lay settings over the process-wide ones inside a ``with`` or ``async with``.

    Tasks started inside inherit the layer, and so do threads that nbtool or
    `asyncio.to_thread` start, tools included; a plain `threading.Thread` does not. Layers nest,
    and what is not named shows through: a later `configure` of another setting is seen inside
    too, while DSPy copies all settings at the door.

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
        given = with_budgets(_checked(self._values), settings.get)
        merged = MappingProxyType({**below, **given})
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

    configure = staticmethod(configure)
    context = context

    def __getattr__(self, name: str) -> Any:
        try:
            return value_of(name)
        except KeyError:
            if name in _derived:
                return _derived[name]()
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
        return name in _layer.get() or name in _process or name in _derived

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

    def save(
        self,
        path: str | PathLike[str],
        modules_to_serialize: Iterable[ModuleType] | None = None,
        exclude_keys: Iterable[str] | None = None,
    ) -> None:
        """Write every setting with its value here and now into a pickle file.

        The file holds what the values hold, the keys of LMs included; only its owner can read
        it. It needs ``pip install cloudpickle``.

        Args:
            path: The file; one that is there is replaced whole.
            modules_to_serialize: Modules whose classes go into the file themselves, so that it
                can be loaded where these modules are missing.
            exclude_keys: Settings to leave out.

        Raises:
            SavingError: A value cannot be pickled.
            MissingExtraError: cloudpickle is not installed.
        """
        from nbtool import pickling

        left_out = set(exclude_keys or ())
        kept = {name: value for name, value in self.config.items() if name not in left_out}
        pickling.save_each(kept, path, modules_to_serialize or ())

    @staticmethod
    def load(path: str | PathLike[str], allow_pickle: bool = False) -> dict[str, Any]:
        """Read settings that `save` wrote; nothing is changed by it.

        Args:
            path: The file.
            allow_pickle: Loading a pickle runs code that is in it: say True for a file that you
                trust.

        Returns:
            Values by name, ready for ``configure(**values)``.

        Raises:
            SavingError: `allow_pickle` is False, or the file cannot be read.
            MissingExtraError: cloudpickle is not installed.
        """
        from nbtool import pickling

        return pickling.load_mapping(path, allow_pickle=allow_pickle)

    def __repr__(self) -> str:
        lines = [f"  {name} = {value!r}" for name, value in self.config.items()]
        return "\n".join(["Settings", *lines])


settings = Settings()
