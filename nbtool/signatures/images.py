"""`Image`: a picture as the value of a field."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from pydantic import ConfigDict, model_validator

from nbtool.errors import InputError
from nbtool.runtime.threads import in_worker
from nbtool.signatures import attached
from nbtool.signatures.types import Type

if TYPE_CHECKING:
    from os import PathLike


class Image(Type):
    """Hold a picture, or the address of one, for models that can see.

    Making one opens no file and no address: a text is kept as the address that the provider will
    fetch. `from_path` and `from_url` load.

    Args:
        source: An address (``https://…``, ``gs://…``, ``data:…``), bytes, or an image of Pillow.
        download: Fetch the picture now; the same as `from_url`.
        verify: Whether certificates are checked when it is fetched.
        **fields: ``url``, instead of the source.

    Attributes:
        url: The address, which holds the picture itself where it begins with ``data:``.

    Raises:
        InputError: The source is no picture and no address of one.

    Example:
        >>> Image("https://example.com/cat.png")
        Image(url='https://example.com/cat.png')
        >>> Image(b"GIF89a...")
        Image(url='data:image/gif;base64,<12 characters>')

    Source:
        Names, call shapes and the content part as DSPy's class of that name.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    url: str

    # `source` is positional only: no dict that a model wrote can ask for a download.
    def __init__(
        self, source: Any = None, /, *, download: bool = False, verify: bool = True, **fields: Any
    ) -> None:
        if source is None and (download or not verify):
            raise InputError(
                "`download` and `verify` need a source as the first argument.",
                hint="Write Image.from_url(url).",
            )
        if source is not None and "url" in fields:
            raise InputError("Image() got both a source and a url.", hint="Give one of them.")
        if download and isinstance(source, str):
            fields["url"] = _fetched(source, verify=verify)
        elif source is not None:
            fields["url"] = source
        super().__init__(**fields)

    @classmethod
    def from_path(
        cls, file_path: str | PathLike[str], *, most_bytes: int = attached.MOST_BYTES
    ) -> Self:
        """Read a picture from a file.

        Args:
            file_path: The file.
            most_bytes: How large it may be, in bytes.

        Raises:
            InputError: There is no such file, it is larger, or it is no picture.
        """
        content = attached.read(file_path, most_bytes)
        kind = attached.mime_type_of(content, str(file_path))
        return cls(attached.data_uri(content, _checked(kind, str(file_path))))

    from_file = from_path

    @classmethod
    def from_url(
        cls,
        url: str,
        verify: bool = True,
        timeout: float | None = 30.0,
        *,
        most_bytes: int = attached.MOST_BYTES,
    ) -> Self:
        """Fetch a picture; this blocks, see `afrom_url`.

        Args:
            url: An address that begins with http:// or https://. One from a stranger may lead
                into your own network: check it before.
            verify: Whether certificates are checked.
            timeout: Longest silence, in seconds; None: no limit.
            most_bytes: How large it may be, in bytes.

        Raises:
            InputError: It cannot be fetched, is larger, or is no picture.
        """
        return cls(_fetched(url, verify=verify, timeout_s=timeout, most_bytes=most_bytes))

    @classmethod
    async def afrom_url(cls, url: str, **options: Any) -> Self:
        """Fetch a picture while the loop goes on; arguments and errors as of `from_url`."""
        return await in_worker(functools.partial(cls.from_url, url, **options))

    @classmethod
    def from_PIL(cls, pil_image: Any) -> Self:  # noqa: N802 - DSPy's name
        """Make one of an image of Pillow; the same as ``Image(pil_image)``."""
        return cls(pil_image)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if isinstance(given, cls):
            return {"url": given.url}
        if not isinstance(given, dict):
            return {"url": _address_of(given)}
        fields = cast("dict[str, Any]", given)
        return {**fields, "url": _address_of(fields["url"])} if "url" in fields else fields

    def format(self) -> list[dict[str, Any]]:
        """Show the picture as a content part."""
        return [{"type": "image_url", "image_url": {"url": self.url}}]

    def __trace_value__(self) -> str:
        """Leave the picture itself out of traces."""
        return repr(self)

    def __repr__(self) -> str:
        return f"Image(url={attached.described(self.url)!r})"

    __str__ = __repr__


def _fetched(url: str, **options: Any) -> str:
    content, kind = attached.fetch(url, **options)
    known = attached.mime_type_of(content, url) or kind
    return attached.data_uri(content, _checked(known, url))


def _checked(kind: str | None, origin: str) -> str:
    if kind is None or not kind.startswith("image/"):
        raise InputError(
            f"{attached.shortened(origin)!r} is no picture, but {kind or 'of an unknown kind'}.",
            hint="Use nbtool.File for other files.",
        )
    return kind


def _address_of(source: Any) -> str:
    if isinstance(source, Image):
        return source.url
    if isinstance(source, bytes | bytearray):
        content = bytes(source)
        return attached.data_uri(content, _checked(attached.mime_type_of(content), "these bytes"))
    if isinstance(source, str):
        text = source.strip()
        if attached.is_data_uri(text) or attached.is_reference(text):
            return text
        raise InputError(
            f"Unrecognized image string: {attached.shortened(source)!r}. Local files must be "
            "loaded with Image.from_path().",
            hint="An address begins with https://, gs:// or data:.",
        )
    if hasattr(source, "save") and hasattr(source, "size"):
        written = io.BytesIO()
        source.save(written, format=getattr(source, "format", None) or "PNG")
        return _address_of(written.getvalue())
    raise InputError(
        f"Unsupported image type: {type(source).__name__}",
        hint="Give an address, bytes, or an image of Pillow.",
    )
