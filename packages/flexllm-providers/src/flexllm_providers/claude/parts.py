"""The parts of a message's content as Claude's content blocks: text, images, documents."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from flexllm_core.errors import InputError

_MEDIA_TYPES = {"image/jpg": "image/jpeg"}
_NOT_TAKEN = frozenset({"input_audio", "audio_url", "video_url", "video"})
Block = dict[str, Any]


def content_blocks(content: object, where: str) -> list[Block]:
    """The blocks of a message's content; empty texts, which Claude refuses, are left out.

    Args:
        content: A text, parts, or None.
        where: The message's place, for errors.

    Raises:
        InputError: A part cannot be given to Claude.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts = content if isinstance(content, list | tuple) else []
    blocks = [_block(part, f"{where}.content[{index}]") for index, part in enumerate(parts)]
    return [block for block in blocks if block.get("text") != ""]


def _block(part: object, where: str) -> Block:
    if not isinstance(part, Mapping):
        raise InputError(f"{where}: expected an object with a type, found {type(part).__name__}")
    kind = part.get("type")
    if kind in ("text", "refusal"):
        block = _text(part, str(kind), where)
    elif kind == "image_url":
        block = _image(part, where)
    elif kind == "file":
        block = _file(part, where)
    elif kind in _NOT_TAKEN:
        raise InputError(f"{where}: Claude takes no {kind} parts")
    else:
        return dict(part)  # Claude's own blocks, written by who knows them
    if part.get("cache_control") is not None:
        block["cache_control"] = part["cache_control"]
    return block


def _text(part: Mapping[str, Any], key: str, where: str) -> Block:
    text = part.get(key)
    if not isinstance(text, str):
        raise InputError(f"{where}.{key}: expected a text, found {type(text).__name__}")
    return {"type": "text", "text": text}


def _image(part: Mapping[str, Any], where: str) -> Block:
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, Mapping) else given
    if not isinstance(url, str):
        raise InputError(f"{where}.image_url: expected an object with a url, found {type(given).__name__}")
    if url[:5].lower() == "data:":
        return _from_data_uri(url, where)
    return {"type": "image", "source": _url_source(url, where)}


def _file(part: Mapping[str, Any], where: str) -> Block:
    file = part.get("file")
    if not isinstance(file, Mapping):
        raise InputError(f"{where}.file: expected an object, found {type(file).__name__}")
    data, file_id, name = file.get("file_data"), file.get("file_id"), file.get("filename")
    if isinstance(data, str) and data[:5].lower() == "data:":
        block = _from_data_uri(data, where)
    elif isinstance(data, str) and "://" in data[:12]:
        block = {"type": "document", "source": _url_source(data, where)}
    elif isinstance(data, str) and isinstance(name, str) and name.lower().endswith(".pdf"):
        block = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}
    elif isinstance(file_id, str) and file_id:
        block = {"type": "document", "source": {"type": "file", "file_id": file_id}}
    else:
        raise InputError(f"{where}.file: expected file_data as a data URI, or a file_id")
    if isinstance(name, str) and name and block["type"] == "document":
        block["title"] = name
    return block


def _url_source(url: str, where: str) -> Block:
    if not url.lower().startswith(("https://", "http://")):
        raise InputError(f"{where}: expected a data URI or an http(s) URL, found {url[:40]!r}")
    return {"type": "url", "url": url}


def _from_data_uri(uri: str, where: str) -> Block:
    """The block of a `data:` URI, by its media type: an image, a PDF or a text."""
    head, comma, data = uri[5:].partition(",")
    media_type, *parameters = (word.strip().lower() for word in head.split(";"))
    media_type = _MEDIA_TYPES.get(media_type, media_type or "text/plain")
    is_base64 = "base64" in parameters
    if not comma:
        raise InputError(f"{where}: a data URI without a comma")
    if media_type.startswith("text/") or media_type == "application/json":
        source = {"type": "text", "media_type": "text/plain", "data": _decoded_text(data, is_base64, where)}
        return {"type": "document", "source": source}
    kind = "image" if media_type.startswith("image/") else "document" if media_type == "application/pdf" else None
    if kind is None:
        raise InputError(f"{where}: Claude takes images, PDF and text, not {media_type[:80]!r}")
    if not is_base64:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}}


def _decoded_text(data: str, is_base64: bool, where: str) -> str:
    try:
        raw = base64.b64decode(data, validate=True) if is_base64 else unquote_to_bytes(data)
        return raw.decode()
    except (binascii.Error, ValueError):
        raise InputError(f"{where}: the data URI does not hold UTF-8 text") from None
