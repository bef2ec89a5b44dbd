"""A language model that needs no provider, and keeps what it was asked."""

from __future__ import annotations

import pytest

from nbtool.lm.base import BaseLM


class ScriptedLM(BaseLM):
    """Answer with texts, messages or errors in this order."""

    def __init__(self, *answers, calls_functions=False, holds_schema=False, params=()):
        super().__init__("scripted")
        self.answers = list(answers)
        self.asked = []
        self._abilities = {"functions": calls_functions, "schema": holds_schema}
        self._params = set(params)

    @property
    def supports_function_calling(self):
        return self._abilities["functions"]

    @property
    def supports_response_schema(self):
        return self._abilities["schema"]

    @property
    def supported_params(self):
        return self._params

    async def aforward(self, prompt=None, messages=None, **options):
        self.asked.append((messages, options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        choice = answer if isinstance(answer, dict) else {"message": {"content": answer}}
        return {"choices": [choice]}

    @property
    def messages(self):
        """Return the messages of the latest request."""
        return self.asked[-1][0]

    @property
    def options(self):
        """Return the options of the latest request."""
        return self.asked[-1][1]


@pytest.fixture
def scripted():
    """Make a `ScriptedLM` of answers."""
    return ScriptedLM
