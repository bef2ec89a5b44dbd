"""The `nbtool` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer(
    help="nbtool: async LM programs in notebooks and scripts, with every step visible.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a user's traceback shall look as Python shows it
)


@app.callback()
def _root() -> None:  # pyright: ignore[reportUnusedFunction] # makes typer keep command names
    """Show the commands."""


@app.command()
def demo(
    model: Annotated[
        str | None,
        typer.Option(help="Model to run on, as litellm names it; by default $MODEL, else local."),
    ] = None,
    source: Annotated[bool, typer.Option(help="Show each program before it runs.")] = True,
) -> None:
    """Run the async guide's five programs on a real model, with a live tree."""
    from nbtool import demo

    sys.exit(demo.run_all(model, show_source=source))


@app.command()
def show(path: Annotated[str, typer.Argument(help="A trace that `Trace.save` wrote.")]) -> None:
    """Show a saved trace as a tree."""
    from rich.console import Console

    from nbtool.errors import RecordingError
    from nbtool.tracing import export
    from nbtool.views import text

    console = Console()
    try:
        spans = export.read_jsonl(path)
    except (RecordingError, OSError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        sys.exit(1)
    console.print(text.tree(spans, now_s=max((s.end_s or s.start_s for s in spans), default=0.0)))


@app.command()
def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the facts behind it, for a bug report.")
    ] = False,
) -> None:
    """Say what this place is and what would not work here, and why."""
    from nbtool.hosts.judgement import environment_of
    from nbtool.runtime.surroundings import gather_facts

    facts = gather_facts()
    if as_json:
        typer.echo(facts.to_json())
        return
    typer.echo(str(environment_of(facts)))
    typer.echo("In a notebook, run nbtool.environment() in a cell instead.", err=True)


def main() -> None:
    """Run the command."""
    app(prog_name="nbtool")
