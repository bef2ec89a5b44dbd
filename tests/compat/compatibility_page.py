"""Write docs/compatibility.md from the tests that passed.

``@pytest.mark.api("Predict")`` says that a test proves that row of rows.toml. A row whose tests
all passed is shown as *same* or *better*; one without a test, or with one that failed, as *not
yet*. A whole run of the suite fails where the committed page says something else;
``make compatibility`` writes it.
"""

from __future__ import annotations

import itertools
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "compatibility.md"
ROWS = tomllib.loads((HERE / "rows.toml").read_text("utf-8"))["row"]
_IDS = {row["id"] for row in ROWS}
_INTRODUCTION = """\
# Compatibility with DSPy

What nbtool shares with DSPy 3.4, call by call. A program ports by changing its import.

This page is made from the tests (`make compatibility`): *same* and *better* stand for rows whose
tests pass, *not yet* for rows that have none. *Must* rows are what the async guide's programs are
made of.
"""


class Compatibility:
    """Collect which rows the tests of a session prove, and compare the page with that."""

    def __init__(self, config) -> None:
        self._config = config
        self._outcomes = defaultdict(set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item):
        report = yield
        report.api_rows = [mark.args[0] for mark in item.iter_markers("api")]
        return report

    def pytest_collection_modifyitems(self, items):
        named = {mark.args[0] for item in items for mark in item.iter_markers("api")}
        if named - _IDS:
            raise pytest.UsageError(f"rows.toml has no rows {sorted(named - _IDS)}")

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            for row in getattr(report, "api_rows", ()):
                self._outcomes[row].add(report.outcome)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if hasattr(self._config, "workerinput"):
            return  # the first process counts
        if self._config.getoption("--write-compatibility"):
            PAGE.write_text(self.text(), encoding="utf-8")
        elif _is_whole(self._config) and not session.exitstatus and self.text() != _committed():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._is_stale = True

    def pytest_terminal_summary(self, terminalreporter):
        if getattr(self, "_is_stale", False):
            terminalreporter.section("compatibility")
            terminalreporter.write_line(f"{PAGE.name} is stale: run `make compatibility`.")

    def text(self):
        """Return the page as the outcomes of this session make it."""
        parts = [_INTRODUCTION]
        for area, rows in itertools.groupby(ROWS, key=lambda row: row["area"]):
            parts += [f"\n## {area}\n\n| call | importance | state |\n|---|---|---|\n"]
            parts += [_line(row, self._outcomes.get(row["id"], set())) for row in rows]
        return "".join(parts)


def _is_whole(config):
    chosen = config.option.keyword or config.option.markexpr
    chosen = chosen or getattr(config.option, "lf", False)  # not there with -p no:cacheprovider
    return not chosen and config.args == config.getini("testpaths")


def _committed():
    return PAGE.read_text("utf-8") if PAGE.exists() else ""


def _line(row, outcomes):
    if "not_planned" in row:
        state = f"not planned: {row['not_planned']}"
    elif outcomes != {"passed"}:
        state = "*not yet*"
    else:
        state = f"better: {row['better']}" if "better" in row else "same"
    call = row["call"].replace("|", "\\|")
    return f"| `{call}` | {row['importance']} | {state} |\n"
