"""Parts of a message's content, from OpenAI's shapes to Gemini's: text, images, sound, video and files."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from flexllm_core.errors import InputError
from flexllm_providers.media.types import type_by_ending

_OWN_NAMES = {"audio/mpeg": "audio/mp3", "video/x-msvideo": "video/avi", "video/x-ms-wmv": "video/wmv"}
"""Media types that Google's documents call otherwise."""

_URL_TYPES = ("image_url", "video_url", "audio_url")
_SCHEMES = ("http://", "https://", "gs://")


def content_parts(content: object) -> list[dict[str, Any]]:
    """Gemini's parts of a content; none for None.

    Raises:
        InputError: A part is of a type that Gemini has no counterpart for, or is incomplete.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [{"text": content}]
    if not isinstance(content, list | tuple):
        raise InputError(f"a message's content is {type(content).__name__}; expected a text or a list of parts")
    return [_part(part) for part in content]


def content_text(content: object) -> str:
    """The texts of a content, joined.

    Raises:
        InputError: As `content_parts`.
    """
    return "".join(part.get("text", "") for part in content_parts(content))


def _part(part: object) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(kind, str):
        raise InputError("a part of a message's content has no type")
    value = part.get(kind)
    if kind in ("text", "refusal") and isinstance(value, str):
        return {"text": value}
    if kind in _URL_TYPES:
        value = value if isinstance(value, Mapping) else {"url": value}
        return _from_url(value.get("url"), kind, value.get("mime_type") or value.get("format"))
    if kind == "input_audio" and isinstance(value, Mapping):
        ending = value.get("format")
        return _inline(_type_of(f".{ending}") or f"audio/{ending}", value.get("data"), kind)
    if kind == "file" and isinstance(value, Mapping):
        return _file(value)
    raise InputError(f"a part of type {kind[:80]!r} cannot be sent to Gemini")


def _file(value: Mapping[str, Any]) -> dict[str, Any]:
    """A file by its data, or by its URI in the place of an id."""
    name, data = value.get("filename"), value.get("file_data")
    own_type = value.get("mime_type") or value.get("format") or _type_of(str(name or ""))
    if isinstance(data, str) and not data.startswith("data:"):
        return _inline(own_type or "application/octet-stream", data, "file")
    return _from_url(data or value.get("file_id"), "file", own_type)


def _from_url(url: object, kind: str, media_type: object) -> dict[str, Any]:
    if not isinstance(url, str):
        raise InputError(f"a part of type {kind!r} has no URL")
    if url[:5].lower() == "data:":
        return _from_data_uri(url, kind, media_type)
    if not url.lower().startswith(_SCHEMES):
        raise InputError(f"a part of type {kind!r}: expected a data:, http(s): or gs: URL")
    media_type = media_type or _type_of(_path(url, kind))
    if media_type is None:
        return {"fileData": {"fileUri": url}}
    if not isinstance(media_type, str):
        raise InputError(f"a part of type {kind!r} has a media type that is no text")
    return {"fileData": {"fileUri": url, "mimeType": media_type}}


def _path(url: str, kind: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        raise InputError(f"a part of type {kind!r}: the URL's host is not valid") from None


def _type_of(name: str) -> str | None:
    found = type_by_ending(name)
    return found and _OWN_NAMES.get(found, found)


def _from_data_uri(uri: str, kind: str, media_type: object) -> dict[str, Any]:
    head, comma, data = uri[5:].partition(",")
    if not comma:
        raise InputError(f"a part of type {kind!r} holds a data: URL without data")
    own_type, *parameters = head.split(";")
    if "base64" not in (parameter.strip().lower() for parameter in parameters):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    elif "%" in data:
        data = unquote_to_bytes(data).decode("ascii", "replace")
    return _inline(own_type.strip() or media_type or "text/plain", data, kind)


def _inline(media_type: object, data: object, kind: str) -> dict[str, Any]:
    if not isinstance(data, str) or not isinstance(media_type, str):
        raise InputError(f"a part of type {kind!r} has no data")
    return {"inlineData": {"mimeType": media_type, "data": data}}
