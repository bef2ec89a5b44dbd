"""Pages that follow from the code: the reference and the errors."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from typing import Any

import nbtool
from nbtool import errors

_GROUPS = {
    "Programs": ("nbtool.programs", "nbtool.executors"),
    "Signatures and values": ("nbtool.signatures",),
    "Tools": ("nbtool.tools",),
    "Models": ("nbtool.lm", "nbtool.adapters"),
    "Settings": ("nbtool.configuration", "nbtool.budget"),
    "Running": ("nbtool.runtime", "nbtool.streaming"),
    "The trace": ("nbtool.tracing", "nbtool.views"),
    "The debugger": ("nbtool.debugging",),
    "Notebooks and hosts": ("nbtool.notebook", "nbtool.hosts", "nbtool.checkup"),
}
_ABOUT_ERRORS = """\
Every error that nbtool raises on purpose is a `NbtoolError`. Its message says what happened; its
`hint`, part of the message, says what to do; its `code` is stable, and meant for programs. Each
code has an anchor here."""


def reference() -> str:
    """Write the page of all public names but the errors, by where they belong."""
    homes: dict[str, str] = nbtool._HOME_OF  # noqa: SLF001
    parts = [
        "# Reference",
        "All of it is used as `nbtool.name`; errors have [their own page](errors.md).",
    ]
    for title, modules in _GROUPS.items():
        parts.append(f"## {title}")
        names = sorted(name for name, home in homes.items() if home.startswith(modules))
        parts += [_entry(name) for name in names]
    return "\n\n".join(parts) + "\n"


def _entry(name: str) -> str:
    value: Any = getattr(nbtool, name)
    if inspect.isclass(value) and not issubclass(value, BaseException):
        return _directive("autoclass", name, ":members:", ":exclude-members: model_config")
    if inspect.isroutine(value):
        return _directive("autofunction", name)
    said = inspect.getdoc(type(value)) or type(value).__name__
    return f"**nbtool.{name}**: {said.partition(chr(10))[0]}"


def _directive(kind: str, name: str, *options: str) -> str:
    lines = [f".. {kind}:: nbtool.{name}", *(f"   {option}" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def errors_page() -> str:
    """Write the page of all errors, with an anchor for the code of each."""
    tree = (errors.__doc__ or "").split("::")[1].split("A message")[0]
    parts = ["# Errors", _ABOUT_ERRORS, f"```text\n{textwrap.dedent(tree).strip()}\n```"]
    for kind in _kinds():
        above = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
        parts += [f"({kind.code})=", f"## {kind.code}", f"`{kind.__name__}`, a kind of {above}."]
        parts.append(_prose(inspect.getdoc(kind) or ""))
    return "\n\n".join(parts) + "\n"


def _kinds() -> list[type[errors.NbtoolError]]:
    """Return all kinds of errors, those of `nbtool.errors` first."""
    for module in ("attaching", "replaying", "session"):
        importlib.import_module(f"nbtool.debugging.{module}")
    found = [each for each in vars(errors).values() if inspect.isclass(each)]
    kinds = [each for each in found if issubclass(each, errors.NbtoolError)]
    for kind in kinds:
        kinds += [below for below in kind.__subclasses__() if below not in kinds]
    return kinds


def _prose(text: str) -> str:
    """Write a docstring as Markdown: its sections become bold words."""
    lines: list[str] = []
    for line in text.splitlines():
        is_section = line.endswith(":") and not line.startswith(" ") and " " not in line
        lines.append(f"**{line[:-1]}**\n" if is_section else _item(line))
    return "\n".join(lines)


def _item(line: str) -> str:
    name, colon, rest = line.strip().partition(": ")
    if line.startswith("    ") and colon and " " not in name:
        return f"- `{name}`: {rest}"
    return line.strip() if line.startswith("    ") else line
