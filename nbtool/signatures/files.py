"""`File`: a document, or any other file, as the value of a field."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from pydantic import ConfigDict, model_validator

from nbtool.errors import InputError
from nbtool.signatures import attached
from nbtool.signatures.types import Type

if TYPE_CHECKING:
    from os import PathLike

_NAMES = ("file_data", "file_id", "filename")


class File(Type):
    """Hold a file, or the id of one that the provider has.

    Making one opens no file; `from_path` does.

    Args:
        source: Bytes, or a ``data:`` address.
        **fields: Attributes by name, instead of the source or beside it.

    Attributes:
        file_data: The file as a ``data:`` address; None where the provider has it.
        file_id: The provider's id of it.
        filename: Its name.

    Raises:
        InputError: The source is no file.

    Example:
        >>> File.from_bytes(b"%PDF-1.7", filename="paper.pdf", mime_type="application/pdf")
        File(file_data='data:application/pdf;base64,<12 characters>', filename='paper.pdf')

    Source:
        Names, call shapes and the content part as DSPy's class of that name.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None

    def __init__(self, source: Any = None, /, **fields: Any) -> None:
        if source is not None:
            fields = {**_read(source), **fields}
        super().__init__(**fields)

    @classmethod
    def from_path(
        cls,
        file_path: str | PathLike[str],
        filename: str | None = None,
        mime_type: str | None = None,
        *,
        most_bytes: int = attached.MOST_BYTES,
    ) -> Self:
        """Read a file.

        Args:
            file_path: The file.
            filename: Name that the model sees; by default the file's own.
            mime_type: Of what kind it is; by default by its content and name.
            most_bytes: How large it may be, in bytes.

        Raises:
            InputError: There is no such file, or it is larger.
        """
        content = attached.read(file_path, most_bytes)
        kind = mime_type or attached.mime_type_of(content, str(file_path)) or attached.UNKNOWN
        return cls.from_bytes(content, filename or Path(file_path).name, kind)

    @classmethod
    def from_bytes(
        cls, file_bytes: bytes, filename: str | None = None, mime_type: str = attached.UNKNOWN
    ) -> Self:
        """Make one of bytes.

        Args:
            file_bytes: The content.
            filename: Name that the model sees.
            mime_type: Of what kind it is.
        """
        return cls(file_data=attached.data_uri(file_bytes, mime_type), filename=filename)

    @classmethod
    def from_file_id(cls, file_id: str, filename: str | None = None) -> Self:
        """Name a file that was sent to the provider before.

        Args:
            file_id: The provider's id of it.
            filename: Its name.
        """
        return cls(file_id=file_id, filename=filename)

    @model_validator(mode="before")
    @classmethod
    def _validated(cls, given: Any) -> Any:
        fields = cast("dict[str, Any]", given if isinstance(given, dict) else _read(given))
        if not any(fields.get(name) for name in _NAMES):
            raise InputError(
                "A File needs one of file_data, file_id and filename.",
                hint="Use File.from_path(path), or File.from_file_id(id).",
            )
        return fields

    def format(self) -> list[dict[str, Any]]:
        """Show the file as a content part."""
        told = {name: getattr(self, name) for name in _NAMES if getattr(self, name)}
        return [{"type": "file", "file": told}]

    def __trace_value__(self) -> str:
        """Leave the file itself out of traces."""
        return repr(self)

    def __repr__(self) -> str:
        told = {name: getattr(self, name) for name in _NAMES if getattr(self, name) is not None}
        if self.file_data is not None:
            told["file_data"] = attached.described(self.file_data)
        return f"File({', '.join(f'{name}={value!r}' for name, value in told.items())})"

    __str__ = __repr__


def _read(source: Any) -> dict[str, Any]:
    if isinstance(source, File):
        return {name: getattr(source, name) for name in _NAMES}
    if isinstance(source, bytes | bytearray):
        content = bytes(source)
        kind = attached.mime_type_of(content) or attached.UNKNOWN
        return {"file_data": attached.data_uri(content, kind)}
    if isinstance(source, str) and attached.is_data_uri(source.strip()):
        return {"file_data": source.strip()}
    raise InputError(
        f"{attached.shortened(source)!r} is no file: a text must be a data: address.",
        hint="Use File.from_path(path) for a file of this machine.",
    )
