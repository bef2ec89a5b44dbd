"""`Tool`: a function with a name, a description and checked arguments."""

from __future__ import annotations

import functools
import inspect
import json
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, cast, get_type_hints

import pydantic
from pydantic_core import core_schema

from nbtool.errors import ToolArgumentsError
from nbtool.runtime.door import run
from nbtool.runtime.driven import marked_as_coroutine_function
from nbtool.runtime.step import Inputs, Step
from nbtool.runtime.threads import in_worker
from nbtool.tools import langchain_tools, mcp_tools
from nbtool.tools.schemas import (
    Schema,
    adapter_of,
    argument_schemas,
    described_arguments,
    fault_of,
    resolved_function,
    schema_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_core import CoreSchema

    from nbtool.runtime.call import Call
    from nbtool.tools.mcp_tools import ResultMode, Session
    from nbtool.tracing.span import Kind


class Tool(Step):
    """Make a function callable by a language model, with checked arguments.

    Calls work both ways, whatever the function is: ``tool(x=5)`` and ``await tool.acall(x=5)``.
    An asynchronous function runs on the loop. A plain function runs in the caller's thread when
    called as ``tool(...)``, and in a worker thread when an asynchronous chain calls it.

    Args:
        func: A function, method, lambda, partial, or object with ``__call__``; async or not.
        name: Name that the model sees; the function's own by default.
        desc: What it does, for the model; the docstring by default.
        args: JSON schema by argument name, for all arguments that the model may give; read from
            the function by default. What a call gives is checked against schemas given here.
        arg_types: Type by argument name; read from the function by default.
        arg_desc: What an argument means, by name; added to its schema.
        thread: Whether an asynchronous chain runs a plain function in a worker thread. With
            False it runs on the loop and must be quick.

    Raises:
        ToolArgumentsError: A call's arguments do not fit.

    Example:
        >>> def double(x: int) -> int:
        ...     "Double a number."
        ...     return 2 * x
        >>> tool = Tool(double)
        >>> tool(x="4")
        8
        >>> tool.args
        {'x': {'type': 'integer'}}

    Source:
        Arguments, attributes and texts as DSPy's class of that name; ``thread`` is ours.
    """

    span_kind: ClassVar[Kind] = "tool"

    def __init__(
        self,
        func: Callable[..., Any],
        name: str | None = None,
        desc: str | None = None,
        args: dict[str, Any] | None = None,
        arg_types: dict[str, Any] | None = None,
        arg_desc: dict[str, str] | None = None,
        *,
        thread: bool = True,
    ) -> None:
        if not callable(func):
            raise ToolArgumentsError(
                f"Tool() needs a function and got {func!r}.", hint="Pass the function itself."
            )
        described = resolved_function(func)
        try:
            schemas, types, self.has_kwargs = argument_schemas(func)
        except ValueError as error:  # a builtin without a signature
            raise ToolArgumentsError(
                f"{func!r} does not tell which arguments it takes.",
                hint="Wrap it in a `def` that names them, with their types.",
            ) from error
        self.func = func
        self.thread = thread
        self.name = name or _name_of(func, described)
        self.desc = desc if desc is not None else _description_of(func, described)
        self._given_schemas = {} if args is None else _as_schemas(args)
        self.args: dict[str, Schema] = schemas if args is None else dict(self._given_schemas)
        self.arg_types: dict[str, Any] = {**types, **(arg_types or {})}
        self._required, self._optional = _needs(func)
        for argument, text in (arg_desc or {}).items():
            if argument in self.args or self.has_kwargs:
                self.args[argument] = {**self.args.get(argument, {}), "description": text}

    @classmethod
    def from_schema(
        cls, func: Callable[..., Any], schema: dict[str, Any], name: str, desc: str | None = None
    ) -> Self:
        """Make a tool of a function whose arguments a JSON schema describes.

        Args:
            func: Takes them by name.
            schema: JSON schema of an object; its members are the arguments. Further ones may be
                given unless ``additionalProperties`` is False.
            name: Name that the model sees.
            desc: What the tool does, for the model.

        Example:
            >>> schema = {"properties": {"x": {"type": "integer"}}, "required": ["x"]}
            >>> Tool.from_schema(lambda **given: given, schema, "echo")(x=1)
            {'x': 1}
        """
        schemas, types, required = described_arguments(schema)
        tool = cls(func, name, desc or "", schemas, types)
        tool.has_kwargs = schema.get("additionalProperties") is not False
        tool._required, tool._optional = required, frozenset(schemas.keys() - required)
        return tool

    @classmethod
    def from_mcp_tool(
        cls, session: Session, tool: Any, *, result_mode: ResultMode = "text"
    ) -> Self:
        """Make a tool of one that an MCP server has.

        Args:
            session: An initialized ``mcp.ClientSession``, or ``mcp.Client``, which must stay open,
                and belongs to the event loop on which it was opened.
            tool: One of what its ``list_tools()`` gave.
            result_mode: ``"text"`` returns the text of a result, a list of several texts, or the
                contents where none is text; ``"structured"`` the structured content of a result
                that has one.

        Returns:
            A tool whose calls are asynchronous. It raises a `ToolError` that is a RuntimeError
            where the server says that a call failed, or gives no answer.

        Raises:
            ToolArgumentsError: There is no such `result_mode`.

        Source:
            Arguments, results and the text of errors as DSPy's method of that name.
        """
        call = mcp_tools.calling(session, tool.name, result_mode)
        schema = mcp_tools.schema_of_arguments(tool)
        return cls.from_schema(call, schema, tool.name, tool.description)

    @classmethod
    def from_langchain(cls, tool: Any) -> Self:
        """Make a tool of one of LangChain's.

        Args:
            tool: A ``BaseTool``, such as ``@langchain_core.tools.tool`` makes.

        Returns:
            A tool whose calls are asynchronous. What the other raises is the cause of a
            `ToolError` that is a RuntimeError.

        Source:
            Results and the text of errors as DSPy's method of that name.
        """
        schema = langchain_tools.schema_of_arguments(tool)
        return cls.from_schema(langchain_tools.calling(tool), schema, tool.name, tool.description)

    @property
    def span_name(self) -> str:
        """Name of this step in traces."""
        return self.name

    @property
    def is_async(self) -> bool:
        """Whether the function is ``async def``."""
        return inspect.iscoroutinefunction(self.func) or inspect.iscoroutinefunction(
            resolved_function(self.func)
        )

    @property
    def runs_inline(self) -> bool:
        """Whether a synchronous call runs in the caller's thread: plain functions do."""
        return not self.is_async

    def __call__(self, **kwargs: Any) -> Any:
        """Call the tool from synchronous code and wait for its result.

        Raises:
            ToolArgumentsError: The arguments do not fit the function.
        """
        __tracebackhide__ = True
        return super().__call__(**kwargs)

    @marked_as_coroutine_function
    def acall(self, **kwargs: Any) -> Call[Any]:
        """Call the tool from asynchronous code.

        Raises:
            ToolArgumentsError: The arguments do not fit the function.
        """
        return super().acall(**kwargs)

    def forward(self, **kwargs: Any) -> Any:
        """Check the arguments and call the function in this thread."""
        __tracebackhide__ = True
        result = self.func(**self._checked(kwargs))
        return run(result) if inspect.isawaitable(result) else result

    async def aforward(self, **kwargs: Any) -> Any:
        """Check the arguments and call the function."""
        call = functools.partial(self.func, **self._checked(kwargs))
        if self.is_async or not self.thread:
            result = call()
        else:
            result = await in_worker(call)
        return await result if inspect.isawaitable(result) else result

    def _checked(self, kwargs: Inputs) -> Inputs:
        """Check arguments against the schemas, then turn them into the annotated types."""
        checked: Inputs = {}
        for name, value in kwargs.items():
            if name not in self.args and not self.has_kwargs:
                self._refuse(f"Arg {name} is not in the tool's args.")
            if name in self._given_schemas:
                self._check(name, value)
            checked[name] = self._coerced(name, value)
        missing = [n for n, s in self.args.items() if n not in kwargs and "default" not in s]
        required = [n for n in missing if n in self._required]
        if required:
            self._refuse(f"Arg {', '.join(required)} is missing.")
        return checked

    def _check(self, name: str, value: Any) -> None:
        fault = fault_of(value, self._given_schemas[name])
        if fault is not None:
            self._refuse(f"Arg {name} is invalid: {fault}")

    def _coerced(self, name: str, value: Any) -> Any:
        adapter = adapter_of(self.arg_types.get(name, Any))
        if adapter is None:
            return value
        try:
            return adapter.validate_python(value)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = "".join(f"[{part!r}]" for part in first["loc"])
            self._refuse(f"Arg {name} is invalid: {name}{place} = {value!r}: {first['msg']}")

    def _refuse(self, what: str) -> NoReturn:
        raise ToolArgumentsError(
            f"{what} (tool {self.name!r})",
            hint=f"{self.name!r} takes {_written(self.args)}.",
        )

    def __debug_inputs__(self, inputs: Inputs) -> Inputs:
        """Refuse arguments that do not fit, for a debugger."""
        self._checked(inputs)
        return inputs

    def __debug_decode__(self, value: Any) -> Any:
        """Make a result of its recorded JSON, by what the function says that it returns."""
        try:
            returned = get_type_hints(self.func).get("return", Any)
            adapter = adapter_of(returned)
            return value if adapter is None else adapter.validate_python(value)
        except Exception:  # noqa: BLE001 - whatever a user's annotations are: the JSON will do
            return value

    def __debug_refresh__(self, look_up: Callable[[Callable[..., Any]], Any]) -> None:
        """Take up the function as it is defined now, with the arguments it has now."""
        found = look_up(self.func)
        func = found.func if isinstance(found, Tool) else found
        if func is self.func:
            return
        schemas, types, self.has_kwargs = argument_schemas(func)
        if not self._given_schemas:
            told = {n: s["description"] for n, s in self.args.items() if "description" in s}
            for name in schemas.keys() & told.keys():
                schemas[name] = {"description": told[name], **schemas[name]}
            self.args = schemas
        self.func, self.arg_types = func, types
        self._required, self._optional = _needs(func)

    def format(self) -> str:
        """Describe the tool to a model, in one line; as ``str(tool)``."""
        return str(self)

    def format_as_litellm_function_call(self) -> dict[str, Any]:
        """Return the tool as an entry of ``tools=`` in OpenAI's Chat Completions request."""
        optional = self._optional | {n for n, schema in self.args.items() if "default" in schema}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.desc,
                "parameters": {
                    "type": "object",
                    "properties": self.args,
                    "required": [name for name in self.args if name not in optional],
                },
            },
        }

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        """Let pydantic know tools, as the type of fields: a function becomes one."""
        known = core_schema.is_instance_schema(cls)
        made = core_schema.no_info_after_validator_function(cls, core_schema.callable_schema())
        return core_schema.union_schema(
            [known, made],
            mode="left_to_right",
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    def __trace_value__(self) -> str:
        """Show only the name in traces."""
        return self.name

    def __str__(self) -> str:
        """Describe the tool in one line, as the prompt of ReAct does."""
        about = f", which does: {' '.join(self.desc.split()).rstrip('.')}" if self.desc else ""
        return f"{self.name}{about}. It takes these arguments as JSON: {_written(self.args)}"

    def __repr__(self) -> str:
        form = "async " if self.is_async else ""
        return f"<Tool {self.name}({', '.join(self.args)}), {form}function>"


def _needs(func: Callable[..., Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the arguments of a function that must be given, and those that may be left out."""
    parameters = inspect.signature(func).parameters
    optional = {name for name, p in parameters.items() if p.default is not p.empty}
    return frozenset(parameters.keys() - optional), frozenset(optional)


def _written(schemas: dict[str, Schema]) -> str:
    return json.dumps(schemas, ensure_ascii=False, default=str)


def _as_schemas(given: dict[str, Any]) -> dict[str, Schema]:
    """Return JSON schemas; a pydantic model or type stands for its schema."""
    return {
        name: cast("Schema", value) if isinstance(value, dict) else schema_of(value)
        for name, value in given.items()
    }


def _name_of(func: Callable[..., Any], described: Callable[..., Any]) -> str:
    named = getattr(func, "__name__", None)
    if isinstance(named, str):
        return named
    if isinstance(func, functools.partial):
        return getattr(described, "__name__", "tool")
    return type(func).__name__


def _description_of(func: Callable[..., Any], described: Callable[..., Any]) -> str:
    if inspect.isroutine(func) or inspect.isclass(func):
        return inspect.getdoc(func) or ""
    if isinstance(func, functools.partial):
        return inspect.getdoc(described) or ""
    # `getdoc` of a `__call__` without a docstring would give that of `type.__call__`.
    return inspect.cleandoc(described.__doc__ or "") or inspect.getdoc(type(func)) or ""
