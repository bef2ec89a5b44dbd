"""The tables at the end of a run: behaviours by place, and the guide's programs by place.

A test names the behaviour that it proves by ``@pytest.mark.behaviour(15)``, or by
``@pytest.mark.program`` that it runs one of the guide's programs; the numbers are those of
`BEHAVIOURS`. Its place is the environment of its kernel, else what ``@pytest.mark.place`` says.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

BEHAVIOURS = {
    1: "run() in the first cell, the one that imports nbtool",
    2: "run() in a cell with top-level await",
    3: "run() in a callback",
    4: "run() inside another task; current_task restored",
    5: "run() in a thread",
    6: "script: one loop, asyncio.run works, no warning under -X dev",
    7: "IPython terminal, and Ctrl-C there",
    8: "asyncio's Task and Future are unpatched",
    9: "a background ticker keeps ticking",
    10: "gather(100) is concurrent",
    11: "context variables in and out, also on an exception",
    12: "a traceback has the user's frames only",
    13: "timeout, anyio.fail_after, TaskGroup inside",
    14: "run() nested six deep",
    15: "overlapping runs finish in their own order",
    16: "two runs wait for each other's events",
    17: "300 concurrent synchronous runs",
    18: "cancelling the outer task reaches the inner one",
    19: "a client bound to its loop lasts across cells",
    20: "interrupts",
    21: "sys.exit() in a chain does not end the kernel",
    22: "Run All: in order, none dropped, output in its own cell",
    23: "a click is served while a cell waits (test_clicks)",
    24: "a click is served during a background chain (test_clicks)",
    25: "Call: every way to wait for it and to end it",
    26: "a parked background task does not block later cells",
    27: "nest_asyncio before or after",
    28: "the guide's asyncio.run(main()) and its kin in a cell",
    29: "uvloop: the thread rung",
    30: "500 runs, 20 times: memory stays flat",
    31: "shutdown and restart while parked are quick",
    32: "100,000 task switches cost what they cost without us",
    33: "200 calls in a list under Semaphore(5): peak 5",
    34: "a variable set in a tool is visible after await",
    35: "two waiters: cancelling one leaves the other its result",
    36: "loops that end",
    37: "a limit of 4, 100 modules nested 3 deep",
    38: "forward in the caller's thread: Ctrl-C stops blocking code",
}
_PLACES = ("newest", "python312", "python313", "ipykernel73", "databricks", "colab")
_WORD = {"passed": "ok", "failed": "FAILED", "skipped": "not run", "xfailed": "xfail"}


class Tables:
    """Collect what the marked tests of a session gave, and print it.

    With several processes each notes on its reports what a test proves, and the first one counts.
    """

    def __init__(self) -> None:
        self._behaviours = defaultdict(Counter)
        self._programs = defaultdict(Counter)
        self._figures = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item):
        report = yield
        report.place = _place_of(item)
        report.behaviours = [mark.args[0] for mark in item.iter_markers("behaviour")]
        report.programs = [mark.args[0] for mark in item.iter_markers("program")]
        return report

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            verdict = "xfailed" if hasattr(report, "wasxfail") else report.outcome
            for number in report.behaviours:
                self._behaviours[number, report.place][verdict] += 1
            for name in report.programs:
                self._programs[name, report.place][verdict] += 1
        if report.when == "call":
            shown = [f"{name}: {value}" for name, value in report.user_properties]
            test = report.nodeid.partition("::")[2]
            self._figures += [f"{test}  {', '.join(shown)}"] if shown else []

    def pytest_terminal_summary(self, terminalreporter):
        tables = {
            "behaviours of the door": (self._behaviours, BEHAVIOURS),
            "programs of the guide": (self._programs, {}),
        }
        for title, (seen, titles) in tables.items():
            if seen:
                terminalreporter.section(title)
                terminalreporter.write_line("\n".join(_lines(seen, titles)))
        if self._figures:
            terminalreporter.section("figures")
            terminalreporter.write_line("\n".join(self._figures))


def _place_of(item):
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    mark = item.get_closest_marker("place")
    return mark.args[0] if mark else parameters.get("kernel_environment", "script")


def _lines(seen, titles):
    rows = sorted({row for row, _ in seen})
    found = {place for _, place in seen}
    places = [place for place in _PLACES if place in found] + sorted(found - set(_PLACES))
    yield f"{'':26}" + "".join(f"{place:>13}" for place in places)
    for row in rows:
        shown = "".join(f"{_verdict(seen.get((row, place))):>13}" for place in places)
        yield f"{row!s:26}{shown}  {titles.get(row, '')}".rstrip()


def _verdict(counts):
    if not counts:
        return "-"
    worst = next(name for name in ("failed", "xfailed", "skipped", "passed") if counts[name])
    return f"{_WORD[worst]} {counts[worst]}/{counts.total()}"
