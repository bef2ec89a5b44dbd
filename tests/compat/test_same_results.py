"""Ported programs: with `dspy` and with `nbtool` they give the same, by the same requests.

Only the library is another one: each program takes it as an argument.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from nbtool.testing.answers import Failure
from nbtool.testing.server import ScriptedServer

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
if str(HERE.parent / "kernels") not in sys.path:
    sys.path.append(str(HERE.parent / "kernels"))
from environments import environment  # noqa: E402 - of the kernel suite

PROGRAMS = sorted(path.stem for path in (HERE / "programs").glob("*.py"))
_LIMIT_S = 200

pytestmark = [
    pytest.mark.other_environment,
    pytest.mark.xdist_group("compat"),
    pytest.mark.timeout(2 * _LIMIT_S),
]


def answers_of(program):
    spec = importlib.util.spec_from_file_location(program, HERE / "programs" / f"{program}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ANSWERS


def written(fields):
    if "json" in fields:
        return fields["json"]
    sections = [f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items()]
    return "\n\n".join([*sections, "[[ ## completed ## ]]"])


class Provider:
    """Answer each program from its own table, by what it was told since the last answer."""

    def __init__(self):
        self.tables = {name: answers_of(name) for name in PROGRAMS}

    def respond(self, request):
        told = told_last(request)
        for part, fields in self.tables[request.body["model"]].items():
            if part in told:
                return written(fields)
        return Failure(400, f"nothing is scripted for {told!r}")


def told_last(request):
    """Return what the user's turns say since the last answer, results of tools among them."""
    roles = [turn["role"] for turn in request.messages]
    last = max((at for at, role in enumerate(roles) if role != "user"), default=-1)
    return "\n".join(str(turn["content"]) for turn in request.messages[last + 1 :])


def run_with(library, python, fresh):
    """Run all programs; returns the result and the number of requests of each."""
    provider = Provider()
    with ScriptedServer(respond=provider.respond) as server:
        command = [str(python), str(HERE / "run_programs.py"), library, server.base_url]
        env = {**fresh, "PYTHONPATH": str(CHECKOUT), "DSPY_CACHEDIR": fresh["HOME"]}
        done = subprocess.run(  # noqa: S603 - our own source
            [*command, *PROGRAMS], env=env, capture_output=True, text=True, timeout=_LIMIT_S,
            check=False,
        )  # fmt: skip
    results = dict(json.loads(line) for line in done.stdout.splitlines() if line[:1] == "[")
    assert sorted(results) == PROGRAMS, done.stderr
    return results, Counter(request.body["model"] for request in server.requests)


@pytest.fixture(scope="session")
def both(fresh):
    made = environment("dspy")
    if made.python is None:
        pytest.skip(f"not run: dspy could not be made: {made.reason}")
    return run_with("dspy", made.python, fresh), run_with("nbtool", sys.executable, fresh)


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_gives_the_same_by_as_many_requests(both, program):
    (theirs, their_requests), (ours, our_requests) = both

    assert not str(theirs[program]).startswith(("TypeError", "AttributeError"))
    assert ours[program] == theirs[program]
    assert our_requests[program] == their_requests[program]
