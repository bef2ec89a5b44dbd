"""`ChatAdapter`: every field under a marker line, for any chat model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.adapters.base import Adapter, Fields
from nbtool.adapters.content import END_NAME, MARKER, joined, section, unescaped
from nbtool.adapters.stream_readers import ChatReader
from nbtool.adapters.structured import JSONAdapter
from nbtool.adapters.values import as_text
from nbtool.adapters.wording import placeholder
from nbtool.errors import MISUSE, AdapterParseError, LMError
from nbtool.signatures.remembered import once_for_each_signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbtool.lm.base import BaseLM
    from nbtool.runtime.pieces import Reader
    from nbtool.signatures.signature import Signature
    from nbtool.signatures.types import Type

_END = f"[[ ## {END_NAME} ## ]]"


class ChatAdapter(Adapter):
    r"""Write fields under marker lines ``[[ ## name ## ]]`` and read them back.

    Args:
        callbacks: Watchers of this adapter.
        use_native_function_calling: As for `Adapter`.
        native_response_types: As for `Adapter`.
        use_json_adapter_fallback: Whether the LM is asked again by a `JSONAdapter` where its
            answer cannot be read, or another error happens. Errors of the LM's provider and
            mistakes in the program are never answered by asking again.
        parallel_tool_calls: As for `Adapter`.

    Example:
        >>> from nbtool.signatures.signature import Signature
        >>> answer = "[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]"
        >>> ChatAdapter().parse(Signature("question -> answer: int"), answer)
        {'answer': 42}

    Source:
        The markers are DSPy's wire format, so that demos and saved programs carry over.
    """

    use_json_adapter_fallback: bool = True
    _shows_demos_alike = True

    def __init__(
        self,
        callbacks: list[Any] | None = None,
        use_native_function_calling: bool = False,
        native_response_types: list[type[Type]] | None = None,
        use_json_adapter_fallback: bool = True,
        parallel_tool_calls: bool | None = None,
    ) -> None:
        super().__init__(
            callbacks, use_native_function_calling, native_response_types, parallel_tool_calls
        )
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
        shown = list(demos)
        try:
            return await super().acall(lm, lm_kwargs, signature, shown, inputs)
        except (LMError, TypeError, *MISUSE):  # TypeError: mostly a mistake in a user's own type
            raise
        except Exception as error:
            if not self.use_json_adapter_fallback:
                raise
            first = error
        try:
            return await self._fallback().acall(lm, lm_kwargs, signature, shown, inputs)
        except AdapterParseError as error:
            raise error from first

    def _fallback(self) -> JSONAdapter:
        fallback = JSONAdapter(
            callbacks=list(self.callbacks),
            use_native_function_calling=self.use_native_function_calling,
            parallel_tool_calls=self.parallel_tool_calls,
        )
        fallback.native_response_types = self.native_response_types
        return fallback

    def format_field_structure(self, signature: type[Signature]) -> str:
        """Show the form of the answer: all markers, and what stands below each."""
        return _form_of_answers(signature)

    def user_message_output_requirements(self, signature: type[Signature]) -> str:
        """Remind the model of the markers."""
        return _reminder(signature)

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: Fields,
        missing_field_message: str | None = None,
    ) -> str:
        """Write an answer; see `Adapter.format_assistant_message_content`."""
        sections: list[str] = []
        for name in signature.output_fields:
            if name in outputs:
                sections.append(section(name, as_text(outputs[name])))
            elif missing_field_message is not None:
                sections.append(section(name, missing_field_message))
        return joined("\n\n", [*sections, _END])

    def parse(self, signature: type[Signature], completion: str) -> Fields:
        """Read the output fields out of an answer; see `Adapter.parse`."""
        sections = _split(completion)
        if not sections and signature.output_fields:
            first = next(iter(signature.output_fields))
            raise self.unreadable(signature, completion, f"lacks the field {first!r}", {})
        raw: dict[str, str] = {}
        for name, text in sections:
            raw.setdefault(name, unescaped(text))
        return self.typed(signature, raw, completion)

    def __stream_reader__(self, inputs: Fields) -> Reader:
        """Make what tells the fields of an answer apart while it arrives."""
        return ChatReader(inputs["signature"])


@once_for_each_signature
def _form_of_answers(signature: type[Signature]) -> str:
    if not signature.output_fields:
        return ""
    shown = [
        f"[[ ## {name} ## ]]\n{placeholder(name, field)}"
        for name, field in signature.output_fields.items()
    ]
    how = "Put each field below a marker line of its own, exactly so, down to the last line:"
    return "\n\n".join([how, *shown, _END])


@once_for_each_signature
def _reminder(signature: type[Signature]) -> str:
    if not signature.output_fields:
        return ""
    markers = ", then ".join(f"`[[ ## {name} ## ]]`" for name in signature.output_fields)
    return f"Write {markers}, and at the end `{_END}`."


def _split(completion: str) -> list[tuple[str, str]]:
    """Cut an answer at its marker lines into (field name, text)."""
    sections: list[tuple[str, list[str]]] = []
    for line in completion.split("\n"):  # splitlines() would cut at form feeds too
        marker = MARKER.match(line)
        if marker:
            sections.append((marker[1], [marker[2]] if marker[2] else []))
        elif sections:
            sections[-1][1].append(line)
    return [(name, "\n".join(lines).strip()) for name, lines in sections]
