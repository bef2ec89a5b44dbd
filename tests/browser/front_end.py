"""A real Jupyter server and its front ends in a headless Chromium, apart from the user's own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page

CHECKOUT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 90.0
_OPENING_MS = 90_000
_TOKEN = "test"
_CHROMIUM_FLAGS = (
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_SERVER_FLAGS = (
    "--allow-root",
    "--no-browser",
    "--ip=127.0.0.1",
    "--ServerApp.port_retries=0",
    f"--IdentityProvider.token={_TOKEN}",
    "--ServerApp.disable_check_xsrf=True",
    "--ServerApp.log_level=WARN",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
    "--LabApp.expose_app_in_browser=True",
    "--JupyterNotebookApp.expose_app_in_browser=True",
)
_NOTEBOOK = "window.jupyterapp?.shell.currentWidget?.sessionContext"
_IS_IDLE = "jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
_HAS_RUN = """i => {
  const prompt = jupyterapp.shell.currentWidget.content.widgets[i].inputArea.promptNode;
  return /[0-9]/.test(prompt.innerText);
}"""
_RUN = """i => {
  const notebook = jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = i;
  jupyterapp.commands.execute('notebook:run-cell');
}"""


class Server:
    """Serve JupyterLab and Notebook 7 from a folder of its own.

    Args:
        kernel: Name of the kernelspec.
        python: Interpreter of the kernel; widgets have the front end that is installed beside it.
    """

    def __init__(self, kernel: str, python: Path) -> None:
        self.kernel = kernel
        self._home = tempfile.TemporaryDirectory(prefix="nbtool-jupyter-")
        home = Path(self._home.name)
        self.root = home / "notebooks"
        self._log = home / "server.log"
        for name in ("notebooks", "config", "data", "runtime", "ipython", "workspaces"):
            (home / name).mkdir()
        _write_kernelspec(home / "data" / "kernels" / kernel, kernel, python)
        _write_settings(home / "config" / "lab" / "user-settings")
        extensions = python.parent.parent / "share" / "jupyter" / "labextensions"
        (home / "kernels-own" / "labextensions").mkdir(parents=True)
        (home / "kernels-own" / "labextensions" / "anywidget").symlink_to(extensions / "anywidget")
        port = _free_port()
        self.base = f"http://127.0.0.1:{port}"
        self._environment = {
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            # Asked first: an anywidget of 0.9 does not talk to a front end of 0.11.
            "JUPYTER_PATH": str(home / "kernels-own"),
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTER_PLATFORM_DIRS": "1",
        }
        self._server = self._start(home, port)
        self._wait()

    def _start(self, home: Path, port: int) -> subprocess.Popen[bytes]:
        folders = (
            f"--ServerApp.root_dir={self.root}",
            f"--LabApp.workspaces_dir={home / 'workspaces'}",
        )
        with self._log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "jupyterlab", f"--port={port}", *_SERVER_FLAGS, *folders],
                env=self._environment, cwd=self.root,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _wait(self) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            with contextlib.suppress(OSError):
                self.api("status")
                return
            if time.monotonic() > deadline_s or self._server.poll() is not None:
                said = self._log.read_text("utf-8")[-2000:]
                self.close()
                raise RuntimeError(f"JupyterLab did not start:\n{said}")
            time.sleep(0.1)

    def api(self, path: str, method: str = "GET") -> Any:
        """Ask the server; returns its JSON."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.base}/api/{path}?token={_TOKEN}", method=method
        )
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            return json.loads(reply.read() or "null")

    def converted(self, path: Path) -> str:
        """Run a notebook by nbconvert; returns the page that it makes."""
        command = ["nbconvert", "--execute", "--to", "html", "--stdout", str(path)]
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", *command],
            env=self._environment, check=False, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"nbconvert failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def url(self, place: str, name: str) -> str:
        """Return where a notebook is shown: ``lab/tree`` or ``notebooks``."""
        return f"{self.base}/{place}/{name}?token={_TOKEN}&reset"

    def forget_kernels(self, folder: str = "") -> None:
        """End kernels of a folder: who opens a notebook again would get its old one."""
        for session in self.api("sessions"):
            if not session["path"].startswith(folder):
                continue
            self.api(f"sessions/{session['id']}", "DELETE")

    def close(self) -> None:
        """End the server, its kernels and all that they started."""
        with contextlib.suppress(OSError):
            self.forget_kernels()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGTERM)
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait(20)
        self._home.cleanup()


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def _write_kernelspec(folder: Path, name: str, python: Path) -> None:
    folder.mkdir(parents=True)
    spec = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": name,
        "language": "python",
        "env": {"PYTHONPATH": str(CHECKOUT)},
    }
    (folder / "kernel.json").write_text(json.dumps(spec), "utf-8")


def _write_settings(folder: Path) -> None:
    """Answer what JupyterLab asks a new user."""
    place = folder / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    place.parent.mkdir(parents=True)
    place.write_text('{"fetchNews": "false", "checkForUpdates": false}', "utf-8")


def chromium() -> str:
    """Return where Chromium is.

    Raises:
        RuntimeError: There is none; the message says what to install.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise RuntimeError(
            "The browser tests need Chromium on the PATH: apt-get install chromium (on Debian)."
        )
    return found


@contextlib.contextmanager
def launched() -> Generator[Browser]:
    """Run Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=_CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Notebook:
    """Be a person in front of a notebook.

    Args:
        server: Serves it.
        context: Of the browser.
        cells: Sources of its cells.
        place: ``"lab/tree"`` for JupyterLab, ``"notebooks"`` for Notebook 7.
    """

    def __init__(
        self,
        server: Server,
        context: BrowserContext,
        cells: Sequence[str],
        *,
        place: str = "lab/tree",
    ) -> None:
        self._server, self._place = server, place
        self.base = server.base
        self.folder = server.root / f"{time.monotonic_ns()}"
        self.folder.mkdir()
        self.path = self.folder / "notebook.ipynb"
        self._write(cells, server.kernel)
        self.page: Page = context.new_page()
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.complaints: list[str] = []
        self.page.on("pageerror", self._note_error)
        self.open()

    def _note_error(self, error: Error) -> None:
        """Keep errors of our own module, which anywidget loads from a blob: Jupyter has others."""
        if "blob:" in (error.stack or ""):
            self.complaints.append(error.stack or str(error))

    def _write(self, cells: Sequence[str], kernel: str) -> None:
        metadata = {
            "kernelspec": {"name": kernel, "display_name": kernel},
            "language_info": {"name": "python"},
        }
        sources = [nbformat.v4.new_code_cell(source) for source in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=sources, metadata=metadata), self.path)

    def open(self, *, awaits_kernel: bool = True) -> None:
        """Open it in the page, or open it again."""
        self.page.goto(self._server.url(self._place, f"{self.folder.name}/{self.path.name}"))
        self.page.wait_for_function(_NOTEBOOK, timeout=_OPENING_MS)
        if awaits_kernel:
            self.page.wait_for_function(_IS_IDLE, timeout=_OPENING_MS)

    def run(self, *cells: int) -> None:
        """Run cells, and wait for each."""
        for cell in cells:
            self.start(cell)
            self.wait_for(cell)

    def start(self, cell: int) -> None:
        """Run a cell, and do not wait."""
        self.page.evaluate(_RUN, cell)

    def wait_for(self, cell: int) -> None:
        """Wait until a cell has run: the kernel's status says nothing while it serves clicks."""
        self.page.wait_for_function(_HAS_RUN, arg=cell)

    def let(self, name: str) -> None:
        """Let steps go on that wait for this name; see `programs.SETUP`."""
        (self.folder / name).touch()

    def is_running(self, cell: int) -> bool:
        """Tell whether a cell runs."""
        return "*" in self.cell(cell).locator(".jp-InputPrompt").inner_text()

    def cell(self, cell: int) -> Locator:
        """Return a cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(cell)

    def output(self, cell: int) -> Locator:
        """Return what stands below a cell."""
        return self.cell(cell).locator(".jp-OutputArea").first

    def text(self, cell: int) -> str:
        """Return the text below a cell, also what is folded away."""
        return self.output(cell).text_content() or ""

    def trace(self, cell: int) -> Trace:
        """Return the live trace below a cell."""
        return Trace(self.output(cell).locator(".nbt"))

    def save(self) -> None:
        """Save it, as a person does."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")

    def saved(self) -> nbformat.NotebookNode:
        """Save it and return what the file then holds."""
        self.save()
        return nbformat.read(self.path, as_version=4)

    def open_afresh(self) -> None:
        """Close it, shut its kernel down, and open the file again."""
        self.page.goto("about:blank")
        self._server.forget_kernels(self.folder.name)
        self.open()

    def close(self) -> None:
        """Leave it, and end its kernel."""
        self.page.close()
        self._server.forget_kernels(self.folder.name)


class Trace:
    """Read a live trace as a person does.

    Args:
        element: Its outermost element.
    """

    def __init__(self, element: Locator) -> None:
        self.element = element
        self.tree = element.get_by_role("tree")
        self.details = element.locator(".nbt-details")

    def row(self, name: str) -> Locator:
        """Return the first row of a step."""
        return self.element.locator(".nbt-row", has=self.named(name)).first

    def named(self, name: str) -> Locator:
        """Return the names that are equal to one."""
        return self.element.page.locator(".nbt-name", has_text=name)

    def names(self) -> list[str]:
        """Return the names of the rows, from top to bottom."""
        return self.element.locator(".nbt-row .nbt-name").all_inner_texts()

    def stop(self, name: str) -> Locator:
        """Return what is shown of a step that waits for a person."""
        return self.element.locator(".nbt-stop", has=self.element.page.get_by_text(name)).first

    def press(self, label: str) -> None:
        """Click on a button."""
        self.element.get_by_role("button", name=label, exact=True).click()
