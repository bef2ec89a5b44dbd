"""The house rules, as far as a test can hold them."""

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import nbtool

PACKAGE = Path(nbtool.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {
    str(path.relative_to(PACKAGE.parent)): ast.parse(path.read_text("utf-8")) for path in FILES
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages([str(PACKAGE)], "nbtool.")
    if not found.name.endswith("__main__")
)
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc", "manager"}
MOST_LINES = 400
MOST_BODY_LINES = 40
MOST_DOCSTRING_CHARS = 79


def fresh(script):
    run = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert run.stderr == ""
    return run.stdout


def functions_of(tree):
    return [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]


def body_lines(function):
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def is_overload(node):
    return any("overload" in ast.unparse(found) for found in node.decorator_list)


def public(nodes):
    """Give public classes, functions and methods, each with its dotted name."""
    for node in nodes:
        is_named = isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_")
        if is_named and not is_overload(node):
            yield node.name, node
        if is_named and isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", inner) for name, inner in public(node.body))


def is_setter(node):
    return any(
        ast.unparse(found).endswith((".setter", ".deleter")) for found in node.decorator_list
    )


def ill_documented(tree):
    for name, node in public(tree.body):
        first = (ast.get_docstring(node) or "").partition("\n")[0]
        if not is_setter(node) and not (
            0 < len(first) <= MOST_DOCSTRING_CHARS and first[-1] == "."
        ):
            yield f"{name}: {first!r}"


def type_checking_imports():
    (block,) = (
        node
        for node in TREES["nbtool/__init__.py"].body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {alias.name: node.module for node in block.body for alias in node.names}


HEAVY = ("litellm", "IPython", "ipywidgets", "aiohttp", "pydantic", "asyncio", "rich", "tenacity")


def test_import_loads_nothing_heavy_and_prints_nothing():
    script = (
        "import sys; before = set(sys.modules); import nbtool; import json; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )

    loaded = json.loads(fresh(script))

    assert {name.partition(".")[0] for name in loaded}.isdisjoint(HEAVY)
    assert [name for name in loaded if name.startswith("nbtool.")] == ["nbtool._distribution"]


def test_nothing_but_the_command_prints_when_it_is_imported():
    assert fresh("import nbtool") == ""


@pytest.mark.parametrize("name", ["settings", "errors_only", "traced"])
def test_light_names_load_no_language_model_library(name):
    script = {
        "settings": "nbtool.settings",
        "errors_only": "nbtool.LMError",
        "traced": "nbtool.traced",
    }[name]

    loaded = fresh(f"import sys, nbtool; {script}; print(*sys.modules)").split()

    assert {"litellm", "aiohttp", "IPython", "ipywidgets"}.isdisjoint(loaded)


@pytest.mark.parametrize("name", sorted(set(nbtool.__all__) - {"__version__"}))
def test_public_name_is_the_object_of_its_home(name):
    home = importlib.import_module(type_checking_imports()[name])

    assert getattr(nbtool, name) is vars(home)[name]
    assert name in dir(nbtool)


def test_public_names_are_the_ones_that_type_checkers_see():
    assert sorted([*type_checking_imports(), "__version__"]) == sorted(nbtool.__all__)
    assert type_checking_imports() == nbtool._HOME_OF


def test_public_names_are_listed_once_and_in_order():
    assert len(set(nbtool.__all__)) == len(nbtool.__all__)


def test_unknown_name_is_the_usual_error():
    with pytest.raises(AttributeError, match="module 'nbtool' has no attribute 'Predikt'"):
        nbtool.Predikt  # noqa: B018 - the access is the test


def test_public_names_are_the_same_after_importing_every_module():
    script = f"""
import importlib, nbtool
before = {{name: getattr(nbtool, name) for name in nbtool.__all__}}
for module in {MODULES!r}:
    importlib.import_module(module)
print([name for name in before if getattr(nbtool, name) is not before[name]])
fresh = [vars(importlib.import_module(home))[name] for name, home in nbtool._HOME_OF.items()]
print(all(getattr(nbtool, n) is o for n, o in zip(nbtool._HOME_OF, fresh, strict=True)))
"""

    assert fresh(script).split("\n")[-3:] == ["[]", "True", ""]


def test_public_names_are_right_when_every_module_was_imported_before():
    script = f"""
import importlib
for module in {MODULES!r}:
    importlib.import_module(module)
import nbtool
print([n for n, home in nbtool._HOME_OF.items()
       if getattr(nbtool, n) is not vars(importlib.import_module(home))[n]])
"""

    assert fresh(script).split("\n")[-2:] == ["[]", ""]


def test_no_module_has_the_name_of_a_public_object():
    assert {name.rpartition(".")[2] for name in MODULES}.isdisjoint(nbtool.__all__)


def test_no_module_is_a_drawer():
    assert {part for name in MODULES for part in name.split(".")}.isdisjoint(FORBIDDEN_NAMES)


@pytest.mark.parametrize("file", TREES)
def test_public_names_of_the_file_are_documented(file):
    assert list(ill_documented(TREES[file])) == []
    assert ast.get_docstring(TREES[file])


@pytest.mark.parametrize("path", FILES, ids=list(TREES))
def test_file_is_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("file", TREES)
def test_functions_of_the_file_are_short(file):
    long = {f.name: body_lines(f) for f in functions_of(TREES[file])}

    assert {name: lines for name, lines in long.items() if lines > MOST_BODY_LINES} == {}


@pytest.mark.parametrize("file", sorted(set(TREES) - {"nbtool/__main__.py"}))
def test_no_module_imports_the_bare_package(file):
    imported = [
        alias.name
        for node in ast.walk(TREES[file])
        if isinstance(node, ast.Import)
        for alias in node.names
    ]

    assert "nbtool" not in imported


def test_packages_that_are_used_by_their_names_need_no_import_of_their_own():
    names = "nbtool.testing.DummyLM.__name__, nbtool.streaming.StreamListener.__name__"
    assert fresh(f"import nbtool; print({names})").split() == ["DummyLM", "StreamListener"]
