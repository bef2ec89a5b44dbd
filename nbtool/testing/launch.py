"""Start a kernel's program as on a machine where nobody has set anything up."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# What would make a kernel another one than a user's fresh one, or hand it a key to pay with.
_DROPPED_PREFIXES = (
    "ANTHROPIC_",
    "COLAB_",
    "DATABRICKS_",
    "IPYTHON",
    "JPY_",
    "JUPYTER",
    "OPENAI_",
    "PYTEST",
    "PYTHON",
    "VIRTUAL_ENV",
    "VSCODE_",
)
_DROPPED_SUFFIXES = ("_API_KEY", "_TOKEN")
_OWN_FOLDERS = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")


def launch(
    command: Sequence[str], *, place: Path, log_file: Path, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program in the background.

    It gets a process group of its own, so that it can be interrupted like a kernel and a Ctrl-C
    in the terminal is for the test only.

    Args:
        command: Program and arguments.
        place: Its working folder; its settings go there as well.
        log_file: Where its stdout and stderr are appended.
        env: Variables to set; they win over all others.

    Returns:
        The running program.
    """
    with log_file.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the interpreter is the caller's choice
            command,
            cwd=place,
            env=_environment(place, env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _environment(place: Path, env: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_DROPPED_PREFIXES) and not name.endswith(_DROPPED_SUFFIXES)
    }
    return {
        **kept,
        **{name: str(place / name.lower()) for name in _OWN_FOLDERS},
        "JPY_PARENT_PID": str(os.getpid()),  # it ends itself when this program is killed
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        **env,
    }
