"""`Stream`: the text of a call's answers, as it arrives, for ``async for`` and for ``for``."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from nbtool.runtime import interrupt
from nbtool.runtime.door import run
from nbtool.runtime.mailbox import Mailbox
from nbtool.runtime.pieces import Pieces, StreamResponse, Told
from nbtool.tracing.boundary import current_span

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
    from contextvars import Context

    from nbtool.runtime.call import Call
    from nbtool.tracing.boundary import Instrument
    from nbtool.tracing.span import Run, Span

T = TypeVar("T")

_LAST_WORDS_S = 1.0  # how long a cancelled chain may take to clean up
_END = object()


class Following(Generic[T]):
    """Follow a call: watch its run from now on, start it, take what comes.

    Args:
        call: The call.
        watchers: Instruments that fill the mailbox.
        mailbox: What comes; it is closed when the call ends.
    """

    def __init__(self, call: Call[Any], watchers: list[Instrument], mailbox: Mailbox[T]) -> None:
        self._call = call
        self._watchers = watchers
        self._mailbox = mailbox
        self._run: Run | None = None
        above = current_span()
        if call.span is not None:
            self._attach(call.span.run)
        elif above is not None:
            self._attach(above.run)
        else:
            call.before_start(self._attach)

    def _attach(self, run: Run) -> None:
        self._run = run
        for watcher in self._watchers:
            run.attach(watcher)

    async def items(self, around: Context | None = None) -> AsyncGenerator[T]:
        """Give what comes, to the end of the call; then raise what it has raised.

        Whoever closes it no longer waits for the call: that ends too, if nobody else waits.

        Args:
            around: Where the call starts, if it has not; by default where this is read.
        """
        loop = asyncio.get_running_loop()
        waiting = loop.create_task(_ended(self._call), context=around)
        waiting.add_done_callback(lambda _: self._mailbox.close())
        try:
            while (item := await self._next(loop)) is not _END:
                yield item
        finally:
            self._let_go()
            if not waiting.done():
                await self._leave(waiting)
        if (error := waiting.result()) is not None:
            raise error

    async def _next(self, loop: asyncio.AbstractEventLoop) -> T | Any:
        """Wait for what comes next; in a cell, an interrupt ends the wait."""
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        with interrupt.Wait(loop, self._mailbox.cancel) as wait:
            try:
                item = await self._mailbox.take(_END)
            except asyncio.CancelledError:
                if not wait.hits:
                    raise
            else:
                if not wait.hits:
                    return item
        self._mailbox.uncancel()
        raise interrupt.InterruptedWait(f"{self._call.name} was told to stop.")

    def _let_go(self) -> None:
        if self._run is not None:
            for watcher in self._watchers:
                self._run.detach(watcher)

    async def _leave(self, waiting: asyncio.Future[Any]) -> None:
        """Wait for the call no longer, and let it clean up if it ends by that."""
        with contextlib.suppress(RuntimeError):  # its loop is closed
            waiting.get_loop().call_soon_threadsafe(waiting.cancel)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                while await self._mailbox.take(_END) is not _END:
                    pass


async def _ended(call: Call[Any]) -> BaseException | None:
    """Wait for a call and return what it raised, which is for whoever reads the stream."""
    try:
        await call
    except asyncio.CancelledError as error:
        if not call.cancelled():
            raise
        return error
    except Exception as error:  # noqa: BLE001 - raised again by the reader
        return error
    return None


class _Chosen:
    """Put the pieces of some fields into a mailbox, under the names that the program has."""

    def __init__(
        self, call: Call[Any], fields: frozenset[str], mailbox: Mailbox[StreamResponse]
    ) -> None:
        self._call = call
        self._fields = fields
        self._mailbox = mailbox
        self._names: dict[int, str] = {}

    def __call__(self, told: Told) -> None:
        response = told.response
        response.predict_name = self._name_of(told.owner)
        field = response.signature_field_name
        if not self._fields or self._fields & {field, f"{response.predict_name}.{field}"}:
            self._mailbox.put(response, (told.owner.id, field))

    def _name_of(self, span: Span) -> str:
        root = self._call.span
        program: Any = root.subject if root is not None else None
        if id(span.subject) not in self._names:
            find: Callable[[Any], str | None] | None = getattr(program, "part_name", None)
            named = find(span.subject) if find is not None else None
            self._names[id(span.subject)] = named or span.name
        return self._names[id(span.subject)]


class Stream(Generic[T]):
    """Give the texts of a call's fields as they arrive; see `Call.stream`.

    Args:
        call: Whose fields.
        fields: Names of fields, or ``"predictor.field"``; none for all.
    """

    def __init__(self, call: Call[T], fields: tuple[str, ...] = ()) -> None:
        self._call = call
        mailbox: Mailbox[StreamResponse] = Mailbox(joined)
        # Nothing below holds the stream: a loop that is left drops it, and so ends the call.
        pieces = Pieces(_Chosen(call, frozenset(fields), mailbox), lambda: call.span)
        self._items = Following(call, [pieces], mailbox).items()

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[StreamResponse]:
        """Wait for the next piece; the call starts with the first."""
        return anext(self._items)

    async def aclose(self) -> None:
        """Stop reading; the call ends too, if nobody else waits for it."""
        await self._items.aclose()

    def __iter__(self) -> Iterator[StreamResponse]:
        """Give the pieces to synchronous code, in a script and in a cell."""
        return in_turn(self)

    def __repr__(self) -> str:
        return f"<Stream of {self._call!r}>"


def joined(pieces: list[StreamResponse]) -> StreamResponse:
    """Make one piece of several of one field, oldest first."""
    begins = max((n for n, piece in enumerate(pieces) if piece.starts_again), default=0)
    chunk = "".join(piece.chunk for piece in pieces[begins:])
    last = pieces[-1]
    starts_again = any(piece.starts_again for piece in pieces)
    name, field = last.predict_name, last.signature_field_name
    return StreamResponse(name, field, chunk, last.is_last_chunk, starts_again)


async def _taken(items: AsyncIterator[T]) -> T:
    # The door closes a coroutine that an interrupt keeps from starting; `anext` gives none.
    return await anext(items)


def in_turn(items: AsyncIterator[T]) -> Iterator[T]:
    """Give to synchronous code what an asynchronous iterator gives, item by item.

    Args:
        items: The iterator; it is closed when the loop over the items is left.
    """
    __tracebackhide__ = True  # IPython and pytest leave such frames out
    try:
        while True:
            try:
                item = run(_taken(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        close = getattr(items, "aclose", None)
        if inspect.isroutine(close):
            run(close())
