"""`streamify`: a program as a generator of what happens in it."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any, TypeVar

from nbtool.configuration import context
from nbtool.programs.mapping import name_of
from nbtool.runtime.call import Call, call_of
from nbtool.runtime.callables import awaited
from nbtool.runtime.mailbox import Mailbox
from nbtool.runtime.pieces import Pieces, StreamResponse
from nbtool.runtime.streams import Following, in_turn, joined
from nbtool.streaming.chunks import Texts, joined_chunks
from nbtool.streaming.listeners import Heard, StreamListener, find_predictors
from nbtool.streaming.messages import Statuses, StatusMessageProvider

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from nbtool.tracing.boundary import Instrument

T = TypeVar("T")


def streamify(
    program: Callable[..., Any],
    status_message_provider: StatusMessageProvider | None = None,
    stream_listeners: list[StreamListener] | None = None,
    include_final_prediction_in_output_stream: bool = True,
    is_async_program: bool = False,  # noqa: ARG001 - DSPy's; here either form works
    async_streaming: bool = True,
) -> Callable[..., Any]:
    """Make a function that gives what happens in a program while it runs.

    Args:
        program: A module, or any function.
        status_message_provider: Says what the program is doing; by default which tools it calls.
        stream_listeners: Which fields are given, as `StreamResponse`. Without them all texts of
            LMs are, in the shape of OpenAI's chunks.
        include_final_prediction_in_output_stream: False: the program's result is not given where
            listeners were given something before.
        is_async_program: Accepted as in DSPy; a program of either form may be given.
        async_streaming: False: the function returns a generator for synchronous code.

    Returns:
        A function with the arguments of the program. It returns a generator of `StreamResponse`
        or chunks, of `StatusMessage`, and at the end of the program's result. What an answer
        from the cache says is only in the result. Closing the generator ends the program, and
        its requests.

    Raises:
        InputError: A listener's field is in no predictor of the program, or in several.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> ask = nbtool.streamify(nbtool.Predict("question -> answer"), async_streaming=False)
        >>> with nbtool.context(lm=DummyLM([{"answer": "Paris"}])):
        ...     [item.answer for item in ask(question="?")]
        ['Paris']

    Source:
        Name, call shape and what is given as DSPy's function of that name.
    """
    listeners = list(stream_listeners or ())
    find_predictors(program, listeners)
    provider = status_message_provider or StatusMessageProvider()

    def stream(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        return _given(
            lambda: _call_of(program, args, kwargs),
            provider,
            listeners,
            always_ends=include_final_prediction_in_output_stream,
        )

    def stream_in_turn(*args: Any, **kwargs: Any) -> Iterator[Any]:
        return in_turn(stream(*args, **kwargs))

    return stream if async_streaming else stream_in_turn


async def _given(
    make: Callable[[], Call[Any]],
    provider: StatusMessageProvider,
    listeners: list[StreamListener],
    *,
    always_ends: bool,
) -> AsyncGenerator[Any]:
    mailbox: Mailbox[Any] = Mailbox(_joined)
    around = contextvars.copy_context()  # so that whoever reads the stream does not get it too
    around.run(context(send_stream=Sender(mailbox)).__enter__)
    call = around.run(make)
    heard = Heard(listeners, mailbox.put)
    watchers: list[Instrument] = [
        Pieces(heard, lambda: call.span) if listeners else Texts(mailbox.put, lambda: call.span),
        Statuses(provider, mailbox.put, lambda: call.span),
    ]
    items = Following(call, watchers, mailbox).items(around)
    try:
        async for item in items:
            yield item
    finally:
        await items.aclose()
    if always_ends or not heard.has_heard:
        yield await call


def _call_of(program: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    acall: Any = getattr(program, "acall", None)
    if acall is not None:
        return acall(*args, **kwargs)

    async def main() -> Any:
        return await awaited(program, *args, **kwargs)

    return call_of("function", name_of(program), main, {}, starts=False)


def _joined(items: list[Any]) -> Any:
    return joined(items) if isinstance(items[0], StreamResponse) else joined_chunks(items)


class Sender:
    """Be ``settings.send_stream`` of a streamed program: users' LMs may send to it.

    Args:
        mailbox: Where it all goes.
    """

    def __init__(self, mailbox: Mailbox[Any]) -> None:
        self._mailbox = mailbox

    async def send(self, item: Any) -> None:
        """Give an object on to whoever reads the stream, as it is."""
        self._mailbox.put(item)


def apply_sync_streaming(async_generator: AsyncIterator[T]) -> Iterator[T]:
    """Give to synchronous code what an asynchronous generator gives.

    Args:
        async_generator: The generator; it is closed when the loop over the items is left.

    Source:
        Name and call shape as DSPy's function of that name.
    """
    return in_turn(async_generator)
