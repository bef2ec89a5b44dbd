"""`Example`: named values, some of which are inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_INTERNAL = "dspy_"  # names that begin so are an optimizer's notes, and left out of listings


class Example:
    """Hold named values, read as attributes or items.

    A value that has the name of a method, such as ``keys``, is read as an item only.

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
        return len(self.keys())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Example) and self._store == other._store

    def __hash__(self) -> int:
        return hash(frozenset((name, _hash(value)) for name, value in self._store.items()))

    def keys(self, include_dspy: bool = False) -> list[str]:
        """Return the names, those that begin with ``dspy_`` only where asked for."""
        return [name for name in self._store if include_dspy or not name.startswith(_INTERNAL)]

    def values(self, include_dspy: bool = False) -> list[Any]:
        """Return the values, in the order of `keys`."""
        return [self._store[name] for name in self.keys(include_dspy)]

    def items(self, include_dspy: bool = False) -> list[tuple[str, Any]]:
        """Return names with values, in the order of `keys`."""
        return [(name, self._store[name]) for name in self.keys(include_dspy)]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or `default` where there is none of that name."""
        return self._store.get(name, default)

    def with_inputs(self, *names: str) -> Self:
        """Return a copy in which these names are the inputs."""
        twin = self.copy()
        twin._input_keys = frozenset(names)  # noqa: SLF001 - own class
        return twin

    def inputs(self) -> Self:
        """Return an example with only the inputs.

        Raises:
            ValueError: `with_inputs` was not called.
        """
        keys = self._named_inputs()
        return self.without(*(name for name in self._store if name not in keys))

    def labels(self) -> Self:
        """Return an example with only what is no input.

        Raises:
            ValueError: `with_inputs` was not called.
        """
        labels = self.without(*self._named_inputs().intersection(self._store))
        labels._input_keys = None  # noqa: SLF001 - own class
        return labels

    def _named_inputs(self) -> frozenset[str]:
        if self._input_keys is None:
            raise ValueError(
                "Inputs have not been set for this example.\n"
                "  Hint: use `example.with_inputs('question', ...)` to set them."
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
        """Return the values by name; examples and models inside become dicts too."""
        return {name: _plain(value) for name, value in self._store.items()}

    def __trace_value__(self) -> dict[str, Any]:
        """Show the values in traces."""
        return self._store

    def __repr__(self) -> str:
        inputs = self._input_keys
        shown = None if inputs is None else {name for name in self._store if name in inputs}
        return f"{type(self).__name__}({dict(self.items())!r}) (input_keys={shown})"


def _hash(value: Any) -> int:
    """Return the same for values that are equal, and 0 for those that have no hash."""
    if isinstance(value, (set, frozenset)):  # equal to each other, and only one has a hash
        return 0
    try:
        return hash(value)
    except TypeError:
        return 0


def _plain(value: Any) -> Any:
    if isinstance(value, Example):
        return value.toDict()
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    return value
