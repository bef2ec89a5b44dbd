"""Running a script or a notebook as ``nbtool run`` does."""

from __future__ import annotations

import ast
import contextlib
import inspect
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbtool.errors import InputError
from nbtool.parity.sources import cells_of
from nbtool.runtime.door import run
from nbtool.testing.recordings import replayed
from nbtool.views.watching import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INTERRUPTED = 130  # what a shell says of a program that Ctrl-C has ended


def run_file(
    path: str,
    arguments: Sequence[str],
    *,
    shows: bool = True,
    save: str | None = None,
    replay: str | None = None,
) -> int:
    """Run a file as the main program, with a live tree of its calls.

    A script may have ``await`` outside of functions, as cells may. A notebook is run cell by
    cell, with IPython's magics, and without a kernel.

    Args:
        path: A ``.py`` or ``.ipynb`` file.
        arguments: What the program finds in ``sys.argv`` behind its own name.
        shows: Draw the tree on standard error.
        save: File into which the trace is written, also where the program fails.
        replay: A saved trace that stands in for the LMs and tools.

    Returns:
        The exit status: 0, 1 where an error ended it, or what it passed to ``sys.exit()``.

    Raises:
        InputError: There is no such file, or it is no notebook.
        ReplayMismatchError: The program asked for what the recording does not have.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There is no file {path!r}.", hint="Check the path.")
    program = _notebook(file) if file.suffix == ".ipynb" else _script(file)
    sys.argv = [path, *arguments]
    sys.path[0] = str(file.resolve().parent)
    served = replayed(replay, record=False) if replay is not None else contextlib.nullcontext()
    with served, trace(live=shows) as recorded:
        try:
            return _status_of(program, str(file))
        finally:
            if save is not None:
                recorded.save(save)


def _status_of(program: Callable[[], int], file: str) -> int:
    """Run a program to its end, which a shell sees as it would see Python's."""
    try:
        return program()
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
            return 1
        return int(error.code or 0)
    except BaseException as error:  # noqa: BLE001 - what Python does at the end of a program
        error.__traceback__ = _own_frames(error.__traceback__, file)
        sys.excepthook(type(error), error, error.__traceback__)
        return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


def _own_frames(tb: types.TracebackType | None, file: str) -> types.TracebackType | None:
    """Leave out what lies below the program itself."""
    own = tb
    while own is not None and own.tb_frame.f_code.co_filename != file:
        own = own.tb_next
    return own or tb


def _main_module(file: Path) -> types.ModuleType:
    module = types.ModuleType("__main__")
    module.__file__ = str(file)
    sys.modules["__main__"] = module
    return module


def _script(file: Path) -> Callable[[], int]:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    source = file.read_bytes()

    def program() -> int:
        code = compile(source, str(file), "exec", flags, dont_inherit=True)
        result: Any = eval(code, vars(_main_module(file)))  # noqa: S307 - it is what was asked for
        if code.co_flags & inspect.CO_COROUTINE:
            run(result)
        return 0

    return program


def _notebook(file: Path) -> Callable[[], int]:
    cells = [cell.source for cell in cells_of(file)]

    def program() -> int:
        from IPython.core.interactiveshell import InteractiveShell

        shell: Any = InteractiveShell.instance(user_module=_main_module(file))
        for source in cells:
            result = shell.run_cell(source, store_history=True)
            if not result.success:  # its traceback is on the screen
                return _status_of_error(result.error_in_exec or result.error_before_exec)
        return 0

    return program


def _status_of_error(error: BaseException | None) -> int:
    if isinstance(error, SystemExit):
        raise error
    return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
