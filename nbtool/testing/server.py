"""A provider of language models that does what a test tells it: over real HTTP, on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self

from aiohttp import web

from nbtool.errors import ConfigurationError
from nbtool.testing.answers import Answer, Drop, Failure, Hang, Item, Request, Step
from nbtool.testing.endpoints import ENDPOINTS
from nbtool.testing.listener import Gauge, Listener, cut
from nbtool.testing.ports import HOST
from nbtool.testing.script import Script
from nbtool.testing.wire import Payload, models_payload, payload_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nbtool.testing.script import Respond

_POLL_S = 0.005


class ScriptedServer:
    """Serve scripted answers at OpenAI's endpoints, and record what was asked.

    ``async with`` runs it on the loop that is running, ``with`` on a thread and loop of its
    own, for clients that block. On leaving, every connection is closed and every task ended,
    also those of clients that still wait. What it records stays readable.

    A request gets the first of these that has something for it: the entry of `by_prompt` that
    fits, the next of `script`, what `respond` returns, `default`. Else it gets an HTTP 500
    that says so and quotes the request. ``GET /v1/models`` needs no script.

    Args:
        script: Steps in the order in which requests arrive; a string is the text of an answer.
        by_prompt: Steps by a part of the last user turn; the first key that fits and has
            steps left counts. A list is used up one by one, a single step answers always.
        respond: Decides request by request, on the server's loop; sync or async. None as its
            value leaves the request to `default`.
        default: Answers whatever nothing else answers.
        models: Names that ``GET /v1/models`` lists.

    Attributes:
        requests: All requests, in the order of arrival.

    Example:
        >>> import urllib.request
        >>> with ScriptedServer(models=["tiny"]) as server:
        ...     with urllib.request.urlopen(f"{server.base_url}/models") as reply:
        ...         b'"tiny"' in reply.read()
        True
        >>> server.requests[0].path
        '/v1/models'
    """

    def __init__(
        self,
        script: Iterable[Item] = (),
        *,
        by_prompt: Mapping[str, Item | Sequence[Item]] | None = None,
        respond: Respond | None = None,
        default: Item | None = None,
        models: Sequence[str] = ("scripted",),
    ) -> None:
        self.requests: list[Request] = []
        self._script = Script(script, by_prompt=by_prompt, respond=respond, default=default)
        self._models = tuple(models)
        self._port: int | None = None
        self._connections = Gauge()
        self._answering = Gauge()
        self._listener: Listener | None = None
        self._started_s = 0.0
        self._leaving = False
        self._thread: threading.Thread | None = None
        self._stop_thread: Callable[[], object] | None = None

    @property
    def base_url(self) -> str:
        """Return the address that clients call ``api_base`` or ``base_url``.

        Raises:
            ConfigurationError: The server was not started yet.
        """
        if self._port is None:
            raise ConfigurationError(
                f"{self!r} has no address: it was not started.",
                hint="Enter it first: `async with server:`, or `with server:` in sync code.",
            )
        return f"http://{HOST}:{self._port}/v1"

    @property
    def unused(self) -> list[Step]:
        """Return the steps that no request has asked for so far."""
        return self._script.unused

    @property
    def connections_open(self) -> int:
        """Return how many connections are open now."""
        return self._connections.now

    @property
    def connections_peak(self) -> int:
        """Return the most connections that were open at once."""
        return self._connections.peak

    @property
    def in_flight(self) -> int:
        """Return how many requests are being answered now."""
        return self._answering.now

    @property
    def in_flight_peak(self) -> int:
        """Return the most requests that were being answered at once."""
        return self._answering.peak

    @property
    def aborted(self) -> int:
        """Return how many requests their clients gave up."""
        return sum(request.aborted for request in self.requests)

    async def wait_until(self, condition: Callable[[], object], *, timeout_s: float = 5.0) -> None:
        """Wait for something that a client in another task or thread brings about.

        Args:
            condition: Looked at every few milliseconds, on the caller's loop.
            timeout_s: Longest wait, in seconds.

        Raises:
            TimeoutError: The condition did not become true in time.

        Example:
            ``await server.wait_until(lambda: server.in_flight == 3)``
        """
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - it may belong to another loop
                await asyncio.sleep(_POLL_S)

    async def __aenter__(self) -> Self:
        self._leaving = False
        self._started_s = time.monotonic()
        self._listener = Listener(self._serve, self._connections)
        self._port = await self._listener.listen()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._leaving = True
        if self._listener is not None:
            await self._listener.close()

    def __enter__(self) -> Self:
        started: Future[Callable[[], object]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live(started)), name=repr(self), daemon=True
        )
        self._thread.start()
        self._stop_thread = started.result()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._thread is not None and self._stop_thread is not None:
            self._stop_thread()
            self._thread.join()

    async def _live(self, started: Future[Callable[[], object]]) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            await self.__aenter__()
        except OSError as exc:  # no port: the thread that waits has to hear of it
            started.set_exception(exc)
            return
        started.set_result(lambda: loop.call_soon_threadsafe(stop.set))
        await stop.wait()
        await self.__aexit__()

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        request = await self._receive(http)
        self._answering.up()
        try:
            return await self._perform(http, request)
        except asyncio.CancelledError:
            request.aborted = not self._leaving
            raise
        except ConnectionError:
            # The client left between two writes. aiohttp finds that out again when it tries to
            # send this, and says nothing; the error itself it would log as the server's fault.
            request.aborted = not self._leaving
            return web.Response()
        finally:
            self._answering.down()

    async def _receive(self, http: web.BaseRequest) -> Request:
        body = await http.content.read()  # not http.read(), which refuses more than 1 MiB
        try:
            parsed = json.loads(body) if body else None
        except ValueError:
            parsed = None
        request = Request(
            number=len(self.requests) + 1,
            method=http.method,
            path=http.path,
            headers={name.lower(): text for name, text in http.headers.items()},
            body=parsed,
            at_s=time.monotonic() - self._started_s,
            connection_id=self._listener.number_of(http.protocol) if self._listener else 0,
        )
        self.requests.append(request)
        return request

    async def _perform(self, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        if (request.method, request.path) == ("GET", "/v1/models"):
            return await _send(http, request, models_payload(self._models))
        step = _refusal(request) or await self._script.step_for(request)
        match step:
            case Answer() | Failure():
                return await _send(http, request, payload_of(step, request))
            case Drop():
                await _begin(http, request, step)
                await cut(http, reset=step.reset)
                return web.Response()  # never sent: there is no connection any more
            case Hang():
                await _begin(http, request, step)
                return await asyncio.get_running_loop().create_future()


def _refusal(request: Request) -> Failure | None:
    if request.path not in ENDPOINTS or request.method != "POST":
        known = ", ".join(ENDPOINTS)
        return Failure(404, f"No {request.method} {request.path}; there is POST {known}.")
    if not isinstance(request.body, dict):
        return Failure(400, "The body is no JSON object.")
    return None


async def _send(http: web.BaseRequest, request: Request, payload: Payload) -> web.StreamResponse:
    await asyncio.sleep(payload.delay_s)
    headers = _headers(request, payload)
    if not payload.streamed:
        whole = web.Response(status=payload.status, headers=headers, body=payload.body)
        await whole.prepare(http)
        await whole.write_eof()
        return whole
    stream = web.StreamResponse(status=payload.status, headers=headers)
    await stream.prepare(http)
    for at, frame in enumerate(payload.frames):
        await asyncio.sleep(payload.frame_delay_s if at else 0)
        await stream.write(frame)
    await stream.write_eof()
    return stream


async def _begin(http: web.BaseRequest, request: Request, step: Drop | Hang) -> None:
    if step.after_bytes is None:
        return
    payload = payload_of(step.of, request)
    await asyncio.sleep(payload.delay_s)
    # Blanks behind the body change nothing, and one byte must be missing for a body to be cut.
    body = payload.body.ljust(step.after_bytes + 1)
    begun = web.StreamResponse(status=payload.status, headers=_headers(request, payload))
    begun.content_length = None if payload.streamed else len(body)
    await begun.prepare(http)
    await begun.write(body[: step.after_bytes])


def _headers(request: Request, payload: Payload) -> dict[str, str]:
    headers = {"content-type": payload.content_type, "x-request-id": f"req_{request.number}"}
    if payload.retry_after is not None:
        headers["retry-after"] = payload.retry_after
    return headers
