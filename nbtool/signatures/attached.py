"""What images, sound and files have in common: bytes, their kind, and where they come from.

Values of these types come from models, demos and state files too, so making one never opens a file
or an address. Only what a program calls by name does: ``from_path`` and ``from_url``.
"""

from __future__ import annotations

import base64
import mimetypes
import ssl
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbtool.errors import InputError

if TYPE_CHECKING:
    from os import PathLike

MOST_BYTES = 50_000_000
"""Most bytes of one attachment, by default; providers take less rather than more."""

UNKNOWN = "application/octet-stream"
_SHOWN_CHARS = 100
_WEB = ("http", "https")
_REFERENCES = (*_WEB, "gs")  # what providers can fetch themselves
_SIGNATURES: tuple[tuple[bytes, int, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"BM", 0, "image/bmp"),
    (b"II*\x00", 0, "image/tiff"),
    (b"MM\x00*", 0, "image/tiff"),
    (b"WAVE", 8, "audio/wav"),
    (b"ID3", 0, "audio/mpeg"),
    (b"\xff\xfb", 0, "audio/mpeg"),
    (b"OggS", 0, "audio/ogg"),
    (b"fLaC", 0, "audio/flac"),
    (b"%PDF-", 0, "application/pdf"),
)
_SAME_TYPES = {
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
}


def encoded(content: bytes) -> str:
    """Write bytes as base64."""
    return base64.b64encode(content).decode("ascii")


def data_uri(content: bytes, mime_type: str) -> str:
    """Write bytes as an address that holds them (RFC 2397)."""
    return f"data:{mime_type};base64,{encoded(content)}"


def is_data_uri(text: str) -> bool:
    """Tell whether a text is an address that holds its own content."""
    return text.startswith("data:") and "," in text


def is_reference(text: str) -> bool:
    """Tell whether a text is an address that a provider can fetch itself."""
    return _scheme_of(text) in _REFERENCES


def mime_type_of(content: bytes, name: str = "") -> str | None:
    """Return of what kind some bytes are: by how they begin, else by a name.

    Args:
        content: The bytes.
        name: Name of the file they come from, or its address.

    Returns:
        A media type such as ``"image/png"``; None where it is not known.

    Source:
        The first bytes as in the list of file signatures that WHATWG's MIME Sniffing keeps.
    """
    for signature, at, mime_type in _SIGNATURES:
        if content.startswith(signature, at):
            return mime_type
    guessed = mimetypes.guess_type(urllib.parse.urlsplit(name).path)[0] if name else None
    return _SAME_TYPES.get(guessed or "", guessed)


def read(path: str | PathLike[str], most_bytes: int = MOST_BYTES) -> bytes:
    """Read a file that the program names.

    Args:
        path: The file.
        most_bytes: How large it may be.

    Raises:
        InputError: There is no such file, or it is larger.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"File not found: {str(path)!r}", hint="Check the path; a folder is none.")
    with file.open("rb") as opened:
        return _bounded(opened.read(most_bytes + 1), str(path), most_bytes)


def fetch(
    url: str,
    *,
    verify: bool = True,
    timeout_s: float | None = 30.0,
    most_bytes: int = MOST_BYTES,
) -> tuple[bytes, str]:
    """Fetch what an address leads to; this blocks.

    Redirects are followed, and hosts of the own network are reached too: whoever takes addresses
    from strangers checks them before.

    Args:
        url: An address that begins with http:// or https://.
        verify: Whether certificates are checked.
        timeout_s: Longest silence, in seconds; None: no limit.
        most_bytes: How large it may be.

    Returns:
        The bytes, and their kind as the server says; empty where it does not.

    Raises:
        InputError: It is no such address, cannot be fetched, or leads to more bytes.
    """
    if _scheme_of(url) not in _WEB:
        raise InputError(
            f"from_url needs an address that begins with http(s)://, and got {shortened(url)!r}.",
            hint="Use from_path for a file.",
        )
    context = None if verify else ssl._create_unverified_context()  # noqa: S323, SLF001 - asked for # pyright: ignore[reportPrivateUsage]
    try:
        with urllib.request.urlopen(url, timeout=timeout_s, context=context) as answer:  # noqa: S310 - checked above
            kind = str(answer.headers.get("Content-Type") or "").partition(";")[0].strip()
            content: bytes = answer.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{shortened(url)!r} cannot be fetched: {error}",
            hint="Check the address and the network.",
        ) from error
    return _bounded(content, url, most_bytes), _SAME_TYPES.get(kind, kind)


def _bounded(content: bytes, origin: str, most_bytes: int) -> bytes:
    if len(content) > most_bytes:
        raise InputError(
            f"{shortened(origin)!r} has more than {most_bytes:,} bytes.",
            hint="Make it smaller, or say most_bytes=...",
        )
    return content


def _scheme_of(text: str) -> str:
    try:
        parts = urllib.parse.urlsplit(text.strip())
    except ValueError:
        return ""
    return parts.scheme.lower() if parts.netloc else ""


def shortened(text: Any) -> str:
    """Return the beginning of a text, for messages."""
    shown = str(text)
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…"


def described(uri: str) -> str:
    """Return an address for people: of one that holds its content, only how much."""
    if not is_data_uri(uri):
        return uri
    head, _, content = uri.partition(",")
    return f"{head},<{len(content):,} characters>"
