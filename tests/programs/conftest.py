"""Language models that need no provider, and keep what they were asked."""

from __future__ import annotations

import pytest

from nbtool.lm.base import BaseLM


class ScriptedLM(BaseLM):
    """Answer with texts, fields or errors in this order."""

    def __init__(self, *answers, **options):
        super().__init__("scripted", **options)
        self.answers = list(answers)
        self.asked = []

    async def aforward(self, prompt=None, messages=None, **options):
        self.asked.append((messages, options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        texts = answer if isinstance(answer, list) else [answer] * (options.get("n") or 1)
        return {"choices": [{"message": {"content": _written(text)}} for text in texts]}

    @property
    def prompts(self):
        return [messages[-1]["content"] for messages, _ in self.asked]


def _written(answer):
    if isinstance(answer, str):
        return answer
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in answer.items())


@pytest.fixture
def scripted():
    """Make a `ScriptedLM` of answers: texts, dicts of fields, lists of choices, or errors."""
    return ScriptedLM
