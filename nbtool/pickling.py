"""Pickle files: programs and settings as they are, with the classes of a notebook.

A pickle is a program that runs when it is loaded. So nothing here is loaded without an explicit
``allow_pickle=True``, and JSON is the usual form of a saved state. cloudpickle is needed, which
also takes up classes that only a notebook's cells define.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nbtool.errors import MissingExtraError, SavingError, StateError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from types import ModuleType

_lock = threading.Lock()
_by_value: dict[str, int] = {}  # module: how many files are being written that need it whole


def refuse_unless(allow_pickle: bool, path: str | os.PathLike[str]) -> None:
    """Refuse to load or write a pickle that nobody has allowed.

    Raises:
        StateError: `allow_pickle` is False.
    """
    if not allow_pickle:
        raise StateError(
            f"Loading .pkl files can run arbitrary code, which may be dangerous: {str(path)!r} "
            "needs `allow_pickle=True`.",
            hint="Say so if you trust whoever wrote it; save states as .json, which are only read.",
        )


def dumped(value: Any, modules: Iterable[ModuleType] = ()) -> bytes:
    """Pickle a value.

    Args:
        value: Anything that can be pickled.
        modules: Modules whose classes go into the pickle themselves, so that it can be loaded
            where these modules are missing.

    Raises:
        SavingError: It cannot be pickled.
        MissingExtraError: cloudpickle is not installed.
    """
    cloudpickle = _cloudpickle()
    with _whole(cloudpickle, list(modules)):
        try:
            return cast("bytes", cloudpickle.dumps(value))
        except Exception as error:  # a user's __reduce__ may raise anything
            raise SavingError(
                f"Saving failed with error: {error!r}, in a {type(value).__name__}.",
                hint="Leave out what cannot be pickled, such as locks, clients and open files.",
            ) from error


def loaded(path: Path) -> Any:
    """Load a pickle file; whoever calls has asked `refuse_unless` first.

    Raises:
        StateError: The file is no whole pickle, or needs what is missing here.
        MissingExtraError: cloudpickle is not installed.
    """
    cloudpickle = _cloudpickle()
    try:
        return cloudpickle.loads(path.read_bytes())
    except OSError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise StateError(
            f"{str(path)!r} cannot be loaded: {error!r}.",
            hint="Load it where it was saved, or with the packages that it was saved with.",
        ) from error


def save_each(values: dict[str, Any], path: str | os.PathLike[str], modules: Iterable[Any]) -> None:
    """Pickle values by name into one file that only its owner can read.

    Args:
        values: Values by name.
        path: The file.
        modules: As for `dumped`.

    Raises:
        SavingError: Some cannot be pickled; the error names them.
        MissingExtraError: cloudpickle is not installed.
    """
    kept = list(modules)
    try:
        pickled = dumped(values, kept)
    except SavingError as error:
        names = [name for name, value in values.items() if not _can_be_dumped(value, kept)]
        raise SavingError(
            f"Saving failed with error: {error.__cause__!r}, in {names}.",
            hint=f"Leave them out: exclude_keys={names}.",
        ) from error.__cause__
    write_whole(Path(path), pickled, private=True)


def load_mapping(path: str | os.PathLike[str], *, allow_pickle: bool) -> dict[str, Any]:
    """Load what `save_each` wrote.

    Raises:
        StateError: `allow_pickle` is False, or the file has no values by name.
        MissingExtraError: cloudpickle is not installed.
    """
    refuse_unless(allow_pickle, path)
    values = loaded(Path(path))
    if not isinstance(values, dict):
        raise StateError(f"{str(path)!r} holds a {type(values).__name__} and no settings.")
    return cast("dict[str, Any]", values)


def write_whole(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file so that at no time there is half of it.

    Args:
        path: The file; one that is there is replaced.
        content: What it shall hold.
        private: Only its owner can read it.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with open(half, "wb", opener=_open_private if private else None) as file:
            file.write(content)
        half.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            half.unlink()
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _can_be_dumped(value: Any, modules: list[Any]) -> bool:
    try:
        dumped(value, modules)
    except SavingError:
        return False
    return True


def _cloudpickle() -> Any:
    try:
        import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise MissingExtraError(
            "cloudpickle is not installed, which .pkl files and whole programs need.",
            hint="Run: pip install cloudpickle. States as .json need nothing.",
        ) from None
    return cloudpickle


@contextlib.contextmanager
def _whole(cloudpickle: Any, modules: list[ModuleType]) -> Generator[None]:
    """Let modules go into pickles by value meanwhile; those that the user registered stay so."""
    ours: list[ModuleType] = []
    with _lock:
        for module in modules:
            name = module.__name__
            if name not in _by_value:
                if name in cloudpickle.list_registry_pickle_by_value():
                    continue
                cloudpickle.register_pickle_by_value(module)
            _by_value[name] = _by_value.get(name, 0) + 1
            ours.append(module)
    try:
        yield
    finally:
        with _lock:
            for module in ours:
                _by_value[module.__name__] -= 1
                if not _by_value[module.__name__]:
                    del _by_value[module.__name__]
                    with contextlib.suppress(ValueError):  # the user has unregistered it
                        cloudpickle.unregister_pickle_by_value(module)
