"""`Call.stream` gives the texts of fields as they arrive, and ends with its call."""

from __future__ import annotations

import asyncio
import itertools

import pytest

import nbtool
from nbtool.adapters.structured import JSONAdapter
from nbtool.errors import LMServerError
from nbtool.testing.answers import Answer, Drop, Failure, Hang
from nbtool.testing.dummy import DummyLM
from nbtool.testing.server import ScriptedServer

# litellm's own models warn on the first stream of a process; it filters that, pytest undoes it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Item .* is using the `ReadOnly`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*fields':DeprecationWarning"),
]


async def pieces_of(call, *fields):
    return [piece async for piece in call.stream(*fields)]


def told(pieces):
    """Join the texts of each field of each predictor, from where it starts again."""
    texts = {}
    for piece in pieces:
        key = f"{piece.predict_name}.{piece.signature_field_name}"
        texts[key] = ("" if piece.starts_again else texts.get(key, "")) + piece.chunk
    return texts


@pytest.fixture
def ask(connect):
    """Stream one call of a program on a server with answers; return pieces, result and server."""

    async def ask(program, *answers, fields=(), lm=None, **inputs):
        async with ScriptedServer(answers) as server:
            with nbtool.context(lm=connect(server, **(lm or {}))):
                call = program.acall(**(inputs or {"question": "?"}))
                pieces = await pieces_of(call, *fields)
                return pieces, await call, server

    return ask


async def test_text_comes_piece_by_piece_below_the_names_that_the_program_has(ask, chat):
    answer = Answer(chat(reasoning="It is so.", answer="Paris, of course"))
    program = nbtool.ChainOfThought("question -> answer")
    pieces, result, server = await ask(program, answer)
    assert told(pieces) == {"predict.reasoning": "It is so.", "predict.answer": result.answer}
    assert [piece.signature_field_name for piece in pieces if piece.is_last_chunk] == [
        "reasoning",
        "answer",
    ]
    assert len(pieces) > 4
    assert server.requests[0].streamed


async def test_a_piece_comes_before_the_next_is_sent(connect, chat):
    goes_on = asyncio.Event()

    async def rest(request):
        await goes_on.wait()
        return Answer(chat(answer="two"))

    twice = _Twice(nbtool.Predict("question -> answer"))
    async with ScriptedServer([Answer(chat(answer="one"))], respond=rest) as server:
        with nbtool.context(lm=connect(server)):
            stream = twice.acall(question="?").stream()
            first = [await anext(stream), await anext(stream)]
            goes_on.set()
            others = [piece async for piece in stream]
    assert [told(first), told(others)] == [{"predict.answer": "one"}, {"predict.answer": "two"}]


class _Twice(nbtool.Module):
    def __init__(self, predict):
        super().__init__()
        self.predict = predict

    async def aforward(self, question):
        await self.predict.acall(question=question)
        return await self.predict.acall(question=question)


@pytest.mark.parametrize("names", [("answer",), ("predict.answer",)], ids=str)
async def test_only_the_fields_that_were_named_come(ask, chat, names):
    answer = Answer(chat(reasoning="r", answer="Paris"))
    pieces, _, _ = await ask(nbtool.ChainOfThought("question -> answer"), answer, fields=names)
    assert told(pieces) == {"predict.answer": "Paris"}


async def test_json_answers_stream_too(ask):
    answer = Answer(chunks=list('{"note": "a \\"b\\"", "scores": [1, 2], "answer": "c"}'))
    with nbtool.context(adapter=JSONAdapter()):
        program = nbtool.Predict("question -> note, scores: list[int], answer")
        pieces, result, _ = await ask(program, answer)
    assert told(pieces) == {"self.note": 'a "b"', "self.scores": "[1, 2]", "self.answer": "c"}
    assert result.scores == [1, 2]


async def test_an_answer_that_is_asked_for_again_starts_again(ask, chat):
    torn = Drop(3_000, of=Answer(chat(answer="wrong " * 50)))
    program = nbtool.Predict("question -> answer")
    pieces, result, _ = await ask(
        program, torn, Answer(chat(answer="right")), lm={"num_retries": 1}
    )
    assert "".join(piece.chunk for piece in pieces).startswith("wrong wrong")
    assert [piece.starts_again for piece in pieces].count(True) == 1
    assert told(pieces) == {"self.answer": result.answer}


async def test_the_fall_back_to_json_starts_again(ask, chat):
    unreadable = Answer(chat(answer="Paris", score="none"))
    answers = [unreadable, Answer('{"answer": "Rome", "score": 1}')]
    pieces, _, _ = await ask(nbtool.Predict("question -> answer, score: int"), *answers)
    assert told(pieces) == {"self.answer": "Rome", "self.score": "1"}
    assert [piece.starts_again for piece in pieces].count(True) == 2


async def test_what_parse_mends_starts_again(ask):
    answer = Answer("{'answer': 'Paris', 'note': 'n'}")
    with nbtool.context(adapter=JSONAdapter()):
        pieces, result, _ = await ask(nbtool.Predict("question -> answer, note"), answer)
    assert told(pieces) == {"self.answer": result.answer, "self.note": "n"}


@pytest.mark.parametrize("again", ["cache", "provider"])
async def test_an_answer_that_comes_whole_is_one_piece(connect, chat, again):
    program = nbtool.Predict("question -> answer")
    async with ScriptedServer(default=Answer(chat(answer="Paris is it"))) as server:
        lm = connect(server, cache=again == "cache")
        with nbtool.context(lm=lm if again == "cache" else DummyLM([{"answer": "Paris is it"}])):
            await (program.acall(question="?") if again == "cache" else asyncio.sleep(0))
            pieces = await pieces_of(program.acall(question="?"))
    assert [(piece.chunk, piece.is_last_chunk) for piece in pieces] == [("Paris is it", True)]


async def test_an_lm_that_is_asked_directly_streams_its_text(connect):
    async with ScriptedServer([Answer("one two three")]) as server:
        pieces = await pieces_of(connect(server).acall("Count."))
    assert told(pieces) == {"openai/test.text": "one two three"}
    assert pieces[-1].is_last_chunk


async def test_what_the_call_raises_the_stream_raises(connect):
    async with ScriptedServer([Failure(500)]) as server:
        with nbtool.context(lm=connect(server)), pytest.raises(LMServerError):
            await pieces_of(nbtool.Predict("question -> answer").acall(question="?"))


@pytest.mark.parametrize("leaves", ["break", "aclose", "cancel"])
async def test_whoever_leaves_the_stream_ends_the_request(connect, chat, leaves):
    slow = Answer(chunks=["[[ ## answer ## ]]\n", *["word "] * 500], chunk_delay_s=0.01)
    async with ScriptedServer([slow]) as server:
        with nbtool.context(lm=connect(server)):
            call = nbtool.Predict("question -> answer").acall(question="?")
            await _LEAVINGS[leaves](call)
        await server.wait_until(lambda: server.aborted)
    assert call.cancelled()


async def _break(call):
    async for _ in call.stream():
        break


async def _close(call):
    stream = call.stream()
    await anext(stream)
    await stream.aclose()


async def _cancel(call):
    task = asyncio.ensure_future(pieces_of(call))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


_LEAVINGS = {"break": _break, "aclose": _close, "cancel": _cancel}


async def test_a_call_that_somebody_else_awaits_goes_on_without_its_stream(connect, chat):
    async with ScriptedServer([Answer(chat(answer="a b c d"), chunk_delay_s=0.01)]) as server:
        with nbtool.context(lm=connect(server)):
            call = nbtool.Predict("question -> answer").acall(question="?")
            waits = asyncio.ensure_future(_awaited(call))
            await asyncio.sleep(0)
            await _close(call)
            assert (await waits).answer == "a b c d"


async def _awaited(call):
    return await call


async def test_two_streams_of_one_call_give_the_same(connect, chat):
    async with ScriptedServer([Answer(chat(answer="a b c"), chunk_delay_s=0.01)]) as server:
        with nbtool.context(lm=connect(server)):
            call = nbtool.Predict("question -> answer").acall(question="?")
            both = await asyncio.gather(pieces_of(call), pieces_of(call))
    assert [told(pieces) for pieces in both] == [{"self.answer": "a b c"}] * 2


class _Inner(nbtool.Module):
    def __init__(self):
        super().__init__()
        self.one = nbtool.Predict("question -> answer")
        self.two = nbtool.Predict("question -> answer")

    async def aforward(self, question):
        beside = asyncio.ensure_future(_awaited(self.two.acall(question=question)))
        pieces = await pieces_of(self.one.acall(question=question))
        await beside
        return pieces


async def test_inside_of_a_program_a_stream_gives_its_own_call_alone(connect, chat):
    async with ScriptedServer(default=Answer(chat(answer="a b"))) as server:
        with nbtool.context(lm=connect(server)):
            pieces = await _Inner().acall(question="?")
    assert told(pieces) == {"self.answer": "a b"}


async def test_many_streams_at_once_keep_apart(connect):
    program = nbtool.Predict("question -> answer")

    async def answer(request):
        word = request.prompt.split("]]")[1].split("[[")[0].strip().splitlines()[0]
        return Answer(f"[[ ## answer ## ]]\n{word} {word}")

    async with ScriptedServer(respond=answer) as server:
        with nbtool.context(lm=connect(server)):
            calls = [program.acall(question=f"w{number}") for number in range(100)]
            found = await asyncio.gather(*map(pieces_of, calls))
    assert [told(pieces)["self.answer"] for pieces in found] == [
        f"w{number} w{number}" for number in range(100)
    ]


async def test_a_stream_that_nobody_reads_holds_one_piece_a_field(connect, chat):
    words = " ".join(map(str, range(2_000)))
    async with ScriptedServer([Answer(chat(reasoning="r", answer=words))]) as server:
        with nbtool.context(lm=connect(server)):
            call = nbtool.ChainOfThought("question -> answer").acall(question="?")
            stream = call.stream()
            first = await anext(stream)
            await asyncio.shield(asyncio.ensure_future(_awaited(call)))
            others = [piece async for piece in stream]
    assert len(others) <= 2
    assert told([first, *others])["predict.answer"] == words


@pytest.mark.parametrize("leaves", [False, True], ids=["to the end", "break"])
def test_synchronous_code_reads_a_stream_with_for(connect, chat, leaves):
    answer = Answer(chat(answer="a b c d e f"), chunk_delay_s=0.01)
    with ScriptedServer([answer]) as server, nbtool.context(lm=connect(server)):
        call = nbtool.Predict("question -> answer").acall(question="?")
        pieces = list(itertools.islice(call.stream(), 1 if leaves else None))
        assert told(pieces) == {"self.answer": "a" if leaves else "a b c d e f"}
        assert call.cancelled() == leaves


def test_a_synchronous_program_streams_below_for(connect, chat):
    class Asks(nbtool.Module):
        def __init__(self):
            super().__init__()
            self.predict = nbtool.Predict("question -> answer")

        def forward(self, question):
            return self.predict(question=question)

    with ScriptedServer([Answer(chat(answer="a b"))]) as server, nbtool.context(lm=connect(server)):
        pieces = list(Asks().acall(question="?").stream())
    assert told(pieces) == {"predict.answer": "a b"}


async def test_a_provider_that_hangs_ends_with_the_reader(connect):
    async with ScriptedServer([Hang()]) as server:
        with nbtool.context(lm=connect(server)), pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await pieces_of(nbtool.Predict("question -> answer").acall(question="?"))
        await server.wait_until(lambda: server.aborted)


def test_a_piece_prints_as_its_text():
    assert f"{nbtool.streaming.StreamResponse('self', 'answer', 'Par')}" == "Par"


async def test_usage_and_history_are_those_of_the_call_as_without_a_stream(connect, chat):
    program = nbtool.Predict("question -> answer")
    async with ScriptedServer(default=Answer(chat(answer="a b"))) as server:
        with nbtool.context(lm=connect(server), track_usage=True):
            plain = await program.acall(question="?")
            call = program.acall(question="?")
            await pieces_of(call)
    usage, expected = (await call).get_lm_usage(), plain.get_lm_usage()
    # litellm adds details to what a stream has used.
    assert {**usage["openai/test"], **expected["openai/test"]} == usage["openai/test"]
    assert [entry["outputs"] for entry in program.history] == [[chat(answer="a b")]] * 2


async def test_a_predictor_inside_of_a_tool_streams_too(connect, chat):
    inner = nbtool.Predict("question -> detail")

    async def look_up(name: str) -> str:
        return (await inner.acall(question=name)).detail

    turns = [
        chat(next_thought="t", next_tool_name="look_up", next_tool_args='{"name": "x"}'),
        chat(detail="found it"),
        chat(next_thought="t", next_tool_name="finish", next_tool_args="{}"),
        chat(reasoning="r", answer="x"),
    ]
    async with ScriptedServer(map(Answer, turns)) as server:
        with nbtool.context(lm=connect(server)):
            agent = nbtool.ReAct("question -> answer", tools=[look_up])
            pieces = await pieces_of(agent.acall(question="?"), "detail", "extract.predict.answer")
    assert told(pieces) == {"Predict.detail": "found it", "extract.predict.answer": "x"}


async def test_a_call_that_has_ended_gives_no_pieces_but_its_error(connect):
    async with ScriptedServer([Failure(500)]) as server:
        with nbtool.context(lm=connect(server)):
            call = nbtool.Predict("question -> answer").acall(question="?")
            with pytest.raises(LMServerError):
                await call
    with pytest.raises(LMServerError):
        await pieces_of(call)
