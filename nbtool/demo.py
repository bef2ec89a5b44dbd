"""The async guide's five programs, run one after another with a live tree.

The programs are the scripts in ``docs/guide``; the wheel carries them as ``nbtool/_guide``.
"""

from __future__ import annotations

import os
import runpy
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.syntax import Syntax

from nbtool.errors import NbtoolError
from nbtool.lm.caching.current import configure_cache
from nbtool.views.watching import trace

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGE = Path(__file__).parent
_FOLDERS = (_PACKAGE / "_guide", _PACKAGE.parent / "docs" / "guide")
_LOCAL_NOTE = (
    "Model: local, the embedded SmolLM2-135M. It is a demo model: real tokens, no network, "
    "and often wrong. For a better one: "
    "OPENAI_API_KEY=... MODEL=openai/gpt-4o-mini make demo"
)


def programs() -> Sequence[Path]:
    """Return the guide's programs, in the guide's order."""
    folder = next(folder for folder in _FOLDERS if folder.is_dir())
    return sorted(folder.glob("[0-9]_*.py"))


def run_all(model: str | None = None, *, show_source: bool = True) -> int:
    """Run the guide's programs with a live tree on standard output.

    Args:
        model: Model to run on, as litellm names it; by default ``$MODEL``, else ``"local"``.
        show_source: Whether to show each program before it runs.

    Returns:
        How many programs did not give a right answer; 0 is success.
    """
    os.environ["MODEL"] = chosen = model or os.environ.get("MODEL") or "local"
    configure_cache(enable_disk_cache=False)  # each time one sees answers arrive
    console = Console()
    note = _LOCAL_NOTE if chosen == "local" else f"Model: {chosen}"
    console.print(note, style="dim", highlight=False)
    started = time.perf_counter()
    wrong = [path for path in programs() if not _run(path, console, show_source)]
    seconds = time.perf_counter() - started
    if wrong:
        names = ", ".join(path.stem for path in wrong)
        console.print(f"\n{len(wrong)} of {len(programs())} went wrong: {names}", style="red")
    else:
        done = f"\nAll {len(programs())} programs ran right, in {seconds:.1f} s."
        console.print(done, style="bold green", highlight=False)
    return len(wrong)


def _run(path: Path, console: Console, show_source: bool) -> bool:
    console.print()
    console.rule(f"[bold]{path.name}")
    if show_source:
        console.print(Syntax(path.read_text(encoding="utf-8"), "python", theme="ansi_dark"))
        console.print()
    try:
        with trace(live=True, console=console):
            runpy.run_path(str(path), run_name="__main__")
    except AssertionError as error:
        console.print("The answer is not right:", style="red", end=" ")
        console.print(str(error), markup=False)
        return False
    except NbtoolError as error:
        console.print(f"{type(error).__name__}:", style="bold red", end=" ")
        console.print(str(error), markup=False)
        return False
    return True
