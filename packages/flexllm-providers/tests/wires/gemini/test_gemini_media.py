"""Parts of a content: text, images, sound, video and files."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import InputError
from flexllm_providers.gemini.media import content_parts


def image(url: Any, **more: Any) -> dict[str, Any]:
    """An image by its URL."""
    return {"type": "image_url", "image_url": {"url": url, **more}}


def inline(media_type: str, data: str) -> dict[str, Any]:
    """Gemini's part of data."""
    return {"inlineData": {"mimeType": media_type, "data": data}}


def by_uri(uri: str, media_type: str | None = None) -> dict[str, Any]:
    """Gemini's part of a file elsewhere."""
    return {"fileData": {"fileUri": uri, **({"mimeType": media_type} if media_type else {})}}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "a"}, {"text": "a"}),
        ({"type": "refusal", "refusal": "no"}, {"text": "no"}),
        ("plain", {"text": "plain"}),
        (image("data:image/png;base64,AAAA"), inline("image/png", "AAAA")),
        (image("DATA:image/webp;BASE64,AA+/"), inline("image/webp", "AA+/")),
        (image("data:image/png;charset=x;base64,AA%3D%3D"), inline("image/png", "AA==")),
        (image("data:,a%20b"), inline("text/plain", "YSBi")),
        (image("data:;base64,AAAA", mime_type="image/heic"), inline("image/heic", "AAAA")),
        ({"type": "image_url", "image_url": "data:image/png;base64,AAAA"}, inline("image/png", "AAAA")),
        (image("https://h/a.PNG?x=1.gif"), by_uri("https://h/a.PNG?x=1.gif", "image/png")),
        (image("gs://bucket/a.jpeg"), by_uri("gs://bucket/a.jpeg", "image/jpeg")),
        (image("https://h/v1beta/files/abc"), by_uri("https://h/v1beta/files/abc")),
        (image("https://h/x", format="image/png"), by_uri("https://h/x", "image/png")),
        (
            {"type": "video_url", "video_url": {"url": "https://youtu.be/x"}},
            by_uri("https://youtu.be/x"),
        ),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, inline("audio/wav", "AAAA")),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "opus"}}, inline("audio/opus", "AAAA")),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "x"}},
            inline("application/pdf", "AAAA"),
        ),
        ({"type": "file", "file": {"file_data": "AAAA", "filename": "x.pdf"}}, inline("application/pdf", "AAAA")),
        (
            {"type": "file", "file": {"file_id": "https://h/v1beta/files/abc", "format": "text/csv"}},
            by_uri("https://h/v1beta/files/abc", "text/csv"),
        ),
    ],
)
def test_each_kind_of_part(part: Any, expected: dict[str, Any]) -> None:
    """Data goes inline, URIs go as they are, with the media type where it can be known."""
    assert content_parts([part]) == [expected]


def test_plain_contents() -> None:
    """A text is one part, nothing is none."""
    assert content_parts("a") == [{"text": "a"}]
    assert content_parts(None) == []


def test_a_content_of_another_type() -> None:
    """Neither a text nor parts."""
    with pytest.raises(InputError, match="content is int"):
        content_parts(5)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "hologram", "hologram": {}}, "'hologram' cannot be sent to Gemini"),
        ({"type": "text"}, "'text' cannot"),
        ({"text": "a"}, "no type"),
        (5, "no type"),
        (image(None), "no URL"),
        (image("https://[::1"), "host is not valid"),
        (image("https://h/x", format=[1]), "media type that is no text"),
        (image("file:///etc/passwd"), "expected a data:"),
        (image("/etc/passwd"), "expected a data:"),
        (image("data:image/png;base64"), "without data"),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, "no data"),
        ({"type": "file", "file": {}}, "no URL"),
        ({"type": "file", "file": {"file_id": "file-123"}}, "expected a data:"),
    ],
)
def test_what_is_incomplete_is_an_input_error(part: Any, message: str) -> None:
    """And no local path is ever read here."""
    with pytest.raises(InputError, match=message):
        content_parts([part])


ANY = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["data:,x", "data:;base64,%", "gs://a", "https://[", "wav"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["url", "data", "format", "file_data", "file_id", "mime_type"]), inner)
    ),
    max_leaves=4,
)
KINDS = st.sampled_from(["text", "image_url", "video_url", "audio_url", "input_audio", "file"])


@given(KINDS, ANY)
def test_any_part_is_a_part_or_an_input_error(kind: str, value: Any) -> None:
    """Rows come from strangers."""
    try:
        (part,) = content_parts([{"type": kind, kind: value}])
    except InputError:
        return
    assert part.keys() <= {"text", "inlineData", "fileData"}
    for held in (part.get("inlineData"), part.get("fileData")):
        assert held is None or all(isinstance(text, str) for text in held.values())


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("mp3", "audio/mp3"),
        ("avi", "video/avi"),
        ("wmv", "video/wmv"),
        ("wav", "audio/wav"),
        ("mov", "video/quicktime"),
    ],
)
def test_types_by_ending_have_the_names_that_google_uses(gemini_wire: Any, ending: str, expected: str) -> None:
    """In files that are fetched there, and as the format of sound."""
    part = {"type": "file", "file": {"file_id": f"gs://b/a.{ending}"}}
    (turn,) = gemini_wire.body([{"role": "user", "content": [part]}])["contents"]
    assert turn["parts"] == [{"fileData": {"fileUri": f"gs://b/a.{ending}", "mimeType": expected}}]
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": ending}}
    (turn,) = gemini_wire.body([{"role": "user", "content": [sound]}])["contents"]
    assert turn["parts"] == [{"inlineData": {"mimeType": expected, "data": "AAAA"}}]
