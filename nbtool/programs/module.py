"""`Module`: a program that is made of steps."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self, cast

from nbtool.errors import LMConfigurationError
from nbtool.programs.walk import members
from nbtool.runtime.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbtool.lm.base import BaseLM
    from nbtool.programs.predict import Predict


class _ModuleMeta(type):
    """Give every module its own attributes, also where ``super().__init__()`` was forgotten."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        module: Any = cast("Any", cls).__new__(cls, *args, **kwargs)
        if isinstance(module, cls):
            Module.__init__(cast("Module", module))
            cls.__init__(module, *args, **kwargs)
        return module


class Module(Step, metaclass=_ModuleMeta):
    """Be a program; subclasses define ``aforward``, ``forward``, or both.

    It is called as ``m(...)`` or ``await m.acall(...)``, whichever of the two it defines: see
    `nbtool.runtime.step` for what runs where.

    Args:
        callbacks: Watchers of this module.

    Example:
        >>> class Shout(Module):
        ...     async def aforward(self, text):
        ...         return text.upper()
        >>> Shout()(text="hello")
        'HELLO'

    Source:
        Names and call shapes as DSPy's class of that name.
    """

    def __init__(self, callbacks: list[Any] | None = None) -> None:
        self.callbacks: list[Any] = list(callbacks or [])
        self.history: list[dict[str, Any]] = []

    def named_predictors(self) -> list[tuple[str, Predict]]:
        """Return the predictors inside with their paths; a predictor itself is ``self``."""
        from nbtool.programs.predict import Predict

        own: list[tuple[str, Predict]] = [("self", self)] if isinstance(self, Predict) else []
        inside = members(self, Module)
        return own + [(name, found) for name, found in inside if isinstance(found, Predict)]

    def predictors(self) -> list[Predict]:
        """Return the predictors inside."""
        return [predictor for _, predictor in self.named_predictors()]

    def named_sub_modules(self) -> Iterator[tuple[str, Module]]:
        """Give this module as ``self``, then the modules inside with their paths."""
        yield "self", self
        yield from members(self, Module)

    def map_named_predictors(self, function: Callable[[Predict], Any]) -> Self:
        """Replace every predictor inside by what `function` makes of it, and return self."""
        from nbtool.programs.predict import Predict

        return _mapped(self, Predict, function, set())

    def set_lm(self, lm: BaseLM | None) -> None:
        """Let every predictor inside use this LM; None: the one of the settings."""
        for predictor in self.predictors():
            predictor.lm = lm

    def get_lm(self) -> BaseLM | None:
        """Return the LM that all predictors inside use.

        Raises:
            LMConfigurationError: They use different ones.
        """
        found = {id(p.lm): p.lm for p in self.predictors()}
        if len(found) > 1:
            raise LMConfigurationError(
                f"The predictors of {type(self).__name__!r} use {len(found)} different LMs.",
                hint="Read `predictor.lm` of the one you mean; see `named_predictors()`.",
            )
        return next(iter(found.values()), None)

    def deepcopy(self) -> Self:
        """Return a copy that shares no predictor; what cannot be copied is shared."""
        twin: Self = object.__new__(type(self))
        # What two attributes share stays shared. A copy that fails leaves halves of objects behind,
        # so each has a memo of its own; all are kept, since a memo knows itself by its address.
        memos: list[dict[int, Any]] = [{id(self): twin}]
        for name, value in vars(self).items():
            memo = dict(memos[-1])
            try:
                setattr(twin, name, copy.deepcopy(value, memo))
                memos.append(memo)
            except Exception:  # noqa: BLE001 - a client or a lock is shared, as in DSPy
                setattr(twin, name, value)
        return twin

    def reset_copy(self) -> Self:
        """Return a copy whose predictors have forgotten their demos."""
        twin = self.deepcopy()
        for predictor in twin.predictors():
            predictor.reset()
        return twin

    def __repr__(self) -> str:
        inside = [f"  {name} = {predictor!r}" for name, predictor in self.named_predictors()]
        return "\n".join([f"{type(self).__name__}()", *inside])


def _mapped(value: Any, kind: type[Any], function: Callable[[Any], Any], seen: set[int]) -> Any:
    """Return `value` with every object of a kind inside replaced by what `function` gives."""
    if isinstance(value, kind) and seen:
        return function(value)
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return {key: _mapped(item, kind, function, seen) for key, item in pairs}
    if isinstance(value, list):
        return [_mapped(item, kind, function, seen) for item in cast("list[Any]", value)]
    if type(value) is tuple:
        return tuple(_mapped(item, kind, function, seen) for item in cast("list[Any]", value))
    if isinstance(value, Module) and id(value) not in seen:
        seen.add(id(value))
        for name, item in list(vars(value).items()):
            setattr(value, name, _mapped(item, kind, function, seen))
    return value
