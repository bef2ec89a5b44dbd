"""Clicks on a real widget while cells run, in every kind of kernel."""

from __future__ import annotations

import time

import pytest

from nbtool.runtime import clicks

pytestmark = pytest.mark.kernel

SETUP = """
import asyncio, contextvars, threading, time
import zmq
from ipywidgets import Button
from nbtool.runtime import clicks
from nbtool.runtime.parked import park_until

kernel, loop = get_ipython().kernel, asyncio.get_running_loop()
incoming = clicks._shell(kernel)[0]
own_callback = incoming._recv_callback
button = Button()
heard = []
released = asyncio.Event()
var = contextvars.ContextVar("var", default="unset")

# A click may be served in another thread: it may touch nothing of the loop's there.
on_loop = loop.call_soon_threadsafe

def hear(message):
    content = message["content"]["data"]
    heard.append(content["number"])
    exec(content["do"], globals())

button.comm.on_msg(hear)

async def held():
    print("on", flush=True)
    await asyncio.wait_for(released.wait(), 10)

async def chain():
    with clicks.serving(kernel):
        await held()

def wait(coroutine):
    task = loop.create_task(coroutine)
    with clicks.serving(kernel):
        park_until(loop, task)
    return task.result()

own_shell_function = kernel.shell_handlers["comm_msg"]

def serve_next_with(function):
    def serve(*arguments):
        kernel.shell_handlers["comm_msg"] = own_shell_function
        return function(*arguments)
    kernel.shell_handlers["comm_msg"] = serve

print(button.comm.comm_id, clicks.how(kernel), end="")
"""

WAITS = {
    "sync cell": "wait(held())",
    "await": "await chain()",
    "background": "task = asyncio.ensure_future(chain())",
}

# Where the kernel serves the click itself it keeps the interrupt too, and the cell goes on.
INTERRUPTED = {"native": "", "re-registered": "KeyboardInterrupt", "pump": "KeyboardInterrupt"}


class Page:
    """The front end's side of a button."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.comm_id, self.how = kernel.run(SETUP).stdout.split(" ")
        self.sent = 0

    def start(self, code):
        """Send a cell and wait until it waits."""
        cell = self.kernel.outputs_of(self.kernel.submit(f"released.clear()\n{code}"))
        self.kernel.wait_until(lambda: "on\n" in cell.stdout, timeout_s=5)
        return cell

    def click(self, do="", header=None):
        data = {"number": self.sent, "do": do}
        self.sent += 1
        content = {"comm_id": self.comm_id, "data": data}
        return self.kernel.outputs_of(self.kernel.send("comm_msg", content, header=header))

    def release(self, cell):
        self.click("on_loop(released.set)")
        return self.kernel.wait_for(cell.msg_id)

    def sees(self, condition, timeout_s=0.5):
        try:
            self.kernel.wait_until(condition, timeout_s=timeout_s)
        except TimeoutError:
            return False
        return True

    def new_subshell(self):
        """Return the header's field that addresses a subshell; ipykernel 6 has none."""
        if self.how == "pump":
            return {}
        asked = self.kernel.send("create_subshell_request", {}, channel="control")
        return {"subshell_id": self.kernel.reply_to(asked)["subshell_id"]}


@pytest.fixture(scope="module")
def open_page(any_shared_kernel):
    return Page(any_shared_kernel)


@pytest.fixture
def page(open_page):
    open_page.kernel.run("heard.clear()")
    open_page.sent = 0
    yield open_page
    open_page.kernel.run("released.set()\nawait asyncio.sleep(0.05)")
    assert open_page.kernel.run("incoming._recv_callback is own_callback").result_text == "True"


def test_way_is_found_by_what_the_kernel_has(page, kernel_environment):
    assert page.how == {
        "newest": "native",
        "python312": "native",
        "python313": "native",
        "ipykernel73": "re-registered",
        "databricks": "pump",
        "colab": "pump",
    }.get(kernel_environment)


def test_without_a_kernel_nothing_is_done():
    with clicks.serving(None):
        assert clicks.how(None) == "none"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(WAITS["sync cell"], id="sync cell", marks=pytest.mark.behaviour(23)),
        pytest.param(WAITS["await"], id="await", marks=pytest.mark.behaviour(23)),
        pytest.param(WAITS["background"], id="background", marks=pytest.mark.behaviour(24)),
    ],
)
def test_click_is_served_within_half_a_second_while_the_chain_waits(page, code):
    cell = page.start(code)
    click = page.click("print('clicked', threading.current_thread().name)")

    assert page.sees(lambda: click.stdout)
    assert click.stdout == "clicked MainThread\n"
    assert page.release(cell).status == "ok"


@pytest.mark.behaviour(24)
def test_click_is_served_while_a_later_cell_waits_for_something_else(page):
    page.start(WAITS["background"])
    later = page.start("await held()")

    click = page.click("print('clicked')")

    assert page.sees(lambda: click.stdout)
    assert page.release(later).status == "ok"


def test_click_that_came_before_the_wait_is_served_where_it_can_be_found(page):
    cell = page.start("print('on', flush=True)\nawait asyncio.sleep(0.5)\nawait chain()")
    click = page.click("print('clicked')")

    assert page.sees(lambda: click.stdout, timeout_s=1.0) is (page.how != "re-registered")
    assert page.release(cell).status == "ok"
    assert page.sees(lambda: click.stdout)


@pytest.mark.parametrize("asked", ["kernel_info_request", "comm_info_request"])
def test_reloaded_page_gets_its_answers_during_a_wait(page, asked):
    cell = page.start("wait(held())")
    reply = page.kernel.outputs_of(page.kernel.send(asked, {}))

    assert page.sees(lambda: reply.idle) is (page.how != "native")
    assert page.release(cell).status == "ok"
    assert page.kernel.reply_to(reply.msg_id)["status"] == "ok"


# Not in the background: ipykernel 7.3 may stop hearing when requests come while it replies.
@pytest.mark.parametrize("code", list(WAITS.values())[:2], ids=list(WAITS)[:2])
def test_queued_cells_run_afterwards_in_order(page, code):
    cell = page.start(code)
    queued = [page.kernel.submit(f"heard.append('cell {n}')") for n in range(5)]
    page.release(cell)
    page.kernel.wait_for(queued[-1])

    last = page.kernel.run("[each for each in heard if each != 0]")
    assert last.result_text == str([f"cell {n}" for n in range(5)])


@pytest.mark.parametrize("code", list(WAITS.values())[:2], ids=list(WAITS)[:2])
def test_output_goes_to_the_cell_or_the_click_that_caused_it(page, code):
    cell = page.start(f"print('before')\n{code}\nprint('after')\ndisplay('after')")
    click = page.click("print('clicked')\ndisplay('clicked')")
    page.release(cell)

    assert cell.stdout == "before\non\nafter\n"
    assert click.stdout == "clicked\n"
    assert [shown.text for shown in cell.displays] == ["'after'"]
    assert [shown.text for shown in click.displays] == ["'clicked'"]


def test_what_a_cell_prints_all_the_time_stays_with_the_cell(page):
    page.kernel.run(
        "async def tick():\n"
        "    while not released.is_set():\n"
        "        print('.', end='')\n"
        "        await asyncio.sleep(0.001)"
    )
    cell = page.start("wait(asyncio.wait([loop.create_task(held()), loop.create_task(tick())]))")
    clicked = [page.click("time.sleep(0.01)\nprint('clicked', end='')") for _ in range(5)]
    page.release(cell)

    assert [click.stdout for click in clicked] == ["clicked"] * 5
    assert set(cell.stdout.replace("on\n", "")) == {"."}


def test_exception_in_a_click_is_logged_and_the_next_click_is_served(page):
    cell = page.start("wait(held())")
    page.click("1 / 0  # in the comm's callback")
    click = page.click("print('clicked')")

    assert page.sees(lambda: click.stdout)
    assert page.release(cell).status == "ok"
    assert "ZeroDivisionError" in page.kernel.log


def test_exception_in_the_kernels_own_function_is_logged_too(page):
    page.kernel.run("serve_next_with(lambda *_: {}['lost'])")
    cell = page.start("wait(held())")
    click = page.click()

    assert page.release(cell).status == "ok"
    assert "KeyError: 'lost'" in page.kernel.log
    assert page.sees(lambda: click.idle) is (page.how != "native")


def ends(page):
    """Wait for a click that outlasts its cell.

    Not in a cell: ipykernel 7.4 would end that one in the name of the first, and to a front end it
    would never seem to end.
    """
    page.kernel.wait_until(
        lambda: any("end of click" in m["content"].get("text", "") for m in page.kernel.messages),
        timeout_s=5,
    )
    page.kernel.messages.clear()
    time.sleep(0.1)


def test_cell_keeps_its_output_while_an_async_function_of_the_kernel_waits(page):
    page.kernel.run(
        "async def hear_slowly(*_):\n"
        "    print('heard', flush=True)\n"
        "    await asyncio.sleep(0.6)\n"
        "    print('end of click', flush=True)\n"
        "async def speak():\n"
        "    print('on', flush=True)\n"
        "    await asyncio.sleep(0.3)\n"
        "    print('cell')"
    )
    cell = page.start("serve_next_with(hear_slowly)\nwait(speak())")
    click = page.click()
    page.kernel.wait_for(cell.msg_id)

    assert cell.stdout == "on\ncell\n"
    assert click.stdout == "heard\n"
    ends(page)


def test_cell_ends_in_its_own_name_while_a_click_still_waits_inside(page):
    cell = page.start("loop.call_later(0.3, released.set)\nwait(held())\nprint('end of cell')")
    click = page.click("wait(asyncio.sleep(0.6))\nprint('end of click', flush=True)")
    page.kernel.wait_for(cell.msg_id)

    assert cell.stdout == "on\nend of cell\n"
    assert click.stdout == ""
    ends(page)


def test_two_hundred_clicks_are_served_in_order(page):
    cell = page.start("wait(held())")
    sent = [page.click("print('clicked')") for _ in range(200)]
    page.release(cell)

    assert page.kernel.run("heard == list(range(201))").result_text == "True"
    assert {click.stdout for click in sent} == {"clicked\n"}


def test_overlapping_uses_serve_until_the_last_one_ends(page):
    cell = page.start(
        "first, last = clicks.serving(kernel), clicks.serving(kernel)\n"
        "first.__enter__(), last.__enter__()\n"
        "first.__exit__(None, None, None)\n"
        "park_until(loop, loop.create_task(held()))\n"
        "last.__exit__(None, None, None)\n"
    )
    click = page.click("print('clicked')")

    assert page.sees(lambda: click.stdout)
    page.release(cell)
    assert page.kernel.run("incoming._recv_callback is own_callback").result_text == "True"


def test_what_others_put_on_top_meanwhile_is_left_alone_and_works(page):
    cell = page.kernel.run(
        "with clicks.serving(kernel):\n"
        "    below = incoming._recv_callback\n"
        "    theirs = lambda frames: below(frames)\n"
        "    incoming.on_recv(theirs, copy=False)\n"
        "incoming._recv_callback is theirs"
    )
    plain = page.start("print('on', flush=True)\nawait asyncio.sleep(0.6)")
    click = page.click(
        "print('clicked')\non_loop(lambda: incoming.on_recv(own_callback, copy=False))"
    )

    assert cell.result_text == "True"
    assert page.sees(lambda: click.stdout, timeout_s=0.3) is (page.how == "native")
    assert page.kernel.wait_for(plain.msg_id).status == "ok"
    assert page.sees(lambda: click.stdout)


def test_context_variables_of_a_cell_last_to_the_next(page):
    page.kernel.run("wait(asyncio.sleep(0))\nvar.set('mine')")

    assert page.kernel.run("var.get()").result_text == "'mine'"


def test_click_sees_the_context_variables_of_cells_where_the_kernel_notes_them(page):
    page.kernel.run("var.set('mine')")
    cell = page.start("wait(held())")
    click = page.click("print(var.get())")
    page.release(cell)

    assert click.stdout == {"pump": "unset\n"}.get(page.how, "mine\n")


def test_click_between_cells_is_the_kernels_own_so_an_interrupt_ends_it(page):
    page.start(WAITS["background"])
    stuck = page.click("print('stuck', flush=True)\ntime.sleep(60)  # between cells")
    page.kernel.wait_until(lambda: stuck.stdout)
    page.kernel.interrupt()

    assert page.kernel.run("'alive'").result_text == "'alive'"
    assert "KeyboardInterrupt" in page.kernel.log


def test_damaged_message_is_left_to_the_kernel(page):
    cell = page.start(
        "damaged = [zmq.Frame(part) for part in (b'<IDS|MSG>', b'unsigned', *[b'{}'] * 4)]\n"
        "with clicks.serving(kernel):\n"
        "    incoming._run_callback(incoming._recv_callback, damaged)\n"
        "    park_until(loop, loop.create_task(held()))"
    )
    click = page.click("print('clicked')")

    assert page.sees(lambda: click.stdout)
    assert page.release(cell).status == "ok"
    assert page.sees(lambda: "Invalid Signature" in page.kernel.log)


def test_interrupt_during_a_click_leaves_a_kernel_that_works(page):
    cell = page.start("wait(held())")
    stuck = page.click("print('stuck', flush=True)\ntime.sleep(60)")
    page.kernel.wait_until(lambda: stuck.stdout)
    page.kernel.interrupt()
    page.sees(lambda: cell.ended or "KeyboardInterrupt" in page.kernel.log, timeout_s=5)
    click = page.click("print('clicked')\non_loop(released.set)")
    page.kernel.wait_for(cell.msg_id)

    assert cell.error_name == INTERRUPTED[page.how]
    assert page.sees(lambda: click.stdout)
    page.kernel.run("1 / 0  # so that IPython forgets the last exception")
    after = page.kernel.run("__import__('gc').collect()\nwait(asyncio.sleep(0, 'fine'))")
    assert after.result_text == "'fine'"
    assert "never retrieved" not in page.kernel.log


@pytest.mark.parametrize(
    ("block", "served"),
    [
        pytest.param("if True:", ["re-registered"], id="plain"),
        pytest.param(
            "with clicks.subshell_override(button.comm):",
            ["re-registered", "native"],
            id="override",
        ),
    ],
)
def test_subshell_serves_a_blocking_cell_where_the_kernel_lets_it(page, block, served):
    # The message makes the main shell the one that used the comm last.
    header = page.new_subshell()
    cell = page.start(
        f"{block}\n"
        "    button.comm.send({})\n"
        "    print('on', flush=True)\n"
        "    time.sleep(1.0)\n"
        "'_reply_subshell_for' in vars(button.comm)"
    )
    click = page.click("print('clicked')", header)

    assert page.sees(lambda: click.stdout) is (page.how in served)
    assert page.kernel.wait_for(cell.msg_id).result_text == "False"
    assert page.sees(lambda: click.stdout)
