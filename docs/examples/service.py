"""Questions over HTTP: whole answers, and streams."""

from __future__ import annotations

import os

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

import nbtool

nbtool.configure(lm=nbtool.LM(os.environ.get("MODEL", "local")))
qa = nbtool.ChainOfThought("question -> answer")
stream = nbtool.streamify(
    qa, stream_listeners=[nbtool.streaming.StreamListener("answer", predict=qa.predict)]
)
app = FastAPI()


@app.get("/answer")
async def answer(question: str) -> dict[str, str]:
    """Answer as JSON."""
    prediction = await qa.acall(question=question)
    return {"answer": prediction.answer}


@app.get("/stream")
async def answer_stream(question: str) -> StreamingResponse:
    """Answer as server-sent events, while the model writes."""
    events = nbtool.streaming.streaming_response(stream(question=question))
    return StreamingResponse(events, media_type="text/event-stream")
