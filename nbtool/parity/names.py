"""Which names the code of a cell binds, and which it uses at once."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def runs_at_once(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk through what runs when the cell does: not the bodies of its functions.

    Args:
        tree: A module, or any node of one.
    """
    for child in ast.iter_child_nodes(tree):
        yield child
        if isinstance(child, _FUNCTIONS):
            for outside in _outside_of(child):
                yield outside
                yield from runs_at_once(outside)
        else:
            yield from runs_at_once(child)


def _outside_of(function: Any) -> list[ast.expr]:
    """Return decorators and defaults, which are worked out where the function is made."""
    defaults = [*function.args.defaults, *(each for each in function.args.kw_defaults if each)]
    return [*getattr(function, "decorator_list", ()), *defaults]


def bound_in(tree: ast.Module) -> set[str]:
    """Return the names that a cell binds for the cells below.

    Args:
        tree: The cell.
    """
    names: set[str] = set()
    for node in runs_at_once(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {each.asname or each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            names |= set(node.names)
    return names


def used_in(tree: ast.Module) -> Iterator[ast.Name]:
    """Give the names that a cell looks up when it runs, in their order.

    Args:
        tree: The cell.
    """
    own = _of_comprehensions(tree)
    for node in runs_at_once(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in own:
            yield node


def _of_comprehensions(tree: ast.Module) -> set[int]:
    """Return which uses mean a comprehension's own variable."""
    own: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, _COMPREHENSIONS):
            targets = {
                each.id
                for generator in node.generators
                for each in ast.walk(generator.target)
                if isinstance(each, ast.Name)
            }
            own |= {
                id(each)
                for each in ast.walk(node)
                if isinstance(each, ast.Name) and each.id in targets
            }
    return own
