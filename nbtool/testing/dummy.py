"""`DummyLM`: an LM whose answers are given."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from nbtool.adapters import values
from nbtool.lm.base import BaseLM, Message
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbtool.adapters.base import Adapter

Fields = dict[str, Any]

_INPUT = "asked_of_the_dummy"  # no answer has a field of that name


class DummyLM(BaseLM):
    """Answer with given fields, in the form that the adapter reads.

    Args:
        answers: Fields of the answers, in the order of requests; or by a text that is part of
            the last message, each usable any number of times.
        follow_examples: Answer as the demo with the same last message, where there is one.
        reasoning: Also give the field ``reasoning`` where an answer lacks it.
        adapter: The adapter that will read the answers; `ChatAdapter` by default.

    Example:
        >>> import nbtool
        >>> lm = DummyLM([{"answer": "Paris"}])
        >>> nbtool.Predict("question -> answer")(question="?", lm=lm).answer
        'Paris'

    Source:
        Arguments and the answer after the last one as DSPy's class of that name.
    """

    def __init__(
        self,
        answers: Iterable[Fields] | Mapping[str, Fields],
        follow_examples: bool = False,
        reasoning: bool = False,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__("dummy", temperature=0.0, max_tokens=1000)
        self._by_text: dict[str, Fields] = {}
        self._in_order: deque[Fields] = deque()
        if isinstance(answers, dict):
            self._by_text.update(cast("dict[str, Fields]", answers))
        else:
            self._in_order.extend(cast("Iterable[Fields]", answers))
        self.follow_examples = follow_examples
        self.reasoning = reasoning
        self.adapter = adapter

    async def aforward(
        self,
        prompt: str | None = None,
        messages: list[Message] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the next answer as an OpenAI-like response."""
        asked = messages or [{"role": "user", "content": prompt or ""}]
        contents = [self._content(asked) for _ in range(kwargs.get("n") or 1)]
        prompt_tokens = sum(len(str(message.get("content", "")).split()) for message in asked)
        completion_tokens = sum(len(content.split()) for content in contents)
        return {
            "model": self.model,
            "choices": [
                {"index": i, "message": {"content": content}, "finish_reason": "stop"}
                for i, content in enumerate(contents)
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }

    def _content(self, asked: list[Message]) -> str:
        question = str(asked[-1].get("content", ""))
        if self.follow_examples:
            for turn, reply in itertools.pairwise(asked):
                is_pair = turn.get("role") == "user" and reply.get("role") == "assistant"
                if is_pair and str(turn.get("content", "")) in question:
                    return str(reply["content"])
        for text, fields in self._by_text.items():
            if text in question:
                return self._written(fields)
        if self._in_order:
            return self._written(self._in_order.popleft())
        return self._written({"answer": "No more responses"})

    def _written(self, fields: Fields) -> str:
        if self.reasoning:
            fields = {"reasoning": "No more responses", **fields}
        if self.adapter is None:  # as `ChatAdapter` reads it
            sections = [f"[[ ## {n} ## ]]\n{values.as_text(v)}" for n, v in fields.items()]
            return "\n\n".join([*sections, "[[ ## completed ## ]]"])
        # As an adapter shows the answer of a demo, so it reads one.
        outputs: Fields = {name: (type(value), OutputField()) for name, value in fields.items()}
        signature = Signature({_INPUT: (str, InputField()), **outputs}, "Answer.")
        shown = self.adapter.format(signature, [{_INPUT: "", **fields}], {_INPUT: ""})
        return next(str(turn["content"]) for turn in shown if turn["role"] == "assistant")

    def get_convo(self, index: int) -> tuple[list[Message], list[Any]]:
        """Return the turns and the outputs of the call at an index of the history."""
        return self.history[index]["messages"], self.history[index]["outputs"]
