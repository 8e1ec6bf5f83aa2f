"""What may be read and fetched to be put into messages. Rows may come from strangers, so the default is: little."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from flexllm_core.errors import ConfigError
from flexllm_providers.media.addresses import parse_networks

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """Limits for `embed_media`.

    Attributes:
        media_root: Folder below which local files may be read; relative paths start there. None reads none.
        fetch_urls: Whether http(s) URLs are fetched; False leaves them for the provider to fetch.
        allow_http: Whether URLs without TLS are fetched too.
        allowed_networks: Networks that may be fetched from although they are not public, such as
            `10.1.0.0/16` of an image server in the house.
        max_bytes: Of one file (20 MiB).
        max_total_bytes: Of all files of one call (50 MiB).
        max_items: Parts of one call that are embedded at most.
        max_image_side: Pixels of an image's longer side, above which it is made smaller (needs Pillow);
            None leaves images as they are.
        max_image_pixels: Pixels of an image that is made smaller; a larger one is refused, not decoded.
        timeout: Seconds for one URL.
        concurrency: Files of one call that are read at the same time.

    Raises:
        ConfigError: A value is unusable.
    """

    media_root: str | os.PathLike[str] | None = None
    fetch_urls: bool = True
    allow_http: bool = False
    allowed_networks: tuple[str, ...] = ()
    max_bytes: int = 20 * MEBIBYTE
    max_total_bytes: int = 50 * MEBIBYTE
    max_items: int = 100
    max_image_side: int | None = None
    max_image_pixels: int = 50_000_000
    timeout: float = 30.0
    concurrency: int = 8

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_total_bytes", "max_items", "max_image_pixels", "timeout", "concurrency"):
            _check_positive(name, getattr(self, name))
        if self.max_image_side is not None:
            _check_positive("max_image_side", self.max_image_side)
        networks: object = self.allowed_networks
        if isinstance(networks, str):
            raise ConfigError("allowed_networks: expected a list of networks, found a text")
        try:
            parse_networks(self.allowed_networks)
        except ValueError as error:
            raise ConfigError(f"allowed_networks: {error}") from None


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{name}: expected a number above 0, found {value!r:.40}")
