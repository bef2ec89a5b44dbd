"""One Jupyter server and one Chromium for each process that runs tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "kernels"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

import front_end  # noqa: E402 - beside this file
from environments import environment  # noqa: E402 - of the kernel suite
from playwright.sync_api import expect  # noqa: E402

KERNELS = ("newest", "colab")
_LIMIT_S = 300


def pytest_generate_tests(metafunc):
    if "kernel_name" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("any_kernel")
    names = KERNELS if mark else KERNELS[:1]
    metafunc.parametrize("kernel_name", names, scope="session")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == HERE:
            kernel = (
                item.callspec.params.get("kernel_name", "") if hasattr(item, "callspec") else ""
            )
            # The hostile texts are many and for one kernel: alone, both processes end together.
            alone = item.path.stem if item.path.stem == "test_hostile_texts" else ""
            item.add_marker(pytest.mark.xdist_group(f"browser {kernel} {alone}"))
            item.add_marker(pytest.mark.timeout(_LIMIT_S))


def pytest_collection_finish(session):
    """Make a missing environment here: it takes a minute, and a test's time is limited."""
    asked = {kernel for item in session.items if (kernel := _kernel_of(item))}
    if not session.config.option.collectonly:
        for name in asked:
            _python(name)


def _kernel_of(item):
    is_ours = item.path.parent == HERE and hasattr(item, "callspec")
    return item.callspec.params.get("kernel_name") if is_ours else None


def _python(name):
    """Return the interpreter; the newest kernel is in the environment of the tests."""
    if name == KERNELS[0]:
        return Path(sys.executable)
    made = environment(name)
    if made.python is None:
        raise RuntimeError(f"The environment {name} could not be made: {made.reason}")
    return made.python


@pytest.fixture(scope="session")
def server(kernel_name):
    started = front_end.Server(kernel_name, _python(kernel_name))
    yield started
    started.close()


@pytest.fixture(scope="session")
def chromium():
    with front_end.launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def browser_context(chromium):
    expect.set_options(timeout=30_000)
    context = chromium.new_context(
        viewport={"width": 1200, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def open_notebook(server, browser_context):
    """Give a function that opens a notebook with cells of these sources."""
    opened = []

    def opening(*cells, **options):
        opened.append(front_end.Notebook(server, browser_context, cells, **options))
        return opened[-1]

    yield opening
    complaints = [said for notebook in opened for said in notebook.complaints]
    for notebook in opened:
        notebook.close()
    assert complaints == []
