"""`Example`: named values, some of which are inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Example:
    """Hold named values, read as attributes or items.

    Args:
        base: Values to start from: a dict or another example.
        **kwargs: Further values; they win.

    Example:
        >>> shown = Example(question="2+2?", answer="4").with_inputs("question")
        >>> shown.answer, shown.inputs().toDict()
        ('4', {'question': '2+2?'})

    Source:
        Names and call shapes as DSPy's class of that name.
    """

    _store: dict[str, Any]
    _input_keys: frozenset[str] | None

    def __init__(self, base: Mapping[str, Any] | Example | None = None, **kwargs: Any) -> None:
        start = base.toDict() if isinstance(base, Example) else dict(base or {})
        object.__setattr__(self, "_store", {**start, **kwargs})
        keys = base._input_keys if isinstance(base, Example) else None  # noqa: SLF001 - own class
        object.__setattr__(self, "_input_keys", keys)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # protocols of pickle and copy ask before _store is there
        try:
            return self._store[name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} has no {name!r}; it has {list(self._store)}."
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self._store[name] = value

    def __delattr__(self, name: str) -> None:
        del self._store[name]

    def __getitem__(self, name: str) -> Any:
        return self._store[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._store[name] = value

    def __delitem__(self, name: str) -> None:
        del self._store[name]

    def __contains__(self, name: object) -> bool:
        return name in self._store

    def __iter__(self) -> Iterator[str]:
        return iter(self._store)

    def __len__(self) -> int:
        return len(self._store)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Example) and self._store == other._store

    def __hash__(self) -> int:
        return hash(tuple(sorted((name, repr(value)) for name, value in self._store.items())))

    def keys(self) -> list[str]:
        """Return the names."""
        return list(self._store)

    def values(self) -> list[Any]:
        """Return the values."""
        return list(self._store.values())

    def items(self) -> list[tuple[str, Any]]:
        """Return names with values."""
        return list(self._store.items())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or `default` where there is none of that name."""
        return self._store.get(name, default)

    def with_inputs(self, *names: str) -> Self:
        """Return a copy in which these names are the inputs."""
        twin = self.copy()
        twin._input_keys = frozenset(names)  # noqa: SLF001 - own class
        return twin

    def inputs(self) -> Example:
        """Return an example with only the inputs.

        Raises:
            ValueError: `with_inputs` was not called.
        """
        keys = self._named_inputs()
        kept = {name: value for name, value in self._store.items() if name in keys}
        return Example(kept).with_inputs(*keys)

    def labels(self) -> Example:
        """Return an example with only what is no input.

        Raises:
            ValueError: `with_inputs` was not called.
        """
        keys = self._named_inputs()
        return Example({name: value for name, value in self._store.items() if name not in keys})

    def _named_inputs(self) -> frozenset[str]:
        if self._input_keys is None:
            raise ValueError(
                "Nobody said which values of this example are inputs.\n"
                "  Hint: call `example.with_inputs('question', ...)` first."
            )
        return self._input_keys

    def copy(self, **kwargs: Any) -> Self:
        """Return a copy with further values."""
        twin = self.__class__.__new__(self.__class__)
        for name, value in vars(self).items():
            object.__setattr__(twin, name, value)
        object.__setattr__(twin, "_store", {**self._store, **kwargs})
        return twin

    def without(self, *names: str) -> Self:
        """Return a copy without these names."""
        twin = self.copy()
        for name in names:
            del twin[name]
        return twin

    def toDict(self) -> dict[str, Any]:  # noqa: N802 - DSPy's name
        """Return the values by name; examples inside become dicts too."""
        return {name: _plain(value) for name, value in self._store.items()}

    def __trace_value__(self) -> dict[str, Any]:
        """Show the values in traces."""
        return self._store

    def __repr__(self) -> str:
        lines = [f"    {name}={value!r}" for name, value in self._store.items()]
        return f"{type(self).__name__}(\n" + ",\n".join(lines) + "\n)"


def _plain(value: Any) -> Any:
    if isinstance(value, Example):
        return value.toDict()
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    return value
