"""What bytes are: by their first ones, whatever is said of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import InputError
from flexllm_providers.media.types import audio_format, media_type_of, sniff, type_by_ending

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF"
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 "
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00"
WEBM = b"\x1a\x45\xdf\xa3\x9fB\x86"
OGG = b"OggS\x00\x02"
PDF = b"%PDF-1.7\n"
ZIP = b"PK\x03\x04\x14\x00"


@pytest.mark.parametrize(
    ("data", "kind", "expected"),
    [
        (PNG, "image", "image/png"),
        (JPEG, "image", "image/jpeg"),
        (WEBP, "image", "image/webp"),
        (b"GIF89a\x01\x00", "image", "image/gif"),
        (b"GIF87a\x01\x00", "image", "image/gif"),
        (b"BM\x36\x00\x0c\x00\x00\x00\x00\x00\x36", "image", "image/bmp"),
        (b"II*\x00\x08\x00", "image", "image/tiff"),
        (b"MM\x00*\x00\x08", "image", "image/tiff"),
        (HEIC, "image", "image/heic"),
        (b"\x00\x00\x00\x18ftypavif", "image", "image/avif"),
        (WAV, "audio", "audio/wav"),
        (b"ID3\x04", "audio", "audio/mpeg"),
        (b"\xff\xfb\x90", "audio", "audio/mpeg"),
        (b"\xff\xf1\x50", "audio", "audio/aac"),
        (b"fLaC\x00", "audio", "audio/flac"),
        (b"FORM\x00\x00\x00\x00AIFF", "audio", "audio/aiff"),
        (b"\x00\x00\x00\x18ftypM4A ", "audio", "audio/mp4"),
        (OGG, "audio", "audio/ogg"),
        (OGG, "video", "video/ogg"),
        (MP4, "video", "video/mp4"),
        (MP4, "audio", "audio/mp4"),
        (WEBM, "video", "video/webm"),
        (WEBM, "audio", "audio/webm"),
        (b"\x00\x00\x00\x14ftypqt  ", "video", "video/quicktime"),
        (b"\x00\x00\x00\x14ftyp3gp5", "video", "video/3gpp"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video", "video/x-msvideo"),
        (PDF, "file", "application/pdf"),
        (PNG, "file", "image/png"),
        (MP4, "file", "video/mp4"),
    ],
)
def test_the_first_bytes_say_the_type(data, kind, expected):
    """The name says nothing that the bytes say already."""
    assert media_type_of(data, kind, "named.wrongly.txt") == expected


@pytest.mark.parametrize("kind", ["image", "audio", "video"])
@pytest.mark.parametrize(
    "data", [b"", b"root:x:0:0:root:/root:/bin/bash\n", b"<!doctype html>", PDF, ZIP, b"\x00" * 64, b"RIFF", b"<svg/>"]
)
def test_what_is_no_media_is_refused(data, kind):
    """A password file named `x.png` is no image."""
    with pytest.raises(InputError, match="the data is"):
        media_type_of(data, kind, "x.png")


@pytest.mark.parametrize(
    ("data", "kind"), [(PNG, "audio"), (PNG, "video"), (WAV, "image"), (MP4, "image"), (WAV, "video")]
)
def test_one_kind_of_media_is_not_another(data, kind):
    """The message says what was found and what was expected."""
    with pytest.raises(InputError, match=r"the data is (image|audio|video)/\w+, not "):
        media_type_of(data, kind, "x")


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"a,b\n", "t.csv", "text/csv"),
        (b"{}", "t.JSON", "application/json"),
        ("# \u00fcber".encode(), "readme.md", "text/markdown"),
        (b"print(1)", "x.py", "text/plain"),
        (b"plain", "LICENSE", "text/plain"),
        (b"<p>", "a.html", "text/html"),
        (ZIP, "a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (ZIP, "a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ],
)
def test_documents_are_told_apart_by_their_ending(data, name, expected):
    """Text has no first bytes of its own, and several formats are zip files."""
    assert media_type_of(data, "file", name) == expected


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"<html>404</html>", "paper.pdf"),
        (b"<html>404</html>", "photo.PNG"),
        (b"no zip", "a.docx"),
        (ZIP, "a.zip"),
        (ZIP, "a.txt"),
        (b"\x7fELF\x02\x01\x01\x00", "tool"),
        (b"\xff\xfe\x00", "t.csv"),
        (b"latin-1: \xe9", "t.txt"),
    ],
)
def test_a_document_that_is_not_what_it_is_called_is_refused(data, name):
    """An error page under the name of a PDF is not sent as one."""
    with pytest.raises(InputError):
        media_type_of(data, "file", name)


@given(
    data=st.binary(max_size=64), kind=st.sampled_from(["image", "audio", "video", "file"]), name=st.text(max_size=12)
)
def test_any_bytes_have_a_type_of_their_kind_or_are_refused(data, kind, name):
    """Nothing else happens, and an image's type never is that of something else."""
    try:
        found = media_type_of(data, kind, name)
    except InputError:
        return
    assert kind == "file" or found.startswith(f"{kind}/")


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [("audio/wav", "wav"), ("audio/mpeg", "mp3"), ("audio/mp4", "m4a"), ("audio/flac", "flac")],
)
def test_the_format_of_a_sound(media_type, expected):
    """As `input_audio` names it."""
    assert audio_format(media_type) == expected


def test_text_is_not_sniffed():
    """Words that begin like a bitmap are words."""
    assert sniff(b"BMW builds cars") is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.PNG", "image/png"), ("b/c.tar.mp3", "audio/mpeg"), ("png", None), ("x.unknown", None), ("", None)],
)
def test_an_ending_promises_a_type(name, expected):
    """Whatever its case; a name that only looks like an ending promises none."""
    assert type_by_ending(name) == expected
