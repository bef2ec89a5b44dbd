"""`doctor`: what this place is, which models can be asked here, and what would not work."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import TYPE_CHECKING

from nbtool import fetching
from nbtool.hosts import table
from nbtool.hosts.judgement import environment_of
from nbtool.runtime.surroundings import gather_facts

if TYPE_CHECKING:
    from nbtool.hosts.facts import Facts

_KEY_ENDINGS = ("_API_KEY", "_API_BASE", "_BASE_URL")
_MOST_KEYS = 12
_QUESTION = "Reply with the word: ready"
_ANSWER_CHARS = 80


@dataclasses.dataclass(frozen=True, slots=True)
class Checkup:
    """Hold what was found; its repr is a table.

    Attributes:
        facts: What the judgement rests on; for a bug report.
        demo_model: Whether the embedded demo model is installed, or how to get it.
        keys: Names of the environment variables that give access to models; never a value.
    """

    facts: Facts
    demo_model: str
    keys: tuple[str, ...]

    def rows(self) -> list[tuple[str, list[str]]]:
        """Give the table: a label and the lines beside it."""
        versions = [f"{name} {version}" for name, version in self.facts.versions.items()]
        names = list(self.keys[:_MOST_KEYS])
        if len(self.keys) > _MOST_KEYS:
            names.append(f"and {len(self.keys) - _MOST_KEYS} more")
        return [
            *environment_of(self.facts).rows(),
            ("versions", [", ".join(versions) or "no package that matters is installed"]),
            ("demo model", [self.demo_model]),
            ("access by", [", ".join(names) or "no variable that ends in _API_KEY is set"]),
        ]

    def __repr__(self) -> str:
        return table.plain(self.rows())

    def _repr_html_(self) -> str:
        return table.html(self.rows())


def doctor() -> Checkup:
    """Say what this place is, whom it can ask, and what would not work here.

    Nothing is sent anywhere; of keys only the names of their variables are told.

    Returns:
        A table, as text and in notebooks; ``nbtool doctor`` prints it in a terminal.

    Example:
        >>> import nbtool
        >>> nbtool.doctor().facts.implementation
        'CPython'
    """
    lacking = [" ".join(["pip", *command[3:]]) for command in fetching.missing().values()]
    return Checkup(
        facts=gather_facts(),
        demo_model=f"missing: {'; '.join(lacking)}" if lacking else 'installed: LM("local")',
        keys=tuple(sorted(name for name in os.environ if name.endswith(_KEY_ENDINGS))),
    )


def try_model(model: str) -> str:
    """Ask a model one short question, and say how that went.

    Args:
        model: As for `nbtool.LM`.

    Raises:
        LMError: No answer came; the message says what to do.
    """
    from nbtool.lm.client import LM

    began_s = time.monotonic()
    answer = LM(model, max_tokens=20, num_retries=0, cache=False)(_QUESTION)[0]
    took_s = time.monotonic() - began_s
    return f"{model} answered in {took_s:.1f} s: {str(answer)[:_ANSWER_CHARS]!r}"
