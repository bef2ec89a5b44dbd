"""The line of progress: where it is shown, and that it never ends a run."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from nbtool.executors.progress import Bar, is_row

CHECKOUT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Make a terminal of standard error; only the test itself can, for pytest sets it again."""

    def make():
        screen = Terminal()
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return make


def run_through(total=3, **options):
    bar = Bar("QA.batch", total, **options)
    for number in range(3):
        bar.advance(has_failed=number == 1, note="half way")
    bar.close()


def test_line_in_a_terminal_says_how_far_rows_have_come(terminal):
    screen = terminal()
    run_through()
    last = screen.getvalue().split("\r")[-1]

    assert last.startswith("QA.batch: 100%")
    assert "3/3" in last
    assert "half way, 1 failed" in last


def test_line_needs_no_total(terminal):
    screen = terminal()
    run_through(total=None)

    assert "3 rows" in screen.getvalue().split("\r")[-1]


def test_nothing_is_shown_where_nobody_looks(terminal, monkeypatch):
    screen = terminal()
    run_through(is_wanted=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    run_through()

    assert sys.stderr.getvalue() == screen.getvalue() == ""


def test_nothing_is_shown_below_a_row(terminal):
    screen = terminal()
    token = is_row.set(True)
    try:
        run_through()
    finally:
        is_row.reset(token)

    assert screen.getvalue() == ""


def test_stream_that_is_closed_ends_nothing(terminal, monkeypatch):
    screen = terminal()
    bar = Bar("QA", 3)
    screen.close()
    bar.advance()
    bar.close()
    monkeypatch.setattr(sys, "stderr", None)
    run_through()


def test_line_needs_no_thread(terminal):
    terminal()
    before = threading.active_count()
    bar = Bar("QA", 3)

    assert threading.active_count() == before
    bar.close()


def test_batch_draws_on_standard_error_alone():
    source = """
        import asyncio, nbtool

        class QA(nbtool.Module):
            async def aforward(self, x):
                return await Inner().abatch([(x,)])

        class Inner(nbtool.Module):
            async def aforward(self, x):
                return x

        print(QA().batch([(x,) for x in range(5)]))
    """
    screen, end = pty.openpty()
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "error", "-c", textwrap.dedent(source)],
        cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=end, check=True, timeout=60,
    )  # fmt: skip
    os.close(end)
    shown = os.read(screen, 100_000).decode()
    os.close(screen)

    assert done.stdout == b"[[0], [1], [2], [3], [4]]\n"
    assert "QA.batch: 100%" in shown
    assert "Inner" not in shown
