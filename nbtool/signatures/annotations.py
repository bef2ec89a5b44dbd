"""Turn the text of a type into the type and back, without evaluating anything.

The text becomes a syntax tree and the tree a type, node by node. A name means what it means
where the user wrote it: the callers' frames are asked, nearest first.
"""

from __future__ import annotations

import ast
import builtins
import datetime as dt
import enum
import inspect
import sys
import types
import typing
from functools import partial, reduce
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast, get_args, get_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Meanings = Callable[[str], Iterable[object]]

_MAX_FRAMES = 100
_TRIES = 20
_PACKAGE = __name__.partition(".")[0]
_EXAMPLE = "write a type as in Python, e.g. `list[str]` or `Literal['yes', 'no']`."
_USUAL = (
    *("str", "int", "float", "bool", "bytes", "list", "dict", "tuple", "set"),
    *("Any", "Literal", "Optional", "Union", "datetime", "date"),
)


class UnreadableTypeError(Exception):
    """Say which part of a type's text means nothing.

    Args:
        problem: What is wrong.
        hint: What to write instead.
        at: Place in the text, counted from 0.
    """

    def __init__(self, problem: str, hint: str, at: int = 0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.at = at


def read_type(text: str, custom_types: Mapping[str, Any] | None = None) -> Any:
    """Build the type that a text describes.

    Args:
        text: On one line, e.g. ``"dict[str, list[int]] | None"``; it starts with no space.
        custom_types: What names mean. Names that are neither here nor builtin are looked up in
            the locals and globals of the caller outside of this package, then in `typing` and
            `datetime`, then in up to 99 further callers, then among the imported modules.

    Raises:
        UnreadableTypeError: The text is no type.
    """
    try:
        annotation = _read(text, partial(_meanings, custom_types or {}))
    except UnreadableTypeError as exc:
        # Syntax trees count the bytes of UTF-8.
        exc.at = len(text.encode()[: exc.at].decode(errors="ignore"))
        raise
    if not is_type(annotation):
        problem, hint = f"{text.strip()!r} is no type.", _EXAMPLE
        raise UnreadableTypeError(problem, hint)
    return annotation


def type_text(annotation: Any) -> str:
    """Write a type as one writes it in a signature: ``dict[str, int] | None``.

    Args:
        annotation: A type, or what may stand in its brackets.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, list):  # the parameters of a Callable
        return f"[{', '.join(map(type_text, cast(list[Any], annotation)))}]"
    if origin is None:
        return _name_of(annotation)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin is Union or origin is types.UnionType:
        return " | ".join(map(type_text, arguments))
    written = map(_literal_text if origin is Literal else type_text, arguments)
    # tuple[()] has no arguments either, and is not the same as tuple.
    no_arguments = "()" if isinstance(annotation, types.GenericAlias) else ""
    inside = ", ".join(written) or no_arguments
    return f"{type_text(origin)}[{inside}]" if inside else type_text(origin)


def is_type(value: object) -> bool:
    """Say whether a value may be the type of a field.

    Args:
        value: A class, a special form such as `Any`, an alias such as ``list[int] | None``, ...
    """
    if isinstance(value, type) or get_origin(value) is not None:
        return True
    return type(value).__module__ in {"typing", "typing_extensions"}


def _name_of(annotation: Any) -> str:
    if annotation is types.NoneType:
        return "None"
    if annotation is ...:
        return "..."
    name = getattr(annotation, "__qualname__", None) or getattr(annotation, "__name__", None)
    return name.rpartition("<locals>.")[2] if name else repr(annotation)


def _literal_text(value: object) -> str:
    if isinstance(value, enum.Enum):
        return f"{_name_of(type(value))}.{value.name}"
    return repr(value)


def _read(text: str, meanings: Meanings) -> Any:
    try:
        tree = _tree(text)
    except SyntaxError as exc:
        start = text[: max(0, (exc.offset or 1) - 1)]
        raise UnreadableTypeError(f"{exc.msg}.", _EXAMPLE, len(start.encode())) from None
    except ValueError as exc:  # a null character, before Python 3.12
        raise UnreadableTypeError(f"{exc}.", _EXAMPLE) from None
    except (RecursionError, MemoryError):
        raise UnreadableTypeError("the type is nested too deep.", _EXAMPLE) from None
    return _built(tree.body, meanings)


def _tree(text: str) -> ast.Expression:
    """Parse an expression, again where CPython 3.11 mixes two threads up.

    There, threads that make syntax trees at the same time share a counter, and one of them may get
    `SystemError: AST constructor recursion depth mismatch` (python/cpython#106905). It can go with
    Python 3.11.
    """
    for _ in range(_TRIES):
        try:
            return ast.parse(text, mode="eval")
        except SystemError:
            continue
    return ast.parse(text, mode="eval")


def _quoted(node: ast.Constant, text: str, meanings: Meanings) -> Any:
    try:
        return _read(text, meanings)
    except UnreadableTypeError as exc:
        raise _unreadable(node, exc.problem, exc.hint) from None


def _built(node: ast.expr, meanings: Meanings) -> Any:
    match node:
        case ast.Constant(value=None | types.EllipsisType()):
            return types.NoneType if node.value is None else ...
        case ast.Constant(value=str(text)):  # a forward reference
            return _quoted(node, text, meanings)
        case ast.Name() | ast.Attribute():
            return _named(node, meanings, is_type)
        case ast.List(elts=parts):
            return [_built(part, meanings) for part in parts]
        case ast.BinOp(op=ast.BitOr()):
            return _union(node, meanings)
        case ast.Subscript():
            return _subscripted(node, meanings)
        case _:
            raise _unreadable(node, f"{ast.unparse(node)!r} is no type.")


def _union(node: ast.BinOp, meanings: Meanings) -> Any:
    sides = _built(node.left, meanings), _built(node.right, meanings)
    try:
        return sides[0] | sides[1]
    except TypeError as exc:
        raise _unreadable(node, f"{ast.unparse(node)!r} is no type: {exc}.") from None


def _subscripted(node: ast.Subscript, meanings: Meanings) -> Any:
    origin = _built(node.value, meanings)
    several = isinstance(node.slice, ast.Tuple)
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if origin is Annotated:
        hint = "declare constraints in the class form, with InputField(ge=..., le=...)."
        raise _unreadable(node, "Annotated[...] cannot be written in a text.", hint)
    read = _literal if origin is Literal else _built
    arguments = tuple(read(item, meanings) for item in items)
    try:
        return origin[arguments if several else arguments[0]]
    except (TypeError, LookupError) as exc:
        raise _unreadable(node, f"{ast.unparse(node)!r} is no type: {exc}.") from None


def _literal(node: ast.expr, meanings: Meanings) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return -number
        case ast.Attribute():
            return _named(node, meanings, lambda value: isinstance(value, enum.Enum))
        case _:
            hint = "quote text, as in `Literal['yes', 'no']`."
            raise _unreadable(node, f"{ast.unparse(node)!r} is no literal.", hint)


def _named(node: ast.expr, meanings: Meanings, accept: Callable[[object], bool]) -> Any:
    name = ast.unparse(node)
    root, *path = name.split(".")
    for meaning in meanings(root):
        found = reduce(_member, path, meaning)
        if accept(found):
            return found
    raise _unreadable(node, f"Unknown name: {name}", _hint_for(name, root))


def _hint_for(name: str, root: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, _USUAL, n=1)
    example = f"custom_types={{{root!r}: ...}}"
    hint = f"define or import {root!r} before, or pass {example} to Signature."
    return f"did you mean `{near[0]}`? If not, {hint}" if near else hint


def _member(owner: object, name: str) -> object:
    # Reading an attribute of any other object might run a user's code.
    readable = isinstance(owner, type | types.ModuleType)
    return getattr(owner, name, None) if readable else None


def _unreadable(node: ast.expr, problem: str, hint: str = _EXAMPLE) -> UnreadableTypeError:
    return UnreadableTypeError(problem, hint, node.col_offset)


def _meanings(custom_types: Mapping[str, object], name: str) -> Iterator[object]:
    return (names[name] for names in _namespaces(custom_types) if name in names)


def _namespaces(custom_types: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    frames = _callers()
    yield custom_types
    yield vars(builtins)
    # The nearest caller's own `Text` wins over typing.Text, a distant library's does not.
    for frame in islice(frames, 1):
        yield frame.f_locals
        yield frame.f_globals
    yield vars(typing)
    yield vars(dt)
    for frame in frames:
        yield frame.f_locals
        yield frame.f_globals
    yield sys.modules


def _callers() -> Iterator[types.FrameType]:
    frame, found = inspect.currentframe(), 0
    while frame is not None and found < _MAX_FRAMES:
        if str(frame.f_globals.get("__name__")).partition(".")[0] != _PACKAGE:
            found += 1
            yield frame
        frame = frame.f_back
