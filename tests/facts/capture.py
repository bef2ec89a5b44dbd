"""Write down what `gather_facts` sees in real places, one JSON file for each.

``python tests/facts/capture.py`` looks in all of them, ``--only NAME`` (repeatable) in some. The
files with ``"captured": false`` were written by hand, for hosts that no test can start; this
program leaves those alone. A place whose environment could not be made is reported as not run,
and its file stays as it was.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pty
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbtool.testing.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
KERNELS = ("newest", "ipykernel73", "databricks", "colab")
_LIMIT_S = 60.0
_POLL_S = 0.05
_TRANSCRIPT_CHARS = 2_000

_LOOK = """\
import os, pathlib
from nbtool.runtime.surroundings import gather_facts

def look():
    file = pathlib.Path(os.environ["FACTS_FILE"])
    part = file.with_suffix(".part")
    part.write_text(gather_facts().to_json(), encoding="utf-8")
    part.rename(file)
"""

_SYNC = "from look import look\nlook()"
_ASYNC = "from look import look\nimport asyncio\nasync def main():\n    look()\n"

_UVICORN = """\
from look import look
import socket, threading, urllib.request, uvicorn

async def app(scope, receive, send):
    if scope["type"] == "http":
        look()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        server.should_exit = True

listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, loop="asyncio", lifespan="off", log_level="error"))
url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
threading.Thread(target=lambda: urllib.request.urlopen(url).close()).start()
server.run(sockets=[listener])
"""

_MARIMO = """\
import marimo
app = marimo.App()

@app.cell
def _():
    from look import look
    look()
    return

if __name__ == "__main__":
    app.run()
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Say where to look.

    Attributes:
        how: What is started, in words; it goes into the file.
        source: The code that looks, as a program, a cell, or lines typed at a prompt.
        start: Starts an interpreter with that code and returns when it has looked.
        recipe: Environment of the kernel suite whose interpreter is taken; empty for this one.
    """

    how: str
    source: str
    start: Callable[[Path, str, Path], None]
    recipe: str = ""


def _program(python: Path, source: str, folder: Path) -> None:
    program = folder / "app.py"
    program.write_text(source, encoding="utf-8")
    _finish([str(python), str(program)], folder)


def _marimo(python: Path, source: str, folder: Path) -> None:
    program = folder / "app.py"
    program.write_text(source, encoding="utf-8")
    export = ("export", "html", str(program), "-o", str(folder / "app.html"))
    _finish([str(python), "-m", "marimo", *export], folder)


def _finish(command: Sequence[str], folder: Path) -> None:
    subprocess.run(  # noqa: S603 - the commands are written in this file
        command,
        env=_environ(folder),
        cwd=folder,
        check=True,
        timeout=_LIMIT_S,
        stdin=subprocess.DEVNULL,
    )


def _cell(python: Path, source: str, folder: Path) -> None:
    paths = [CHECKOUT, folder]
    with Kernel(python, import_from=paths, env={"FACTS_FILE": str(_file(folder))}) as kernel:
        cell = kernel.run(f"import asyncio\n{source}", timeout_s=_LIMIT_S)
    if cell.status != "ok":
        sys.exit(f"The cell failed:\n{cell.traceback}")


def _prompt(python: Path, source: str, folder: Path) -> None:
    _type([str(python), "-q", "-i"], source, folder)


def _ipython(python: Path, source: str, folder: Path) -> None:
    _type([str(python), "-m", "IPython", "--no-banner", "--simple-prompt"], source, folder)


def _type(command: Sequence[str], source: str, folder: Path) -> None:
    """Type lines at a prompt in a terminal, until the last one has looked."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen(  # noqa: S603 - as above
        command, env=_environ(folder), cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        os.write(ours, source.encode())
        deadline_s = time.monotonic() + _LIMIT_S
        while not _file(folder).exists():
            if time.monotonic() > deadline_s or program.poll() is not None:
                sys.exit(f"Nothing seen: {os.read(ours, _TRANSCRIPT_CHARS).decode()}")
            time.sleep(_POLL_S)
    finally:
        program.kill()
        program.wait()
        os.close(ours)


def _file(folder: Path) -> Path:
    return folder / "facts.json"


def _environ(folder: Path) -> dict[str, str]:
    """Give a clean environment: what surrounds this program must not be seen."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TERM": "dumb",
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(folder)]),
        "FACTS_FILE": str(_file(folder)),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


PLACES = {
    "script": Place("python app.py", "from look import look\nlook()", _program),
    "thread": Place(
        "a thread of python app.py",
        "from look import look\nimport threading\nthreading.Thread(target=look).start()",
        _program,
    ),
    "worker": Place(
        "a worker thread of a chain in python app.py",
        "from look import look\nfrom nbtool.runtime.door import run\n"
        "from nbtool.runtime.threads import in_worker\nrun(in_worker(look))",
        _program,
    ),
    "asyncio_run": Place(
        "a coroutine under asyncio.run in python app.py", f"{_ASYNC}asyncio.run(main())", _program
    ),
    "greenlet": Place(
        "a greenlet of other code, on a running loop",
        "from look import look\nimport asyncio, greenlet\nasync def main():\n"
        "    greenlet.greenlet(look).switch()\nasyncio.run(main())",
        _program,
    ),
    "prompt": Place("python -i in a terminal", "from look import look\nlook()\n", _prompt),
    "ipython": Place(
        "ipython in a terminal", "from look import look\nlook()\n", _ipython, "newest"
    ),
    "ipython_await": Place(
        "ipython in a terminal, top-level await",
        "from look import look\nimport asyncio\nawait asyncio.sleep(0); look()\n",
        _ipython,
        "newest",
    ),
    "uvloop": Place(
        "a coroutine under uvloop.run", f"{_ASYNC}import uvloop\nuvloop.run(main())", _program,
        "uvloop",
    ),
    "uvicorn": Place("a request to uvicorn", _UVICORN, _program, "marimo"),
    "marimo": Place("a cell, marimo export html app.py", _MARIMO, _marimo, "marimo"),
    "nest_asyncio": Place(
        "a cell after nest_asyncio.apply() and import nbtool",
        "import nest_asyncio\nnest_asyncio.apply()\nfrom look import look\nlook()",
        _cell,
        "databricks",
    ),
    "nest_asyncio_after": Place(
        "a cell after import nbtool and nest_asyncio.apply()",
        "from look import look\nimport nest_asyncio\nnest_asyncio.apply()\nlook()",
        _cell,
        "databricks",
    ),
}  # fmt: skip
PLACES |= {
    f"kernel_{name}_sync": Place("a cell without await", _SYNC, _cell, name) for name in KERNELS
}
PLACES |= {
    f"kernel_{name}_await": Place(
        "a cell with top-level await", f"await asyncio.sleep(0)\n{_SYNC}", _cell, name
    )
    for name in KERNELS
}


def _interpreter(recipe: str) -> tuple[Path | None, str]:
    """Find the interpreter of a recipe, else say why there is none."""
    if not recipe:
        return Path(sys.executable), ""
    path = CHECKOUT / "tests" / "kernels" / "environments.py"
    spec = importlib.util.spec_from_file_location("kernel_environments", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    made = module.environment(recipe)
    return made.python, made.reason


def look_in(place: Place) -> dict[str, Any] | str:
    """Look in one place.

    Args:
        place: Where.

    Returns:
        The content of its file; a reason in words where it could not be started.
    """
    python, reason = _interpreter(place.recipe)
    if python is None:
        return reason
    with tempfile.TemporaryDirectory(prefix="facts-") as name:
        folder = Path(name)
        (folder / "look.py").write_text(_LOOK, encoding="utf-8")
        place.start(python, place.source, folder)
        facts = json.loads(_file(folder).read_text("utf-8"))
    return {"captured": True, "how": place.how, "facts": facts}


def main(arguments: Sequence[str] | None = None) -> int:
    """Look in the places and write their files.

    Args:
        arguments: Command line without the program's name; None reads `sys.argv`.

    Returns:
        0 when all could be started, else 1.
    """
    parser = argparse.ArgumentParser(description="Write down what real places look like.")
    parser.add_argument("--only", action="append", choices=sorted(PLACES), metavar="NAME")
    not_run = 0
    for name in parser.parse_args(arguments).only or list(PLACES):
        seen = look_in(PLACES[name])
        not_run += isinstance(seen, str)
        if not isinstance(seen, str):
            text = json.dumps(seen, indent=2) + "\n"
            (HERE / f"{name}.json").write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name:26} {'NOT RUN: ' + seen if isinstance(seen, str) else 'seen'}\n")
        sys.stdout.flush()
    return 1 if not_run else 0


if __name__ == "__main__":
    raise SystemExit(main())
