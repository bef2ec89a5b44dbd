"""`XMLAdapter`: every field between tags, for models that write XML well."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import pydantic

from nbtool.adapters import elements, tags
from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.content import joined
from nbtool.adapters.schema import field_schema
from nbtool.adapters.shapes import Shape
from nbtool.adapters.stream_readers import XMLReader
from nbtool.adapters.values import as_json, as_text
from nbtool.adapters.wording import form_of, listed_fields
from nbtool.mending import sound
from nbtool.signatures.remembered import once_for_each_signature, once_for_each_text
from nbtool.signatures.types import Type

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from nbtool.adapters.base import Fields
    from nbtool.adapters.content import Content
    from nbtool.adapters.reading import Reading
    from nbtool.signatures.signature import Signature


class XMLAdapter(ChatAdapter):
    r"""Write fields between tags, ``<name>...</name>``, and read them back.

    Lists, dicts and pydantic models are nested elements: see `nbtool.adapters.elements`. What
    counts as a field of an answer, and what as its text, is told in `nbtool.adapters.tags`; an
    answer need not be well-formed XML.

    Args:
        callbacks: Watchers of this adapter.
        use_native_function_calling: As for `Adapter`.
        native_response_types: As for `Adapter`.
        use_json_adapter_fallback: As for `ChatAdapter`.
        parallel_tool_calls: As for `Adapter`.

    Example:
        >>> from nbtool.signatures.signature import Signature
        >>> signature = Signature("question -> answer: int, tags: list[str]")
        >>> answer = "Sure!\n<answer>42</answer>\n<tags><item>a</item><item>b</item></tags>"
        >>> XMLAdapter().parse(signature, answer)
        {'answer': 42, 'tags': ['a', 'b']}

    Source:
        The elements are DSPy's wire format; the class takes the arguments of DSPy's.
    """

    _shows_demos_alike = True

    def format_field_description(self, signature: type[Signature]) -> str:
        """Describe the fields, a line each."""
        return _descriptions(signature)

    def format_field_structure(self, signature: type[Signature]) -> str:
        """Show the form of the answer: all tags, and what stands between them."""
        return _form_of_answers(signature)

    def user_message_output_requirements(self, signature: type[Signature]) -> str:
        """Remind the model of the tags."""
        return _reminder(signature)

    def section(self, signature: type[Signature], name: str, text: str) -> Content:
        """Write an input between its tags; see `Adapter.section`."""
        return tags.between(name, tags.guarded(text, {*signature.fields, name}))

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: Fields,
        missing_field_message: str | None = None,
    ) -> str:
        """Write an answer; see `Adapter.format_assistant_message_content`."""
        written: list[str] = []
        for name, field in signature.output_fields.items():
            if name in outputs:
                written.append(_written(name, field, outputs[name]))
            elif missing_field_message is not None:
                written.append(tags.between(name, tags.escaped(missing_field_message)))
        return joined("\n\n", written)

    def parse(self, signature: type[Signature], completion: str) -> Fields:
        """Read the output fields out of an answer; see `Adapter.parse`."""
        outputs = signature.output_fields
        nesting = [name for name, field in outputs.items() if field.annotation is not str]
        found = tags.cut(completion, signature.fields, nesting)
        raw = {name: _raw(found[name], outputs[name]) for name in outputs if name in found}
        return self.typed(signature, raw, completion, _read)

    def __stream_reader__(self, inputs: Fields) -> XMLReader:
        """Make what tells the fields of an answer apart while it arrives."""
        return XMLReader(inputs["signature"])


@once_for_each_text
def _descriptions(signature: type[Signature]) -> str:
    return listed_fields(signature, "each between tags of its name")


@once_for_each_text
def _form_of_answers(signature: type[Signature]) -> str:
    if not signature.output_fields:
        return ""
    shown = [_shown(name, field) for name, field in signature.output_fields.items()]
    return "\n\n".join(["Put each field between its tags, exactly so:", *shown])


@once_for_each_signature
def _reminder(signature: type[Signature]) -> str:
    if not signature.output_fields:
        return ""
    fields = ", then ".join(f"`<{name}>...</{name}>`" for name in signature.output_fields)
    return f"Write {fields}."


def _shown(name: str, field: FieldInfo) -> str:
    if _is_nested(field.annotation):
        return elements.sample(name, _shape(field))
    return tags.between(name, tags.escaped(form_of(field) or "..."))


def _written(name: str, field: FieldInfo, value: Any) -> str:
    if _is_nested(field.annotation):
        plain = sound(as_json(value))
        if isinstance(plain, (list, dict)):
            return elements.element(name, plain, _shape(field))
    return tags.between(name, tags.escaped(as_text(value)))


def _raw(found: list[str], field: FieldInfo) -> Any:
    """Read JSON-like values out of elements, where the type may have such; else a text."""
    annotation: Any = field.annotation
    if annotation is not str and (_is_nested(annotation) or elements.has_elements(found[0])):
        return elements.value_of(found, _shape(field))
    return tags.text_of(found[0])


def _read(reading: Reading, given: Any) -> Any:
    return reading.parse(given) if isinstance(given, str) else reading.parse_json(given)


def _shape(field: FieldInfo) -> Shape:
    return Shape(field_schema(field))


def _is_nested(annotation: Any) -> bool:
    """Tell whether values are written as nested elements: the types that DSPy writes so."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        members = [member for member in arguments if member is not types.NoneType]
        return len(members) == 1 and _is_nested(members[0])
    if origin in (list, dict):
        return not _is_a(arguments[0], Type)
    is_model = _is_a(annotation, pydantic.BaseModel, dict)  # TypedDicts are dicts
    return is_model and annotation is not dict and not _is_a(annotation, Type)


def _is_a(annotation: Any, *kinds: type[Any]) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, kinds)
