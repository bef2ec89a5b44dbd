"""`amap(resume=…)`: results in a file, and what a crash or somebody else makes of it."""

from __future__ import annotations

import asyncio
import enum
import json
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pydantic
import pytest

from nbtool.configuration import context
from nbtool.errors import InputError, SavingError, StateError
from nbtool.executors.failed import FailedRow
from nbtool.programs.mapping import amap
from nbtool.programs.predict import Predict
from nbtool.programs.prediction import Prediction
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.testing.dummy import DummyLM

CHECKOUT = Path(__file__).parents[2]


class Counted:
    """Count the rows that run."""

    __name__ = "double"

    def __init__(self, *failing):
        self.seen, self.failing = [], failing

    async def acall(self, x):
        self.seen.append(x)
        await asyncio.sleep(0)
        if x in self.failing:
            raise ValueError(f"not {x}")
        return {"twice": 2 * x}

    __call__ = acall


def twice(number):
    return [{"twice": 2 * x} for x in range(number)]


async def all_of(mapped):
    return [result async for result in mapped]


def script(source):
    return subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", textwrap.dedent(source)],
        cwd=CHECKOUT, check=False, timeout=60, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture
def file(tmp_path):
    return tmp_path / "done.jsonl"


@pytest.fixture
async def half(file):
    """Give a file with the first five rows of ten."""
    assert await all_of(amap(Counted(), range(5), resume=file)) == twice(5)
    return file


async def test_finished_rows_are_not_run_again(half):
    program = Counted()

    assert await all_of(amap(program, range(10), resume=half)) == twice(10)
    assert program.seen == [5, 6, 7, 8, 9]


async def test_what_was_all_finished_runs_nothing(half):
    program = Counted()

    assert await all_of(amap(program, range(5), resume=str(half))) == twice(5)
    assert program.seen == []


async def test_rows_are_known_wherever_they_stand(half):
    program = Counted()

    assert await all_of(amap(program, [4, 7, 0], resume=half)) == [
        {"twice": 8}, {"twice": 14}, {"twice": 0},
    ]  # fmt: skip
    assert program.seen == [7]


async def test_identical_rows_are_each_run_once(file):
    first, second = Counted(), Counted()
    await all_of(amap(first, [1, 1], resume=file))
    await all_of(amap(second, [1, 1, 1], resume=file))

    assert (first.seen, second.seen) == ([1, 1], [1])


async def test_failed_rows_are_run_again(file):
    results = await all_of(amap(Counted(2), range(4), resume=file))
    program = Counted()

    assert isinstance(results[2], FailedRow)
    assert await all_of(amap(program, range(4), resume=file)) == twice(4)
    assert program.seen == [2]


async def test_rows_that_ended_before_a_break_are_kept(file):
    async with amap(Counted(), range(100), resume=file, concurrency=2) as mapped:
        assert await anext(mapped) == {"twice": 0}
    program = Counted()
    await all_of(amap(program, range(100), resume=file))

    assert 0 not in program.seen
    assert 80 < len(program.seen) < 100


async def test_rows_are_known_by_a_key_of_ones_own(file):
    program = Counted()
    for _ in range(2):
        await all_of(amap(program, [{"x": 1}], resume=file, key=lambda row: f"row {row['x']}"))

    assert program.seen == [1]
    assert json.loads(file.read_text().splitlines()[1])["key"] == "row 1"


async def test_row_without_a_key_is_refused(file):
    with pytest.raises(InputError, match="key="):
        await all_of(amap(Counted(), [{"x": object()}], resume=file))


async def test_file_can_be_read_by_its_owner_alone(half):
    assert stat.S_IMODE(half.stat().st_mode) == 0o600


# -- damaged files -------------------------------------------------------------------------------

CUTS = {"in a key": 20, "in a result": 4, "behind the last brace": 1}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_last_line_that_was_cut_off_costs_its_row_at_most(half, cut):
    half.write_bytes(half.read_bytes()[:-cut])
    first, second = Counted(), Counted()

    assert await all_of(amap(first, range(6), resume=half)) == twice(6)
    assert await all_of(amap(second, range(6), resume=half)) == twice(6)
    assert first.seen == ([5] if cut == 1 else [4, 5])
    assert second.seen == []


DAMAGE = {
    "no JSON": b"\xff\x00garbage",
    "another object": b'{"a": 1}',
    "no object": b"[1, 2]",
    "a key that is none": b'{"key": 3, "result": 1}',
    "nested deep": b"[" * 100_000,
    "empty": b"",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_damaged_line_costs_its_row_alone(half, damage, caplog):
    lines = half.read_bytes().splitlines()
    lines[2] = damage
    half.write_bytes(b"\n".join(lines) + b"\n")
    program = Counted()

    assert await all_of(amap(program, range(5), resume=half)) == twice(5)
    assert program.seen == [1]
    assert "1 lines are damaged" in caplog.text


@pytest.mark.parametrize("length", [0, 1, 20])
async def test_header_that_was_cut_off_is_written_again(half, length):
    half.write_bytes(half.read_bytes()[:length])
    program = Counted()
    await all_of(amap(program, range(2), resume=half))
    await all_of(amap(program, range(2), resume=half))

    assert program.seen == [0, 1]


FOREIGN = {
    "text": "my notes\n",
    "other lines": '{"question": "?"}\n',
    "a number": "3\n",
    "nested deep": "[" * 100_000 + "\n",
    "another schema": '{"format":"nbtool-rows","schema":9,"program":"double"}\n',
    "another program": '{"format":"nbtool-rows","schema":1,"program":"triple"}\n',
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
async def test_file_of_something_else_is_refused_and_left_alone(file, text):
    file.write_text(text)
    program = Counted()

    with pytest.raises(StateError, match="Give `resume=` another path"):
        await all_of(amap(program, range(2), resume=file))
    assert (file.read_text(), program.seen) == (text, [])


async def test_result_that_is_none_is_refused(half):
    lines = half.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), "result": 7})
    half.write_text("\n".join(lines) + "\n")

    with pytest.raises(StateError, match="cannot be read"):
        await all_of(amap(Counted(), range(5), resume=half))


async def test_path_that_cannot_be_written_is_refused_before_anything_runs(tmp_path):
    program = Counted()

    for path in (tmp_path / "missing" / "done.jsonl", tmp_path):
        with pytest.raises(StateError, match="cannot be opened"):
            await all_of(amap(program, range(2), resume=path))
    assert program.seen == []


def test_disk_that_is_full_ends_everything_and_what_was_written_is_kept(file):
    source = f"""
        import asyncio, resource, nbtool

        async def double(x):
            return {{"twice": 2 * x}}

        async def main():
            async for _ in nbtool.amap(double, range(1_000), resume={str(file)!r}):
                pass

        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
        try:
            asyncio.run(main())
        except nbtool.SavingError as error:
            print(error)
    """
    out = script(source).stdout
    program = Counted()

    assert out.startswith("A finished row cannot be written to")
    assert asyncio.run(all_of(amap(program, range(1_000), resume=file))) == twice(1_000)
    assert 900 < len(program.seen) < 990


async def test_pipe_is_refused(file):
    os.mkfifo(file)

    with pytest.raises(StateError, match="it is no file"):
        await all_of(amap(Counted(), range(2), resume=file))


def test_rows_that_ended_before_the_process_was_killed_are_kept(file):
    source = f"""
        import asyncio, os, signal, nbtool

        async def double(x):
            if x == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            return {{"twice": 2 * x}}

        async def main():
            rows = nbtool.amap(double, range(10), resume={str(file)!r}, concurrency=1)
            async for _ in rows:
                pass

        asyncio.run(main())
    """
    killed = script(source)
    program = Counted()

    assert killed.returncode < 0
    assert asyncio.run(all_of(amap(program, range(10), resume=file))) == twice(10)
    assert program.seen == [7, 8, 9]


# -- results -------------------------------------------------------------------------------------


class Mood(enum.Enum):
    GOOD = "good"


class Place(pydantic.BaseModel):
    name: str
    rank: int


class Find(Signature):
    """Find."""

    text: str = InputField()
    places: list[Place] = OutputField()
    mood: Mood = OutputField()


async def test_prediction_comes_back_as_it_was(file):
    answer = {"places": '[{"name": "Paris", "rank": 1}]', "mood": "good"}
    with context(lm=DummyLM([answer])):
        (first,) = await all_of(amap(Predict(Find), [{"text": "a"}], resume=file))
        (again,) = await all_of(amap(Predict(Find), [{"text": "a"}], resume=file))

    assert again == first
    assert (again.places[0], again.mood) == (Place(name="Paris", rank=1), Mood.GOOD)
    assert again.completions.items() == first.completions.items()


async def test_alternatives_of_a_prediction_come_back(file):
    lm = DummyLM([{"answer": "Paris"}, {"answer": "Rome"}])
    with context(lm=lm):
        program = Predict("question -> answer", n=2)
        await all_of(amap(program, [{"question": "?"}], resume=file))
        (again,) = await all_of(amap(program, [{"question": "?"}], resume=file))

    assert (again.answer, again.completions.answer) == ("Paris", ["Paris", "Rome"])


async def test_text_of_any_kind_comes_back(file):
    texts = ["\ud800 lone", "line\nbreak\u2028", "\x00", "naïve 🎉", '"}', ""]

    async def echo(text):
        return Prediction(answer=text)

    first = await all_of(amap(echo, texts, resume=file))

    assert [each.answer for each in first] == texts
    assert await all_of(amap(echo, texts, resume=file)) == first


UNFIT = {
    "a tuple": (1, 2),
    "a set": {1},
    "an object": object(),
    "no number": float("nan"),
    "numbers as keys": {1: 2},
    "a model": Place(name="Paris", rank=1),
    "a model in a prediction": Prediction(place=Place(name="Paris", rank=1)),
}


@pytest.mark.parametrize("result", UNFIT.values(), ids=UNFIT)
async def test_result_that_would_not_come_back_as_it_was_is_refused(file, result):
    async def give(x):
        return result

    with pytest.raises(SavingError, match="codec="):
        await all_of(amap(give, [1], resume=file))


async def test_codec_of_ones_own_keeps_anything(file):
    async def give(x):
        return Place(name="Paris", rank=x)

    codec = (lambda place: place.model_dump(), Place.model_validate)
    first = await all_of(amap(give, [1], resume=file, codec=codec))

    assert await all_of(amap(give, [1], resume=file, codec=codec)) == first


async def test_two_runs_may_write_the_same_file(file):
    programs = Counted(), Counted()
    await asyncio.gather(
        all_of(amap(programs[0], range(40), resume=file)),
        all_of(amap(programs[1], range(40, 80), resume=file)),
    )
    program = Counted()

    assert await all_of(amap(program, range(80), resume=file)) == twice(80)
    assert program.seen == []
