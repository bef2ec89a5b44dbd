"""The `nbtool` command."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Generator

    from nbtool.tracing.record import SpanRecord

_shows_tracebacks = False
app = typer.Typer(
    help="nbtool: async LM programs in notebooks and scripts, with every step visible.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a user's traceback shall look as Python shows it
)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import PackageNotFoundError, version

        with contextlib.suppress(PackageNotFoundError):
            typer.echo(f"nbtool {version('nbtool-live')}")
        raise typer.Exit


@app.callback()
def _root(  # pyright: ignore[reportUnusedFunction] # makes typer keep command names
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of nbtool's own errors.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True),
    ] = False,
) -> None:
    """Show the commands."""
    global _shows_tracebacks  # noqa: PLW0603 - one command a process
    _shows_tracebacks = debug


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


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    path: Annotated[str, typer.Argument(help="A .py file, or an .ipynb notebook.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="What the program finds in sys.argv.")
    ] = None,
    tree: Annotated[bool, typer.Option(help="Draw the calls while they run.")] = True,
    save: Annotated[str | None, typer.Option(help="Write the trace into this file.")] = None,
    replay: Annotated[
        str | None, typer.Option(help="Let this saved trace stand in for models and tools.")
    ] = None,
) -> None:
    """Run a script, also with await outside of functions, or a notebook."""
    from nbtool import execution

    with _told_errors():
        status = execution.run_file(path, arguments or [], shows=tree, save=save, replay=replay)
        sys.exit(status)


@app.command()
def check(
    path: Annotated[str, typer.Argument(help="An .ipynb notebook, or a .py file.")],
    runs: Annotated[
        bool, typer.Option("--run", help="Also run both forms, and compare their traces.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Tell what in a notebook would behave differently as a script, or the reverse."""
    from nbtool.parity.checks import check as look
    from nbtool.parity.comparing import compare

    with _told_errors():
        report = look(path)
        typer.echo(report.to_json() if as_json else str(report))
        differs = bool(report)
        if runs:
            compared = compare(path)
            typer.echo(str(compared), err=as_json)
            differs = differs or bool(compared)
    sys.exit(1 if differs else 0)


@app.command()
def trace(
    path: Annotated[str, typer.Argument(help="A trace that `Trace.save` wrote.")],
    diff: Annotated[str | None, typer.Option(help="Show what differs in this other trace.")] = None,
    html: Annotated[str | None, typer.Option(help="Write it as a page into this file.")] = None,
    chrome: Annotated[
        str | None, typer.Option(help="Write it for Chrome's trace viewer into this file.")
    ] = None,
) -> None:
    """Show a saved trace as a tree, or write it in another form."""
    from nbtool.tracing.chrome import write_chrome
    from nbtool.tracing.tree import Trace
    from nbtool.views import html as page

    with _told_errors():
        saved = Trace.load(path)
        if html is not None:
            Path(html).write_text(page.whole(saved.spans, title=Path(path).name), encoding="utf-8")
        if chrome is not None:
            write_chrome(saved.spans, chrome)
        if diff is not None:
            difference = saved.diff(Trace.load(diff))
            typer.echo(str(difference))
            sys.exit(1 if difference else 0)
    if html is None and chrome is None:
        _draw(saved.spans)


@app.command()
def show(path: Annotated[str, typer.Argument(help="A trace that `Trace.save` wrote.")]) -> None:
    """Show a saved trace as a tree; the same as `nbtool trace`."""
    from nbtool.tracing.tree import Trace

    with _told_errors():
        saved = Trace.load(path)
    _draw(saved.spans)


def _draw(spans: list[SpanRecord]) -> None:
    from rich.console import Console

    from nbtool.views import text

    now_s = max((span.end_s or span.start_s for span in spans), default=0.0)
    Console().print(text.tree(spans, now_s=now_s))


@app.command()
def local(
    question: Annotated[
        str, typer.Argument(help="What to ask it.")
    ] = "What is the capital of France?",
    yes: Annotated[bool, typer.Option("--yes", help="Install what is missing unasked.")] = False,
) -> None:
    """Get the embedded demo model, and ask it one question."""
    from nbtool import fetching

    with _told_errors():
        fetching.fetch((lambda _: True) if yes else typer.confirm, typer.echo)
        typer.echo(f"{question}\n  {fetching.ask(question)}")


@contextlib.contextmanager
def _told_errors() -> Generator[None]:
    """Print errors of ours without a traceback: they say what to do."""
    from nbtool.errors import NbtoolError

    try:
        yield
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        sys.exit(0)
    except (NbtoolError, OSError) as error:
        if _shows_tracebacks:
            raise
        from rich.console import Console

        Console(stderr=True).print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(1)


@app.command()
def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the facts behind it, for a bug report.")
    ] = False,
    ask: Annotated[
        str | None, typer.Option(help="Also ask this model one short question.", metavar="MODEL")
    ] = None,
) -> None:
    """Say what this place is, which models it can ask, and what would not work here."""
    from nbtool import checkup

    found = checkup.doctor()
    typer.echo(found.facts.to_json() if as_json else str(found))
    if ask is not None:
        with _told_errors():
            typer.echo(checkup.try_model(ask))
    if not as_json:
        typer.echo("In a notebook, run nbtool.doctor() in a cell instead.", err=True)


def main() -> None:
    """Run the command."""
    app(prog_name="nbtool")
