"""Show verdicts as a table, and keep them as JSON."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.registry import Case, Verdict

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
STYLES = {"met": "green", "missed": "bold red", "not measured": "yellow"}


def table(verdicts: Sequence[Verdict]) -> Table:
    """Return one row per case."""
    shown = Table("case", title="nbtool beside its competitors")
    for column in ("nbtool", "competitor", "ratio", "target"):
        shown.add_column(column, justify="right")
    shown.add_column("met?")
    for verdict in verdicts:
        unit = verdict.case.unit
        outcome = f"{verdict.outcome}: {verdict.reason}" if verdict.reason else verdict.outcome
        shown.add_row(
            Text(verdict.case.name),
            _figure(verdict.own, unit),
            _competitor(verdict),
            _figure(verdict.ratio),
            target_text(verdict.case),
            Text(outcome, style=STYLES[verdict.outcome]),
        )
    return shown


def target_text(case: Case) -> str:
    """Return a target as one reads it, such as ``ratio <= 0.35``."""
    sign = "<=" if case.direction == "lower" else ">="
    if case.against:
        return f"ratio {sign} {case.target:g}"
    return f"{sign} {case.target:g} {case.unit}"


def save(verdicts: Sequence[Verdict]) -> Path:
    """Write the verdicts, with what must be known to compare them later.

    Returns:
        The file, named after the time in UTC.
    """
    now = dt.datetime.now(dt.UTC)
    record = {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "date": now.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "cases": [_row(verdict) for verdict in verdicts],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{now:%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def _row(verdict: Verdict) -> dict[str, Any]:
    case = verdict.case
    return {
        "name": case.name,
        "unit": case.unit,
        "direction": case.direction,
        "target": case.target,
        "against": case.against,
        "nbtool": verdict.own,
        "competitor": verdict.rival,
        "ratio": verdict.ratio,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
    }


def _competitor(verdict: Verdict) -> Text:
    figure = _figure(verdict.rival, verdict.case.unit)
    return Text(f"{figure} ({verdict.case.against})" if verdict.case.against else figure)


def _figure(figure: float | None, unit: str = "") -> str:
    if figure is None:
        return "-"
    shown = f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"
    return f"{shown} {unit}".strip()


def _git(*arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
