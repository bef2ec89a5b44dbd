"""`Prediction`: what a program returns, and `Completions`, the alternatives it had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

from nbtool.programs.example import Example

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nbtool.signatures.signature import Signature


class Completions:
    """Hold all answers to one request, field by field.

    Args:
        completions: One dict per answer, or one list of values per field.
        signature: What was asked.

    Raises:
        ValueError: The answers do not have the same fields.

    Example:
        >>> both = Completions([{"answer": "4"}, {"answer": "four"}])
        >>> both.answer, both[1].answer, len(both)
        (['4', 'four'], 'four', 2)
    """

    def __init__(
        self,
        completions: Sequence[Mapping[str, Any]] | Mapping[str, list[Any]],
        signature: type[Signature] | None = None,
    ) -> None:
        self.signature = signature
        self._columns: dict[str, list[Any]] = {}
        if isinstance(completions, (list, tuple)):
            rows = cast("Sequence[Mapping[str, Any]]", completions)
            for name in {name: None for row in rows for name in row}:
                self._columns[name] = [row[name] for row in rows if name in row]
        else:
            self._columns = dict(cast("Mapping[str, list[Any]]", completions))
        counts = {name: len(column) for name, column in self._columns.items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"All lists must have the same length, and these have {counts}.")

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return self._columns[key]
        if not -len(self) <= key < len(self):
            raise IndexError(f"There is no completion {key}; there are {len(self)}.")
        return Prediction(**{name: values[key] for name, values in self._columns.items()})

    def __getattr__(self, name: str) -> list[Any]:
        if name.startswith("_") or name not in self._columns:
            raise AttributeError(f"Completions has no field {name!r}.")
        return self._columns[name]

    def __len__(self) -> int:
        return next((len(values) for values in self._columns.values()), 0)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def items(self) -> list[tuple[str, list[Any]]]:
        """Return field names with the values of all answers."""
        return list(self._columns.items())

    def __repr__(self) -> str:
        return f"Completions({self._columns!r})"


class Prediction(Example):
    """Hold the output fields of a call, read as attributes or items.

    Args:
        base: Values to start from.
        **kwargs: Further values; they win.

    A prediction that has a ``score`` is added, divided and compared as that number, so that
    ``sum(predictions) / len(predictions)`` and ``max(predictions)`` work.

    Attributes:
        completions: All answers, where the LM gave several; None for hand-made predictions.

    Example:
        >>> Prediction(answer="Paris").answer
        'Paris'

    Source:
        Names and call shapes as DSPy's class of that name.
    """

    _completions: Completions | None
    _lm_usage: dict[str, dict[str, Any]] | None

    def __init__(self, base: Mapping[str, Any] | Example | None = None, **kwargs: Any) -> None:
        super().__init__(base, **kwargs)
        self._completions = None
        self._lm_usage = None

    @classmethod
    def from_completions(
        cls,
        list_or_dict: Sequence[Mapping[str, Any]] | Mapping[str, list[Any]],
        signature: type[Signature] | None = None,
    ) -> Self:
        """Make a prediction of the first answer that keeps them all.

        Args:
            list_or_dict: One dict per answer, or one list of values per field.
            signature: What was asked.
        """
        every = Completions(list_or_dict, signature)
        prediction = cls({name: values[0] for name, values in every.items() if values})
        prediction._completions = every
        return prediction

    @property
    def completions(self) -> Completions | None:
        """All answers, where the LM gave several."""
        return self._completions

    def get_lm_usage(self) -> dict[str, dict[str, Any]] | None:
        """Return what the call took, by model; None unless ``track_usage`` is set.

        Returns:
            Token counts as the provider names them, with their details, summed over all
            requests below the call that returned this prediction. Cached answers count nothing.
        """
        return self._lm_usage

    def set_lm_usage(self, value: dict[str, dict[str, Any]]) -> None:
        """Set what `get_lm_usage` returns."""
        self._lm_usage = value

    def __float__(self) -> float:
        if "score" not in self:
            raise ValueError(
                "Prediction object does not have a 'score' field to convert to float; it has "
                f"{self.keys()}."
            )
        return float(self["score"])

    def __add__(self, other: Any) -> float:
        return float(self) + float(other) if _is_number(other) else NotImplemented

    __radd__ = __add__

    def __truediv__(self, other: Any) -> float:
        return float(self) / float(other) if _is_number(other) else NotImplemented

    def __rtruediv__(self, other: Any) -> float:
        return float(other) / float(self) if _is_number(other) else NotImplemented

    def __lt__(self, other: Any) -> bool:
        return float(self) < float(other) if _is_number(other) else NotImplemented

    def __le__(self, other: Any) -> bool:
        return float(self) <= float(other) if _is_number(other) else NotImplemented

    def __gt__(self, other: Any) -> bool:
        return float(self) > float(other) if _is_number(other) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        return float(self) >= float(other) if _is_number(other) else NotImplemented

    def __repr__(self) -> str:
        lines = [f"    {name}={value!r}" for name, value in self.items()]
        text = f"{type(self).__name__}(\n" + ",\n".join(lines) + "\n)"
        several = len(self._completions) if self._completions is not None else 1
        return f"{text} ({several - 1} more in .completions)" if several > 1 else text

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><th style='text-align:left;vertical-align:top'>{escape(name)}</th>"
            f"<td style='text-align:left;white-space:pre-wrap'>{escape(str(value))}</td></tr>"
            for name, value in self.items()
        )
        return f"<table class='tex2jax_ignore mathjax_ignore'>{rows}</table>"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Prediction))
