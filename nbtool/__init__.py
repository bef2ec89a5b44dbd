"""nbtool: write an async LM program once; run it in a cell or a script; watch every step.

Example:
    >>> import nbtool
    >>> from nbtool.testing import DummyLM
    >>> nbtool.configure(lm=DummyLM({"France": {"answer": "Paris"}}))
    >>> nbtool.Predict("question -> answer")(question="Capital of France?").answer
    'Paris'
    >>> nbtool.configure(lm=None)

Every name is loaded when it is first used, so that ``import nbtool`` costs next to nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nbtool._distribution import check_distribution

check_distribution(__file__)

if TYPE_CHECKING:
    from nbtool.adapters.base import Adapter
    from nbtool.adapters.chat import ChatAdapter
    from nbtool.adapters.compact import CompactAdapter
    from nbtool.adapters.structured import JSONAdapter
    from nbtool.adapters.two_step import TwoStepAdapter
    from nbtool.adapters.xml import XMLAdapter
    from nbtool.checkup import doctor
    from nbtool.configuration import configure, context, settings
    from nbtool.debugging.attaching import (
        breakpoint,  # noqa: A004 - for chains
        debug,
        debug_calls,
        paused,
        sessions,
    )
    from nbtool.debugging.breakpoints import Breakpoint
    from nbtool.debugging.replaying import RecordedError, fork, replay
    from nbtool.debugging.session import Session
    from nbtool.errors import (
        AdapterParseError,
        BudgetError,
        ConfigurationError,
        ContextWindowExceededError,
        DebugError,
        LMAuthError,
        LMBillingError,
        LMConfigurationError,
        LMError,
        LMInvalidRequestError,
        LMNotConfiguredError,
        LMProviderError,
        LMRateLimitError,
        LMServerError,
        LMTimeoutError,
        LMTransportError,
        LoopError,
        MissingExtraError,
        NbtoolError,
        RecordingError,
        ReplayMismatchError,
        RowsError,
        SavingError,
        SettingsOwnershipError,
        SignatureError,
        StateError,
        ToolError,
    )
    from nbtool.executors.failed import FailedRow
    from nbtool.lm.base import BaseLM
    from nbtool.lm.caching.current import cache, configure_cache
    from nbtool.lm.caching.requests import request_cache
    from nbtool.lm.caching.tiers import Cache
    from nbtool.lm.client import LM
    from nbtool.lm.history import inspect_history
    from nbtool.lm.retry import is_retryable_lm_error
    from nbtool.notebook.kernel import (
        load_ipython_extension,
        restore,
        unload_ipython_extension,
    )
    from nbtool.notebook.nest import enable_nest_asyncio
    from nbtool.notebook.overview import status
    from nbtool.programs.best_of_n import BestOfN
    from nbtool.programs.bridges import asyncify, syncify
    from nbtool.programs.chain_of_thought import ChainOfThought
    from nbtool.programs.evaluation import Evaluate, aevaluate, evaluate
    from nbtool.programs.example import Example
    from nbtool.programs.mapping import amap
    from nbtool.programs.module import Module
    from nbtool.programs.multi_chain_comparison import MultiChainComparison
    from nbtool.programs.parallel import Parallel
    from nbtool.programs.predict import Predict
    from nbtool.programs.prediction import Completions, Prediction
    from nbtool.programs.react import ReAct
    from nbtool.programs.react_v2 import ReActV2
    from nbtool.programs.refine import Refine
    from nbtool.programs.saving import load
    from nbtool.programs.scores import EvaluationResult
    from nbtool.programs.usage import track_usage
    from nbtool.runtime.call import Call
    from nbtool.runtime.detaching import Detached
    from nbtool.runtime.door import run
    from nbtool.runtime.inflight import running, stop
    from nbtool.runtime.streams import Stream
    from nbtool.runtime.surroundings import environment
    from nbtool.signatures.audio import Audio
    from nbtool.signatures.code_blocks import Code
    from nbtool.signatures.documents import Citations, Document
    from nbtool.signatures.fields import InputField, OutputField
    from nbtool.signatures.files import File
    from nbtool.signatures.images import Image
    from nbtool.signatures.reasoning import Reasoning
    from nbtool.signatures.signature import (
        Signature,
        SignatureMeta,
        ensure_signature,
        infer_prefix,
        make_signature,
    )
    from nbtool.signatures.types import History, Type
    from nbtool.streaming.programs import streamify
    from nbtool.tools.calls import ToolCallResults, ToolCalls
    from nbtool.tools.tool import Tool
    from nbtool.tracing.callbacks import ACTIVE_CALL_ID, BaseCallback, with_callbacks
    from nbtool.tracing.decorator import traced
    from nbtool.tracing.tree import Trace
    from nbtool.views.watching import last_trace, show, trace, watch

__all__ = [
    "ACTIVE_CALL_ID",
    "LM",
    "Adapter",
    "AdapterParseError",
    "Audio",
    "BaseCallback",
    "BaseLM",
    "BestOfN",
    "Breakpoint",
    "BudgetError",
    "Cache",
    "Call",
    "ChainOfThought",
    "ChatAdapter",
    "Citations",
    "Code",
    "CompactAdapter",
    "Completions",
    "ConfigurationError",
    "ContextWindowExceededError",
    "DebugError",
    "Detached",
    "Document",
    "Evaluate",
    "EvaluationResult",
    "Example",
    "FailedRow",
    "File",
    "History",
    "Image",
    "InputField",
    "JSONAdapter",
    "LMAuthError",
    "LMBillingError",
    "LMConfigurationError",
    "LMError",
    "LMInvalidRequestError",
    "LMNotConfiguredError",
    "LMProviderError",
    "LMRateLimitError",
    "LMServerError",
    "LMTimeoutError",
    "LMTransportError",
    "LoopError",
    "MissingExtraError",
    "Module",
    "MultiChainComparison",
    "NbtoolError",
    "OutputField",
    "Parallel",
    "Predict",
    "Prediction",
    "ReAct",
    "ReActV2",
    "Reasoning",
    "RecordedError",
    "RecordingError",
    "Refine",
    "ReplayMismatchError",
    "RowsError",
    "SavingError",
    "Session",
    "SettingsOwnershipError",
    "Signature",
    "SignatureError",
    "SignatureMeta",
    "StateError",
    "Stream",
    "Tool",
    "ToolCallResults",
    "ToolCalls",
    "ToolError",
    "Trace",
    "TwoStepAdapter",
    "Type",
    "XMLAdapter",
    "__version__",
    "aevaluate",
    "amap",
    "asyncify",
    "breakpoint",
    "cache",
    "configure",
    "configure_cache",
    "context",
    "debug",
    "debug_calls",
    "doctor",
    "enable_nest_asyncio",
    "ensure_signature",
    "environment",
    "evaluate",
    "fork",
    "infer_prefix",
    "inspect_history",
    "is_retryable_lm_error",
    "last_trace",
    "load",
    "load_ipython_extension",
    "make_signature",
    "paused",
    "replay",
    "request_cache",
    "restore",
    "run",
    "running",
    "sessions",
    "settings",
    "show",
    "status",
    "stop",
    "streamify",
    "syncify",
    "trace",
    "traced",
    "track_usage",
    "unload_ipython_extension",
    "watch",
    "with_callbacks",
]

__version__ = "0.1.0"

_HOMES = {  # names by the module that has them
    "nbtool.adapters.base": "Adapter",
    "nbtool.adapters.chat": "ChatAdapter",
    "nbtool.adapters.compact": "CompactAdapter",
    "nbtool.adapters.structured": "JSONAdapter",
    "nbtool.adapters.two_step": "TwoStepAdapter",
    "nbtool.adapters.xml": "XMLAdapter",
    "nbtool.checkup": "doctor",
    "nbtool.configuration": "configure context settings",
    "nbtool.debugging.attaching": "breakpoint debug debug_calls paused sessions",
    "nbtool.debugging.breakpoints": "Breakpoint",
    "nbtool.debugging.replaying": "RecordedError fork replay",
    "nbtool.debugging.session": "Session",
    "nbtool.errors": (
        "AdapterParseError BudgetError ConfigurationError ContextWindowExceededError "
        "DebugError LMAuthError LMBillingError LMConfigurationError LMError "
        "LMInvalidRequestError LMNotConfiguredError LMProviderError LMRateLimitError "
        "LMServerError LMTimeoutError LMTransportError LoopError MissingExtraError NbtoolError "
        "RecordingError RowsError ReplayMismatchError SavingError SettingsOwnershipError "
        "SignatureError StateError ToolError"
    ),
    "nbtool.executors.failed": "FailedRow",
    "nbtool.lm.base": "BaseLM",
    "nbtool.lm.caching.current": "cache configure_cache",
    "nbtool.lm.caching.requests": "request_cache",
    "nbtool.lm.caching.tiers": "Cache",
    "nbtool.lm.client": "LM",
    "nbtool.lm.history": "inspect_history",
    "nbtool.lm.retry": "is_retryable_lm_error",
    "nbtool.notebook.kernel": "load_ipython_extension restore unload_ipython_extension",
    "nbtool.notebook.nest": "enable_nest_asyncio",
    "nbtool.notebook.overview": "status",
    "nbtool.programs.best_of_n": "BestOfN",
    "nbtool.programs.bridges": "asyncify syncify",
    "nbtool.programs.chain_of_thought": "ChainOfThought",
    "nbtool.programs.evaluation": "Evaluate aevaluate evaluate",
    "nbtool.programs.example": "Example",
    "nbtool.programs.mapping": "amap",
    "nbtool.programs.module": "Module",
    "nbtool.programs.multi_chain_comparison": "MultiChainComparison",
    "nbtool.programs.parallel": "Parallel",
    "nbtool.programs.predict": "Predict",
    "nbtool.programs.prediction": "Completions Prediction",
    "nbtool.programs.react": "ReAct",
    "nbtool.programs.react_v2": "ReActV2",
    "nbtool.programs.refine": "Refine",
    "nbtool.programs.saving": "load",
    "nbtool.programs.scores": "EvaluationResult",
    "nbtool.programs.usage": "track_usage",
    "nbtool.runtime.call": "Call",
    "nbtool.runtime.detaching": "Detached",
    "nbtool.runtime.door": "run",
    "nbtool.runtime.inflight": "running stop",
    "nbtool.runtime.streams": "Stream",
    "nbtool.runtime.surroundings": "environment",
    "nbtool.signatures.audio": "Audio",
    "nbtool.signatures.code_blocks": "Code",
    "nbtool.signatures.documents": "Citations Document",
    "nbtool.signatures.fields": "InputField OutputField",
    "nbtool.signatures.files": "File",
    "nbtool.signatures.images": "Image",
    "nbtool.signatures.reasoning": "Reasoning",
    "nbtool.signatures.signature": (
        "Signature SignatureMeta ensure_signature infer_prefix make_signature"
    ),
    "nbtool.signatures.types": "History Type",
    "nbtool.streaming.programs": "streamify",
    "nbtool.tools.calls": "ToolCallResults ToolCalls",
    "nbtool.tools.tool": "Tool",
    "nbtool.tracing.callbacks": "ACTIVE_CALL_ID BaseCallback with_callbacks",
    "nbtool.tracing.decorator": "traced",
    "nbtool.tracing.tree": "Trace",
    "nbtool.views.watching": "last_trace show trace watch",
}
_PACKAGES = ("streaming", "testing")  # used by their own names, the first as in DSPy
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"nbtool.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})


class _Package(ModuleType):
    """Let users assign ``nbtool.cache``: LMs, which lie below, then use what was assigned."""

    @property
    def cache(self) -> Any:
        return _home_of_cache().cache

    @cache.setter
    def cache(self, value: Any) -> None:
        _home_of_cache().cache = value

    @cache.deleter
    def cache(self) -> None:
        del _home_of_cache().cache


def _home_of_cache() -> Any:
    return importlib.import_module(_HOME_OF["cache"])


sys.modules[__name__].__class__ = _Package


def _enter_kernel() -> None:
    """Make nbtool at home where a kernel runs; in a script load nothing that is not asked for."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is not None:
        from nbtool.notebook.kernel import activate

        activate(shell)
    elif os.environ.get("NBTOOL_TRACE", "0") not in {"", "0"}:
        from nbtool.views.terminal import watch_all

        watch_all()


_enter_kernel()
