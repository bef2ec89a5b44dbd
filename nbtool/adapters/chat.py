"""`ChatAdapter`: every field under a marker line, for any chat model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nbtool.adapters import values
from nbtool.adapters.base import Adapter, Fields, complete_demos, described
from nbtool.adapters.structured import JSONAdapter
from nbtool.errors import AdapterParseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbtool.lm.base import BaseLM, Message
    from nbtool.signatures.signature import Signature

_MARKER = re.compile(r"^[ \t]*\[\[ ## (\w+) ## \]\][ \t]*([^\r]*)")
_END = "[[ ## completed ## ]]"


class ChatAdapter(Adapter):
    """Write fields under marker lines ``[[ ## name ## ]]`` and read them back.

    Args:
        use_json_adapter_fallback: Whether an answer that cannot be read is asked for again as
            JSON. Errors of the LM itself are never answered by asking again.

    Source:
        The markers are DSPy's wire format, so that demos and saved programs carry over.
    """

    def __init__(self, *, use_json_adapter_fallback: bool = True) -> None:
        self.use_json_adapter_fallback = use_json_adapter_fallback

    async def acall(
        self,
        lm: BaseLM,
        lm_kwargs: Fields,
        signature: type[Signature],
        demos: Iterable[Mapping[str, Any]],
        inputs: Fields,
    ) -> list[Fields]:
        """Ask an LM and read its answers; see `Adapter.acall`."""
        try:
            return await super().acall(lm, lm_kwargs, signature, demos, inputs)
        except AdapterParseError:
            if not self.use_json_adapter_fallback:
                raise
        return await JSONAdapter().acall(lm, lm_kwargs, signature, demos, inputs)

    def format(
        self, signature: type[Signature], demos: Iterable[Mapping[str, Any]], inputs: Fields
    ) -> list[Message]:
        """Write the messages of one request; see `Adapter.format`."""
        messages: list[Message] = [{"role": "system", "content": self._system(signature)}]
        for demo in complete_demos(signature, demos):
            asked = self.format_user_message_content(signature, dict(demo))
            answered = _sections({name: demo[name] for name in signature.output_fields})
            messages += [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": f"{answered}\n\n{_END}"},
            ]
        question = self.format_user_message_content(signature, inputs)
        question += f"\n\n{_reminder(signature)}"
        return [*messages, {"role": "user", "content": question}]

    def format_user_message_content(self, signature: type[Signature], inputs: Fields) -> str:
        """Write only the inputs; see `Adapter.format_user_message_content`."""
        return _sections({name: inputs[name] for name in signature.input_fields if name in inputs})

    def parse(self, signature: type[Signature], completion: str) -> Fields:
        """Read the output fields out of an answer; see `Adapter.parse`."""
        raw: dict[str, str] = {}
        for name, text in _split(completion):
            if name in signature.output_fields and name not in raw:
                raw[name] = text
        return self.typed(signature, raw, completion)

    def _system(self, signature: type[Signature]) -> str:
        inputs = [f"- {described(n, f)}" for n, f in signature.input_fields.items()]
        outputs = [f"- {described(n, f)}" for n, f in signature.output_fields.items()]
        pattern = _sections({name: f"<{name}>" for name in signature.output_fields})
        return "\n".join(
            [
                signature.instructions,
                "",
                "What you are given:",
                *inputs,
                "",
                "What you write:",
                *outputs,
                "",
                "Put each field below a marker line of its own, exactly so, down to the last line:",
                "",
                pattern,
                "",
                _END,
            ]
        )


def _sections(fields: Mapping[str, Any]) -> str:
    return "\n\n".join(
        f"[[ ## {name} ## ]]\n{values.as_text(value)}" for name, value in fields.items()
    )


def _reminder(signature: type[Signature]) -> str:
    markers = ", then ".join(f"`[[ ## {name} ## ]]`" for name in signature.output_fields)
    return f"Write {markers}, and at the end `{_END}`."


def _split(completion: str) -> list[tuple[str, str]]:
    """Cut an answer at its marker lines into (field name, text)."""
    sections: list[tuple[str, list[str]]] = []
    for line in completion.split("\n"):  # splitlines() would cut at form feeds too
        marker = _MARKER.match(line)
        if marker:
            sections.append((marker[1], [marker[2]] if marker[2] else []))
        elif sections:
            sections[-1][1].append(line)
    return [(name, "\n".join(lines).strip()) for name, lines in sections]
