"""Give each measured package an interpreter of its own.

nbtool is measured with the project's ``.venv``. A competitor gets a virtual environment under
``.cache/bench/``, made the first time it is needed from the pins below and kept until they
change, so that its dependencies can neither break nor flatter ours. Whatever is measured runs
in a fresh process, in which nothing is imported yet.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.registry import NotMeasuredError

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "bench" / "programs"
CACHE = ROOT / ".cache" / "bench"

INSTALL_LIMIT_S = 900
PROGRAM_LIMIT_S = 300
SHOWN_ERROR_LINES = 3

PINS: dict[str, tuple[str, ...]] = {
    # The same litellm as nbtool's own environment: it is not litellm that is compared.
    "dspy": ("dspy==3.4.1", "litellm==1.106.2"),
}


@dataclass(frozen=True, slots=True)
class Environment:
    """Run benchmark programs with one interpreter.

    Args:
        name: Shown in messages: ``nbtool``, or a key of `PINS`.
        python: The interpreter.
    """

    name: str
    python: Path

    def report(self, program: str, *arguments: str) -> dict[str, Any]:
        """Run a program in a fresh process and read the JSON line it prints.

        Args:
            program: File name in ``bench/programs``.
            arguments: Command line of the program.

        Raises:
            NotMeasuredError: It failed, took too long, or printed something else.
        """
        try:
            done = subprocess.run(
                self._command(program, arguments),
                cwd=ROOT,
                env=_environ(),
                capture_output=True,
                text=True,
                timeout=PROGRAM_LIMIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise NotMeasuredError(f"{self.name}: {program}: {exc}") from exc
        if done.returncode != 0:
            raise self._failure(program, done.returncode, done.stderr)
        return self._parse(program, done.stdout)

    def seconds_to_report(self, program: str, *arguments: str) -> float:
        """Measure a fresh process from its start to the line it prints, in seconds.

        The start of the interpreter counts, its end does not: the user who waits for a first
        predictor waits for the former only.

        Raises:
            NotMeasuredError: The program failed, took too long, or printed something else.
        """
        # A file takes any amount of what is written to it; a pipe that nobody empties does not.
        with tempfile.TemporaryFile("w+") as errors:
            start = time.perf_counter()
            try:
                child = subprocess.Popen(
                    self._command(program, arguments),
                    cwd=ROOT,
                    env=_environ(),
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
            except OSError as exc:
                raise NotMeasuredError(f"{self.name}: {program}: {exc}") from exc
            limit = threading.Timer(PROGRAM_LIMIT_S, child.kill)
            limit.start()
            with child:
                line = child.stdout.readline() if child.stdout else ""
                elapsed_s = time.perf_counter() - start
            limit.cancel()
            if child.returncode != 0:
                errors.seek(0)
                raise self._failure(program, child.returncode, errors.read())
        self._parse(program, line)
        return elapsed_s

    def _command(self, program: str, arguments: tuple[str, ...]) -> list[str]:
        return [str(self.python), str(PROGRAMS / program), *arguments]

    def _failure(self, program: str, code: int, errors: str) -> NotMeasuredError:
        # Without a message it was most likely killed at the limit.
        reason = _last_lines(errors) or f"nothing said within {PROGRAM_LIMIT_S} s"
        return NotMeasuredError(f"{self.name}: {program} ended with {code}: {reason}")

    def _parse(self, program: str, output: str) -> dict[str, Any]:
        lines = output.strip().splitlines()
        try:
            report = json.loads(lines[-1]) if lines else None
        except json.JSONDecodeError:
            report = None
        if not isinstance(report, dict):
            raise NotMeasuredError(f"{self.name}: {program} printed no JSON line: {output[:80]!r}")
        return report


def own() -> Environment:
    """Return the environment in which nbtool is measured.

    Raises:
        NotMeasuredError: There is no ``.venv`` in the repository.
    """
    python = _interpreter(ROOT / ".venv")
    if not python.exists():
        raise NotMeasuredError("nbtool: no .venv in the repository; make it, then run this again")
    return Environment("nbtool", python)


def kernel_python(name: str) -> Path:
    """Return the interpreter of one of the conformance suite's kernels, made on demand.

    Raises:
        NotMeasuredError: It could not be made.
    """
    path = ROOT / "tests" / "kernels" / "environments.py"
    spec = importlib.util.spec_from_file_location("kernel_environments", path)
    if spec is None or spec.loader is None:
        raise NotMeasuredError(f"{path} is missing")
    recipes: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = recipes  # dataclasses look their module up
    spec.loader.exec_module(recipes)
    made = recipes.environment(name)
    if made.python is None:
        raise NotMeasuredError(f"the kernel {name!r} could not be made: {made.reason}")
    return made.python


def competitor(name: str) -> Environment:
    """Return a competitor's environment, made on demand.

    Args:
        name: A key of `PINS`.

    Raises:
        NotMeasuredError: The environment could not be made.
    """
    pins = PINS[name]
    recipe = "\n".join((sys.version, *pins))
    directory = CACHE / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"
    environment = Environment(name, _interpreter(directory))
    # Written last: an install that was cut short leaves a directory, and no such file.
    complete = directory / "complete.txt"
    if not complete.exists():
        print(f"making {directory.relative_to(ROOT)} with {', '.join(pins)}", file=sys.stderr)
        _make(environment, directory, pins)
        complete.write_text(recipe, encoding="utf-8")
    return environment


def _make(environment: Environment, directory: Path, pins: tuple[str, ...]) -> None:
    uv = shutil.which("uv")
    python = str(environment.python)
    if uv:
        steps = [
            [uv, "venv", "--clear", "--python", sys.executable, str(directory)],
            [uv, "pip", "install", "--python", python, *pins],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", "--clear", str(directory)],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins],
        ]
    for step in steps:
        try:
            subprocess.run(
                step, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=True
            )
        except subprocess.CalledProcessError as exc:
            reason = _last_lines(exc.stderr)
            raise NotMeasuredError(f"{environment.name}: cannot be installed: {reason}") from exc
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise NotMeasuredError(f"{environment.name}: cannot be installed: {exc}") from exc


def _interpreter(directory: Path) -> Path:
    return directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _environ() -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return environ | {
        "PYTHONPATH": str(ROOT),  # nbtool itself is measured from the checkout
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no measurement waits for the network
        "DSPY_CACHEDIR": str(CACHE / "dspy-disk-cache"),
    }


def _last_lines(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-SHOWN_ERROR_LINES:])
