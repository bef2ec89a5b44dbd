"""`Audio`: sound as the value of a field."""

from __future__ import annotations

import array
import io
import sys
import wave
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from pydantic import ConfigDict, model_validator

from nbtool.errors import InputError
from nbtool.signatures import attached
from nbtool.signatures.types import Type

if TYPE_CHECKING:
    from os import PathLike

_WAV = "wav"
_SAMPLING_RATE_HZ = 16_000
_LOUDEST = 32_767  # of a sample of 16 bits


class Audio(Type):
    """Hold sound, for models that can hear.

    Making one opens no file and no address; `from_path` and `from_url` load.

    Args:
        source: A ``data:audio/…`` address, bytes, or an array of samples.
        sampling_rate: Samples of an array in a second (Hz).
        **fields: ``audio_format`` of bytes, ``"wav"`` by default; or ``data`` and
            ``audio_format`` instead of the source.

    Attributes:
        data: The sound in base64.
        audio_format: Its format, such as ``"wav"`` or ``"mp3"``.

    Raises:
        InputError: The source is no sound.

    Example:
        >>> Audio(b"...", audio_format="mp3")
        Audio(data=<4 characters>, audio_format='mp3')

    Source:
        Names, call shapes and the content part as DSPy's class of that name.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    data: str
    audio_format: str

    def __init__(
        self, source: Any = None, /, *, sampling_rate: int = _SAMPLING_RATE_HZ, **fields: Any
    ) -> None:
        if source is not None:
            fields = {**_read(source, sampling_rate, fields.get("audio_format") or _WAV)}
        super().__init__(**fields)

    @classmethod
    def from_path(
        cls, file_path: str | PathLike[str], *, most_bytes: int = attached.MOST_BYTES
    ) -> Self:
        """Read sound from a file.

        Args:
            file_path: The file.
            most_bytes: How large it may be, in bytes.

        Raises:
            InputError: There is no such file, it is larger, or it is no sound.
        """
        content = attached.read(file_path, most_bytes)
        kind = attached.mime_type_of(content, str(file_path))
        return cls(data=attached.encoded(content), audio_format=_format_of(kind, str(file_path)))

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
        """Fetch sound; this blocks. Arguments and errors as of `nbtool.Image.from_url`."""
        content, kind = attached.fetch(url, verify=verify, timeout_s=timeout, most_bytes=most_bytes)
        known = attached.mime_type_of(content, url) or kind
        return cls(data=attached.encoded(content), audio_format=_format_of(known, url))

    @classmethod
    def from_array(cls, array: Any, sampling_rate: int, format: str = _WAV) -> Self:  # noqa: A002 - DSPy's name
        """Make sound of samples, as 16 bit WAV.

        Args:
            array: Samples, shape (samples,) or (samples, channels): floats in -1...1, or whole
                numbers of 16 bits.
            sampling_rate: Samples in a second (Hz).
            format: ``"wav"``.

        Raises:
            InputError: The format is another one.
        """
        if format.lower() != _WAV:
            raise InputError(
                f"Samples can be written as 'wav', not as {format!r}.",
                hint="Encode them with a library of your own: Audio(content, audio_format=...).",
            )
        content = _as_wav(array, sampling_rate)
        return cls(data=attached.encoded(content), audio_format=_WAV)

    @model_validator(mode="before")
    @classmethod
    def _validated(cls, given: Any) -> Any:
        is_whole = isinstance(given, dict)
        return cast("Any", given) if is_whole else _read(given, _SAMPLING_RATE_HZ, _WAV)

    def format(self) -> list[dict[str, Any]]:
        """Show the sound as a content part."""
        sound = {"data": self.data, "format": self.audio_format}
        return [{"type": "input_audio", "input_audio": sound}]

    def __trace_value__(self) -> str:
        """Leave the sound itself out of traces."""
        return repr(self)

    def __repr__(self) -> str:
        return f"Audio(data=<{len(self.data):,} characters>, audio_format={self.audio_format!r})"

    __str__ = __repr__


def _format_of(kind: str | None, origin: str) -> str:
    if kind is None or not kind.startswith("audio/"):
        raise InputError(
            f"{attached.shortened(origin)!r} is no sound, but {kind or 'of an unknown kind'}.",
            hint="Use nbtool.File for other files.",
        )
    name = kind.partition("/")[2].removeprefix("x-")
    return "mp3" if name == "mpeg" else name


def _read(source: Any, sampling_rate: int, audio_format: str) -> dict[str, str]:
    if isinstance(source, Audio):
        return {"data": source.data, "audio_format": source.audio_format}
    if isinstance(source, bytes | bytearray):
        return {"data": attached.encoded(bytes(source)), "audio_format": audio_format}
    if isinstance(source, str):
        head, comma, content = source.strip().partition(",")
        if comma and head.startswith("data:audio/"):
            kind = head.removeprefix("data:").partition(";")[0]
            return {"data": content, "audio_format": _format_of(kind, head)}
        raise InputError(
            f"{attached.shortened(source)!r} is no sound: a text must be a data:audio/ address.",
            hint="Use Audio.from_path(path) or Audio.from_url(url).",
        )
    if hasattr(source, "shape") or isinstance(source, list | tuple):
        made = Audio.from_array(source, sampling_rate, audio_format)
        return {"data": made.data, "audio_format": made.audio_format}
    raise InputError(
        f"{type(source).__name__} is no sound.", hint="Give bytes, an array, or a data: address."
    )


def _as_wav(samples: Any, sampling_rate: int) -> bytes:
    rows = cast("list[Any]", samples.tolist() if hasattr(samples, "tolist") else list(samples))
    frames = [_frame(row) for row in rows]
    channels = len(frames[0]) if frames else 1
    values = array.array("h", [_sample(value) for frame in frames for value in frame])
    if sys.byteorder == "big":
        values.byteswap()
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(values.itemsize)
        file.setframerate(sampling_rate)
        file.writeframes(values.tobytes())
    return written.getvalue()


def _frame(row: Any) -> list[Any]:
    return list(cast("Any", row)) if isinstance(row, list | tuple) else [row]


def _sample(value: Any) -> int:
    scaled = round(value * _LOUDEST) if isinstance(value, float) else int(value)
    return max(-_LOUDEST - 1, min(_LOUDEST, scaled))
