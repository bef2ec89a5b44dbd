"""`Signature`: the inputs and outputs of a call, and the instructions that connect them.

A signature is a class that nobody instantiates. It is made from a text, from a dict or by a
``class`` statement; each edit gives a new class and leaves the old one as it was.
"""

from __future__ import annotations

import copyreg
import inspect
import reprlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, reduce
from types import FrameType, SimpleNamespace
from typing import Annotated, Any, ClassVar, TypeAlias, cast, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from nbtool.errors import SignatureError
from nbtool.signatures.annotations import is_type, type_text
from nbtool.signatures.fields import (
    InputField,
    OutputField,
    Role,
    bound,
    extras_of,
    is_untyped,
    pydantic_keywords,
    role_of,
)
from nbtool.signatures.grammar import parse_signature

Fields: TypeAlias = dict[str, FieldInfo]

_TEXT_NAME = "StringSignature"
_shown = reprlib.Repr(maxstring=200, maxother=200)


class FieldDeclarationError(SignatureError, TypeError):
    """Say that a field of a signature was not made by `InputField` or `OutputField`."""

    code = "field_declaration"


class FieldNotFoundError(SignatureError, KeyError):
    """Say that a signature has no field of that name."""

    code = "field_not_found"


class SignatureMeta(type):
    """Make signature classes, and give them their properties."""

    _fields: Fields

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> SignatureMeta:
        """Collect the fields of a class statement; the class itself keeps the rest of its body."""
        declared = {k: v for k, v in namespace.items() if isinstance(v, FieldInfo)}
        rest = {k: v for k, v in namespace.items() if k not in declared}
        cls = super().__new__(mcs, name, bases, rest)
        hints = _annotations(cls, inspect.currentframe())
        _refuse_undeclared(name, hints, namespace)
        inherited = [base for base in reversed(bases) if isinstance(base, SignatureMeta)]
        own = {k: _checked(field, k, hints.get(k)) for k, field in declared.items()}
        fields = reduce(lambda all_, base: {**all_, **base.fields}, inherited, cast(Fields, {}))
        cls._fields = _inputs_first({**{k: bound(f, k) for k, f in fields.items()}, **own})
        if not rest.get("__doc__"):
            cls.__doc__ = _inherited_instructions(bases) or _default_instructions(cls)
        return cls

    def __call__(
        cls,
        signature: str | Mapping[str, Any] | type[Signature],
        instructions: str | None = None,
        *,
        signature_name: str = _TEXT_NAME,
        custom_types: Mapping[str, Any] | None = None,
    ) -> type[Signature]:
        """Make a signature class: see `make_signature`, which has the same arguments.

        Raises:
            SignatureError: As `make_signature`; or a subclass is called.
        """
        if cls is not Signature:
            hint = f"give it to a predictor: Predict({cls.__name__})(...)."
            raise SignatureError(f"{cls.__name__} describes a call and has no instances.", hint=hint)
        return make_signature(
            signature, instructions, signature_name=signature_name, custom_types=custom_types
        )

    @property
    def instructions(cls) -> str:
        """Say what to do with the inputs; can be set, which changes this very class."""
        return "" if cls is Signature else inspect.cleandoc(cls.__doc__ or "")

    @instructions.setter
    def instructions(cls, text: str) -> None:
        cls.__doc__ = text

    @property
    def fields(cls) -> Fields:
        """Return all fields by name: inputs first, each side in the order of declaration."""
        return dict(cls._fields)

    @property
    def input_fields(cls) -> Fields:
        """Return the input fields by name, in order."""
        return cls._side("input")

    @property
    def output_fields(cls) -> Fields:
        """Return the output fields by name, in order."""
        return cls._side("output")

    @property
    def signature(cls) -> str:
        """Return the names of the fields as a text: ``question, context -> answer``."""
        return f"{', '.join(cls.input_fields)} -> {', '.join(cls.output_fields)}"

    def _side(cls, role: Role) -> Fields:
        return {name: field for name, field in cls._fields.items() if role_of(field) == role}

    def __dir__(cls) -> list[str]:
        # Names of a metaclass are missing from dir(), and so from completion in notebooks.
        properties = (k for k, v in vars(SignatureMeta).items() if isinstance(v, property))
        return sorted({*super().__dir__(), *properties})

    def __repr__(cls) -> str:
        inputs, outputs = (
            ", ".join(f"{name}: {type_text(field.annotation)}" for name, field in side.items())
            for side in (cls.input_fields, cls.output_fields)
        )
        lines = [f"{cls.__name__}({inputs} -> {outputs})".replace("( ", "(").replace(" )", ")")]
        lines += [f"    {line}".rstrip() for line in cls.instructions.splitlines()]
        lines += [f"  {role_of(f)} {name}: {_described(f)}" for name, f in cls._fields.items()]
        return "\n".join(lines)


class Signature(metaclass=SignatureMeta):
    """Describe a call of a language model by its inputs, its outputs and instructions.

    Example:
        >>> Signature("question -> answer: int", "Count.").output_fields["answer"].annotation
        <class 'int'>
        >>> class Summarize(Signature):
        ...     '''Say it in one sentence.'''
        ...
        ...     text: str = InputField()
        ...     summary: str = OutputField(desc="at most 20 words")
        >>> Summarize.signature
        'text -> summary'
    """

    @classmethod
    def with_instructions(cls, instructions: str) -> type[Signature]:
        """Return the signature with other instructions.

        Args:
            instructions: What to do with the inputs.
        """
        return _edited(cls, cls._fields, instructions)

    @classmethod
    def append_instructions(cls, instructions: str) -> type[Signature]:
        """Return the signature with a paragraph more in its instructions.

        Args:
            instructions: The paragraph; an empty one changes nothing.
        """
        parts = (cls.instructions, inspect.cleandoc(instructions))
        return _edited(cls, cls._fields, "\n\n".join(filter(None, parts)))

    @classmethod
    def with_updated_fields(
        cls, name: str, type_: Any = None, **kwargs: Any
    ) -> type[Signature]:
        """Return the signature with another description or type of one field.

        Args:
            name: A field of the signature.
            type_: Its new type; None leaves it.
            **kwargs: Keys of `json_schema_extra` to set, e.g. `desc` or `prefix`.

        Raises:
            FieldNotFoundError: There is no such field.
            SignatureError: A keyword is one of pydantic's, e.g. `default` or `gt`.
        """
        if name not in cls._fields:
            hint = f"the fields are {list(cls._fields)}."
            raise FieldNotFoundError(f"{cls.__name__} has no field {name!r}.", hint=hint)
        if refused := [k for k in kwargs if k in pydantic_keywords()]:
            hint = f"use delete({name!r}) and insert(...) with a new InputField or OutputField."
            raise SignatureError(f"An update cannot change {refused} of {name!r}.", hint=hint)
        field = bound(cls._fields[name], name, _checked_type(type_, name), **kwargs)
        return _edited(cls, {**cls._fields, name: field})

    @classmethod
    def prepend(cls, name: str, field: FieldInfo, type_: Any = None) -> type[Signature]:
        """Return the signature with a field more, first on its side: see `insert`."""
        return cls.insert(0, name, field, type_)

    @classmethod
    def append(cls, name: str, field: FieldInfo, type_: Any = None) -> type[Signature]:
        """Return the signature with a field more, last on its side: see `insert`."""
        return cls.insert(-1, name, field, type_)

    @classmethod
    def insert(
        cls, index: int, name: str, field: FieldInfo, type_: Any = None
    ) -> type[Signature]:
        """Return the signature with a field more.

        A field that has the same name is replaced.

        Args:
            index: Place among the fields of the same side; -1 is after the last one.
            name: Name of the field.
            field: Made by `InputField` or `OutputField`, which decides the side.
            type_: Its type; None stands for the field's own type or else `str`.

        Raises:
            SignatureError: The index is out of range.
            FieldDeclarationError: The field was made otherwise.
        """
        new = _checked(field, name, type_)
        same = [n for n, f in cls._fields.items() if role_of(f) == role_of(new) and n != name]
        place = index + len(same) + 1 if index < 0 else index
        if not 0 <= place <= len(same):
            raise SignatureError(
                f"Invalid index to insert: {index}, index must be in the range of "
                f"[{-len(same) - 1}, {len(same)}] for {role_of(new)} fields, "
                f"but received: {index}.",
                hint=f"the {role_of(new)} fields are {same}.",
            )
        same.insert(place, name)
        fields = {**cls._fields, name: new}
        others = [n for n in fields if n not in same]
        return _edited(cls, {n: fields[n] for n in [*same, *others]})

    @classmethod
    def delete(cls, name: str) -> type[Signature]:
        """Return the signature without a field.

        Args:
            name: Name of the field; one that is not there changes nothing.
        """
        return _edited(cls, {k: v for k, v in cls._fields.items() if k != name})

    @classmethod
    def equals(cls, other: object) -> bool:
        """Say whether another signature asks for the same: instructions, names, types, texts.

        Args:
            other: Anything.
        """
        if not isinstance(other, SignatureMeta):
            return False
        mine, theirs = (
            [(name, repr(f), f.annotation, extras_of(f)) for name, f in each.fields.items()]
            for each in (cls, other)
        )
        return cls.instructions == other.instructions and mine == theirs

    @classmethod
    def dump_state(cls) -> dict[str, Any]:
        """Return what optimizers change, ready for JSON.

        Returns:
            ``instructions``, and ``fields`` in order with ``prefix`` and ``description``.

        Source:
            The shape of DSPy's state files.
        """
        extras = [extras_of(field) for field in cls._fields.values()]
        texts = [{"prefix": extra["prefix"], "description": extra["desc"]} for extra in extras]
        return {"instructions": cls.instructions, "fields": texts}

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> type[Signature]:
        """Return the signature with the texts of a saved state.

        Args:
            state: As `dump_state` gives it.

        Raises:
            SignatureError: The state has not as many fields as the signature.
        """
        saved = state["fields"]
        if len(saved) != len(cls._fields):
            hint = "load it into the signature that it was saved from."
            what = f"The state has {len(saved)} fields, {cls.__name__} has {list(cls._fields)}."
            raise SignatureError(what, hint=hint)
        fields = {
            name: bound(field, name, prefix=texts["prefix"], desc=texts["description"])
            for (name, field), texts in zip(cls._fields.items(), saved, strict=True)
        }
        return _edited(cls, fields, state["instructions"])


def make_signature(
    signature: str | Mapping[str, Any] | type[Signature],
    instructions: str | None = None,
    signature_name: str = _TEXT_NAME,
    custom_types: Mapping[str, Any] | None = None,
) -> type[Signature]:
    """Make a signature class.

    Args:
        signature: A text such as ``"question -> answer: int"``; or a dict of fields by name,
            each an `InputField`, an `OutputField` or a tuple of type and field; or a signature.
        instructions: What to do; made of the fields' names where it is None.
        signature_name: Name of the class.
        custom_types: What type names of the text mean, before the callers' names are asked.

    Raises:
        SignatureError: The text cannot be read, or a type is no type.
        FieldDeclarationError: A field was not made by `InputField` or `OutputField`.
    """
    if isinstance(signature, SignatureMeta):
        return signature if instructions is None else signature.with_instructions(instructions)
    if isinstance(signature, str):
        declared = _fields_of_text(signature, custom_types)
    elif isinstance(signature, Mapping):
        declared = {k: _fields_of_entry(k, entry) for k, entry in signature.items()}
    else:
        hint = "give a text such as 'question -> answer', a dict of fields or a class."
        raise SignatureError(f"{signature!r} is no signature.", hint=hint)
    return _made(signature_name, __name__, declared, instructions)


def ensure_signature(
    signature: str | Mapping[str, Any] | type[Signature] | None, instructions: str | None = None
) -> type[Signature] | None:
    """Return a signature for whatever describes one.

    Args:
        signature: A signature, which is returned as it is, or what `make_signature` takes.
        instructions: For a text or a dict only.

    Returns:
        None for None.

    Raises:
        SignatureError: It describes none; or instructions were given for a class.
    """
    if signature is None:
        return None
    if isinstance(signature, SignatureMeta) and instructions is not None:
        hint = "use signature.with_instructions(...)."
        what = "Don't specify instructions when initializing with a Signature"
        raise SignatureError(what, hint=hint)
    return make_signature(signature, instructions)
