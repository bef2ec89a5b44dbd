"""Run the benchmarks: ``python -m bench [NAME ...]``."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from bench import cases, reporting
from bench.registry import exit_code, registry


def main(arguments: list[str] | None = None) -> int:
    """Measure the selected cases, print a table, and keep the figures.

    Returns:
        0 if every target is met, 1 if not, 2 for a name that no case has.
    """
    options = _parser().parse_args(arguments)
    cases.load()
    try:
        selected = registry.select(options.names)
    except LookupError as exc:
        print(exc, file=sys.stderr)
        return 2
    if options.list:
        for case in selected:
            print(f"{case.name}: {reporting.target_text(case)}", case.against)
        return 0
    console = Console()
    verdicts = [case.judge() for case in selected]
    console.print(reporting.table(verdicts))
    console.print(f"written to {reporting.save(verdicts).relative_to(reporting.ROOT)}")
    return exit_code(verdicts, allow_missing=options.allow_missing)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of a case's name")
    parser.add_argument("--list", action="store_true", help="list the cases and measure nothing")
    parser.add_argument(
        "--allow-missing", action="store_true", help="let cases pass that cannot be measured here"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
