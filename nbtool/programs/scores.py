"""`EvaluationResult`: scores with what they are scores of, as a table and in files."""

from __future__ import annotations

import csv
import json
import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import to_jsonable_python

from nbtool.errors import SavingError
from nbtool.programs.example import Example
from nbtool.programs.prediction import Prediction
from nbtool.views.model import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from rich.table import Table

    from nbtool.executors.failed import FailedRow

Scored: TypeAlias = "tuple[Any, Any, Any]"
"""An example, what the program made of it, and the score."""

_CELL_CHARS = 160
_MOST_ROWS = 50
_MOST_COLUMNS = 20
_ERROR = "error"


class EvaluationResult(Prediction):
    """Hold the result of an evaluation.

    Args:
        score: The average, in percent, to two places.
        results: An example, its prediction and its score, in the order of the examples.
        failures: Error records of the examples whose program or metric failed.
        metric_name: What the column of scores is called.

    Attributes:
        score: As above.
        results: As above; a failed example has an empty prediction.
        failures: As above.

    Source:
        Name, fields and the columns of the table as DSPy's class of that name.
    """

    _failures: Sequence[FailedRow]
    _metric_name: str

    def __init__(
        self,
        score: float,
        results: list[Scored],
        failures: Sequence[FailedRow] = (),
        metric_name: str = "score",
    ) -> None:
        super().__init__(score=score, results=results)
        self._failures = tuple(failures)
        self._metric_name = metric_name

    @property
    def failures(self) -> Sequence[FailedRow]:
        """Error records of the examples that failed."""
        return self._failures

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each example: its fields, those of the prediction, the score.

        A name that both have becomes ``example_…`` and ``pred_…``. Where an example failed,
        there is a column ``error``.
        """
        errors = {failed.index: failed.error for failed in self._failures}
        rows: list[dict[str, Any]] = []
        for index, (example, prediction, score) in enumerate(self["results"]):
            row = {**_merged(example, prediction), self._metric_name: score}
            if errors:
                row[_ERROR] = repr(errors[index]) if index in errors else ""
            rows.append(row)
        return rows

    def as_text(self, most_rows: int | None = None) -> Table:
        """Return the table as rich draws it in a terminal or notebook.

        Args:
            most_rows: How many rows to show; None: all.
        """
        from rich.table import Table
        from rich.text import Text

        rows, names, note = self._shown(most_rows)
        table = Table(caption=Text(note) if note else None)
        for name in names:
            table.add_column(Text(one_line(name, _CELL_CHARS)), overflow="fold")
        for row in rows:
            # As text, never as markup: an LM's words are not ours.
            table.add_row(*(Text(_cell(row.get(name, ""))) for name in names))
        return table

    def _shown(self, most_rows: int | None) -> tuple[list[dict[str, Any]], list[str], str]:
        rows = self.table()
        shown = rows if most_rows is None else rows[:most_rows]
        names = _names(rows)
        notes: list[str] = []
        if len(names) > _MOST_COLUMNS:
            notes.append(f"… {len(names) - _MOST_COLUMNS:,} more columns")
            last = [name for name in names[_MOST_COLUMNS:] if name in {self._metric_name, _ERROR}]
            names = [*names[:_MOST_COLUMNS], *last]
        if len(shown) < len(rows):
            notes.append(f"… {len(rows) - len(shown):,} more rows")
        return shown, names, ", ".join(notes)

    def save_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV, UTF-8.

        A spreadsheet takes a text that begins with ``=`` for a formula, also one that an LM wrote.

        Raises:
            SavingError: The file cannot be written; one that was there is left as it was.
        """
        rows = self.table()

        def write(file: TextIO) -> None:
            writer = csv.DictWriter(file, fieldnames=_names(rows), restval="")
            writer.writeheader()
            writer.writerows(rows)

        _written(Path(path), write)

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write the table as JSON, a list of objects; what JSON lacks becomes text.

        Raises:
            SavingError: The file cannot be written; one that was there is left as it was.
        """
        rows = to_jsonable_python(self.table(), fallback=_plain, inf_nan_mode="constants")
        _written(Path(path), lambda file: json.dump(rows, file))

    def __trace_value__(self) -> dict[str, Any]:
        """Show in traces what fits a line: each example has steps of its own."""
        return {
            "score": self["score"],
            "examples": len(self["results"]),
            "failed": len(self._failures),
        }

    def __repr__(self) -> str:
        results = f"<list of {len(self['results'])} results>"
        failed = f", failures=<{len(self._failures)} of them>" if self._failures else ""
        return f"EvaluationResult(score={self['score']}, results={results}{failed})"

    def _repr_html_(self) -> str:
        rows, names, note = self._shown(_MOST_ROWS)
        style = "text-align:left;vertical-align:top"
        head = "".join(f'<th style="{style}">{escape(_cell(name))}</th>' for name in names)
        body = "".join(
            "<tr>"
            + "".join(f'<td style="{style}">{escape(_cell(row.get(n, "")))}</td>' for n in names)
            + "</tr>"
            for row in rows
        )
        failed = f", {len(self._failures):,} failed" if self._failures else ""
        summary = f"<p><b>{self['score']} %</b> of {len(self['results']):,} examples{failed}</p>"
        more = f"<p>{escape(note)}</p>" if note else ""
        return (
            f'<div class="tex2jax_ignore">{summary}<table><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table>{more}</div>"
        )


def _merged(example: Any, prediction: Any) -> dict[str, Any]:
    given = example.toDict()
    if not callable(getattr(prediction, "items", None)):
        return {**given, "prediction": prediction}
    is_ours = isinstance(prediction, Example)
    found: dict[str, Any] = prediction.toDict() if is_ours else dict(prediction.items())
    return {
        **{f"example_{name}" if name in found else name: value for name, value in given.items()},
        **{f"pred_{name}" if name in given else name: value for name, value in found.items()},
    }


def _names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the columns of all rows: fields in their order, then the score and the error."""
    names = {name: None for row in rows for name in row}
    last = [name for name in reversed(rows[0]) if rows][: 2 if _ERROR in names else 1]
    return [*(name for name in names if name not in last), *reversed(last)]


def _cell(value: object) -> str:
    return one_line(str(value), _CELL_CHARS)


def _plain(value: Any) -> Any:
    return value.toDict() if isinstance(value, Example) else str(value)


def partial_of(path: Path) -> Path:
    """Return the file that is written before it replaces another."""
    return path.with_name(f"{path.name}.{os.getpid()}.partial")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Make sure, before anything is paid for, that a file can be written.

    Raises:
        SavingError: It cannot.
    """
    partial = partial_of(Path(path))
    try:
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise _unwritable(Path(path), error) from error


def _written(path: Path, write: Callable[[TextIO], object]) -> None:
    partial = partial_of(path)
    try:
        # What has no UTF-8 form, a lone surrogate of an LM, becomes an escape.
        with partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            write(file)
        partial.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> SavingError:
    return SavingError(
        f"The scores cannot be written to {str(path)!r}: {error}",
        hint="Give a path that you may write.",
    )
