"""An LM as a JSON-like dict, and back: in the form of DSPy's files.

Source:
    Names of the keys as in DSPy's saved programs.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any, cast

from nbtool.errors import LMConfigurationError
from nbtool.lm.options import without_secrets

if TYPE_CHECKING:
    from nbtool.lm.base import BaseLM

CLASS_KEY = "_dspy_lm_class"
OUR_PATH = "dspy.clients.lm.LM"
"""What `LM` is called in a state, so that DSPy reads it too."""

_OUR_PATHS = (None, OUR_PATH, "nbtool.lm.client.LM")  # files of old have no class at all
_UNSAFE = ("model_list", "fallbacks", "context_window_fallbacks")
_UNSAFE_ENDINGS = ("api_base", "base_url", "endpoint")
_NOT_OURS = ("engine", "async_engine", "prompt_cache")  # DSPy 3.4 chooses a transport by them
_log = logging.getLogger("nbtool")


def dumped(lm: BaseLM, path: str) -> dict[str, Any]:
    """Return what `loaded` makes an LM of; no keys of providers.

    Args:
        lm: The LM.
        path: What its class is called in the state.
    """
    return {
        CLASS_KEY: path,
        "model": lm.model,
        "model_type": lm.model_type,
        "cache": lm.cache,
        "num_retries": lm.num_retries,
        **without_secrets(lm.kwargs),
    }


def class_path(kind: type[Any]) -> str:
    """Return where a class is imported from."""
    return f"{kind.__module__}.{kind.__qualname__}"


def loaded(
    kind: type[BaseLM], state: Any, *, allow_class: bool, allow_addresses: bool
) -> tuple[type[BaseLM], dict[str, Any]]:
    """Return the class and arguments of the LM that a state describes.

    Args:
        kind: The class that is asked to load it.
        state: What a file held: anything.
        allow_class: Whether a class of another library may be imported.
        allow_addresses: Whether the state may say where requests go.

    Raises:
        LMConfigurationError: It is no state of an LM, or its class is not allowed.
    """
    given = cast("dict[Any, Any]", state)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in given):
        raise LMConfigurationError(
            f"The state of an LM must be a dict by names, not {type(given).__name__}.",
            hint="Load what `lm.dump_state()` returned.",
        )
    arguments: dict[str, Any] = dict(given)
    found = _class_of(kind, arguments.pop(CLASS_KEY, None), allow_class=allow_class)
    if not allow_addresses:
        _drop(arguments, [name for name in arguments if _is_address(name)])
    for name in _NOT_OURS:
        arguments.pop(name, None)
    return found, arguments


def _is_address(name: str) -> bool:
    return name in _UNSAFE or name.endswith(_UNSAFE_ENDINGS)


def _drop(arguments: dict[str, Any], names: list[str]) -> None:
    if not names:
        return
    for name in names:
        del arguments[name]
    _log.warning(
        "Ignoring unsafe LM config key(s) during state load: %s. They say where requests, and "
        "your key with them, are sent. If you trust the file, pass allow_unsafe_lm_state=True.",
        sorted(names),
    )


def _class_of(kind: type[BaseLM], path: Any, *, allow_class: bool) -> type[BaseLM]:
    from nbtool.lm.base import BaseLM
    from nbtool.lm.client import LM

    if path in _OUR_PATHS:
        return LM if kind is BaseLM else kind
    if path == class_path(kind):
        return kind
    if not isinstance(path, str) or not allow_class:
        raise LMConfigurationError(
            f"Refusing to import custom serialized LM class `{path}`. "
            f"Pass allow_unsafe_lm_state=True when loading trusted files to enable it.",
            hint="Importing a class runs code. Or load it without, and set the LM yourself.",
        )
    found = _imported(path)
    if not isinstance(found, type) or not issubclass(found, BaseLM):
        raise LMConfigurationError(
            f"The LM class `{path}` of the state is no subclass of nbtool's BaseLM.",
            hint="Derive it from nbtool.BaseLM, or set the LM yourself.",
        )
    return found


def _imported(path: str) -> Any:
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:end])
        try:
            found: Any = importlib.import_module(name)
            for attribute in parts[end:]:
                found = getattr(found, attribute)
        except (ModuleNotFoundError, AttributeError):
            continue
        return found
    raise LMConfigurationError(
        f"The LM class `{path}` of the state cannot be imported.",
        hint="Install or import what defines it, then load again.",
    )
