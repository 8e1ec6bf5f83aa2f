"""Where messages name media by a path or URL, and the same messages with the data in their place."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexllm_core.messages import Messages
from flexllm_providers.media.types import MediaKind, audio_format

_FIELDS: dict[str, tuple[MediaKind, str]] = {
    "image_url": ("image", "url"),
    "audio_url": ("audio", "url"),
    "video_url": ("video", "url"),
    "input_audio": ("audio", "data"),
    "file": ("file", "file_data"),
}
"""The types of parts that hold media, what they hold, and under which key."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
"""Of two characters at least: `C:` is a drive."""

_PASSED = frozenset({"data", "gs"})
"""Schemes of what is data already, and of what only the provider can read."""


@dataclass(frozen=True, slots=True)
class MediaReference:
    """One part that names media.

    Attributes:
        message: Index of the message.
        part: Index in its content.
        kind: What the part says it is.
        reference: The path or URL.
    """

    message: int
    part: int
    kind: MediaKind
    reference: str

    @property
    def where(self) -> str:
        """The part's place, for errors."""
        return f"messages[{self.message}].content[{self.part}]"


@dataclass(frozen=True, slots=True)
class EmbeddedMedia:
    """What a reference stands for.

    Attributes:
        media_type: Such as `image/png`.
        data: In base64.
        name: The file's name.
    """

    media_type: str
    data: str
    name: str

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str, name: str) -> EmbeddedMedia:
        """From the content of a file."""
        return cls(media_type, base64.b64encode(data).decode("ascii"), name)

    @property
    def data_uri(self) -> str:
        """`data:image/png;base64,...`."""
        return f"data:{self.media_type};base64,{self.data}"


def find_references(messages: Messages) -> Iterator[MediaReference]:
    """The parts that name media by a path or URL, in their order."""
    for number, message in enumerate(messages):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list | tuple) else ()):
            found = _reference(part)
            if found is not None:
                yield MediaReference(number, index, *found)


def scheme_of(reference: str) -> str:
    """The scheme of a URL in lower case; empty for a path."""
    match = _SCHEME.match(reference)
    return match[1].lower() if match else ""


def with_media(
    messages: Sequence[dict[str, Any]], embedded: Mapping[MediaReference, EmbeddedMedia]
) -> list[dict[str, Any]]:
    """The messages with data for references. What is changed is a copy; the rest is shared with `messages`."""
    out = list(messages)
    for number in {reference.message for reference in embedded}:
        out[number] = {**messages[number], "content": list(messages[number]["content"])}
    for reference, media in embedded.items():
        parts = out[reference.message]["content"]
        parts[reference.part] = _with_data(parts[reference.part], media)
    return out


def _reference(part: object) -> tuple[MediaKind, str] | None:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(kind, str) or kind not in _FIELDS:
        return None
    medium, key = _FIELDS[kind]
    value = part.get(kind)
    text = value.get(key) if isinstance(value, Mapping) else value if key == "url" else None
    if not isinstance(text, str) or scheme_of(text[:32]) in _PASSED:
        return None
    # Where base64 without a scheme may stand too: it has no dot, and a path has one before its ending.
    return (medium, text) if key == "url" or scheme_of(text[:32]) or "." in text else None


def _with_data(part: Mapping[str, Any], media: EmbeddedMedia) -> dict[str, Any]:
    kind = part["type"]
    value = part[kind]
    if isinstance(value, str):
        return {**part, kind: media.data_uri}
    if kind == "input_audio":  # takes no URI
        return {**part, kind: {**value, "data": media.data, "format": audio_format(media.media_type)}}
    if kind == "file":
        return {**part, kind: {**value, "file_data": media.data_uri, "filename": value.get("filename") or media.name}}
    return {**part, kind: {**value, "url": media.data_uri}}
