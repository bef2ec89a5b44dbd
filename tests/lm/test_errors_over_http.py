"""What goes wrong on the way, as errors of our tree."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from nbtool import errors
from nbtool.lm.client import LM
from nbtool.lm.failures import translated
from nbtool.lm.litellm import loaded
from nbtool.testing.answers import Answer, Drop, Failure, Hang
from nbtool.testing.ports import DeadPort
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

pytestmark = [
    pytest.mark.api("LM.errors"),
    # What pydantic says of damaged answers, inside litellm.
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
    pytest.mark.filterwarnings("ignore:Item .* is using the `ReadOnly`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*fields':DeprecationWarning"),
]
LONGEST_S = 20  # of any failure here; limits of the requests are below one second
MODEL_TYPES = ["chat", "text", "responses"]
OF_LITELLM = {"LoggingWorker._worker_loop", "AnyIO worker thread", "nbtool-load-litellm"}
BIG = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # by aiohttp
REFUSED = {
    400: errors.LMInvalidRequestError,
    401: errors.LMAuthError,
    402: errors.LMBillingError,
    403: errors.LMAuthError,
    404: errors.LMInvalidRequestError,
    408: errors.LMTimeoutError,
    409: errors.LMProviderError,
    413: errors.LMInvalidRequestError,
    422: errors.LMInvalidRequestError,
    429: errors.LMRateLimitError,
    500: errors.LMServerError,
    502: errors.LMServerError,
    503: errors.LMServerError,
    529: errors.LMServerError,
}
BROKEN = {
    "silent": (Hang(), errors.LMTimeoutError),
    "silent after headers": (Hang(0), errors.LMTimeoutError),
    "silent in the body": (Hang(40), errors.LMTimeoutError),
    "reset before headers": (Drop(), errors.LMTransportError),
    "closed before headers": (Drop(reset=False), errors.LMTransportError),
    "reset after headers": (Drop(0), errors.LMTransportError),
    "reset in the body": (Drop(40), errors.LMTransportError),
    "closed in the body": (Drop(40, reset=False), errors.LMTransportError),
}
NO_ANSWER = {
    "cut JSON": Answer(raw='{"choices": [{"mess'),
    "HTML": Answer(raw="<html>Bad gateway</html>", content_type="text/html"),
    "empty body": Answer(raw=""),
    "empty object": Answer(raw="{}"),
    "list": Answer(raw="[]"),
    "error with HTTP 200": Answer(raw='{"error": {"message": "boom", "code": 500}}'),
    "no choices": Answer("x", n_choices=0),
}
DAMAGED = {
    "choices by another name": {"choice": [{"message": {"content": "x"}}]},
    "message by another name": {"choices": [{"msg": {"content": "x"}}]},
    "choices is a number": {"choices": 5},
    "choices of numbers": {"choices": [5]},
    "content is a number": {"choices": [{"message": {"content": 5}}]},
    "content is a dict": {"choices": [{"message": {"content": {"a": 1}}}]},
    "usage is a text": {"choices": [{"message": {"content": "x"}, "text": "x"}], "usage": "lots"},
    "null": None,
    "a text": "x",
    "nested too deeply": "[" * 100_000,
    "no UTF-8": b'{"choices": [{"message": {"content": "\xff\xfe"}}]}',
    "an endless number": '{"choices": [{"text": "x"}], "usage": {"prompt_tokens": 1e999}}',
}


def left_over():
    """Return tasks and threads that a request has left; what ends with the loop is none."""
    tasks = {t.get_coro().__qualname__ for t in asyncio.all_tasks() - {asyncio.current_task()}}
    threads = {t.name for t in threading.enumerate() if not t.name.startswith("asyncio_")}
    return (tasks | threads) - OF_LITELLM


@pytest.fixture
def failing(connect):
    """Ask for a step that fails, then for one that does not; return the error and the rest."""

    async def ask(step, prompt="x", **options):
        before = left_over()
        async with ScriptedServer([step, "fine"]) as server:
            lm = connect(server, cache=False, **options)
            async with asyncio.timeout(LONGEST_S):
                with pytest.raises(errors.NbtoolError) as caught:
                    await lm.acall(prompt)
                await server.wait_until(lambda: not server.in_flight)
                open_then = server.connections_open
                assert await lm.acall("y", timeout=LONGEST_S) == ["fine"]
        await server.wait_until(lambda: left_over() <= before)
        return caught.value, open_then

    return ask


@pytest.mark.parametrize(("status", "kind"), REFUSED.items())
async def test_status_of_the_provider_decides_the_class(failing, status, kind):
    error, _ = await failing(Failure(status, "no luck"))

    assert type(error) is kind
    assert (error.model, error.provider) == ("openai/test", "openai")
    assert (error.status, error.request_id, error.retry_after) == (status, "req_1", None)
    assert "'openai/test'" in str(error)
    assert "no luck" in str(error)


@pytest.mark.parametrize("status", sorted(set(REFUSED) - {409}))
async def test_error_says_what_to_do(failing, status):
    error, _ = await failing(Failure(status))

    assert error.hint
    assert error.hint in str(error)


@pytest.mark.parametrize("status", [429, 503])
async def test_wait_that_the_provider_asks_for_is_told_in_seconds(failing, status):
    error, _ = await failing(Failure(status, retry_after=1.5))

    assert error.retry_after == 1.5


@pytest.mark.parametrize(("minutes", "least_s", "most_s"), [(2, 60, 120), (-5, 0, 0)])
async def test_wait_that_is_a_date_is_told_in_seconds(failing, minutes, least_s, most_s):
    then = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    error, _ = await failing(Failure(429, retry_after=then))

    assert least_s <= error.retry_after <= most_s


@pytest.mark.parametrize("header", ["soon", "nan", "inf", "", "Wed, 99 Foo 2026 07:28:00 GMT"])
async def test_wait_that_is_no_wait_is_left_out(failing, header):
    error, _ = await failing(Failure(429, retry_after=header))

    assert error.retry_after is None


async def test_too_long_prompt_has_a_class_of_its_own(failing):
    said = "This model's maximum context length is 100 tokens."
    error, _ = await failing(Failure(400, said, code="context_length_exceeded"))

    assert isinstance(error, errors.ContextWindowExceededError)
    assert error.status == 400


@pytest.mark.parametrize(("step", "kind"), BROKEN.values(), ids=BROKEN)
async def test_broken_connection_is_told_and_none_is_left_open(failing, step, kind):
    error, open_then = await failing(step, timeout=0.4)

    assert type(error) is kind
    assert (error.status, error.model, open_then) == (None, "openai/test", 0)


@pytest.mark.parametrize("answer", NO_ANSWER.values(), ids=NO_ANSWER)
async def test_what_is_no_answer_is_the_providers_failure(failing, answer):
    error, _ = await failing(answer)

    assert type(error) is errors.LMServerError
    assert (error.status, error.model) == (None, "openai/test")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
async def test_damaged_answer_is_the_providers_failure(failing, body, model_type):
    raw = body if isinstance(body, bytes) or (body and len(body) > 50) else json.dumps(body)
    error, _ = await failing(Answer(raw=raw), model_type=model_type)

    assert type(error) is errors.LMServerError
    assert len(str(error)) < 2_000


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize(("step", "kind"), BROKEN.values(), ids=BROKEN)
async def test_every_endpoint_tells_a_broken_connection(failing, step, kind, model_type):
    error, open_then = await failing(step, timeout=0.4, model_type=model_type)

    assert (type(error), open_then) == (kind, 0)


async def test_slow_answer_is_ended_at_the_time_limit_although_it_goes_on(failing):
    drip = Answer(chunks=["x "] * 100, chunk_delay_s=0.1)
    started = time.perf_counter()
    with watching(Recorder(wants_tokens=True)):
        error, open_then = await failing(drip, timeout=0.5)

    assert (type(error), open_then) == (errors.LMTimeoutError, 0)
    assert "timeout=0.5 seconds" in str(error)
    assert time.perf_counter() - started < 5


async def test_page_of_a_proxy_is_not_in_the_message_as_a_whole(failing):
    page = "<html>" + "Bad gateway. " * 100_000
    error, _ = await failing(Failure(502, body=page, content_type="text/html"))

    assert (type(error), error.status) == (errors.LMServerError, 502)
    assert len(str(error)) < 2_000


@pytest.mark.parametrize("model_type", MODEL_TYPES)
async def test_half_a_character_is_refused_with_a_word_on_how_to_mend_it(failing, model_type):
    async with ScriptedServer(default="x") as server:
        lm = LM("openai/test", model_type, api_base=server.base_url, api_key="sk-0123456789ab")
        with pytest.raises(errors.LMInvalidRequestError, match="lone surrogate") as caught:
            await lm.acall("caf\udce9")

    assert (server.requests, "encode" in caught.value.hint) == ([], True)


async def test_half_a_character_in_an_answer_is_replaced(connect):
    answer = Answer(raw='{"choices": [{"message": {"content": "caf\\ud800 \\u0000"}}]}')
    async with ScriptedServer([answer]) as server:
        assert await connect(server).acall("x") == ["caf\ufffd \x00"]


@BIG
async def test_prompt_of_ten_megabytes_is_sent_whole_and_does_not_stop_the_loop(connect):
    prompt, stalls = "word " * 2_000_000, [0.0]

    async def tick():
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            stalls.append(time.perf_counter() - before)

    with ScriptedServer(default="fine") as server:
        ticker = asyncio.create_task(tick())
        assert await connect(server).acall(prompt) == ["fine"]
        ticker.cancel()

    assert len(server.requests[0].prompt) == len(prompt)
    assert max(stalls) < 2


@BIG
async def test_prompt_of_ten_megabytes_that_is_too_long_is_told_in_few_words(failing):
    said = "This model's maximum context length is 128000 tokens."
    step = Failure(400, said, code="context_length_exceeded")
    error, _ = await failing(step, "word " * 2_000_000)

    assert type(error) is errors.ContextWindowExceededError
    assert len(str(error)) < 2_000
    assert error.hint


@pytest.mark.parametrize("model_type", MODEL_TYPES)
async def test_status_decides_the_class_at_every_endpoint(failing, model_type):
    error, _ = await failing(Failure(429, "slow down", retry_after=3), model_type=model_type)

    assert type(error) is errors.LMRateLimitError
    assert (error.status, error.request_id, error.retry_after) == (429, "req_1", 3)


@pytest.mark.parametrize("kind", [errors.LMTimeoutError, errors.LMError])
async def test_errors_of_models_are_caught_as_what_they_are(failing, kind):
    error, _ = await failing(Hang(), timeout=0.3)

    assert isinstance(error, kind)
    assert isinstance(error, TimeoutError)


@pytest.mark.parametrize(
    ("refuses", "kind"),
    [(True, errors.LMTransportError), (False, errors.LMTimeoutError)],
    ids=["refused", "never answered"],
)
async def test_address_without_a_server_is_told(connect, refuses, kind):
    with DeadPort(refuses=refuses) as port, pytest.raises(errors.LMError) as caught:
        await connect(port, timeout=0.4).acall("x")

    assert type(caught.value) is kind
    assert caught.value.status is None


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("key", ["sk-test-ABCDEF0123456789abcdef", "my-own-proxy-key-7"])
async def test_key_that_the_provider_repeats_is_not_in_the_message(failing, status, key):
    error, _ = await failing(Failure(status, f"bad key {key}!"), api_key=key)

    assert key not in str(error)
    assert "bad key <redacted>" in str(error)
    assert key not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("model", ["no-such-provider/x", "gpt", "gpt-4o-minii"])
async def test_model_without_a_known_provider_is_told_how_to_write_it(model):
    with pytest.raises(errors.LMInvalidRequestError) as caught:
        await LM(model, api_key="sk-" + "a1" * 10, num_retries=3).acall("x")

    assert repr(model) in str(caught.value)
    assert 'LM("openai/gpt-4o-mini")' in caught.value.hint
    assert caught.value.status is None


async def test_error_while_another_one_is_handled_is_judged_by_itself(connect):
    async with ScriptedServer([Hang(), Failure(401)]) as server:
        lm = connect(server, timeout=0.3)
        try:
            await lm.acall("x")
        except errors.LMTimeoutError:
            with pytest.raises(errors.LMAuthError, match="HTTP 401"):
                await lm.acall("x")

    assert len(server.requests) == 2


async def test_missing_package_of_a_provider_is_no_transport_error():
    litellm = await loaded()
    error = litellm.APIConnectionError("No module named 'google'", "vertex_ai", "vertex_ai/x")
    error.__cause__ = ModuleNotFoundError("No module named 'google'")
    told = translated(error, litellm, {"model": "vertex_ai/x"})

    assert type(told) is errors.LMProviderError
    assert (told.provider, told.status) == ("vertex_ai", None)
    assert "'google'" in str(told)
