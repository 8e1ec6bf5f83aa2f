"""What kind of image, sound, video or document some bytes are: by their first bytes, not by what is said of them."""

from __future__ import annotations

from typing import Literal

from flexllm_core.errors import InputError

MediaKind = Literal["image", "audio", "video", "file"]

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xfa", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf2", "audio/mpeg"),
    (b"\xff\xf1", "audio/aac"),
    (b"\xff\xf9", "audio/aac"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"FLV\x01", "video/x-flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-wmv"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), "image/heic"),
    **dict.fromkeys((b"mif1", b"msf1"), "image/heif"),
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"M4A ", b"M4B "), "audio/mp4"),
    b"qt  ": "video/quicktime",
}
"""The main brands of ISO base media files that are not MP4 video."""

_CONTAINERS = {"audio": {"video/mp4": "audio/mp4", "video/webm": "audio/webm"}, "video": {"audio/ogg": "video/ogg"}}
"""Containers that hold sound or video: the type by what the part says it is."""

TYPES_BY_ENDING = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "aiff": "audio/aiff",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "webm": "video/webm",
    "wmv": "video/x-ms-wmv",
    "3gp": "video/3gpp",
    "flv": "video/x-flv",
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "json": "application/json",
    "md": "text/markdown",
    "txt": "text/plain",
    "xml": "text/xml",
}
"""Media types by the ending of a file's name: a table of our own, so that every machine sends the same."""

_ZIPPED = frozenset({"docx", "xlsx", "pptx"})
_TEXTS = frozenset({"csv", "htm", "html", "json", "md", "txt", "xml"})

_KINDS = {"image": "an image", "audio": "sound", "video": "a video"}
_AUDIO_FORMATS = {"audio/mpeg": "mp3", "audio/mp4": "m4a"}


def sniff(data: bytes) -> str | None:
    """The media type that the first bytes show; None for text and for what is not known.

    >>> sniff(b"GIF89a...")
    'image/gif'
    """
    for prefix, media_type in _PREFIXES:
        if data.startswith(prefix):
            return media_type
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "video/3gpp" if brand.startswith(b"3g") else _BRANDS.get(brand, "video/mp4")
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "image/bmp"
    return None


def type_by_ending(name: str) -> str | None:
    """The media type that a file's name promises, by its ending; None where it is not known.

    >>> type_by_ending("report.PDF"), type_by_ending("report")
    ('application/pdf', None)
    """
    return TYPES_BY_ENDING.get(_ending(name))


def media_type_of(data: bytes, kind: MediaKind, name: str) -> str:
    """The media type of a part's data.

    Args:
        data: The whole file.
        kind: What the part says it is.
        name: The file's name; its ending tells apart what the bytes do not.

    Raises:
        InputError: The data is something else, or of no kind that is known.
    """
    found = sniff(data)
    if kind == "file":
        return found or _document_type(data, name)
    if found is not None:
        found = _CONTAINERS.get(kind, {}).get(found, found)
        if found.startswith(f"{kind}/"):
            return found
    raise InputError(f"the data is {found or 'of no known kind'}, not {_KINDS[kind]}")


def audio_format(media_type: str) -> str:
    """The `format` of an `input_audio` part.

    >>> audio_format("audio/mpeg"), audio_format("audio/wav")
    ('mp3', 'wav')
    """
    return _AUDIO_FORMATS.get(media_type) or media_type.removeprefix("audio/")


def _document_type(data: bytes, name: str) -> str:
    ending = _ending(name)
    if data[:4] == b"PK\x03\x04" and ending in _ZIPPED:
        return TYPES_BY_ENDING[ending]
    if ending in TYPES_BY_ENDING.keys() - _TEXTS:  # text under them is an error page or a mistake
        raise InputError(f"the data is not what the ending .{ending} says")
    if not _is_text(data):
        raise InputError("the data is neither text nor a document of a known kind")
    return TYPES_BY_ENDING.get(ending, "text/plain")


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _is_text(data: bytes) -> bool:
    if b"\x00" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
