"""Traces in files: JSON lines out and in.

The first line is a header with the schema version; each further line is one step. Everything is
scrubbed by the record itself before it gets here.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbtool.errors import RecordingError
from nbtool.tracing.fingerprints import PROCESS_SALT
from nbtool.tracing.record import SpanRecord, secrets_in_use
from nbtool.tracing.scrub import scrub_text

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA_VERSION = 1
_FORMAT = "nbtool-trace"


def to_lines(spans: Iterable[SpanRecord]) -> Iterable[str]:
    """Give the lines of a trace file, without line ends; the header comes first."""
    kept = list(spans)
    yield _dump(
        {
            "format": _FORMAT,
            "schema": SCHEMA_VERSION,
            "nbtool": _version(),
            "python": platform.python_version(),
            "platform": sys.platform,
            "programs": _programs(kept),
            "salt": PROCESS_SALT,  # of the marks; steps that were read from a file have its own
        }
    )
    for span in kept:
        yield _dump({"event": "span", **span.to_json()})


def _version() -> str:
    try:
        return metadata.version("nbtool-live")
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return "unknown"


def _programs(spans: list[SpanRecord]) -> list[str]:
    names = [span.name for span in spans if span.parent_id is None]
    return [scrub_text(name, secrets=secrets_in_use()) for name in names]


def _dump(values: dict[str, Any]) -> str:
    # ASCII, so that a lone surrogate in an LM's text cannot make the file unreadable.
    return json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def write_jsonl(spans: Iterable[SpanRecord], path: str | os.PathLike[str]) -> None:
    """Write a trace file.

    Args:
        spans: Records, oldest first.
        path: File to write; it is replaced whole, or left as it was.
    """
    target = Path(path)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in to_lines(spans))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def read_jsonl(path: str | os.PathLike[str]) -> list[SpanRecord]:
    """Read a trace file.

    Args:
        path: File to read.

    Returns:
        Records, oldest first. A last line that was cut off is left out, with a warning.

    Raises:
        RecordingError: The file is no trace, of another schema version, or damaged.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    _check_header(lines, path)
    spans: list[SpanRecord] = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            spans.append(SpanRecord.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if number == len(lines):
                warnings.warn(
                    f"The last line of {os.fspath(path)!r} is cut off and was left out.",
                    stacklevel=3,
                )
                break
            raise RecordingError(
                f"Line {number} of {os.fspath(path)!r} is no step of a trace: {error}",
                hint="The lines before it can be saved to a file of their own and loaded.",
            ) from error
    return spans


def _check_header(lines: list[str], path: str | os.PathLike[str]) -> None:
    try:
        header = json.loads(lines[0])
        is_trace = header["format"] == _FORMAT
        version = header["schema"]
    except (IndexError, ValueError, KeyError, TypeError, RecursionError):
        is_trace, version = False, None
    if not is_trace:
        raise RecordingError(
            f"{os.fspath(path)!r} is no trace of nbtool: its first line is not a trace header.",
            hint="Traces are written by `Trace.save(path)`.",
        )
    if version != SCHEMA_VERSION:
        raise RecordingError(
            f"{os.fspath(path)!r} has trace schema {version!r}; this version of nbtool reads "
            f"{SCHEMA_VERSION}.",
            hint="Load it with the version of nbtool that wrote it, or record it again.",
        )
