"""Streams in cells: text is printed as it arrives, and leaving the loop ends the request."""

from __future__ import annotations

import os
import random
import time

import pytest

from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer

pytestmark = pytest.mark.kernel

SETUP = """
import nbtool
lm = nbtool.LM("openai/x", api_base={url!r}, api_key="any", cache=False, num_retries=0)
qa = nbtool.Predict("question -> answer")
listeners = [nbtool.streaming.StreamListener("answer")]
def show(piece): print(piece, end="|")  # an interrupt of a flush breaks threading's own locks
log.clear()
"""
WORDS = "one two three four five six"
TEXT = f"[[ ## answer ## ]]\n{WORDS}\n\n[[ ## completed ## ]]"

ENDS = {"KeyboardInterrupt", "Interrupted", "InterruptedWait"}
MADE = "call = qa.acall(question='?', lm=lm)\n"
WAYS = {
    "async for": "async for piece in qa.acall(question='?', lm=lm).stream(): show(piece)",
    "for": "for piece in qa.acall(question='?', lm=lm).stream(): show(piece)",
    "awaited beside": MADE + "async for piece in call.stream(): show(piece)\n(await call).answer",
    "asyncio.run": (
        "async def main():\n"
        "    async for piece in qa.acall(question='?', lm=lm).stream(): show(piece)\n"
        "asyncio.run(main())"
    ),
    "streamify": (
        "with nbtool.context(lm=lm):\n"
        "    async for item in nbtool.streamify(qa, stream_listeners=listeners)(question='?'):\n"
        "        if not isinstance(item, nbtool.Prediction): show(item)"
    ),
    "streamify for": (
        "stream = nbtool.streamify(qa, stream_listeners=listeners, async_streaming=False)\n"
        "with nbtool.context(lm=lm):\n"
        "    for item in stream(question='?'):\n"
        "        if not isinstance(item, nbtool.Prediction): show(item)"
    ),
}


PAUSING = Answer(chunks=[TEXT[:30], TEXT[30:]], chunk_delay_s=1.5)
LONG = Answer(TEXT.replace(WORDS, "one " + " ".join(map(str, range(400)))), chunk_delay_s=0.004)


@pytest.fixture
def slow(request):
    answer = getattr(request, "param", Answer(TEXT, chunk_delay_s=0.02))
    with ScriptedServer(default=answer) as server:
        yield server


@pytest.fixture
def page(notebook, slow):
    made = notebook.run(SETUP.format(url=slow.base_url))
    assert made.status == "ok", made.traceback
    return notebook


def left_over(page):
    """Say what is left in the kernel; whoever cleans up may take a moment."""
    for _ in range(50):
        left = page.run("left_over()").result_text
        if left == "set()":
            break
        time.sleep(0.05)
    return left


@pytest.mark.parametrize("code", WAYS.values(), ids=WAYS)
def test_a_cell_prints_text_as_it_arrives(page, code):
    cell = page.outputs_of(page.submit(code))
    page.wait_until(lambda: "two" in cell.stdout)
    had_ended = cell.ended
    page.wait_for(cell.msg_id, timeout_s=10)

    assert not had_ended
    assert cell.stdout.replace("|", "") == WORDS
    assert left_over(page) == "set()"


def test_a_call_of_an_earlier_cell_is_streamed_from_where_it_is(page):
    page.run("qa.acall(question='?', lm=lm)\n" + MADE)
    cell = page.run("async for piece in call.stream(): show(piece)")

    assert cell.stdout.replace("|", "") == WORDS


@pytest.mark.parametrize("slow", [PAUSING], indirect=True, ids=["pausing"])
@pytest.mark.parametrize("way", ["async for", "for", "streamify", "streamify for"])
def test_an_interrupt_of_a_waiting_loop_ends_it_in_one_line_and_its_request(page, slow, way):
    cell = page.outputs_of(page.submit(WAYS[way]))
    page.wait_until(lambda: "one" in cell.stdout, timeout_s=20)
    time.sleep(0.2)  # it waits for its second piece
    page.interrupt()
    page.wait_for(cell.msg_id, timeout_s=2)

    assert cell.error_name in ENDS
    assert cell.traceback.startswith("KeyboardInterrupt: "), cell.traceback
    page.wait_until(lambda: slow.aborted == 1, timeout_s=5)
    assert left_over(page) == "set()"


@pytest.mark.parametrize("slow", [LONG], indirect=True, ids=["long"])
@pytest.mark.parametrize("way", ["async for", "for", "streamify", "streamify for"])
def test_interrupts_at_random_moments_end_the_stream_and_its_request(
    page, slow, way, record_property
):
    seed = int(os.environ.get("NBTOOL_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    record_property("seed", seed)
    choice = random.Random(seed)  # noqa: S311 - no secret
    for number in range(1, 1 + int(os.environ.get("NBTOOL_INTERRUPTS", "20")) // 8):
        cell = page.outputs_of(page.submit(WAYS[way]))
        page.wait_until(lambda cell=cell: "one" in cell.stdout, timeout_s=10)
        time.sleep(choice.uniform(0, 0.1))
        page.interrupt()
        page.wait_for(cell.msg_id, timeout_s=10)

        # Between two pieces the kernel decides what the cell gets, as for any other await.
        assert cell.error_name in ENDS | {"CancelledError"}, cell.traceback
        page.wait_until(lambda number=number: slow.aborted == number, timeout_s=5)
        assert left_over(page) == "set()"


@pytest.mark.parametrize("way", ["async for", "for", "streamify", "streamify for"])
def test_break_ends_the_request(page, slow, way):
    cell = page.run(WAYS[way].replace("show(piece)", "break").replace("show(item)", "break"))

    assert cell.status == "ok", cell.traceback
    page.wait_until(lambda: slow.aborted == 1, timeout_s=5)
    assert left_over(page) == "set()"
