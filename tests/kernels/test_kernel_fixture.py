"""The kernel that the other tests of this folder stand on."""

from __future__ import annotations

import asyncio
import time

import pytest

from nbtool.errors import NbtoolError
from nbtool.testing.kernel import Kernel

pytestmark = pytest.mark.kernel


def test_prints_go_to_their_streams(shared_kernel):
    cell = shared_kernel.run("import sys\nprint('out')\nprint('err', file=sys.stderr)")

    assert (cell.status, cell.stdout, cell.stderr) == ("ok", "out\n", "err\n")
    assert cell.result_text is None


def test_last_expression_is_the_result(shared_kernel):
    cell = shared_kernel.run("'a' * 3")

    assert cell.result_text == "'aaa'"
    assert cell.execution_count is not None


def test_error_is_part_of_the_result(shared_kernel):
    cell = shared_kernel.run("print('before')\n1 / 0")

    assert (cell.status, cell.stdout) == ("error", "before\n")
    assert (cell.error_name, cell.error_value) == ("ZeroDivisionError", "division by zero")
    assert "----> 2 1 / 0" in cell.traceback


def test_run_sends_a_cell_again_that_an_error_before_it_aborted(shared_kernel):
    broken = shared_kernel.submit("import time\ntime.sleep(0.3)\n1 / 0")

    assert shared_kernel.run("'fine'").result_text == "'fine'"
    assert shared_kernel.outputs_of(broken).status == "error"


def test_cells_queued_behind_an_error_are_aborted(shared_kernel):
    broken = shared_kernel.submit("import time\ntime.sleep(0.3)\n1 / 0")
    queued = shared_kernel.submit("print('never')")

    assert shared_kernel.wait_for(broken).status == "error"
    assert shared_kernel.wait_for(queued).status == "aborted"


def test_await_at_top_level_works(shared_kernel):
    cell = shared_kernel.run("import asyncio\nawait asyncio.sleep(0, 'awaited')")

    assert cell.result_text == "'awaited'"


def test_displays_are_kept_in_order(shared_kernel):
    cell = shared_kernel.run("from IPython.display import display\ndisplay('a')\ndisplay({'b': 1})")

    assert [display.text for display in cell.displays] == ["'a'", "{'b': 1}"]


def test_display_of_an_earlier_cell_is_replaced_by_a_later_one(shared_kernel):
    first = shared_kernel.run("shown = display('old', display_id='mine')")
    later = shared_kernel.run("shown.update('new')")

    assert [(display.text, display.updates) for display in first.displays] == [("'new'", 1)]
    assert later.displays == []


def test_output_of_a_background_task_reaches_the_cell_that_started_it(shared_kernel):
    started = shared_kernel.run(
        "import asyncio, ipykernel\n"
        "async def later():\n"
        "    await gate.wait()\n"
        "    display('late')\n"
        "gate = asyncio.Event()\n"
        "task = asyncio.ensure_future(later())\n"
        "ipykernel.version_info[0]"
    )
    opened = shared_kernel.run("gate.set()\nawait task")
    # ipykernel 6 has one parent for all tasks: there it reaches the cell that runs.
    owner = started if int(started.result_text) >= 7 else opened

    shared_kernel.wait_until(lambda: owner.displays, timeout_s=5)
    assert shared_kernel.outputs_of(owner.msg_id).displays[0].text == "'late'"


def test_kernel_has_its_own_settings_and_no_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("SOME_API_KEY", "secret")
    with Kernel(env={"MINE": "yes"}) as kernel:
        cell = kernel.run(
            "import os\nprint(*(f'{k}={v}' for k, v in os.environ.items()), sep='\\n')"
        )

    assert "secret" not in cell.stdout
    assert "LITELLM_LOCAL_MODEL_COST_MAP=True" in cell.stdout
    assert "IPYTHONDIR=" in cell.stdout
    assert "MINE=yes" in cell.stdout


def test_package_under_test_can_be_imported(shared_kernel):
    assert shared_kernel.run("import nbtool.errors").status == "ok"


def test_messages_can_be_sent_and_their_replies_read(shared_kernel):
    asked = shared_kernel.send("kernel_info_request", {})

    assert shared_kernel.reply_to(asked)["language_info"]["name"] == "python"


async def test_kernel_can_be_used_from_an_async_test(shared_kernel):
    cell = await asyncio.to_thread(shared_kernel.run, "2 + 2")

    assert cell.result_text == "4"


def test_interrupt_ends_a_blocking_cell(kernel):
    # Not one long sleep: an interrupt on the way into it would be seen at its end only.
    steps = "for _ in range(600):\n    time.sleep(0.1)"
    sleeping = kernel.submit(f"import time\nprint('on', flush=True)\n{steps}")
    kernel.wait_until(lambda: kernel.outputs_of(sleeping).stdout)
    kernel.interrupt()

    assert kernel.wait_for(sleeping, timeout_s=5).error_name == "KeyboardInterrupt"
    assert kernel.run("'alive'").result_text == "'alive'"


def test_restart_forgets_variables_and_keeps_outputs(kernel):
    before = kernel.run("x = 1\nprint('old')")
    assert kernel.restart()

    assert kernel.run("x").error_name == "NameError"
    assert kernel.outputs_of(before.msg_id).stdout == "old\n"


def test_kernel_that_does_not_end_is_killed():
    with Kernel() as kernel:
        stuck = kernel.submit("import time, signal\nprint(1, flush=True)\ntime.sleep(60)")
        kernel.wait_until(lambda: kernel.outputs_of(stuck).stdout)
        assert not kernel.shutdown(timeout_s=0.1)
        assert not kernel.alive


def test_death_of_the_kernel_is_an_error_with_its_log(kernel):
    kernel.run("import sys\nprint('last words', file=sys.stderr)")
    with pytest.raises(NbtoolError, match=r"(?s)The kernel died.*last words"):
        kernel.run("import os\nos._exit(3)")

    assert not kernel.alive


@pytest.mark.timeout(40)  # less than a kernel may take to start
def test_kernel_that_ends_at_once_is_an_error_at_once():
    with pytest.raises(NbtoolError, match="The kernel died"), Kernel(arguments=["--version"]):
        pass


def test_cell_that_takes_too_long_is_a_timeout_and_runs_on(kernel):
    with pytest.raises(TimeoutError, match="sleep"):
        kernel.run("import time\ntime.sleep(0.5)", timeout_s=0.1)

    assert kernel.run("'next'").result_text == "'next'"


def test_destroyed_task_shows_in_the_log(kernel):
    kernel.run(
        "import asyncio, gc\n"
        "async def forgotten():\n"
        "    await asyncio.get_running_loop().create_future()\n"
        "async def lose():\n"
        "    asyncio.ensure_future(forgotten())\n"
        "    await asyncio.sleep(0)\n"
        "await lose()\n"
        "gc.collect()"
    )
    assert "Task was destroyed but it is pending" in kernel.log


def test_shutdown_is_quick(kernel):
    started_s = time.monotonic()

    assert kernel.shutdown()
    assert time.monotonic() - started_s < 4


def test_answers_are_typed_where_a_cell_asks(kernel):
    cell = kernel.run("[input('one? '), input('two? '), input()]", answers=["1", "2"])

    assert cell.result_text == "['1', '2', '']"
