"""The provider's key: asked for at each request where it is a function; where it is missing."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from nbtool.errors import LMAuthError, LMConfigurationError, LMError
from nbtool.runtime.surroundings import environment
from nbtool.runtime.threads import in_worker
from nbtool.tracing.record import remember_secret

if TYPE_CHECKING:
    from collections.abc import Callable


async def current_key(key: Any, model: str) -> Any:
    """Return the key to send now.

    Args:
        key: A key; or a function that gives one, synchronous (it runs in a worker thread, for it
            may ask a vault) or asynchronous.
        model: Whose key it is, for errors.

    Raises:
        LMAuthError: The function failed.
        LMConfigurationError: It gave no key.
    """
    if not callable(key):
        remember_secret(key)
        return key
    given = await _asked(cast("Callable[[], Any]", key), model)
    if not isinstance(given, str) or not given:
        raise LMConfigurationError(
            f"The api_key of {model!r} is a function, and it gave {type(given).__name__} "
            f"in place of a key.",
            hint="It must return the key as text; None and an empty text are none.",
        )
    remember_secret(given)
    return given


async def _asked(key: Callable[[], Any], model: str) -> Any:
    try:
        if inspect.iscoroutinefunction(key):
            return await key()
        given = await in_worker(key)
        return await given if inspect.isawaitable(given) else given
    except LMError:
        raise
    except Exception as error:  # the user's own code: it may raise anything
        raise LMAuthError(
            f"The function that gives the api_key of {model!r} failed with {type(error).__name__}.",
            model=model,
            hint="Call it by itself to see why.",
        ) from error


def hint_for_missing_key(model: str, names: tuple[str, ...]) -> str:
    """Say how a key is given in the place where the program runs.

    Args:
        model: Whose key is missing.
        names: Variables of the environment that may hold it.
    """
    name = names[0]
    host = environment().host
    if "Colab" in host:
        return (
            f"Add {name} under Secrets (the key symbol at the left), then write\n"
            f"    from google.colab import userdata\n"
            f"    lm = LM({model!r}, api_key=userdata.get({name!r}))"
        )
    if "Databricks" in host:
        return (
            f"Store {name} in a secret scope, then write\n"
            f'    key = dbutils.secrets.get(scope="my-scope", key={name!r})\n'
            f"    lm = LM({model!r}, api_key=key)"
        )
    return f"Set the key in the environment ({', '.join(names)}), or pass LM(..., api_key=...)."
