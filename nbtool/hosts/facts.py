"""Everything that the judgement of a host looks at."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal, TypeAlias

Shell: TypeAlias = Literal["terminal", "kernel"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Hold what was seen of the place from which nbtool is called.

    Names and versions only, so that it can be written down and shown to others: no path, no
    user's value, and of an environment variable its name unless the value is known as harmless.

    Attributes:
        platform: As `sys.platform`.
        python: Version of the interpreter, e.g. ``"3.11.7"``.
        implementation: Whose interpreter, e.g. ``"CPython"``.
        in_main_thread: Whether the caller is in the main thread.
        at_prompt: Whether Python's own interactive prompt is open.
        running_loop: Class of the loop that runs in this thread; None where none does.
        has_home_loop: Whether this thread works for an asynchronous chain.
        why_not_parked: Why the running loop cannot be stepped on; empty where it can, or where
            no loop runs.
        versions: Installed packages that matter, by distribution name.
        shell: Kind of the IPython shell around the caller, if any.
        kernel: Package that the kernel's class comes from; ``"ipykernel"`` also for classes
            derived from its own. None where there is no kernel.
        stdout: Class of `sys.stdout`.
        modules: Imported modules that matter.
        environ: Environment variables that matter; None stands for a value not looked at.
        has_notebook_file: Whether the user's namespace has VS Code's ``__vsc_ipynb_file__``.
        in_marimo: Whether marimo runs the calling cell.
        can_run_sync: Whether Pyodide can suspend synchronous code here.
        server: Package of the web server below the main thread's code, else empty.
        nest_asyncio: Whether nest_asyncio or nest-asyncio2 was applied.
        asyncio_adapter: Whether `asyncio.run` is nbtool's.
    """

    platform: str
    python: str
    implementation: str = "CPython"
    in_main_thread: bool = True
    at_prompt: bool = False
    running_loop: str | None = None
    has_home_loop: bool = False
    why_not_parked: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    shell: Shell | None = None
    kernel: str | None = None
    stdout: str = "_io.TextIOWrapper"
    modules: tuple[str, ...] = ()
    environ: dict[str, str | None] = dataclasses.field(default_factory=dict[str, "str | None"])
    has_notebook_file: bool = False
    in_marimo: bool = False
    can_run_sync: bool = False
    server: str = ""
    nest_asyncio: bool = False
    asyncio_adapter: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Give the facts as values that JSON can hold."""
        return dataclasses.asdict(self) | {"modules": list(self.modules)}

    def to_json(self) -> str:
        """Write the facts as indented JSON."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Facts:
        """Read what `to_dict` gave.

        Args:
            facts: Attributes by name; those left out have their defaults.

        Returns:
            The same facts.

        Raises:
            TypeError: A name is unknown, or platform or python is missing.
        """
        values: dict[str, Any] = {**facts, "modules": tuple(facts.get("modules", ()))}
        return cls(**values)


def release(version: str) -> tuple[int, ...]:
    """Read the numbers of a version, for comparison.

    Args:
        version: As a package states it, e.g. ``"7.4.0b1"``.

    Returns:
        Its leading numbers, e.g. ``(7, 4, 0)``; empty where it has none.
    """
    numbers: list[int] = []
    for piece in version.split("."):
        digits = piece[: len(piece) - len(piece.lstrip("0123456789"))]
        numbers += [int(digits)] if digits else []
        if digits != piece:
            break
    return tuple(numbers)
