"""Files that go with a question: text becomes part of it, images and other media become parts of the message."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_BYTES = 20 * 1024 * 1024
"""Of one file: what the vendors take."""


def user_message(question: str, files: Sequence[Path] = ()) -> dict[str, Any]:
    """The user's message: the texts of the files, then the question; media as parts before both.

    Raises:
        InputError: A file is too large, or neither text nor media.
        OSError: A file cannot be read.
    """
    texts: list[str] = []
    parts: list[dict[str, Any]] = []
    for path in files:
        content = read_attachment(path)
        if isinstance(content, str):
            texts.append(f'<file name="{path.name}">\n{content.rstrip()}\n</file>')
        else:
            parts.append(content)
    text = "\n\n".join([*texts, *([question] if question else [])])
    if not parts:
        return {"role": "user", "content": text}
    return {"role": "user", "content": [*parts, *([{"type": "text", "text": text}] if text else [])]}


def read_attachment(path: Path) -> str | dict[str, Any]:
    """The text of a file, or the part of a message that holds its image, sound, video or document.

    Raises:
        InputError: It is too large, or neither text nor media.
        OSError: It cannot be read.
    """
    from flexllm_core.errors import InputError
    from flexllm_providers.media.types import sniff

    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InputError(f"{path}: the file is larger than {MOST_BYTES // 1024**2} MiB")
    media_type = sniff(data)
    if media_type is not None:
        return _media_part(data, media_type, path.name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: neither text in UTF-8 nor an image, sound, video or PDF") from None
    if "\x00" in text:
        raise InputError(f"{path}: the file holds binary data")
    return text


def _media_part(data: bytes, media_type: str, name: str) -> dict[str, Any]:
    from flexllm_providers.media.parts import EmbeddedMedia
    from flexllm_providers.media.types import audio_format

    media = EmbeddedMedia.from_bytes(data, media_type, name)
    kind = media_type.partition("/")[0]
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": media.data_uri}}
    if kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": media.data, "format": audio_format(media_type)}}
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": media.data_uri}}
    return {"type": "file", "file": {"filename": name, "file_data": media.data_uri}}
