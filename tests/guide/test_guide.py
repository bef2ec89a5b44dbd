"""The async guide's programs: the same source as a script and as cells of a kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nbtool.testing.kernel import Kernel

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "docs" / "guide"
SHOWN = {
    "1_predict": "Prediction(\n    answer='Paris'\n)\n",
    "2_async_tool": "foo got 2\n",
    "3_sync_call_of_async_tool": "double gave 10\n",
    "4_custom_module": (
        "Prediction(\n    reasoning='Only the name.',\n    simplified_answer='Paris'\n)\n"
    ),
    "5_react": "It is 17 degrees.\n",
}


@pytest.fixture(scope="module")
def kernel(provider, on_provider):
    with Kernel(import_from=[CHECKOUT], env=on_provider(provider)) as started:
        yield started


def test_every_program_of_the_guide_is_tested():
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == list(SHOWN)


@pytest.mark.parametrize(("name", "shown"), SHOWN.items(), ids=SHOWN)
def test_program_runs_as_a_script(provider, on_provider, fresh, name, shown):
    said = subprocess.run(  # noqa: S603 - our own interpreter and sources
        [sys.executable, str(FOLDER / f"{name}.py")],
        env={**fresh, **on_provider(provider)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (said.stdout, said.stderr, said.returncode) == (shown, "", 0)


@pytest.mark.kernel
@pytest.mark.parametrize(("name", "shown"), SHOWN.items(), ids=SHOWN)
def test_program_runs_as_a_cell_that_awaits(kernel, name, shown):
    source = (FOLDER / f"{name}.py").read_text("utf-8")
    cell = kernel.run(source.replace("asyncio.run(main())", "await main()"), timeout_s=60)

    assert (cell.status, cell.traceback) == ("ok", "")
    assert (cell.stdout, cell.stderr) == (shown, "")


@pytest.mark.kernel
def test_kernel_stays_silent_after_the_programs(kernel):
    kernel.run("import gc; gc.collect()")

    assert "Task was destroyed" not in kernel.log
    assert "never awaited" not in kernel.log


@pytest.mark.kernel
def test_second_prompt_of_the_module_shows_the_first_answer(kernel, provider):
    source = (FOLDER / "4_custom_module.py").read_text("utf-8")
    kernel.run(source.replace("asyncio.run(main())", "await main()"), timeout_s=60)

    prompts = [request.prompt for request in provider.requests]
    prompt = next(text for text in prompts if "`[[ ## simplified_answer ## ]]`" in text)
    assert '{"reasoning": "It is in France.", "answer": "It is Paris."}' in prompt
