"""`Signature`: the inputs and outputs of a call, and the instructions that connect them.

A signature is a class that nobody instantiates. It is made from a text, from a dict or by a
``class`` statement; each edit gives a new class and leaves the old one as it was.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import sys
from collections.abc import Mapping
from typing import Any, cast, overload

from pydantic.fields import FieldInfo

from nbtool.errors import FieldNotFoundError, SignatureError
from nbtool.signatures.declarations import (
    Fields,
    declared_field,
    fields_of,
    fields_of_body,
)
from nbtool.signatures.fields import (
    Role,
    bound,
    extras_of,
    infer_prefix,
    pydantic_keywords,
    role_of,
)
from nbtool.signatures.inputs import validate_inputs, with_defaults
from nbtool.signatures.wording import code_of, default_instructions, summary

__all__ = [
    "Signature",
    "SignatureMeta",
    "ensure_signature",
    "infer_prefix",
    "make_signature",
    "validate_inputs",
    "with_defaults",
]

_TEXT_NAME = "StringSignature"


_clean = functools.lru_cache(maxsize=1_000)(inspect.cleandoc)


class SignatureMeta(type):
    """Make signature classes, and give them their properties."""

    _fields: Fields
    _sides: dict[Role, Fields]
    _code: tuple[str, str | None]

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> SignatureMeta:
        """Take the fields out of a class statement and leave the rest to Python."""
        kept = {k: v for k, v in body.items() if not isinstance(v, FieldInfo)}
        cls = super().__new__(mcs, name, bases, kept)
        frame = inspect.currentframe()
        parents = [base for base in bases if isinstance(base, SignatureMeta)]
        fields = {k: bound(f, k) for base in reversed(parents) for k, f in base.fields.items()}
        fields |= fields_of_body(cls, body, frame and frame.f_back)
        ranked = sorted(fields, key=lambda k: role_of(fields[k]) == "output")
        cls._fields = {k: fields[k] for k in ranked}
        cls._sides = {"input": cls._side("input"), "output": cls._side("output")}
        if cls.__doc__ is None:
            cls.__doc__ = _instructions_of(parents) or _default_instructions(cls)
        return cls

    def __call__(
        cls,
        signature: str | Mapping[str, Any] | type[Signature] = "",
        instructions: str | None = None,
        *,
        signature_name: str = _TEXT_NAME,
        custom_types: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> type[Signature]:
        """Make a signature class from a text or a dict: see `make_signature`."""
        if cls is not Signature:
            hint = f"give it to a predictor: Predict({cls.__name__})(...)."
            raise SignatureError(f"{cls.__name__} describes a call, not a value.", hint=hint)
        if inputs:
            raise TypeError(f"Signature() has no arguments {list(inputs)}")
        return make_signature(signature, instructions, signature_name, custom_types)

    @property
    def instructions(cls) -> str:
        """Say what to do with the inputs; can be set, which changes this very class."""
        return "" if cls is Signature else _clean(cls.__doc__ or "")

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
        return dict(cls._sides["input"])

    @property
    def output_fields(cls) -> Fields:
        """Return the output fields by name, in order."""
        return dict(cls._sides["output"])

    @property
    def signature(cls) -> str:
        """Return the names of the fields as a text: ``question, context -> answer``."""
        return f"{', '.join(cls.input_fields)} -> {', '.join(cls.output_fields)}"

    @property
    def code(cls) -> str:
        """Return the Python expression for it: its text, or the name of a user's class."""
        text, doc = cls.__dict__.get("_code", ("", None))
        if doc is not cls.__doc__ or not text:
            text = code_of(cls.__name__, cls._fields, cls.instructions, _TEXT_NAME)
            cls._code = text, cls.__doc__  # instructions can be set
        return text

    def _side(cls, role: Role) -> Fields:
        return {name: field for name, field in cls._fields.items() if role_of(field) == role}

    def __trace_value__(cls) -> str:
        """Show only the names of the fields in traces."""
        return cls.signature

    def __dir__(cls) -> list[str]:
        # Names of a metaclass are missing from dir(), and so from completion in notebooks.
        properties = (k for k, v in vars(SignatureMeta).items() if isinstance(v, property))
        return sorted({*super().__dir__(), *properties})

    def __repr__(cls) -> str:
        return summary(cls.__name__, cls._fields, cls.instructions)


class Signature(metaclass=SignatureMeta):
    """Describe a call of an LM by its inputs, its outputs and instructions.

    Example:
        >>> from nbtool.signatures.fields import InputField, OutputField
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
        return _edited(cls, cls.fields, instructions)

    @classmethod
    def append_instructions(cls, instructions: str) -> type[Signature]:
        """Return the signature with a paragraph more in its instructions.

        Args:
            instructions: The paragraph; an empty one changes nothing.
        """
        parts = (cls.instructions, inspect.cleandoc(instructions))
        return _edited(cls, cls.fields, "\n\n".join(filter(None, parts)))

    @classmethod
    def with_updated_fields(cls, name: str, type_: Any = None, **kwargs: Any) -> type[Signature]:
        """Return the signature with another description or type of one field.

        Args:
            name: A field of the signature.
            type_: Its new type; None leaves it.
            **kwargs: Keys of `json_schema_extra` to set, e.g. `desc` or `prefix`.

        Raises:
            FieldNotFoundError: There is no such field.
            SignatureError: A keyword is one of pydantic's, e.g. `default` or `gt`.
        """
        if name not in cls.fields:
            hint = f"the fields are {list(cls.fields)}."
            raise FieldNotFoundError(f"{cls.__name__} has no field {name!r}.", hint=hint)
        if refused := [k for k in kwargs if k in pydantic_keywords()]:
            hint = f"use delete({name!r}) and insert(...) with a new InputField or OutputField."
            raise SignatureError(f"An update cannot change {refused} of {name!r}.", hint=hint)
        field = bound(declared_field(name, cls.fields[name], type_), name, **kwargs)
        return _edited(cls, {**cls.fields, name: field})

    @classmethod
    def prepend(cls, name: str, field: FieldInfo, type_: Any = None) -> type[Signature]:
        """Return the signature with a field more, first on its side: see `insert`."""
        return cls.insert(0, name, field, type_)

    @classmethod
    def append(cls, name: str, field: FieldInfo, type_: Any = None) -> type[Signature]:
        """Return the signature with a field more, last on its side: see `insert`."""
        return cls.insert(-1, name, field, type_)

    @classmethod
    def insert(cls, index: int, name: str, field: FieldInfo, type_: Any = None) -> type[Signature]:
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
        new = declared_field(name, field, type_)
        same = [n for n, f in cls.fields.items() if role_of(f) == role_of(new) and n != name]
        place = index + len(same) + 1 if index < 0 else index
        if not 0 <= place <= len(same):
            raise SignatureError(
                f"Invalid index to insert: {index}, index must be in the range of "
                f"[{-len(same) - 1}, {len(same)}] for {role_of(new)} fields, "
                f"but received: {index}.",
                hint=f"the {role_of(new)} fields are {same}.",
            )
        same.insert(place, name)
        fields = {**cls.fields, name: new}
        others = [n for n in fields if n not in same]
        return _edited(cls, {n: fields[n] for n in [*same, *others]})

    @classmethod
    def delete(cls, name: str) -> type[Signature]:
        """Return the signature without a field.

        Args:
            name: Name of the field; one that is not there changes nothing.
        """
        return _edited(cls, {k: v for k, v in cls.fields.items() if k != name})

    @classmethod
    def equals(cls, other: object) -> bool:
        """Say whether another signature asks for the very same.

        Args:
            other: Anything.
        """
        if not isinstance(other, SignatureMeta):
            return False
        same_text = cls.instructions == other.instructions
        return same_text and _compared(cls.fields) == _compared(other.fields)

    @classmethod
    def dump_state(cls) -> dict[str, Any]:
        """Return what optimizers change, ready for JSON.

        Returns:
            ``instructions``, and ``fields`` in order with ``prefix`` and ``description``.

        Source:
            The shape of DSPy's state files.
        """
        extras = [extras_of(field) for field in cls.fields.values()]
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
        if len(saved) != len(cls.fields):
            hint = "load it into the signature that it was saved from."
            what = f"The state has {len(saved)} fields, {cls.__name__} has {list(cls.fields)}."
            raise SignatureError(what, hint=hint)
        fields = {
            name: bound(field, name, prefix=texts["prefix"], desc=texts["description"])
            for (name, field), texts in zip(cls.fields.items(), saved, strict=True)
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
    if isinstance(signature, str | Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        fields = fields_of(signature, custom_types)
        return _made(signature_name, __name__, fields, instructions)
    hint = "give a text such as 'question -> answer', a dict of fields or a class."
    raise SignatureError(f"{signature!r} is no signature.", hint=hint)


@overload
def ensure_signature(signature: None, instructions: str | None = None) -> None: ...
@overload
def ensure_signature(
    signature: str | Mapping[str, Any] | type[Signature], instructions: str | None = None
) -> type[Signature]: ...
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


def _made(name: str, module: str, fields: Fields, instructions: str | None) -> type[Signature]:
    body = {**fields, "__module__": module, "__doc__": instructions}
    return cast(type[Signature], SignatureMeta(name, (Signature,), body))


def _edited(
    signature: type[Signature], fields: Fields, instructions: str | None = None
) -> type[Signature]:
    text = signature.instructions if instructions is None else instructions
    return _made(signature.__name__, signature.__module__, fields, text)


def _default_instructions(signature: SignatureMeta) -> str:
    return default_instructions(signature.input_fields, signature.output_fields)


def _instructions_of(parents: list[SignatureMeta]) -> str:
    # A text that only lists the parent's fields would not mention the fields of the subclass.
    texts = (p.instructions for p in parents if p.instructions != _default_instructions(p))
    return next(filter(None, texts), "")


def _compared(fields: Fields) -> list[tuple[Any, ...]]:
    return [
        (name, field.annotation, extras_of(field), field.metadata, repr(field.default))
        for name, field in fields.items()
    ]


def _reduced(cls: SignatureMeta) -> str | tuple[Any, ...]:
    """Pickle a class by name where that leads back to it, and by its fields elsewhere."""
    named: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        named = getattr(named, name, None)
    if named is cls:
        return cls.__qualname__
    return _made, (cls.__name__, cls.__module__, cls.fields, cls.instructions)


# Pickle asks this table before it decides that a class is a name to be imported.
copyreg.pickle(SignatureMeta, _reduced)
