"""What goes wrong on the way, as errors of our tree."""

from __future__ import annotations

import traceback

import pytest

from nbtool import errors
from nbtool.lm.client import LM
from nbtool.lm.failures import translated
from nbtool.lm.litellm import loaded
from nbtool.testing.answers import Answer, Drop, Failure, Hang
from nbtool.testing.ports import DeadPort
from nbtool.testing.server import ScriptedServer

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


@pytest.fixture
def failing(connect):
    """Ask for a step that fails, then for one that does not; return the error and the server."""

    async def ask(step, **options):
        async with ScriptedServer([step, "fine"]) as server:
            lm = connect(server, **options)
            with pytest.raises(errors.LMError) as caught:
                await lm.acall("x")
            await server.wait_until(lambda: not server.in_flight)
            open_then = server.connections_open
            assert await lm.acall("x") == ["fine"]
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


async def test_wait_that_is_a_date_is_left_out(failing):
    error, _ = await failing(Failure(429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"))

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
