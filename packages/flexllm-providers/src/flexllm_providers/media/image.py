"""Makes images smaller before they are sent, with Pillow, which is optional."""

from __future__ import annotations

import threading
from importlib import import_module
from io import BytesIO
from typing import Any

from flexllm_core.errors import InputError, MissingExtraError

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
"""What Pillow may decode here: its many other decoders are open to nobody."""

_SAVED_AS = {"PNG": "PNG", "JPEG": "JPEG", "MPO": "JPEG", "WEBP": "WEBP"}
"""The format that each format is written in; the others become PNG."""

_WRITABLE = frozenset({"L", "LA", "RGB", "RGBA"})
_QUALITY = 90

_decoding = threading.BoundedSemaphore(2)
"""Images decoded at the same time: each may take some hundreds of megabytes, whoever asks for it."""


def require_pillow() -> tuple[Any, Any]:
    """Pillow's modules `Image` and `ImageOps`.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        # By name: type checkers then need no Pillow, as users do not.
        return import_module("PIL.Image"), import_module("PIL.ImageOps")
    except ImportError:
        raise MissingExtraError("making images smaller needs Pillow: pip install 'flexllm-providers[media]'") from None


def shrink_image(data: bytes, max_side: int, max_pixels: int) -> bytes:
    """An image whose longer side has at most `max_side` pixels; `data` itself where it is small enough.

    The image is turned upright as its metadata say, and then has none; of an animation the first picture is
    left. Blocks: to be called in a thread.

    Args:
        data: A file in one of the formats PNG, JPEG, GIF, WebP, BMP and TIFF.
        max_side: Pixels.
        max_pixels: Width times height, above which the image is not decoded.

    Raises:
        InputError: It is broken, of another format, or has too many pixels.
        MissingExtraError: Pillow is not installed.
    """
    pillow, operations = require_pillow()
    with _decoding:
        try:
            with pillow.open(BytesIO(data), formats=_FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise InputError(f"the image has {width:,} x {height:,} pixels; the limit is {max_pixels:,}")
                if max(width, height) <= max_side:
                    return data
                return _shrunk(image, operations, max_side)
        except InputError:
            raise
        except pillow.UnidentifiedImageError:
            raise InputError(f"the image cannot be made smaller: it is none of {', '.join(_FORMATS)}") from None
        except (pillow.DecompressionBombError, pillow.DecompressionBombWarning):
            raise InputError(f"the image has far more than {max_pixels:,} pixels, which is the limit") from None
        except Exception as error:  # noqa: BLE001 - decoders raise anything when a file is made to break them
            raise InputError(f"the image cannot be decoded ({type(error).__name__})") from None


def _shrunk(image: Any, operations: Any, max_side: int) -> bytes:
    saved_as = _SAVED_AS.get(image.format, "PNG")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # colours of a palette cannot be blended
    elif image.mode == "1":
        image = image.convert("L")
    image.thumbnail((max_side, max_side))
    image = operations.exif_transpose(image)
    if image.mode not in _WRITABLE and not (saved_as == "JPEG" and image.mode == "CMYK"):
        image = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    out = BytesIO()
    # The profile of its colours is kept; everything else that a file may carry along is not.
    image.save(out, saved_as, quality=_QUALITY, icc_profile=image.info.get("icc_profile"), exif=b"")
    return out.getvalue()
