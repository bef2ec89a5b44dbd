"""`Code`: source code as the value of a field."""

from __future__ import annotations

import functools
import re
from typing import Any, ClassVar, cast

from pydantic import create_model, model_serializer, model_validator

from nbtool.errors import InputError
from nbtool.signatures.types import Type

_BLOCK = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_INLINE = re.compile(r"```(.*?)```", re.DOTALL)


class Code(Type):
    r"""Hold source code: ``Code["sql"]`` is code of that language, ``Code`` is Python.

    What a model puts round it, such as a Markdown fence, is taken off.

    Attributes:
        code: The code.
        language: Name of the language, of the class.

    Example:
        >>> Code["sql"].model_validate("Here:\n```sql\nSELECT 1\n```")
        Code['sql']('SELECT 1')

    Source:
        Names and call shapes as DSPy's class of that name.
    """

    code: str
    language: ClassVar[str] = "python"

    def __init__(self, source: Any = None, /, **fields: Any) -> None:
        super().__init__(**(fields if source is None else {"code": source, **fields}))

    @classmethod
    def __class_getitem__(cls, language: Any) -> Any:
        """Make the type of code in a language."""
        return _of_language(cls, str(language))

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
        """Ask models for a text, not for an object with one."""
        return {"type": "string"}

    @classmethod
    def description(cls) -> str:
        """Say which language, and how it is written."""
        fence = f"```{cls.language.lower()}"
        return (
            f"{cls.language} code, in a Markdown block that begins with {fence} and ends with ```"
        )

    def format(self) -> str:
        """Show the code as it is."""
        return self.code

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if isinstance(given, Code):
            return {"code": given.code}
        text: Any = cast("dict[str, Any]", given).get("code") if isinstance(given, dict) else given
        if isinstance(text, Code):
            return {"code": text.code}
        if not isinstance(text, str):
            raise InputError(f"{given!r:.100} is no code.", hint="Code is made of a text.")
        return {"code": _without_fence(text)}

    @model_serializer
    def _as_text(self) -> str:
        return self.code

    def __str__(self) -> str:
        return self.code

    def __repr__(self) -> str:
        return f"Code[{self.language!r}]({self.code!r})"


@functools.cache
def _of_language(base: type[Code], language: str) -> type[Code]:
    made = create_model(f"{base.__name__}_{language}", __base__=base)
    made.language = language
    return made


def _without_fence(text: str) -> str:
    """Take the first fenced block; one that was cut off reaches to the end."""
    found = _BLOCK.search(text) or _INLINE.search(text)
    return found[1].strip() if found else text
