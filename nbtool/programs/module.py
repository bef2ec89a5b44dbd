"""`Module`: a program that is made of steps."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from nbtool.errors import LMConfigurationError, StateError
from nbtool.lm import history
from nbtool.programs import (
    edited,
    saving,
    usage,  # noqa: F401 # pyright: ignore[reportUnusedImport] - predictions know their tokens
    walk,
)
from nbtool.programs.batches import Batched
from nbtool.programs.in_flight import modules_in_flight
from nbtool.programs.states import State, checked_mapping
from nbtool.runtime.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike
    from types import ModuleType
    from typing import TextIO

    from nbtool.lm.base import BaseLM
    from nbtool.programs.predict import Predict

F = TypeVar("F", bound="Callable[..., Any]")
_OF_THIS_OBJECT = frozenset({"history", "callbacks"})
_ATOMS = frozenset({str, int, float, bool, type(None), type})
_log = logging.getLogger("nbtool")


class _ModuleMeta(type):
    """Give every module its own attributes, also where ``super().__init__()`` was forgotten."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        module: Any = cast("Any", cls).__new__(cls, *args, **kwargs)
        if isinstance(module, cls):
            Module.__init__(cast("Module", module))
            cls.__init__(module, *args, **kwargs)
        return module

    @property
    def __signature__(cls) -> inspect.Signature:
        # Else help and completion would show that of `__call__`.
        of_init = inspect.signature(cast("Any", cls).__init__)
        return of_init.replace(
            parameters=list(of_init.parameters.values())[1:],
            return_annotation=inspect.Signature.empty,
        )


def _hinting(forward: F) -> F:
    """Let a ``forward`` that is called by itself say what it misses."""

    @functools.wraps(forward)
    def hinted(self: Module, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        is_of_a_parent = type(self).forward is not hinted  # called by super()
        if not is_of_a_parent and not any(self is module for module in modules_in_flight()):
            _log.warning(
                "Calling module.forward(...) on %s directly is discouraged. Please use "
                "module(...) instead: history, usage and traces are for calls.",
                type(self).__name__,
            )
        return forward(self, *args, **kwargs)

    return cast("F", hinted)


class Module(Batched, Step, metaclass=_ModuleMeta):
    """Be a program; subclasses define ``aforward``, ``forward``, or both.

    It is called as ``m(...)`` or ``await m.acall(...)``, whichever of the two it defines: see
    `nbtool.runtime.step` for what runs where.

    Args:
        callbacks: Watchers of this module: see `BaseCallback`.

    Attributes:
        callbacks: The same, as a list of its own.
        history: The latest requests that were made below this module, oldest first.

    Example:
        >>> class Shout(Module):
        ...     async def aforward(self, text):
        ...         return text.upper()
        >>> Shout()(text="hello")
        'HELLO'

    Source:
        Names and call shapes as DSPy's class of that name.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls).get("forward")
        if inspect.isfunction(own):
            cls.forward = _hinting(own)

    def __init__(self, callbacks: list[Any] | None = None) -> None:
        self.callbacks: list[Any] = list(callbacks or [])
        self.history: list[history.Entry] = []
        self._compiled = False

    forward = _hinting(Step.forward)

    # -- what is inside ------------------------------------------------------------------------

    def named_parameters(self) -> list[tuple[str, Predict]]:
        """Return what an optimizer may change, with its path: the predictors inside.

        Modules inside that are compiled (``_compiled`` is true) are frozen, and left out.
        """
        from nbtool.programs.predict import Predict

        own: list[tuple[str, Predict]] = [("self", self)] if isinstance(self, Predict) else []
        return [*own, *walk.members(self, Predict, Module)]

    def parameters(self) -> list[Predict]:
        """Return what an optimizer may change."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_predictors(self) -> list[tuple[str, Predict]]:
        """Return the predictors inside with their paths; a predictor itself is ``self``."""
        return self.named_parameters()

    def predictors(self) -> list[Predict]:
        """Return the predictors inside."""
        return [predictor for _, predictor in self.named_predictors()]

    def part_name(self, part: object) -> str | None:
        """Return the path of a predictor inside; None where it is not inside."""
        return next((name for name, inside in self.named_predictors() if inside is part), None)

    def named_sub_modules(
        self, type_: type | None = None, skip_compiled: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """Give this module as ``self``, then the modules inside with their paths.

        Args:
            type_: Give only objects of this class; modules by default.
            skip_compiled: Leave out what is inside compiled modules.
        """
        return walk.sub_modules(self, type_ or Module, Module, skip_compiled=skip_compiled)

    def map_named_predictors(self, func: Callable[[Predict], Any]) -> Self:
        """Replace every predictor inside by what `func` makes of it, and return self."""
        from nbtool.programs.predict import Predict

        walk.replace(self, Predict, Module, func)
        return self

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
                "Multiple LMs are being used in the module. There's no unique LM to return: the "
                f"predictors of {type(self).__name__!r} use {len(found)} different LMs.",
                hint="Read `predictor.lm` of the one you mean; see `named_predictors()`.",
            )
        return next(iter(found.values()), None)

    def __debug_output__(self, value: Any, before: Any) -> Any:
        """Make an output of what a debugger sets."""
        return edited.returned(value, before)

    # -- copies --------------------------------------------------------------------------------

    def deepcopy(self) -> Self:
        """Return a copy that shares no predictor and has no history yet.

        What cannot be copied whole is copied one level deep, or shared where that fails too.
        """
        return copy.deepcopy(self)

    def __copy__(self) -> Self:
        twin: Self = object.__new__(type(self))
        vars(twin).update(vars(self), history=[], callbacks=list(self.callbacks))
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin: Self = object.__new__(type(self))
        memo[id(self)] = twin
        for name, value in vars(self).items():
            if name not in _OF_THIS_OBJECT:
                vars(twin)[name] = _copied(value, memo)
        twin.history = []
        twin.callbacks = list(self.callbacks)
        return twin

    def reset_copy(self) -> Self:
        """Return a copy whose predictors have forgotten their LMs, demos and traces."""
        twin = self.deepcopy()
        for parameter in twin.parameters():
            parameter.reset()
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Leave out, of a pickle, what belongs to this process: history and callbacks."""
        return {name: v for name, v in vars(self).items() if name not in _OF_THIS_OBJECT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"history": [], "callbacks": [], "_compiled": False, **state})

    # -- states and files ----------------------------------------------------------------------

    def dump_state(self, json_mode: bool = True) -> State:
        """Return what optimizers change, by the paths of the predictors inside.

        Args:
            json_mode: Make examples dicts, so that JSON can hold them.

        Source:
            The shape of DSPy's state files.
        """
        return {n: parameter.dump_state(json_mode) for n, parameter in self.named_parameters()}

    def load_state(self, state: Any, *, allow_unsafe_lm_state: bool = False) -> Self:
        """Take over what `dump_state` returned, here or in DSPy, and return self.

        Where anything of it does not fit, nothing is changed.

        Args:
            state: The state, from whatever file.
            allow_unsafe_lm_state: Trust it: let it say where requests are sent to, and which
                classes of LMs are imported.

        Raises:
            StateError: It does not fit this program.
            LMConfigurationError: It has an LM of a class that may not be loaded.
        """
        from nbtool.programs.predict import load_all

        whole = checked_mapping(state, f"of {type(self).__name__}")
        parameters = self.named_parameters()
        if missing := [name for name, _ in parameters if name not in whole]:
            raise StateError(
                f"The state has nothing for {missing} of {type(self).__name__!r}; it has "
                f"{sorted(whole)}.",
                hint="Load it into the program that it was saved from.",
            )
        pairs = [(parameter, whole[name]) for name, parameter in parameters]
        load_all(pairs, allow_unsafe_lm_state=allow_unsafe_lm_state)
        return self

    def save(
        self,
        path: str | PathLike[str],
        save_program: bool = False,
        modules_to_serialize: Iterable[ModuleType] | None = None,
        allow_pickle: bool = False,
    ) -> None:
        """Write the state into a file, or the whole program into a folder.

        Keys of providers are left out of a state, and not out of a whole program.

        Args:
            path: A ``.json`` file, which only holds the state; a ``.pkl`` file, which holds it
                with Python's objects; or, for a whole program, a folder.
            save_program: Pickle the program itself, with cloudpickle.
            modules_to_serialize: Modules whose classes go into a pickle themselves, so that it
                can be loaded where these modules are missing.
            allow_pickle: Needed for a whole program: loading it runs code that is in it.

        Raises:
            StateError: The path has another ending, or `allow_pickle` is missing.
            SavingError: Something cannot be saved in this form.
            NotADirectoryError: There is a file where the folder should be.
            MissingExtraError: cloudpickle is not installed.
        """
        modules = list(modules_to_serialize or ())
        if save_program:
            saving.write_program(self, Path(path), modules, allow_pickle=allow_pickle)
        else:
            saving.write_state(self, Path(path), modules)

    def load(
        self,
        path: str | PathLike[str],
        allow_pickle: bool = False,
        allow_unsafe_lm_state: bool = False,
    ) -> None:
        """Take over the state in a file that `save` wrote, here or in DSPy.

        Args:
            path: A ``.json`` or ``.pkl`` file.
            allow_pickle: Loading a ``.pkl`` runs code that is in it: say True for one that you
                trust.
            allow_unsafe_lm_state: As for `load_state`.

        Raises:
            StateError: The file cannot be read, may not be, or does not fit this program.
            LMConfigurationError: It has an LM of a class that may not be loaded.
            MissingExtraError: cloudpickle is not installed.
        """
        state = saving.read_state(Path(path), allow_pickle=allow_pickle)
        self.load_state(state, allow_unsafe_lm_state=allow_unsafe_lm_state)

    # -- being shown ---------------------------------------------------------------------------

    def inspect_history(self, n: int = 1, file: TextIO | None = None) -> None:
        """Print the latest `n` requests made below this module, and their answers."""
        history.show(self.history, n, file)

    def __repr__(self) -> str:
        inside = [f"  {name} = {predictor!r}" for name, predictor in self.named_predictors()]
        return "\n".join([f"{type(self).__name__}()", *inside])


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """Copy a value as deep as it goes."""
    if type(value) in _ATOMS:
        return value
    # A copy that fails leaves halves of objects in its memo, so each tries with one of its own.
    trial = dict(memo)
    try:
        copied = copy.deepcopy(value, trial)
    except Exception:  # noqa: BLE001 - a client, a lock, a generator: copying raises whatever
        return _copied_in_part(value, memo)
    # A memo keeps what it has copied alive under its own address, which will be another's.
    alive = trial.pop(id(trial), [])
    memo.update(trial)
    memo.setdefault(id(memo), []).extend(alive)
    return copied


def _copied_in_part(value: Any, memo: dict[int, Any]) -> Any:
    if id(value) in memo:
        return memo[id(value)]
    kind = cast("type[Any]", type(value))
    if kind is tuple:
        return tuple(_copied(item, memo) for item in value)
    made = cast("Any", kind() if kind in (list, dict) else _shallow(value))
    memo[id(value)] = made
    if kind is list:
        made.extend(_copied(item, memo) for item in value)
    elif kind is dict:
        made.update({key: _copied(item, memo) for key, item in value.items()})
    return made


def _shallow(value: Any) -> Any:
    try:
        return copy.copy(value)
    except Exception:  # noqa: BLE001 - as in `_copied`
        return value
