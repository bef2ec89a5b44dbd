"""Make and cache the virtual environments in which the conformance suite runs nbtool.

Run ``python tests/kernels/environments.py`` to make all of them, ``--only NAME`` (repeatable) for
some. Each lies under ``.cache/kernels/<name>-<hash>/``; the hash covers what is installed and the
minor version of the interpreter, so that a changed requirement gets a new directory and a
half-made one is never taken for a good one: the marker file is written last. nbtool itself is not
installed: point ``PYTHONPATH`` at the repository.

An environment that cannot be made has no interpreter and says why. Report such a one as *not
run*, never as passed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "kernels"

_MARKER = "environment.json"
# Goes when pyproject.toml names it in the same words (the set below makes one of the two).
_GREENLET = 'greenlet>=3.1; sys_platform != "emscripten"'
_COMMAND_LIMIT_S = 1200.0


@dataclass(frozen=True, slots=True)
class Environment:
    """Say where an environment's interpreter is, or why there is none.

    Attributes:
        name: Name of the recipe, e.g. ``"colab"``.
        python: The interpreter; None where the environment could not be made.
        reason: Why it could not be made, else empty.
        took_s: Seconds spent on making it; 0 where it was there already.
    """

    name: str
    python: Path | None
    reason: str = ""
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Say what is installed beside nbtool's own dependencies.

    Attributes:
        requirements: Requirements as pip reads them.
        proof: Module that must be importable before the environment counts as made.
        pythons: Versions of the interpreter, the first that is at hand; by default the one that
            runs this.
    """

    requirements: tuple[str, ...]
    proof: str = "ipykernel"
    pythons: tuple[str, ...] = ()


RECIPES = {
    "newest": Recipe(("ipykernel", "anywidget")),
    "ipykernel73": Recipe(("ipykernel==7.3.*", "anywidget")),
    "databricks": Recipe(
        ("ipykernel==6.29.5", "ipython==8.30.0", "ipywidgets==7.8.1", "anywidget"),
    ),
    "colab": Recipe(
        (
            "ipykernel==6.17.1",
            "ipython==7.34.0",
            "tornado==6.5.7",
            "traitlets==5.7.1",
            "pyzmq==26.2.1",
            "jupyter-client==7.4.9",
            "ipywidgets==7.7.1",
            "anywidget==0.9.21",
        ),
        pythons=("3.14", "3.13", "3.12", "3.11"),
    ),
    "python312": Recipe(("ipykernel", "anywidget"), pythons=("3.12",)),
    "python313": Recipe(("ipykernel", "anywidget"), pythons=("3.13",)),
    "dspy": Recipe(("ipykernel", "dspy==3.4.1", "mcp>=2.0", "nest-asyncio"), proof="dspy"),
    "uvloop": Recipe(("uvloop",), proof="uvloop"),
    "marimo": Recipe(("marimo",), proof="marimo"),
}


class _CommandError(Exception):
    """Say that a command of a build failed."""


def environments(names: Iterable[str] = tuple(RECIPES)) -> list[Environment]:
    """Make the named environments where they are missing, one after the other.

    Two processes may call this at the same time: the second waits for the first.

    Args:
        names: Keys of `RECIPES`.

    Returns:
        One `Environment` for each name, in the order asked for.
    """
    return [environment(name) for name in names]


def environment(name: str) -> Environment:
    """Make one environment where it is missing.

    Args:
        name: Key of `RECIPES`.

    Returns:
        The environment; its `python` is None where it could not be made.
    """
    recipe = RECIPES[name]
    requirements = sorted({*_own_dependencies(), _GREENLET, *recipe.requirements})
    try:
        base = _first_at_hand(recipe.pythons)
        version = _python_version(base)
        fingerprint = hashlib.sha256("\n".join([version, *requirements]).encode()).hexdigest()
        place = CACHE / f"{name}-{fingerprint[:12]}"
        with _locked(place.with_suffix(".lock")):
            took_s = _make(place, base, requirements, recipe.proof)
    except (_CommandError, OSError) as exc:
        return Environment(name, None, reason=str(exc))
    return Environment(name, _interpreter(place), took_s=took_s)


def _make(place: Path, base: Path, requirements: Sequence[str], proof: str) -> float:
    if (place / _MARKER).is_file():
        return 0.0
    started_s = time.monotonic()
    # What is there without a marker is a build that was killed: nothing of it can be trusted.
    shutil.rmtree(place, ignore_errors=True)
    python = _interpreter(place)
    uv = shutil.which("uv")
    if uv:
        _run(uv, "venv", "--quiet", "--python", str(base), str(place))
        _run(uv, "pip", "install", "--quiet", "--python", str(python), *requirements)
    else:
        # The pip at hand does for all, and what no test imports need not be compiled.
        _run(str(base), "-m", "venv", "--without-pip", str(place))
        pip = (sys.executable, "-m", "pip", "--python", str(python))
        _run(*pip, "install", "--quiet", "--no-compile", *requirements)
    _run(str(python), "-c", f"import {proof}, greenlet")
    took_s = time.monotonic() - started_s
    made = {"requirements": requirements, "python": _python_version(python), "took_s": took_s}
    (place / _MARKER).write_text(json.dumps(made, indent=2), encoding="utf-8")
    return took_s


def _own_dependencies() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["project"]["dependencies"])


def _first_at_hand(versions: Sequence[str]) -> Path:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in versions or (own,):
        if version == own:
            return Path(sys.executable)
        for candidate in _interpreters(version):
            if _is_python(candidate, version):
                return candidate
    raise _CommandError(f"there is no Python {' or '.join(versions)} at hand")


def _interpreters(version: str) -> Iterator[Path]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    # pyenv's commands on PATH answer only for the versions that are switched on, so look at
    # what is installed as well.
    yield from sorted(_pyenv_root().glob(f"versions/{version}.*/bin/python"), reverse=True)


def _pyenv_root() -> Path:
    pyenv = shutil.which("pyenv")
    if pyenv:
        try:
            return Path(_run(pyenv, "root").strip())
        except _CommandError:
            pass  # a broken pyenv is no reason to fail: its usual folder may still be there
    return Path.home() / ".pyenv"


def _is_python(candidate: Path, version: str) -> bool:
    try:
        return _python_version(candidate) == version
    except (_CommandError, OSError):
        return False


def _python_version(python: Path) -> str:
    return _run(str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()


def _interpreter(place: Path) -> Path:
    return place / "bin" / "python"


def _run(*command: str) -> str:
    try:
        ended = subprocess.run(  # noqa: S603 - the commands are written in this file
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_COMMAND_LIMIT_S,
        )
    except subprocess.TimeoutExpired as exc:
        message = f"{command[0]} took more than {_COMMAND_LIMIT_S:.0f} s"
        raise _CommandError(message) from exc
    if ended.returncode:
        last = " | ".join(ended.stderr.strip().splitlines()[-3:])
        raise _CommandError(f"{' '.join(command[:4])} … ended with {ended.returncode}: {last}")
    return ended.stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the system takes back when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environments and print one line for each.

    Args:
        arguments: Command line without the program's name; None reads `sys.argv`.

    Returns:
        0 when all were made, else 1.
    """
    parser = argparse.ArgumentParser(description="Make the conformance suite's environments.")
    parser.add_argument("--only", action="append", choices=sorted(RECIPES), metavar="NAME")
    chosen = parser.parse_args(arguments).only or list(RECIPES)
    failed = 0
    for name in chosen:
        made = environment(name)
        failed += made.python is None
        told = made.python or f"NOT MADE: {made.reason}"
        sys.stdout.write(f"{name:12} {made.took_s:6.1f} s  {told}\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
