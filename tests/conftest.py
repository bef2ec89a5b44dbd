"""What every test gets: the settings as they were before it, and an empty cache of its own."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

from nbtool import configuration, ownership
from nbtool.lm.caching import current

sys.path.append(str(Path(__file__).resolve().parent / "compat"))
from compatibility_page import Compatibility

# A machine may be very busy: how long an example takes says nothing about it.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")


def pytest_addoption(parser):
    # Here and not in tests/kernels: pytest reads only this file before it reads the command line.
    parser.addoption(
        "--all-kernels",
        action="store_true",
        help="run in kernels of every version and in other hosts, not in the newest kernel alone",
    )
    parser.addoption(
        "--write-compatibility",
        action="store_true",
        help="write docs/compatibility.md from the tests that pass",
    )

    parser.addoption(
        "--browser",
        action="store_true",
        help="run tests/browser alone, which needs Chromium and what `make browser` installs",
    )


def pytest_ignore_collect(collection_path, config):
    """Run what needs a browser alone or not at all; None leaves the choice to others.

    Playwright keeps an event loop running in its thread, in which no other test could run one.
    """
    browser = Path(__file__).parent / "browser"
    if not config.getoption("--browser"):
        return True if collection_path == browser else None
    is_on_the_way = browser in (collection_path, *collection_path.parents)
    return None if is_on_the_way or collection_path in browser.parents else True


def pytest_configure(config):
    config.pluginmanager.register(Compatibility(config))
    # A shell that starts us with `&` lets us ignore Ctrl-C, and what the tests start would too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What a test does not give a folder of its own, such as programs that several share.
    folder = tempfile.TemporaryDirectory(prefix="nbtool-cache-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    os.environ["NBTOOL_CACHE_DIR"] = folder.name


def pytest_collection_modifyitems(config, items):
    """Leave out what needs environments of its own, unless they are asked for."""
    for item in items:
        _keep_together(item)
    if config.getoption("--all-kernels"):
        return
    left_out = [item for item in items if item.get_closest_marker("other_environment")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _keep_together(item):
    """Let one process run the tests that share a kernel or another fixture of their module."""
    if item.get_closest_marker("xdist_group") is not None:
        return
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    where = parameters.get("kernel_environment", "")
    item.add_marker(pytest.mark.xdist_group(f"{item.path.name} {where}"))


@pytest.fixture(autouse=True)
def _settings_as_before():
    before = configuration._process
    ownership._owner = ownership._Owner()  # each test may configure, whoever did before
    yield
    configuration._process = before


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Give a test a cache of its own, and so no answer of another test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NBTOOL_CACHE_DIR", str(folder))  # programs that a test starts get it too
    monkeypatch.setattr(current, "cache", current.Cache())
    return folder
