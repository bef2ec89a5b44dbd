"""`Finding`: one thing that differs between cell and script; `Report`: all of a file."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Say what differs, and what to do.

    Attributes:
        code: Stable name of the kind of difference, such as ``"top-level-await"``.
        place: Where it is: ``"cell 3, line 2"``.
        what: What differs.
        hint: What to do.
    """

    code: str
    place: str
    what: str
    hint: str


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """Hold what was found in a file; true where something was.

    Attributes:
        path: The file.
        findings: In the order of the file.
    """

    path: str
    findings: tuple[Finding, ...]

    def __bool__(self) -> bool:
        return bool(self.findings)

    def __str__(self) -> str:
        """Write all findings, those of one kind together, or that there are none."""
        if not self.findings:
            return (
                f"{self.path}: runs the same as a script and in a notebook, as far as was looked."
            )
        count = len(self.findings)
        places: dict[tuple[str, str, str], list[str]] = {}
        for each in self.findings:
            places.setdefault((each.what, each.code, each.hint), []).append(each.place)
        lines = [f"{self.path}: {count} difference{'s' if count > 1 else ''}"]
        for (what, code, hint), where in places.items():
            lines += [f"- {what} [{code}]", f"  {'; '.join(where)}", f"  Hint: {hint}"]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Write the findings as JSON."""
        found: list[dict[str, Any]] = [dataclasses.asdict(each) for each in self.findings]
        return json.dumps({"path": self.path, "findings": found}, indent=2)
