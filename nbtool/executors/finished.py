"""`Finished`: results of rows in a file, so that a run that ended early can be taken up again.

The file has one JSON object a line: a header, then a row's key with its result, in the order in
which rows end. A line is written at once and whole; one that a crash has cut off is left out when
the file is read, and its row is run again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nbtool.errors import SavingError, StateError
from nbtool.executors.flow import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from io import BufferedReader

    Codec: TypeAlias = "tuple[Callable[[Any], Any], Callable[[Any], Any]]"

_FORMAT = "nbtool-rows"
_SCHEMA = 1
_HEADER_BYTES = 10_000  # more than any header has
_HINT = "Give `resume=` another path, or remove the file."
_log = logging.getLogger("nbtool")


class Finished:
    """Hold the results of finished rows in a file.

    Of what the file has, only keys and places are held in memory.

    Args:
        path: The file; it is made where it is missing, and only its owner can read it.
        program: Whose results they are.
        codec: Turns a result into JSON values, and such values into a result.
    """

    def __init__(self, path: str | os.PathLike[str], program: str, codec: Codec) -> None:
        self._path = Path(path)
        self._header = _line({"format": _FORMAT, "schema": _SCHEMA, "program": program})
        self._encode, self._decode = codec
        self._places: dict[str, list[int]] = {}
        self._reader: BufferedReader | None = None
        self._appender: int | None = None  # a descriptor of its own: each write goes to the end
        self._is_cut = False

    def open(self) -> None:
        """Read what is there; this may take long.

        Raises:
            StateError: The file cannot be read or written, or holds something else.
        """
        try:
            if self._path.exists() and not self._path.is_file():  # a pipe or device would hang
                raise OSError("it is no file")  # noqa: TRY301 - told as any other reason
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._appender = os.open(self._path, flags, 0o600)
            self._reader = self._path.open("rb")
            with _locked(self._appender):
                self._begin(self._reader, self._appender)
        except OSError as error:
            self.close()
            raise StateError(
                f"The file of finished rows {str(self._path)!r} cannot be opened: {error}",
                hint="Give `resume=` a path that you may write.",
            ) from error
        except BaseException:
            self.close()
            raise
        self._read(self._reader)

    def _begin(self, reader: BufferedReader, appender: int) -> None:
        """Look at the header; write it where it is missing, or was cut off."""
        first = reader.readline(_HEADER_BYTES)
        if first == self._header:
            return
        if not self._header.startswith(first):
            raise self._refused(first)
        os.ftruncate(appender, 0)
        _append(appender, self._header)

    def _read(self, reader: BufferedReader) -> None:
        place = reader.seek(len(self._header))
        damaged = 0
        for line in reader:
            key = _key_in(line)
            if key is None:
                damaged += 1
            else:
                self._places.setdefault(key, []).append(place)
            place += len(line)
            self._is_cut = not line.endswith(b"\n")
        for places in self._places.values():
            places.reverse()  # the oldest is taken first
        if damaged:
            _log.warning(
                "%s: %d lines are damaged and were left out; their rows are run again.",
                self._path,
                damaged,
            )

    def _refused(self, first: bytes) -> StateError:
        try:
            header = json.loads(first)
            is_ours, known = header["format"] == _FORMAT, (header["schema"], header["program"])
        except (ValueError, KeyError, TypeError, RecursionError):
            is_ours, known = False, (None, None)
        if not is_ours:
            return StateError(
                f"{str(self._path)!r} is no file of finished rows, and nothing was written to it.",
                hint=_HINT,
            )
        wanted = json.loads(self._header)
        return StateError(
            f"{str(self._path)!r} holds results of {known[1]!r} (schema {known[0]!r}), and these "
            f"are rows of {wanted['program']!r} (schema {_SCHEMA}).",
            hint=_HINT,
        )

    def recall(self, key: str) -> Known[Any] | None:
        """Return the result of a row, once for each time that it was kept.

        Args:
            key: The row's key.

        Raises:
            StateError: The file was changed meanwhile, or holds what is no result.
        """
        places = self._places.get(key)
        if not places or self._reader is None:
            return None
        try:
            self._reader.seek(places.pop())
            return Known(self._decode(json.loads(self._reader.readline())["result"]))
        except Exception as error:
            raise StateError(
                f"A result in {str(self._path)!r} cannot be read: {error!r}", hint=_HINT
            ) from error

    def keep(self, key: str, result: Any) -> None:
        """Write the result of a row.

        Raises:
            SavingError: It has no JSON form from which it could be read again, or the file cannot
                be written.
        """
        line = _line({"key": key, "result": self._json(result)})
        if self._appender is None:
            return
        try:
            _append(self._appender, b"\n" + line if self._is_cut else line)
        except OSError as error:
            raise SavingError(
                f"A finished row cannot be written to {str(self._path)!r}: {error}",
                hint="What was written before is kept: run the same again later.",
            ) from error
        self._is_cut = False

    def _json(self, result: Any) -> Any:
        try:
            form = self._encode(result)
            again = self._decode(json.loads(_line(form)))
            is_same = type(again) is type(result) and bool(again == result)
        except Exception as error:
            raise _unfit(result) from error
        if not is_same:
            raise _unfit(result)
        return form

    def close(self) -> None:
        """Close the file."""
        reader, self._reader = self._reader, None
        appender, self._appender = self._appender, None
        if reader is not None:
            reader.close()
        if appender is not None:
            os.close(appender)


@contextlib.contextmanager
def _locked(descriptor: int) -> Generator[None]:
    """Keep another process out that begins the same file at the same time."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _append(descriptor: int, line: bytes) -> None:
    while line:  # one write is enough, unless the disk is full
        line = line[os.write(descriptor, line) :]


def _line(form: Any) -> bytes:
    # ASCII, so that a lone surrogate in an LM's text cannot make the file unreadable.
    text = json.dumps(form, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f"{text}\n".encode("ascii")


def _key_in(line: bytes) -> str | None:
    try:
        entry = json.loads(line)
        key = entry["key"] if "result" in entry else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return key if isinstance(key, str) else None


def _unfit(result: Any) -> SavingError:
    return SavingError(
        f"A result of type {type(result).__qualname__!r} cannot be kept in a file: read from JSON "
        "it would not be the same.",
        hint="Return a Prediction of JSON values, or give `codec=(to_json, from_json)`.",
    )
