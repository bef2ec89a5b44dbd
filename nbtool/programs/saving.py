"""Files of programs: states as JSON, and whole programs as pickles.

A state is what an optimizer or a person changed: demos, instructions, LMs. It is loaded into a
program that the code has made, and is only read. A whole program is a pickle, which runs code when
it is loaded; so both ends have to say ``allow_pickle=True``.
"""

from __future__ import annotations

import json
import logging
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_jsonable_python

from nbtool import pickling
from nbtool.errors import SavingError, StateError
from nbtool.programs.states import checked_mapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike
    from types import ModuleType

    from nbtool.programs.module import Module

METADATA = "metadata"
_PROGRAM = "program.pkl"
_PROGRAM_METADATA = "metadata.json"
_SUFFIXES = (".json", ".pkl")
_log = logging.getLogger("nbtool")


def write_state(module: Module, path: Path, modules: Iterable[ModuleType]) -> None:
    """Write the state of a program into a ``.json`` or ``.pkl`` file.

    Args:
        module: The program.
        path: The file; one that is there is replaced whole.
        modules: For ``.pkl``: modules whose classes go into the file.

    Raises:
        StateError: The path has another ending, or a predictor is called ``metadata``.
        SavingError: The state has what the form cannot hold.
    """
    _check_suffix(path, " when `save_program=False`")
    is_json = path.suffix == ".json"
    state = module.dump_state(json_mode=is_json)
    if METADATA in state:
        raise StateError(
            f"{type(module).__name__} has a predictor that is called {METADATA!r}, which is "
            "the name of something else in the file.",
            hint="Call the attribute otherwise.",
        )
    state[METADATA] = _metadata()
    if is_json:
        pickling.write_whole(path, _as_json(state, path))
    else:
        pickling.write_whole(path, pickling.dumped(state, modules), private=True)


def _as_json(state: Mapping[str, Any], path: Path) -> bytes:
    try:
        text = json.dumps(
            state, indent=2, ensure_ascii=False, allow_nan=False, default=to_jsonable_python
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise SavingError(
            f"Failed to save state to {path} with error: {error}.",
            hint="A demo may hold what JSON cannot; save the state in .pkl by a `path` that ends "
            "with `.pkl`.",
        ) from error
    # Half characters, which models do write, have no UTF-8 form; JSON escapes can hold them.
    return (text + "\n").encode("utf-8", errors="backslashreplace")


def read_state(path: Path, *, allow_pickle: bool) -> Mapping[str, Any]:
    """Read what `write_state` or DSPy wrote; differing versions are warned about.

    Args:
        path: The file.
        allow_pickle: Whether a ``.pkl`` may run its code.

    Raises:
        StateError: The file has another ending, is damaged or is a pickle that is not allowed.
    """
    _check_suffix(path, "")
    if path.suffix == ".json":
        state = _from_json(path)
    else:
        pickling.refuse_unless(allow_pickle, path)
        state = pickling.loaded(path)
    state = dict(checked_mapping(state, f"in {str(path)!r}"))
    _compare(state.pop(METADATA, None))
    return state


def _from_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise StateError(
            f"{str(path)!r} is no JSON file: {error}.", hint="It may be damaged; save it again."
        ) from error


def _check_suffix(path: Path, when: str) -> None:
    if path.suffix not in _SUFFIXES:
        raise StateError(
            f"`path` must end with `.json` or `.pkl`{when}, but received: {path}",
            hint="Whole programs are saved into a folder with `save_program=True`, and loaded "
            "with `load(path, allow_pickle=True)`.",
        )


def write_program(
    module: Module, path: Path, modules: Iterable[ModuleType], *, allow_pickle: bool
) -> None:
    """Pickle a whole program into a folder.

    Args:
        module: The program.
        path: The folder; it is made where it is missing.
        modules: Modules whose classes go into the file.
        allow_pickle: Must be True.

    Raises:
        StateError: Pickles are not allowed, or the path has an ending.
        NotADirectoryError: There is a file of that name.
        SavingError: Something in the program cannot be pickled.
    """
    if path.suffix:
        raise StateError(
            "`path` must point to a directory without a suffix when `save_program=True`, but "
            f"received: {path}"
        )
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"The path '{path}' exists but is not a directory.")
    pickling.refuse_unless(allow_pickle, path)
    pickled = pickling.dumped(module, modules)
    path.mkdir(parents=True, exist_ok=True)
    pickling.write_whole(path / _PROGRAM, pickled, private=True)
    pickling.write_whole(path / _PROGRAM_METADATA, json.dumps(_metadata(), indent=2).encode())


def load(path: str | PathLike[str], allow_pickle: bool = False) -> Module:
    """Load a whole program that `Module.save` wrote with ``save_program=True``.

    Args:
        path: The folder.
        allow_pickle: Loading a pickle runs code that is in it: say True for a folder that you
            trust.

    Returns:
        The program.

    Raises:
        StateError: `allow_pickle` is False, or the folder holds no program that can be loaded.
        FileNotFoundError: There is no such folder.
        MissingExtraError: cloudpickle is not installed.

    Source:
        Name, files and arguments as DSPy's function of that name.
    """
    from nbtool.programs.module import Module

    folder = Path(path)
    if not allow_pickle:
        raise StateError(
            "Loading with pickle is not allowed. Please set `allow_pickle=True` if you are sure "
            f"you trust the source of the model: {str(folder)!r}.",
            hint="A state that was saved as .json is only read: make the program, then "
            "`program.load(path)`.",
        )
    if not folder.exists():
        raise FileNotFoundError(f"The path '{folder}' does not exist.")
    noted = folder / _PROGRAM_METADATA
    _compare(_from_json(noted) if noted.exists() else None)
    program = pickling.loaded(folder / _PROGRAM)
    if not isinstance(program, Module):
        raise StateError(f"{str(folder)!r} holds a {type(program).__name__} and no program.")
    return program


def _metadata() -> dict[str, Any]:
    # DSPy looks up each of these versions in its own list, and would stumble over another name.
    versions = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    return {"dependency_versions": versions, "nbtool": _version()}


def _version() -> str:
    try:
        return metadata.version("nbtool-live")
    except metadata.PackageNotFoundError:
        return ""


def _compare(saved: Any) -> None:
    if not isinstance(saved, dict):  # a file may hold anything there
        return
    noted = cast("dict[str, Any]", saved)
    versions: Any = noted.get("dependency_versions")
    here = _metadata()
    pairs = [("nbtool", noted.get("nbtool"), here["nbtool"])]
    if isinstance(versions, dict):
        python = cast("dict[str, Any]", versions).get("python")
        pairs.append(("python", python, here["dependency_versions"]["python"]))
    for name, then, now in pairs:
        if then and now and then != now:
            _log.warning(
                "There is a mismatch of %s version between saved model and current environment: "
                "it was saved with %s, and here is %s. If it behaves differently, that may be why.",
                name,
                then,
                now,
            )
