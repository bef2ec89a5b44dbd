"""Every error that nbtool raises on purpose.

::

    NbtoolError                            code, hint, span_id
    ├── ConfigurationError
    │   ├── LMNotConfiguredError           also ValueError
    │   ├── LMConfigurationError           also ValueError
    │   ├── SettingsOwnershipError         also RuntimeError
    │   └── MissingExtraError              also ImportError
    ├── LoopError                          also RuntimeError
    │   ├── NestedLoopError
    │   ├── LoopClosedError
    │   ├── WrongLoopError
    │   ├── ChainExitedError
    │   └── CallNotAwaitedError            also AttributeError, TypeError
    ├── SignatureError                     also ValueError
    │   ├── FieldDeclarationError          also TypeError
    │   ├── FieldNotFoundError             also KeyError
    │   └── InputError
    ├── LMError                            model, provider, status, request_id
    │   ├── BudgetError                    spent, limit
    │   ├── LMTransportError               no answer came: connection, DNS, TLS
    │   └── LMProviderError                the provider answered with an error
    │       ├── LMAuthError
    │       ├── LMBillingError
    │       ├── LMRateLimitError           retry_after
    │       ├── LMTimeoutError             also TimeoutError
    │       ├── LMServerError
    │       └── LMInvalidRequestError
    │           └── ContextWindowExceededError
    ├── AdapterParseError                  adapter_name, lm_response, parsed_result
    ├── ToolError
    │   ├── ToolNotFoundError              also ValueError
    │   ├── ToolArgumentsError             also ValueError
    │   └── ToolExecutionError             also RuntimeError
    ├── RecordingError                     also ValueError
    ├── StateError                         also ValueError
    ├── SavingError                        also RuntimeError
    ├── RowsError                          failures
    └── DebugError
        └── ReplayMismatchError

A message says what happened (values by ``repr``) and where; ``hint``, part of ``str(error)``, says
what to do. ``code`` is stable and meant for programs. Names follow DSPy where DSPy has one, so that
``except`` clauses port by changing the import; where DSPy raises a builtin, ours is a subclass.
"""

from __future__ import annotations

from typing import Any, ClassVar


class NbtoolError(Exception):
    """Be the root of every error that nbtool raises on purpose.

    Args:
        message: What happened and where, with values by ``repr``.
        hint: What the reader can do about it; shown on a line of its own.
        span_id: The step of the trace in which it happened, where one was open.

    Attributes:
        code: Stable snake_case name of the kind of error.
    """

    code: ClassVar[str] = "nbtool_error"

    def __init__(self, message: str = "", *, hint: str = "", span_id: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.span_id = span_id

    def __str__(self) -> str:
        return f"{self.message}\n  Hint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))  # as `cls(*args)` cannot


def _rebuild(cls: type[NbtoolError], args: tuple[Any, ...], state: dict[str, Any]) -> NbtoolError:
    error = cls.__new__(cls, *args)
    super(NbtoolError, error).__init__(*args)  # ImportError, for one, keeps fields of its own
    error.__dict__.update(state)
    return error


class ConfigurationError(NbtoolError):
    """Say that a setting is missing, contradictory or not allowed here."""

    code = "configuration"


class LMNotConfiguredError(ConfigurationError, ValueError):
    """Say that a predictor was called and no language model is set."""

    code = "lm_not_configured"


class LMConfigurationError(ConfigurationError, ValueError):
    """Say that the options of a language model contradict each other."""

    code = "lm_configuration"


class SettingsOwnershipError(ConfigurationError, RuntimeError):
    """Say that `configure` was called where settings may not be changed for all."""

    code = "settings_ownership"


class MissingExtraError(ConfigurationError, ImportError):
    """Say that an optional package is needed, and which command installs it."""

    code = "missing_extra"


class LoopError(NbtoolError, RuntimeError):
    """Say that something cannot be run on an event loop from here."""

    code = "loop"


class NestedLoopError(LoopError):
    """Say that waiting here would wait for the loop that is blocked below."""

    code = "nested_loop"


class LoopClosedError(LoopError):
    """Say that the awaitable belongs to a loop that has ended."""

    code = "loop_closed"


class WrongLoopError(LoopError):
    """Say that the awaitable belongs to another loop that cannot be reached."""

    code = "wrong_loop"


class ChainExitedError(LoopError):
    """Say in a task of a kernel that a chain called ``sys.exit()``."""

    code = "chain_exited"


class CallNotAwaitedError(LoopError, AttributeError, TypeError):
    """Say that a call was used where its result was meant."""

    code = "call_not_awaited"


class SignatureError(NbtoolError, ValueError):
    """Say that a signature cannot be read or edited as asked."""

    code = "signature"


class FieldDeclarationError(SignatureError, TypeError):
    """Say that a field was not declared with InputField or OutputField."""

    code = "field_declaration"


class FieldNotFoundError(SignatureError, KeyError):
    """Say that a signature has no field of that name."""

    code = "field_not_found"


class InputError(SignatureError):
    """Say that the inputs of a call do not fit its signature."""

    code = "input"


class LMError(NbtoolError):
    """Be the root of everything that goes wrong between an LM and its provider.

    Args:
        message: What happened.
        model: Model name as given to `LM`.
        provider: Provider as litellm names it, e.g. ``"openai"``.
        status: HTTP status, where one was received.
        request_id: The provider's id of the request, for its support.
        retry_after: Seconds that the provider asks to wait, where it said so.
        hint: What to do.
        span_id: The step of the trace in which it happened.
    """

    code = "lm"

    def __init__(
        self,
        message: str = "",
        *,
        model: str | None = None,
        provider: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        hint: str = "",
        span_id: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, span_id=span_id)
        self.model = model
        self.provider = provider
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after


class BudgetError(LMError):
    """Say that a request was not sent, because a limit of the settings is reached.

    Args:
        message: What happened.
        spent: What was spent so far, in US dollars or tokens.
        limit: What may be spent.
        **described: As for `LMError`.
    """

    code = "budget"

    def __init__(
        self, message: str = "", *, spent: float = 0.0, limit: float = 0.0, **described: Any
    ) -> None:
        super().__init__(message, **described)
        self.spent = spent
        self.limit = limit


class LMTransportError(LMError):
    """Say that no answer came: DNS, TLS, no connection or one that dropped."""

    code = "lm_transport"


class LMProviderError(LMError):
    """Say that the provider answered, and the answer is an error or cannot be read."""

    code = "lm_provider"


class LMAuthError(LMProviderError):
    """Say that the provider refused the key (HTTP 401 or 403)."""

    code = "lm_auth"


class LMBillingError(LMProviderError):
    """Say that the account has no budget left (HTTP 402 or the provider's own code)."""

    code = "lm_billing"


class LMRateLimitError(LMProviderError):
    """Say that the provider asked to slow down (HTTP 429); see ``retry_after``."""

    code = "lm_rate_limit"


class LMTimeoutError(LMProviderError, TimeoutError):
    """Say that no whole answer came within the time limit."""

    code = "lm_timeout"


class LMServerError(LMProviderError):
    """Say that the provider failed (HTTP 5xx) or sent something that is no answer."""

    code = "lm_server"


class LMInvalidRequestError(LMProviderError):
    """Say that the provider refused the request (HTTP 400, 404, 413, 422)."""

    code = "lm_invalid_request"


class ContextWindowExceededError(LMInvalidRequestError):
    """Say that prompt and answer do not fit into the model's context window."""

    code = "context_window_exceeded"


class AdapterParseError(NbtoolError):
    """Say that an LM's answer does not have the fields that the signature asks for.

    Args:
        adapter_name: Class name of the adapter that parsed.
        signature: The signature class.
        lm_response: The whole text of the answer.
        message: What is wrong with it.
        parsed_result: The fields found before it failed.
        hint: What to do.
        span_id: The step of the trace in which it happened.

    Source:
        Arguments, attributes and sentences as DSPy's class of that name.
    """

    code = "adapter_parse"

    def __init__(
        self,
        adapter_name: str,
        signature: Any,
        lm_response: str,
        message: str | None = None,
        parsed_result: dict[str, Any] | None = None,
        *,
        hint: str = "",
        span_id: int | None = None,
    ) -> None:
        expected = ", ".join(getattr(signature, "output_fields", {}))
        found = ", ".join(parsed_result or {})
        lines = [
            *([message] if message else []),
            f"Adapter {adapter_name} failed to parse the LM response.",
            f"  LM Response: {_shortened(lm_response)}",
            f"  Expected to find output fields in the LM response: [{expected}]",
            f"  Actual output fields parsed from the LM response: [{found}]",
        ]
        super().__init__("\n".join(lines), hint=hint, span_id=span_id)
        self.adapter_name = adapter_name
        self.signature = signature
        self.lm_response = lm_response
        self.parsed_result = parsed_result


class ToolError(NbtoolError):
    """Say that a tool could not be called; what it raised is ``__cause__``."""

    code = "tool"


class ToolNotFoundError(ToolError, ValueError):
    """Say that a tool was asked for that was not given."""

    code = "tool_not_found"


class ToolArgumentsError(ToolError, ValueError):
    """Say that the arguments of a tool call do not fit the tool."""

    code = "tool_arguments"


class ToolExecutionError(ToolError, RuntimeError):
    """Say that a tool raised while it was executed; what it raised is ``__cause__``."""

    code = "tool_execution"


class RecordingError(NbtoolError, ValueError):
    """Say that a saved trace cannot be read: damaged, or of another schema version."""

    code = "recording"


class StateError(NbtoolError, ValueError):
    """Say that a saved state cannot be read, or does not fit its program."""

    code = "state"


class SavingError(NbtoolError, RuntimeError):
    """Say that something cannot be saved; no file was written or changed."""

    code = "saving"


class RowsError(NbtoolError):
    """Say that too many rows failed; ``failures`` has their error records."""

    code = "rows"
    failures: tuple[Any, ...] = ()


class DebugError(NbtoolError):
    """Say that a debugger command means nothing now; nothing was changed."""

    code = "debug"


class ReplayMismatchError(DebugError):
    """Say that a step asks for what its recording does not have."""

    code = "replay_mismatch"


MISUSE = (LoopError, ConfigurationError, SignatureError, ReplayMismatchError)
"""Mistakes that no language model can mend: they are raised, and never shown to one."""


def _shortened(text: str, most: int = 600) -> str:
    shown = repr(text)
    return shown if len(shown) <= most else f"{shown[:most]}… ({len(text):,} characters in all)"
