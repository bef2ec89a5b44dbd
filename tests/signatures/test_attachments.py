"""`Image`, `Audio`, `File`: what they take, what a model gets, and what they never open."""

from __future__ import annotations

import base64
import io
import pickle
import threading
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pydantic
import pytest

from nbtool.errors import InputError
from nbtool.signatures import attached
from nbtool.signatures.audio import Audio
from nbtool.signatures.files import File
from nbtool.signatures.images import Image
from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer

pytestmark = pytest.mark.api("Image/Audio/File")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG_URI = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


class Drawn:
    """Be like an image of Pillow."""

    size, format = (1, 1), None

    def save(self, file, **options):
        assert options == {"format": "PNG"}
        file.write(PNG)


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("https://a.b/c.png", "https://a.b/c.png"),
        (" gs://bucket/c.png ", "gs://bucket/c.png"),
        (PNG_URI, PNG_URI),
        (PNG, PNG_URI),
        (bytearray(PNG), PNG_URI),
        (Drawn(), PNG_URI),
        (Image(PNG), PNG_URI),
        ({"url": "https://a.b/c"}, "https://a.b/c"),
    ],
    ids=["https", "gs", "data", "bytes", "bytearray", "Pillow", "Image", "dict"],
)
def test_picture_is_made_of_its_source_and_shown_as_a_part(source, url):
    image = Image.model_validate(source) if isinstance(source, dict) else Image(source)
    assert image.format() == [{"type": "image_url", "image_url": {"url": url}}]


@pytest.mark.parametrize(
    "source",
    ["/etc/passwd", "cat.png", "file:///etc/passwd", "", "javascript:x", b"no picture", 3],
    ids=repr,
)
def test_what_is_no_picture_is_refused(source):
    with pytest.raises((InputError, pydantic.ValidationError)):
        Image(source)


@pytest.mark.parametrize("kind", [Image, Audio, File], ids=lambda kind: kind.__name__)
def test_a_text_from_a_model_or_a_file_opens_nothing(kind, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG)
    for text in (str(secret), secret.as_uri()):
        with pytest.raises((InputError, pydantic.ValidationError)):
            pydantic.TypeAdapter(kind).validate_python(text)


def test_a_dict_from_a_model_cannot_ask_for_a_download():
    with ScriptedServer(default=Answer("x")) as server:
        given = {"url": f"{server.base_url}/x.png", "download": True}
        with pytest.raises((InputError, pydantic.ValidationError)):
            pydantic.TypeAdapter(Image).validate_python(given)
        kept = Image(f"{server.base_url}/x.png")
    assert kept.url.endswith("/x.png")
    assert not server.requests


@pytest.mark.parametrize(
    ("load", "name", "kind"),
    [
        (Image.from_path, "a.png", "image/png"),
        (Image.from_file, "a", "image/png"),
        (File.from_path, "a.bin", "image/png"),
    ],
    ids=["by name", "by content", "File"],
)
def test_files_are_read_by_name_and_their_content_says_what_they_are(tmp_path, load, name, kind):
    (tmp_path / name).write_bytes(PNG)
    part = load(tmp_path / name).format()[0]
    uri = part["image_url"]["url"] if "image_url" in part else part["file"]["file_data"]
    assert uri == f"data:{kind};base64,{base64.b64encode(PNG).decode()}"


def test_a_file_that_is_missing_or_too_large_or_no_picture_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputError, match="File not found"):
        Image.from_path(tmp_path)
    with pytest.raises(InputError, match="has more than 3 bytes"):
        File.from_path(tmp_path / "a.txt", most_bytes=3)
    with pytest.raises(InputError, match="is no picture, but text/plain"):
        Image.from_path(tmp_path / "a.txt")


async def test_an_address_is_fetched_only_when_asked_and_the_loop_goes_on(png_pages):
    image = await Image.afrom_url(f"{png_pages}/a.png")
    assert image.url == Image(f"{png_pages}/a.png", download=True).url == PNG_URI


def test_what_cannot_be_fetched_is_told_with_its_address(png_pages):
    with pytest.raises(InputError, match=r"missing.* cannot be fetched: .*404"):
        Image.from_url(f"{png_pages}/missing")
    with pytest.raises(InputError, match="has more than 10 bytes"):
        Image.from_url(f"{png_pages}/a.png", most_bytes=10)
    with pytest.raises(InputError, match=r"begins with http"):
        Image.from_url("file:///etc/passwd")


class Page(BaseHTTPRequestHandler):
    """Serve one picture."""

    def do_GET(self):
        found = self.path == "/a.png"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(PNG if found else b"")

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def png_pages():
    """Serve one picture over HTTP, and say where."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def frames_of(audio):
    with wave.open(io.BytesIO(base64.b64decode(audio.data))) as file:
        return file.getnchannels(), file.getframerate(), file.readframes(9)


@pytest.mark.parametrize(
    ("samples", "channels", "frames"),
    [
        ([0.0, 1.0, -1.0, 2.0], 1, b"\0\0\xff\x7f\x01\x80\xff\x7f"),
        ([0, 1], 1, b"\0\0\1\0"),
        ([[0, 1], [2, 3]], 2, b"\0\0\1\0\2\0\3\0"),
    ],
    ids=["floats", "whole numbers", "stereo"],
)
def test_samples_become_wav(samples, channels, frames):
    audio = Audio.from_array(samples, sampling_rate=8_000)
    assert frames_of(audio) == (channels, 8_000, frames)


@pytest.mark.parametrize(
    ("audio", "part"),
    [
        (Audio(b"abc", audio_format="mp3"), {"data": "YWJj", "format": "mp3"}),
        (Audio("data:audio/x-wav;base64,YWJj"), {"data": "YWJj", "format": "wav"}),
        (Audio(data="YWJj", audio_format="wav"), {"data": "YWJj", "format": "wav"}),
    ],
    ids=["bytes", "data", "fields"],
)
def test_sound_is_shown_as_a_part(audio, part):
    assert audio.format() == [{"type": "input_audio", "input_audio": part}]


def test_sound_is_read_from_a_file_by_its_content(tmp_path):
    (tmp_path / "a.bin").write_bytes(base64.b64decode(Audio.from_array([0, 1], 8_000).data))
    assert Audio.from_path(tmp_path / "a.bin").audio_format == "wav"


@pytest.mark.parametrize(
    ("file", "part"),
    [
        (File(b"%PDF-1"), {"file_data": "data:application/pdf;base64,JVBERi0x"}),
        (File.from_bytes(b"a", "a.md", "text/markdown"), {
            "file_data": "data:text/markdown;base64,YQ==", "filename": "a.md"}),
        (File.from_file_id("file-1", "b"), {"file_id": "file-1", "filename": "b"}),
    ],
    ids=["bytes", "from_bytes", "id"],
)  # fmt: skip
def test_file_is_shown_as_a_part(file, part):
    assert file.format() == [{"type": "file", "file": part}]


def test_a_file_of_nothing_is_refused():
    with pytest.raises((InputError, pydantic.ValidationError), match="needs one of file_data"):
        File()


@pytest.mark.parametrize(
    "value", [Image(PNG * 1000), Audio(PNG * 1000), File(PNG * 1000)], ids=repr
)
def test_nobody_is_shown_the_content_itself(value):
    assert max(map(len, (repr(value), str(value), value.__trace_value__()))) < 150
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - made here


def test_what_is_unknown_has_no_kind():
    assert attached.mime_type_of(b"?", "no-ending") is None
